from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.core.queue import CROWD, MAX_UNDERSTOOD, FairQueue
from stt_mqtt.core.queue_limits import QueueLimits
from stt_mqtt.core.regulars import Regulars
from stt_mqtt.types import AudioFormat, DeviceKey, EncodedAudio, EndReason, Utterance
from tests.fakes import heard, nothing_heard

LIMITS = QueueLimits(
    max_jobs=4, max_audio_s=10.0, max_wait_s=5.0, max_age_s=20.0, max_utterance_s=8.0
)


def utterance(
    device: str,
    id: str = "",
    seconds: float = 1.0,
    ended_at: float = 0.0,
    age_s: float = 0.0,
    part: str = "",
) -> Utterance:
    return Utterance(
        key=DeviceKey("native", device, part),
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
    while (item := popped(queue)) is not None:
        ids.append(item.id)
        queue.done(item.key)
    return ids


def popped(queue: FairQueue) -> Utterance | None:
    return next(iter(queue.pop_batch(1)), None)


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
    first = popped(queue)
    assert first is not None
    assert popped(queue) is None
    queue.done(first.key)
    second = popped(queue)
    assert second is not None
    assert second.id == "a2"


def understood(queue: FairQueue, *devices: str) -> None:
    """Words were heard in these rooms."""
    for device in devices:
        queue.put(utterance(device))
        (item,) = queue.pop_batch(1)
        queue.answered(item.key, heard(), released=False)


def test_rooms_in_which_words_were_heard_have_three_of_four_turns() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0))
    rooms = ("kitchen", "bath", "hall", "attic")
    understood(queue, *rooms)
    for device in ("new-1", "new-2", *rooms):
        queue.put(utterance(device, device))
    assert drained(queue) == [*rooms[:3], "new-1", rooms[3], "new-2"]


def test_a_crowd_of_strangers_takes_no_place_from_a_room_in_which_words_were_heard() -> None:
    queue = FairQueue(LIMITS)
    understood(queue, "kitchen")
    for number in range(4):
        queue.put(utterance(f"new-{number}", ended_at=float(number)))
    (refused,) = queue.put(utterance("another", ended_at=5.0))
    assert refused.key.name == "another"
    (refused,) = queue.put(utterance("kitchen", ended_at=6.0))
    assert refused.key.name == "new-3"
    assert queue.jobs == 4


def test_noise_makes_nobody_known_and_known_rooms_take_no_place_from_each_other() -> None:
    queue = FairQueue(LIMITS)
    understood(queue, "a", "b", "c", "d", "e")
    queue.put(utterance("noise"))
    (item,) = queue.pop_batch(1)
    queue.answered(item.key, nothing_heard(), released=False)
    for device in "abcd":
        queue.put(utterance(device))
    for device in ("noise", "e"):
        (refused,) = queue.put(utterance(device))
        assert refused.key.name == device


def test_a_released_device_is_busy_until_its_next_utterance_is_answered() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "a1"))
    (first,) = queue.pop_batch(1)
    queue.done(first.key)
    queue.put(utterance("a", "a2"))
    (second,) = queue.pop_batch(1)
    queue.answered(first.key, heard(), released=True)
    assert queue.is_busy(second.key)


def test_a_crowd_that_says_real_words_takes_no_place_and_no_turn_from_a_room_of_the_house() -> None:
    queue = FairQueue(LIMITS, Regulars({"kitchen"}.__contains__))
    crowd = [f"new-{number}" for number in range(20)]
    understood(queue, *crowd)
    late = crowd[-4:]
    for number, device in enumerate(late):
        queue.put(utterance(device, device, ended_at=float(number)))
    (refused,) = queue.put(utterance("kitchen", "kitchen", ended_at=9.0))
    assert refused.id == late[-1]
    assert drained(queue) == ["kitchen", *late[:-1]]


