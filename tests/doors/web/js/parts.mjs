// Fakes of what the scripts of the page are given, and the scripts themselves.

export const ASSETS = new URL("../../../../stt_mqtt/doors/web/assets/", import.meta.url);
export const load = (name) => import(new URL(`mic/${name}.js`, ASSETS));

/** A clock that only the test moves. */
export class FakeClock {
  now = 100;
  read = () => this.now;
}

/** A WebSocket that keeps what is sent. */
export class FakeSocket {
  static made = [];
  sent = [];
  bufferedAmount = 0;
  readyState = 0;
  isClosed = false;

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close() {
    this.isClosed = true;
    this.readyState = 3;
  }

  /** The service accepts the connection. */
  accept() {
    this.readyState = 1;
    this.onopen({});
  }

  say(fields) {
    this.onmessage({ data: JSON.stringify(fields) });
  }

  fail(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  /** Types of the messages so far; `audio` for a binary one. */
  get types() {
    return this.sent.map((message) => message.type ?? "audio");
  }

  of(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

/** An encoder that makes one byte of each frame, at once. */
export class FakeEncoder {
  static codec = "pcm_s16le";
  isClosed = false;

  constructor(data, failed) {
    this.data = data;
    this.failed = failed;
  }

  push(frame) {
    this.data(new Uint8Array([frame[0]]));
  }

  flush() {}

  async finish() {}

  close() {
    this.isClosed = true;
  }
}
