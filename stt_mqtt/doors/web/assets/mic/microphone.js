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
/** So much digital silence: the microphone is switched off. */
const ZEROS_S = 10;
const ZERO_DB = -119;

/**
 * `wasm`: bytes of RNNoise, or null. `segment(segment, heardAt)`, `level(db)` and `changed()` are
 * called when it happens; `heardAt` is by `clock`. The owner calls `tick()` several times a second.
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
  /** Whether the last tick came late. */
  #wasLate = false;
  /** Since when there is digital silence; null: there is sound. */
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
    if (this.#node === null) return null;
    if (this.#stream.getTracks().some(({ muted }) => muted)) {
      return {
        title: "The microphone is muted",
        text: "Not by this page: look for a switch on the device, in the system and in the browser.",
        inTab: false,
      };
    }
    if (this.#zerosSince === null || this.#clock() - this.#zerosSince < ZEROS_S) return null;
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

  /** The service heard only the beginning of a phrase in the utterance: a pause may last longer. */
  expectMore() {
    this.#command({ type: "more", utterance: this.#utterance });
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
    // This page stood still: messages are waiting to be read. The ticks of a hidden page are rare.
    const isLate = now - this.#tickedAt > STALL_S / 2;
    if (isLate && !this.#wasLate) this.#heardAt = now;
    this.#wasLate = isLate;
    this.#tickedAt = now;
    if (this.#retryAt !== null && now >= this.#retryAt) this.#retry();
    if (this.#node === null) return;
    if (this.#context.state !== "running") {
      this.#heardAt = now;
      if (this.#zerosSince !== null) this.#zerosSince = now;
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
      const source = isCurrent() ? await this.#connect(stream, isCurrent) : null;
      if (!isCurrent()) throw new Error("given up");
      this.#run(stream, source);
      this.#problem = null;
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      if (isCurrent()) this.#refuse(error);
    }
    if (attempt === this.#attempt) this.#isOpening = false;
    if (this.#node === null) this.#suspend();
    this.#on.changed();
  }

  /**
   * The stream as the source of an audio context: at 48 kHz, or at the rate of the stream. The
   * context is kept, because a browser frees not all memory of one.
   */
  async #connect(stream, isCurrent) {
    try {
      return (await this.#makeContext({ sampleRate: RATE })).createMediaStreamSource(stream);
    } catch (error) {
      if (error.name !== "NotSupportedError" || !isCurrent()) throw error;
      // Firefox does not connect different rates.
      this.#discardContext();
      return (await this.#makeContext({})).createMediaStreamSource(stream);
    }
  }

  /** The context that is kept, or a new one. Another attempt may make one at the same time. */
  async #makeContext(options) {
    if (this.#context === null) {
      const made = await newContext(options);
      if (this.#context === null) this.#context = made;
      else void made.close().catch(() => {});
    }
    return this.#context;
  }

  #run(stream, source) {
    const { context } = source;
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
    for (const track of stream.getTracks()) {
      track.onended = () => void this.#loseTrack();
      track.onmute = track.onunmute = () => this.#on.changed();
    }
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

  #hear({ type, levelDb, order, utterance, heardAt, segment }) {
    this.#heardAt = this.#clock();
    if (type === "level") {
      if (levelDb > ZERO_DB) this.#zerosSince = null;
      else this.#zerosSince ??= this.#heardAt;
      this.#on.level(levelDb);
    } else if (type === "segment" && order >= this.#validFrom) {
      this.#utterance = utterance;
      const lagS = Math.max(Date.now() - heardAt, 0) / 1000;
      this.#on.segment(segment, this.#heardAt - lagS);
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
    // A browser may give a hidden page no microphone.
    if (mayHeal(error) || document.hidden) this.#retryAt = this.#clock() + RETRY_S;
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
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    }
    this.#context.onstatechange = null;
    this.#suspend();
    this.#node = this.#source = this.#stream = null;
    this.#on.segment(null);
  }

  #suspend() {
    void this.#context?.suspend().catch(() => {});
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
