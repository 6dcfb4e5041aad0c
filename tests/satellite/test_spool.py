"""What waits for the broker, and how much of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.satellite.spool import CHUNK_OVERHEAD, UTTERANCE_OVERHEAD, Spool


def ids(kept: Spool) -> list[str]:
    """Empty the spool."""
    found = []
    while (oldest := kept.oldest) is not None:
        found.append(oldest.id)
        kept.remove_oldest()
    return found


def test_the_newest_utterance_alone_may_be_larger_open_or_closed() -> None:
    kept = Spool(30.0, 1000)
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
    kept = Spool(30.0, max_bytes)
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
