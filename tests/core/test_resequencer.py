from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.core.resequencer import MAX_JUMP, REORDER_WINDOW, Resequencer

ROOM = 1_000_000


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "little")


def test_chunks_in_order_pass_straight_through() -> None:
    sequence = Resequencer()
    assert [sequence.push(n, numbered(n), ROOM) for n in range(3)] == [
        [numbered(n)] for n in range(3)
    ]
    assert (sequence.lost, sequence.dropped, sequence.held_bytes) == (0, 0, 0)


def test_a_duplicate_is_dropped_whether_it_was_passed_on_or_is_held() -> None:
    sequence = Resequencer()
    sequence.push(0, b"a", ROOM)
    sequence.push(2, b"c", ROOM)
    assert sequence.push(0, b"a", ROOM) == []
    assert sequence.push(2, b"c", ROOM) == []
    assert sequence.dropped == 2


def test_a_chunk_overtaken_by_fifteen_others_still_finds_its_place() -> None:
    sequence = Resequencer()
    for number in range(1, REORDER_WINDOW):
        assert sequence.push(number, numbered(number), ROOM) == []
    assert sequence.push(0, numbered(0), ROOM) == [numbered(n) for n in range(REORDER_WINDOW)]
    assert sequence.lost == 0


def test_the_sixteenth_chunk_ahead_gives_the_missing_one_up() -> None:
    sequence = Resequencer()
    for number in range(1, REORDER_WINDOW):
        sequence.push(number, numbered(number), ROOM)
    ready = sequence.push(REORDER_WINDOW, numbered(REORDER_WINDOW), ROOM)
    assert ready == [None, *(numbered(n) for n in range(1, REORDER_WINDOW + 1))]
    assert sequence.lost == 1


def test_a_leap_in_numbers_is_a_loss_up_to_a_bound_and_nonsense_beyond() -> None:
    sequence = Resequencer()
    assert sequence.push(MAX_JUMP + 1, b"x", ROOM) == []
    assert (sequence.dropped, sequence.lost) == (1, 0)
    ready = sequence.push(MAX_JUMP, b"x", ROOM)
    assert ready == [None] * (MAX_JUMP - REORDER_WINDOW + 1)


def test_what_is_held_back_is_bounded_in_bytes() -> None:
    sequence = Resequencer()
    sequence.push(2, bytes(8), ROOM)
    assert sequence.push(3, bytes(8), 10) == []
    assert (sequence.held_bytes, sequence.dropped) == (8, 1)


def test_flush_gives_what_is_held_and_counts_what_is_missing_at_the_end() -> None:
    sequence = Resequencer()
    sequence.push(0, b"a", ROOM)
    sequence.push(2, b"c", ROOM)
    assert sequence.flush(sent=5) == [None, b"c", None, None]
    assert (sequence.lost, sequence.held_bytes) == (3, 0)


@given(order=st.permutations(range(12)), missing=st.sets(st.integers(0, 11)))
def test_any_order_within_the_window_is_undone(order: list[int], missing: set[int]) -> None:
    sequence = Resequencer()
    ready: list[bytes | None] = []
    for number in order:
        if number not in missing:
            ready += sequence.push(number, numbered(number), ROOM)
    ready += sequence.flush(sent=12)
    assert ready == [None if n in missing else numbered(n) for n in range(12)]
    assert sequence.lost == len(missing)


@given(numbers=st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 60)))
def test_any_numbers_lose_nothing_that_was_not_dropped_and_hold_a_window_at_most(
    numbers: list[int],
) -> None:
    sequence = Resequencer()
    passed = 0
    for number in numbers:
        passed += sum(chunk is not None for chunk in sequence.push(number, numbered(number), ROOM))
        assert sequence.held_bytes <= 4 * (REORDER_WINDOW - 1)
    passed += sum(chunk is not None for chunk in sequence.flush())
    assert passed + sequence.dropped == len(numbers)
