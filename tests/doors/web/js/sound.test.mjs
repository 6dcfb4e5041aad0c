// A quarter of an hour of sound, from the samples to the results, with everything that the page has:
// noise that changes, microphones that are lost or switched off, and utterances that the service ends.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";
import { FakeBrowser, FakePorts } from "./browser.mjs";
import { ASSETS, FakeClock, FakeSocket, load, voice } from "./parts.mjs";

const { Conversation } = await load("conversation");
const { PcmEncoder } = await load("encoder");
const { Satellite } = await load("satellite");
const { Uplink } = await load("uplink");
const { Microphone } = await load("microphone");
const { FRAME_SAMPLES } = await load("activity");
const { SENT } = await load("chain");

const wasm = readFileSync(new URL("vendor/rnnoise/rnnoise_simd.wasm", ASSETS));

const RATE = 48000;
const QUANTUM = 128;
const QUANTUM_S = QUANTUM / RATE;
const TICK_QUANTA = 94;
const FRAME_BYTES = 2 * FRAME_SAMPLES;
/** What the room sounds like, for how many seconds, and the peak of its noise. */
const PHASES = [
  ["quiet", 180, 1e-4],
  ["fan", 210, 0.006],
  ["quiet again", 120, 1e-4],
  ["switched off", 90, 0],
  ["switched on again", 120, 1e-4],
  ["louder fan", 180, 0.02],
];
/** Somebody speaks so often, 10 s after the beginning. */
const EVERY_S = 30;
const SPEAKS_AT_S = 10;
/** A microphone is lost so long after the beginning of a phase. */
const LOST_AT_S = 46;
/** A sample that is no number comes so long after it. */
const WRONG_AT_S = 62;
/** The service ends each of so many utterances, while somebody speaks. */
const ENDS_EVERY = 4;

let ports, Processor;
globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = ports.worklet;
};
globalThis.registerProcessor = (name, made) => (Processor = made);
await load("worklet");

test("a quarter of an hour of sound", async () => {
  const clock = new FakeClock();
  mock.method(Date, "now", () => clock.now * 1000);
  const browser = new FakeBrowser();
  let processor = null;
  globalThis.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(context, name, options) {
      super(context, name, options);
      ports = new FakePorts();
      this.port = ports.node;
      processor = new Processor(options);
    }
  };
  const socket = new FakeSocket();
  let view = null;
  let ids = 0;
  const uplink = new Uplink({
    newId: () => `u${(ids += 1)}`,
    ended: (utterance) => satellite.ended(utterance),
    unanswered: () => satellite.unanswered(),
    dropped: () => satellite.dropped(),
  });
  const conversation = new Conversation({
    uplink,
    codec: PcmEncoder.codec,
    makeEncoder: (data) => new PcmEncoder(data),
    clock: clock.read,
    changed: () => satellite.changed(),
    failed: () => satellite.notEncoded(),
  });
  const microphone = new Microphone({
    wasm,
    sent: SENT.NORMALISED,
    clock: clock.read,
    segment: (segment, heardAt) => satellite.segment(segment, heardAt),
    level: () => {},
    changed: () => satellite.changed(),
  });
  const satellite = new Satellite({
    clock: clock.read,
    microphone,
    conversation,
    uplink,
    connection: { tick: () => {}, hurry: () => {}, insist: () => {} },
    show: (seen) => (view = seen),
    keep: () => {},
    timeOfDay: () => "12:00",
  });

  /** Bytes of each utterance, and how it ended. */
  const heard = new Map();
  let current = "";
  const answer = (id, end) => {
    heard.get(id).end = end;
    satellite.message({ type: "result", id, outcome: "transcript", text: id, end });
  };
  const serve = () => {
    for (const message of socket.sent.splice(0)) {
      if (message.type === "start") {
        current = message.id;
        heard.set(current, { bytes: 0, chunks: 0, end: "" });
        assert.equal(message.age_ms, 0);
      } else if (message.type === "stop") {
        answer(message.id, "stop");
      } else if (message.type === undefined) {
        const one = heard.get(current);
        one.bytes += message.length - 4;
        one.chunks += 1;
        const ends = one.end === "" && one.chunks === 3 && heard.size % ENDS_EVERY === 0;
        if (ends) answer(current, "endpoint");
      }
    }
  };

  const said = voice(RATE, 2);
  let seed = 1;
  const noise = Float32Array.from({ length: RATE }, () => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed / 2 ** 30 - 1;
  });
  const samples = new Float32Array(QUANTUM);
  satellite.up(socket);
  satellite.tap();
  await openWorklet();

  async function openWorklet() {
    await settle();
    browser.contexts.at(-1).modules.resolve();
    await settle();
  }

  async function hear(seconds, noisePeak, speaks) {
    const before = heard.size;
    let times = 0;
    for (let quantum = 0; quantum * QUANTUM_S < seconds; quantum += 1) {
      const first = quantum * QUANTUM;
      const inTurn = first - SPEAKS_AT_S * RATE - Math.floor(first / (EVERY_S * RATE)) * EVERY_S * RATE;
      if (inTurn === 0) times += 1;
      for (let n = 0; n < QUANTUM; n += 1) {
        const speech = speaks ? (said[inTurn + n] ?? 0) : 0;
        samples[n] = noisePeak * noise[(first + n) % RATE] + speech;
      }
      if (first === WRONG_AT_S * RATE) samples[7] = NaN;
      if (speaks && first === LOST_AT_S * RATE) browser.streams.at(-1).tracks[0].emit("ended");
      clock.now += QUANTUM_S;
      if (browser.live.length > 0) {
        processor.process([[samples]]);
        ports.deliver();
      }
      if (quantum % TICK_QUANTA === 0) {
        satellite.tick();
        serve();
        await settle();
      }
    }
    return { times, utterances: heard.size - before };
  }

  for (const [name, seconds, noisePeak] of PHASES) {
    const isOff = noisePeak === 0;
    const { times, utterances } = await hear(seconds, noisePeak, !isOff);
    const problem = view.problem?.title ?? "";
    if (isOff) assert.match(problem, /nothing but silence/, name);
    else assert.equal(problem, "", name);
    // An utterance that the service ends has a second part.
    const expected = isOff ? 0 : times;
    assert.ok(expected <= utterances && utterances <= expected * 1.5 + 1, `${name}: ${utterances} of ${times}`);
  }
  const all = [...heard.values()];
  assert.ok(all.some(({ end }) => end === "endpoint"));
  assert.ok(all.every(({ end, bytes }) => end !== "" && bytes > 0 && bytes % FRAME_BYTES === 0));
  assert.equal(browser.streams.length, PHASES.length);
  assert.equal(browser.live.length, 1);
  assert.equal(browser.running.length, 1);
  assert.equal([uplink.waiting, uplink.bytes].join(), "0,0");
  mock.restoreAll();
});

const settle = () => new Promise((resolve) => setImmediate(resolve));
