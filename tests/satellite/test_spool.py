"""What waits for the broker, and how much of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.satellite.spool import CHUNK_OVERHEAD, UTTERANCE_OVERHEAD, Spool


def spool(max_age_s: float = 30.0, max_bytes: int = 10_000) -> Spool:
    return Spool(max_age_s, max_bytes)


def keep(kept: Spool, id: str, audio: bytes, now: float = 0.0) -> None:
    """A whole utterance of one chunk."""
    kept.begin(id)
    kept.add(audio)
    kept.close(now)


def ids(kept: Spool) -> list[str]:
    """Empty the spool."""
    found = []
    while (oldest := kept.oldest) is not None:
        found.append(oldest.id)
        kept.remove_oldest()
    return found


def test_utterances_come_out_as_they_went_in() -> None:
    kept = spool()
    keep(kept, "a", b"1")
    kept.begin("b")
    for chunk in (b"2", b"3"):
        kept.add(chunk)
    assert len(kept) == 2
    assert kept.oldest is not None
    assert (kept.oldest.id, kept.oldest.chunks, kept.oldest.closed_at) == ("a", [b"1"], 0.0)
    kept.remove_oldest()
    assert kept.oldest is kept.open is not None
    assert (kept.open.id, kept.open.chunks, kept.open.closed_at) == ("b", [b"2", b"3"], None)


def test_an_utterance_is_open_until_it_is_closed_or_removed() -> None:
    kept = spool()
    assert kept.open is None
    kept.begin("a")
    assert kept.open is not None
    kept.close(1.0)
    assert kept.open is None
    kept.begin("b")
    kept.remove_open()
    assert kept.open is None
    assert ids(kept) == ["a"]


def test_only_one_utterance_is_open_at_a_time() -> None:
    kept = spool()
    kept.begin("a")
    with pytest.raises(ValueError, match="still open"):
        kept.begin("b")
    assert ids(kept) == ["a"]


def test_nothing_can_be_done_with_an_open_utterance_that_is_not_there() -> None:
    kept = spool()
    keep(kept, "a", b"1")
    with pytest.raises(ValueError, match="no utterance is open"):
        kept.add(b"2")
    with pytest.raises(ValueError, match="no utterance is open"):
        kept.close(1.0)
    with pytest.raises(ValueError, match="no utterance is open"):
        kept.remove_open()
    assert kept.size_bytes == UTTERANCE_OVERHEAD + CHUNK_OVERHEAD + 1


def test_an_utterance_is_too_old_so_long_after_its_end_and_not_after_its_beginning() -> None:
    kept = spool(max_age_s=30.0)
    assert not kept.too_old(1e9)
    kept.begin("a")
    assert not kept.too_old(1e9)
    kept.close(100.0)
    assert not kept.too_old(129.9)
    assert kept.too_old(130.0)


def test_age_is_that_of_the_oldest() -> None:
    kept = spool(max_age_s=30.0)
    keep(kept, "a", b"", now=0.0)
    keep(kept, "b", b"", now=10.0)
    assert kept.too_old(30.0)
    kept.remove_oldest()
    assert not kept.too_old(39.9)
    assert kept.too_old(40.0)


def test_it_is_too_full_beyond_its_bytes_with_overheads() -> None:
    one = UTTERANCE_OVERHEAD + CHUNK_OVERHEAD + 100
    kept = spool(max_bytes=2 * one)
    keep(kept, "a", bytes(100))
    keep(kept, "b", bytes(100))
    assert kept.size_bytes == 2 * one
    assert not kept.too_full
    kept.begin("c")
    assert kept.too_full
    kept.remove_oldest()
    assert not kept.too_full


def test_the_newest_utterance_alone_may_be_larger_open_or_closed() -> None:
    kept = spool(max_bytes=1000)
    kept.begin("a")
    kept.add(bytes(5000))
    assert not kept.too_full
    kept.close(0.0)
    assert not kept.too_full
    kept.begin("b")
    assert kept.too_full


@given(
    st.integers(0, 3000),
    st.lists(st.lists(st.binary(max_size=900), max_size=4), max_size=12),
    st.integers(0, 12),
)
def test_what_has_made_room_is_bounded_and_counts_what_it_holds(
    max_bytes: int, utterances: list[list[bytes]], cancelled: int
) -> None:
    kept = spool(max_bytes=max_bytes)
    sizes: list[int] = []
    for number, chunks in enumerate(utterances):
        kept.begin(str(number))
        sizes.append(UTTERANCE_OVERHEAD)
        for chunk in chunks:
            kept.add(chunk)
            sizes[-1] += CHUNK_OVERHEAD + len(chunk)
            while kept.too_full:
                kept.remove_oldest()
                del sizes[0]
            assert kept.size_bytes == sum(sizes)
            assert kept.size_bytes <= max(max_bytes, sizes[-1])
        if number == cancelled:
            kept.remove_open()
            del sizes[-1]
        else:
            kept.close(0.0)
    assert kept.size_bytes == sum(sizes)
    assert len(ids(kept)) == len(sizes)
    assert kept.size_bytes == 0
