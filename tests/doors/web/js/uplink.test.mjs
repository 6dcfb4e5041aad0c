import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeSocket, load } from "./parts.mjs";

const { MAX_BUFFERED, SHUTDOWN_S, Uplink } = await load("uplink");
const { ANSWER_TIMEOUT_S, MAX_AGE_S, MAX_BYTES } = await load("spool");

let socket, uplink, ended, dropped, unanswered, now;
const chunk = (...bytes) => new Uint8Array(bytes);
const result = (id, fields = {}) => ({ id, outcome: "transcript", end: "stop", ...fields });

beforeEach(() => {
  let ids = 0;
  [ended, dropped, unanswered, now] = [[], [], [], 100];
  socket = new FakeSocket();
  uplink = new Uplink({
    newId: () => `u${(ids += 1)}`,
    ended: (utterance) => ended.push(utterance.id),
    dropped: (utterance) => dropped.push(utterance.id),
    unanswered: (utterance) => unanswered.push(utterance.id),
  });
});

function say(...chunks) {
  const utterance = uplink.open("opus", now);
  for (const one of chunks) uplink.add(utterance, one, now);
  return utterance;
}

function sayWhole(...chunks) {
  const utterance = say(...chunks);
  uplink.close(utterance, now);
  return utterance;
}

test("an utterance is a start, numbered chunks and a stop", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(7), chunk(8, 9));
  assert.deepEqual(socket.sent, [
    { type: "start", id: "u1", codec: "opus", rate: 16000, channels: 1, framing: "seq32", age_ms: 0 },
    chunk(0, 0, 0, 0, 7),
    chunk(1, 0, 0, 0, 8, 9),
    { type: "stop", id: "u1", chunks: 2 },
  ]);
});

test("an answered utterance is forgotten", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  assert.equal(uplink.answered(result("u1"), now).id, "u1");
  assert.equal(uplink.waiting, 0);
  assert.equal(uplink.bytes, 0);
  assert.equal(uplink.answered(result("u1"), now), null);
});

test("what was said without a connection is sent later, with its age", () => {
  sayWhole(chunk(1));
  now += 12.5;
  uplink.connected(socket, now);
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
  assert.equal(socket.of("start")[0].age_ms, 12500);
});

test("what is too old is never sent, and somebody is told", () => {
  sayWhole(chunk(1));
  now += MAX_AGE_S;
  uplink.connected(socket, now);
  assert.deepEqual(socket.sent, []);
  assert.deepEqual(dropped, ["u1"]);
});

test("what is too old while it is sent is aborted", () => {
  uplink.connected(socket, now);
  socket.bufferedAmount = 0;
  const utterance = say(chunk(1));
  socket.bufferedAmount = MAX_BUFFERED + 1;
  uplink.add(utterance, chunk(2), now);
  uplink.close(utterance, now);
  now += MAX_AGE_S;
  uplink.tick(now);
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  assert.deepEqual(dropped, ["u1"]);
});

test("an unanswered utterance is sent again over the next connection, under its id", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1), chunk(2));
  uplink.disconnected();
  const next = new FakeSocket();
  now += 3;
  uplink.connected(next, now);
  assert.deepEqual(next.types, ["start", "audio", "audio", "stop"]);
  assert.deepEqual([next.sent[0].id, next.sent[0].age_ms], ["u1", 3000]);
  assert.equal(new DataView(next.sent[1].buffer).getUint32(0, true), 0);
});

test("an open utterance goes on over the next connection, from its beginning", () => {
  uplink.connected(socket, now);
  const utterance = say(chunk(1));
  uplink.disconnected();
  uplink.add(utterance, chunk(2), now);
  const next = new FakeSocket();
  uplink.connected(next, now);
  uplink.add(utterance, chunk(3), now);
  uplink.close(utterance, now);
  assert.deepEqual(next.types, ["start", "audio", "audio", "audio", "stop"]);
});

test("the part that an earlier connection left is no answer", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  assert.equal(uplink.answered(result("u1", { end: "disconnect", incomplete: true }), now), null);
  assert.equal(uplink.waiting, 1);
});

test("utterances are sent one after the other", () => {
  const first = say(chunk(1));
  const second = say(chunk(2));
  uplink.connected(socket, now);
  assert.deepEqual(socket.types, ["start", "audio"]);
  uplink.close(second, now);
  uplink.close(first, now);
  assert.deepEqual(socket.types, ["start", "audio", "stop", "start", "audio", "stop"]);
});

test("a slow socket gets no more than it can take", () => {
  uplink.connected(socket, now);
  socket.bufferedAmount = MAX_BUFFERED + 1;
  sayWhole(chunk(1));
  assert.deepEqual(socket.sent, []);
  socket.bufferedAmount = 0;
  uplink.tick(now);
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
});

