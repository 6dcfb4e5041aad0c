from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.queue import FairQueue, QueueLimits
from stt_mqtt.types import AudioFormat, DeviceKey, EncodedAudio, EndReason, Utterance

LIMITS = QueueLimits(max_jobs=4, max_audio_s=10.0, max_age_s=5.0, max_utterance_s=8.0)


def utterance(
    device: str, id: str = "", seconds: float = 1.0, ended_at: float = 0.0, age_s: float = 0.0
) -> Utterance:
    return Utterance(
        key=DeviceKey("native", device),
        id=id,
        audio=EncodedAudio(AudioFormat(), bytes(int(seconds * 100))),
        language=None,
        prompt=None,
        end=EndReason.STOP,
        ended_at=ended_at,
        age_s=age_s,
        seconds=seconds,
    )


def drained(queue: FairQueue) -> list[str]:
    ids = []
    while (item := queue.pop()) is not None:
        ids.append(item.id)
        queue.done(item.key)
    return ids


def test_devices_take_turns() -> None:
    queue = FairQueue(LIMITS)
    for device, id in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")]:
        assert queue.put(utterance(device, id)) == []
    assert drained(queue) == ["a1", "b1", "a2", "a3"]
    assert (queue.jobs, queue.audio_s) == (0, 0.0)


def test_a_device_has_one_utterance_in_the_model_at_a_time() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "a1"))
    queue.put(utterance("a", "a2"))
    first = queue.pop()
    assert first is not None
    assert queue.pop() is None
    queue.done(first.key)
    second = queue.pop()
    assert second is not None
    assert second.id == "a2"


def test_a_full_queue_refuses_the_newcomer_when_all_wait_with_one() -> None:
    queue = FairQueue(LIMITS)
    for device in "abcd":
        queue.put(utterance(device, device))
    newcomer = utterance("e", "e")
    assert queue.put(newcomer) == [newcomer]
    assert queue.jobs == 4


def test_a_full_queue_takes_the_newest_from_the_device_that_hoards() -> None:
    queue = FairQueue(LIMITS)
    for id in ["a1", "a2", "a3", "a4"]:
        queue.put(utterance("a", id))
    refused = queue.put(utterance("b", "b1"))
    assert [item.id for item in refused] == ["a4"]
    assert drained(queue) == ["a1", "b1", "a2", "a3"]


def test_the_queue_is_bounded_in_seconds_of_audio() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "a1", seconds=6.0))
    refused = queue.put(utterance("b", "b1", seconds=6.0))
    assert [item.id for item in refused] == ["b1"]
    assert queue.audio_s == 6.0


def test_what_is_too_old_is_taken_out_also_counting_the_age_it_came_with() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "young", ended_at=0.0))
    queue.put(utterance("b", "spooled", ended_at=0.0, age_s=4.0))
    assert queue.next_expiry == pytest.approx(1.0)
    assert [item.id for item in queue.expire(1.0)] == ["spooled"]
    assert queue.next_expiry == pytest.approx(5.0)
    assert queue.oldest_s(3.0) == pytest.approx(3.0)
    assert [item.id for item in queue.expire(5.0)] == ["young"]
    assert (queue.next_expiry, queue.oldest_s(9.0)) == (None, 0.0)


def test_memory_is_taken_from_the_device_that_holds_most_in_several() -> None:
    queue = FairQueue(LIMITS)
    for id in ["a1", "a2"]:
        queue.put(utterance("a", id, seconds=2.0))
    queue.put(utterance("b", "b1", seconds=5.0))
    evicted = queue.evict_from_hog(DeviceKey("native", "c"))
    assert evicted is not None
    assert evicted.id == "a2"
    assert queue.evict_from_hog(DeviceKey("native", "c")) is None


def test_no_memory_is_taken_for_the_device_that_hoards_itself() -> None:
    queue = FairQueue(LIMITS)
    for id in ["a1", "a2"]:
        queue.put(utterance("a", id))
    assert queue.evict_from_hog(DeviceKey("native", "a")) is None


def test_clear_gives_everything_back() -> None:
    queue = FairQueue(LIMITS)
    for device in "ab":
        queue.put(utterance(device, device))
    assert {item.id for item in queue.clear()} == {"a", "b"}
    assert queue.pop() is None


def test_an_empty_queue_takes_any_utterance() -> None:
    queue = FairQueue(QueueLimits(4, 10.0, 5.0, max_utterance_s=60.0))
    assert queue.put(utterance("a", "long", seconds=50.0)) == []
    assert [item.id for item in queue.put(utterance("b", "short"))] == ["short"]


def test_no_utterance_counts_for_more_than_will_be_decoded_of_it() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "endless", seconds=400.0))
    assert queue.audio_s == 8.0
    assert queue.put(utterance("b", "short", seconds=1.5)) == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.0, 12.0), st.integers(0, 5)), max_size=40
    )
)
def test_the_sums_stay_true_whatever_comes_and_goes(
    steps: list[tuple[str, float, int]],
) -> None:
    queue = FairQueue(LIMITS)
    inside = 0
    for device, seconds, taken in steps:
        refused = queue.put(utterance(device, seconds=seconds))
        inside += 1 - len(refused)
        assert queue.jobs == inside <= LIMITS.max_jobs
        if taken == 0 and (item := queue.pop()) is not None:
            queue.done(item.key)
            inside -= 1
    queue.clear()
    assert (queue.jobs, queue.audio_s) == (0, 0.0)
