from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.scheduler import Capacity, Scheduler
from stt_mqtt.engine.load_meter import BURST_S, ArrivalRate
from stt_mqtt.errors import CorruptAudioError, UtteranceError
from stt_mqtt.types import DeviceKey
from tests.core.test_queue import utterance
from tests.fakes import FakePool, heard

START = 0.0


@dataclass
class Desk:
    """A scheduler with threads that answer when the test says so."""

    workers: int = 1
    max_batch: int = 8
    pool: FakePool = field(default_factory=FakePool)
    answers: list[Answer | Glimpse] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = LimitsConfig(inference_timeout_s=5.0, max_queue_age_s=600.0)
        self.scheduler = Scheduler(limits)
        self.scheduler.attach_pool(self.pool, Capacity(self.workers, self.max_batch), START)

    def occupy(self) -> list[int]:
        """Give every thread something to do, so that what comes next has to wait."""
        for number in range(self.workers):
            self.put(f"occupant-{number}")
        return [batch.number for batch in self.pool.submitted]

    def put(self, *rooms: str, id: str = "") -> None:
        for room in rooms:
            self.answers += self.scheduler.put(utterance(room, id or room), START)

    def finish(self, batch: int) -> None:
        (running,) = (running for running in self.pool.submitted if running.number == batch)
        for index in range(len(running.utterances)):
            self.answers += self.scheduler.verdict(batch, index, heard(), START)
        self.pool.submitted.remove(running)
        self.answers += self.scheduler.finished(batch, START)

    @property
    def batches(self) -> list[list[str]]:
        """What runs, by id."""
        return [[item.id for item in batch.utterances] for batch in self.pool.submitted]

    @property
    def answered(self) -> dict[str, str]:
        """What became of each utterance: a code, or the text."""
        return {
            answer.utterance.id: answer.verdict.code
            if isinstance(answer.verdict, UtteranceError)
            else "heard"
            for answer in self.answers
        }


def test_an_idle_service_starts_a_lone_utterance_at_once() -> None:
    desk = Desk()
    desk.put("kitchen")
    assert desk.batches == [["kitchen"]]
    assert desk.pool.submitted[0].may_retry


def test_what_waits_when_a_thread_becomes_free_goes_together() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("a", "b", "c")
    desk.finish(first)
    assert desk.batches == [["a", "b", "c"]]


def test_what_is_put_to_start_later_goes_together_with_the_next_tick() -> None:
    desk = Desk()
    for room in ("a", "b"):
        desk.answers += desk.scheduler.put(utterance(room, room), START, starts=False)
    assert desk.batches == []
    desk.answers += desk.scheduler.tick(START)
    assert desk.batches == [["a", "b"]]


def test_two_free_threads_share_four_rooms_that_wait() -> None:
    desk = Desk(workers=3)
    occupied = desk.occupy()
    rooms = ["a", "b", "c", "d"]
    desk.put(*rooms)
    desk.finish(occupied[0])
    assert desk.batches[2:] == [rooms]
    for room in rooms:
        desk.put(room, id=f"{room} again")
    desk.finish(occupied[1])
    desk.finish(occupied[2])
    desk.answers += desk.scheduler.tick(20.0)
    assert desk.batches[1:] == [["a again", "b again"], ["c again", "d again"]]
    assert [batch.may_retry for batch in desk.pool.submitted[1:]] == [True, True]


def test_a_batch_holds_no_more_than_the_model_has_memory_for() -> None:
    desk = Desk(max_batch=2)
    (first,) = desk.occupy()
    desk.put("a", "b", "c", "d", "e")
    desk.finish(first)
    assert desk.batches == [["a", "b"]]
    desk.scheduler.max_batch = 8
    desk.finish(desk.pool.submitted[0].number)
    assert desk.batches == [["c", "d", "e"]]


