"""The gateway's side of a fleet: every utterance has exactly one verdict, whatever happens."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stt_mqtt.audio.compact import SMALL_BYTES
from stt_mqtt.errors import CorruptAudioError, FleetError
from stt_mqtt.fleet import gateway
from stt_mqtt.fleet.gateway import PATIENCE, RETRY_S, SPARE_S
from stt_mqtt.fleet.roster import GONE_AFTER_S
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import AudioFormat, Batch, Codec, EncodedAudio, InferenceResult, Verdict
from tests.core.test_queue import utterance
from tests.fakes import FakeClock, heard, nothing_heard
from tests.fleet.fake_servers import CONFIG, House, worker
from tests.thorough import examples

assert CONFIG.fleet is not None
ACK_WAIT_S = CONFIG.fleet.ack_wait_s
MAX_QUEUE_AGE_S = CONFIG.limits.max_queue_age_s
MAX_AGE_S = CONFIG.limits.max_age_s
PROMISED_S = 1.5
"""See `House`."""


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_an_utterance_becomes_a_job_and_its_result_the_verdict(house: House) -> None:
    house.hear()
    house.say("a")
    (job,) = house.servers.published
    assert (job.gateway, job.attempt, job.may_retry) == ("gw", 1, True)
    assert job.left_s == pytest.approx(MAX_QUEUE_AGE_S)
    assert house.pool.in_flight == 1
    assert house.answer("a")
    assert house.answered == {"a": "heard"}
    assert house.pool.in_flight == 0


def test_audio_that_is_stored_apart_is_deleted_with_the_result(house: House) -> None:
    """The worker deletes the job, and has no right to delete audio."""
    house.hear()
    house.say("a")
    (job,) = house.servers.published
    assert not house.servers.forgotten
    assert house.answer("a")
    assert house.servers.forgotten == [(job.id, None)]
    assert not house.answer("a")
    assert len(house.servers.forgotten) == 1


def test_numbers_begin_with_the_time_so_that_they_never_come_again(house: House) -> None:
    house.hear(worker(threads=2))
    house.say("a", "b")
    first = int(FakeClock().epoch() * 1000)
    assert [job.number for job in house.servers.published] == [first, first + 1]


def test_no_more_jobs_are_published_than_workers_have_room_for(house: House) -> None:
    house.say("a", "b", "c", "d", "e")
    assert not house.jobs
    house.hear(worker("pc", threads=2, max_batch=2))
    assert house.jobs == ["a", "b", "c", "d"]
    assert house.job("d").waiting == 1
    house.hear(worker("pi"))
    assert house.jobs == ["a", "b", "c", "d", "e"]


def test_a_worker_that_leaves_gets_nothing_more(house: House) -> None:
    house.hear()
    house.hear(worker(leaving=True))
    house.say("a")
    assert not house.jobs


def test_a_worker_that_says_nothing_any_more_gets_nothing_more(house: House) -> None:
    house.hear()
    house.wait(GONE_AFTER_S)
    house.say("a")
    assert house.pool.lanes == 0
    assert not house.jobs


def test_a_second_result_is_dropped_and_counted(house: House) -> None:
    house.hear()
    house.say("a")
    assert house.answer("a")
    assert not house.answer("a", CorruptAudioError("noise"))
    assert house.answered == {"a": "heard"}
    assert house.pool.late == 1


def test_a_result_after_the_end_is_dropped_and_counted(house: House) -> None:
    house.hear()
    house.say("a")
    house.wait(MAX_QUEUE_AGE_S, worker())
    assert house.answered == {"a": "expired"}
    assert not house.answer("a")
    assert house.pool.late == 1


def test_a_job_without_a_result_expires_and_is_withdrawn(house: House) -> None:
    house.hear()
    house.say("a")
    house.wait(MAX_QUEUE_AGE_S - 0.1, worker())
    assert not house.answers
    house.wait(0.2, worker())
    assert house.answered == {"a": "expired"}
    assert not house.jobs


def test_without_a_worker_a_job_ends_with_model_unavailable(house: House) -> None:
    house.hear()
    house.say("a")
    house.wait(MAX_QUEUE_AGE_S + 0.1)
    assert house.answered == {"a": "model_unavailable"}
    assert house.error("a") == "no worker of the fleet is there"


def test_a_worker_whose_model_is_still_loading_takes_nothing_and_is_the_reason(
    house: House,
) -> None:
    house.hear(worker(threads=0))
    house.say("a")
    assert not house.jobs
    house.wait(MAX_QUEUE_AGE_S + 0.1, worker(threads=0))
    assert house.answered == {"a": "model_unavailable"}
    assert house.error("a") == "the workers of the fleet are still loading their models"


def test_without_servers_the_reason_is_theirs(house: House) -> None:
    house.servers.lose("nats://10.0.0.1:4222 cannot be reached")
    house.say("a")
    house.wait(MAX_QUEUE_AGE_S + 0.1)
    assert house.answered == {"a": "model_unavailable"}
    assert house.error("a").endswith("away: nats://10.0.0.1:4222 cannot be reached")


def test_a_job_that_began_late_has_time_for_a_second_worker(house: House) -> None:
    house.say("a")
    house.wait(MAX_QUEUE_AGE_S - 0.5)
    house.hear(worker(cost=0.0))
    assert house.job("a").left_s == pytest.approx(ACK_WAIT_S + SPARE_S)
    house.wait(ACK_WAIT_S + SPARE_S - 0.1, worker())
    assert not house.answers
    house.wait(0.2, worker())
    assert house.answered == {"a": "expired"}


def test_a_long_utterance_for_a_slow_worker_has_more_time(house: House) -> None:
    slow = worker(cost=0.5)
    house.hear(slow)
    house.say("a", seconds=8.0)
    expected_s = ACK_WAIT_S + SPARE_S + PATIENCE * 0.5 * 8.0
    assert expected_s > MAX_QUEUE_AGE_S
    assert house.job("a").left_s == pytest.approx(expected_s)
    house.say("b", seconds=8.0)
    house.hear(replace(slow, threads=2, cost=100.0))
    most_s = ACK_WAIT_S + SPARE_S + CONFIG.limits.inference_timeout_s
    assert house.job("b").left_s == pytest.approx(most_s)


def spooled(house: House, id: str, age_s: float) -> None:
    """Speech arrives that is old already."""
    house.put(utterance(id, id, ended_at=house.clock.now(), age_s=age_s))
    house.settle()


def begun_before(seconds: float) -> InferenceResult:
    """What a worker heard that began so long ago."""
    return replace(heard(), infer_s=seconds)


def test_a_job_on_which_nobody_begins_before_the_speech_is_too_old_expires(house: House) -> None:
    house.hear()
    spooled(house, "a", MAX_AGE_S - 1.0)
    due_s = 1.0 + SPARE_S + PATIENCE * worker().cost
    assert house.job("a").left_s == pytest.approx(due_s)
    house.wait(due_s - 0.1, worker())
    assert not house.answers
    house.wait(0.2, worker())
    assert house.answered == {"a": "expired"}
    assert "limits.max_age_s" in house.error("a")
    assert not house.jobs


def test_without_a_worker_too_old_speech_expires_as_it_does_without_a_fleet(house: House) -> None:
    house.hear()
    spooled(house, "a", MAX_AGE_S - 4.0)
    spooled(house, "b", MAX_AGE_S - 4.0)
    house.wait(MAX_QUEUE_AGE_S)
    assert house.answered == {"a": "expired", "b": "expired"}


def test_a_result_whose_inference_began_when_the_speech_was_too_old_is_not_obeyed(
    house: House,
) -> None:
    house.hear(worker(threads=2))
    for id in ("in time", "late"):
        spooled(house, id, MAX_AGE_S - 1.0)
    house.wait(1.2, worker(threads=2))
    assert house.answer("in time", begun_before(0.3))
    assert house.answer("late", begun_before(0.1))
    assert house.answered == {"in time": "heard", "late": "expired"}
    assert "spoken 30 s before its turn" in house.error("late")


def test_what_a_worker_found_at_once_counts_from_its_result(house: House) -> None:
    house.hear(worker(threads=2))
    for id in ("silence", "noise"):
        spooled(house, id, MAX_AGE_S - 1.0)
    house.wait(1.2, worker(threads=2))
    house.answer("silence", nothing_heard())
    house.answer("noise", CorruptAudioError("noise"))
    assert house.answered == {"silence": "expired", "noise": "corrupt_audio"}


@pytest.fixture
def both() -> Iterator[House]:
    """A gateway with a thread of its own, which is busy, and a worker that has a job."""
    made = House(threads=1)
    made.hear()
    made.say("here", "there")
    made.wait(PROMISED_S, worker())
    assert made.jobs == ["there"]
    yield made
    made.close()


def here(house: House) -> list[str]:
    """What the threads of the gateway do."""
    return [one.id for one in house.own.utterances]


def test_a_gateway_with_a_model_does_what_its_last_worker_had(both: House) -> None:
    both.answer_here()
    both.wait(GONE_AFTER_S)
    assert here(both) == ["there"]
    assert both.pool.in_flight == 0
    both.answer_here()
    assert both.answered == {"here": "heard", "there": "heard"}
    both.wait(MAX_QUEUE_AGE_S)
    assert both.scheduler.drained


def test_what_was_taken_back_is_withdrawn_and_its_result_too_late(both: House) -> None:
    job = both.job("there")
    both.answer_here()
    both.wait(GONE_AFTER_S)
    assert not both.jobs
    assert not both.servers.answer(job)
    assert both.pool.late == 1
    both.servers.come()
    both.settle()
    assert not both.jobs
    assert both.answered == {"here": "heard"}


def test_nothing_is_taken_back_while_another_worker_lives(both: House) -> None:
    both.answer_here()
    both.wait(GONE_AFTER_S, worker("pi"))
    assert both.pool.roster.workers == (worker("pi"),)
    assert (both.jobs, here(both)) == (["there"], [])


def test_a_lost_connection_is_as_the_loss_of_all_workers(both: House) -> None:
    both.answer_here()
    both.servers.lose()
    both.wait(GONE_AFTER_S)
    assert here(both) == ["there"]
    both.answer_here()
    assert both.answered == {"here": "heard", "there": "heard"}


def test_a_worker_that_leaves_has_time_to_end_what_it_has(both: House) -> None:
    both.answer_here()
    both.hear(worker(leaving=True))
    both.wait(GONE_AFTER_S - 0.1)
    assert (both.jobs, here(both)) == (["there"], [])
    both.wait(0.1)
    assert here(both) == ["there"]


def test_a_worker_that_starts_again_does_not_have_what_it_had(both: House) -> None:
    both.answer_here()
    both.wait(GONE_AFTER_S, worker(threads=0))
    assert here(both) == ["there"]


def test_a_device_keeps_its_order_when_its_job_is_taken_back(both: House) -> None:
    both.put(utterance("there", "later", ended_at=both.clock.now()))
    both.wait(GONE_AFTER_S)
    assert both.scheduler.queue.jobs == 2
    for id in ("here", "there", "later"):
        assert here(both) == [id]
        both.answer_here()
    assert list(both.answered) == ["here", "there", "later"]


def test_a_job_that_is_taken_back_while_it_is_published_is_withdrawn_then(both: House) -> None:
    both.answer_here()
    both.servers.is_slow = True
    both.servers.lose()
    both.servers.come()
    both.settle()
    both.wait(GONE_AFTER_S)
    assert (both.jobs, here(both)) == (["there"], ["there"])
    both.servers.store()
    both.settle()
    assert not both.jobs


def test_what_was_taken_back_may_go_to_the_next_worker(both: House) -> None:
    number = both.job("there").number
    both.wait(GONE_AFTER_S)
    both.hear(worker("pi"))
    assert both.jobs == ["there"]
    assert both.job("there").number > number
    assert both.answer("there")
    assert both.answered == {"there": "heard"}


def test_an_error_of_a_worker_is_the_verdict(house: House) -> None:
    house.hear()
    house.say("a")
    assert house.answer("a", CorruptAudioError("noise"))
    assert house.answered == {"a": "corrupt_audio"}


def test_a_job_that_was_delivered_too_often_ends_with_the_reason(house: House) -> None:
    house.hear(worker(threads=2))
    house.say("a", "b")
    (number,) = (number for number, job in house.servers.stream.items() if job == house.job("a"))
    house.servers.give_up(12345)
    house.servers.give_up(number)
    house.settle()
    assert house.answered == {"a": "inference_failed"}
    assert "fleet.max_deliver" in house.error("a")
    assert house.jobs == ["b"]


def test_after_a_loss_of_the_connection_everything_is_published_again(house: House) -> None:
    house.hear(worker(threads=3))
    house.say("a", "b", "c")
    house.answer("a")
    house.servers.lose()
    house.servers.stream.clear()
    house.servers.come()
    house.settle()
    assert house.jobs == ["b", "c"]
    assert [house.job(id).attempt for id in "abc"] == [1, 2, 2]
    assert house.pool.again == 2
    ids = [job.id for job in house.servers.published]
    assert ids[1:3] == ids[3:]
    assert house.answer("b")
    assert house.answer("c")


def test_what_is_said_while_the_servers_are_away_is_published_when_they_come(house: House) -> None:
    house.hear()
    house.servers.lose()
    house.say("a")
    assert not house.jobs
    assert house.pool.in_flight == 1
    house.wait(2 * RETRY_S)
    assert not house.jobs
    house.servers.come()
    house.settle()
    assert house.jobs == ["a"]


def test_a_job_that_could_not_be_published_is_tried_again(house: House) -> None:
    house.hear()
    house.servers.connected = False
    house.say("a")
    house.servers.connected = True
    house.wait(RETRY_S - 0.1, worker())
    assert not house.jobs
    house.wait(0.2, worker())
    assert house.jobs == ["a"]


def test_a_full_stream_ends_it_at_once(house: House) -> None:
    house.hear()
    house.servers.is_full = True
    house.say("a")
    assert house.answered == {"a": "overloaded"}
    house.servers.is_full = False
    house.say("b")
    assert house.jobs == ["b"]


def test_a_defect_ends_one_utterance_and_not_the_gateway(house: House) -> None:
    house.hear()
    house.servers.breaks = ValueError("secret words")
    house.say("a")
    assert house.answered == {"a": "inference_failed"}
    assert "secret" not in house.error("a")
    house.servers.breaks = None
    house.say("b")
    assert house.answer("b")


def test_a_result_may_come_before_the_server_has_confirmed_the_job(house: House) -> None:
    house.hear()
    house.say("a")
    house.servers.is_slow = True
    house.servers.lose()
    house.servers.come()
    house.settle()
    house.answer("a")
    house.servers.store()
    house.settle()
    assert house.answered == {"a": "heard"}
    assert not house.jobs


def test_a_job_that_is_being_published_is_not_published_twice_by_a_new_connection(
    house: House,
) -> None:
    house.hear()
    house.servers.is_slow = True
    house.say("a")
    house.servers.come()
    house.settle()
    house.servers.store()
    house.settle()
    assert len(house.servers.published) == 1


def test_what_is_no_message_of_this_version_is_dropped(house: House) -> None:
    house.hear()
    house.say("a")
    assert not house.servers.tell_result(b"{}")
    house.servers.hear_bytes(b"nonsense")
    assert house.pool.lanes == 1
    assert house.answer("a")


def test_a_batch_is_finished_once_after_all_its_verdicts(house: House) -> None:
    told: list[tuple[str, object]] = []
    house.hear(worker(threads=2))
    # The scheduler gives the fleet one by one, but a pool takes any batch.
    house.pool._callbacks = replace(
        house.pool._callbacks,
        verdict=lambda _batch, index, _verdict: told.append(("verdict", index)),
        finished=lambda batch: told.append(("finished", batch)),
    )
    spoken = [utterance(id, id, ended_at=house.clock.now()) for id in "ab"]
    house.pool.submit(Batch(7, tuple(spoken), may_retry=False, together=1))
    assert not told
    house.settle()
    house.answer("b")
    house.answer("a")
    assert told == [("verdict", 1), ("verdict", 0), ("finished", 7)]


def test_large_pcm_goes_as_flac_and_what_is_coded_goes_as_it_came(house: House) -> None:
    house.hear(worker(threads=2))
    pcm = EncodedAudio(AudioFormat(), bytes(SMALL_BYTES + 2))
    opus = EncodedAudio(AudioFormat(Codec.OPUS), bytes(SMALL_BYTES + 2))
    for id, audio in (("pcm", pcm), ("opus", opus)):
        house.put(replace(utterance(id, id, ended_at=house.clock.now()), audio=audio))
    while len(house.servers.published) < 2:
        house.settle()
    flac = house.job("pcm").utterance.audio
    assert flac.format == AudioFormat(Codec.FLAC)
    assert len(flac.data) < SMALL_BYTES
    assert house.job("opus").utterance.audio == opus


def test_at_the_end_what_has_no_result_is_withdrawn(house: House) -> None:
    house.hear(worker(threads=2))
    house.say("a", "b")
    house.answer("a")
    job = house.job("b")
    house.answers += house.scheduler.abandon(house.clock.now())
    house.loop.run_until_complete(house.pool.close())
    assert not house.jobs
    assert not house.servers.answer(job)
    assert house.answered == {"a": "heard", "b": "shutting_down"}


def test_the_end_does_not_wait_for_servers_that_do_not_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CLOSE_TIMEOUT_S", 0.01)
    house.hear()
    house.servers.is_slow = True
    house.say("a")
    house.loop.run_until_complete(house.pool.close())
    house.settle()
    assert house.pool.in_flight == 0
    assert not house.servers.published


verdicts = st.sampled_from([heard(), nothing_heard(), CorruptAudioError("noise")])
names = st.sampled_from(["pc", "pi"])


class TheGateway(RuleBasedStateMachine):
    """Random interleavings of everything that can happen to a gateway of a fleet.

    Results come twice, late or never; workers come and go; connections are lost, with or without
    what the servers held; jobs are delivered too often; the stream is full. Some gateways have
    threads of their own, and some speech is old already.
    """

    @initialize(threads=st.integers(0, 3), own=st.sampled_from([0, 0, 1, 2]))
    def begin(self, threads: int, own: int) -> None:
        self.house = House(own)
        self.defects: list[object] = []
        self.house.loop.set_exception_handler(lambda _, what: self.defects.append(what))
        self.said: list[str] = []
        self.taken: Counter[int] = Counter()
        self.alive: dict[str, WorkerStatus] = {}
        self.a_worker_comes("pc", threads)

    @rule(
        rooms=st.lists(st.sampled_from(["kitchen", "bath", "attic", "cellar"]), min_size=1),
        age_s=st.sampled_from([0.0, 0.0, MAX_AGE_S - 1.0]),
    )
    def people_speak(self, rooms: list[str], age_s: float) -> None:
        now = self.house.clock.now()
        for room in rooms:
            self.said.append(f"{len(self.said)}")
            self.house.put(utterance(room, self.said[-1], ended_at=now, age_s=age_s))
        self.house.settle()

    @precondition(lambda self: self.house.own.submitted)
    @rule(verdict=verdicts)
    def a_thread_here_ends(self, verdict: Verdict) -> None:
        self.house.answer_here(verdict)

    @rule(name=names, threads=st.integers(0, 2))
    def a_worker_comes(self, name: str, threads: int) -> None:
        self.alive[name] = worker(name, threads=threads)
        if self.house.servers.connected:
            self.house.hear(self.alive[name])

    @rule(name=names, says_so=st.booleans())
    def a_worker_goes(self, name: str, says_so: bool) -> None:
        if self.alive.pop(name, None) and says_so and self.house.servers.connected:
            self.house.hear(worker(name, leaving=True))

    @precondition(lambda self: self.house.servers.published)
    @rule(data=st.data(), verdict=verdicts, acknowledged=st.booleans(), times=st.integers(1, 4))
    def workers_have_results(
        self, data: st.DataObject, verdict: Verdict, acknowledged: bool, times: int
    ) -> None:
        """On jobs that were ever published: so some come twice or late."""
        servers = self.house.servers
        for _ in range(times):
            job = data.draw(st.sampled_from(servers.published[-5:]))
            late = self.house.pool.late
            if servers.answer(job, verdict):
                self.taken[job.number] += 1
            else:
                assert self.house.pool.late == late + 1
            if acknowledged:
                servers.acknowledge(job)
            self.house.settle()

    @precondition(lambda self: self.house.servers.stream)
    @rule(data=st.data(), too_often=st.booleans())
    def a_job_is_not_done(self, data: st.DataObject, too_often: bool) -> None:
        """It was delivered too often, or the servers lost it."""
        number = data.draw(st.sampled_from(sorted(self.house.servers.stream)))
        if too_often:
            self.house.servers.give_up(number)
        else:
            del self.house.servers.stream[number]
        self.house.settle()

    @rule(forgetful=st.booleans(), away_s=st.sampled_from([0.0, 0.0, 0.5, 4.0, 12.0]))
    def the_connection_is_lost_for_a_while(self, forgetful: bool, away_s: float) -> None:
        self.house.servers.lose()
        self.house.settle()
        self.house.wait(away_s)
        if forgetful:
            self.house.servers.stream.clear()
        self.house.servers.come()
        self.house.hear(*self.alive.values(), worker("new", threads=0))

    @rule(
        state=st.sampled_from(["full", "slow", "broken"]),
        room=st.sampled_from(["kitchen", "bath"]),
        result=st.booleans(),
        seconds=st.sampled_from([0.0, 1.5, 11.0]),
        becomes_full=st.booleans(),
    )
    def the_servers_do_not_store(
        self, state: str, room: str, result: bool, seconds: float, becomes_full: bool
    ) -> None:
        servers = self.house.servers
        servers.is_full, servers.is_slow = state == "full", state == "slow"
        servers.breaks = FleetError("no leader") if state == "broken" else None
        self.people_speak([room], 0.0)
        if result and servers.published:
            # What was published before is published again, and done meanwhile.
            servers.come()
            self.house.settle()
            if servers.answer(servers.published[-1]):
                self.taken[servers.published[-1].number] += 1
        self.house.wait(seconds, *self.alive.values())
        servers.is_full, servers.is_slow, servers.breaks = becomes_full, False, None
        servers.store()
        self.house.settle()
        servers.is_full = False

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.house.wait(seconds, *self.alive.values())

    @invariant()
    def no_utterance_has_two_verdicts(self) -> None:
        assert self.house.answered.keys() <= set(self.said)
        assert all(count == 1 for count in self.taken.values())

    @invariant()
    def what_was_said_is_answered_waits_or_is_on_its_way(self) -> None:
        waiting = self.house.scheduler.queue.jobs + self.house.pool.in_flight
        # A thread that hangs has its utterance for longer than the answer takes.
        waiting += len(set(here(self.house)) - self.house.answered.keys())
        assert len(self.house.answered) + waiting == len(self.said)

    @invariant()
    def nothing_stays_with_a_fleet_that_is_gone_while_a_thread_here_can_do_it(self) -> None:
        house = self.house
        house.tick()
        if house.pool.is_gone and house.scheduler.workers > house.scheduler.hanging:
            has_room = house.scheduler.queue.jobs < CONFIG.limits.max_queued
            for flight in house.pool._flights.values():
                age_s = house.clock.now() - flight.utterance.ended_at
                limit_s = min(MAX_QUEUE_AGE_S, MAX_AGE_S - flight.utterance.age_s)
                assert age_s >= limit_s or not has_room

    @invariant()
    def a_device_is_answered_in_its_order(self) -> None:
        order: dict[str, list[int]] = {}
        for answer in self.house.answers:
            if isinstance(answer.verdict, InferenceResult):
                order.setdefault(answer.utterance.key.name, []).append(int(answer.utterance.id))
        assert all(ids == sorted(ids) for ids in order.values())

    @invariant()
    def no_deadline_is_missed(self) -> None:
        for at in (self.house.pool.deadline, self.house.scheduler.deadline):
            assert at is None or at > self.house.clock.now() - 0.001

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert not self.defects
        assert self.house.scheduler.healthy or here(self.house)

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        self.house.servers.is_slow = False
        self.house.servers.store()
        self.house.settle()
        self.house.wait(40.0)
        while here(self.house):
            self.house.answer_here()
            self.house.wait(40.0)
        assert sorted(self.house.answered) == sorted(self.said)
        assert self.house.pool.in_flight == 0
        assert self.house.scheduler.drained
        # All lanes are free again.
        assert not self.house.scheduler._running
        self.house.close()
        gc.collect(0)
        assert not self.defects


TestTheGateway = TheGateway.TestCase
TestTheGateway.settings = settings(max_examples=examples(40), stateful_step_count=50, deadline=None)
