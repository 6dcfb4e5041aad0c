/** The WebSocket to the service: connects, watches, and connects again with growing pauses. */

/** The longest wait before the first attempt, and before a later one. */
const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 30;
/** An attempt that takes longer has failed. */
const CONNECT_TIMEOUT_S = 10;
/** A connection that lasted so long was a good one: the pauses begin anew. */
const GOOD_S = 10;
/** After so much silence of the service it is asked whether it is there, and has to answer. */
const PING_AFTER_S = 20;
const PONG_TIMEOUT_S = 8;
/** Close codes after which only a person can help: another page speaks as the room, or none may. */
const FINAL = new Set([4001, 4003]);
/** The same in the `error` before it: some proxies do not pass on the code. */
const FINAL_ERRORS = new Set(["replaced", "room_not_allowed"]);
/** Close codes of a service that does not understand this page, or has no place for it. */
const LATER = new Set([1002, 1003, 1007, 1008, 1009, 1013]);
const LATER_WAIT_S = 5;
export const PROTOCOL = "stt-mqtt.v1";

const SOCKET_OPEN = 1;

/**
 * `makeSocket()` opens a WebSocket; `random()` is from 0 to 1. `up(socket)`, `down(reason, isFinal)`
 * and `message(fields)` are called when it happens. The owner calls `tick(now)` several times a
 * second. After a final refusal it attempts nothing until `insist` or `restart`.
 */
export class Connection {
  #make;
  #random;
  #on;
  #socket = null;
  /** When the attempt began, the connection came up, or the next attempt is due. */
  #since = 0;
  #nextAt = 0;
  #failures = 0;
  #heardAt = 0;
  #pingedAt = null;
  #isUp = false;
  /** What the service said before it closed the connection. */
  #farewell = null;
  #clock;

  constructor({ makeSocket, random, clock, up, down, message }) {
    this.#make = makeSocket;
    this.#random = random;
    this.#clock = clock;
    this.#on = { up, down, message };
  }

  get isUp() {
    return this.#isUp;
  }

  /** Attempt now: the network is back, or somebody looks at the page. A final refusal holds. */
  hurry() {
    if (this.#nextAt !== Infinity) this.insist();
  }

  /** Attempt now, also after a final refusal: a person wants it. */
  insist() {
    if (this.#socket === null) this.#nextAt = 0;
    else if (this.#isUp) this.#ping(this.#clock());
  }

  /** Begin anew with what `makeSocket` says now. */
  restart() {
    this.#lose("", 0);
    this.#failures = 0;
    this.#nextAt = 0;
  }

  tick(now) {
    if (this.#socket === null) {
      if (now >= this.#nextAt) this.#connect(now);
    } else if (!this.#isUp) {
      if (now - this.#since > CONNECT_TIMEOUT_S) this.#lose("the service does not answer", 0);
    } else if (this.#pingedAt !== null) {
      if (now - this.#pingedAt > PONG_TIMEOUT_S) this.#lose("the service does not answer", 0);
    } else if (now - this.#heardAt > PING_AFTER_S) {
      this.#ping(now);
    }
  }

  #connect(now) {
    this.#since = now;
    const socket = this.#make();
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const current = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = current(() => this.#open());
    socket.onmessage = current(({ data }) => this.#receive(data));
    socket.onclose = current(({ code, reason }) => this.#lose(reason, code));
  }

  #open() {
    this.#isUp = true;
    this.#since = this.#heardAt = this.#clock();
    this.#pingedAt = null;
    this.#on.up(this.#socket);
  }

  #receive(data) {
    this.#heardAt = this.#clock();
    this.#pingedAt = null;
    let fields = null;
    try {
      fields = JSON.parse(data);
    } catch {
      return;
    }
    if (fields?.type === "error") this.#farewell = fields;
    else if (fields?.type === "ping") this.#say({ type: "pong" });
    else if (typeof fields?.type === "string") this.#on.message(fields);
  }

  #ping(now) {
    if (this.#pingedAt !== null) return;
    this.#pingedAt = now;
    this.#say({ type: "ping" });
  }

  #say(fields) {
    if (this.#socket.readyState === SOCKET_OPEN) this.#socket.send(JSON.stringify(fields));
  }

  #lose(reason, code) {
    const socket = this.#socket;
    if (socket === null) return;
    const now = this.#clock();
    if (this.#isUp && now - this.#since > GOOD_S) this.#failures = 0;
    this.#socket = null;
    this.#isUp = false;
    const farewell = this.#farewell;
    this.#farewell = null;
    const longest = Math.min(FIRST_WAIT_S * 2 ** this.#failures, LONGEST_WAIT_S);
    this.#failures = Math.min(this.#failures + 1, 10);
    // Half of it by chance: the pages of a house do not all come at once.
    const wait = LATER.has(code) ? Math.max(longest, LATER_WAIT_S) : longest;
    const isFinal = FINAL.has(code) || FINAL_ERRORS.has(farewell?.code);
    this.#nextAt = isFinal ? Infinity : now + wait * (0.5 + 0.5 * this.#random());
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#on.down(reason || farewell?.detail || "the service is not there", isFinal);
  }
}
