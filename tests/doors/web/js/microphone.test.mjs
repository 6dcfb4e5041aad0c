// The microphone with fakes of what a browser gives it.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { FakeBrowser } from "./browser.mjs";
import { FakeClock, load } from "./parts.mjs";

const { Microphone } = await load("microphone");
const { MICROPHONE } = await load("microphone_states");

const SILENCE_DB = -120;
const ROOM_DB = -60;

let clock, browser, contexts, nodes, streams, segments, changes, microphone;

const settle = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  clock = new FakeClock();
  browser = new FakeBrowser();
  ({ contexts, nodes, streams } = browser);
  [segments, changes] = [[], 0];
  microphone = new Microphone({
    wasm: null,
    sent: "raw",
    clock: clock.read,
    segment: (segment, heardAt) => segments.push({ segment, heardAt }),
    level: () => {},
    changed: () => (changes += 1),
  });
});

afterEach(() => mock.restoreAll());

async function open() {
  microphone.open();
  await settle();
  contexts.at(-1).modules.resolve();
  await settle();
}

test("a segment that waited for the page has the time at which it was heard", async () => {
  await open();
  mock.method(Date, "now", () => 1e12);
  nodes[0].say({ type: "segment", order: 0, utterance: 1, heardAt: 1e12 - 38_000, segment: "late" });
  nodes[0].say({ type: "segment", order: 0, utterance: 1, heardAt: 1e12 + 500, segment: "clock set" });
  assert.deepEqual(segments, [
    { segment: "late", heardAt: clock.now - 38 },
    { segment: "clock set", heardAt: clock.now },
  ]);
});

/** Give levels of the worklet for so many seconds. */
function hear(seconds, levelDb) {
  for (const end = clock.now + seconds; clock.now < end; clock.now += 0.25) {
    nodes.at(-1).say({ type: "level", levelDb });
    microphone.tick();
  }
}

test("a microphone that gives nothing but silence is reported, at the beginning and later", async () => {
  await open();
  hear(11, SILENCE_DB);
  assert.match(microphone.problem.title, /nothing but silence/);
  hear(1, ROOM_DB);
  assert.equal(microphone.problem, null);
  hear(9, SILENCE_DB);
  assert.equal(microphone.problem, null);
  hear(2, SILENCE_DB);
  assert.match(microphone.problem.title, /nothing but silence/);
});

test("silence between sounds is no fault", async () => {
  await open();
  for (let n = 0; n < 10; n += 1) {
    hear(5, SILENCE_DB);
    hear(1, ROOM_DB);
  }
  assert.equal(microphone.problem, null);
});

test("audio that is paused is not taken for silence", async () => {
  await open();
  hear(1, SILENCE_DB);
  contexts[0].state = "interrupted";
  for (const end = clock.now + 60; clock.now < end; clock.now += 0.25) microphone.tick();
  assert.equal(microphone.problem, null);
});

test("a microphone that something else mutes is reported at once", async () => {
  await open();
  const [track] = streams[0].tracks;
  hear(1, ROOM_DB);
  const before = changes;
  track.muted = true;
  track.emit("mute");
  assert.match(microphone.problem.title, /is muted/);
  track.muted = false;
  track.emit("unmute");
  assert.equal(microphone.problem, null);
  assert.equal(changes, before + 2);
});

for (const order of [
  [0, 1],
  [1, 0],
]) {
  test(`Mute and Unmute during the opening leave one audio, ${order}`, async () => {
    microphone.open();
    await settle();
    microphone.close();
    microphone.open();
    await settle();
    for (const n of order) {
      contexts[n]?.modules.resolve();
      await settle();
    }
    assert.equal(microphone.state, MICROPHONE.OPEN);
    assert.deepEqual(browser.running, [nodes.at(-1).context]);
    assert.equal(contexts.filter(({ state }) => state !== "closed").length, 1);
    assert.equal(browser.live.length, 1);
    microphone.close();
    await settle();
    assert.deepEqual([browser.running, browser.live], [[], []]);
  });
}

test("Mute during the opening leaves no audio running, and the next one uses it", async () => {
  microphone.open();
  await settle();
  microphone.close();
  contexts[0].modules.resolve();
  await settle();
  assert.equal(microphone.state, MICROPHONE.CLOSED);
  assert.deepEqual([browser.running, browser.live], [[], []]);
  await open();
  assert.equal(microphone.state, MICROPHONE.OPEN);
  assert.equal(contexts.length, 1);
});

test("an attempt that was given up takes no context away from the one that runs", async () => {
  microphone.open();
  await settle();
  microphone.close();
  await open();
  contexts[0].createMediaStreamSource = () => {
    throw new DOMException("", "NotSupportedError");
  };
  contexts[0].modules.resolve();
  contexts[1].createMediaStreamSource = contexts[0].createMediaStreamSource;
  await settle();
  assert.equal(microphone.state, MICROPHONE.OPEN);
  assert.deepEqual(browser.running, [nodes[0].context]);
});

/** Ticks without a word of the worklet. */
function wait(seconds, everyS = 0.25) {
  for (const end = clock.now + seconds; clock.now < end; ) {
    clock.now += everyS;
    microphone.tick();
  }
}

for (const hidden of [false, true]) {
  test(`audio that stands still is opened again${hidden ? ", also on a hidden page" : ""}`, async () => {
    await open();
    document.hidden = hidden;
    hear(1, ROOM_DB);
    wait(4, hidden ? 1 : 0.25);
    await settle();
    assert.equal(streams.length, 2);
    assert.ok(streams[0].tracks[0].stopped);
  });
}

test("a hidden page whose ticks are a minute apart notices, too, that its audio stands still", async () => {
  await open();
  document.hidden = true;
  for (let n = 0; n < 5; n += 1) {
    hear(59.75, ROOM_DB);
    wait(60, 60);
  }
  assert.equal(streams.length, 1);
  wait(120, 60);
  await settle();
  assert.equal(streams.length, 2);
});

test("a page that stood still reads what the worklet said before it judges", async () => {
  await open();
  hear(1, ROOM_DB);
  clock.now += 45;
  microphone.tick();
  hear(1, ROOM_DB);
  assert.equal(streams.length, 1);
});

test("paused audio is resumed, also on a hidden page", async () => {
  await open();
  document.hidden = true;
  await contexts[0].suspend();
  wait(1);
  await settle();
  assert.equal(microphone.state, MICROPHONE.OPEN);
});

test("a hidden page that gets no microphone tries again, and always-on stays on", async () => {
  await open();
  const { mediaDevices } = navigator;
  const give = mediaDevices.getUserMedia;
  mediaDevices.getUserMedia = async () => {
    throw new DOMException("", "InvalidStateError");
  };
  document.hidden = true;
  wait(4);
  await settle();
  assert.equal(microphone.state, MICROPHONE.LOST);
  document.hidden = false;
  mediaDevices.getUserMedia = give;
  wait(6);
  await settle();
  contexts.at(-1).modules.resolve();
  await settle();
  assert.equal(microphone.state, MICROPHONE.OPEN);
});
