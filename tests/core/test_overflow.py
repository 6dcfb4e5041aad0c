"""Which utterances go to other machines, and what happens while none is there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.overflow import Pace
from stt_mqtt.core.scheduler import Capacity, Scheduler
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.types import Batch, DeviceKey
from tests.core.test_queue import utterance
from tests.fakes import FakePool, heard, nothing_heard

PROMISED_S = 1.5
LIMITS = LimitsConfig(inference_timeout_s=60.0, max_queue_age_s=10.0)


@dataclass
class FakeFleet(FakePool):
    """A fleet that answers when the test says so."""

    absence: str = "no worker of the fleet is there"
    is_gone: bool = False

    def forget(self, batch: int) -> None:
        self.submitted = [one for one in self.submitted if one.number != batch]


@dataclass
class House:
    """A scheduler with threads and a fleet. A second of speech costs a thread half a second."""

    threads: int = 1
    lanes: int = 0
    max_batch: int = 1
    now: float = 0.0
    own: FakePool = field(default_factory=FakePool)
    fleet: FakeFleet = field(default_factory=FakeFleet)
    answers: list[Answer | Glimpse] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(LIMITS)
        self.scheduler.attach_fleet(self.fleet, PROMISED_S)
        if self.threads:
            capacity = Capacity(self.threads, self.max_batch)
            self.scheduler.attach_pool(self.own, capacity, self.now)
        self.scheduler.resize(self.lanes, self.now)

    def say(self, *rooms: str, seconds: float = 1.0) -> None:
        for room in rooms:
            spoken = utterance(room, room, seconds, ended_at=self.now)
            self.answers += self.scheduler.put(spoken, self.now)

    def learn(self) -> None:
        """Transcribe one utterance here, so that the cost is known."""
        self.say("teacher")
        self.finish(self.own, cost=0.5)

    def finish(self, pool: FakePool, cost: float = 0.5) -> None:
        batch = pool.submitted.pop(0)
        for index, one in enumerate(batch.utterances):
            result = replace(heard(), audio_s=one.seconds, work_s=cost * one.seconds)
            self.answers += self.scheduler.verdict(batch.number, index, result, self.now)
        self.answers += self.scheduler.finished(batch.number, self.now)

    def loses_its_fleet(self) -> None:
        self.fleet.is_gone = True
        self.scheduler.resize(0, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass as the timer of the service does."""
        end = self.now + seconds
        while (at := self.scheduler.deadline) is not None and at <= end:
            assert at > self.now, "a deadline that does not pass"
            self.now = at
            self.answers += self.scheduler.tick(self.now)
        self.now = end

    def answered(self, room: str) -> str:
        (answer,) = (one for one in self.answers if one.utterance.id == room)
        assert not isinstance(answer.verdict, type(None))
        return answer.verdict.code if isinstance(answer.verdict, UtteranceError) else "heard"


def rooms(pool: FakePool) -> list[str]:
    return [one.id for one in pool.utterances]


def test_a_gateway_without_threads_gives_everything_to_the_fleet_one_by_one() -> None:
    house = House(threads=0, lanes=3)
    house.say("a", "b", "c", "d")
    assert [[one.id for one in batch.utterances] for batch in house.fleet.submitted] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    house.finish(house.fleet)
    assert rooms(house.fleet) == ["b", "c", "d"]


def test_what_waits_starts_when_a_worker_joins() -> None:
    house = House(threads=0)
    house.say("a", "b")
    assert not house.fleet.submitted
    house.scheduler.resize(1, house.now)
    assert rooms(house.fleet) == ["a"]
    house.scheduler.resize(2, house.now)
    assert rooms(house.fleet) == ["a", "b"]


def test_what_runs_goes_on_when_workers_leave_and_nothing_more_is_given_to_them() -> None:
    house = House(threads=0, lanes=2)
    house.say("a", "b", "c")
    house.scheduler.resize(0, house.now)
    house.finish(house.fleet)
    assert rooms(house.fleet) == ["b"]
    assert house.answered("a") == "heard"
    house.scheduler.resize(1, house.now)
    assert rooms(house.fleet) == ["b"]
    house.finish(house.fleet)
    assert rooms(house.fleet) == ["c"]


def test_without_a_worker_it_ends_at_its_deadline_with_the_reason() -> None:
    house = House(threads=0)
    house.say("a")
    house.wait(LIMITS.max_queue_age_s - 0.1)
    assert not house.answers
    house.wait(0.2)
    (answer,) = house.answers
    assert isinstance(answer.verdict, UtteranceError)
    assert answer.verdict.code == "model_unavailable"
    assert str(answer.verdict) == "no worker of the fleet is there"


def test_with_workers_that_are_all_busy_it_expires() -> None:
    house = House(threads=0, lanes=1)
    house.say("a", "b")
    house.wait(LIMITS.max_queue_age_s)
    assert house.answered("b") == "expired"


