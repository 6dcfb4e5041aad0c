"""A worker of the fleet: which jobs it takes, what it says of them, and how it leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from stt_mqtt.config import FleetConfig, LimitsConfig
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.errors import CorruptAudioError, InferenceTimeoutError
from stt_mqtt.fleet.capability import Backlog, CostMeter, priority_of, refusal
from stt_mqtt.fleet.wire import encode_job, encode_worker
from stt_mqtt.fleet.worker import FleetWorker
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import Verdict
from tests.fakes import FakePool, heard
from tests.fleet.stream import SECOND, FakeDelivery, FakeStream, job
from tests.virtual_time import run_in_virtual_time


class Bench:
    """A worker with threads that answer when the test says so."""

    def __init__(
        self,
        threads: int = 1,
        max_batch: int = 1,
        stream: FakeStream | None = None,
        node: str = "pc",
        **limits: Any,
    ) -> None:
        self.stream, self.pool = stream or FakeStream(), FakePool()
        self.capacity = Capacity(threads, max_batch)
        self.worker = FleetWorker(
            self.stream,
            FleetConfig(max_deliver=3),
            LimitsConfig(**limits),
            node,
            asyncio.get_running_loop().time,
        )

    def serve(self, cost: float = 0.1, *languages: str) -> None:
        self.worker.use("tiny.en", cost)
        self.worker.languages = frozenset(languages or {"en"})
        self.worker.attach_pool(self.pool, self.capacity)

    def answer(self, verdict: Verdict | None = None) -> None:
        """A thread ends its batch."""
        self.pool.answer(self.worker, verdict or heard())

    @property
    def told(self) -> list[int]:
        return [result.number for result in self.stream.results]


def play(scenario: Any, *bench: Any, **limits: Any) -> None:
    """Run a scenario with a connected worker that has loaded its model."""

    async def scene() -> None:
        used = Bench(*bench, **limits)
        used.worker.connected()
        used.serve()
        running = asyncio.create_task(used.worker.run())
        try:
            await settled()
            await scenario(used)
        finally:
            await used.worker.leave(0.0, 0.0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_in_virtual_time(scene())


async def settled() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


def status(name: str, cost: float, **changed: Any) -> WorkerStatus:
    base = WorkerStatus(name, 1, 1, 0, cost, "default", "tiny.en", frozenset({"en"}))
    return replace(base, **changed)


# Taking jobs --------------------------------------------------------------------------------


def test_a_job_is_done_told_to_its_gateway_and_only_then_acknowledged() -> None:
    async def scenario(bench: Bench) -> None:
        (delivery,) = bench.stream.publish(job(7))
        await settled()
        (spoken,) = bench.pool.utterances
        assert (spoken.id, spoken.audio.data, delivery.said) == ("of room7", SECOND, [])
        bench.answer(heard("Lights on."))
        assert delivery.said == []
        await settled()
        (result,) = bench.stream.results
        assert (result.number, result.worker, result.verdict) == (7, "pc", heard("Lights on."))
        assert delivery.said == ["ack"]
        assert (bench.worker.status.done, bench.worker.status.failed) == (1, 0)

    play(scenario)


def test_the_gateway_alone_decides_how_old_speech_may_be() -> None:
    async def scenario(bench: Bench) -> None:
        old = replace(job(1).utterance, age_s=100.0)
        bench.stream.publish(replace(job(1), utterance=old))
        await settled()
        assert [spoken.id for spoken in bench.pool.utterances] == ["of room1"]
        bench.answer()
        await settled()
        assert bench.stream.results[0].verdict == heard()

    play(scenario, max_age_s=30.0)


def test_an_error_is_a_result_too() -> None:
    async def scenario(bench: Bench) -> None:
        (delivery,) = bench.stream.publish(job(1))
        await settled()
        bench.answer(CorruptAudioError("no header"))
        await settled()
        assert isinstance(bench.stream.results[0].verdict, CorruptAudioError)
        assert delivery.said == ["ack"]
        assert (bench.worker.status.done, bench.worker.status.failed) == (0, 1)

    play(scenario)


def test_a_worker_pulls_once_for_each_free_thread_and_takes_nothing_before_one_is_free() -> None:
    async def scenario(bench: Bench) -> None:
        assert len(bench.stream.open_pulls) == 2
        bench.stream.publish(*map(job, range(5)))
        await settled()
        assert [len(batch.utterances) for batch in bench.pool.submitted] == [1, 1]
        assert len(bench.stream.waiting) == 3
        assert bench.stream.open_pulls == []
        bench.answer()
        await settled()
        assert (len(bench.pool.submitted), len(bench.stream.waiting)) == (2, 2)
        for _ in range(4):
            bench.answer()
            await settled()
        assert sorted(bench.told) == [0, 1, 2, 3, 4]
        assert len(bench.stream.open_pulls) == 2

    play(scenario, 2)


def test_what_waits_is_transcribed_together_as_far_as_a_thread_may() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.publish(*map(job, range(7)))
        await settled()
        assert [len(batch.utterances) for batch in bench.pool.submitted] == [3]
        assert bench.pool.submitted[0].together == 3
        bench.answer()
        await settled()
        assert [len(batch.utterances) for batch in bench.pool.submitted] == [3]
        assert len(bench.stream.waiting) == 1

    play(scenario, 1, 3)


def test_threads_that_are_free_together_take_one_job_each() -> None:
    async def scenario(bench: Bench) -> None:
        assert [pull.count for pull in bench.stream.open_pulls] == [1, 1]
        bench.stream.publish(*map(job, range(6)))
        await settled()
        assert [len(batch.utterances) for batch in bench.pool.submitted] == [1, 1]
        bench.answer()
        await settled()
        assert [len(batch.utterances) for batch in bench.pool.submitted] == [1, 3]
        assert len(bench.stream.waiting) == 1

    play(scenario, 2, 3)


def test_a_worker_takes_nothing_until_its_model_is_loaded_and_the_servers_are_there() -> None:
    async def scene() -> None:
        bench = Bench()
        bench.stream.publish(job(1))
        bench.worker.connected()
        assert bench.worker.status.threads == 0
        await settled()
        assert bench.stream.pulls == []
        bench.worker.lost()
        bench.serve()
        await settled()
        assert bench.stream.pulls == []
        bench.worker.connected()
        await settled()
        assert len(bench.pool.submitted) == 1
        await bench.worker.leave(0.0, 0.0)

    run_in_virtual_time(scene())


def test_a_lost_connection_ends_the_pulls_and_the_next_one_has_new_ones() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.lost()
        bench.stream.lose()
        await asyncio.sleep(5)
        assert bench.stream.open_pulls == []
        bench.worker.connected()
        await settled()
        assert len(bench.stream.open_pulls) == 1

    play(scenario)


def test_a_refused_pull_is_not_repeated_in_a_hurry() -> None:
    async def scenario(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(10):
            bench.stream.open_pulls[0].give([])
            await settled()
            await asyncio.sleep(0.021)
        assert loop.time() - begun >= 0.2
        bench.stream.broken = True
        pulls = len(bench.stream.pulls)
        bench.stream.open_pulls[0].give([])
        await asyncio.sleep(5)
        bench.stream.broken = False
        await asyncio.sleep(1)
        assert len(bench.stream.pulls) == pulls + 1

    play(scenario)


def test_a_message_of_another_version_is_deleted_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(bench: Bench) -> None:
        garbage, good = bench.stream.publish(FakeDelivery(b"\0\0\0\2{}"), job(1))
        await settled()
        bench.answer()
        await settled()
        assert (garbage.said, good.said, bench.told) == (["term"], ["ack"], [1])
        assert (bench.worker.status.done, bench.worker.status.failed) == (1, 1)

    play(scenario)
    assert "run one version of stt-mqtt" in caplog.text


def test_a_job_that_comes_again_while_it_is_held_is_not_done_twice() -> None:
    async def scenario(bench: Bench) -> None:
        (first,) = bench.stream.publish(job(1))
        await settled()
        (again,) = bench.stream.publish(replace(job(1), attempt=2))
        await settled()
        assert len(bench.pool.submitted) == 1
        bench.answer()
        await settled()
        assert (bench.told, first.said, again.said) == ([1], [], ["ack"])

    play(scenario, 2)


def test_audio_in_the_object_store_is_fetched_or_the_job_is_given_back() -> None:
    async def scenario(bench: Bench) -> None:
        there = FakeDelivery(_stored(1), audio=b"sound")
        gone = FakeDelivery(_stored(2))
        bench.stream.publish(there, gone)
        await settled()
        assert [spoken.audio.data for spoken in bench.pool.utterances] == [b"sound"]
        assert gone.said == [("nak", 0.5)]

    play(scenario, 2)


def test_while_audio_is_fetched_the_other_jobs_are_done_and_all_are_kept_alive() -> None:
    async def scenario(bench: Bench) -> None:
        slow, gone = _Slow(_stored(1), audio=b"sound"), _Slow(_stored(2), audio=b"no sound")
        quick = FakeDelivery(encode_job(job(3)))
        bench.stream.publish(slow, gone, quick)
        await settled()
        assert [spoken.id for spoken in bench.pool.utterances] == ["of room3"]
        assert bench.stream.open_pulls == []
        await asyncio.sleep(8.5)
        assert slow.said == gone.said == quick.said == ["working"] * 8
        gone.audio = None
        gone.fetched.set()
        await settled()
        assert gone.said[-1] == ("nak", 0.5)
        bench.answer()
        slow.fetched.set()
        await settled()
        assert [spoken.audio.data for spoken in bench.pool.utterances] == [b"sound"]
        bench.answer()
        await settled()
        assert (sorted(bench.told), slow.said[-1], quick.said[-1]) == ([1, 3], "ack", "ack")
        assert len(bench.stream.open_pulls) == 1

    play(scenario, 1, 3)


def _stored(number: int) -> bytes:
    return encode_job(replace(job(number), stored=True))


def test_a_retry_of_doubtful_text_needs_the_consent_of_the_gateway() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.publish(replace(job(1), may_retry=False), job(2))
        await settled()
        assert [batch.may_retry for batch in bench.pool.submitted] == [False, True]

    play(scenario, 2)


# Keeping and ending jobs -----------------------------------------------------------------------


def test_the_servers_hear_three_times_per_ack_wait_that_a_job_is_being_done() -> None:
    async def scenario(bench: Bench) -> None:
        (delivery,) = bench.stream.publish(job(1))
        await asyncio.sleep(9.5)
        assert delivery.said == ["working"] * 9
        bench.answer()
        await asyncio.sleep(5)
        assert delivery.said == [*["working"] * 9, "ack"]

    play(scenario)


def test_a_result_that_comes_too_late_is_acknowledged_as_well() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.answers["hall"] = False
        (delivery,) = bench.stream.publish(job(1))
        await settled()
        bench.answer()
        await settled()
        assert delivery.said == ["ack"]

    play(scenario)


def test_a_gateway_that_does_not_answer_is_gone_after_three_tries_within_ack_wait() -> None:
    async def scenario(bench: Bench) -> None:
        del bench.stream.answers["hall"]
        (delivery,) = bench.stream.publish(job(1))
        await settled()
        began = asyncio.get_running_loop().time()
        bench.answer()
        await asyncio.sleep(3.5)
        assert [round(at - began, 3) for at in bench.stream.told] == [0.0, 1.0, 2.0]
        assert [said for said in delivery.said if said != "working"] == ["ack"]
        assert bench.stream.results == []

    play(scenario)


def test_a_result_waits_for_servers_that_are_away_while_its_worker_goes_on() -> None:
    async def scenario(bench: Bench) -> None:
        (delivery,) = bench.stream.publish(job(1))
        await settled()
        bench.worker.lost()
        bench.answer()
        await asyncio.sleep(8)
        assert bench.stream.told == []
        bench.worker.connected()
        await settled()
        assert (bench.told, delivery.said[-1]) == ([1], "ack")

    play(scenario)


def test_a_connection_that_breaks_while_a_result_is_told_is_tried_again() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.publish(job(1))
        await settled()
        bench.stream.broken = True
        bench.answer()
        await settled()
        bench.stream.broken = False
        await asyncio.sleep(1.1)
        assert bench.told == [1]

    play(scenario)


def test_a_thread_that_hangs_ends_its_job_and_the_worker_says_when_none_is_left() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.publish(job(1), job(2))
        await asyncio.sleep(3.5)
        verdicts = [result.verdict for result in bench.stream.results]
        assert len(verdicts) == 2
        assert all(isinstance(verdict, InferenceTimeoutError) for verdict in verdicts)
        assert bench.worker.stuck.is_set()
        assert bench.worker.status.threads == 0

    play(scenario, 2, inference_timeout_s=2.0)


# Which jobs are for this worker --------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "priority"),
    [(0.001, 0), (0.0125, 0), (0.02, 1), (0.1, 3), (0.2, 4), (0.4, 5), (6.0, 9), (50.0, 9)],
)
def test_each_doubling_of_the_cost_is_one_priority(cost: float, priority: int) -> None:
    assert priority_of(cost) == priority


def test_a_pull_has_the_priority_of_the_cost() -> None:
    async def scenario(bench: Bench) -> None:
        assert bench.stream.open_pulls[0].priority == priority_of(0.1)

    play(scenario)


def test_the_cost_follows_what_jobs_take() -> None:
    meter = CostMeter()
    meter.restart(0.5)
    assert meter.cost == 0.5
    for _ in range(60):
        meter.note(work_s=0.2, audio_s=2.0)
    assert meter.cost == pytest.approx(0.1, rel=0.02)


def test_a_job_that_takes_too_long_here_is_given_once_to_a_faster_worker() -> None:
    slow, fast = status("pi", 2.0), status("pc", 0.1)
    long = job(1, left_s=10.0, seconds=8.0)
    refused = refusal(long, 1, 3, slow, [fast])
    assert refused is not None
    assert refused.delay_s == 0.0
    busy = refusal(long, 1, 3, slow, [replace(fast, busy=1)])
    assert busy is not None
    assert busy.delay_s == pytest.approx(0.8)
    assert refusal(long, 2, 3, slow, [fast]) is None
    assert refusal(long, 1, 3, slow, []) is None
    assert refusal(long, 1, 3, slow, [status("nas", 1.9)]) is None
    assert refusal(long, 1, 3, slow, [replace(fast, leaving=True)]) is None
    assert refusal(job(1, left_s=10.0, seconds=4.0), 1, 3, slow, [fast]) is None


def test_a_job_in_a_language_that_the_worker_lacks_is_given_to_one_that_has_it() -> None:
    english, german = status("pi", 0.1), status("pc", 0.1, languages=frozenset({"de", "en"}))
    spoken = job(1, language="de-AT")
    for attempt in (1, 2):
        assert refusal(spoken, attempt, 3, english, [german]) is not None
    # The last delivery ends it with an error.
    assert refusal(spoken, 3, 3, english, [german]) is None
    assert refusal(spoken, 1, 3, english, [status("nas", 0.1)]) is None
    assert refusal(spoken, 1, 3, german, [english]) is None
    assert refusal(spoken, 1, 3, replace(english, languages=frozenset()), [german]) is None


def test_a_job_whose_language_is_to_be_detected_is_for_workers_that_have_one_of_them() -> None:
    english = status("pi", 0.1)
    german = status("pc", 0.1, languages=frozenset({"de"}))
    spoken = replace(job(1), utterance=replace(job(1).utterance, language=None))
    assert refusal(spoken, 1, 3, english, [german]) is None
    among = replace(spoken, utterance=replace(spoken.utterance, languages=("de", "fr")))
    assert refusal(among, 1, 3, english, [german]) is not None
    assert refusal(among, 1, 3, german, [english]) is None


class _GivenBack(FakeDelivery):
    """A job in German, which the stream delivers again when it is given back."""

    def __init__(self, stream: FakeStream, number: int = 1, attempt: int = 1) -> None:
        super().__init__(encode_job(job(number, language="de")), attempt)
        self.stream, self.number = stream, number
        self.open_pulls: int | None = None
        """Pulls that waited when it was given back."""

    async def nak(self, delay_s: float) -> None:
        await super().nak(delay_s)
        self.open_pulls = len(self.stream.open_pulls)
        again = _GivenBack(self.stream, self.number, self.attempt + 1)
        asyncio.get_running_loop().call_later(delay_s, self.stream.publish, again)


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_job_in_a_foreign_language_gets_to_a_slower_worker_that_has_it(is_busy: bool) -> None:
    async def scenario(english: Bench) -> None:
        stream = english.stream
        german = Bench(1, 1, stream, "nas")
        german.serve(1.6, "de", "en")
        if not is_busy:
            german.worker.connected()
            await settled()
        status = replace(german.worker.status, busy=int(is_busy))
        english.worker.heard(encode_worker(status))
        assert [pull.priority for pull in stream.open_pulls] == [3, 3, 7][: 3 - is_busy]
        first = _GivenBack(stream)
        stream.publish(first)
        await settled()
        assert first.said == [("nak", float(is_busy))]
        if is_busy:
            await asyncio.sleep(1.1)
            german.worker.connected()
            await settled()
        assert [spoken.id for spoken in german.pool.utterances] == ["of room1"]
        assert english.pool.submitted == []
        await german.worker.leave(0.0, 0.0)

    play(scenario, 2)


def test_before_a_worker_gives_a_job_back_it_withdraws_its_pulls_and_then_rests() -> None:
    async def scenario(bench: Bench) -> None:
        for delay_s, busy in ((0.0, 0), (0.8, 1)):
            able = status("nas", 0.8, languages=frozenset({"de"}), busy=busy)
            bench.worker.heard(encode_worker(able))
            refused = _GivenBack(bench.stream)
            bench.stream.open_pulls[0].give([refused])
            await settled()
            assert (refused.said, refused.open_pulls) == ([("nak", delay_s)], 0)
            bench.worker.lost()
            bench.worker.connected()
            await asyncio.sleep(delay_s + 0.19)
            assert bench.stream.open_pulls == []
            bench.stream.waiting.clear()
            await asyncio.sleep(0.02)
            assert len(bench.stream.open_pulls) == 3

    play(scenario, 3)


def test_what_is_on_its_way_to_a_withdrawn_pull_is_done_or_given_back_like_anything_else() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.heard(encode_worker(status("nas", 0.8, languages=frozenset({"de"}))))
        first, second = _GivenBack(bench.stream, 1), _GivenBack(bench.stream, 2)
        mine = FakeDelivery(encode_job(job(3)))
        pulls = bench.stream.open_pulls
        pulls[1].coming, pulls[2].coming = [second], [mine]
        pulls[0].give([first])
        await settled()
        assert first.said == second.said == [("nak", 0.0)]
        assert first.open_pulls == second.open_pulls == 0
        assert [spoken.id for spoken in bench.pool.utterances] == ["of room3"]
        assert mine.said == []
        bench.stream.waiting.clear()
        await asyncio.sleep(0.25)
        assert len(bench.stream.open_pulls) == 2

    play(scenario, 3)


def test_a_pull_that_is_being_made_is_withdrawn_before_a_job_is_given_back() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.heard(encode_worker(status("nas", 0.8, languages=frozenset({"de"}))))
        waiting = bench.stream.open_pulls[0]
        bench.stream.slow = asyncio.Event()
        bench.stream.open_pulls[1].give([])
        await asyncio.sleep(0.1)
        refused = _GivenBack(bench.stream)
        waiting.give([refused])
        await settled()
        said = list(refused.said)
        bench.stream.slow.set()
        await settled()
        assert said == []
        assert (refused.said, refused.open_pulls) == ([("nak", 0.0)], 0)

    play(scenario, 2)


def test_of_several_jobs_that_come_together_the_foreign_ones_are_given_back() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.heard(encode_worker(status("nas", 0.8, languages=frozenset({"de"}))))
        foreign, mine = bench.stream.publish(_GivenBack(bench.stream), job(2))
        await settled()
        assert [spoken.id for spoken in bench.pool.utterances] == ["of room2"]
        assert (foreign.said, mine.said) == ([("nak", 0.0)], [])
        bench.answer()
        await settled()
        assert mine.said == ["ack"]
        bench.stream.waiting.clear()
        await asyncio.sleep(0.25)
        assert len(bench.stream.open_pulls) == 1

    play(scenario, 1, 3)


def test_a_worker_that_rests_leaves_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.heard(encode_worker(status("nas", 9.0, languages=frozenset({"de"}), busy=1)))
        bench.stream.publish(_GivenBack(bench.stream))
        await settled()
        began = asyncio.get_running_loop().time()
        await bench.worker.leave(10.0, 1.0)
        assert asyncio.get_running_loop().time() == began

    play(scenario)


def test_a_worker_knows_the_others_by_their_heartbeats_and_forgets_them() -> None:
    async def scenario(bench: Bench) -> None:
        bench.worker.heard(encode_worker(status("fast", 0.01)))
        bench.worker.heard(encode_worker(bench.worker.status))
        bench.worker.heard(b"{}")
        assert [other.worker for other in bench.worker.others] == ["fast"]
        (delivery,) = bench.stream.publish(job(1, left_s=0.5, seconds=20.0))
        await settled()
        assert delivery.said == [("nak", 0.0)]
        await asyncio.sleep(3)
        assert bench.worker.others == []

    play(scenario)


def test_a_worker_complains_once_a_minute_about_another_one_with_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(bench: Bench) -> None:
        namesake = replace(bench.worker.status, instance="another")
        bench.worker.heard(encode_worker(bench.worker.status))
        bench.worker.heard(encode_worker(replace(namesake, leaving=True)))
        assert caplog.messages == []
        for _ in range(3):
            bench.worker.heard(encode_worker(namesake))
        assert len(caplog.messages) == 1
        await asyncio.sleep(60)
        bench.worker.heard(encode_worker(namesake))
        assert len(caplog.messages) == 2
        assert "also called pc" in caplog.text
        assert "fleet.node" in caplog.text

    play(scenario)


def test_two_processes_with_one_name_tell_different_instances() -> None:
    async def scenario(bench: Bench) -> None:
        assert bench.worker.status.instance == bench.worker.status.instance
        assert bench.worker.status.instance != Bench().worker.status.instance

    play(scenario)


def test_a_worker_has_its_share_of_what_waits_at_the_gateways() -> None:
    backlog = Backlog()
    own, twice = status("a", 0.2), status("b", 0.1)
    assert backlog.share(own, [twice], 0.0) == (0, 0.0)
    backlog.note(replace(job(1), waiting=30, waiting_s=90.0), 0.0)
    backlog.note(replace(job(2), gateway="attic", waiting=6, waiting_s=6.0), 1.0)
    waiting, waiting_s = backlog.share(own, [twice], 1.0)
    assert waiting == 12
    assert waiting_s == pytest.approx(32.0)
    assert backlog.share(own, [], 1.0)[0] == 36
    assert backlog.share(own, [twice], 5.5)[0] == 2
    assert backlog.share(replace(own, threads=0), [], 5.5)[0] == 6


def test_the_worker_knows_its_share_from_the_jobs_themselves() -> None:
    async def scenario(bench: Bench) -> None:
        bench.stream.publish(replace(job(1), waiting=4, waiting_s=8.0))
        await settled()
        assert bench.worker.backlog == (4, 8.0)

    play(scenario)


# Heartbeats and the end ------------------------------------------------------------------------


def test_a_heartbeat_comes_every_second_and_when_a_thread_begins_or_ends() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(3.05)
        beats = bench.stream.heartbeats
        assert [round(at, 2) for at, _ in beats][-3:] == [1.0, 2.0, 3.0]
        bench.stream.publish(job(1))
        await asyncio.sleep(0.11)
        assert (round(beats[-1][0], 2), beats[-1][1].busy) == (3.1, 1)
        for number in range(2, 100):
            bench.answer()
            bench.stream.publish(job(number))
            await asyncio.sleep(0.01)
        told = [at for at, _ in beats if at > 3.2]
        assert len(told) <= 11
        bench.answer()
        await asyncio.sleep(0.2)
        assert (beats[-1][1].busy, beats[-1][1].done) == (0, 99)

    play(scenario)


def test_a_worker_that_leaves_says_so_gives_back_what_waits_and_ends_what_runs() -> None:
    async def scenario(bench: Bench) -> None:
        same_room = replace(job(2), utterance=job(1).utterance)
        running, queued = bench.stream.publish(job(1), same_room)
        await settled()
        assert len(bench.pool.submitted) == 1
        leaving = asyncio.create_task(bench.worker.leave(10.0, 1.0))
        await settled()
        assert bench.stream.heartbeats[-1][1].leaving
        assert bench.stream.open_pulls == []
        assert queued.said == [("nak", 0.0)]
        await asyncio.sleep(5)
        assert not leaving.done()
        bench.answer()
        await leaving
        assert (bench.told, running.said[-1]) == ([1], "ack")
        bench.stream.publish(job(3))
        await asyncio.sleep(1)
        assert len(bench.stream.waiting) == 1

    play(scenario, 2)


def test_what_is_not_done_within_the_grace_time_is_given_to_others() -> None:
    async def scenario(bench: Bench) -> None:
        (delivery,) = bench.stream.publish(job(1))
        await settled()
        await bench.worker.leave(2.0, 1.0)
        assert delivery.said[-1] == ("nak", 0.0)
        bench.answer()
        await settled()
        assert bench.told == []

    play(scenario)


def test_a_worker_without_work_leaves_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await bench.worker.leave(10.0, 1.0)
        assert loop.time() == began

    play(scenario)


def test_a_job_that_comes_while_its_worker_leaves_is_given_back() -> None:
    async def scenario(bench: Bench) -> None:
        late = _Slow(_stored(1), audio=b"sound")
        bench.stream.publish(late)
        await settled()
        leaving = asyncio.create_task(bench.worker.leave(10.0, 1.0))
        await settled()
        late.fetched.set()
        await leaving
        assert late.said[-1] == ("nak", 0.0)
        assert bench.pool.submitted == []

    play(scenario)


class _Slow(FakeDelivery):
    """Its audio comes when the test says so."""

    def __init__(self, data: bytes, audio: bytes) -> None:
        super().__init__(data, audio=audio)
        self.fetched = asyncio.Event()

    async def fetch_audio(self) -> bytes:
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await self.fetched.wait()
        return await super().fetch_audio()
