// The Opus encoder with fakes of the WebCodecs.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { load } from "./parts.mjs";

const { CHUNK_FRAMES, OpusEncoder } = await load("encoder");

class FakeAudioEncoder {
  state = "unconfigured";
  frames = 0;
  constructor({ output, error }) {
    Object.assign(this, { output, error });
    made = this;
  }
  configure() {
    this.state = "configured";
  }
  /** A packet of one byte for each two frames. */
  encode() {
    this.frames += 1;
    if (this.frames % 2 === 0) this.output({ byteLength: 1, copyTo: (to) => to.set([this.frames]) });
  }
  async flush() {
    if (this.frames % 2 === 1) this.encode();
  }
  close() {
    this.state = "closed";
  }
}

let made, chunks, failures, encoder;
const settle = () => new Promise((resolve) => setImmediate(resolve));

globalThis.AudioEncoder = FakeAudioEncoder;
globalThis.AudioData = class {
  close() {}
};

beforeEach(() => {
  [chunks, failures] = [[], 0];
  mock.timers.enable({ apis: ["setTimeout"] });
  encoder = new OpusEncoder(
    (chunk) => chunks.push([...chunk]),
    () => (failures += 1),
  );
});

afterEach(() => mock.timers.reset());

function speak(frames) {
  for (let n = 0; n < frames; n += 1) encoder.push(new Float32Array(480));
}

/** Let so many half seconds pass, in which the page does its work. */
async function pass(steps) {
  for (let n = 0; n < steps; n += 1) {
    await settle();
    mock.timers.tick(500);
  }
  await settle();
}

test("packets are behind their lengths, some to a chunk, and the rest comes at the end", async () => {
  speak(CHUNK_FRAMES + 1);
  assert.deepEqual(chunks, [[1, 0, 2, 1, 0, 4, 1, 0, 6, 1, 0, 8]]);
  await encoder.finish();
  assert.deepEqual(chunks[1], [1, 0, 10]);
  assert.deepEqual([made.state, failures], ["closed", 0]);
});

test("an encoder that gives up says so once", async () => {
  speak(3);
  made.error(new DOMException("", "EncodingError"));
  await encoder.finish();
  assert.deepEqual([made.state, failures, chunks], ["closed", 1, []]);
});

test("an encoder that takes no frame has given up", () => {
  made.encode = () => {
    throw new DOMException("", "OperationError");
  };
  speak(3);
  assert.deepEqual([made.state, failures], ["closed", 1]);
});

test("an encoder that cannot give the rest has given up", async () => {
  made.flush = () => Promise.reject(new DOMException("", "EncodingError"));
  speak(3);
  await encoder.finish();
  assert.deepEqual([failures, chunks], [1, []]);
});

test("an encoder that never gives the rest has given up after a while", async () => {
  made.flush = () => new Promise(() => {});
  speak(3);
  const finished = encoder.finish();
  await pass(9);
  assert.equal(failures, 0);
  await pass(1);
  await finished;
  assert.equal(failures, 1);
});

test("a page that stood still waits for the rest all the same", async () => {
  let flushed = null;
  made.flush = () => new Promise((resolve) => (flushed = resolve));
  speak(4);
  const finished = encoder.finish();
  await settle();
  mock.timers.tick(60_000);
  await settle();
  flushed();
  await finished;
  assert.deepEqual([failures, chunks], [0, [[1, 0, 2, 1, 0, 4]]]);
});
