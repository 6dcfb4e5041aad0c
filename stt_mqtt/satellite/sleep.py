"""Whether the machine slept, which the monotonic clock of Linux does not count."""

from __future__ import annotations

import time

NOTICED_S = 5.0


class SleepDetector:
    """Compares the clock that stops while the machine sleeps with the one that goes on."""

    def __init__(self) -> None:
        self._asleep_s = asleep_s()

    def passed(self) -> bool:
        """Whether it slept since the last call, for longer than `NOTICED_S`."""
        before, self._asleep_s = self._asleep_s, asleep_s()
        return self._asleep_s - before > NOTICED_S


def asleep_s() -> float:
    """Seconds that the machine slept since its start; 0 where nobody tells."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