def test_there_is_time_for_a_second_look_only_when_nothing_is_left_waiting() -> None:
    desk = Desk(max_batch=2)
    (first,) = desk.occupy()
    desk.put("a", "b", "c")
    desk.finish(first)
    (batch,) = desk.pool.submitted
    assert not batch.may_retry
    desk.finish(batch.number)
    assert [batch.may_retry for batch in desk.pool.submitted] == [True]


def test_what_waits_for_its_own_device_allows_no_retry() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("a", id="a1")
    desk.put("a", id="a2")
    desk.finish(first)
    assert desk.batches == [["a1"]]
    assert not desk.pool.submitted[0].may_retry


def test_a_verdict_frees_its_device_while_the_batch_goes_on() -> None:
    desk = Desk(workers=2)
    first, second = desk.occupy()
    desk.put("a", "b")
    desk.put("a", id="a again")
    desk.finish(first)
    desk.finish(second)
    assert desk.batches == [["a", "b"]]
    desk.answers += desk.scheduler.verdict(desk.pool.submitted[0].number, 0, heard(), START)
    assert desk.batches == [["a", "b"], ["a again"]]


def test_the_order_of_a_device_stays_though_others_fill_the_batches() -> None:
    desk = Desk(workers=2)
    first, _ = desk.occupy()
    for id in ("a1", "a2", "a3"):
        desk.put("a", id=id)
    desk.put("b", "c")
    desk.finish(first)
    while desk.pool.submitted:
        desk.finish(desk.pool.submitted[-1].number)
    of_a = [answer.utterance.id for answer in desk.answers if answer.utterance.key.name == "a"]
    assert of_a == ["a1", "a2", "a3"]


def test_a_failure_harms_only_its_utterance() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("a", "b", "c")
    desk.finish(first)
    (batch,) = desk.pool.submitted
    desk.answers += desk.scheduler.verdict(batch.number, 1, CorruptAudioError("noise"), START)
    desk.answers += desk.scheduler.verdict(batch.number, 0, heard(), START)
    desk.answers += desk.scheduler.verdict(batch.number, 2, heard(), START)
    assert desk.answered == {
        "occupant-0": "heard",
        "a": "heard",
        "b": "corrupt_audio",
        "c": "heard",
    }


def test_a_thread_is_free_when_its_batch_is_finished_not_before() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("next")
    desk.answers += desk.scheduler.verdict(first, 0, heard(), START)
    assert desk.batches == [["occupant-0"]]
    assert not desk.scheduler.drained
    desk.answers += desk.scheduler.finished(first, START)
    assert desk.batches == [["occupant-0"], ["next"]]


def test_a_batch_that_hangs_in_the_middle_times_out_for_those_without_a_verdict() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("a", "b", "c")
    desk.finish(first)
    (batch,) = desk.pool.submitted
    desk.answers += desk.scheduler.verdict(batch.number, 1, heard(), 1.0)
    # A verdict shows that it works; each of the two that are owed has five seconds.
    assert desk.scheduler.deadline == pytest.approx(1.0 + 2 * 5.0)
    desk.answers += desk.scheduler.tick(10.9)
    assert set(desk.answered) == {"occupant-0", "b"}
    desk.answers += desk.scheduler.tick(11.0)
    assert desk.answered["b"] == "heard"
    assert (desk.answered["a"], desk.answered["c"]) == ("inference_timeout",) * 2
    assert desk.scheduler.all_stuck
    assert desk.scheduler.drained
    assert desk.scheduler.deadline is None


def test_late_verdicts_are_ignored_and_the_thread_is_back_when_its_batch_is_finished() -> None:
    desk = Desk()
    desk.put("a")
    (batch,) = desk.pool.submitted
    desk.answers += desk.scheduler.tick(5.0)
    desk.answers += desk.scheduler.put(utterance("a", "again", ended_at=5.0), 5.0)
    desk.answers += desk.scheduler.verdict(batch.number, 0, heard("too late"), 6.0)
    assert len(desk.pool.submitted) == 1
    assert not desk.scheduler.healthy
    desk.answers += desk.scheduler.finished(batch.number, 6.0)
    assert desk.scheduler.healthy
    assert desk.batches[1:] == [["again"]]
    assert desk.answered == {"a": "inference_timeout"}


