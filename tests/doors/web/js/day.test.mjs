// A day without a reload, in seconds: the page stays small, and hears at the end as at the start.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, FakeEncoder, FakeSocket, load } from "./parts.mjs";

const { Uplink } = await load("uplink");
const { Connection } = await load("connection");
const { Conversation } = await load("conversation");
const { Satellite, EARLIER } = await load("satellite");
const { Segmenter } = await load("segmenter");
const { VoiceActivity, FRAME_S } = await load("activity");
const { MICROPHONE } = await load("microphone_states");

const DAY_S = 24 * 3600;
const EVERY_S = 20;
const OUTAGE_EVERY_S = 1800;
const OUTAGE_S = 8;

test("a day of speech, outages and silence", async () => {
  const clock = new FakeClock();
  const segmenter = new Segmenter();
  const activity = new VoiceActivity();
  let listen = "off";
  let socket = null;
  let view = null;
  let ids = 0;
  const said = new Set();
  const answered = new Set();
  const microphone = {
    state: MICROPHONE.OPEN,
    problem: null,
    open: () => {},
    close: () => {},
    ended: () => {},
    tick: () => {},
    listen: (next) => (listen = next),
  };
  const uplink = new Uplink({
    newId: () => {
      said.add(`u${(ids += 1)}`);
      return `u${ids}`;
    },
    ended: (utterance) => satellite.ended(utterance),
    unanswered: () => satellite.unanswered(),
    dropped: (utterance) => said.delete(utterance.id),
  });
  const conversation = new Conversation({
    uplink,
    codec: FakeEncoder.codec,
    makeEncoder: (data) => new FakeEncoder(data),
    clock: clock.read,
    changed: () => satellite.changed(),
  });
  const connection = new Connection({
    makeSocket: () => {
      socket = new FakeSocket();
      return socket;
    },
    random: () => 0.5,
    clock: clock.read,
    up: (one) => satellite.up(one),
    down: (reason, isFinal) => satellite.down(reason, isFinal),
    message: (fields) => satellite.message(fields),
  });
  const satellite = new Satellite({
    clock: clock.read,
    microphone,
    conversation,
    uplink,
    connection,
    show: (seen) => (view = seen),
    keep: () => {},
    timeOfDay: () => "12:00",
  });
  satellite.tap();

  const isOut = (now) => now % OUTAGE_EVERY_S < OUTAGE_S;
  const serve = (now) => {
    if (isOut(now)) {
      if (socket.readyState !== 3) socket.fail();
      return;
    }
    if (socket.readyState === 0) socket.accept();
    for (const message of socket.sent.splice(0)) {
      if (message.type === "ping") socket.say({ type: "pong" });
      if (message.type !== "stop") continue;
      answered.add(message.id);
      socket.say({ type: "result", id: message.id, outcome: "transcript", text: message.id, end: "stop" });
    }
  };
  const pcm = new Float32Array([1]);
  let largest = 0;
  for (let frame = 0; frame * FRAME_S < DAY_S; frame += 1) {
    clock.now += FRAME_S;
    const at = (frame * FRAME_S) % EVERY_S;
    const speaks = at > 5 && at < 7;
    const judged = activity.process(speaks ? -25 + (frame % 7) : -60 + (frame % 3), speaks ? 0.9 : 0.05);
    const segment = segmenter.push({ pcm, ...judged }, listen);
    if (segment.opened || segment.frames.length || segment.closed) {
      satellite.segment(segment);
      if (segment.closed) await null;
    }
    if (frame % 8 === 0) {
      satellite.tick();
      serve(clock.now);
      largest = Math.max(largest, uplink.bytes);
    }
  }
  assert.ok(said.size > 0.9 * (DAY_S / EVERY_S), `${said.size}`);
  assert.equal(answered.size, said.size);
  assert.equal(view.answer, `u${ids}`);
  assert.ok(view.earlier.length <= EARLIER);
  assert.equal(uplink.waiting, 0);
  assert.equal(uplink.bytes, 0);
  assert.ok(largest < 64 * 1024, `${largest}`);
});
