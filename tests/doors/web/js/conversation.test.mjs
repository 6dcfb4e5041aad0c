import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeClock, FakeEncoder, FakeSocket, load } from "./parts.mjs";

const { Uplink } = await load("uplink");
const { Conversation } = await load("conversation");
const { EARLIER, IDLE_S, Satellite } = await load("satellite");
const { MICROPHONE } = await load("microphone_states");
const { CLOSED, LISTEN } = await load("segmenter");
const { HOLD_S } = await load("press");

let clock, socket, satellite, microphone, view, encoders, kept;

class FakeMicrophone {
  state = MICROPHONE.CLOSED;
  problem = null;
  orders = [];
  ends = 0;
  hints = 0;
  open() {
    this.state = MICROPHONE.OPEN;
  }
  close() {
    this.state = MICROPHONE.CLOSED;
  }
  listen(listen) {
    if (this.orders.at(-1) !== listen) this.orders.push(listen);
  }
  ended() {
    this.ends += 1;
  }
  expectMore() {
    this.hints += 1;
  }
  tick() {}
}

beforeEach(() => {
  clock = new FakeClock();
  socket = new FakeSocket();
  microphone = new FakeMicrophone();
  [encoders, kept] = [[], []];
  let ids = 0;
  const uplink = new Uplink({
    newId: () => `u${(ids += 1)}`,
    ended: (utterance) => satellite.ended(utterance),
    unanswered: () => satellite.unanswered(),
    dropped: () => satellite.dropped(),
  });
  const conversation = new Conversation({
    uplink,
    codec: "opus",
    makeEncoder: (data, failed) => {
      if (encoders === null) throw new DOMException("", "NotSupportedError");
      encoders.push(new FakeEncoder(data, failed));
      return encoders.at(-1);
    },
    clock: clock.read,
    changed: () => satellite.changed(),
    failed: () => satellite.notEncoded(),
  });
  satellite = new Satellite({
    clock: clock.read,
    microphone,
    conversation,
    uplink,
    connection: { tick: () => {}, insist: () => {}, restart: () => satellite.down("", false) },
    show: (seen) => (view = seen),
    keep: (settings) => kept.push(settings),
    timeOfDay: () => "12:00",
  });
  satellite.up(socket);
});

const frames = (count) => Array.from({ length: count }, () => new Float32Array([1]));
const opens = (count = 1) => ({ opened: true, frames: frames(count), closed: null, flush: false });
const goesOn = (count = 1) => ({ opened: false, frames: frames(count), closed: null, flush: false });
const closes = (closed = CLOSED.PAUSE) => ({ opened: false, frames: [], closed, flush: false });
const settle = () => new Promise((resolve) => setImmediate(resolve));
const answer = (id, text, fields = {}) =>
  satellite.message({ type: "result", id, outcome: "transcript", text, end: "stop", ...fields });

async function speak() {
  satellite.segment(opens());
  satellite.segment(closes());
  await settle();
}

test("a tap opens the microphone and listens until the next tap", () => {
  satellite.tap();
  assert.equal(microphone.state, MICROPHONE.OPEN);
  assert.deepEqual(microphone.orders.slice(-2), [LISTEN.HELD, LISTEN.ACTIVE]);
  assert.equal(view.talk, "always");
  satellite.tap();
  assert.equal(microphone.orders.at(-1), LISTEN.WAITING);
});

test("a held button listens until it is released", () => {
  satellite.press(clock.now);
  assert.equal(microphone.orders.at(-1), LISTEN.HELD);
  clock.now += HOLD_S + 1;
  satellite.release(clock.now);
  assert.equal(microphone.orders.at(-1), LISTEN.WAITING);
  assert.ok(!view.always);
});

test("speech goes to the service, and its words come back", async () => {
  satellite.tap();
  await speak();
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
  satellite.message({ type: "partial", id: "u1", text: "turn on" });
  assert.equal(view.partial, "turn on");
  answer("u1", "Turn on the light.");
  assert.deepEqual([view.partial, view.answer], ["", "Turn on the light."]);
});

test("words of another device, or of nobody, are not shown", () => {
  satellite.message({ type: "partial", id: "else", text: "no" });
  answer("else", "no");
  assert.deepEqual([view.partial, view.answer], ["", ""]);
});

test("the last few texts stay", async () => {
  satellite.tap();
  for (let n = 1; n <= EARLIER + 3; n += 1) {
    await speak();
    answer(`u${n}`, `text ${n}`);
  }
  assert.equal(view.earlier.length, EARLIER);
  assert.equal(view.earlier[0].text, `text ${EARLIER + 2}`);
});

