"""One timer of the event loop for all the deadlines of the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LATE_S = 0.05
"""A call that comes so much later than it should shows that the process stood still."""
GRACE_S = 0.25
"""Most that is waited after a standstill for others who stood still with us, such as the broker."""
AHEAD_S = GRACE_S
"""So long before a deadline the clock is looked at, so that a standstill just before it shows."""
READING_S = 1.0
"""Most that a deadline waits until everything is read that came in before it."""
POLL_S = 0.005
MAX_STANDSTILLS = 4
"""Standstills in a row after which a deadline counts, whatever there is to read."""


class Handle(Protocol):
    """A call that is to come, such as an `asyncio.TimerHandle`."""

    def cancel(self) -> None:
        """Have it not happen."""


class Backlog(Protocol):
    """What has come in and was not handled yet."""

    def mark(self, stood_still: bool) -> None:
        """Note what has come in until now. `stood_still`: some of it may not even be read."""

    def handle_marked(self) -> bool:
        """Handle some of what was marked; return whether that was not all of it yet."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What has to be before a deadline counts. Times are the clock's."""

    not_before: float
    give_up_at: float
    standstills: int


class DeadlineTimer:
    """Calls `tick` when the earliest deadline is due and nothing waits that came in before it.

    Else a pause of ours would look like a pause of whoever speaks. On a machine that is on time a
    deadline waits for nothing.

    A deadline that moves later costs nothing: the timer fires early and is set again. `now` and
    `deadline` are of one clock; `call_later` is that of the event loop, whose clock may be another.
    """

    def __init__(
        self,
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Handle],
        deadline: Callable[[], float | None],
        tick: Callable[[], None],
        arrivals: Backlog,
    ) -> None:
        self._now = now
        self._call_later = call_later
        self._deadline = deadline
        self._tick = tick
        self._arrivals = arrivals
        self._handle: Handle | None = None
        self._due = 0.0
        """When the call behind `_handle` is to come."""
        self._reading: _Reading | None = None

    def arm(self) -> None:
        """Look at the deadline again; to be called after anything that may bring it forward."""
        deadline = self._deadline()
        if deadline is None:
            self._reading = None
            return
        is_set = self._handle is not None
        if is_set and (self._due <= deadline or self._reading is not None):
            return
        now = self._now()
        if self._reading is not None:
            self._call(max(self._reading.not_before, now + POLL_S))
        elif now < deadline - AHEAD_S:
            self._call(deadline - AHEAD_S)
        else:
            self._call(max(deadline, now))

    def cancel(self) -> None:
        """Never fire again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self, at: float) -> None:
        self.cancel()
        self._due = at
        self._handle = self._call_later(max(at - self._now(), 0.0), self._fire)

    def _fire(self) -> None:
        self._handle = None
        try:
            now = self._now()
            if self._is_time(now, now - self._due):
                self._reading = None
                self._tick()
        finally:
            self.arm()

    def _is_time(self, now: float, late_s: float) -> bool:
        """Whether a deadline has come, and everything is handled that came before it."""
        self._notice(now, late_s)
        reading = self._reading
        if reading is None:
            return False
        if now >= reading.give_up_at:
            return True
        waits = self._arrivals.handle_marked()
        return not waits and now >= reading.not_before

    def _notice(self, now: float, late_s: float) -> None:
        """Begin to read what came in when a deadline has come, anew after a standstill."""
        reading, stood_still = self._reading, late_s > LATE_S
        standstills = int(stood_still)
        if reading is None:
            deadline = self._deadline()
            if not stood_still and (deadline is None or now < deadline):
                return
        else:
            # They come in series where memory is swapped out.
            if late_s <= GRACE_S or reading.standstills >= MAX_STANDSTILLS:
                return
            standstills += reading.standstills
        grace_s = min(late_s, GRACE_S) if stood_still else 0.0
        self._reading = _Reading(now + grace_s, now + READING_S, standstills)
        self._arrivals.mark(stood_still)
