/** The microphone: asks for it, runs the worklet, and opens it again when it was lost. */

import { LOST, mayHeal, refusal } from "./refusals.js";
import { MICROPHONE } from "./microphone_states.js";
import { LISTEN } from "./segmenter.js";

/** It plays nothing, so it needs no loudspeaker, where the browser knows that. */
const SILENT = { sinkId: { type: "none" } };
/** What RNNoise works with. A browser that cannot give it gives its own rate. */
const RATE = 48000;
/** No message of the worklet for so long: the audio stands still. */
const STALL_S = 3;
/** A microphone that cannot be opened is tried again after this time. */
const RETRY_S = 5;
/** So much digital silence from the beginning: the microphone is switched off. */
const ZEROS_S = 10;
const ZERO_DB = -119;

/**
 * `wasm`: bytes of RNNoise, or null. `segment(segment)`, `level(db)` and `changed()` are called when
 * it happens. The owner calls `tick()` several times a second.
 */
export class Microphone {
  #wasm;
  #sent;
  #clock;
  #on;
  #wanted = false;
  #listen = LISTEN.OFF;
  #order = 0;
  /** Segments of earlier orders are out of date. */
  #validFrom = 0;
  #utterance = 0;
  /** The attempt that counts; others are given up. */
  #attempt = 0;
  #stream = null;
  #source = null;
  #node = null;
  /** It is suspended while the microphone is closed. */
  #context = null;
  #isOpening = false;
  #retryAt = null;
  #heardAt = 0;
  #tickedAt = 0;
  /** Since when there is digital silence only; null: there was sound. */
  #zerosSince = null;
  #problem = null;

  constructor({ wasm, sent, clock, segment, level, changed }) {
    this.#wasm = wasm;
    this.#sent = sent;
    this.#clock = clock;
    this.#on = { segment, level, changed };
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#retry());
  }

