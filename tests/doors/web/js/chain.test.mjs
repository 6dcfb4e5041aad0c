import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ASSETS, load, voice } from "./parts.mjs";

const { Resampler, highPass, lowPass } = await load("filters");
const { Chain, SENT } = await load("chain");
const { Rnnoise, RNNOISE_FRAME } = await load("rnnoise");
const { Leveller } = await load("leveller");
const { LISTEN } = await load("segmenter");
const { PcmEncoder } = await load("encoder");

const wasm = readFileSync(new URL("vendor/rnnoise/rnnoise_simd.wasm", ASSETS));
const sine = (hz, rate, seconds, amplitude = 0.5) =>
  Float32Array.from({ length: rate * seconds }, (_, n) => amplitude * Math.sin((2 * Math.PI * hz * n) / rate));
const db = (samples) => 10 * Math.log10((2 * samples.reduce((sum, x) => sum + x * x, 0)) / samples.length + 1e-12);

function resample(samples, from, to, piece) {
  const resampler = new Resampler(from, to, piece);
  const output = new Float32Array(resampler.maxOutput(piece));
  const all = [];
  for (let at = 0; at < samples.length; at += piece) {
    all.push(...output.subarray(0, resampler.push(samples.subarray(at, at + piece), output)));
  }
  return Float32Array.from(all);
}

for (const rate of [8000, 16000, 44100, 96000]) {
  test(`a tone survives the way from ${rate} Hz to 48 kHz`, () => {
    const made = resample(sine(1000, rate, 1), rate, 48000, 128);
    assert.ok(Math.abs(made.length - 48000) < 200, `${made.length}`);
    const expected = sine(1000, 48000, 1);
    const worst = Math.max(...made.subarray(1000, 40000).map((x, n) => Math.abs(x - expected[n + 1000])));
    assert.ok(worst < 0.01, `${worst}`);
  });
}

test("what 16 kHz cannot hold is gone", () => {
  const level = (hz) => db(resample(sine(hz, 48000, 1), 48000, 16000, 480).subarray(500));
  assert.ok(level(9000) < -60);
  assert.ok(Math.abs(level(5000) + 6) < 0.5);
});

test("the pieces make no difference", () => {
  const samples = sine(700, 44100, 0.5);
  assert.deepEqual(resample(samples, 44100, 48000, 128), resample(samples, 44100, 48000, 1000));
});

test("the high-pass takes hum and leaves the voice", () => {
  for (const [filter, hz, least, most] of [
    [highPass(100, 48000), 25, -40, -22],
    [highPass(100, 48000), 300, -7, -5.9],
    [lowPass(4000, 48000), 16000, -40, -26],
  ]) {
    const samples = sine(hz, 48000, 1);
    filter.process(samples);
    const level = db(samples.subarray(24000));
    assert.ok(least < level && level < most, `${hz} Hz: ${level} dB`);
  }
});

test("RNNoise is one frame late, so the raw audio waits for it", () => {
  const rnnoise = new Rnnoise(wasm);
  const pulse = new Float32Array(RNNOISE_FRAME * 6);
  for (let n = 0; n < 960; n += 1) pulse[960 + n] = 0.4 * Math.sin((2 * Math.PI * n * n) / 9600);
  const cleaned = new Float32Array(pulse.length);
  for (let at = 0; at < pulse.length; at += RNNOISE_FRAME) {
    const frame = pulse.slice(at, at + RNNOISE_FRAME);
    const probability = rnnoise.process(frame);
    assert.ok(probability >= 0 && probability <= 1);
    cleaned.set(frame, at);
  }
  const likeness = (delay) => cleaned.reduce((sum, x, n) => sum + x * (pulse[n - delay] ?? 0), 0);
  const best = [0, 240, 480, 720, 960].sort((a, b) => likeness(b) - likeness(a))[0];
  assert.equal(best, RNNOISE_FRAME);
});

test("a closed stream of RNNoise leaves its memory to the next", () => {
  for (let n = 0; n < 2000; n += 1) {
    const rnnoise = new Rnnoise(wasm);
    rnnoise.process(new Float32Array(RNNOISE_FRAME));
    rnnoise.close();
  }
});

