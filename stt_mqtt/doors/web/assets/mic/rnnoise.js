/** RNNoise in WebAssembly: noise suppression, and the probability that somebody speaks. */

/** What RNNoise works with: frames of 10 ms at 48 kHz, and the scale of 16-bit integers. */
export const RNNOISE_RATE = 48000;
export const RNNOISE_FRAME = 480;
const SCALE = 32768;

/** The one instance of the module: a browser frees the memory of an instance late, or never. */
let shared = null;

/** One stream. The first one compiles the module at once, as an AudioWorklet needs it. */
export class Rnnoise {
  #exports;
  #state;
  #address;

  /** `bytes`: the file `rnnoise_simd.wasm`. Throws a WebAssembly error where it does not run. */
  constructor(bytes) {
    shared ??= instantiate(bytes);
    this.#exports = shared;
    this.#state = shared.rnnoise_create(0);
    this.#address = shared.malloc(RNNOISE_FRAME * Float32Array.BYTES_PER_ELEMENT);
    if (!this.#state || !this.#address) throw new Error("rnnoise_simd.wasm has no memory");
  }

  /** Clean the next frame in place, delayed by one frame; return the probability of speech. */
  process(frame) {
    const { memory, rnnoise_process_frame: processFrame } = this.#exports;
    const samples = new Float32Array(memory.buffer, this.#address, RNNOISE_FRAME);
    for (let n = 0; n < RNNOISE_FRAME; n += 1) samples[n] = frame[n] * SCALE;
    const probability = processFrame(this.#state, this.#address, this.#address);
    for (let n = 0; n < RNNOISE_FRAME; n += 1) frame[n] = samples[n] / SCALE;
    return probability;
  }

  /** Free its memory. It must not be used afterwards. */
  close() {
    this.#exports.rnnoise_destroy(this.#state);
    this.#exports.free(this.#address);
  }
}

function instantiate(bytes) {
  let exports = null;
  const imports = {
    // It must return nothing: an array would be made a number, which takes seconds.
    emscripten_memcpy_big: (to, from, count) => {
      new Uint8Array(exports.memory.buffer).copyWithin(to, from, from + count);
    },
    // Its memory has a fixed size, of which one stream needs a small part.
    emscripten_resize_heap: () => 0,
    __assert_fail: () => {
      throw new Error("an assertion failed in rnnoise_simd.wasm");
    },
  };
  exports = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: imports }).exports;
  exports.__wasm_call_ctors();
  return exports;
}
