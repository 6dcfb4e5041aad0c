/** Keeps the screen on while the page always listens. */

/**
 * `request()` asks the browser for a lock, `{ released, release() }`, and may fail; it is undefined
 * where there are none.
 */
export class WakeLock {
  #request;
  #lock = null;
  #isWanted = false;
  #isAsking = false;

  constructor(request) {
    this.#request = request;
  }

  /** Call this as often as you like: it only acts on a change. */
  want(isWanted) {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    this.renew();
  }

  /** The page is seen again: the browser has released the lock. */
  renew() {
    if (!this.#isWanted) {
      void this.#lock?.release();
      this.#lock = null;
    } else if (!this.#isAsking && (this.#lock === null || this.#lock.released)) {
      void this.#ask();
    }
  }

  async #ask() {
    this.#isAsking = true;
    try {
      this.#lock = (await this.#request()) ?? null;
    } catch {
      // The page is hidden, the battery is low, or the browser does not want to.
    }
    this.#isAsking = false;
    if (!this.#isWanted) this.renew();
  }
}