def test_there_is_a_reason_only_while_nothing_can_be_transcribed() -> None:
    house = House(threads=0)
    assert house.scheduler.absence == "no worker of the fleet is there"
    assert house.scheduler.lanes == 0
    house.scheduler.resize(2, house.now)
    assert house.scheduler.absence is None
    assert house.scheduler.lanes == 2
    assert Scheduler(LIMITS).absence == "the model is still being loaded"


def test_a_gateway_without_threads_has_no_glimpses() -> None:
    house = House(threads=0, lanes=4)
    assert not house.scheduler.may_glimpse(DeviceKey("native", "a"))


def test_workers_never_make_a_gateway_unhealthy_however_long_they_need() -> None:
    house = House(threads=0, lanes=1)
    house.say("a")
    house.wait(10 * LIMITS.inference_timeout_s)
    assert house.scheduler.healthy
    assert not house.scheduler.all_stuck
    assert not house.scheduler.drained
    assert not house.answers
    house.finish(house.fleet)
    assert house.scheduler.drained


def test_own_threads_come_first() -> None:
    house = House(threads=2, lanes=4)
    house.say("a", "b", "c")
    assert rooms(house.own) == ["a", "b"]
    assert not house.fleet.submitted


def test_what_would_wait_too_long_goes_to_the_fleet_at_once() -> None:
    house = House(threads=1, lanes=4)
    house.learn()
    house.say("a", seconds=2.0)
    house.say("b", seconds=1.0)
    # One second for a, and half a second for b: no longer than promised.
    assert rooms(house.fleet) == []
    house.say("c", seconds=1.0)
    assert rooms(house.own) == ["a"]
    assert rooms(house.fleet) == ["b"]


def test_no_more_goes_to_the_fleet_than_keeps_the_promise() -> None:
    house = House(threads=1, lanes=4)
    house.learn()
    house.say("a", "b", "c", seconds=1.0)
    assert rooms(house.fleet) == []
    house.say("d", "e", seconds=1.0)
    assert rooms(house.fleet) == ["b", "c"]
    assert house.scheduler.queue.jobs == 2


def test_time_that_a_thread_has_worked_is_not_counted_again() -> None:
    house = House(threads=1, lanes=4)
    house.learn()
    house.say("a", seconds=4.0)
    house.now += 1.5
    house.say("b", seconds=1.0)
    assert rooms(house.fleet) == []


def test_without_a_known_cost_it_goes_to_the_fleet_when_it_has_waited() -> None:
    house = House(threads=1, lanes=4)
    house.say("a", "b", "c")
    assert rooms(house.fleet) == []
    house.wait(PROMISED_S - 0.1)
    assert rooms(house.fleet) == []
    house.wait(0.1)
    assert rooms(house.fleet) == ["b", "c"]


def test_a_device_that_is_busy_waits_for_itself_and_is_no_reason_to_wake_up() -> None:
    house = House(threads=1, lanes=4)
    house.say("a")
    again = utterance("a", "again", ended_at=house.now)
    house.answers += house.scheduler.put(again, house.now)
    house.wait(5.0)
    assert rooms(house.fleet) == []


def test_threads_that_hang_do_not_count() -> None:
    house = House(threads=1, lanes=4)
    house.say("a")
    house.wait(LIMITS.inference_timeout_s)
    assert house.scheduler.all_stuck
    house.say("b")
    assert rooms(house.fleet) == ["b"]


def test_glimpses_stay_on_own_threads() -> None:
    house = House(threads=2, lanes=4)
    key = DeviceKey("native", "a")
    assert house.scheduler.may_glimpse(key)
    house.scheduler.glimpse(utterance("a"), house.now)
    assert not house.scheduler.may_glimpse(DeviceKey("native", "b"))
    assert len(house.own.submitted) == 1
    assert not house.fleet.submitted


def test_what_the_fleet_does_takes_no_thread_from_a_glimpse() -> None:
    house = House(threads=1, lanes=1)
    house.say("a", "b")
    house.wait(PROMISED_S)
    house.finish(house.own)
    assert rooms(house.fleet) == ["b"]
    assert house.scheduler.may_glimpse(DeviceKey("native", "c"))


def test_batches_are_for_own_threads() -> None:
    house = House(threads=1, lanes=1, max_batch=4)
    house.say("a", "b", "c", "d", "e")
    house.wait(PROMISED_S)
    assert rooms(house.fleet) == ["b"]
    house.finish(house.own)
    assert [[one.id for one in batch.utterances] for batch in house.own.submitted] == [
        ["c", "d", "e"]
    ]


def test_a_host_with_many_rooms_leaves_a_worker_to_others() -> None:
    house = House(threads=0, lanes=2)
    house.scheduler.speaking.note(DeviceKey("native", "kitchen"), speaks=True)
    for number in range(6):
        host = utterance("10.0.0.9", f"{number}", part=f"{number}", ended_at=house.now)
        house.answers += house.scheduler.put(host, house.now)
    house.finish(house.fleet)
    assert len(house.fleet.submitted) == 1
    house.say("kitchen")
    assert "kitchen" in rooms(house.fleet)


