// Fakes of what a browser gives a page that asks for a microphone.

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
  modules = laterOn();
  audioWorklet = { addModule: () => this.modules.promise };

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
  orders = [];
  port = { postMessage: (data) => this.orders.push(data) };

  constructor(context) {
    this.context = context;
  }

  connect() {}

  disconnect() {}

  say(data) {
    this.port.onmessage?.({ data });
  }
}

/** A promise, and what settles it. */
function laterOn() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/** The ports of a worklet and of its node. What is sent arrives when `deliver` is called. */
export class FakePorts {
  #waiting = [];
  node = { postMessage: (data, moved) => this.#send(this.worklet, data, moved) };
  worklet = { postMessage: (data, moved) => this.#send(this.node, data, moved) };

  #send(to, data, transfer = []) {
    const copy = structuredClone(data, { transfer });
    this.#waiting.push(() => to.onmessage?.({ data: copy }));
  }

  deliver() {
    while (this.#waiting.length > 0) this.#waiting.shift()();
  }
}

/** Makes itself the browser of this process, and keeps what is made. */
export class FakeBrowser {
  contexts = [];
  nodes = [];
  streams = [];

  constructor() {
    const { contexts, nodes, streams } = this;
    Object.assign(globalThis, {
      window: globalThis,
      top: globalThis,
      self: globalThis,
      isSecureContext: true,
      document: { hidden: false },
      AudioContext: class extends FakeContext {
        constructor() {
          super();
          contexts.push(this);
        }
      },
      AudioWorkletNode: class extends FakeNode {
        constructor(context, name, options) {
          super(context);
          this.options = options;
          nodes.push(this);
        }
      },
    });
    const mediaDevices = Object.assign(new EventTarget(), {
      getUserMedia: async () => {
        streams.push(new FakeStream());
        return streams.at(-1);
      },
    });
    Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true });
  }

  get running() {
    return this.contexts.filter(({ state }) => state === "running");
  }

  /** Streams of microphones that are open. */
  get live() {
    return this.streams.filter(({ tracks }) => !tracks[0].stopped);
  }
}
