"""One timer for all deadlines of the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LATE_S = 0.05
"""A call that is this late means that the process stood still."""
GRACE_S = 0.25
"""Longest wait after a standstill for programs that stood still as well, such as the broker."""
AHEAD_S = GRACE_S
"""The timer fires this long before a deadline, to detect a standstill just before it."""
READING_S = 1.0
"""Longest time that a deadline waits for the messages that arrived before it."""
POLL_S = 0.005
MAX_STANDSTILLS = 4
"""After this many standstills in a row a deadline counts, even if messages are unread."""


class Handle(Protocol):
    """A scheduled call, such as an `asyncio.TimerHandle`."""

    def cancel(self) -> None:
        """Cancel the call."""


class Backlog(Protocol):
    """Messages that have arrived and are not handled yet."""

    def mark(self, stood_still: bool) -> None:
        """Mark all messages that have arrived. `stood_still`: some may still be in the socket."""

    def handle_marked(self) -> bool:
        """Handle some of the marked messages; return whether any are left."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The wait for marked messages before a deadline counts. Times are on the clock of `now`."""

    not_before: float
    give_up_at: float
    standstills: int


class DeadlineTimer:
    """Calls `tick` at the earliest deadline, after all messages that arrived before it are handled.

    Otherwise a standstill of this process would look like a pause in the speech. Without
    standstills and backlog a deadline is not delayed.

    If a deadline moves later, the timer fires early and is set again. `now` and `deadline` use one
    clock. `call_later` is that of the event loop, which may use another clock.
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
        """When the call behind `_handle` is due."""
        self._reading: _Reading | None = None

    def arm(self) -> None:
        """Read the deadline again. Call this after anything that may bring it forward."""
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
        """Whether a deadline has passed and all messages that arrived before it are handled."""
        self._notice(now, late_s)
        reading = self._reading
        if reading is None:
            return False
        if now >= reading.give_up_at:
            return True
        waits = self._arrivals.handle_marked()
        return not waits and now >= reading.not_before

    def _notice(self, now: float, late_s: float) -> None:
        """Mark the messages that arrived before a deadline. Mark them again after a standstill."""
        reading, stood_still = self._reading, late_s > LATE_S
        standstills = int(stood_still)
        if reading is None:
            deadline = self._deadline()
            if not stood_still and (deadline is None or now < deadline):
                return
        else:
            # Standstills come in series where memory is swapped out.
            if late_s <= GRACE_S or reading.standstills >= MAX_STANDSTILLS:
                return
            standstills += reading.standstills
        grace_s = min(late_s, GRACE_S) if stood_still else 0.0
        self._reading = _Reading(now + grace_s, now + READING_S, standstills)
        self._arrivals.mark(stood_still)
