/** Amplifies quiet voices slowly. Loud audio passes unchanged. */

import { BandMeter, FRAME_SAMPLES, NoiseFloor } from "./activity.js";

/** Target level of quiet speech in the voice band, and the largest gain. */
const TARGET_DB = -20;
const MAX_GAIN_DB = 18;
/** How far above the noise floor a frame must be to count as speech. */
const OVER_FLOOR_DB = 12;
/** If the learned level is closer to the floor than this, it was not speech but a fan, say. */
const STILL_OVER_FLOOR_DB = 6;
/** Frames until the noise floor is known. No frame counts as speech before. */
const LEARNING = 50;
/** Weight of a frame in the level of the speech: a time constant of about 1 s. */
const SMOOTHING = 0.03;
/** Largest change of the gain per frame: it rises by 0.8 dB per second. */
const RISE_DB = 0.024;
const FALL_DB = 0.2;
/** Highest peak after amplification, 1 dB below full scale. */
const LIMIT = 10 ** (-1 / 20);

/** The level of the voice is learned only from frames well above the noise floor. */
export class Leveller {
  #meter = new BandMeter();
  #floor = new NoiseFloor();
  #learning = LEARNING;
  /** Mean power of the speech; null: no speech yet. */
  #speech = null;
  #gainDb = 0;
  /** The gain of the last sample. */
  #last = 1;

  /** Amplify the next frame of 30 ms in place. */
  process(frame) {
    this.#learn(this.#meter.push(frame));
    const first = this.#last;
    const step = (10 ** (this.#gainDb / 20) - first) / (FRAME_SAMPLES - 1);
    let peak = 1e-6;
    for (let n = 0; n < FRAME_SAMPLES; n += 1) {
      peak = Math.max(peak, Math.abs(frame[n]));
      this.#last = Math.min(first + n * step, Math.max(LIMIT / peak, 1));
      frame[n] *= this.#last;
    }
  }

  #learn(levelDb) {
    const floorDb = this.#floor.push(levelDb);
    if (this.#learning > 0) {
      this.#learning -= 1;
    } else if (levelDb >= floorDb + OVER_FLOOR_DB) {
      const power = 10 ** (levelDb / 10);
      this.#speech = this.#speech === null ? power : this.#speech + SMOOTHING * (power - this.#speech);
    }
    let wantedDb = 0;
    if (this.#speech !== null) {
      const speechDb = 10 * Math.log10(this.#speech);
      if (speechDb < floorDb + STILL_OVER_FLOOR_DB) this.#speech = null;
      else wantedDb = Math.min(Math.max(TARGET_DB - speechDb, 0), MAX_GAIN_DB);
    }
    this.#gainDb += Math.min(Math.max(wantedDb - this.#gainDb, -FALL_DB), RISE_DB);
  }
}