def test_regulars_have_three_of_four_turns_and_strangers_every_second_of_the_others() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0), Regulars({"a", "b"}.__contains__))
    rest = [f"known-{number}" for number in range(12)]
    understood(queue, *rest)
    for device in ("x", "y", *rest[-2:]):
        queue.put(utterance(device, device))
    for number in range(9):
        queue.put(utterance("a", f"a{number}"))
    turns = drained(queue)
    others = turns[3:12:4] + turns[12:]
    assert [id for id in turns if id[0] == "a"] == turns[:3] + turns[4:7] + turns[8:11]
    assert sorted(others[::2]) in (["x", "y"], rest[-2:])


def test_in_a_crowd_nobody_becomes_a_regular() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0))
    understood(queue, "kitchen")
    for number in range(CROWD + 1):
        queue.put(utterance(f"new-{number}"))
    (item,) = queue.pop_batch(1)
    queue.answered(item.key, heard(), released=False)
    assert ("native", "kitchen") in queue.regulars
    assert ("native", item.key.name) not in queue.regulars


def test_in_a_crowd_a_regular_does_not_wait_for_others_in_its_batch() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0), Regulars({"a", "b"}.__contains__))
    crowd = [f"new-{number}" for number in range(CROWD - 2)]
    for device in (*crowd, "a", "b"):
        queue.put(utterance(device, device))
    assert [item.id for item in queue.pop_batch(8)] == ["a", "b"]
    for device in ("c", "d"):
        queue.put(utterance(device, device))
    assert [item.id for item in queue.pop_batch(2)] == crowd[:2]


@pytest.mark.parametrize("most", [1, 2, 4])
def test_in_a_crowd_three_of_four_batches_are_of_regulars(most: int) -> None:
    regulars = [f"room-{number}" for number in range(16)]
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0), Regulars(set(regulars).__contains__))
    for device in (*(f"new-{number}" for number in range(16)), *regulars):
        queue.put(utterance(device, device))
    batches = [queue.pop_batch(most) for _ in range(4)]
    assert [item.id[:3] for batch in batches for item in batch] == ["roo"] * 3 * most + [
        "new"
    ] * most


def test_without_a_crowd_everybody_shares_a_batch() -> None:
    queue = FairQueue(LIMITS, Regulars({"a"}.__contains__))
    for device in ("x", "a", "y"):
        queue.put(utterance(device, device))
    assert {item.id for item in queue.pop_batch(8)} == {"a", "x", "y"}


def test_so_many_known_rooms_are_remembered() -> None:
    queue = FairQueue(LIMITS)
    understood(queue, "first", *(f"room-{number}" for number in range(MAX_UNDERSTOOD)))
    for number in range(4):
        queue.put(utterance(f"room-{number}"))
    (refused,) = queue.put(utterance("first"))
    assert refused.key.name == "first"


def test_a_batch_has_one_utterance_of_each_device_in_turn() -> None:
    queue = FairQueue(LIMITS)
    for device, id in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")]:
        queue.put(utterance(device, id))
    assert [item.id for item in queue.pop_batch(2)] == ["a1", "b1"]
    assert [item.id for item in queue.pop_batch(8)] == ["c1"]
    assert queue.pop_batch(8) == ()


def test_what_is_ready_is_counted_by_devices_that_have_none_in_the_model() -> None:
    queue = FairQueue(LIMITS)
    for device, id in [("a", "a1"), ("a", "a2"), ("b", "b1")]:
        queue.put(utterance(device, id))
    assert queue.ready() == 2
    (first,) = queue.pop_batch(1)
    assert queue.ready() == 1
    queue.put(utterance("a", "a3"))
    assert queue.ready() == 1
    queue.done(first.key)
    assert queue.ready() == 2


def test_a_device_that_talks_much_waits_behind_those_that_waited_meanwhile() -> None:
    queue = FairQueue(LIMITS)
    for device, id in [("a", "a1"), ("a", "a2")]:
        queue.put(utterance(device, id))
    (first,) = queue.pop_batch(8)
    queue.put(utterance("b", "b1"))
    queue.done(first.key)
    assert [item.id for item in queue.pop_batch(1)] == ["b1"]
    assert [item.id for item in queue.pop_batch(1)] == ["a2"]