test("mute is obeyed at once: the utterance is aborted, the microphone closed", () => {
  satellite.tap();
  satellite.segment(opens());
  satellite.mute(true);
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  assert.equal(microphone.orders.at(-1), LISTEN.OFF);
  assert.equal(microphone.state, MICROPHONE.CLOSED);
  assert.ok(encoders[0].isClosed);
  satellite.segment(goesOn());
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  satellite.mute(false);
  assert.equal(microphone.state, MICROPHONE.OPEN);
  assert.equal(microphone.orders.at(-1), LISTEN.ACTIVE);
});

test("a tap on the button of a muted page is heard", () => {
  satellite.tap();
  satellite.mute(true);
  satellite.tap();
  assert.ok(!view.muted);
  assert.equal(microphone.orders.at(-1), LISTEN.ACTIVE);
});

test("a room that is switched off in the house does not listen", () => {
  satellite.tap();
  satellite.segment(opens());
  satellite.message({ type: "settings", enabled: false, language: null, prompt: null });
  assert.equal(view.talk, "disabled");
  assert.equal(microphone.orders.at(-1), LISTEN.OFF);
  assert.deepEqual(socket.types.slice(-1), ["abort"]);
  satellite.message({ type: "settings", enabled: true, language: null, prompt: null });
  assert.equal(microphone.orders.at(-1), LISTEN.ACTIVE);
});

test("the service ends the utterance: nothing more of it is sent, and it listens on", async () => {
  satellite.tap();
  satellite.segment(opens());
  answer("u1", "Stop.", { end: "endpoint" });
  assert.equal(microphone.ends, 1);
  satellite.segment(goesOn(5));
  satellite.segment(closes(CLOSED.ENDED));
  await settle();
  assert.deepEqual(socket.types, ["start", "audio"]);
  assert.equal(view.talk, "always");
  await speak();
  assert.equal(view.talk, "waiting");
  assert.deepEqual(socket.of("start").map(({ id }) => id), ["u1", "u2"]);
});

test("told that its utterance has ended, the page stops sending it, and shows its answer later", async () => {
  satellite.tap();
  satellite.segment(opens());
  satellite.message({ type: "ended", id: "u1" });
  assert.equal(microphone.ends, 1);
  assert.ok(encoders[0].isClosed);
  satellite.segment(goesOn(5));
  satellite.segment(closes(CLOSED.ENDED));
  await settle();
  answer("u1", "Stop.", { end: "endpoint" });
  assert.equal(microphone.ends, 1);
  assert.deepEqual(socket.types, ["start", "audio"]);
  assert.deepEqual([view.answer, view.talk], ["Stop.", "always"]);
});

test("told so, the rest of a press does not follow", () => {
  satellite.press();
  satellite.segment(opens());
  satellite.message({ type: "ended", id: "u1" });
  assert.equal(microphone.orders.at(-1), LISTEN.WAITING);
});

test("the end of another utterance, or of one that has ended here, ends nothing", async () => {
  satellite.tap();
  await speak();
  satellite.segment(opens());
  for (const id of ["u1", "else", null, 7, undefined]) satellite.message({ type: "ended", id });
  assert.equal(microphone.ends, 0);
  satellite.segment(closes());
  await settle();
  assert.equal(socket.of("stop").length, 2);
});

test("told of an open phrase, the microphone waits longer, if it is that of the open utterance", async () => {
  satellite.tap();
  satellite.message({ type: "open", id: "u1" });
  await speak();
  satellite.message({ type: "open", id: "u1" });
  satellite.segment(opens());
  for (const id of ["u1", null, 7, undefined]) satellite.message({ type: "open", id });
  assert.equal(microphone.hints, 0);
  satellite.message({ type: "open", id: "u2" });
  assert.equal(microphone.hints, 1);
});

test("the rest of a press does not follow an end by the service", () => {
  satellite.press(clock.now);
  satellite.segment(opens());
  answer("u1", "Stop.", { end: "endpoint" });
  assert.equal(microphone.orders.at(-1), LISTEN.WAITING);
});

test("a microphone that is gone ends the utterance", async () => {
  satellite.tap();
  satellite.segment(opens());
  satellite.segment(null);
  await settle();
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
});

