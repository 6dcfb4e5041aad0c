/** Runs the chain of the microphone page on a recording, faster than real time. */

import { Conversation } from "/assets/mic/conversation.js";
import { OpusEncoder } from "/assets/mic/encoder.js";
import { CLOSED, LISTEN } from "/assets/mic/segmenter.js";

const RATE = 48000;
/** After so long without a message the worklet has said everything. */
const SILENT_MS = 150;

const wasm = await (await fetch("/assets/vendor/rnnoise/rnnoise_simd.wasm")).arrayBuffer();

/** Keeps the chunks of each utterance, in place of the uplink. */
class Chunks {
  utterances = [];
  closing = [];
  #closed = [];

  open() {
    const utterance = [];
    this.utterances.push(utterance);
    this.closing.push(new Promise((resolve) => this.#closed.push(resolve)));
    return utterance;
  }

  add(utterance, chunk) {
    utterance.push(...chunk);
  }

  close(utterance) {
    this.#closed[this.utterances.indexOf(utterance)]();
  }

  cancel() {}
}

/** What is sent of a recording (32-bit floats at 48 kHz): the bytes of each utterance, as base64. */
async function hear(url, sent) {
  const samples = new Float32Array(await (await fetch(url)).arrayBuffer());
  const context = new OfflineAudioContext(1, samples.length, RATE);
  await context.audioWorklet.addModule("/assets/mic/worklet.js");
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: RATE });
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  const node = new AudioWorkletNode(context, "stt-mqtt-microphone", {
    processorOptions: { wasm, sent, listen: LISTEN.ACTIVE },
  });
  const chunks = new Chunks();
  const conversation = new Conversation({
    uplink: chunks,
    codec: OpusEncoder.codec,
    makeEncoder: (data, failed) => new OpusEncoder(data, failed),
    clock: () => 0,
    changed: () => {},
  });
  let heardAt = 0;
  let problem = null;
  node.port.onmessage = ({ data }) => {
    heardAt = performance.now();
    if (data.type === "no-wasm") problem = data.reason;
    if (data.type === "segment") conversation.take(data.segment);
  };
  source.connect(node).connect(context.destination);
  source.start();
  await context.startRendering();
  while (performance.now() - heardAt < SILENT_MS) {
    await new Promise((resolve) => setTimeout(resolve, SILENT_MS / 3));
  }
  if (problem !== null) throw new Error(problem);
  conversation.take({ opened: false, frames: [], closed: CLOSED.RELEASED, flush: false });
  await Promise.all(chunks.closing);
  return chunks.utterances.map((bytes) => btoa(String.fromCharCode(...bytes)));
}

window.hear = hear;
