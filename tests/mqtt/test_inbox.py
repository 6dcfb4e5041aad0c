"""The hand-over from the network thread to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.arrivals import (
    ITEM_OVERHEAD,
    Arrival,
    ArrivalQueue,
    Event,
    InboxLimits,
    size_of,
)
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.inbox import BATCH, LINGER_S, SLICE, TURN_S, Inbox
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.routing import AudioTopics, MqttDoor, Router, Senders, Subscriptions

ROOMY = InboxLimits(max_items=1000, max_bytes=10_000_000)


class Waker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


DESTINATION = Router([], lambda: None).route("any")


def message(number: int = 0, size: int = 0) -> Inbound:
    return Inbound(str(number), bytes(size))


def arrival(number: int = 0, size: int = 0) -> Arrival:
    return Arrival(message(number, size), DESTINATION)


def topics(drained: Sequence[Arrival | Event]) -> list[str]:
    """The topics of the messages among what was drained."""
    return [one.message.topic for one in drained if isinstance(one, Arrival)]


def test_messages_leave_in_the_order_in_which_they_came_whatever_their_urgency() -> None:
    queue = ArrivalQueue(ROOMY, Waker())
    for number in range(5):
        assert queue.put(arrival(number), urgent=number % 2 == 0)
    assert topics(queue.drain(3)) == ["0", "1", "2"]
    assert topics(queue.drain(3)) == ["3", "4"]


def test_it_wakes_once_until_a_drain_has_found_it_empty() -> None:
    waker = Waker()
    queue = ArrivalQueue(ROOMY, waker)
    queue.put(arrival(), urgent=False)
    queue.put(arrival(), urgent=True)
    assert waker.calls == 1
    queue.drain(10)
    queue.put(arrival(), urgent=True)
    assert waker.calls == 1
    queue.drain(10)
    assert queue.drain(10) == []
    queue.put(arrival(), urgent=False)
    assert waker.calls == 2


def test_the_last_tenth_of_the_items_is_kept_for_urgent_messages() -> None:
    queue = ArrivalQueue(InboxLimits(20, 10_000_000), Waker())
    assert [queue.put(arrival(), urgent=False) for _ in range(20)] == [True] * 18 + [False] * 2
    assert queue.put(arrival(), urgent=True)
    assert queue.put(arrival(), urgent=True)
    assert not queue.put(arrival(), urgent=True)
    assert (len(queue), queue.dropped) == (20, 3)


def test_the_last_tenth_of_the_bytes_is_kept_for_urgent_messages() -> None:
    one = size_of(message(0, 1000))
    queue = ArrivalQueue(InboxLimits(1000, 10 * one), Waker())
    assert [queue.put(arrival(0, 1000), urgent=False) for _ in range(10)] == [True] * 9 + [False]
    assert queue.put(arrival(0, 1000), urgent=True)
    assert queue.buffered_bytes == 10 * one
    assert not queue.put(arrival(), urgent=True)


def test_what_is_drained_makes_room() -> None:
    queue = ArrivalQueue(InboxLimits(10, 10_000_000), Waker())
    while queue.put(arrival(), urgent=True):
        pass
    queue.drain(1)
    assert queue.put(arrival(), urgent=True)
    queue.drain(100)
    assert (len(queue), queue.buffered_bytes) == (0, 0)


def test_texts_and_properties_count_as_bytes() -> None:
    rich = Inbound("t", b"", 1, False, "type", "reply", b"12", (("name", "value"),))
    assert size_of(rich) == ITEM_OVERHEAD + 1 + 4 * 4 + 4 * 5 + 2 + 128 + 4 * 9


@pytest.mark.parametrize("crowd", [1, 200])
def test_an_event_waits_for_the_messages_before_it_and_is_not_overtaken(crowd: int) -> None:
    queue = ArrivalQueue(ROOMY, Waker())

    def event() -> None:
        """What an ended connection calls."""

    for number in range(crowd):
        queue.put(arrival(number), urgent=True)
    queue.drain(1)
    queue.put_event(event)
    for number in range(crowd, 2 * crowd):
        queue.put(arrival(number), urgent=True)
    assert len(queue) == 2 * crowd - 1
    drained: list[Arrival | Event] = []
    while batch := queue.drain(7):
        drained.extend(batch)
    at = drained.index(event)
    assert at == crowd - 1
    assert sorted(map(int, topics(drained[:at]))) == list(range(1, crowd))
    assert sorted(map(int, topics(drained[at:]))) == list(range(crowd, 2 * crowd))
    assert len(queue) == 0


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.booleans(), st.integers(0, 3000)),
        st.tuples(st.just("drain"), st.booleans(), st.integers(1, 40)),
    ),
    max_size=200,
)


@given(OPERATIONS, st.integers(10, 40), st.integers(10 * ITEM_OVERHEAD, 60_000))
def test_whatever_happens_the_bounds_hold_and_every_message_leaves_once_or_is_counted(
    operations: list[tuple[str, bool, int]], max_items: int, max_bytes: int
) -> None:
    waker = Waker()
    queue = ArrivalQueue(InboxLimits(max_items, max_bytes), waker)
    accepted: list[str] = []
    taken: list[str] = []
    refused = wakes_due = 0
    asleep = True
    for number, (what, urgent, amount) in enumerate(operations):
        if what == "put":
            if queue.put(arrival(number, amount), urgent):
                accepted.append(str(number))
                wakes_due += asleep
                asleep = False
            else:
                refused += 1
        else:
            batch = queue.drain(amount)
            assert len(batch) <= amount
            asleep = asleep or not batch
            taken += topics(batch)
        assert len(queue) <= max_items
        assert queue.buffered_bytes <= max_bytes
        assert waker.calls == wakes_due
    taken += topics(queue.drain(len(operations) + 1))
    assert taken == accepted
    assert queue.dropped == refused
    assert queue.buffered_bytes == 0


@given(st.lists(st.integers(0, 5000), max_size=60), st.integers(10, 30))
def test_an_urgent_message_finds_room_behind_any_flood_of_others(
    sizes: list[int], max_items: int
) -> None:
    queue = ArrivalQueue(InboxLimits(max_items, max_items * ITEM_OVERHEAD * 2), Waker())
    for size in sizes:
        queue.put(arrival(0, size), urgent=False)
    assert queue.put(Arrival(Inbound("s", b""), DESTINATION), urgent=True)


def test_no_message_and_no_wake_up_is_lost_between_threads() -> None:
    total = 20_000
    woken = threading.Event()
    queue = ArrivalQueue(InboxLimits(total, total * 1000), woken.set)

    def produce() -> None:
        for number in range(total):
            queue.put(arrival(number), urgent=True)

    producer = threading.Thread(target=produce)
    producer.start()
    taken: list[str] = []
    while len(taken) < total:
        # A lost wake-up shows here.
        assert woken.wait(60)
        woken.clear()
        while batch := queue.drain(7):
            taken += topics(batch)
    producer.join()
    assert taken == [str(number) for number in range(total)]
    assert queue.dropped == 0


class Handled(MqttDoor):
    """A door that knows what reached the event loop, and on which thread."""

    senders = Senders()

    def __init__(self, breaks_when_disconnected: bool = False) -> None:
        self.breaks_when_disconnected = breaks_when_disconnected
        self.messages: list[str] = []
        self.dropped: list[str] = []
        self.unwanted: set[str] = set()
        """Topics of chunks that nobody waits for until a message on `opens/…` is handled."""
        self.threads: set[int] = set()
        self.batches = 0
        self.router = Router([self], self.note)

    @property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(
            ("#",),
            AudioTopics(("/audio",), lambda topic: topic not in self.unwanted),
            self.senders,
            large_endings=("/utterance",),
            dropped=lambda topic, _: self.dropped.append(topic),
        )

    def handle(self, message: Inbound) -> None:
        self.note()
        if message.topic == "breaks":
            raise ZeroDivisionError
        self.messages.append(message.topic)
        if message.topic.startswith("opens/"):
            self.unwanted.discard(message.topic.removeprefix("opens/") + "/audio")

    def on_disconnected(self) -> None:
        if self.breaks_when_disconnected:
            raise ZeroDivisionError
        self.messages.append("disconnected")

    def note(self) -> None:
        self.threads.add(threading.get_ident())

    def rearm(self) -> None:
        self.batches += 1


class FakeClient(MqttClient):
    """A client whose network thread has read all when the test says so."""

    def __init__(self) -> None:
        self.is_read = True

    def read_all(self) -> None:
        self.is_read = False

    @property
    def has_read_all(self) -> bool:
        return self.is_read


def inbox_of(
    handled: Handled, limits: InboxLimits | None = None, client: MqttClient | None = None
) -> Inbox:
    """An inbox of the running loop."""
    client = client or FakeClient()
    return Inbox(client, handled.router, handled.note, handled.rearm, limits)


def feed(handled: Handled, topics: list[str], limits: InboxLimits | None = None) -> Inbox:
    """Send messages from another thread; the loop handles them when all are sent."""

    async def main() -> Inbox:
        inbox = inbox_of(handled, limits)

        def send() -> None:
            inbox.connected("5")
            for topic in topics:
                inbox.message(Inbound(topic, b"x"))

        sender = threading.Thread(target=send)
        sender.start()
        # Blocks the loop on purpose: so it is certain what finds room.
        sender.join()
        for _ in range(len(topics) + 20):
            await asyncio.sleep(0)
        await asyncio.sleep(LINGER_S * 2)
        return inbox

    return asyncio.run(main())


def test_messages_reach_the_loop_in_order_and_on_its_thread() -> None:
    handled = Handled()
    topics = [f"stt/room/{number}" for number in range(1000)]
    feed(handled, topics)
    assert handled.messages == topics
    assert handled.threads == {threading.get_ident()}
    assert handled.batches < 100


def test_doors_are_told_of_a_lost_connection_after_what_came_over_it() -> None:
    handled = Handled()

    async def main() -> None:
        inbox = inbox_of(handled)
        inbox.message(Inbound("before", b""))
        inbox.disconnected("gone")
        inbox.message(Inbound("after", b""))
        await asyncio.sleep(LINGER_S * 4)

    asyncio.run(main())
    assert handled.messages == ["before", "disconnected", "after"]


def test_a_door_that_breaks_at_the_end_of_a_connection_harms_no_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handled = Handled(breaks_when_disconnected=True)

    async def main() -> None:
        inbox = inbox_of(handled)
        inbox.disconnected("gone")
        inbox.message(Inbound("after", b""))
        await asyncio.sleep(LINGER_S * 4)

    asyncio.run(main())
    assert handled.messages == ["after"]
    assert "please report this" in caplog.text


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
    inbox = feed(handled, topics, InboxLimits(20, 1_000_000))
    assert handled.dropped == ["stt/a/utterance"] * 3
    assert handled.messages.count("stt/a/audio/stop") == 2
    assert inbox.dropped == 30 - 18 + 3


def test_chunks_that_nobody_waits_for_do_not_reach_the_loop() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    inbox = feed(handled, ["x/audio"] * 100 + ["y/audio"])
    assert handled.messages == ["y/audio"]
    assert inbox.dropped == 0


def test_a_chunk_behind_the_start_that_makes_it_welcome_reaches_the_loop() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    feed(handled, ["x/audio", "opens/x", "x/audio"])
    assert handled.messages == ["opens/x", "x/audio"]


def test_a_start_that_found_no_room_keeps_no_chunk_welcome() -> None:
    handled = Handled()
    handled.unwanted = {"x/audio"}
    inbox = feed(handled, ["opens/y"] * 21, InboxLimits(20, 1_000_000))
    assert handled.dropped == ["opens/y"]
    inbox.message(Inbound("x/audio", b""))
    assert len(inbox) == 0


def test_what_was_marked_is_handled_at_once_and_what_came_later_is_not_waited_for() -> None:
    handled = Handled()

    async def main() -> None:
        inbox = inbox_of(handled)
        for number in range(BATCH + 1):
            inbox.message(Inbound(f"before/{number}", b""))
        inbox.mark(stood_still=False)
        inbox.message(Inbound("after", b""))
        # A machine that is busy for a moment ends a turn early.
        assert inbox.handle_marked()
        assert 0 < len(handled.messages) <= BATCH
        while inbox.handle_marked():
            assert handled.messages[-1] != "after"
        # They were taken out together, which does no harm.
        assert handled.messages[-1] == "after"
        inbox.mark(stood_still=False)
        assert not inbox.handle_marked()
        # The inbox goes on to wake the loop.
        inbox.message(Inbound("later", b""))
        await asyncio.sleep(LINGER_S * 4)
        assert handled.messages[-1] == "later"
        assert handled.batches < 10

    asyncio.run(main())


def test_after_a_standstill_what_the_network_thread_has_yet_to_read_is_waited_for() -> None:
    handled = Handled()

    async def main() -> None:
        client = FakeClient()
        inbox = inbox_of(handled, client=client)
        inbox.mark(stood_still=True)
        assert inbox.handle_marked()
        inbox.message(Inbound("unread", b""))
        client.is_read = True
        assert not inbox.handle_marked()
        assert handled.messages == ["unread"]

    asyncio.run(main())


def test_on_time_the_network_thread_is_not_asked() -> None:
    async def main() -> None:
        client = FakeClient()
        inbox = inbox_of(Handled(), client=client)
        inbox.mark(stood_still=False)
        assert client.is_read
        assert not inbox.handle_marked()

    asyncio.run(main())


def test_messages_after_the_end_of_the_loop_are_dropped_quietly() -> None:
    handled = Handled()
    inbox = feed(handled, [])
    inbox.message(Inbound("late", b""))
    assert handled.messages == []


def test_a_message_that_was_too_large_to_read_is_told_to_its_door() -> None:
    handled = Handled()

    async def main() -> None:
        inbox = inbox_of(handled)
        inbox.too_large("kitchen/audio")
        inbox.too_large("x" * 60_000)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (handled.messages, handled.dropped) == ([], ["kitchen/audio"])


def test_messages_that_cost_much_let_the_loop_do_other_work_between_them() -> None:
    class Slow(Handled):
        def handle(self, message: Inbound) -> None:
            super().handle(message)
            clock[0] += TURN_S / 4

    clock = [0.0]
    handled = Slow()

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        inbox = inbox_of(handled)
        for number in range(4 * SLICE):
            inbox.message(Inbound(f"{number}", b""))
        real = loop.time
        loop.time = lambda: clock[0]  # type: ignore[method-assign]
        inbox.pump()
        after_one_turn = len(handled.messages)
        inbox.pump()
        loop.time = real  # type: ignore[method-assign]
        return [after_one_turn, len(handled.messages)]

    assert asyncio.run(main()) == [SLICE, 2 * SLICE]


class Crowded(Handled):
    """A door with many senders, each with a first level of its own. `room` is favoured."""

    senders = Senders(lambda topic: topic.partition("/")[0], {"room"}.__contains__)


def test_a_quiet_room_is_not_behind_a_crowd_that_came_before_it() -> None:
    handled = Crowded()
    crowd = [f"new-{number}/start" for number in range(2000)]
    room = ["room/start", "room/audio", "room/stop"]
    feed(handled, crowd + room)
    assert sorted(handled.messages) == sorted(crowd + room)
    places = [handled.messages.index(topic) for topic in room]
    assert places == sorted(places)
    assert places[-1] < 2 * len(room)


def test_strangers_leave_room_in_a_full_inbox_to_favoured_senders() -> None:
    handled = Crowded()
    crowd = ["new/audio"] * 30 + ["new/start"] * 30
    room = ["room/audio"] * 2 + ["room/start"] * 3
    inbox = feed(handled, crowd + room, InboxLimits(20, 1_000_000))
    assert handled.messages == ["new/audio"] * 16 + ["new/start"] + room[:1] + room[2:4]
    assert inbox.dropped == len(crowd + room) - 20


def test_what_was_marked_is_waited_for_also_where_senders_take_turns() -> None:
    handled = Crowded()

    async def main() -> None:
        inbox = inbox_of(handled)
        marked = [f"new-{number % 50}/{number}" for number in range(400)]
        for topic in marked:
            inbox.message(Inbound(topic, b""))
        inbox.pump()
        inbox.mark(stood_still=False)
        for number in range(2000):
            inbox.message(Inbound(f"room/{number}", b""))
        while inbox.handle_marked():
            pass
        assert set(marked) <= set(handled.messages)
        before = len(handled.messages)
        assert not inbox.handle_marked()
        assert len(handled.messages) == before < 2400

    asyncio.run(main())


def test_answers_to_what_was_dropped_let_the_loop_do_other_work_between_them() -> None:
    class Slow(Handled):
        @property
        def subscriptions(self) -> Subscriptions:
            return Subscriptions(("#",), dropped=self.answer)

        def answer(self, topic: str, _error: UtteranceError) -> None:
            self.dropped.append(topic)
            clock[0] += TURN_S / 4

    clock = [0.0]
    handled = Slow()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        inbox = inbox_of(handled)
        for _ in range(20):
            inbox.too_large("kitchen/audio")
        real = loop.time
        loop.time = lambda: clock[0]  # type: ignore[method-assign]
        inbox.pump()
        at_once = len(handled.dropped)
        loop.time = real  # type: ignore[method-assign]
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(handled.dropped) == 20
        return at_once

    assert asyncio.run(main()) == 4