  get state() {
    if (this.#isOpening) return MICROPHONE.OPENING;
    if (this.#node === null) return this.#wanted ? MICROPHONE.LOST : MICROPHONE.CLOSED;
    return this.#context.state === "running" ? MICROPHONE.OPEN : MICROPHONE.SUSPENDED;
  }

  /** Why there is no sound, `{ title, text, inTab }`; null: nothing is known to be wrong. */
  get problem() {
    if (this.#problem !== null) return this.#problem;
    if (this.#node === null || this.#zerosSince === null) return null;
    if (this.#clock() - this.#zerosSince < ZEROS_S) return null;
    return {
      title: "The microphone gives nothing but silence",
      text: "Is it switched off or muted, on the device or in the system?",
      inTab: false,
    };
  }

  /** Open it, or resume it. A press of the person allows that. */
  open() {
    this.#wanted = true;
    if (this.#node === null) void this.#open();
    else void this.#context.resume().catch(() => {});
  }

  /** Close it at once: the sign of the browser goes out. */
  close() {
    this.#wanted = false;
    this.#problem = null;
    this.#release();
    this.#on.changed();
  }

  /** Say how to listen; see `LISTEN`. */
  listen(listen) {
    if (listen === this.#listen) return;
    this.#listen = listen;
    this.#command({ type: "listen", listen });
    if (listen === LISTEN.OFF) this.#validFrom = this.#order;
  }

  /** The service has ended the utterance; `unsent` frames of it were not sent. */
  ended(unsent) {
    this.#command({ type: "ended", utterance: this.#utterance, unsent });
  }

  /** What the service is sent from now on; see `SENT`. */
  send(sent) {
    if (sent === this.#sent) return;
    this.#sent = sent;
    if (this.#node === null) return;
    this.#release();
    void this.#open();
  }

  tick() {
    const now = this.#clock();
    // This page stood still: messages are waiting to be read.
    if (now - this.#tickedAt > STALL_S / 2) this.#heardAt = now;
    this.#tickedAt = now;
    if (this.#retryAt !== null && now >= this.#retryAt) this.#retry();
    if (this.#node === null || document.hidden) return;
    if (this.#context.state !== "running") {
      this.#heardAt = now;
      void this.#context.resume().catch(() => {});
    } else if (now - this.#heardAt > STALL_S) {
      this.#release();
      this.#discardContext();
      void this.#open();
    }
  }

  async #open() {
    this.#attempt += 1;
    const attempt = this.#attempt;
    this.#isOpening = true;
    this.#retryAt = null;
    this.#on.changed();
    const isCurrent = () => attempt === this.#attempt && this.#wanted;
    let stream = null;
    try {
      if (!navigator.mediaDevices) throw null;
      stream = await navigator.mediaDevices.getUserMedia(this.#constraints());
      const source = isCurrent() ? await this.#connect(stream) : null;
      if (!isCurrent()) throw new Error("given up");
      this.#run(stream, source);
      this.#problem = null;
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      if (isCurrent()) this.#refuse(error);
    }
    if (attempt === this.#attempt) this.#isOpening = false;
    this.#on.changed();
  }

  /**
   * The stream as the source of an audio context: at 48 kHz, or at the rate of the stream. The
   * context is kept, because a browser frees not all memory of one.
   */
  async #connect(stream) {
    try {
      this.#context ??= await newContext({ sampleRate: RATE });
      return this.#context.createMediaStreamSource(stream);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      // Firefox does not connect different rates.
      this.#discardContext();
      this.#context = await newContext({});
      return this.#context.createMediaStreamSource(stream);
    }
  }

  #run(stream, source) {
    const context = this.#context;
    const node = new AudioWorkletNode(context, "stt-mqtt-microphone", {
      numberOfOutputs: 1,
      processorOptions: { wasm: this.#wasm, sent: this.#sent, listen: this.#listen },
    });
    node.port.onmessage = ({ data }) => this.#hear(data);
    node.onprocessorerror = () => this.#lose(LOST.BROKEN);
    source.connect(node);
    // It gives no sound, but a node that leads nowhere is not run.
    node.connect(context.destination);
    context.onstatechange = () => this.#on.changed();
    for (const track of stream.getTracks()) track.onended = () => void this.#loseTrack();
    void context.resume().catch(() => {});
    this.#stream = stream;
    this.#source = source;
    this.#node = node;
    this.#order = this.#validFrom = 0;
    this.#heardAt = this.#zerosSince = this.#clock();
  }

  #constraints() {
    // Two suppressors, or two gains, work against each other.
    const byBrowser = this.#wasm === null;
    return {
      audio: {
        channelCount: 1,
        echoCancellation: true,
        noiseSuppression: byBrowser,
        autoGainControl: byBrowser,
      },
    };
  }

  #hear({ type, levelDb, order, utterance, segment }) {
    this.#heardAt = this.#clock();
    if (type === "level") {
      if (levelDb > ZERO_DB) this.#zerosSince = null;
      this.#on.level(levelDb);
    } else if (type === "segment" && order >= this.#validFrom) {
      this.#utterance = utterance;
      this.#on.segment(segment);
    } else if (type === "no-wasm") {
      // The noise suppression of the browser takes its place.
      this.#wasm = null;
      this.#release();
      void this.#open();
    }
  }

  #command(fields) {
    this.#order += 1;
    this.#node?.port.postMessage({ ...fields, order: this.#order });
  }

  async #loseTrack() {
    this.#lose(LOST.UNPLUGGED);
    const attempt = this.#attempt;
    if ((await isDenied()) && attempt === this.#attempt) this.#lose(LOST.REVOKED);
  }

  /** The microphone is gone. */
  #lose(name) {
    this.#release();
    this.#refuse({ name });
    this.#on.changed();
  }

  #refuse(error) {
    const isFramed = window.top !== window.self;
    this.#problem = refusal(error, { isSecure: window.isSecureContext, isFramed });
    if (mayHeal(error)) this.#retryAt = this.#clock() + RETRY_S;
    else this.#wanted = false;
  }

  #retry() {
    if (this.#wanted && this.#node === null && !this.#isOpening) void this.#open();
  }

  #release() {
    this.#attempt += 1;
    this.#isOpening = false;
    this.#retryAt = null;
    if (this.#node === null) return;
    this.#command({ type: "close" });
    this.#node.port.onmessage = this.#node.onprocessorerror = null;
    this.#node.disconnect();
    this.#source.disconnect();
    for (const track of this.#stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    this.#context.onstatechange = null;
    void this.#context.suspend().catch(() => {});
    this.#node = this.#source = this.#stream = null;
    this.#on.segment(null);
  }

  #discardContext() {
    void this.#context?.close().catch(() => {});
    this.#context = null;
  }
}

async function newContext(options) {
  const context = new AudioContext({ ...SILENT, ...options });
  try {
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  } catch (error) {
    void context.close();
    throw error;
  }
  return context;
}

/** Whether the person, or the system, has taken back the permission. */
async function isDenied() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "denied";
  } catch {
    // The browser does not tell.
    return false;
  }
}
