/** Utterances that are not answered yet, oldest first. Bounded in bytes and in age. */

/** An utterance that ended so long ago is never sent. */
export const MAX_AGE_S = 30;
/** Size of all utterances, overheads included. The newest alone may be larger. */
export const MAX_BYTES = 2 * 1024 * 1024;
/** An utterance that was sent so long ago is not answered any more. */
export const ANSWER_TIMEOUT_S = 60;
/** Bytes that count for an utterance and for a chunk, besides the audio. */
const UTTERANCE_OVERHEAD = 512;
const CHUNK_OVERHEAD = 64;

/** An utterance, and how far it got on the connection that is up. */
export class Utterance {
  chunks = [];
  bytes = UTTERANCE_OVERHEAD;
  /** When it ended, in seconds; null: it is open. */
  closedAt = null;
  started = false;
  stopped = false;
  /** Chunks that were sent. */
  sent = 0;
  /** Whether it had to get a new id, because the service took a part for the whole. */
  renamed = false;

  /** `heardAt`: when its newest frame was heard, in seconds. */
  constructor(id, codec, heardAt) {
    this.id = id;
    this.codec = codec;
    this.heardAt = heardAt;
  }

  /** Send it from its beginning. */
  rewind() {
    this.started = this.stopped = false;
    this.sent = 0;
  }
}

/** Holds the utterances. */
export class Spool {
  #utterances = [];
  #bytes = 0;

  get size() {
    return this.#utterances.length;
  }

  get bytes() {
    return this.#bytes;
  }

  [Symbol.iterator]() {
    return this.#utterances[Symbol.iterator]();
  }

  find(id) {
    return this.#utterances.find((utterance) => utterance.id === id);
  }

  has(utterance) {
    return this.#utterances.includes(utterance);
  }

  push(utterance) {
    this.#utterances.push(utterance);
    this.#bytes += utterance.bytes;
  }

  /** Add a chunk to one of the utterances. */
  add(utterance, chunk) {
    utterance.chunks.push(chunk);
    utterance.bytes += CHUNK_OVERHEAD + chunk.length;
    this.#bytes += CHUNK_OVERHEAD + chunk.length;
  }

  remove(utterance) {
    this.#utterances.splice(this.#utterances.indexOf(utterance), 1);
    this.#bytes -= utterance.bytes;
  }

  /** Remove and return the utterances that are too old, and then those that have no room. */
  removeExcess(now) {
    const removed = [];
    for (const utterance of [...this.#utterances]) {
      const limitS = utterance.stopped ? ANSWER_TIMEOUT_S : MAX_AGE_S;
      if (utterance.closedAt !== null && now - utterance.closedAt >= limitS) {
        this.remove(utterance);
        removed.push(utterance);
      }
    }
    // What was sent is the least loss.
    const order = [...this.#utterances].sort((a, b) => Number(b.stopped) - Number(a.stopped));
    for (const utterance of order) {
      if (this.#bytes <= MAX_BYTES || this.size === 1) break;
      if (utterance === this.#utterances.at(-1)) continue;
      this.remove(utterance);
      removed.push(utterance);
    }
    return removed;
  }
}