function hear(samples, rate, sent, options = {}) {
  const segments = [];
  const chain = new Chain({ rate, wasm, sent, take: ({ segment }) => segments.push(segment), ...options });
  chain.listen = LISTEN.ACTIVE;
  for (let at = 0; at < samples.length; at += 128) chain.push(samples.subarray(at, at + 128));
  return segments;
}

const room = (seconds, rate) => Float32Array.from({ length: seconds * rate }, () => (Math.random() - 0.5) * 1e-3);

test("a quiet room and digital silence are no utterance", () => {
  for (const samples of [room(10, 48000), new Float32Array(480000)]) {
    assert.ok(hear(samples, 48000, SENT.RAW).every(({ opened }) => !opened));
  }
});

for (const wrong of [NaN, Infinity, -Infinity, 1e38]) {
  for (const rate of [44100, 48000]) {
    test(`after a sample of ${wrong} at ${rate} Hz it hears as before`, () => {
      const levels = [];
      let opened = 0;
      const take = ({ levelDb, probability, segment }) => {
        levels.push(levelDb, probability);
        for (const pcm of segment.frames) levels.push(...pcm);
        opened += segment.opened;
      };
      const chain = new Chain({ rate, wasm, sent: SENT.NORMALISED, take });
      chain.listen = LISTEN.ACTIVE;
      const said = Float32Array.from([...room(2, rate), ...voice(rate, 1), ...room(2, rate)]);
      said[100] = wrong;
      for (let at = 0; at < said.length; at += 128) chain.push(said.subarray(at, at + 128));
      assert.ok(levels.every(Number.isFinite));
      assert.equal(opened, 1);
    });
  }
}

test("every 30 ms there is a frame", () => {
  const frames = [];
  const chain = new Chain({ rate: 44100, wasm: null, sent: SENT.RAW, take: (frame) => frames.push(frame) });
  chain.push(new Float32Array(4096));
  for (let n = 0; n < 10; n += 1) chain.push(new Float32Array(4000));
  const late = 1; // The filters hold some samples back.
  assert.equal(frames.length, Math.floor(44096 / 44100 / 0.03) - late);
});

test("without WebAssembly the level alone decides, and nothing is denoised", () => {
  const loud = Float32Array.from([...room(2, 48000), ...sine(500, 48000, 1), ...room(2, 48000)]);
  const segments = hear(loud, 48000, SENT.DENOISED, { wasm: null });
  assert.equal(segments.filter(({ opened }) => opened).length, 1);
});

test("a quiet voice becomes louder, slowly, and a loud one does not", () => {
  for (const [amplitude, least, most] of [
    [0.01, 5, 18.1],
    [0.5, -0.1, 0.1],
  ]) {
    const leveller = new Leveller();
    let last = null;
    for (let n = 0; n < 1500; n += 1) {
      const speaks = n % 40 > 12 && n > 60;
      const frame = speaks ? sine(440, 16000, 0.03, amplitude) : room(0.03, 16000).map((x) => x / 10);
      const before = db(frame);
      leveller.process(frame);
      if (speaks) last = db(frame) - before;
    }
    assert.ok(least < last && last < most, `${amplitude}: ${last} dB`);
  }
});

test("amplified peaks stay below full scale", () => {
  const leveller = new Leveller();
  for (let n = 0; n < 2000; n += 1) leveller.process(sine(440, 16000, 0.03, n % 40 > 12 ? 0.01 : 1e-5));
  const shout = sine(440, 16000, 0.03, 0.5);
  leveller.process(shout);
  assert.ok(Math.max(...shout) < 1);
});

test("PCM is little-endian, rounded and clipped", async () => {
  const chunks = [];
  const encoder = new PcmEncoder((chunk) => chunks.push(chunk));
  encoder.push(Float32Array.from([0, 0.5, -0.5, 2, -2]));
  await encoder.finish();
  const view = new DataView(chunks[0].buffer);
  assert.deepEqual([0, 2, 4, 6, 8].map((at) => view.getInt16(at, true)), [0, 16384, -16384, 32767, -32768]);
});
