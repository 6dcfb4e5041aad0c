"""Glimpses: transcriptions of utterances that are still open, and the turns that they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stt_mqtt.config import Config
from stt_mqtt.core.filters import LATE_CHUNK_WINDOW_S
from stt_mqtt.core.listening import COMPLETE_S, GLIMPSE_S
from stt_mqtt.core.running import GLIMPSE_PATIENCE_S
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import SettingsChange
from stt_mqtt.core.speculation import MAX_POSTPONED
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    Completion,
    DeviceKey,
    DeviceState,
    Endpointing,
    EndReason,
    InferenceResult,
    Outcome,
    OutcomeKind,
    TurnEnd,
    Utterance,
    UtteranceStart,
    Verdict,
)
from tests.core.speech import BYTES_PER_S, CHUNK_S, WORDS, chunks_of, found, quiet
from tests.fakes import FakeClock, FakePool, RecordingOutlet, engine_facts, heard, nothing_heard

KITCHEN = DeviceKey("native", "kitchen")
BEDROOM = DeviceKey("native", "bedroom")
PAUSE = quiet(0.24)
"""Silence after which a glimpse is due."""
HELD_BACK_S = 0.5
"""Time without a chunk after which a glimpse is due, and the end of a complete phrase."""
SERVICE_ENDS = TurnEnd(Endpointing.PHRASES, pause_s=0.7, no_speech_s=8.0)
PATIENT = {"device_defaults": {"endpointing": "silence"}}


class Bench:
    """A service with a device that speaks in real time."""

    def __init__(self, workers: int = 2, **config: Any) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.outlet = RecordingOutlet()
        self.service = SpeechService(Config.model_validate(config), engine_facts(), self.clock)
        if workers:
            self.service.attach_pool(self.pool, Capacity(workers, max_batch=4))
        self.service.attach("native", self.outlet)
        self.service.add_observer("native", self.outlet)

    def start(self, key: DeviceKey = KITCHEN, id: str = "a", **start: Any) -> None:
        self.service.start(key, UtteranceStart(id=id, **start))

    def say(self, pcm: bytes, key: DeviceKey = KITCHEN) -> None:
        for chunk in chunks_of(pcm):
            self.pass_time(len(chunk) / BYTES_PER_S)
            self.service.chunk(key, chunk, None, None)

    def pass_time(self, seconds: float) -> None:
        """Time in which the service does all that is due, when it is due."""
        until = self.clock.now() + seconds
        for _ in range(100):
            deadline = self.service.deadline
            if deadline is None or deadline > until:
                break
            self.clock.advance(max(deadline - self.clock.now(), 0.0))
            self.service.tick()
        else:
            raise AssertionError("something is always due and never done")
        self.clock.advance(until - self.clock.now())

    def stop(self, key: DeviceKey = KITCHEN, id: str | None = None) -> None:
        self.service.stop(key, id, None)

    def answer(self, verdict: Verdict | None = None) -> None:
        self.pool.answer(self.service, verdict or heard())

    def submit_single(self, key: DeviceKey) -> None:
        self.service.single(key, WORDS, UtteranceStart(id=f"single of {key.name}"))

    @property
    def running(self) -> list[tuple[str, EndReason | None]]:
        """What the threads do: the ids, and why the utterances ended; None: it is a glimpse."""
        return [(item.id, item.end) for item in self.pool.utterances]

    @property
    def outcomes(self) -> list[tuple[str | None, EndReason | None]]:
        return [(outcome.id, outcome.end) for outcome in self.outlet.outcomes]

    @property
    def last(self) -> Outcome:
        return self.outlet.outcomes[-1]

    @property
    def used_bytes(self) -> int:
        return self.service.budget.used_bytes

    @property
    def is_listening(self) -> bool:
        device = self.service.registry.find(KITCHEN)
        return device is not None and device.listening


GLIMPSED = [("a", None)]


def glimpsing(**more: Any) -> Bench:
    """A bench where a glimpse of an utterance runs."""
    bench = Bench(**more)
    bench.start()
    bench.say(WORDS + PAUSE)
    assert bench.running == GLIMPSED
    return bench


# When a glimpse is taken -----------------------------------------------------------------------


def test_a_pause_is_glimpsed_once_and_a_glimpse_has_no_outcome() -> None:
    bench = glimpsing()
    (utterance,) = bench.pool.utterances
    assert utterance.audio.data == (WORDS + PAUSE)[: len(utterance.audio.data)]
    assert len(utterance.audio.data) >= len(WORDS)
    bench.say(quiet(0.6))
    assert bench.running == GLIMPSED
    bench.answer()
    bench.say(quiet(0.6))
    assert bench.pool.submitted == []
    assert bench.outlet.outcomes == []
    assert bench.outlet.states == [DeviceState.LISTENING]
    assert bench.service.metrics.glimpses == 1
    assert bench.service.metrics.wasted_s == pytest.approx(0.08)
    assert bench.service.metrics.inferences == 0


def test_a_device_that_holds_silence_back_is_glimpsed_when_its_next_chunk_is_late() -> None:
    bench = Bench()
    bench.start()
    bench.say(WORDS)
    bench.pass_time(CHUNK_S + GLIMPSE_S - 0.1)
    assert bench.pool.submitted == []
    bench.pass_time(0.2)
    assert bench.running == GLIMPSED


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_nothing_is_glimpsed_while_something_final_waits(workers: int) -> None:
    bench = Bench(workers, limits={"max_queue_age_s": 60})
    for number in range(3 * max(workers, 1)):
        bench.service.scheduler.max_batch = 1
        bench.submit_single(DeviceKey("native", f"room-{number}"))
    bench.start()
    bench.say(WORDS + PAUSE)
    assert None not in [end for _, end in bench.running]
    assert len(bench.pool.submitted) == workers


@pytest.mark.parametrize(("workers", "glimpses"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_glimpses_never_take_the_last_of_several_threads(workers: int, glimpses: int) -> None:
    bench = Bench(workers)
    for number in range(6):
        key = DeviceKey("native", f"room-{number}")
        bench.start(key, f"{number}")
        for chunk in chunks_of(WORDS + PAUSE):
            bench.service.chunk(key, chunk, None, None)
    assert len(bench.running) == glimpses
    bench.submit_single(BEDROOM)
    assert (len(bench.running) > glimpses) is (workers > 1)


def test_nothing_is_glimpsed_of_a_device_whose_last_utterance_is_not_answered() -> None:
    bench = Bench(workers=4)
    bench.submit_single(KITCHEN)
    bench.start()
    bench.say(WORDS + PAUSE)
    assert bench.running == [("single of kitchen", EndReason.SINGLE)]
    bench.answer()
    bench.say(PAUSE)
    assert bench.pool.submitted == []
    bench.say(WORDS + PAUSE)
    assert bench.running == GLIMPSED


def test_nothing_is_glimpsed_for_which_there_is_no_memory() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_utterance_kib": 1024, "max_utterance_s": 60})
    bench.start()
    bench.say(quiet(16.8) + WORDS + PAUSE)
    assert bench.is_listening
    assert bench.pool.submitted == []
    assert bench.used_bytes == len(quiet(16.8) + WORDS + PAUSE)


def test_nothing_is_glimpsed_after_the_cap_or_while_a_chunk_is_missing() -> None:
    bench = Bench(device_defaults={"on_cap": "truncate"}, limits={"max_utterance_s": 1.0})
    bench.start()
    bench.say(WORDS)
    bench.pass_time(HELD_BACK_S)
    assert bench.is_listening
    assert bench.pool.submitted == []
    bench = Bench()
    bench.start(sequenced=True)
    for number, chunk in enumerate(chunks_of(WORDS)):
        numbered = (number + (number > 15)).to_bytes(4, "little") + chunk
        bench.service.chunk(KITCHEN, numbered, None, None)
    bench.pass_time(HELD_BACK_S)
    assert bench.pool.submitted == []


def test_nothing_is_glimpsed_while_late_chunks_are_awaited() -> None:
    bench = Bench()
    bench.start()
    bench.say(WORDS)
    bench.service.stop(KITCHEN, None, 1000)
    bench.pass_time(0.19)
    assert bench.pool.submitted == []
    bench.pass_time(0.1)
    assert bench.running == [("a", EndReason.STOP)]


def test_files_are_not_listened_to() -> None:
    bench = Bench()
    bench.start(format=AudioFormat(Codec.OGG))
    bench.say(b"OggS" + bytes(30_000))
    bench.pass_time(HELD_BACK_S)
    assert bench.pool.submitted == []


# The final utterance ---------------------------------------------------------------------------


def test_the_final_utterance_waits_for_its_glimpse_and_has_what_it_found() -> None:
    bench = glimpsing()
    (glimpse,) = bench.pool.utterances
    bench.stop()
    assert bench.running == GLIMPSED
    bench.answer()
    assert bench.running == [("a", EndReason.STOP)]
    (final,) = bench.pool.utterances
    assert final.memo is glimpse.memo is not None
    bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]


def test_the_final_utterance_does_not_wait_if_the_speaker_went_on_after_the_glimpse() -> None:
    bench = glimpsing()
    bench.say(WORDS)
    bench.stop()
    assert bench.running == [*GLIMPSED, ("a", EndReason.STOP)]
    bench.pool.submitted.reverse()
    bench.answer()
    bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.service.scheduler.may_glimpse(KITCHEN)
    assert bench.used_bytes == 0


def test_the_final_utterance_does_not_wait_for_a_glimpse_of_an_earlier_pause() -> None:
    bench = glimpsing()
    bench.say(WORDS + quiet(1.0))
    assert bench.running == GLIMPSED
    bench.stop()
    assert bench.running == [*GLIMPSED, ("a", EndReason.STOP)]


def test_the_next_utterance_does_not_wait_for_a_glimpse_of_one_that_was_aborted() -> None:
    bench = glimpsing()
    bench.service.abort(KITCHEN, None)
    bench.start(id="b")
    bench.say(WORDS + PAUSE)
    bench.stop()
    assert bench.running == [*GLIMPSED, ("b", EndReason.STOP)]


def test_a_pause_during_a_glimpse_is_glimpsed_after_it() -> None:
    bench = glimpsing()
    bench.say(WORDS + quiet(1.0))
    bench.answer(found())
    assert bench.running == GLIMPSED
    assert bench.is_listening
    (glimpse,) = bench.pool.utterances
    assert len(glimpse.audio.data) > 2 * len(WORDS)


def pause_together(bench: Bench, rooms: int) -> None:
    """Several rooms speak and pause at the same time, and hold silence back."""
    keys = [DeviceKey("native", f"room-{number}") for number in range(rooms)]
    for key in keys:
        bench.start(key, key.name)
    for chunk in chunks_of(WORDS + quiet(0.12)):
        bench.pass_time(len(chunk) / BYTES_PER_S)
        for key in keys:
            bench.service.chunk(key, chunk, None, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_rooms_that_pause_together_are_glimpsed_one_after_the_other(workers: int) -> None:
    bench = Bench(workers, **PATIENT)
    pause_together(bench, 3)
    bench.pass_time(0.2)
    for room in ("room-0", "room-1", "room-2"):
        assert bench.running == [(room, None)]
        bench.answer()
    assert bench.pool.submitted == []
    assert bench.service.metrics.glimpses == 3


def test_a_glimpse_that_waits_for_another_is_given_up_if_something_final_comes() -> None:
    bench = Bench(1, **PATIENT)
    pause_together(bench, 2)
    bench.pass_time(0.2)
    bench.submit_single(BEDROOM)
    while bench.pool.submitted:
        bench.answer()
    bench.pass_time(1.0)
    assert bench.pool.submitted == []
    assert bench.service.metrics.glimpses == 1


def test_so_many_glimpses_wait_for_another_one() -> None:
    bench = Bench(1, **PATIENT)
    pause_together(bench, MAX_POSTPONED + 3)
    bench.pass_time(0.2)
    while bench.pool.submitted:
        bench.answer()
    assert bench.service.metrics.glimpses == 1 + MAX_POSTPONED


def test_a_batch_of_final_utterances_has_no_glimpse_in_it() -> None:
    bench = glimpsing(workers=1)
    bench.submit_single(BEDROOM)
    bench.stop()
    bench.answer()
    (batch,) = bench.pool.submitted
    assert {item.end for item in batch.utterances} == {EndReason.SINGLE, EndReason.STOP}


@pytest.mark.parametrize(
    "verdict", [InferenceFailedError("broken"), nothing_heard(), heard(""), found()]
)
def test_whatever_a_glimpse_finds_the_utterance_has_its_own_outcome(verdict: Verdict) -> None:
    bench = glimpsing(**PATIENT)
    bench.answer(verdict)
    assert bench.outlet.outcomes == []
    bench.stop()
    bench.answer(heard("On."))
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.last.transcript is not None
    assert bench.last.transcript.text == "On."
    assert bench.service.metrics.errors == {}
    assert bench.used_bytes == 0


# Threads that hang or stop -----------------------------------------------------------------------


def test_a_glimpse_that_hangs_is_given_up_and_the_final_utterance_takes_another_thread() -> None:
    bench = glimpsing(limits={"inference_timeout_s": 2.0})
    bench.stop()
    assert not bench.service.scheduler.drained
    bench.pass_time(1.7)
    assert bench.running == GLIMPSED
    bench.pass_time(0.3)
    assert not bench.service.scheduler.healthy
    assert bench.running == [*GLIMPSED, ("a", EndReason.STOP)]
    bench.answer(found())
    assert bench.service.scheduler.healthy
    assert bench.outlet.outcomes == []
    bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.used_bytes == 0


def test_a_final_utterance_does_not_expire_behind_a_glimpse_that_hangs() -> None:
    bench = glimpsing()
    bench.stop()
    bench.pass_time(GLIMPSE_PATIENCE_S - 0.2)
    assert bench.running == GLIMPSED
    bench.pass_time(0.2)
    assert bench.running == [*GLIMPSED, ("a", EndReason.STOP)]
    bench.answer(found())
    bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.used_bytes == 0


def test_a_service_that_stops_does_not_wait_for_glimpses() -> None:
    bench = glimpsing()
    assert bench.service.scheduler.drained
    bench.service.abort(KITCHEN, None)
    bench.service.shut_down()
    assert bench.service.scheduler.drained
    bench.service.abandon()
    assert bench.outcomes == [("a", None)]
    bench.answer(found())
    assert bench.outcomes == [("a", None)]
    assert bench.used_bytes == 0


def test_what_is_open_when_the_service_stops_waits_for_its_glimpse_and_is_answered() -> None:
    bench = glimpsing()
    bench.service.shut_down()
    assert not bench.service.scheduler.drained
    bench.answer()
    bench.answer()
    assert bench.outcomes == [("a", EndReason.SHUTDOWN)]
    assert bench.service.scheduler.drained


def test_what_is_abandoned_during_a_glimpse_is_answered_once() -> None:
    bench = glimpsing()
    bench.stop()
    bench.service.shut_down()
    bench.service.abandon()
    assert bench.last.error is not None
    assert bench.last.error.code == "shutting_down"
    bench.answer(found())
    assert bench.outcomes == [("a", EndReason.STOP)]
    assert bench.used_bytes == 0


# What else ends an utterance during a glimpse --------------------------------------------------


def end_by(bench: Bench, how: str) -> None:
    match how:
        case "abort":
            bench.service.abort(KITCHEN, "a")
        case "leave":
            bench.service.leave(KITCHEN)
        case "disable":
            bench.service.change_settings(KITCHEN, SettingsChange(enabled=False))
        case "reload":
            config = Config.model_validate({"devices": {"kitchen": {"enabled": False}}})
            bench.service.reconfigure(config)


@pytest.mark.parametrize("how", ["abort", "leave", "disable", "reload"])
@pytest.mark.parametrize("is_back", [False, True])
def test_what_is_aborted_during_a_glimpse_stays_so(how: str, is_back: bool) -> None:
    bench = glimpsing()
    end_by(bench, how)
    assert bench.last.kind is OutcomeKind.ABORTED
    assert bench.used_bytes == len(bench.pool.utterances[0].audio.data)
    if is_back:
        bench.service.change_settings(KITCHEN, SettingsChange(enabled=True))
        bench.start(id="b")
        bench.say(WORDS)
    bench.answer(found())
    bench.pass_time(HELD_BACK_S)
    assert bench.outcomes == [("a", None)]
    assert bench.is_listening is is_back
    bench.service.abort(KITCHEN, None)
    while bench.pool.submitted:
        bench.answer()
    assert bench.used_bytes == 0


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("restart", EndReason.RESTART),
        ("disconnect", EndReason.DISCONNECT),
        ("cap", EndReason.CAP),
        ("gap", EndReason.GAP),
    ],
)
def test_what_ends_during_a_glimpse_is_transcribed_after_it(how: str, end: EndReason) -> None:
    bench = glimpsing(limits={"max_utterance_s": 2.0}, device_defaults={"idle_timeout_ms": 1000})
    match how:
        case "restart":
            bench.start(id="b")
        case "disconnect":
            bench.service.end(KITCHEN, EndReason.DISCONNECT)
        case "cap":
            bench.say(quiet(1.0))
        case "gap":
            bench.pass_time(1.1)
    assert bench.running == GLIMPSED
    bench.answer(found())
    assert bench.running == [("a", end)]
    bench.answer()
    bench.service.abort(KITCHEN, "b")
    assert bench.outcomes[0] == ("a", end)
    assert bench.used_bytes == 0


def test_a_device_that_has_to_leave_for_another_is_not_missed_by_its_glimpse() -> None:
    bench = glimpsing(limits={"max_devices": 1})
    bench.service.abort(KITCHEN, None)
    bench.start(BEDROOM, id="b")
    assert bench.service.registry.find(KITCHEN) is None
    bench.answer(found())
    assert bench.outcomes == [("a", None)]
    assert not bench.service.scheduler.queue.is_busy(KITCHEN)


def test_the_rest_of_the_memory_for_others_is_kept_while_a_glimpse_runs() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_queued_audio_s": 1000})
    bench.start()
    bench.say(WORDS + PAUSE)
    (glimpse,) = bench.pool.utterances
    assert bench.used_bytes == len(WORDS + PAUSE) + len(glimpse.audio.data)
    bench.say(WORDS)
    bench.answer(InferenceFailedError("broken"))
    assert bench.used_bytes == len(WORDS + PAUSE + WORDS)


# The end of the turn -----------------------------------------------------------------------------


def test_a_complete_phrase_ends_the_utterance_after_a_short_silence() -> None:
    bench = glimpsing()
    ended_at = bench.clock.now()
    bench.answer(found())
    bench.pass_time(HELD_BACK_S)
    assert bench.running == [("a", EndReason.ENDPOINT)]
    (final,) = bench.pool.utterances
    assert final.ended_at - ended_at <= CHUNK_S + COMPLETE_S
    bench.answer()
    assert bench.outcomes == [("a", EndReason.ENDPOINT)]
    assert bench.last.kind is OutcomeKind.TRANSCRIPT
    assert not bench.last.incomplete


def test_a_verdict_ends_a_turn_at_once_if_the_silence_is_in_the_audio() -> None:
    bench = glimpsing()
    bench.say(quiet(0.3))
    bench.answer(found())
    assert bench.running == [("a", EndReason.ENDPOINT)]


def test_a_verdict_that_comes_after_a_standstill_does_not_cut_off_who_speaks_on() -> None:
    bench = Bench()
    bench.start()
    bench.say(WORDS)
    bench.pass_time(CHUNK_S + GLIMPSE_S + 0.03)
    assert bench.running == GLIMPSED
    bench.clock.advance(1.0)
    bench.answer(found())
    for chunk in chunks_of(WORDS[len(quiet(0.3)) :]):
        bench.service.chunk(KITCHEN, chunk, None, None)
    bench.service.tick()
    assert bench.is_listening
    assert ("a", EndReason.ENDPOINT) not in bench.running


def test_a_speaker_who_goes_on_during_the_glimpse_is_not_cut_off() -> None:
    bench = glimpsing()
    bench.say(WORDS)
    bench.answer(found())
    bench.say(quiet(0.12))
    bench.pass_time(0.03)
    assert bench.is_listening
    bench.stop()
    while bench.pool.submitted:
        bench.answer()
    assert bench.outcomes == [("a", EndReason.STOP)]


@pytest.mark.parametrize("endpointing", [Endpointing.PHRASES, Endpointing.EAGER])
@pytest.mark.parametrize("completion", [Completion.OPEN, Completion.EXTENDABLE])
def test_what_may_go_on_is_left_to_the_device(
    endpointing: Endpointing, completion: Completion
) -> None:
    bench = glimpsing(device_defaults={"endpointing": endpointing.value})
    bench.answer(found(completion))
    bench.pass_time(4.0)
    assert bench.is_listening


def test_what_was_interrupted_is_no_complete_phrase_and_can_be_sent_again_whole() -> None:
    bench = glimpsing()
    device = bench.service.registry.find(KITCHEN)
    assert device is not None
    device.interrupt()
    bench.answer(found())
    bench.pass_time(5.0)
    assert bench.running == [("a", EndReason.DISCONNECT)]
    bench.answer()
    assert bench.last.incomplete
    bench.start()
    assert bench.is_listening


def test_the_pause_of_a_door_ends_the_turn_whatever_was_said() -> None:
    bench = Bench()
    bench.start(turn_end=SERVICE_ENDS)
    bench.say(WORDS + quiet(0.6))
    bench.answer(nothing_heard())
    assert bench.is_listening
    bench.say(quiet(0.3))
    assert bench.running == [("a", EndReason.ENDPOINT)]


@pytest.mark.parametrize("turn_end", [None, SERVICE_ENDS])
def test_old_speech_is_ended_by_its_device(turn_end: TurnEnd | None) -> None:
    bench = Bench()
    bench.start(age_s=3.0, turn_end=turn_end)
    bench.say(WORDS + quiet(0.36))
    while bench.pool.submitted:
        bench.answer(found())
    bench.say(quiet(3.0) + WORDS)
    assert bench.is_listening


def test_a_door_may_end_a_turn_in_which_nobody_speaks() -> None:
    bench = Bench()
    bench.start(turn_end=SERVICE_ENDS)
    bench.say(quiet(8.1))
    assert bench.running == [("a", EndReason.ENDPOINT)]
    bench.answer(nothing_heard())
    assert bench.last.kind is OutcomeKind.NO_SPEECH


def ended_by_the_service(opened_by_chunk: bool = False, **config: Any) -> Bench:
    """A bench whose utterance a complete phrase has ended."""
    bench = Bench(**config)
    if not opened_by_chunk:
        bench.start()
    bench.say(WORDS + quiet(0.36))
    bench.answer(found())
    assert not bench.is_listening
    bench.answer()
    assert [end for _, end in bench.outcomes] == [EndReason.ENDPOINT]
    return bench


@pytest.mark.parametrize("opened_by_chunk", [False, True])
def test_chunks_after_the_end_belong_to_nobody_and_a_start_opens_the_next(
    opened_by_chunk: bool,
) -> None:
    bench = ended_by_the_service(opened_by_chunk)
    bench.say(WORDS)
    assert not bench.is_listening
    assert bench.used_bytes == 0
    bench.start(id="b")
    bench.say(WORDS)
    bench.stop(id="b")
    bench.answer()
    assert bench.outcomes[1:] == [("b", EndReason.STOP)]


def test_if_a_chunk_opened_it_the_next_one_opens_after_a_short_pause() -> None:
    bench = ended_by_the_service(opened_by_chunk=True)
    bench.say(WORDS)
    bench.pass_time(LATE_CHUNK_WINDOW_S + CHUNK_S)
    bench.say(quiet(CHUNK_S))
    assert bench.is_listening


def test_if_a_start_opened_it_chunks_are_late_until_the_idle_timeout() -> None:
    bench = ended_by_the_service(device_defaults={"idle_timeout_ms": 2000})
    for _ in range(3):
        bench.pass_time(1.9)
        bench.say(quiet(CHUNK_S))
        assert not bench.is_listening
    bench.pass_time(2.0)
    bench.say(quiet(CHUNK_S))
    assert bench.is_listening


@pytest.mark.parametrize("id", ["a", None])
def test_a_stop_after_the_end_changes_nothing(id: str | None) -> None:
    bench = ended_by_the_service()
    bench.stop(id=id)
    bench.say(quiet(CHUNK_S))
    assert len(bench.outcomes) == 1
    assert not bench.is_listening


def test_a_start_with_the_id_of_what_the_service_ended_gets_the_same_answer() -> None:
    bench = ended_by_the_service()
    bench.start()
    bench.say(WORDS + quiet(0.5))
    bench.stop()
    assert bench.outcomes == [("a", EndReason.ENDPOINT)] * 2
    assert bench.last.repeated
    assert bench.pool.submitted == []


def test_a_start_with_the_id_of_what_is_being_transcribed_gets_no_answer_of_its_own() -> None:
    bench = glimpsing()
    bench.say(quiet(0.3))
    bench.answer(found())
    bench.start()
    bench.answer()
    assert bench.outcomes == [("a", EndReason.ENDPOINT)]
    assert not bench.last.repeated


def test_an_utterance_that_was_ended_is_not_ended_again_by_its_own_glimpse() -> None:
    bench = glimpsing()
    bench.stop()
    bench.start(id="b")
    bench.say(WORDS)
    bench.answer(found())
    bench.pass_time(0.2)
    assert bench.is_listening
    assert next(id for id, _ in bench.running) == "a"


# Nothing is due for ever -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("endpointing", list(Endpointing))
@pytest.mark.parametrize("turn_end", [None, SERVICE_ENDS])
def test_after_each_tick_the_next_one_is_in_the_future(
    workers: int, endpointing: Endpointing, turn_end: TurnEnd | None
) -> None:
    own = None if turn_end is None else replace(turn_end, endpointing=endpointing)
    bench = Bench(workers, device_defaults={"endpointing": endpointing.value})
    verdicts = [found(completion) for completion in Completion]
    for number in range(12):
        bench.start(id=f"{number}", turn_end=own)
        for step, pcm in enumerate((WORDS, PAUSE, WORDS[: len(WORDS) // 2], quiet(0.4))):
            bench.say(pcm)
            if bench.pool.submitted and step + number % 2:
                bench.answer(verdicts[number % len(verdicts)])
            bench.pass_time(0.05 * number)
            bench.service.tick()
            deadline = bench.service.deadline
            assert deadline is None or deadline > bench.clock.now()
        bench.stop()


def given_to_the_engine(bench: Bench) -> Utterance:
    (utterance,) = bench.pool.utterances
    return utterance


def test_a_glimpse_asks_for_what_the_final_utterance_asks_for() -> None:
    bench = Bench(
        device_defaults={"hotwords": ["Kiri"], "area": "hall", "prompt": "Lamps.", "phrases": False}
    )
    bench.start(hotwords=("Mood",), language="en-GB")
    bench.say(WORDS + PAUSE)
    glimpse = given_to_the_engine(bench)
    bench.answer()
    bench.stop()
    final = given_to_the_engine(bench)
    for name in ("key", "id", "language", "languages", "prompt", "hotwords", "phrases", "area"):
        assert getattr(glimpse, name) == getattr(final, name), name
    assert (glimpse.hotwords, glimpse.language) == (("Kiri", "Mood"), "en-GB")


# What it costs -----------------------------------------------------------------------------------


def remembered(work_s: float) -> InferenceResult:
    """A verdict on what a glimpse has found before."""
    return replace(heard(), work_s=0.0, remembered_s=work_s)


def test_a_glimpse_whose_answer_is_used_is_not_wasted() -> None:
    bench = glimpsing(**PATIENT)
    bench.answer(replace(found(), work_s=0.3))
    assert bench.service.metrics.wasted_s == pytest.approx(0.3)
    bench.stop()
    bench.answer(remembered(0.3))
    metrics = bench.service.metrics
    assert (metrics.glimpses, metrics.remembered, metrics.inferences) == (1, 1, 1)
    assert metrics.wasted_s == pytest.approx(0.0)
    assert metrics.rtf == pytest.approx(0.3)


def test_a_glimpse_that_the_speaker_overtook_is_wasted() -> None:
    bench = glimpsing(**PATIENT)
    bench.answer(replace(found(), work_s=0.3))
    bench.say(WORDS)
    bench.stop()
    bench.answer(replace(heard(), work_s=0.5))
    metrics = bench.service.metrics
    assert (metrics.glimpses, metrics.remembered, metrics.inferences) == (1, 0, 1)
    assert metrics.open_inferences - metrics.remembered == 1
    assert metrics.wasted_s == pytest.approx(0.3)
    assert metrics.rtf == pytest.approx(0.5)


def test_a_whole_message_is_no_miss() -> None:
    bench = Bench()
    bench.submit_single(KITCHEN)
    bench.answer()
    metrics = bench.service.metrics
    assert (metrics.inferences, metrics.open_inferences) == (1, 0)


@pytest.mark.parametrize("verdict", [nothing_heard(), InferenceFailedError("broken")])
def test_a_glimpse_that_did_not_reach_the_model_wastes_nothing(verdict: Verdict) -> None:
    bench = glimpsing()
    bench.answer(verdict)
    assert (bench.service.metrics.glimpses, bench.service.metrics.wasted_s) == (1, 0.0)
