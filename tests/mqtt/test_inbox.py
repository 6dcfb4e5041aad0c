"""The hand-over from the network thread to the event loop."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.mqtt.inbox import ITEM_OVERHEAD, Inbox, InboxLimits, size_of
from stt_mqtt.mqtt.messages import Inbound

ROOMY = InboxLimits(max_items=1000, max_bytes=10_000_000)


class Waker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def message(number: int = 0, size: int = 0) -> Inbound:
    return Inbound(str(number), bytes(size))


def test_messages_leave_in_the_order_in_which_they_came_whatever_their_urgency() -> None:
    inbox = Inbox(ROOMY, Waker())
    for number in range(5):
        assert inbox.put(message(number), urgent=number % 2 == 0)
    assert [taken.topic for taken in inbox.drain(3)] == ["0", "1", "2"]
    assert [taken.topic for taken in inbox.drain(3)] == ["3", "4"]


def test_it_wakes_once_until_a_drain_has_found_it_empty() -> None:
    waker = Waker()
    inbox = Inbox(ROOMY, waker)
    inbox.put(message(), urgent=False)
    inbox.put(message(), urgent=True)
    assert waker.calls == 1
    inbox.drain(10)
    inbox.put(message(), urgent=True)
    assert waker.calls == 1
    inbox.drain(10)
    assert inbox.drain(10) == []
    inbox.put(message(), urgent=False)
    assert waker.calls == 2


def test_the_last_tenth_of_the_items_is_kept_for_urgent_messages() -> None:
    inbox = Inbox(InboxLimits(20, 10_000_000), Waker())
    assert [inbox.put(message(), urgent=False) for _ in range(20)] == [True] * 18 + [False] * 2
    assert inbox.put(message(), urgent=True)
    assert inbox.put(message(), urgent=True)
    assert not inbox.put(message(), urgent=True)
    assert (len(inbox), inbox.dropped) == (20, 3)


def test_the_last_tenth_of_the_bytes_is_kept_for_urgent_messages() -> None:
    one = size_of(message(0, 1000))
    inbox = Inbox(InboxLimits(1000, 10 * one), Waker())
    assert [inbox.put(message(0, 1000), urgent=False) for _ in range(10)] == [True] * 9 + [False]
    assert inbox.put(message(0, 1000), urgent=True)
    assert inbox.buffered_bytes == 10 * one
    assert not inbox.put(message(), urgent=True)


def test_what_is_drained_makes_room() -> None:
    inbox = Inbox(InboxLimits(10, 10_000_000), Waker())
    while inbox.put(message(), urgent=True):
        pass
    inbox.drain(1)
    assert inbox.put(message(), urgent=True)
    inbox.drain(100)
    assert (len(inbox), inbox.buffered_bytes) == (0, 0)


def test_texts_and_properties_count_as_bytes() -> None:
    rich = Inbound("t", b"", 1, False, "type", "reply", b"12", (("name", "value"),))
    assert size_of(rich) == ITEM_OVERHEAD + 1 + 4 * 4 + 4 * 5 + 2 + 128 + 4 * 9


@pytest.mark.parametrize("limits", [(9, 1_000_000), (1000, 10 * ITEM_OVERHEAD - 1)])
def test_limits_without_room_for_a_reserve_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 10 messages"):
        InboxLimits(*limits)


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
    inbox = Inbox(InboxLimits(max_items, max_bytes), waker)
    accepted: list[str] = []
    taken: list[str] = []
    refused = wakes_due = 0
    asleep = True
    for number, (what, urgent, amount) in enumerate(operations):
        if what == "put":
            if inbox.put(message(number, amount), urgent):
                accepted.append(str(number))
                wakes_due += asleep
                asleep = False
            else:
                refused += 1
        else:
            batch = inbox.drain(amount)
            assert len(batch) <= amount
            asleep = asleep or not batch
            taken += [one.topic for one in batch]
        assert len(inbox) <= max_items
        assert inbox.buffered_bytes <= max_bytes
        assert waker.calls == wakes_due
    taken += [one.topic for one in inbox.drain(len(operations) + 1)]
    assert taken == accepted
    assert inbox.dropped == refused
    assert inbox.buffered_bytes == 0


@given(st.lists(st.integers(0, 5000), max_size=60), st.integers(10, 30))
def test_an_urgent_message_finds_room_behind_any_flood_of_others(
    sizes: list[int], max_items: int
) -> None:
    inbox = Inbox(InboxLimits(max_items, max_items * ITEM_OVERHEAD * 2), Waker())
    for size in sizes:
        inbox.put(message(0, size), urgent=False)
    assert inbox.put(Inbound("s", b""), urgent=True)


def test_no_message_and_no_wake_up_is_lost_between_threads() -> None:
    total = 20_000
    woken = threading.Event()
    inbox = Inbox(InboxLimits(total, total * 1000), woken.set)

    def produce() -> None:
        for number in range(total):
            inbox.put(message(number), urgent=True)

    producer = threading.Thread(target=produce)
    producer.start()
    taken: list[str] = []
    while len(taken) < total:
        # A lost wake-up shows here.
        assert woken.wait(60)
        woken.clear()
        while batch := inbox.drain(7):
            taken += [one.topic for one in batch]
    producer.join()
    assert taken == [str(number) for number in range(total)]
    assert inbox.dropped == 0
