// The AudioWorklet with a real message port.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";
import { load } from "./parts.mjs";

const { LISTEN } = await load("segmenter");
const { FRAME_SAMPLES, FRAME_S } = await load("activity");

const RATE = 48000;
const QUANTUM = 128;
const SILENCE = 0;
const VOICE = 0.3;

let Processor, channel, processor, time, unixMs;

globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = channel.port2;
};
globalThis.registerProcessor = (name, made) => (Processor = made);
await load("worklet");

beforeEach(() => {
  channel = new MessageChannel();
  [time, unixMs] = [0, 1e12];
  mock.method(Date, "now", () => unixMs);
  processor = new Processor({ processorOptions: { wasm: null, sent: "raw", listen: LISTEN.ACTIVE } });
});

afterEach(() => {
  mock.restoreAll();
  channel.port1.close();
});

/** A tone over a faint hum: without RNNoise, the level alone decides what is speech. */
function hear(seconds, amplitude) {
  for (const end = time + seconds; time < end; time += QUANTUM / RATE) {
    const samples = Float32Array.from({ length: QUANTUM }, (_, n) => {
      const at = time + n / RATE;
      return 1e-3 * Math.sin(2 * Math.PI * 300 * at) + amplitude * Math.sin(2 * Math.PI * 700 * at);
    });
    unixMs += (QUANTUM / RATE) * 1000;
    processor.process([[samples]]);
  }
}

const command = (fields) => processor.port.onmessage({ data: { order: 1, ...fields } });

/** The segments that came through the port since the last call, each with its time. */
function segments() {
  const seen = [];
  for (let one; (one = receiveMessageOnPort(channel.port1)); ) {
    const { type, segment, heardAt } = one.message;
    if (type === "segment") seen.push({ ...segment, heardAt });
  }
  return seen;
}

const marks = (seen) =>
  seen.flatMap(({ opened, closed }) => (opened ? ["opened"] : closed === null ? [] : [closed]));

test("speech goes on after the service has ended the utterance, and every frame is whole", () => {
  hear(2, SILENCE);
  hear(1, VOICE);
  command({ type: "ended", utterance: 1, unsent: 4 });
  hear(1, VOICE);
  hear(1, SILENCE);
  const seen = segments();
  assert.deepEqual(marks(seen), ["opened", "ended", "opened", "pause"]);
  const frames = seen.slice(seen.findLastIndex(({ opened }) => opened)).flatMap((one) => one.frames);
  assert.ok(frames.length * FRAME_S > 1, `${frames.length} frames`);
  assert.ok(frames.every(({ length }) => length === FRAME_SAMPLES));
});

test("a segment says when it was heard", () => {
  hear(2, SILENCE);
  const before = unixMs;
  hear(1, VOICE);
  const [opened, ...others] = segments();
  assert.ok(before < opened.heardAt && opened.heardAt < before + 300);
  assert.equal(Math.round(others.at(-1).heardAt - opened.heardAt), Math.round(others.length * FRAME_S * 1000));
});

test("the machine slept: the utterance is aborted, and nothing of it begins the next", () => {
  hear(2, SILENCE);
  hear(0.5, VOICE);
  unixMs += 3600_000;
  hear(0.5, VOICE);
  const seen = segments();
  assert.deepEqual(marks(seen), ["opened", "slept", "opened"]);
  const frames = seen.slice(seen.findLastIndex(({ opened }) => opened)).flatMap((one) => one.frames);
  assert.ok(frames.length * FRAME_S <= 0.5, `${frames.length} frames`);
});

test("sleep in silence leaves nothing to begin the next utterance with", () => {
  hear(2, SILENCE);
  unixMs += 3600_000;
  hear(0.4, VOICE);
  const [{ opened, frames }] = segments();
  assert.ok(opened && frames.length * FRAME_S <= 0.4, `${frames.length} frames`);
});

test("a short interruption ends nothing", () => {
  hear(2, SILENCE);
  hear(0.5, VOICE);
  unixMs += 1500;
  hear(0.5, VOICE);
  assert.deepEqual(marks(segments()), ["opened"]);
});
