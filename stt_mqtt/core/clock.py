"""Where the service gets its time from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that never jumps, one that people read."""

    def now(self) -> float:
        """Monotonic seconds, those included that the machine slept."""

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        """Monotonic seconds, those included that the machine slept.

        `time.monotonic`, the clock of event loops, stands still on Linux while the machine sleeps:
        what was said before that would look fresh.
        """
        return time.clock_gettime(_WITH_SLEEP)

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""
        return time.time()


_WITH_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: monotonic seconds and seconds of the epoch."""

    now: float
    epoch: float

    def epoch_of(self, at: float) -> float:
        """The epoch seconds of a monotonic moment."""
        return self.epoch - (self.now - at)
