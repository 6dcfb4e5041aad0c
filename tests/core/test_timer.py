"""The one timer of the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from stt_mqtt.core.timer import (
    GRACE_S,
    LATE_S,
    MAX_STANDSTILLS,
    POLL_S,
    READING_S,
    DeadlineTimer,
)


@dataclass(eq=False)
class FakeHandle:
    at: float
    callback: Callable[[], None]
    loop: FakeLoop

    def cancel(self) -> None:
        self.loop.pending.remove(self)


class FakeLoop:
    """A loop whose time the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending: list[FakeHandle] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle(self.now + delay, callback, self)
        self.pending.append(handle)
        return handle

    @property
    def next_at(self) -> float | None:
        return min((handle.at for handle in self.pending), default=None)

    def run_until(self, now: float) -> None:
        """Be on time, call by call, until `now`."""
        while self.next_at is not None and self.next_at <= now:
            self.now = max(self.now, self.next_at)
            self._call_next()
        self.now = now

    def stand_still_until(self, now: float) -> None:
        """Make the first call that was due only now."""
        self.now = now
        if self.next_at is not None and self.next_at <= now:
            self._call_next()

    def _call_next(self) -> None:
        first = min(self.pending, key=lambda handle: handle.at)
        first.cancel()
        first.callback()


class Ticking:
    """A device that may have spoken, and a timer that ends it after a pause."""

    PAUSE_S = 0.8

    def __init__(self, deadline: float | None = None) -> None:
        self.loop = FakeLoop()
        self.deadline = deadline
        self.ticks: list[float] = []
        """When `tick` found something to do."""
        self.marked: list[bool] = []
        """Whether the process had stood still, each time that what came in was marked."""
        self.unread: list[bool] = []
        """What is found, one after the other, when it is taken in: whether it is a chunk."""
        self.timer = DeadlineTimer(
            lambda: self.loop.now, self.loop.call_later, lambda: self.deadline, self._tick, self
        )
        self.timer.arm()

    def mark(self, stood_still: bool) -> None:
        self.marked.append(stood_still)

    def handle_marked(self) -> bool:
        if self.unread and self.unread.pop(0):
            self.hear()
        return bool(self.unread)

    def hear(self) -> None:
        """A chunk is handled."""
        self.deadline = self.loop.now + self.PAUSE_S
        self.timer.arm()

    def _tick(self) -> None:
        if self.deadline is not None and self.deadline <= self.loop.now:
            self.ticks.append(self.loop.now)
            self.deadline = None


def test_the_timer_fires_at_the_deadline_and_rests_without_one() -> None:
    ticking = Ticking()
    assert ticking.loop.pending == []
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.loop.run_until(4.9)
    assert ticking.ticks == []
    ticking.loop.run_until(5.0)
    assert ticking.ticks == [5.0]
    assert ticking.loop.pending == []


def test_a_deadline_that_moves_later_costs_nothing_until_the_timer_fires() -> None:
    ticking = Ticking(5.0)
    ticking.deadline = 9.0
    ticking.timer.arm()
    assert ticking.loop.next_at == 4.75
    ticking.loop.run_until(4.75)
    assert ticking.loop.next_at == 8.75
    ticking.loop.run_until(9.0)
    assert ticking.ticks == [9.0]


def test_a_deadline_that_moves_forward_is_heeded_at_once() -> None:
    ticking = Ticking(5.0)
    ticking.deadline = 2.0
    ticking.timer.arm()
    assert len(ticking.loop.pending) == 1
    ticking.loop.run_until(2.0)
    assert ticking.ticks == [2.0]


def test_a_deadline_in_the_past_is_heeded_at_once_and_is_no_standstill() -> None:
    ticking = Ticking()
    ticking.loop.now = 7.0
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.loop.run_until(7.0)
    assert (ticking.ticks, ticking.marked) == ([7.0], [False])


def test_a_cancelled_timer_never_fires() -> None:
    ticking = Ticking(5.0)
    ticking.timer.cancel()
    ticking.loop.run_until(10.0)
    assert ticking.ticks == []


