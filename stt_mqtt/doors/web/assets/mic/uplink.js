/**
 * Sends utterances to the service over a connection that may be away for a while.
 *
 * Every utterance goes into the spool, and leaves it when it is answered or too old. Live and late
 * speech take the same path. When the connection was lost, everything that is not answered is sent
 * again under the same id: the service does not obey an id twice that it answered.
 */

import { Spool, Utterance } from "./spool.js";

/** How long to wait before an utterance is sent again to a service that shuts down. */
export const SHUTDOWN_S = 4;
/** Bytes that may wait in the socket. The rest waits in the spool. */
export const MAX_BUFFERED = 256 * 1024;
/** If the newest frame is older, in seconds, the page reads late what was heard. */
export const LATE_S = 1;

const START = { rate: 16000, channels: 1, framing: "seq32" };

/** What has to be done about an utterance that the service has answered. */
const AGAIN = { NO: "no", NEW_ID: "new id", LATER: "later" };

/**
 * Has no clock: `now` is seconds. `socket` is null or has `send(text or bytes)` and
 * `bufferedAmount`. `newId` makes ids. `ended` gets an utterance that the service ended while it was
 * open. `dropped` gets one that was dropped although it was not sent whole, `unanswered` one that was
 * sent and whose answer is not awaited any more.
 */
export class Uplink {
  #spool = new Spool();
  #socket = null;
  #heldUntil = null;
  #newId;
  #ended;
  #dropped;
  #unanswered;

  constructor({ newId, ended, dropped, unanswered }) {
    this.#newId = newId;
    this.#ended = ended;
    this.#dropped = dropped;
    this.#unanswered = unanswered;
  }

  /** Utterances that are not answered yet. */
  get waiting() {
    return this.#spool.size;
  }

  /** Bytes of the spool. */
  get bytes() {
    return this.#spool.bytes;
  }

  /** Whether an utterance of this id waits for its answer. */
  knows(id) {
    return this.#spool.find(id) !== undefined;
  }

  /** Begin an utterance whose first frames were heard at `heardAt`. */
  open(codec, now, heardAt = now) {
    const utterance = new Utterance(this.#newId(), codec, heardAt);
    this.#spool.push(utterance);
    this.#pump(now);
    return utterance;
  }

  /** Add an encoded chunk to an utterance. One that is forgotten takes it and does nothing. */
  add(utterance, chunk, now) {
    if (utterance.closedAt !== null || !this.#spool.has(utterance)) return;
    this.#spool.add(utterance, chunk);
    this.#pump(now);
  }

  /** The utterance is complete. It ended at `endedAt`. */
  close(utterance, now, endedAt = now) {
    if (utterance.closedAt !== null) return;
    utterance.closedAt = endedAt;
    this.#pump(now);
  }

  /** Forget an utterance; the service forgets what it got of it. */
  cancel(utterance) {
    if (!this.#spool.has(utterance)) return;
    this.#spool.remove(utterance);
    this.#abort(utterance);
  }

  /** Forget everything that is not sent whole, and abort what was begun. */
  clear() {
    for (const utterance of [...this.#spool]) if (!utterance.stopped) this.cancel(utterance);
  }

  /** Forget everything, and abort what was begun. What was sent whole is carried out, unseen. */
  forget() {
    this.clear();
    for (const utterance of [...this.#spool]) this.#spool.remove(utterance);
  }

  connected(socket, now) {
    this.#socket = socket;
    this.#heldUntil = null;
    this.#pump(now);
  }

  disconnected() {
    this.#socket = null;
    for (const utterance of this.#spool) utterance.rewind();
  }

  /** Call this several times a second. */
  tick(now) {
    this.#pump(now);
  }

  /** The service answers; return the utterance if it is one of ours and its answer is final. */
  answered(result, now) {
    const utterance = this.#spool.find(result.id);
    // A part that an earlier connection left behind: the whole is sent again anyway.
    if (utterance === undefined || result.end === "disconnect") return null;
    const again = whatNext(result);
    const open = utterance.closedAt === null;
    if (again === AGAIN.NO || (again === AGAIN.NEW_ID && utterance.renamed)) {
      this.#spool.remove(utterance);
      if (open) {
        utterance.closedAt = now;
        this.#ended(utterance);
      }
      this.#pump(now);
      return utterance;
    }
    if (again === AGAIN.NEW_ID) {
      utterance.id = this.#newId();
      utterance.renamed = true;
    }
    if (again === AGAIN.LATER) this.#heldUntil = now + SHUTDOWN_S;
    utterance.rewind();
    this.#pump(now);
    return null;
  }

  /**
   * The service has ended an utterance by itself: if it is open, nothing more of it is sent. It
   * waits for its answer. If it has to be sent again, it ends with what was added up to now.
   */
  endedByService(id, now) {
    const utterance = this.#spool.find(id);
    if (utterance === undefined || utterance.closedAt !== null) return;
    utterance.closedAt = now;
    utterance.stopped = utterance.started;
    this.#ended(utterance);
    this.#pump(now);
  }

  #pump(now) {
    for (const utterance of this.#spool.removeExcess(now)) {
      if (utterance.stopped) {
        this.#unanswered(utterance);
      } else {
        this.#dropped(utterance);
        this.#abort(utterance);
      }
    }
    if (this.#heldUntil !== null && now >= this.#heldUntil) this.#heldUntil = null;
    if (this.#socket === null || this.#heldUntil !== null) return;
    // One after the other: the age in a start is then true.
    for (const utterance of this.#spool) {
      if (!utterance.stopped) this.#transmit(utterance, now);
      if (!utterance.stopped) return;
    }
  }

  /** Send what is new of an utterance. */
  #transmit(utterance, now) {
    if (!utterance.started) {
      // Its age is known when it has ended, or when the page reads what is heard now.
      if (utterance.closedAt === null && now - utterance.heardAt > LATE_S) return;
      if (this.#isFull()) return;
      utterance.started = true;
      const age = utterance.closedAt === null ? 0 : Math.round((now - utterance.closedAt) * 1000);
      this.#say("start", { id: utterance.id, codec: utterance.codec, ...START, age_ms: age });
    }
    for (; utterance.sent < utterance.chunks.length; utterance.sent += 1) {
      if (this.#isFull()) return;
      this.#socket.send(numbered(utterance.sent, utterance.chunks[utterance.sent]));
    }
    if (utterance.closedAt === null) return;
    utterance.stopped = true;
    this.#say("stop", { id: utterance.id, chunks: utterance.sent });
  }

  #isFull() {
    return this.#socket.bufferedAmount > MAX_BUFFERED;
  }

  #abort(utterance) {
    if (this.#socket !== null && utterance.started) this.#say("abort", { id: utterance.id });
  }

  #say(type, fields) {
    this.#socket.send(JSON.stringify({ type, ...fields }));
  }
}

/** A chunk behind its number, as `seq32` wants it. */
function numbered(number, chunk) {
  const message = new Uint8Array(4 + chunk.length);
  new DataView(message.buffer).setUint32(0, number, true);
  message.set(chunk, 4);
  return message;
}

function whatNext({ end, error, outcome }) {
  if (end === "shutdown" || error?.code === "shutting_down") return AGAIN.LATER;
  // A stop is always sent, so a pause of the service means that audio was on its way too long. But
  // words are obeyed: they must not come twice.
  return end === "gap" && outcome !== "transcript" ? AGAIN.NEW_ID : AGAIN.NO;
}
