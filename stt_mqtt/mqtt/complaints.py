"""What the log says of a connection that fails: a state machine without clock or network.

Each reason is said when it first comes up. Then the present one is repeated with the time that it
has lasted, after 1, 2, 4, … minutes and at last every hour: who looks at the log finds it, and it
fills no disk. Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stt_mqtt.mqtt.reconnect import PEACE_S, Cause

FIRST_REPEAT_S = 60.0
LONGEST_PAUSE_S = 3600.0
MAX_REASONS = 16
"""Reasons that are said at once within one trouble; others wait for their turn."""
STEADY_S = 10.0
"""A connection that lasted so long ends the trouble before it."""
FLAPPING_LOSSES = 3
"""So many losses in a row, each soon after the connection came up, have one cause."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is to be said; `lasts_s` is None where it is said for the first time."""

    reason: str
    lasts_s: float | None = None

    def __str__(self) -> str:
        if self.lasts_s is None:
            return self.reason
        return f"{self.reason} (so for {_spoken(self.lasts_s)})"


@dataclass(slots=True)
class Complaints:
    """Remembers the trouble, from its first failure until a connection lasts.

    `client_id` is the one that was configured; one of our own making is nobody else's.
    """

    client_id: str | None
    _since: float | None = None
    _repeat_at: float = 0.0
    _pause_s: float = 0.0
    _losses: int = 0
    _told: set[str] = field(default_factory=set)

    @property
    def flapping(self) -> bool:
        """Whether connections come up and are lost again at once: not worth a line each."""
        return self._losses >= FLAPPING_LOSSES

    def about(self, ended: Cause, reason: str, lived_s: float, now: float) -> Complaint | None:
        """A connection that was up for `lived_s`, or an attempt (0), has ended; None: be quiet."""
        if lived_s >= (PEACE_S if ended is Cause.TAKEN_OVER else STEADY_S):
            self._since, self._losses = None, 0
            self._told.clear()
        if self._since is None:
            self._since = now
            self._pause_s = FIRST_REPEAT_S
            self._repeat_at = now + self._pause_s
        if ended is Cause.TAKEN_OVER:
            self._losses = FLAPPING_LOSSES
        elif ended is Cause.LOST:
            self._losses += 1
        else:
            self._losses = 0
        reason = self._explained(ended, reason)
        if self.is_new(reason):
            return Complaint(reason)
        if now < self._repeat_at:
            return None
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._repeat_at = now + self._pause_s
        return Complaint(reason, now - self._since)

    def is_new(self, text: str) -> bool:
        """Whether this was not said yet; from now on it was."""
        if text in self._told or len(self._told) >= MAX_REASONS:
            return False
        self._told.add(text)
        return True

    def _explained(self, ended: Cause, reason: str) -> str:
        if not self.flapping:
            return reason
        whose = "its client identifier"
        if self.client_id is not None:
            whose = f"the identifier mqtt.client_id: {self.client_id}"
        if ended is Cause.TAKEN_OVER:
            return f"{reason}: another client uses {whose}; give each one of its own"
        again = f"{reason}, again and again soon after it came up"
        if self.client_id is None:
            return f"{again}: the log of the broker says why"
        return f"{again}: it is likely that another client uses {whose}; give each one of its own"


def _spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
