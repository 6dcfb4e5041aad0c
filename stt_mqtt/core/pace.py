"""How often something may happen. Pure: `now` is in seconds of a monotonic clock."""

from __future__ import annotations

from math import inf


class Pace:
    """Lets something happen `at_once` times, then once in `every_s`."""

    def __init__(self, at_once: int, every_s: float) -> None:
        self._every_s = every_s
        self._slack_s = (at_once - 1) * every_s
        self._next_at = -inf
        """When it would be the next turn, had all of them kept `every_s`."""

    @property
    def free_at(self) -> float:
        """From when on it may happen again."""
        return self._next_at - self._slack_s

    def takes(self, now: float) -> bool:
        """Whether it may happen now. If so, it is counted."""
        if now < self.free_at:
            return False
        self._next_at = max(self._next_at, now) + self._every_s
        return True
