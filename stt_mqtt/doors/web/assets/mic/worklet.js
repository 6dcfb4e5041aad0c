/** The AudioWorklet: runs the chain off the main thread, and talks to `microphone.js`. */

import { Chain } from "./chain.js";
import { CLOSED, LISTEN } from "./segmenter.js";

/** Frames of 30 ms between two messages for the level meter. */
const METER_FRAMES = 3;
/** No audio for so long, in milliseconds: it stood still. */
const STOOD_STILL_MS = 2000;

class MicrophoneProcessor extends AudioWorkletProcessor {
  #chain;
  #frames = 0;
  #peakDb = -Infinity;
  #mono = new Float32Array(0);
  /** Unix time of the newest audio, in milliseconds: the page may read a message much later. */
  #heardAt = Date.now();
  /** Number of the last order: what was sent before it may be out of date. */
  #order = 0;
  /** Utterances that began. */
  #opened = 0;
  #isOver = false;

  constructor({ processorOptions: { wasm, sent, listen } }) {
    super();
    const take = (frame) => this.#take(frame);
    const options = { rate: sampleRate, sent, take };
    try {
      this.#chain = new Chain({ ...options, wasm });
    } catch (error) {
      this.#chain = new Chain({ ...options, wasm: null });
      this.port.postMessage({ type: "no-wasm", reason: String(error) });
    }
    this.#chain.listen = listen;
    this.port.onmessage = ({ data }) => this.#obey(data);
  }

  process([channels]) {
    if (this.#isOver) return false;
    const now = Date.now();
    if (now - this.#heardAt > STOOD_STILL_MS) this.#send(this.#chain.interrupt());
    this.#heardAt = now;
    if (channels.length > 0) this.#chain.push(this.#mix(channels));
    return true;
  }

  #mix(channels) {
    if (channels.length === 1) return channels[0];
    if (this.#mono.length !== channels[0].length) this.#mono = new Float32Array(channels[0].length);
    for (let n = 0; n < this.#mono.length; n += 1) {
      this.#mono[n] = channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length;
    }
    return this.#mono;
  }

  #obey({ type, order, listen, utterance, unsent }) {
    this.#order = order;
    if (type === "close") {
      this.#isOver = true;
      this.#chain.close();
    } else if (type === "ended") {
      if (utterance === this.#opened) this.#send(this.#chain.endByService(unsent));
    } else if (type === "more") {
      if (utterance === this.#opened) this.#chain.expectMore();
    } else if (type === "listen") {
      const held = this.#chain.listen === LISTEN.HELD;
      this.#chain.listen = listen;
      if (listen === LISTEN.OFF) this.#send(this.#chain.cut(CLOSED.MUTED));
      else if (held || listen === LISTEN.WAITING) this.#send(this.#chain.cut(CLOSED.RELEASED));
    }
  }

  #take({ levelDb, segment }) {
    this.#frames += 1;
    this.#peakDb = Math.max(this.#peakDb, levelDb);
    if (this.#frames >= METER_FRAMES) {
      this.port.postMessage({ type: "level", levelDb: this.#peakDb });
      this.#frames = 0;
      this.#peakDb = -Infinity;
    }
    this.#send(segment);
  }

  #send(segment) {
    const { opened, frames, closed, flush } = segment;
    if (!opened && frames.length === 0 && closed === null && !(flush && this.#chain.speaking)) return;
    if (opened) this.#opened += 1;
    // Without a transfer: the segmenter keeps frames that were sent.
    const message = { order: this.#order, utterance: this.#opened, heardAt: this.#heardAt, segment };
    this.port.postMessage({ type: "segment", ...message });
  }
}

registerProcessor("stt-mqtt-microphone", MicrophoneProcessor);