def test_on_time_a_deadline_waits_for_nothing_but_what_is_in_the_inbox() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(5.0)
    assert (ticking.ticks, ticking.marked) == ([5.0], [False])
    ticking = Ticking(5.0)
    ticking.unread = [False, False, True]
    ticking.loop.run_until(5.0 + 3 * POLL_S)
    assert ticking.ticks == []
    ticking.loop.run_until(10.0)
    assert ticking.ticks == [pytest.approx(5.8 + 2 * POLL_S)]


def test_a_little_late_is_on_time() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.9)
    ticking.loop.stand_still_until(5.0 + LATE_S)
    assert (ticking.ticks, ticking.marked) == ([5.0 + LATE_S], [False])


def test_after_a_standstill_what_waits_in_the_sockets_is_read_before_a_pause_counts() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.0)
    # The call ahead of the deadline should have come at 4.75.
    ticking.loop.stand_still_until(5.2)
    assert (ticking.ticks, ticking.marked) == ([], [True])
    ticking.loop.run_until(5.25)
    ticking.hear()
    ticking.loop.run_until(6.0)
    assert ticking.ticks == []
    ticking.loop.run_until(6.05)
    assert ticking.ticks == [pytest.approx(6.05)]


def test_after_a_standstill_in_which_nobody_spoke_the_pause_counts_after_a_moment() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.0)
    ticking.loop.stand_still_until(60.0)
    assert ticking.ticks == []
    ticking.loop.run_until(61.0)
    assert ticking.ticks == [60.0 + GRACE_S]


def test_who_was_late_for_a_tenth_of_a_second_waits_for_a_tenth_of_a_second() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.9)
    ticking.loop.stand_still_until(5.1)
    ticking.loop.run_until(6.0)
    assert ticking.ticks == [pytest.approx(5.2)]


def test_a_standstill_that_ends_just_before_the_deadline_is_noticed() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.0)
    ticking.loop.stand_still_until(4.99)
    assert ticking.marked == [True]
    ticking.loop.run_until(6.0)
    assert ticking.ticks == [pytest.approx(4.99 + 0.24)]


def test_what_is_never_read_to_the_end_holds_a_deadline_for_a_second_at_most() -> None:
    ticking = Ticking(5.0)
    ticking.unread = [False] * 100_000
    ticking.loop.run_until(7.0)
    assert ticking.ticks == [pytest.approx(5.0 + READING_S, abs=2 * POLL_S)]


def test_a_standstill_during_the_grace_begins_it_anew_a_few_times() -> None:
    ticking = Ticking(5.0)
    ticking.loop.run_until(4.0)
    times = [6.0, 8.0, 10.0, 12.0]
    for at in times:
        ticking.loop.stand_still_until(at)
    assert (ticking.ticks, ticking.marked) == ([], [True] * MAX_STANDSTILLS)
    ticking.loop.stand_still_until(14.0)
    assert ticking.ticks == [14.0]


def test_messages_that_keep_coming_do_not_put_the_deadline_off() -> None:
    ticking = Ticking(5.0)
    ticking.unread = [False] * 3
    ticking.loop.run_until(5.0)
    for step in range(1, 8):
        ticking.loop.run_until(5.0 + step * POLL_S / 2)
        # As after each batch of messages.
        ticking.timer.arm()
    assert ticking.ticks == [pytest.approx(5.0 + 2 * POLL_S)]


def test_a_deadline_that_goes_away_while_it_is_read_leaves_nothing_behind() -> None:
    ticking = Ticking(5.0)
    ticking.unread = [False] * 5
    ticking.loop.run_until(5.0)
    ticking.deadline = None
    ticking.loop.run_until(6.0)
    ticking.unread = [True]
    ticking.deadline = 50.0
    ticking.timer.arm()
    ticking.loop.run_until(60.0)
    # What waited was read first, as it should be.
    assert ticking.ticks == [50.8]