test("a refused microphone ends always-on", () => {
  microphone.open = () => (microphone.problem = { title: "no", text: "", inTab: false });
  satellite.tap();
  assert.ok(!view.always);
  assert.equal(view.problem.title, "no");
});

test("a tap on suspended audio resumes it, and does not stop always-on", () => {
  satellite.tap();
  microphone.state = MICROPHONE.SUSPENDED;
  satellite.changed();
  assert.equal(view.talk, "suspended");
  satellite.tap();
  assert.equal(view.talk, "always");
});

test("a microphone that nobody uses is closed", () => {
  satellite.press(clock.now);
  clock.now += 5;
  satellite.release(clock.now);
  satellite.tick();
  assert.equal(microphone.state, MICROPHONE.OPEN);
  clock.now += IDLE_S + 1;
  satellite.tick();
  assert.equal(microphone.state, MICROPHONE.CLOSED);
});

test("always-on is never closed, and survives a reload, as does mute", () => {
  satellite.resume({ always: true, muted: false });
  assert.equal(microphone.state, MICROPHONE.OPEN);
  clock.now += 10 * IDLE_S;
  satellite.tick();
  clock.now += 10 * IDLE_S;
  satellite.tick();
  assert.equal(microphone.state, MICROPHONE.OPEN);
});

test("a muted page stays muted over a reload", () => {
  satellite.resume({ always: true, muted: true });
  assert.equal(microphone.state, MICROPHONE.CLOSED);
  assert.deepEqual([view.talk, microphone.orders.at(-1)], ["muted", LISTEN.OFF]);
});

test("who speaks while the service is away is told if it was for nothing", async () => {
  satellite.tap();
  satellite.down("the service is not there", false);
  assert.equal(view.link.state, "down");
  await speak();
  clock.now += 40;
  satellite.tick();
  assert.match(view.note, /lost/);
});

test("an utterance during which the machine slept is aborted", async () => {
  satellite.tap();
  satellite.segment(opens(), clock.now);
  clock.now += 3600;
  satellite.segment(closes(CLOSED.SLEPT), clock.now);
  await settle();
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  assert.match(view.note, /lost/);
  assert.equal(view.talk, "always");
});

test("an end that waited for the page has its age", async () => {
  satellite.tap();
  const heardAt = clock.now;
  clock.now += 8; // The page stood still.
  satellite.segment(opens(), heardAt);
  satellite.segment(goesOn(), heardAt + 0.5);
  assert.deepEqual(socket.types, []);
  satellite.segment(closes(), heardAt + 1);
  await settle();
  assert.deepEqual(socket.types, ["start", "audio", "audio", "stop"]);
  assert.equal(socket.of("start")[0].age_ms, 7000);
});

test("speech that goes on while the page catches up is sent, and is not old", () => {
  satellite.tap();
  clock.now += 8;
  satellite.segment(opens(), clock.now - 7);
  satellite.segment(goesOn(), clock.now - 0.1);
  assert.deepEqual(socket.types, ["start", "audio", "audio"]);
  assert.equal(socket.of("start")[0].age_ms, 0);
});

test("speech that waited too long for the page is never sent, and the person is told", async () => {
  satellite.tap();
  const heardAt = clock.now;
  clock.now += 40;
  satellite.segment(opens(), heardAt);
  satellite.segment(closes(), heardAt + 1);
  await settle();
  satellite.tick();
  assert.deepEqual(socket.types, []);
  assert.match(view.note, /lost/);
});

test("what a lost microphone gave last is as old as its last frame", async () => {
  satellite.down("the service is not there", false);
  satellite.tap();
  satellite.segment(opens(), clock.now);
  clock.now += 5; // Nothing comes, until it is known to be lost.
  satellite.segment(null);
  await settle();
  satellite.up(socket);
  assert.equal(socket.of("start")[0].age_ms, 5000);
});

test("an encoder that ends late changes no age", async () => {
  satellite.tap();
  satellite.down("the service is not there", false);
  satellite.segment(opens(), clock.now);
  encoders[0].finish = async () => (clock.now += 3);
  satellite.segment(closes(), clock.now);
  await settle();
  satellite.up(socket);
  assert.equal(socket.of("start")[0].age_ms, 3000);
});

const codecs = () => socket.of("start").map(({ codec }) => codec);

test("an encoder that gives up is replaced by PCM, and the person is told", async () => {
  satellite.tap();
  satellite.segment(opens());
  encoders[0].failed();
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
  assert.match(view.note, /say it again/);
  assert.equal(view.talk, "always");
  satellite.segment(goesOn());
  satellite.segment(closes());
  assert.equal(socket.types.length, 3);
  await speak();
  assert.deepEqual(codecs(), ["opus", "pcm_s16le"]);
  assert.deepEqual(socket.types.slice(3), ["start", "audio", "stop"]);
});

