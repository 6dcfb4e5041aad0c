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

/** Centre, in hertz, and part of each formant of an open vowel, and their width. */
const FORMANTS = [
  [700, 1],
  [1200, 0.5],
  [2600, 0.25],
];
const FORMANT_WIDTH_HZ = 120;

/** Two syllables a second of a voice that RNNoise takes for one. */
export function voice(rate, seconds, peak = 0.3) {
  const samples = new Float32Array(rate * seconds);
  let phase = 0;
  for (let n = 0; n < samples.length; n += 1) {
    const at = n / rate;
    const pitch = 120 + 25 * Math.sin(2 * Math.PI * 0.7 * at) + 8 * Math.sin(2 * Math.PI * 2.1 * at);
    const shift = 1 + 0.2 * Math.sin(2 * Math.PI * 1.3 * at);
    phase += (2 * Math.PI * pitch) / rate;
    for (let harmonic = 1; harmonic * pitch < 3600; harmonic += 1) {
      const gain = FORMANTS.reduce(
        (sum, [hz, part]) => sum + part / (1 + ((harmonic * pitch - hz * shift) / FORMANT_WIDTH_HZ) ** 2),
        0,
      );
      samples[n] += gain * Math.sin(harmonic * phase);
    }
    samples[n] *= Math.max(0, Math.sin(4 * Math.PI * at)) ** 0.6;
  }
  const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  return samples.map((sample) => (peak * sample) / loudest);
}
