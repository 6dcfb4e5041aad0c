import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, load } from "./parts.mjs";

const { makeClock } = await load("clock");
const { HOLD_S, Press, TALK } = await load("press");
const { roomName, roomProblem } = await load("room");
const { LOST, mayHeal, refusal } = await load("refusals");
const { answerOf } = await load("answers");
const { WakeLock } = await load("wake_lock");
const { keepSettings, loadSettings } = await load("settings");

test("the clock counts sleep, and never runs backwards", () => {
  let [monotonic, wall] = [5000, 1e12];
  const clock = makeClock(() => monotonic, () => wall);
  assert.equal(clock(), 5);
  monotonic += 1000;
  wall += 1000;
  assert.equal(clock(), 6);
  wall += 3600_000; // The machine slept.
  monotonic += 1000;
  assert.equal(clock(), 6 + 3600);
  wall -= 7200_000; // Somebody set the clock.
  monotonic += 1000;
  assert.equal(clock(), 7 + 3600);
});

test("a tap switches always-on, a longer press does not", () => {
  const press = new Press();
  const clock = new FakeClock();
  press.press(clock.now);
  assert.equal(press.talk, TALK.HELD);
  assert.ok(press.release(clock.now + HOLD_S / 2));
  assert.equal(press.talk, TALK.ALWAYS);
  press.press(clock.now);
  assert.ok(!press.release(clock.now + HOLD_S + 0.01));
  assert.equal(press.talk, TALK.ALWAYS);
  press.press(clock.now);
  press.release(clock.now);
  assert.equal(press.talk, TALK.IDLE);
});

test("a press that does not count changes nothing", () => {
  const press = new Press();
  press.press(1);
  press.cancel();
  assert.ok(!press.release(1.1));
  assert.equal(press.talk, TALK.IDLE);
});

test("a room's name is made fit for a topic", () => {
  assert.equal(roomName("  Küche oben "), "Kuche_oben");
  for (const name of ["kitchen", "a.b-c_1", "x".repeat(64)]) assert.equal(roomProblem(name), null);
  for (const name of ["", "bridge", "a/b", "#", "+", "x".repeat(65), "комната"]) {
    assert.equal(typeof roomProblem(name), "string");
  }
});

test("each refusal says what to do", () => {
  const place = { isSecure: true, isFramed: false };
  const denied = { name: "NotAllowedError" };
  assert.match(refusal(null, { isSecure: false, isFramed: false }).text, /https/);
  assert.match(refusal(denied, place).title, /not allowed/);
  assert.ok(refusal(denied, { ...place, isFramed: true }).inTab);
  assert.ok(refusal(null, { ...place, isFramed: true }).inTab);
  assert.ok(!refusal(denied, place).inTab);
  assert.match(refusal({ name: "NotFoundError" }, place).text, /Plug/);
  assert.match(refusal({ name: "NotReadableError" }, place).text, /another program/);
  assert.match(refusal(null, place).text, /current version/);
  assert.match(refusal(new Error("odd"), place).text, /odd/);
  assert.match(refusal({ name: LOST.REVOKED }, place).title, /not allowed/);
  assert.match(refusal({ name: LOST.UNPLUGGED }, place).text, /Plug/);
  assert.match(refusal({ name: LOST.BROKEN }, place).text, /reload/);
  assert.deepEqual(Object.values(LOST).filter((name) => !mayHeal({ name })), [LOST.REVOKED]);
});

test("each result becomes words for a person", () => {
  assert.deepEqual(answerOf({ outcome: "transcript", text: "Hello.", hint: null }), {
    text: "Hello.",
    note: "",
  });
  assert.match(answerOf({ outcome: "no_speech", hint: null }).note, /understood/);
  assert.match(answerOf({ outcome: "error", error: { code: "disabled" } }).note, /switched off/);
  assert.match(answerOf({ outcome: "error", error: { code: "new", detail: "why" } }).note, /why/);
  assert.match(answerOf({ outcome: "transcript", text: "x", hint: "clipped" }).note, /clipped/);
  assert.match(answerOf({ outcome: "transcript", text: "x", end: "gap" }).note, /a part/);
  assert.equal(answerOf({ outcome: "aborted" }), null);
});

test("settings survive a reload, and rubbish in the storage does no harm", () => {
  const kept = new Map();
  const storage = () => ({ getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text) });
  const settings = { ...loadSettings(storage), room: "kitchen", always: true };
  keepSettings(settings, storage);
  assert.deepEqual(loadSettings(storage), settings);
  for (const rubbish of ["{", "null", "[]", '{"room":"a/b","sent":"loud"}', '{"room":7}']) {
    kept.set([...kept.keys()][0], rubbish);
    assert.equal(loadSettings(storage).room, "");
  }
  const none = () => {
    throw new Error("no storage");
  };
  keepSettings(settings, none);
  assert.equal(loadSettings(none).room, "");
});

class FakeLock {
  released = false;
  release() {
    this.released = true;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("the screen stays on while that is wanted", async () => {
  const locks = [];
  const wakeLock = new WakeLock(async () => locks[locks.push(new FakeLock()) - 1]);
  wakeLock.want(true);
  await settle();
  wakeLock.want(true);
  assert.deepEqual(locks.map(({ released }) => released), [false]);
  locks[0].released = true; // The page was hidden.
  wakeLock.renew();
  await settle();
  wakeLock.want(false);
  assert.deepEqual(locks.map(({ released }) => released), [true, true]);
});

test("a lock that comes when it is no longer wanted is released", async () => {
  const lock = new FakeLock();
  const wakeLock = new WakeLock(async () => lock);
  wakeLock.want(true);
  wakeLock.want(false);
  await settle();
  assert.ok(lock.released);
});

test("a browser without such locks, or without the will, does no harm", async () => {
  for (const request of [() => undefined, () => Promise.reject(new Error("low battery"))]) {
    const wakeLock = new WakeLock(request);
    wakeLock.want(true);
    await settle();
    wakeLock.want(false);
  }
});