test("an encoder that gives up in the middle of some frames gets no more of them", () => {
  satellite.tap();
  satellite.segment(opens());
  encoders[0].push = () => encoders[0].failed();
  satellite.segment({ ...goesOn(3), flush: true });
  assert.deepEqual(socket.types, ["start", "audio", "abort"]);
});

test("an encoder that gives up at the end of an utterance ends no other one", async () => {
  satellite.tap();
  satellite.segment(opens());
  let giveUp = null;
  encoders[0].finish = () => new Promise((resolve) => (giveUp = resolve));
  satellite.segment(closes());
  satellite.segment(opens());
  encoders[0].failed();
  giveUp();
  await settle();
  assert.match(view.note, /say it again/);
  satellite.segment(closes());
  await settle();
  assert.deepEqual(socket.types, ["start", "audio", "abort", "start", "audio", "stop"]);
  assert.equal(socket.of("stop")[0].id, "u2");
});

test("where no encoder can be made, nothing is lost", async () => {
  encoders = null;
  satellite.tap();
  await speak();
  assert.deepEqual(socket.types, ["start", "audio", "stop"]);
  assert.deepEqual(codecs(), ["pcm_s16le"]);
  assert.equal(view.note, "");
});

test("another page takes over: nothing is heard, kept or sent any more", async () => {
  satellite.tap();
  await speak();
  satellite.segment(opens());
  satellite.down("another page speaks as this room", true);
  assert.deepEqual([view.talk, view.note], ["refused", "Another page speaks as this room."]);
  assert.equal(microphone.state, MICROPHONE.CLOSED);
  assert.equal(microphone.orders.at(-1), LISTEN.OFF);
  assert.ok(encoders.at(-1).isClosed);
  const next = new FakeSocket();
  satellite.up(next);
  assert.deepEqual(next.sent, []);
});

test("a press on a page that was replaced connects it again, and it goes on as before", () => {
  satellite.tap();
  satellite.down("Another page speaks as this room", true);
  satellite.tap();
  satellite.up(new FakeSocket());
  assert.deepEqual([view.talk, microphone.orders.at(-1)], ["always", LISTEN.ACTIVE]);
});

test("who holds the button of a page that was replaced is heard", () => {
  satellite.down("Another page speaks as this room", true);
  satellite.press(clock.now);
  assert.equal(microphone.orders.at(-1), LISTEN.HELD);
});

test("a new room does not get the words of the old one", async () => {
  satellite.tap();
  await speak();
  satellite.segment(opens());
  satellite.move();
  assert.deepEqual(socket.types, ["start", "audio", "stop", "start", "audio", "abort"]);
  const next = new FakeSocket();
  satellite.up(next);
  satellite.segment(goesOn());
  satellite.segment(closes());
  await settle();
  assert.deepEqual(next.sent, []);
  assert.equal(view.talk, "always");
});

test("another name brings back a page that was refused, as it was", () => {
  satellite.tap();
  satellite.down("not this room", true);
  satellite.move();
  satellite.up(new FakeSocket());
  assert.deepEqual([view.talk, microphone.state], ["always", MICROPHONE.OPEN]);
});

test("another room is not switched off because the last one was", () => {
  satellite.message({ type: "settings", enabled: false });
  satellite.move();
  assert.equal(view.talk, "idle");
});

test("whatever switches always-on or mute, the last word is kept", () => {
  satellite.resume({ always: false, muted: false });
  assert.deepEqual(kept, []);
  satellite.tap();
  assert.deepEqual(kept.at(-1), { always: true, muted: false });
  satellite.mute(true);
  assert.deepEqual(kept.at(-1), { always: true, muted: true });
  satellite.press(clock.now);
  assert.deepEqual(kept.at(-1), { always: false, muted: false });
  satellite.release(clock.now);
  microphone.close();
  microphone.problem = { title: "not allowed", text: "", inTab: false };
  satellite.changed();
  assert.deepEqual(kept.at(-1), { always: false, muted: false });
  assert.ok(!satellite.isOnWatch);
});

