/** The one big button: hold it to talk, or tap it to be heard until the next tap. */

/** A press that lasts longer is held. */
export const HOLD_S = 0.35;

/** What the button says: `IDLE` nothing, `HELD` while it is pressed, `ALWAYS` after a tap. */
export const TALK = { IDLE: "idle", HELD: "held", ALWAYS: "always" };

/** Has no clock: `now` is seconds, when the person did it. */
export class Press {
  #always = false;
  #pressedAt = null;

  get talk() {
    if (this.#pressedAt !== null) return TALK.HELD;
    return this.#always ? TALK.ALWAYS : TALK.IDLE;
  }

  get always() {
    return this.#always;
  }

  press(now) {
    this.#pressedAt ??= now;
  }

  /** The button is released. Return whether it was a tap. */
  release(now) {
    if (this.#pressedAt === null) return false;
    const tapped = now - this.#pressedAt < HOLD_S;
    this.#pressedAt = null;
    if (tapped) this.#always = !this.#always;
    return tapped;
  }

  /** The finger slid away, or the page lost the focus. */
  cancel() {
    this.#pressedAt = null;
  }

  /** Switch always-on, as a tap does. */
  setAlways(always) {
    this.#always = always;
    this.#pressedAt = null;
  }
}