def test_what_a_fleet_has_that_is_gone_is_next_for_the_threads_of_this_process() -> None:
    house = House(threads=1, lanes=2)
    house.learn()
    house.say("a", seconds=8.0)
    house.say("b", "c", "d")
    assert (rooms(house.own), rooms(house.fleet)) == (["a"], ["b", "c"])
    house.loses_its_fleet()
    assert (rooms(house.own), rooms(house.fleet)) == (["a"], [])
    assert house.scheduler.queue.jobs == 3
    for room in "abcd":
        assert rooms(house.own) == [room]
        house.finish(house.own)
    assert [house.answered(room) for room in "abcd"] == ["heard"] * 4
    assert house.scheduler.drained


def test_an_idle_thread_begins_at_once_with_what_a_fleet_had() -> None:
    house = House(threads=1, lanes=1)
    house.say("a", "b")
    house.wait(PROMISED_S)
    house.finish(house.own)
    house.loses_its_fleet()
    assert (rooms(house.own), rooms(house.fleet)) == (["b"], [])


def test_it_keeps_its_deadline() -> None:
    house = House(threads=1, lanes=1)
    house.say("a", "b")
    house.wait(PROMISED_S)
    house.loses_its_fleet()
    house.wait(LIMITS.max_queue_age_s - PROMISED_S)
    assert house.answered("b") == "expired"


def test_what_is_too_old_to_be_done_here_stays_with_the_fleet() -> None:
    house = House(threads=1, lanes=1)
    house.say("a", "b")
    house.wait(LIMITS.max_queue_age_s)
    house.loses_its_fleet()
    assert rooms(house.fleet) == ["b"]
    house.finish(house.fleet)
    assert house.answered("b") == "heard"


def test_as_long_as_no_thread_of_this_process_works_the_fleet_keeps_what_it_has() -> None:
    house = House(threads=0, lanes=1)
    house.say("a")
    house.loses_its_fleet()
    assert rooms(house.fleet) == ["a"]
    house.scheduler.attach_pool(house.own, Capacity(1, 1), house.now)
    assert (rooms(house.own), rooms(house.fleet)) == (["a"], [])


def test_a_thread_that_hangs_takes_nothing_back_until_it_answers() -> None:
    house = House(threads=1, lanes=1)
    house.say("a")
    house.wait(LIMITS.inference_timeout_s)
    house.say("b")
    house.loses_its_fleet()
    assert rooms(house.fleet) == ["b"]
    house.finish(house.own)
    assert (rooms(house.own), rooms(house.fleet)) == (["b"], [])


def test_what_the_fleet_has_answered_is_not_taken_back() -> None:
    house = House(threads=1, lanes=1)
    house.say("a", "b")
    house.wait(PROMISED_S)
    (batch,) = house.fleet.submitted
    house.answers += house.scheduler.verdict(batch.number, 0, heard(), house.now)
    house.loses_its_fleet()
    house.answers += house.scheduler.finished(batch.number, house.now)
    assert house.answered("b") == "heard"
    assert rooms(house.own) == ["a"]


def test_what_the_service_abandons_is_answered_once_also_at_the_fleet() -> None:
    house = House(threads=0, lanes=1)
    house.say("a", "b")
    house.answers += house.scheduler.abandon(house.now)
    house.finish(house.fleet)
    assert [house.answered(room) for room in "ab"] == ["shutting_down"] * 2


def test_a_second_look_is_allowed_only_when_nothing_waits() -> None:
    house = House(threads=0, lanes=2)
    house.say("a", "b", "c")
    house.finish(house.fleet)

    def may_retry(batch: Batch) -> bool:
        return batch.may_retry

    assert list(map(may_retry, house.fleet.submitted)) == [True, True]
    house.scheduler.resize(1, house.now)
    house.say("d", "e")
    house.finish(house.fleet)
    house.finish(house.fleet)
    assert list(map(may_retry, house.fleet.submitted)) == [False]


def test_the_pace_is_a_mean_in_which_the_newest_counts_most() -> None:
    pace = Pace()
    assert pace.wait_s(1, [], 100.0) == 0.0
    pace.note(replace(heard(), audio_s=2.0, work_s=1.0))
    assert pace.cost == 0.5
    pace.note(replace(heard(), audio_s=2.0, work_s=2.0))
    assert pace.cost == pytest.approx(0.6)
    for verdict in (nothing_heard(), InferenceFailedError("broken")):
        pace.note(verdict)
    assert pace.cost == pytest.approx(0.6)
    assert pace.wait_s(2, [(10.0, 1.0), (1.0, 5.0)], 5.0) == pytest.approx((5.0 + 3.0) / 2)
    assert pace.wait_s(0, [], 0.0) == float("inf")