test("the screen need not stay on for a page that was muted or replaced", () => {
  satellite.tap();
  assert.ok(satellite.isOnWatch);
  satellite.mute(true);
  assert.ok(!satellite.isOnWatch);
  satellite.mute(false);
  satellite.down("Another page speaks as this room", true);
  assert.ok(!satellite.isOnWatch);
});

test("how long the button was pressed is what the person did, not when the page heard of it", () => {
  satellite.press(3);
  clock.now += 10 * HOLD_S;
  satellite.release(3 + HOLD_S / 2);
  assert.equal(view.talk, "always");
});

/** What leads to each thing that the button shows, and whether speech would be heard then. */
const STATES = {
  idle: { hears: false, by: () => {} },
  opening: { hears: false, by: () => ((microphone.open = () => (microphone.state = MICROPHONE.OPENING)), satellite.tap()) },
  suspended: { hears: false, by: () => ((microphone.open = () => (microphone.state = MICROPHONE.SUSPENDED)), satellite.tap()) },
  lost: { hears: false, by: () => ((microphone.open = () => (microphone.state = MICROPHONE.LOST)), satellite.tap()) },
  held: { hears: true, by: () => satellite.press(clock.now) },
  always: { hears: true, by: () => satellite.tap() },
  speech: { hears: true, by: () => (satellite.tap(), satellite.segment(opens())) },
  waiting: { hears: true, by: async () => (satellite.tap(), await speak()) },
  muted: { hears: false, by: () => (satellite.tap(), satellite.mute(true)) },
  disabled: { hears: false, by: () => (satellite.tap(), satellite.message({ type: "settings", enabled: false })) },
  refused: { hears: false, by: () => (satellite.tap(), satellite.down("another page", true)) },
};

for (const [talk, { hears, by }] of Object.entries(STATES)) {
  test(`the button shows: ${talk}`, async () => {
    await by();
    assert.deepEqual([view.talk, view.hears], [talk, hears]);
  });
}

test("who lets go of the button sees that the answer is awaited", async () => {
  satellite.press(clock.now);
  satellite.segment(opens());
  clock.now += 1;
  satellite.release(clock.now);
  satellite.segment(closes(CLOSED.RELEASED));
  await settle();
  assert.deepEqual([view.talk, view.hears], ["waiting", false]);
  answer("u1", "Turn on the light.");
  assert.equal(view.talk, "idle");
});

test("what the service does not have yet is not awaited from it, and the person is told", async () => {
  satellite.tap();
  satellite.down("the service is not there", false);
  await speak();
  assert.equal(view.talk, "always");
  assert.match(view.note, /when the service is back/);
  satellite.up(new FakeSocket());
  assert.deepEqual([view.talk, view.note], ["waiting", ""]);
});

test("the last answer is old from the first word until the next answer", async () => {
  satellite.tap();
  await speak();
  answer("u1", "one");
  assert.ok(!view.isOld);
  await speak();
  satellite.message({ type: "result", id: "u2", outcome: "no_speech", text: "", end: "stop" });
  assert.deepEqual([view.isOld, view.answer, view.note], [true, "one", "Nothing was understood."]);
  await speak();
  answer("u3", "three");
  assert.ok(!view.isOld);
});

const endings = {
  mute: () => satellite.mute(true),
  "the switch of the house": () => satellite.message({ type: "settings", enabled: false }),
  "the age of the utterance": () => (satellite.dropped(), satellite.tick()),
};
for (const [ending, end] of Object.entries(endings)) {
  test(`the text so far goes with its utterance: ${ending}`, () => {
    satellite.tap();
    satellite.segment(opens());
    satellite.message({ type: "partial", id: "u1", text: "turn on" });
    end();
    assert.equal(view.partial, "");
  });
}

test("the same words twice are two answers, with their times", async () => {
  satellite.tap();
  await speak();
  answer("u1", "Stop.");
  const first = view.answers;
  await speak();
  answer("u2", "Stop.");
  assert.deepEqual([view.answer, view.answers, view.answeredAt], ["Stop.", first + 1, "12:00"]);
});

test("the same note twice is told twice", async () => {
  satellite.tap();
  await speak();
  await speak();
  const nothing = (id) => satellite.message({ type: "result", id, outcome: "no_speech", text: "", end: "stop" });
  nothing("u1");
  const first = view.notes;
  nothing("u2");
  assert.equal(view.notes, first + 1);
});

test("who waits for an answer that does not come is told", async () => {
  satellite.tap();
  await speak();
  clock.now += 61;
  satellite.tick();
  assert.equal(view.talk, "always");
  assert.match(view.note, /No answer/);
});
