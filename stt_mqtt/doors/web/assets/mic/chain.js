/** From the samples of a microphone to utterances: everything that runs in the AudioWorklet. */

import { BandMeter, FRAME_SAMPLES, RATE, VoiceActivity } from "./activity.js";
import { highPass, Resampler } from "./filters.js";
import { Leveller } from "./leveller.js";
import { RNNOISE_FRAME, RNNOISE_RATE, Rnnoise } from "./rnnoise.js";
import { CLOSED, LISTEN, Segmenter } from "./segmenter.js";

/** What the service is sent. The voice detector always hears the cleaned audio. */
export const SENT = { RAW: "raw", NORMALISED: "normalised", DENOISED: "denoised" };

const CUT_OFF_HZ = 100;
/** Most samples of one call: an AudioWorklet gives 128 today and may give more. */
const MAX_INPUT = 4096;
/** No microphone gives larger samples. Filters never forget a NaN, nor what overflows in them. */
const LARGEST = 8;
const isSound = (sample) => Math.abs(sample) <= LARGEST;
/** Without a noise suppressor, the level alone decides. */
const SURELY = 1;

/** Collects samples and passes them on in blocks of one length. */
class Blocks {
  #block;
  #filled = 0;
  #take;

  constructor(length, take) {
    this.#block = new Float32Array(length);
    this.#take = take;
  }

  push(samples, count) {
    for (let from = 0; from < count; ) {
      const room = this.#block.length - this.#filled;
      const part = samples.subarray(from, Math.min(from + room, count));
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled === this.#block.length) {
        this.#filled = 0;
        this.#take(this.#block);
      }
    }
  }
}

/** One stream of 16 kHz, made of the frames of the noise suppressor. */
class Stream {
  #resampler = new Resampler(RNNOISE_RATE, RATE, RNNOISE_FRAME);
  #resampled = new Float32Array(RNNOISE_FRAME);
  #blocks;

  constructor(take) {
    this.#blocks = new Blocks(FRAME_SAMPLES, take);
  }

  push(frame) {
    this.#blocks.push(this.#resampled, this.#resampler.push(frame, this.#resampled));
  }
}

/** The chain of one microphone. It has no clock: its time is the audio. */
export class Chain {
  #toRnnoise;
  #highPass = highPass(CUT_OFF_HZ, RNNOISE_RATE);
  #rnnoise;
  #leveller;
  #meter = new BandMeter();
  #activity = new VoiceActivity();
  #segmenter = new Segmenter();
  #raw;
  #rawFrame = new Float32Array(FRAME_SAMPLES);
  #cleaned;
  #cleanedFrame = new Float32Array(FRAME_SAMPLES);
  /** The raw frame before this one: the suppressor is one frame late. */
  #late = new Float32Array(RNNOISE_FRAME);
  #next = new Float32Array(RNNOISE_FRAME);
  #probability = 0;
  #sent;
  #take;
  /** Whether an utterance may begin; see `LISTEN`. */
  listen = LISTEN.OFF;

  /**
   * `rate`: of the input. `wasm`: bytes of RNNoise, null to do without. `sent`: see `SENT`.
   * `take` gets `{ levelDb, probability, segment }` for each frame of 30 ms. The level is that of
   * the raw audio, relative to a full-scale sine.
   */
  constructor({ rate, wasm, sent, take }) {
    this.#sent = wasm === null && sent === SENT.DENOISED ? SENT.RAW : sent;
    this.#take = take;
    this.#rnnoise = wasm === null ? null : new Rnnoise(wasm);
    this.#leveller = this.#sent === SENT.NORMALISED ? new Leveller() : null;
    const blocks = new Blocks(RNNOISE_FRAME, (block) => this.#suppress(block));
    if (rate === RNNOISE_RATE) {
      this.#toRnnoise = (samples) => blocks.push(samples, samples.length);
    } else {
      const resampler = new Resampler(rate, RNNOISE_RATE, MAX_INPUT);
      const output = new Float32Array(resampler.maxOutput(MAX_INPUT));
      this.#toRnnoise = (samples) => blocks.push(output, resampler.push(samples, output));
    }
    this.#raw = new Stream((frame) => this.#rawFrame.set(frame));
    this.#cleaned = new Stream((frame) => {
      this.#cleanedFrame.set(frame);
      this.#analyse();
    });
  }

  /** Whether an utterance is open. */
  get speaking() {
    return this.#segmenter.speaking;
  }

  /** Process mono samples at the rate of the input, at most 4096. */
  push(samples) {
    // Most of the time, nothing is copied here.
    const sound = samples.every(isSound) ? samples : samples.map((one) => (isSound(one) ? one : 0));
    this.#toRnnoise(sound);
  }

  /** Free the memory of WebAssembly. The chain must not be used afterwards. */
  close() {
    this.#rnnoise?.close();
  }

  /** End the open utterance; see `Segmenter.cut`. */
  cut(reason) {
    return this.#segmenter.cut(reason);
  }

  /** The next sample does not follow the last one: abort the open utterance. */
  interrupt() {
    const segment = this.#segmenter.cut(CLOSED.SLEPT);
    this.#segmenter.forget();
    return segment;
  }

  /** The service has ended the open utterance; see `Segmenter.endByService`. */
  endByService(unsent) {
    return this.#segmenter.endByService(unsent);
  }

  /** The service heard the beginning of a phrase; see `Segmenter.expectMore`. */
  expectMore() {
    this.#segmenter.expectMore();
  }

  #suppress(block) {
    this.#highPass.process(block);
    if (this.#rnnoise === null) {
      this.#probability = SURELY;
      this.#raw.push(block);
      this.#cleaned.push(block);
      return;
    }
    this.#next.set(block);
    this.#probability = Math.max(this.#probability, this.#rnnoise.process(block));
    // Both streams have the same number of samples; the cleaned one completes the frame.
    this.#raw.push(this.#late);
    this.#cleaned.push(block);
    [this.#late, this.#next] = [this.#next, this.#late];
  }

  #analyse() {
    const probability = this.#probability;
    this.#probability = 0;
    const levelDb = power(this.#rawFrame);
    const cleanedDb = this.#meter.push(this.#cleanedFrame);
    this.#leveller?.process(this.#rawFrame);
    const pcm = (this.#sent === SENT.DENOISED ? this.#cleanedFrame : this.#rawFrame).slice();
    const activity = this.#activity.process(cleanedDb, probability);
    const segment = this.#segmenter.push({ pcm, ...activity }, this.listen);
    this.#take({ levelDb, probability, segment });
  }
}

function power(frame) {
  const sum = frame.reduce((before, sample) => before + sample * sample, 0);
  return 10 * Math.log10((2 * sum) / frame.length + 1e-12);
}