def test_a_thread_that_hangs_after_its_last_verdict_counts_as_hanging() -> None:
    desk = Desk()
    desk.put("a")
    desk.answers += desk.scheduler.verdict(desk.pool.submitted[0].number, 0, heard(), 1.0)
    assert desk.scheduler.drained
    desk.answers += desk.scheduler.tick(6.0)
    assert desk.scheduler.all_stuck
    assert desk.answered == {"a": "heard"}


def test_what_is_abandoned_in_the_middle_of_a_batch_is_answered_once() -> None:
    desk = Desk()
    (first,) = desk.occupy()
    desk.put("a", "b")
    desk.finish(first)
    (batch,) = desk.pool.submitted
    desk.answers += desk.scheduler.verdict(batch.number, 0, heard(), START)
    desk.put("waiting")
    desk.answers += desk.scheduler.abandon(START)
    desk.answers += desk.scheduler.verdict(batch.number, 1, heard(), START)
    desk.answers += desk.scheduler.finished(batch.number, START)
    assert len(desk.answers) == 4
    assert desk.answered["a"] == "heard"
    assert (desk.answered["b"], desk.answered["waiting"]) == ("shutting_down",) * 2
    assert desk.scheduler.drained


def test_arrivals_count_what_is_put_also_what_finds_no_place() -> None:
    desk = Desk()
    assert desk.scheduler.arrivals.read(START) == ArrivalRate(0.0, 0.0)
    many = 100
    for number in range(many):
        desk.answers += desk.scheduler.put(utterance(f"room-{number}", seconds=2.0), START)
    assert "overloaded" in desk.answered.values()
    arrivals = desk.scheduler.arrivals.read(START)
    assert arrivals.utterances_per_s == pytest.approx(many / BURST_S)
    assert arrivals.audio_s_per_s == pytest.approx(2.0 * many / BURST_S)


def test_arrivals_do_not_count_what_is_too_old_or_more_audio_than_is_decoded() -> None:
    desk = Desk()
    desk.answers += desk.scheduler.put(utterance("a", ended_at=START - 1000.0), START)
    assert desk.scheduler.arrivals.read(START).utterances_per_s == 0.0
    desk.answers += desk.scheduler.put(utterance("a", seconds=500.0), START)
    longest_s = LimitsConfig().max_utterance_s
    assert desk.scheduler.arrivals.read(START).audio_s_per_s == pytest.approx(longest_s / BURST_S)


def test_a_host_with_many_rooms_leaves_a_thread_to_who_speaks() -> None:
    desk = Desk(workers=2, max_batch=1)
    desk.scheduler.speaking.note(DeviceKey("native", "kitchen"), speaks=True)
    for number in range(6):
        host = utterance("10.0.0.9", f"{number}", part=f"{number}")
        desk.answers += desk.scheduler.put(host, START)
    first = [batch.number for batch in desk.pool.submitted]
    desk.finish(first[0])
    assert len(desk.batches) == 1
    assert desk.scheduler.may_glimpse(DeviceKey("native", "kitchen"))
    desk.put("kitchen")
    assert ["kitchen"] in desk.batches
    desk.scheduler.speaking.note(DeviceKey("native", "kitchen"), speaks=False)
    desk.finish(desk.pool.submitted[desk.batches.index(["kitchen"])].number)
    assert len(desk.batches) == 2


def test_a_room_waits_for_no_second_utterance_of_a_host_with_many_rooms() -> None:
    desk = Desk(workers=2, max_batch=1)
    for number in range(9):
        host = utterance("10.0.0.9", f"{number}", part=f"{number}")
        desk.answers += desk.scheduler.put(host, START)
    desk.put("kitchen")
    desk.finish(desk.pool.submitted[0].number)
    assert "kitchen" in [id for batch in desk.batches for id in batch]
