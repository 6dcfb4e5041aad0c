import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeClock, FakeSocket, load } from "./parts.mjs";

const { Connection } = await load("connection");

let clock, sockets, log, connection;

beforeEach(() => {
  clock = new FakeClock();
  [sockets, log] = [[], []];
  connection = new Connection({
    makeSocket: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    random: () => 1,
    clock: clock.read,
    up: () => log.push("up"),
    down: (reason, isFinal) => log.push(isFinal ? `refused: ${reason}` : "down"),
    message: ({ type }) => log.push(type),
  });
});

function pass(seconds, step = 0.25) {
  for (let passed = 0; passed < seconds; passed += step) {
    clock.now += step;
    connection.tick(clock.now);
  }
}

function untilAttempt(number) {
  while (sockets.length < number) pass(0.25);
}

test("it connects at once, and passes messages on", () => {
  pass(0.25);
  sockets[0].accept();
  sockets[0].say({ type: "state", state: "idle" });
  assert.deepEqual(log, ["up", "state"]);
});

test("pauses between attempts grow up to half a minute", () => {
  const attempts = [];
  for (let n = 0; n < 1200; n += 1) {
    pass(0.25);
    if (sockets.length > attempts.length) {
      attempts.push(clock.now);
      sockets.at(-1).fail();
    }
  }
  const pauses = attempts.slice(1).map((at, n) => at - attempts[n]);
  assert.deepEqual(pauses.slice(0, 6), [0.5, 1, 2, 4, 8, 16]);
  assert.ok(Math.max(...pauses) <= 30.25);
  assert.equal(pauses.at(-1), 30);
});

test("a good connection makes the next pause short", () => {
  for (let n = 0; n < 5; n += 1) {
    untilAttempt(n + 1);
    sockets[n].fail();
  }
  untilAttempt(6);
  sockets[5].accept();
  pass(11);
  sockets.at(-1).fail();
  pass(0.75);
  assert.equal(sockets.length, 7);
});

test("a service that is silent is asked, and given up without an answer", () => {
  pass(0.25);
  sockets[0].accept();
  pass(21);
  assert.deepEqual(sockets[0].types, ["ping"]);
  sockets[0].say({ type: "pong" });
  pass(21);
  assert.deepEqual(sockets[0].types, ["ping", "ping"]);
  pass(9);
  assert.ok(sockets[0].isClosed);
  assert.equal(log.at(-1), "down");
});

test("a page that stood still asks first", () => {
  pass(0.25);
  sockets[0].accept();
  clock.now += 3600;
  connection.tick(clock.now);
  assert.deepEqual(sockets[0].types, ["ping"]);
  sockets[0].say({ type: "pong" });
  pass(1);
  assert.ok(connection.isUp);
});

test("an attempt that hangs is given up", () => {
  pass(10.75);
  assert.ok(sockets[0].isClosed);
  pass(1);
  assert.equal(sockets.length, 2);
});

test("after another page took over, only a person brings it back", () => {
  pass(0.25);
  sockets[0].accept();
  sockets[0].fail(4001, "another page speaks");
  pass(600);
  assert.equal(sockets.length, 1);
  assert.equal(log.at(-1), "refused: another page speaks");
  connection.insist();
  pass(0.25);
  assert.equal(sockets.length, 2);
});

test("the network comes back: a replaced page stays away", () => {
  pass(0.25);
  sockets[0].accept();
  sockets[0].fail(4001, "another page speaks");
  connection.hurry();
  pass(600);
  assert.equal(sockets.length, 1);
});

test("the network comes back: a page that lost it connects at once", () => {
  for (let n = 0; n < 8; n += 1) {
    untilAttempt(n + 1);
    sockets[n].fail();
  }
  connection.hurry();
  pass(0.25);
  assert.equal(sockets.length, 9);
});

test("a final refusal is understood without its close code, too", () => {
  pass(0.25);
  sockets[0].accept();
  sockets[0].say({ type: "error", code: "room_not_allowed", detail: "not this room" });
  sockets[0].fail();
  pass(600);
  assert.equal(sockets.length, 1);
  assert.equal(log.at(-1), "refused: not this room");
});

test("another room is another connection", () => {
  pass(0.25);
  sockets[0].accept();
  connection.restart();
  assert.ok(sockets[0].isClosed);
  pass(0.25);
  assert.equal(sockets.length, 2);
});

test("events of an old socket change nothing", () => {
  pass(0.25);
  const { onclose } = sockets[0];
  sockets[0].accept();
  connection.restart();
  pass(0.25);
  sockets[1].accept();
  onclose({ code: 1006, reason: "" });
  assert.ok(connection.isUp);
});

test("what is no JSON is ignored", () => {
  pass(0.25);
  sockets[0].accept();
  sockets[0].onmessage({ data: "{" });
  sockets[0].onmessage({ data: "null" });
  assert.deepEqual(log, ["up"]);
});