def test_what_a_busy_device_has_waiting_can_expire_and_be_refused() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "a1"))
    (first,) = queue.pop_batch(1)
    queue.put(utterance("a", "a2"))
    assert [item.id for item in queue.expire(5.0)] == ["a2"]
    queue.done(first.key)
    assert (queue.ready(), queue.jobs) == (0, 0)


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


def test_who_comes_from_one_address_gains_no_place_by_many_connections() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0))
    for number in range(64):
        queue.put(utterance("10.0.0.9", f"many-{number}", ended_at=number, part=str(number)))
    for room in ("kitchen", "bedroom"):
        refused = queue.put(utterance(room, room, ended_at=64.0))
        assert [item.key.name for item in refused] == ["10.0.0.9"]
    assert queue.jobs == 64
    refused = queue.put(utterance("10.0.0.9", "many-64", ended_at=65.0, part="64"))
    assert [item.id for item in refused] == ["many-64"]


def test_who_has_many_connections_has_every_other_turn_when_a_room_waits() -> None:
    queue = FairQueue(QueueLimits(64, 300.0, 5.0, 20.0, 8.0))
    for number in range(10):
        queue.put(utterance("10.0.0.9", f"many-{number}", part=str(number)))
    for id in ("k1", "k2"):
        queue.put(utterance("kitchen", id))
    assert [item.id for item in queue.pop_batch(3)] == ["many-0", "k1", "many-1"]
    queue.done(DeviceKey("native", "kitchen"))
    assert [item.id for item in queue.pop_batch(3)] == ["many-2", "k2", "many-3"]


def test_within_a_name_the_part_that_hoards_gives_way() -> None:
    queue = FairQueue(LIMITS)
    for part, id in [("1", "a"), ("2", "b"), ("2", "c"), ("3", "d")]:
        queue.put(utterance("10.0.0.9", id, part=part))
    assert [item.id for item in queue.put(utterance("kitchen", "k"))] == ["c"]


def test_what_is_taken_from_a_name_is_its_newest_utterance() -> None:
    queue = FairQueue(LIMITS)
    for part in "123":
        queue.put(utterance("10.0.0.9", part, ended_at=int(part), part=part))
    assert queue.evict(("native", "kitchen")) is None
    evicted = queue.evict(("native", "10.0.0.9"))
    assert evicted is not None
    assert evicted.id == "3"
    assert queue.jobs == 2


def test_speech_that_came_old_may_wait_as_long_as_any_other_until_it_is_too_old() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "spooled", ended_at=0.0, age_s=15.0))
    assert queue.expire(4.9) == []
    assert [item.id for item in queue.expire(5.0)] == ["spooled"]


def test_what_is_too_old_is_taken_out_also_counting_the_age_it_came_with() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "young", ended_at=0.0))
    queue.put(utterance("b", "spooled", ended_at=0.0, age_s=19.0))
    assert queue.next_expiry == pytest.approx(1.0)
    assert [item.id for item in queue.expire(1.0)] == ["spooled"]
    assert queue.next_expiry == pytest.approx(5.0)
    assert queue.oldest_s(3.0) == pytest.approx(3.0)
    assert [item.id for item in queue.expire(5.0)] == ["young"]
    assert (queue.next_expiry, queue.oldest_s(9.0)) == (None, 0.0)


def test_clear_gives_everything_back() -> None:
    queue = FairQueue(LIMITS)
    for device in "ab":
        queue.put(utterance(device, device))
    assert {item.id for item in queue.clear()} == {"a", "b"}
    assert popped(queue) is None


def test_an_empty_queue_takes_any_utterance() -> None:
    queue = FairQueue(QueueLimits(4, 10.0, 5.0, 20.0, max_utterance_s=60.0))
    assert queue.put(utterance("a", "long", seconds=50.0)) == []
    assert [item.id for item in queue.put(utterance("b", "short"))] == ["short"]


