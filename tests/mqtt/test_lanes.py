"""Messages of many senders take turns."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.mqtt.arrivals import MESSAGE_COST, TURN_COST, Lane, Lanes, cost_of
from stt_mqtt.mqtt.routing import Senders
from tests.thorough import examples

ROOMS = Senders(is_favoured=lambda sender: sender.startswith("room"))
CHUNK = cost_of(1024, is_audio=True)


def lane(sender: str) -> Lane:
    return Lane(ROOMS, sender)


def test_a_lane_gives_what_came_first() -> None:
    lanes: Lanes[int] = Lanes()
    for number in range(5):
        lanes.put(lane("a"), number, MESSAGE_COST)
    assert lanes.take(3) == [0, 1, 2]
    assert lanes.take(9) == [3, 4]
    assert not lanes
    assert lanes.take(9) == []


def test_a_favoured_lane_has_every_second_turn_whatever_the_number_of_others() -> None:
    lanes: Lanes[str] = Lanes()
    for number in range(1000):
        lanes.put(lane(f"new-{number}"), f"new-{number}", MESSAGE_COST)
    for number in range(3):
        lanes.put(lane("room"), f"room {number}", MESSAGE_COST)
    assert lanes.take(6)[::2] == ["room 0", "room 1", "room 2"]


def test_a_turn_is_one_message_that_opens_or_ends_or_many_small_chunks() -> None:
    lanes: Lanes[str] = Lanes()
    for _ in range(2 * TURN_COST):
        lanes.put(lane("a"), "chunk", CHUNK)
        lanes.put(lane("b"), "start", MESSAGE_COST)
    taken = lanes.take(2 * (TURN_COST + 1))
    assert taken == 2 * (["chunk"] * TURN_COST + ["start"])


def test_a_turn_goes_on_in_the_next_batch() -> None:
    lanes: Lanes[str] = Lanes()
    for sender in "ab":
        for _ in range(TURN_COST):
            lanes.put(lane(sender), sender, CHUNK)
    taken = [item for _ in range(2 * TURN_COST) for item in lanes.take(1)]
    assert taken == ["a"] * TURN_COST + ["b"] * TURN_COST


def test_large_chunks_cost_what_they_take() -> None:
    assert cost_of(1_000_000, is_audio=True) > 20 * TURN_COST
    assert cost_of(1_000_000, is_audio=False) == MESSAGE_COST


def test_senders_of_two_doors_are_not_the_same() -> None:
    assert Lane(Senders(), "") != Lane(Senders(), "")
    assert lane("a") == lane("a")


@settings(max_examples=examples(100))
@given(
    st.lists(st.tuples(st.sampled_from(["room-1", "room-2", "a", "b", "c"]), st.integers(1, 40))),
    st.lists(st.integers(1, 7)),
)
def test_whatever_the_turns_every_sender_keeps_its_order_and_nothing_is_lost(
    items: list[tuple[str, int]], takes: list[int]
) -> None:
    lanes: Lanes[tuple[str, int]] = Lanes()
    sent, came = defaultdict(list), defaultdict(list)
    for number, (sender, cost) in enumerate(items):
        lanes.put(lane(sender), (sender, number), cost)
        sent[sender].append(number)
        most = takes[number] if number < len(takes) else 0
        for name, what in lanes.take(most):
            came[name].append(what)
    for name, what in lanes.take(len(items) + 1):
        came[name].append(what)
    assert came == sent
