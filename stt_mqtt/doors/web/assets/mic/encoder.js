/** Encoders of one utterance: Opus by WebCodecs, or PCM where a browser has no encoder. */

import { FRAME_SAMPLES, RATE } from "./activity.js";

/** Frames of 30 ms that are sent together, 240 ms: a message costs the same whatever is in it. */
export const CHUNK_FRAMES = 8;
/** As the satellite program encodes: speech, in packets of 60 ms. */
const OPUS = {
  codec: "opus",
  sampleRate: RATE,
  numberOfChannels: 1,
  bitrate: 32000,
  opus: { application: "voip", signal: "voice", frameDuration: 60000, complexity: 6, format: "opus" },
};
/** An encoder that needs longer for the rest of an utterance has failed. */
const FINISH_STEPS = 10;
const FINISH_STEP_MS = 500;
const FRAME_US = (FRAME_SAMPLES / RATE) * 1e6;

/** A function that makes encoders: `(data, failed) => encoder`, with the `codec` of its start. */
export async function bestEncoder() {
  if (globalThis.AudioEncoder) {
    try {
      if ((await AudioEncoder.isConfigSupported(OPUS)).supported) return OpusEncoder;
    } catch {
      // It does not know the words of the configuration.
    }
  }
  return PcmEncoder;
}

/** Collects pieces and passes them on together. */
class Collector {
  #pieces = [];
  #data;

  constructor(data) {
    this.#data = data;
  }

  add(piece) {
    this.#pieces.push(piece);
  }

  send() {
    const length = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length === 0) return;
    const chunk = new Uint8Array(length);
    let at = 0;
    for (const piece of this.#pieces) {
      chunk.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#data(chunk);
  }
}

/** Opus packets, each behind its length in 2 bytes, little-endian. */
export class OpusEncoder {
  static codec = "opus";
  #encoder;
  #collector;
  #frames = 0;
  #packets = 0;
  #flushing = false;
  #failed;

  /** `data` gets chunks. `failed` is called once if the encoder of the browser gives up. */
  constructor(data, failed) {
    this.#collector = new Collector(data);
    this.#failed = failed;
    this.#encoder = new AudioEncoder({
      output: (chunk) => this.#packet(chunk),
      error: () => this.#fail(),
    });
    this.#encoder.configure(OPUS);
  }

  /** Encode a frame of 30 ms. */
  push(frame) {
    if (this.#encoder.state !== "configured") return;
    const data = new AudioData({
      format: "f32",
      sampleRate: RATE,
      numberOfChannels: 1,
      numberOfFrames: frame.length,
      timestamp: this.#frames * FRAME_US,
      data: frame,
    });
    this.#frames += 1;
    this.#flushing = false;
    try {
      this.#encoder.encode(data);
    } catch {
      this.#fail();
    }
    data.close();
  }

  /** Send what is encoded, and the packets that are still to come, at once. */
  flush() {
    this.#flushing = true;
    this.#collector.send();
  }

  /** Encode the rest, padded with silence, and send it. */
  async finish() {
    if (this.#encoder.state === "closed") return;
    if (await isDone(this.#encoder.flush())) {
      this.#collector.send();
      this.close();
    } else {
      this.#fail();
    }
  }

  /** Give up. */
  close() {
    if (this.#encoder.state !== "closed") this.#encoder.close();
  }

  #fail() {
    this.close();
    this.#failed?.();
    this.#failed = null;
  }

  #packet(chunk) {
    const packet = new Uint8Array(2 + chunk.byteLength);
    new DataView(packet.buffer).setUint16(0, chunk.byteLength, true);
    chunk.copyTo(packet.subarray(2));
    this.#collector.add(packet);
    this.#packets += 1;
    if (this.#flushing || this.#packets % (CHUNK_FRAMES / 2) === 0) this.#collector.send();
  }
}

/** Whether it succeeds in time. It waits in steps: no step ends while the page stands still. */
async function isDone(promise) {
  const settled = promise.then(
    () => true,
    () => false,
  );
  for (let step = 0; step < FINISH_STEPS; step += 1) {
    const pause = new Promise((resolve) => setTimeout(resolve, FINISH_STEP_MS, null));
    const done = await Promise.race([settled, pause]);
    if (done !== null) return done;
  }
  return false;
}

/** 16-bit little-endian samples. */
export class PcmEncoder {
  static codec = "pcm_s16le";
  #collector;
  #frames = 0;

  constructor(data) {
    this.#collector = new Collector(data);
  }

  push(frame) {
    const bytes = new Uint8Array(2 * frame.length);
    const view = new DataView(bytes.buffer);
    frame.forEach((sample, n) => {
      const scaled = Math.round(sample * 32768);
      view.setInt16(2 * n, Math.min(Math.max(scaled, -32768), 32767), true);
    });
    this.#collector.add(bytes);
    this.#frames += 1;
    if (this.#frames % CHUNK_FRAMES === 0) this.#collector.send();
  }

  flush() {
    this.#collector.send();
  }

  async finish() {
    this.#collector.send();
  }

  close() {}
}
