"""The glue around the event loop: the one timer, and the intake from the network thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from stt_mqtt.app import intake as intake_module
from stt_mqtt.app.intake import Intake, IntakeHandlers
from stt_mqtt.app.timer import DeadlineTimer
from stt_mqtt.doors.mqtt.inbox import Inbox, InboxLimits
from stt_mqtt.doors.mqtt.messages import Inbound
from stt_mqtt.doors.mqtt.router import Router


@dataclass(eq=False)
class FakeHandle:
    at: float
    callback: Callable[[], None]
    loop: FakeLoop

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.loop.pending.remove(self)


class FakeLoop:
    """A loop whose time the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending: list[FakeHandle] = []

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle(when, callback, self)
        self.pending.append(handle)
        return handle

    def run_until(self, now: float) -> None:
        self.now = now
        while due := [handle for handle in self.pending if handle.at <= now]:
            first = min(due, key=lambda handle: handle.at)
            first.cancel()
            first.callback()


class Ticking:
    """Deadlines that a test sets, and the moments at which they were served."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.deadline: float | None = None
        self.ticks: list[float] = []
        self.timer = DeadlineTimer(self.loop.call_at, lambda: self.deadline, self._tick)

    def _tick(self) -> None:
        self.ticks.append(self.loop.now)
        if self.deadline is not None and self.deadline <= self.loop.now:
            self.deadline = None


def test_the_timer_fires_at_the_deadline_and_rests_without_one() -> None:
    ticking = Ticking()
    ticking.timer.arm()
    assert ticking.loop.pending == []
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.loop.run_until(4.9)
    assert ticking.ticks == []
    ticking.loop.run_until(5.0)
    assert ticking.ticks == [5.0]
    assert ticking.loop.pending == []


def test_a_deadline_that_moves_later_costs_nothing_until_the_timer_fires() -> None:
    ticking = Ticking()
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.deadline = 9.0
    ticking.timer.arm()
    assert [handle.when() for handle in ticking.loop.pending] == [5.0]
    ticking.loop.run_until(5.0)
    assert [handle.when() for handle in ticking.loop.pending] == [9.0]


def test_a_deadline_that_moves_forward_is_heeded_at_once() -> None:
    ticking = Ticking()
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.deadline = 2.0
    ticking.timer.arm()
    assert [handle.when() for handle in ticking.loop.pending] == [2.0]


def test_a_cancelled_timer_never_fires() -> None:
    ticking = Ticking()
    ticking.deadline = 5.0
    ticking.timer.arm()
    ticking.timer.cancel()
    ticking.loop.run_until(10.0)
    assert ticking.ticks == []


class Handled:
    """A door that knows what reached the event loop, and on which thread."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.dropped: list[str] = []
        self.unwanted: set[str] = set()
        """Topics of chunks that nobody waits for until a message on `opens/…` is handled."""
        self.threads: set[int] = set()
        self.batches = 0
        self.handlers = IntakeHandlers(Router([self], self._note), self._note, self._settle)

    subscriptions = read_first = ()
    chunk_endings = ("/audio",)
    bulky_endings = ("/utterance",)

    def awaits(self, topic: str) -> bool:
        return topic not in self.unwanted

    def owns(self, topic: str) -> bool:
        return True

    def shed(self, topic: str) -> None:
        self.dropped.append(topic)

    def connected(self) -> None:
        self._note()

    def clean_up(self) -> None:
        self._note()

    def handle(self, message: Inbound) -> None:
        self._note()
        if message.topic == "breaks":
            raise ZeroDivisionError
        self.messages.append(message.topic)
        if message.topic.startswith("opens/"):
            self.unwanted.discard(message.topic.removeprefix("opens/") + "/audio")

    def _note(self) -> None:
        self.threads.add(threading.get_ident())

    def _settle(self) -> None:
        self.batches += 1


def feed(handled: Handled, topics: list[str], inbox: InboxLimits | None = None) -> Intake:
    """Send messages from another thread; the loop handles them when all are sent."""

    async def main() -> Intake:
        intake = Intake(asyncio.get_running_loop(), handled.handlers)
        if inbox is not None:
            intake._inbox = Inbox(inbox, intake._wake)

        def send() -> None:
            intake.connected("5")
            for topic in topics:
                intake.message(Inbound(topic, b"x"))

        sender = threading.Thread(target=send)
        sender.start()
        # Blocks the loop on purpose: so it is certain what finds room.
        sender.join()
        for _ in range(len(topics) + 20):
            await asyncio.sleep(0)
        await asyncio.sleep(intake_module.LINGER_S * 2)
        return intake

    return asyncio.run(main())


def test_messages_reach_the_loop_in_order_and_on_its_thread() -> None:
    handled = Handled()
    topics = [f"stt/room/{number}" for number in range(1000)]
    feed(handled, topics)
    assert handled.messages == topics
    assert handled.threads == {threading.get_ident()}
    assert handled.batches < 100


def test_a_message_that_breaks_something_harms_none_behind_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handled = Handled()
    feed(handled, ["a", "breaks", "b"])
    assert handled.messages == ["a", "b"]
    assert "could not be handled" in caplog.text


def test_what_finds_no_room_is_told_unless_it_is_a_chunk() -> None:
    handled = Handled()
    topics = ["stt/a/audio"] * 30 + ["stt/a/utterance"] * 3 + ["stt/a/audio/stop"] * 2
    intake = feed(handled, topics, InboxLimits(20, 1_000_000))
    assert handled.dropped == ["stt/a/utterance"] * 3
    assert handled.messages.count("stt/a/audio/stop") == 2
    assert intake.dropped == 30 - 18 + 3


def test_chunks_that_nobody_waits_for_do_not_reach_the_loop() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    intake = feed(handled, ["x/audio"] * 100 + ["y/audio"])
    assert handled.messages == ["y/audio"]
    assert intake.dropped == 0


def test_a_chunk_behind_the_start_that_makes_it_welcome_reaches_the_loop() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    feed(handled, ["x/audio", "opens/x", "x/audio"])
    assert handled.messages == ["opens/x", "x/audio"]


def test_a_start_that_found_no_room_keeps_no_chunk_welcome() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    intake = feed(handled, ["opens/y"] * 21, InboxLimits(20, 1_000_000))
    assert handled.dropped == ["opens/y"]
    intake.message(Inbound("x/audio", b""))
    assert len(intake._inbox) == 0


def test_messages_after_the_end_of_the_loop_are_dropped_quietly() -> None:
    handled = Handled()
    intake = feed(handled, [])
    intake.message(Inbound("late", b""))
    assert handled.messages == []
