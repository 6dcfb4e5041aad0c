// The microphone with fakes of what a browser gives it.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { FakeClock, load } from "./parts.mjs";

const { MICROPHONE } = await load("microphone_states");

class FakeTrack {
  muted = false;
  stopped = false;
  stop() {
    this.stopped = true;
  }
  emit(type) {
    this[`on${type}`]?.(new Event(type));
  }
}

class FakeStream {
  tracks = [new FakeTrack()];
  getTracks() {
    return this.tracks;
  }
}

class FakeContext {
  state = "running";
  destination = {};
  /** Resolves when the worklet has come. */
  modules = withResolvers();
  audioWorklet = { addModule: () => this.modules.promise };
  constructor() {
    contexts.push(this);
  }
  createMediaStreamSource() {
    return { context: this, connect() {}, disconnect() {} };
  }
  async resume() {
    if (this.state === "suspended") this.state = "running";
  }
  async suspend() {
    if (this.state === "running") this.state = "suspended";
  }
  async close() {
    this.state = "closed";
  }
}

class FakeNode {
  port = { postMessage: (data) => this.orders.push(data) };
  orders = [];
  constructor(context) {
    this.context = context;
    nodes.push(this);
  }
  connect() {}
  disconnect() {}
  say(data) {
    this.port.onmessage?.({ data });
  }
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

let clock, contexts, nodes, streams, segments, microphone;

const settle = () => new Promise((resolve) => setImmediate(resolve));

globalThis.window = globalThis;
globalThis.document = { hidden: false };
globalThis.isSecureContext = true;
globalThis.top = globalThis.self = globalThis;
globalThis.AudioContext = FakeContext;
globalThis.AudioWorkletNode = FakeNode;
Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
const { Microphone } = await load("microphone");

beforeEach(() => {
  clock = new FakeClock();
  [contexts, nodes, streams, segments] = [[], [], [], []];
  document.hidden = false;
  navigator.mediaDevices = Object.assign(new EventTarget(), {
    getUserMedia: async () => {
      streams.push(new FakeStream());
      return streams.at(-1);
    },
  });
  microphone = new Microphone({
    wasm: null,
    sent: "raw",
    clock: clock.read,
    segment: (segment, heardAt) => segments.push({ segment, heardAt }),
    level: () => {},
    changed: () => {},
  });
});

afterEach(() => mock.restoreAll());

async function open() {
  microphone.open();
  await settle();
  contexts.at(-1).modules.resolve();
  await settle();
}

test("a segment that waited for the page has the time at which it was heard", async () => {
  await open();
  mock.method(Date, "now", () => 1e12);
  nodes[0].say({ type: "segment", order: 0, utterance: 1, heardAt: 1e12 - 38_000, segment: "late" });
  nodes[0].say({ type: "segment", order: 0, utterance: 1, heardAt: 1e12 + 500, segment: "clock set" });
  assert.deepEqual(segments, [
    { segment: "late", heardAt: clock.now - 38 },
    { segment: "clock set", heardAt: clock.now },
  ]);
});