test("the spool is bounded, and the oldest goes first", () => {
  for (let n = 0; n < 5; n += 1) sayWhole(new Uint8Array(MAX_BYTES / 3));
  assert.ok(uplink.bytes <= MAX_BYTES);
  assert.deepEqual(dropped, ["u1", "u2", "u3"]);
});

test("what was sent goes before what was not", () => {
  uplink.connected(socket, now);
  sayWhole(new Uint8Array(MAX_BYTES / 3));
  uplink.disconnected();
  uplink.connected(socket, now);
  socket.bufferedAmount = MAX_BUFFERED + 1;
  for (let n = 0; n < 3; n += 1) sayWhole(new Uint8Array(MAX_BYTES / 3));
  assert.deepEqual(dropped, ["u2"]);
});

test("the service ends an open utterance: no chunk and no stop follow", () => {
  uplink.connected(socket, now);
  const utterance = say(chunk(1));
  uplink.answered(result("u1", { end: "endpoint" }), now);
  assert.deepEqual(ended, ["u1"]);
  uplink.add(utterance, chunk(2), now);
  uplink.close(utterance, now);
  assert.deepEqual(socket.types, ["start", "audio"]);
});

test("told of the end, no chunk and no stop follow, and the next one does not wait for the answer", () => {
  uplink.connected(socket, now);
  const utterance = say(chunk(1));
  for (let n = 0; n < 2; n += 1) uplink.endedByService("u1", now);
  assert.deepEqual(ended, ["u1"]);
  uplink.add(utterance, chunk(2), now);
  uplink.close(utterance, now);
  sayWhole(chunk(3));
  assert.deepEqual(socket.types, ["start", "audio", "start", "audio", "stop"]);
  assert.equal(uplink.answered(result("u1", { end: "endpoint" }), now).id, "u1");
  assert.deepEqual([ended, uplink.waiting], [["u1"], 1]);
});

test("an utterance that the service ended and did not answer is sent again, up to its end", () => {
  uplink.connected(socket, now);
  const utterance = say(chunk(1));
  uplink.endedByService("u1", now);
  uplink.disconnected();
  uplink.add(utterance, chunk(2), now);
  const next = new FakeSocket();
  uplink.connected(next, now + 2);
  assert.deepEqual(next.types, ["start", "audio", "stop"]);
  assert.deepEqual([next.sent[0].id, next.sent[0].age_ms], ["u1", 2000]);
});

test("the end of an utterance that this connection has not begun to send loses nothing", () => {
  say(chunk(1));
  uplink.endedByService("u1", now);
  uplink.connected(socket, now);
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
});

test("the end of what is not known, or has ended here, changes nothing", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  for (const id of ["u1", "else", undefined]) uplink.endedByService(id, now);
  assert.deepEqual(ended, []);
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
});

test("a refused start ends the open utterance", () => {
  uplink.connected(socket, now);
  say(chunk(1));
  uplink.answered(result("u1", { outcome: "error", error: { code: "disabled" } }), now);
  assert.deepEqual(ended, ["u1"]);
});

test("a pause in which nothing was heard means that audio was lost: sent again once, under a new id", () => {
  const nothing = { end: "gap", outcome: "no_speech" };
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  assert.equal(uplink.answered(result("u1", nothing), now), null);
  assert.deepEqual(socket.of("start").map(({ id }) => id), ["u1", "u2"]);
  assert.equal(uplink.answered(result("u2", nothing), now).id, "u2");
});

test("words that end by a pause are an answer: they are not sent again", () => {
  uplink.connected(socket, now);
  say(chunk(1));
  assert.equal(uplink.answered(result("u1", { end: "gap" }), now).id, "u1");
  assert.deepEqual(ended, ["u1"]);
  assert.deepEqual(socket.of("start").map(({ id }) => id), ["u1"]);
});

test("a service that shuts down gets it again a little later", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  uplink.answered(result("u1", { outcome: "error", error: { code: "shutting_down" } }), now);
  assert.equal(socket.of("start").length, 1);
  now += SHUTDOWN_S;
  uplink.tick(now);
  assert.equal(socket.of("start").length, 2);
});

test("a cancelled utterance is aborted at once", () => {
  uplink.connected(socket, now);
  const utterance = say(chunk(1));
  uplink.cancel(utterance);
  uplink.add(utterance, chunk(2), now);
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  assert.equal(uplink.waiting, 0);
});

test("mute forgets what waits, and keeps what only waits for its answer", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  uplink.disconnected();
  sayWhole(chunk(2));
  uplink.clear();
  assert.equal(uplink.waiting, 0);
});

test("an answer that never comes is not awaited for ever, and somebody is told", () => {
  uplink.connected(socket, now);
  sayWhole(chunk(1));
  now += ANSWER_TIMEOUT_S;
  uplink.tick(now);
  assert.equal(uplink.waiting, 0);
  assert.deepEqual([dropped, unanswered], [[], ["u1"]]);
});