def test_no_utterance_counts_for_more_than_will_be_decoded_of_it() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "endless", seconds=400.0))
    assert queue.audio_s == 8.0
    assert queue.put(utterance("b", "short", seconds=1.5)) == []


def test_what_is_put_back_has_the_next_turns_in_its_order() -> None:
    queue = FairQueue(LIMITS)
    for device, part, id in [("a", "", "a1"), ("b", "1", "b1"), ("b", "2", "b2"), ("a", "", "a2")]:
        queue.put(utterance(device, id, part=part))
    taken = queue.pop_batch(2)
    assert [item.id for item in taken] == ["a1", "b1"]
    assert queue.put_back(taken, 1.0) == list(taken)
    assert (queue.jobs, queue.audio_s) == (4, 4.0)
    assert drained(queue) == ["a1", "b1", "a2", "b2"]


def test_a_device_keeps_its_order_when_something_of_it_is_put_back() -> None:
    queue = FairQueue(LIMITS)
    queue.put(utterance("a", "a1"))
    taken = queue.pop_batch(1)
    queue.put(utterance("a", "a2"))
    queue.put(utterance("b", "b1"))
    queue.put_back(taken, 1.0)
    assert drained(queue) == ["a1", "b1", "a2"]


def test_what_is_too_old_is_not_put_back_and_what_is_has_the_deadline_it_had() -> None:
    queue = FairQueue(LIMITS)
    for device, ended_at in [("a", 0.0), ("b", 1.0)]:
        queue.put(utterance(device, device, ended_at=ended_at))
    taken = queue.pop_batch(2)
    assert [item.id for item in queue.put_back(taken, 5.0)] == ["b"]
    assert (queue.jobs, queue.audio_s) == (1, 1.0)
    assert queue.next_expiry == pytest.approx(6.0)
    assert queue.is_busy(taken[0].key)


def test_what_is_put_back_takes_nobody_his_place() -> None:
    queue = FairQueue(LIMITS)
    for device in "abcd":
        queue.put(utterance(device, device))
    taken = queue.pop_batch(2)
    queue.put(utterance("e", "e"))
    assert [item.id for item in queue.put_back(taken, 1.0)] == ["a"]
    assert drained(queue) == ["a", "c", "d", "e"]


def test_an_empty_queue_takes_back_any_utterance() -> None:
    queue = FairQueue(QueueLimits(4, 10.0, 5.0, 20.0, max_utterance_s=60.0))
    queue.put(utterance("a", "long", seconds=50.0))
    assert len(queue.put_back(queue.pop_batch(1), 1.0)) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.floats(0.0, 12.0),
            st.sampled_from(["nothing", "pop", "done", "expire", "put back"]),
        ),
        max_size=40,
    )
)
def test_the_sums_stay_true_whatever_comes_and_goes(
    steps: list[tuple[str, float, str]],
) -> None:
    queue = FairQueue(LIMITS)
    waiting: list[Utterance] = []
    busy: dict[DeviceKey, Utterance] = {}
    for now, (device, seconds, then) in enumerate(steps):
        added = utterance(device, seconds=seconds, ended_at=now)
        waiting.append(added)
        gone = [*queue.put(added)]
        if then == "pop":
            batch = queue.pop_batch(2)
            assert not busy.keys() & {item.key for item in batch}
            busy |= {item.key: item for item in batch}
            gone += batch
        elif then == "done" and busy:
            queue.done(busy.popitem()[0])
        elif then == "put back":
            back = queue.put_back(busy.values(), now)
            assert all(now < LIMITS.deadline(item) for item in back)
            for item in back:
                del busy[item.key]
            waiting += back
        elif then == "expire":
            gone += queue.expire(now)
        waiting = [item for item in waiting if not any(item is other for other in gone)]
        assert queue.jobs == len(waiting) <= LIMITS.max_jobs
        assert queue.ready() == len({item.key for item in waiting} - busy.keys())
    queue.clear()
    assert (queue.jobs, queue.audio_s, queue.ready()) == (0, 0.0, 0)
