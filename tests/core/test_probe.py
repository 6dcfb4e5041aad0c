"""The probe: a recording through the running engine, which never disturbs real speech."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stt_mqtt.app.sample import SAMPLE_FILE, SAMPLE_TEXT, read_sample
from stt_mqtt.core.probe import MAX_AGE_S, PROBE, STALE_S, TIMEOUT_S, Evidence, Probe
from stt_mqtt.core.service import SpeechService
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import UtteranceStart, Verdict
from tests.core.speech import WORDS
from tests.core.test_glimpses import BEDROOM, KITCHEN, Bench
from tests.core.test_overflow import FakeFleet
from tests.fakes import engine_facts, heard, nothing_heard
from tests.virtual_time import run_in_virtual_time


def bench(workers: int = 1, **limits: Any) -> Bench:
    made = Bench(workers, limits=limits)
    made.service.probe.recording = read_sample()
    return made


def asked(made: Bench, meanwhile: Callable[[], object] = lambda: None, **how: float) -> Evidence:
    """What the probe tells if this happens while it works."""

    async def scenario() -> Evidence:
        asking = asyncio.ensure_future(made.service.probe.check(**how))
        await asyncio.sleep(0)
        meanwhile()
        return await asking

    return run_in_virtual_time(scenario())


def known(made: Bench, verdict: Verdict | None = None) -> Evidence:
    """What it tells when the threads answered the recording."""
    return asked(made, lambda: made.answer(verdict))


def test_the_recording_is_a_sample_of_the_demo() -> None:
    (sample,) = [sample for sample in SAMPLES if sample.file == SAMPLE_FILE]
    assert sample.text == SAMPLE_TEXT
    assert read_sample().data == sample.read()


def test_an_engine_that_transcribes_the_recording_works() -> None:
    made = bench()

    def work() -> None:
        (sample,) = made.pool.utterances
        assert sample.key == PROBE
        assert not sample.phrases
        made.clock.advance(0.3)
        made.answer(heard(SAMPLE_TEXT))

    found = asked(made, work)
    assert (found.at, found.problem, found.text) == (made.clock.now(), None, SAMPLE_TEXT)
    assert found.took_s == pytest.approx(0.3)


def test_the_recording_leaves_no_trace() -> None:
    made = bench()
    known(made)
    metrics = made.service.metrics
    assert made.outcomes == []
    assert made.used_bytes == 0
    assert not list(made.service.registry)
    assert made.service.scheduler.drained
    assert (metrics.inferences, metrics.glimpses, metrics.rtf) == (0, 0, None)
    assert made.service.scheduler.arrivals.read(made.clock.now()).utterances_per_s == 0


def test_it_asks_the_engine_once_a_minute() -> None:
    made = bench()
    first = known(made)
    made.clock.advance(MAX_AGE_S - 1)
    assert asked(made) == first
    made.clock.advance(1)
    assert known(made).at > first.at


def test_a_caller_may_want_it_new() -> None:
    made = bench()
    first = known(made)
    made.clock.advance(1)
    assert asked(made, made.answer, max_age_s=0).at == first.at + 1


def test_callers_at_the_same_time_share_one_recording() -> None:
    made = bench()

    async def scenario() -> list[Evidence]:
        asking = [asyncio.ensure_future(made.service.probe.check()) for _ in range(3)]
        await asyncio.sleep(0)
        (_,) = made.pool.submitted
        asking[0].cancel()
        await asyncio.sleep(0)
        made.answer()
        return [await one for one in asking[1:]]

    first, second = run_in_virtual_time(scenario())
    assert first == second
    assert first.problem is None


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (InferenceFailedError("no memory"), "the sample could not be transcribed: no memory"),
        (nothing_heard(), "the model heard no words in the sample"),
        (heard(""), "the model heard no words in the sample"),
    ],
    ids=["error", "silence", "no text"],
)
def test_it_says_what_became_of_the_recording(verdict: Verdict, problem: str) -> None:
    assert known(bench(), verdict).problem == problem


def test_an_engine_that_does_not_answer_in_time_is_not_waited_for() -> None:
    made = bench()
    found = asked(made)
    assert found.problem is not None
    assert f"not transcribed within {TIMEOUT_S:g} s" in found.problem
    made.clock.advance(TIMEOUT_S + 4)
    made.answer(heard())
    late = asked(made)
    assert late.problem is not None
    assert "14 s so far" in late.problem
    made.clock.advance(MAX_AGE_S)
    assert known(made).problem is None


def test_without_a_model_it_says_so() -> None:
    assert asked(bench(workers=0)).problem == "the model is still being loaded"


def test_an_engine_with_a_thread_that_hangs_is_not_asked() -> None:
    made = bench(workers=2)
    made.submit_single(KITCHEN)
    made.pass_time(made.service.config.limits.inference_timeout_s + 1)
    assert asked(made).problem == "an inference thread hangs"


def test_while_the_threads_work_it_does_not_disturb_them() -> None:
    made = bench()
    made.submit_single(KITCHEN)
    asked(made)
    assert len(made.pool.submitted) == 1
    made.answer()
    assert asked(made) == Evidence(made.clock.now())


def test_while_somebody_speaks_it_does_not_take_the_thread() -> None:
    made = bench()
    made.start()
    made.say(WORDS)
    asked(made)
    assert made.pool.submitted == []


def test_who_has_opened_an_utterance_but_says_nothing_does_not_keep_it_waiting() -> None:
    made = bench()
    made.service.start(KITCHEN, UtteranceStart(id="a"))
    assert known(made).problem is None


def test_real_speech_that_waits_comes_right_after_the_recording() -> None:
    made = bench()

    def speak() -> None:
        made.submit_single(KITCHEN)
        made.answer()
        ((key, _),) = [(item.key, item.id) for item in made.pool.utterances]
        assert key == KITCHEN

    assert asked(made, speak).problem is None


def test_under_load_the_last_state_counts_until_it_is_stale() -> None:
    made = bench(inference_timeout_s=3600.0)
    first = known(made)
    made.submit_single(KITCHEN)
    made.clock.advance(MAX_AGE_S)
    assert asked(made) == first
    made.clock.advance(STALE_S)
    assert asked(made) == first
    made.clock.advance(1)
    assert asked(made).problem == "people speak, but nothing was transcribed for 301 s"


def test_speech_after_a_long_silence_says_nothing_against_the_engine() -> None:
    made = bench(inference_timeout_s=3600.0)
    first = known(made)
    made.clock.advance(8 * 3600)
    made.start()
    made.say(WORDS)
    assert asked(made) == first


def test_the_first_speech_says_nothing_against_an_engine_that_was_never_tried() -> None:
    made = bench(inference_timeout_s=3600.0)
    made.clock.advance(8 * 3600)
    made.submit_single(KITCHEN)
    assert asked(made) == Evidence(made.clock.now())
    made.clock.advance(STALE_S)
    assert asked(made).problem is None
    made.clock.advance(1)
    assert asked(made).problem == "people speak, but nothing was transcribed for 301 s"


def test_time_in_which_nobody_asked_is_no_time_in_which_the_threads_were_needed() -> None:
    made = bench(inference_timeout_s=3600.0)
    made.submit_single(KITCHEN)
    asked(made)
    made.clock.advance(STALE_S + 1)
    assert asked(made).problem is None


def test_after_a_transcript_the_time_begins_anew() -> None:
    made = bench(inference_timeout_s=3600.0)
    made.submit_single(KITCHEN)
    asked(made)
    made.answer()
    made.clock.advance(STALE_S - 10)
    made.submit_single(BEDROOM)
    asked(made)
    made.clock.advance(20)
    assert asked(made).problem is None


def test_a_thread_that_was_free_for_the_recording_begins_the_time_anew() -> None:
    made = bench(inference_timeout_s=3600.0)
    made.start()
    made.say(WORDS)
    asked(made)
    made.service.abort(KITCHEN, None)
    made.clock.advance(STALE_S - 10)
    first = known(made)
    made.clock.advance(MAX_AGE_S)
    made.submit_single(KITCHEN)
    assert asked(made) == first


def test_every_real_transcript_shows_that_the_engine_works() -> None:
    made = bench(inference_timeout_s=3600.0)
    made.submit_single(KITCHEN)
    made.submit_single(BEDROOM)
    made.clock.advance(1)
    made.answer()
    assert asked(made) == Evidence(made.clock.now())
    made.answer(nothing_heard())
    made.clock.advance(MAX_AGE_S)
    assert known(made, InferenceFailedError("broken")).problem is not None


def test_it_takes_no_memory_that_is_not_there() -> None:
    made = bench()
    made.service.budget.use(KITCHEN, made.service.config.limits.max_buffered_mib * 1024 * 1024)
    asked(made)
    assert made.pool.submitted == []


def test_a_service_that_ends_answers_who_asked() -> None:
    made = bench()
    found = asked(made, made.service.abandon)
    assert found.problem == "the sample could not be transcribed: the service stops"


def test_a_gateway_tells_of_its_workers_without_asking_them() -> None:
    made = Bench(1)
    scheduler = SpeechService(made.service.config, engine_facts(), made.clock).scheduler
    probe = Probe(scheduler, made.service.registry, made.service.budget, made.clock)
    probe.recording = read_sample()
    fleet = FakeFleet()
    scheduler.attach_fleet(fleet, 1.0)

    def found() -> str | None:
        return run_in_virtual_time(probe.check()).problem

    assert found() == fleet.absence
    scheduler.resize(1, made.clock.now())
    assert found() is None
    assert not fleet.submitted
