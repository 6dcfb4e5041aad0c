/** Second-order filters and a streaming resampler. Samples are floats from -1 to 1. */

const BUTTERWORTH_Q = Math.SQRT1_2;
/** A filter state below this is zero: denormal numbers are slow. */
const SMALLEST = 1e-20;

/** A second-order Butterworth filter (Audio EQ Cookbook, transposed direct form II). */
class Biquad {
  #b0;
  #b1;
  #b2;
  #a1;
  #a2;
  #s1 = 0;
  #s2 = 0;

  /** `side`: 1 is a low-pass filter, -1 a high-pass filter. */
  constructor(cutOffHz, rate, side) {
    const omega = (2 * Math.PI * cutOffHz) / rate;
    const alpha = Math.sin(omega) / (2 * BUTTERWORTH_Q);
    const a0 = 1 + alpha;
    this.#b1 = (side - Math.cos(omega)) / a0;
    this.#b0 = this.#b2 = Math.abs(this.#b1) / 2;
    this.#a1 = (-2 * Math.cos(omega)) / a0;
    this.#a2 = (1 - alpha) / a0;
  }

  /** Filter `samples` into `output`, which may be the same array. */
  process(samples, output = samples) {
    let s1 = this.#s1;
    let s2 = this.#s2;
    for (let n = 0; n < samples.length; n += 1) {
      const x = samples[n];
      const y = this.#b0 * x + s1;
      s1 = this.#b1 * x - this.#a1 * y + s2;
      s2 = this.#b2 * x - this.#a2 * y;
      output[n] = y;
    }
    this.#s1 = Math.abs(s1) < SMALLEST ? 0 : s1;
    this.#s2 = Math.abs(s2) < SMALLEST ? 0 : s2;
  }
}

export const highPass = (cutOffHz, rate) => new Biquad(cutOffHz, rate, -1);
export const lowPass = (cutOffHz, rate) => new Biquad(cutOffHz, rate, 1);

/** Zero crossings of the sinc on each side of a sample. */
const ZERO_CROSSINGS = 16;
/** Part of the band that passes; the rest is the slope of the filter. */
const PASS_BAND = 0.92;

/** Resamples a stream by a rational factor with a windowed sinc. Counters stay small for ever. */
export class Resampler {
  #up;
  #down;
  #taps;
  #table;
  #buffer;
  #filled;
  #start = 0;
  #phase = 0;

  /** `maxInput`: most samples of one call of `push`. */
  constructor(fromRate, toRate, maxInput) {
    const divisor = greatestCommonDivisor(fromRate, toRate);
    this.#up = toRate / divisor;
    this.#down = fromRate / divisor;
    const band = Math.min(1, toRate / fromRate);
    const half = Math.ceil(ZERO_CROSSINGS / band);
    this.#taps = 2 * half;
    this.#table = sincTable(this.#up, half, band * PASS_BAND);
    this.#buffer = new Float32Array(this.#taps + this.#down + maxInput);
    this.#filled = half - 1;
  }

  /** Most samples that one call of `push` gives for `count` samples. */
  maxOutput(count) {
    return Math.ceil((count * this.#up) / this.#down) + 1;
  }

  /** Resample `input` into `output`; return how many samples were written. */
  push(input, output) {
    const buffer = this.#buffer;
    const table = this.#table;
    const taps = this.#taps;
    buffer.set(input, this.#filled);
    this.#filled += input.length;
    let count = 0;
    while (this.#start + taps <= this.#filled) {
      const row = this.#phase * taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap += 1) sum += buffer[this.#start + tap] * table[row + tap];
      output[count] = sum;
      count += 1;
      this.#phase += this.#down;
      this.#start += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    const used = Math.min(this.#start, this.#filled);
    buffer.copyWithin(0, used, this.#filled);
    this.#filled -= used;
    this.#start -= used;
    return count;
  }
}

/** One row of taps for each phase between two input samples. Each row has a sum of 1. */
function sincTable(phases, half, band) {
  const taps = 2 * half;
  const table = new Float32Array(phases * taps);
  for (let phase = 0; phase < phases; phase += 1) {
    const row = table.subarray(phase * taps, (phase + 1) * taps);
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const x = tap - (half - 1) - phase / phases;
      const window = Math.cos((Math.PI * x) / (2 * half)) ** 2;
      row[tap] = Math.abs(x) < half ? window * band * sinc(band * x) : 0;
      sum += row[tap];
    }
    for (let tap = 0; tap < taps; tap += 1) row[tap] /= sum;
  }
  return table;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
