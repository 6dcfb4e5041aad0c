/** Levels, noise floor and voice activity of frames of 30 ms at 16 kHz. */

import { highPass, lowPass } from "./filters.js";

export const RATE = 16000;
export const FRAME_SAMPLES = 480;
export const FRAME_S = FRAME_SAMPLES / RATE;

/** The voice band, without rumble and hiss. */
const BAND_HZ = [200, 4000];
/** The lowest noise floor. Digital silence is quieter than any room. */
const LOWEST_FLOOR_DB = -78;
const SMOOTHING = 0.5;
/** Frames of a span, half a second, and spans in memory, 8 s: people speak no longer without a gap. */
const SPAN = 16;
const SPANS = 16;
/** How far the minimum of the smoothed power of steady noise is below its mean. */
const BIAS_DB = 1.5;
/** Highest noise floor at the start, when the first frames may be speech. */
const FIRST_GUESS_DB = -60;

/** Measures the power in the voice band, in dB relative to a full-scale sine. */
export class BandMeter {
  #high = highPass(BAND_HZ[0], RATE);
  #low = lowPass(BAND_HZ[1], RATE);
  #band = new Float32Array(FRAME_SAMPLES);

  /** The level of the next frame. */
  push(frame) {
    this.#high.process(frame, this.#band);
    this.#low.process(this.#band);
    let power = 0;
    for (const sample of this.#band) power += sample * sample;
    return 10 * Math.log10((2 * power) / FRAME_SAMPLES + 1e-12);
  }
}

/**
 * The noise floor by minimum statistics: the minimum of the smoothed power over the last seconds.
 * So it falls at once and rises within seconds.
 */
export class NoiseFloor {
  #smoothed = null;
  #least = 0;
  /** Frames of this span so far. */
  #frames = 0;
  #spans = [];

  /** Add the level of the next frame; return the floor. Both in dB. */
  push(levelDb) {
    const power = 10 ** (levelDb / 10);
    if (this.#smoothed === null) this.#smoothed = this.#least = power;
    this.#smoothed = SMOOTHING * this.#smoothed + (1 - SMOOTHING) * power;
    if (this.#frames === SPAN) {
      this.#spans.push(this.#least);
      if (this.#spans.length > SPANS) this.#spans.shift();
      this.#least = this.#smoothed;
      this.#frames = 0;
    }
    this.#frames += 1;
    this.#least = Math.min(this.#least, this.#smoothed);
    let floorDb = 10 * Math.log10(Math.min(this.#least, ...this.#spans, 1)) + BIAS_DB;
    if (this.#spans.length < 2) floorDb = Math.min(floorDb, FIRST_GUESS_DB);
    return Math.max(floorDb, LOWEST_FLOOR_DB);
  }
}

/** Where speech begins and goes on: probability of a voice, and dB above the noise floor. */
export const VAD = {
  beginProbability: 0.6,
  goOnProbability: 0.35,
  beginDb: 9,
  goOnDb: 5,
};

/** Decides for each frame whether it is speech. */
export class VoiceActivity {
  #floor = new NoiseFloor();

  /** `levelDb` and `probability` of the next frame, both of the cleaned audio. */
  process(levelDb, probability) {
    const floorDb = this.#floor.push(levelDb);
    const aboveDb = levelDb - floorDb;
    return {
      begins: probability >= VAD.beginProbability && aboveDb >= VAD.beginDb,
      goesOn: probability >= VAD.goOnProbability && aboveDb >= VAD.goOnDb,
      sounds: aboveDb >= VAD.goOnDb,
    };
  }
}
