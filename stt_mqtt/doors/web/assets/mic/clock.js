/** Seconds that also pass while the machine sleeps, and never run backwards. */

/** A smaller difference of the two clocks is drift, not sleep. */
const SLEEP_S = 2;

/**
 * `monotonicMs` may stand still during sleep. `wallMs` may be set by hand: a jump ahead counts as
 * sleep, because speech that seems too old is dropped, which is safe.
 */
export function makeClock(monotonicMs, wallMs) {
  let lastMonotonic = monotonicMs();
  let lastWall = wallMs();
  let asleepMs = 0;
  return () => {
    const monotonic = monotonicMs();
    const wall = wallMs();
    const unseen = wall - lastWall - (monotonic - lastMonotonic);
    if (unseen > SLEEP_S * 1000) asleepMs += unseen;
    lastMonotonic = monotonic;
    lastWall = wall;
    return (monotonic + asleepMs) / 1000;
  };
}
