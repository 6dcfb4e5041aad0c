"""The clocks of the service."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock and the wall clock."""

    def now(self) -> float:
        """Monotonic seconds, those included that the machine slept."""

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""


class SystemClock:
    """The system clocks."""

    def now(self) -> float:
        """Monotonic seconds, those included that the machine slept.

        `time.monotonic`, which event loops use, stops on Linux while the machine sleeps. With it,
        speech from before the sleep would seem recent.
        """
        return time.clock_gettime(_WITH_SLEEP)

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""
        return time.time()


_WITH_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: monotonic seconds and seconds of the Unix epoch."""

    now: float
    epoch: float

    def epoch_of(self, at: float) -> float:
        """Convert monotonic seconds to seconds of the Unix epoch."""
        return self.epoch - (self.now - at)
