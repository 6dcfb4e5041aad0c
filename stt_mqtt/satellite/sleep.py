"""Detects that the machine slept. The monotonic clock of Linux stops during sleep."""

from __future__ import annotations

import time

NOTICED_S = 5.0


class SleepDetector:
    """Compares the clock that stops during sleep with the one that continues."""

    def __init__(self) -> None:
        self._asleep_s = asleep_s()

    def passed(self) -> bool:
        """Whether the machine slept for longer than `NOTICED_S` since the last call."""
        before, self._asleep_s = self._asleep_s, asleep_s()
        return self._asleep_s - before > NOTICED_S


def asleep_s() -> float:
    """Seconds that the machine slept since it was started; 0 if unknown."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
