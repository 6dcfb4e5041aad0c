// The AudioWorklet with a real message port.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";
import { load } from "./parts.mjs";

const { LISTEN } = await load("segmenter");
const { FRAME_SAMPLES, FRAME_S } = await load("activity");

const RATE = 48000;
const QUANTUM = 128;
const SILENCE = 0;
const VOICE = 0.3;

let Processor, channel, processor, time;

globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = channel.port2;
};
globalThis.registerProcessor = (name, made) => (Processor = made);
await load("worklet");

beforeEach(() => {
  channel = new MessageChannel();
  time = 0;
  processor = new Processor({ processorOptions: { wasm: null, sent: "raw", listen: LISTEN.ACTIVE } });
});

afterEach(() => channel.port1.close());

/** A tone over a faint hum: without RNNoise, the level alone decides what is speech. */
function hear(seconds, amplitude) {
  for (const end = time + seconds; time < end; time += QUANTUM / RATE) {
    const samples = Float32Array.from({ length: QUANTUM }, (_, n) => {
      const at = time + n / RATE;
      return 1e-3 * Math.sin(2 * Math.PI * 300 * at) + amplitude * Math.sin(2 * Math.PI * 700 * at);
    });
    processor.process([[samples]]);
  }
}

const command = (fields) => processor.port.onmessage({ data: { order: 1, ...fields } });

/** What came through the port since the last call. */
function segments() {
  const seen = [];
  for (let one; (one = receiveMessageOnPort(channel.port1)); ) {
    if (one.message.type === "segment") seen.push(one.message.segment);
  }
  return seen;
}

test("speech goes on after the service has ended the utterance, and every frame is whole", () => {
  hear(2, SILENCE);
  hear(1, VOICE);
  command({ type: "ended", utterance: 1, unsent: 4 });
  hear(1, VOICE);
  hear(1, SILENCE);
  const seen = segments();
  const marks = seen.flatMap(({ opened, closed }) => (opened ? ["opened"] : closed === null ? [] : [closed]));
  assert.deepEqual(marks, ["opened", "ended", "opened", "pause"]);
  const frames = seen.slice(seen.findLastIndex(({ opened }) => opened)).flatMap((one) => one.frames);
  assert.ok(frames.length * FRAME_S > 1, `${frames.length} frames`);
  assert.ok(frames.every(({ length }) => length === FRAME_SAMPLES));
});
