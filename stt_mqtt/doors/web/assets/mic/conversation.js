/** From the segments of the chain to utterances of the uplink. */

import { PcmEncoder } from "./encoder.js";
import { CLOSED } from "./segmenter.js";

/**
 * At most one utterance is open. `makeEncoder(data, failed)` makes an encoder of `codec`; if that
 * fails, PCM is sent from then on. `clock()` gives seconds. `changed()` is called when an utterance
 * begins or ends, `failed()` when one was lost because its encoder gave up.
 */
export class Conversation {
  #uplink;
  #codec;
  #makeEncoder;
  #clock;
  #changed;
  #failed;
  /** The open utterance and its encoder. */
  #open = null;
  #encoder = null;
  /** Frames that were pushed since the last chunk. */
  #unsent = 0;

  constructor({ uplink, codec, makeEncoder, clock, changed, failed }) {
    this.#uplink = uplink;
    this.#codec = codec;
    this.#makeEncoder = makeEncoder;
    this.#clock = clock;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** The open utterance; null: nobody speaks. */
  get utterance() {
    return this.#open;
  }

  /** Frames of the open utterance that are not sent. */
  get unsent() {
    return this.#unsent;
  }

  /** What follows from a frame; see `Segmenter`. `heardAt`: when the frame was heard. */
  take({ opened, frames, closed, flush }, heardAt) {
    if (opened) this.#begin(heardAt);
    if (this.#open === null) return;
    this.#open.heardAt = heardAt;
    for (const frame of frames) {
      this.#unsent += 1;
      this.#encoder.push(frame);
      // The encoder has given up.
      if (this.#open === null) return;
    }
    if (flush) this.#encoder.flush();
    if (closed !== null) this.#end(closed);
  }

  /** The microphone is gone: the open utterance has ended with its newest frame. */
  lost() {
    if (this.#open !== null) this.#end(CLOSED.RELEASED);
  }

  /** Forget the open utterance at once. */
  cancel() {
    if (this.#open !== null) this.#end(CLOSED.MUTED);
  }

  /** The service has ended this utterance. */
  ended(utterance) {
    if (this.#open === utterance) this.#end(CLOSED.ENDED);
  }

  #begin(heardAt) {
    this.cancel();
    let utterance = null;
    const data = (chunk) => {
      if (this.#open === utterance) this.#unsent = 0;
      this.#uplink.add(utterance, chunk, this.#clock());
    };
    this.#encoder = this.#newEncoder(data, () => this.#fail(utterance));
    utterance = this.#uplink.open(this.#codec, this.#clock(), heardAt);
    this.#open = utterance;
    this.#unsent = 0;
    this.#changed();
  }

  #newEncoder(data, failed) {
    try {
      return this.#makeEncoder(data, failed);
    } catch {
      this.#usePcm();
      return this.#makeEncoder(data, failed);
    }
  }

  #usePcm() {
    this.#codec = PcmEncoder.codec;
    this.#makeEncoder = (data) => new PcmEncoder(data);
  }

  /** The encoder of an utterance has given up: what it has heard is lost. */
  #fail(utterance) {
    this.#usePcm();
    if (this.#open === utterance) this.#open = this.#encoder = null;
    this.#uplink.cancel(utterance);
    this.#failed();
    this.#changed();
  }

  #end(reason) {
    const utterance = this.#open;
    const encoder = this.#encoder;
    this.#open = this.#encoder = null;
    if (reason === CLOSED.MUTED || reason === CLOSED.SLEPT) {
      encoder.close();
      this.#uplink.cancel(utterance);
    } else if (reason === CLOSED.ENDED) {
      encoder.close();
    } else {
      void encoder.finish().then(() => this.#uplink.close(utterance, this.#clock(), utterance.heardAt));
    }
    this.#changed();
  }
}
