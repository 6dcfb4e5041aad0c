"""Where the line gets its time from."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that never jumps, one that people read."""

    def now(self) -> float:
        """Monotonic seconds."""

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def epoch(self) -> float:
        """Seconds of the Unix epoch."""
        return time.time()
