"""Publications that wait, and those that are not acknowledged yet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.outbox import ITEM_OVERHEAD, RESERVED_SHARE, Outbox
from tests.fakes import FakeClock


def publication(number: int, qos: int = 1) -> Publication:
    return Publication(f"t/{number}", b"", qos)


def send(outbox: Outbox, mid: int, in_flight: int = 100) -> Publication:
    taken = outbox.take(in_flight)
    assert taken is not None
    outbox.sent(mid, taken)
    return taken


def test_publications_leave_in_order() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(publication(number))
    assert [send(outbox, number).topic for number in range(3)] == ["t/0", "t/1", "t/2"]
    assert outbox.take(100) is None


def test_a_full_queue_loses_and_counts_until_something_is_acknowledged() -> None:
    outbox = Outbox(max_items=2)
    assert [outbox.put(publication(number)) for number in range(3)] == [True, True, False]
    send(outbox, 1)
    assert not outbox.put(publication(3))
    assert outbox.acknowledged(1) == publication(0)
    assert outbox.put(publication(4))
    assert outbox.lost == 2


def test_bytes_are_bounded_too() -> None:
    outbox = Outbox(max_bytes=(2 * ITEM_OVERHEAD + 150) * RESERVED_SHARE // (RESERVED_SHARE - 1))
    assert outbox.put(Publication("a", bytes(100)))
    assert not outbox.put(Publication("b", bytes(60), correlation=bytes(1)))
    assert outbox.put(Publication("c", bytes(49), correlation=bytes(1)))


def test_no_more_than_the_allowed_number_is_in_flight() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(publication(number))
    send(outbox, 1, in_flight=2)
    send(outbox, 2, in_flight=2)
    assert outbox.take(2) is None
    outbox.acknowledged(1)
    assert outbox.take(2) == publication(2)


def test_what_is_unacknowledged_when_the_connection_ends_is_sent_again_first() -> None:
    outbox = Outbox()
    for number in range(4):
        outbox.put(publication(number))
    for mid in range(3):
        send(outbox, mid)
    outbox.acknowledged(1)
    outbox.connection_ended()
    assert [send(outbox, mid).topic for mid in range(3)] == ["t/0", "t/2", "t/3"]


def test_waiting_qos_0_is_dropped_when_the_connection_ends() -> None:
    outbox = Outbox(max_items=2)
    outbox.put(publication(0, qos=0))
    outbox.put(publication(1))
    outbox.connection_ended()
    assert send(outbox, 1) == publication(1)
    assert outbox.put(publication(2))
    assert outbox.lost == 0


def test_qos_0_that_says_until_when_it_may_wait_outlives_the_connection() -> None:
    outbox = Outbox()
    patient = replace(publication(0, qos=0), expires_at=time.monotonic() + 60)
    outbox.put(patient)
    outbox.connection_ended()
    assert send(outbox, 1) == patient


def test_what_could_not_be_sent_is_the_next_one_again() -> None:
    outbox = Outbox()
    outbox.put(publication(0))
    outbox.put(publication(1))
    first = outbox.take(100)
    assert first is not None
    outbox.put_back(first)
    assert outbox.take(100) == publication(0)


def test_what_can_never_be_sent_is_lost_and_owed_no_longer() -> None:
    outbox = Outbox()
    outbox.put(publication(0))
    taken = outbox.take(100)
    assert taken is not None
    outbox.drop(taken)
    assert outbox.lost == 1
    assert outbox.flush(0)


def test_an_acknowledgement_that_nobody_awaits_is_ignored() -> None:
    outbox = Outbox()
    assert outbox.acknowledged(7) is None


def test_flush_waits_for_the_last_acknowledgement_and_not_for_qos_0() -> None:
    outbox = Outbox()
    assert outbox.flush(0)
    outbox.put(publication(0))
    outbox.put(publication(1, qos=0))
    assert not outbox.flush(0)
    send(outbox, 1)
    assert not outbox.flush(0.01)
    answer = threading.Thread(target=outbox.acknowledged, args=(1,))
    answer.start()
    assert outbox.flush(60)
    answer.join()


def test_what_has_expired_is_dropped_and_counted_instead_of_sent() -> None:
    outbox = Outbox()
    now = time.monotonic()
    outbox.put(Publication("text", b"stale", expires_at=now - 1))
    outbox.put(Publication("text", b"fresh", expires_at=now + 60))
    outbox.put(Publication("result", b"timeless"))
    taken = [outbox.take(10), outbox.take(10), outbox.take(10)]
    assert [item.payload for item in taken if item] == [b"fresh", b"timeless"]
    assert outbox.lost == 1


def test_what_has_expired_makes_room_while_nothing_can_be_sent() -> None:
    clock = FakeClock()
    outbox = Outbox(max_items=20, now=clock.now)
    for number in range(9):
        outbox.put(Publication("text", b"stale", 1, expires_at=clock.now() + 2))
        assert outbox.put(Publication(f"result/{number}", b"", 1))
    assert not outbox.put(publication(10))
    clock.advance(2)
    assert outbox.put(publication(11))
    assert outbox.lost == 1 + 9
    assert [send(outbox, number).topic for number in range(10)] == [
        *(f"result/{number}" for number in range(9)),
        "t/11",
    ]
    assert outbox.waiting[0] == 10


def test_what_was_in_flight_and_has_expired_makes_room_after_the_connection() -> None:
    clock = FakeClock()
    outbox = Outbox(max_items=1, now=clock.now)
    outbox.put(Publication("text", b"stale", 1, expires_at=clock.now() + 2))
    send(outbox, 1)
    outbox.connection_ended()
    clock.advance(2)
    assert outbox.put(publication(1))
    assert (outbox.lost, outbox.waiting[0]) == (1, 1)


def test_what_was_published_before_the_machine_slept_has_expired_afterwards() -> None:
    clock = FakeClock()
    outbox = Outbox(now=clock.now)
    outbox.put(Publication("text", b"stale", expires_at=clock.now() + 30))
    clock.advance(3600)
    assert outbox.take(10) is None
    assert outbox.lost == 1


def bound(number: int, connection: int, qos: int = 1) -> Publication:
    return replace(publication(number, qos), connection=connection)


def test_connections_are_counted_and_none_is_0() -> None:
    outbox = Outbox()
    seen = [outbox.connection]
    for _ in range(2):
        outbox.connection_began()
        seen.append(outbox.connection)
        outbox.connection_ended()
        seen.append(outbox.connection)
    assert seen == [0, 1, 0, 2, 0]


def test_what_is_for_another_connection_is_not_taken_and_not_counted() -> None:
    outbox = Outbox()
    assert not outbox.put(bound(0, connection=0))
    assert not outbox.put(bound(0, connection=1))
    outbox.connection_began()
    assert not outbox.put(bound(0, connection=0))
    assert outbox.put(bound(1, connection=1))
    assert not outbox.put(bound(2, connection=2))
    assert send(outbox, 1) == bound(1, connection=1)
    assert outbox.take(100) is None
    assert outbox.lost == 0


def test_what_is_for_a_connection_ends_with_it_sent_or_not_and_is_owed_no_longer() -> None:
    outbox = Outbox(max_items=4)
    outbox.connection_began()
    patient = replace(bound(0, 1), expires_at=time.monotonic() + 60)
    for one in (patient, bound(1, 1), bound(2, 1, qos=0), publication(3)):
        assert outbox.put(one)
    send(outbox, 1)
    outbox.connection_ended()
    outbox.connection_began()
    assert send(outbox, 1) == publication(3)
    assert outbox.take(100) is None
    assert not outbox.flush(0)
    outbox.acknowledged(1)
    assert outbox.flush(0)
    assert all(outbox.put(publication(number)) for number in range(4))
    assert outbox.lost == 0


def test_flush_does_not_wait_for_what_ended_with_its_connection() -> None:
    outbox = Outbox()
    outbox.connection_began()
    outbox.put(bound(0, 1))
    end = threading.Thread(target=outbox.connection_ended)
    assert not outbox.flush(0)
    end.start()
    assert outbox.flush(60)
    end.join()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 1000)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_is_sent_on_another_connection_whoever_publishes_meanwhile() -> None:
    outbox = Outbox()
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            connection = outbox.connection
            for number in range(20):
                outbox.put(bound(number, connection))

    publisher = threading.Thread(target=publish)
    publisher.start()
    taken = 0
    try:
        while taken < 200:
            outbox.connection_began()
            while taken < 200 and (one := outbox.take(10)) is not None:
                assert one.connection == outbox.connection
                taken += 1
                outbox.sent(taken, one)
            outbox.connection_ended()
    finally:
        done.set()
        publisher.join()
    assert outbox.take(100) is None
    assert outbox.flush(0)
    assert outbox.lost == 0


def test_it_tells_what_waits_and_how_many_connections_there_were() -> None:
    outbox = Outbox()
    outbox.put(publication(0))
    outbox.put(publication(1))
    outbox.connection_began()
    send(outbox, 1)
    assert outbox.waiting == (2, 2 * ITEM_OVERHEAD)
    outbox.acknowledged(1)
    assert outbox.waiting == (1, ITEM_OVERHEAD)
    outbox.connection_ended()
    outbox.connection_began()
    assert outbox.connections == 2


def test_a_full_outbox_takes_what_is_true_now_for_what_was_true_before() -> None:
    outbox = Outbox(max_items=10)
    states = [Publication("t/state", state, retain=True) for state in (b"a", b"b", b"c", b"d")]
    assert outbox.put(states[0])
    assert [outbox.put(publication(number)) for number in range(9)] == [*[True] * 8, False]
    assert outbox.put(states[1])
    assert outbox.put(states[2])
    assert not outbox.put(Publication("other/state", b"", retain=True))
    assert outbox.waiting[0] == 10
    left = [send(outbox, mid) for mid in range(10)]
    assert [one.payload for one in left if one.retain] == [b"b", b"c"]
    assert left[-1] == states[2]
    assert outbox.lost == 2
    for mid in range(10):
        outbox.acknowledged(mid)
    assert outbox.waiting == (0, 0)
