from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config import Config
from stt_mqtt.core.device import Device
from stt_mqtt.core.outcomes import Ended, log_outcome
from stt_mqtt.core.queue import Name
from stt_mqtt.core.registry import Registry
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings, Overrides, SettingsChange
from stt_mqtt.errors import BadPayloadError, InferenceFailedError, RequestError
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.types import (
    DeviceKey,
    DeviceState,
    EndReason,
    Outcome,
    OutcomeKind,
    Utterance,
    UtteranceStart,
    Verdict,
)
from tests.audio.synth import framed, opus_packets, tone
from tests.fakes import (
    FakeClock,
    FakePool,
    RecordingOutlet,
    ScarceDecoders,
    engine_facts,
    heard,
    nothing_heard,
)

KITCHEN = DeviceKey("native", "kitchen")
BEDROOM = DeviceKey("native", "bedroom")
CHUNK = bytes(1024)


class Observer:
    """Is told outcomes, and may fail."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[Outcome] = []
        self._fails = fails

    def outcome(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        if self._fails:
            raise RuntimeError("no room for it")


class Bench:
    """A speech service with fakes around it."""

    def __init__(
        self, workers: int = 1, decoders: Decoders = IN_THIS_PROCESS, **config: Any
    ) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.outlet = RecordingOutlet()
        self.service = SpeechService(
            Config.model_validate(config), engine_facts(), self.clock, decoders=decoders
        )
        if workers:
            self.service.attach_pool(self.pool, Capacity(workers, max_batch=1))
        self.service.attach("native", self.outlet)
        self.service.add_observer("native", self.outlet)

    def speak(
        self, key: DeviceKey = KITCHEN, id: str = "a", chunks: int = 10, **start: Any
    ) -> None:
        self.service.start(key, UtteranceStart(id=id, **start))
        for _ in range(chunks):
            self.service.chunk(key, CHUNK, None, None)
        self.service.stop(key, None, None)

    def answer(self, verdict: Verdict) -> None:
        self.pool.answer(self.service, verdict)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.tick()

    def is_listening(self, key: DeviceKey) -> bool:
        device = self.service.registry.find(key)
        return device is not None and device.listening

    @property
    def last(self) -> Outcome:
        return self.outlet.outcomes[-1]


def test_a_transcript_comes_back_with_all_its_timings() -> None:
    bench = Bench()
    bench.speak()
    bench.clock.advance(0.25)
    bench.answer(heard("Turn on the light.", audio_s=0.32))
    outcome = bench.last
    assert (outcome.key, outcome.id, outcome.kind) == (KITCHEN, "a", OutcomeKind.TRANSCRIPT)
    assert outcome.transcript is not None
    assert outcome.transcript.text == "Turn on the light."
    assert (outcome.model, outcome.rung, outcome.end) == ("tiny.en", "default", EndReason.STOP)
    assert (outcome.wait_s, outcome.infer_s) == (0.0, 0.1)
    assert outcome.latency_s == pytest.approx(0.25)
    assert outcome.ts == pytest.approx(bench.clock.epoch_s - 0.25)
    assert bench.service.metrics.rtf == pytest.approx(0.08 / 0.32)


def test_the_result_names_the_model_that_heard_it_also_after_a_change_of_rung() -> None:
    bench = Bench()
    bench.speak()
    bench.service.rung_status = replace(bench.service.rung_status, active="other")
    bench.answer(replace(heard(), model="base", rung="best"))
    assert (bench.last.model, bench.last.rung) == ("base", "best")


def test_states_change_in_order_and_after_the_outcome() -> None:
    bench = Bench()
    bench.speak()
    bench.answer(heard())
    told = [value for _, value in bench.outlet.told if not isinstance(value, DeviceSettings)]
    assert told == [
        DeviceState.LISTENING,
        DeviceState.TRANSCRIBING,
        bench.last,
        DeviceState.IDLE,
    ]


def test_what_inference_gives_is_absent_when_nothing_was_inferred() -> None:
    bench = Bench()
    bench.speak()
    bench.answer(nothing_heard())
    outcome = bench.last
    assert outcome.kind is OutcomeKind.NO_SPEECH
    assert (outcome.transcript, outcome.model, outcome.rung, outcome.infer_s) == (None,) * 4
    assert bench.service.metrics.rtf is None


def test_a_model_failure_is_an_error_outcome() -> None:
    bench = Bench()
    bench.speak()
    bench.answer(InferenceFailedError("broken"))
    assert bench.last.error is not None
    assert bench.last.error.code == "inference_failed"
    assert bench.service.metrics.errors == {"inference_failed": 1}


def test_a_language_that_the_model_does_not_speak_is_refused_at_the_start() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a", language="de"))
    assert bench.last.error is not None
    assert (bench.last.id, bench.last.error.code) == ("a", "unsupported_language")
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    assert not bench.is_listening(KITCHEN)
    bench.service.single(KITCHEN, CHUNK, UtteranceStart(language="de"))
    assert bench.last.end is EndReason.SINGLE
    bench.service.start(KITCHEN, UtteranceStart(id="b", language="en-US"))
    assert bench.is_listening(KITCHEN)


def test_an_utterance_that_waits_too_long_expires() -> None:
    bench = Bench(limits={"max_queue_age_s": 10})
    bench.speak(KITCHEN, "first")
    bench.speak(BEDROOM, "second")
    assert bench.service.scheduler.deadline == pytest.approx(bench.clock.now() + 10)
    bench.pass_time(10.0)
    assert bench.last.error is not None
    assert (bench.last.id, bench.last.error.code) == ("second", "expired")
    bench.answer(heard())
    assert [outcome.id for outcome in bench.outlet.outcomes] == ["second", "first"]


def test_speech_that_is_too_old_when_it_comes_is_expired() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "spooled", age_s=31)
    assert bench.last.error is not None
    assert bench.last.error.code == "expired"
    assert bench.last.error.detail == (
        "spoken 31 s before its turn, at most 30 s are taken (limits.max_age_s)"
    )
    assert bench.pool.submitted == []


def test_a_spool_of_half_a_minute_is_taken_with_the_defaults() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "spooled", age_s=29)
    bench.answer(heard())
    assert bench.last.kind is OutcomeKind.TRANSCRIPT
    assert bench.last.age_s == 29
    assert bench.last.ts == bench.clock.epoch() - 29


def test_the_age_told_does_not_count_against_the_wait_here() -> None:
    bench = Bench()
    bench.speak(BEDROOM, "first")
    bench.speak(KITCHEN, "spooled", age_s=15)
    bench.pass_time(9.0)
    bench.answer(heard())
    bench.answer(heard())
    assert [outcome.error for outcome in bench.outlet.outcomes] == [None, None]


def test_an_id_that_was_answered_is_answered_again_and_not_run_again() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.answer(heard("Turn on the light."))
    first = bench.last
    told = len(bench.outlet.told)
    bench.clock.advance(4.0)
    bench.speak(KITCHEN, "a", context="where to reply")
    assert bench.pool.submitted == []
    assert bench.outlet.told[told:] == [("outcome", bench.last)]
    assert bench.last == replace(first, repeated=True, context="where to reply")
    assert bench.service.metrics.outcomes == {"transcript": 1}
    assert bench.service.metrics.dropped["repeated"] == 1
    device = bench.service.registry.find(KITCHEN)
    assert device is not None
    assert device.counters.utterances == 1


def test_an_id_that_waits_for_the_model_is_not_queued_twice() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "a")
    bench.speak(KITCHEN, "a")
    assert [utterance.id for utterance in bench.pool.utterances] == ["a"]
    bench.answer(heard())
    assert [outcome.id for outcome in bench.outlet.outcomes] == ["a"]
    assert not bench.last.repeated


def test_an_utterance_that_was_cut_off_may_be_sent_again_whole() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    bench.service.chunk(KITCHEN, CHUNK * 10, None, None)
    bench.service.end(KITCHEN, EndReason.DISCONNECT)
    bench.speak(KITCHEN, "a")
    bench.answer(heard("Turn on"))
    assert bench.last.incomplete
    bench.answer(heard("Turn on the light."))
    assert (bench.last.incomplete, bench.last.repeated) == (False, False)
    bench.speak(KITCHEN, "a")
    assert (bench.last.repeated, len(bench.outlet.outcomes)) == (True, 3)


def test_a_refusal_is_repeated_too() -> None:
    bench = Bench()
    for _ in range(2):
        bench.service.start(KITCHEN, UtteranceStart(id="a", language="fr"))
    first, second = bench.outlet.outcomes
    assert second == replace(first, repeated=True)


def test_an_answer_that_a_door_cannot_give_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(limits={"max_queue_age_s": 5})
    bench.speak(KITCHEN, "hangs")
    for number in range(3):
        bench.speak(DeviceKey("native", f"room-{number}"), f"waits-{number}")
    bench.outlet.fails_on = "waits-0"
    bench.pass_time(5.0)
    assert {outcome.id for outcome in bench.outlet.outcomes} == {"waits-1", "waits-2"}
    bench.answer(heard())
    assert bench.last.id == "hangs"
    assert bench.service.metrics.dropped["answer"] == 1
    assert "an answer was lost to a defect" in caplog.text


def test_an_observer_that_fails_keeps_nobody_else_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(RecordingOutlet):
        def state(self, key: DeviceKey, state: DeviceState) -> None:
            raise RuntimeError

        def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
            raise RuntimeError

        def forget(self, key: DeviceKey) -> None:
            raise RuntimeError

    bench = Bench()
    after = RecordingOutlet()
    bench.service.add_observer("native", Failing())
    bench.service.add_observer("native", after)
    bench.speak()
    assert after.states == [DeviceState.LISTENING, DeviceState.TRANSCRIBING]
    bench.answer(heard())
    bench.service.leave(KITCHEN)
    assert after.told[-1] == ("forget kitchen", None)
    assert "a change was not told" in caplog.text


def test_a_full_queue_answers_overloaded_at_once() -> None:
    bench = Bench(limits={"max_queued": 1})
    for key in (KITCHEN, BEDROOM, DeviceKey("native", "bath")):
        bench.speak(key, key.name)
    assert bench.last.error is not None
    assert (bench.last.id, bench.last.error.code) == ("bath", "overloaded")


def test_a_model_that_hangs_is_given_up_and_its_thread_is_not_used_until_it_returns() -> None:
    bench = Bench(limits={"inference_timeout_s": 5, "max_queue_age_s": 600})
    bench.speak(KITCHEN, "hangs")
    bench.pass_time(5.0)
    assert bench.last.error is not None
    assert bench.last.error.code == "inference_timeout"
    assert not bench.service.scheduler.healthy
    assert bench.service.scheduler.all_stuck
    bench.speak(KITCHEN, "next")
    assert len(bench.pool.submitted) == 1
    bench.answer(heard("too late"))
    assert bench.last.id == "hangs"
    assert bench.service.scheduler.healthy
    bench.answer(heard("next"))
    assert [outcome.id for outcome in bench.outlet.outcomes] == ["hangs", "next"]


def test_a_device_that_floods_whole_utterances_takes_nobody_elses_memory() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000})
    for number in range(8):
        bench.service.single(KITCHEN, bytes(206_000), UtteranceStart(id=f"flood-{number}"))
    assert bench.service.budget.used_bytes == 5 * 206_000
    bench.speak(BEDROOM, "quiet", chunks=20)
    while bench.pool.submitted:
        bench.answer(heard())
    kinds = {outcome.id: outcome.kind for outcome in bench.outlet.outcomes}
    assert kinds["quiet"] is OutcomeKind.TRANSCRIPT
    assert kinds["flood-0"] is OutcomeKind.TRANSCRIPT
    assert kinds["flood-4"] is OutcomeKind.ERROR


def test_too_many_devices_is_answered_to_a_start_and_counted_for_a_chunk() -> None:
    bench = Bench(limits={"max_devices": 1})
    bench.service.start(KITCHEN, UtteranceStart())
    bench.service.start(BEDROOM, UtteranceStart(id="b"))
    assert bench.last.error is not None
    assert (bench.last.key, bench.last.error.code) == (BEDROOM, "too_many_devices")
    bench.service.chunk(BEDROOM, CHUNK, None, None)
    assert bench.service.metrics.dropped["too_many_devices"] == 1
    bench.service.change_settings(BEDROOM, SettingsChange(enabled=False))
    bench.service.single(BEDROOM, CHUNK, UtteranceStart())
    bench.service.refuse(BEDROOM, UtteranceStart(), BadPayloadError("no"))
    assert len(bench.outlet.outcomes) == 4


def test_a_device_that_is_not_listened_to_takes_nobodys_memory() -> None:
    bench = Bench(
        limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000},
        devices={"kitchen": {"enabled": False}},
    )
    for number in range(5):
        bench.service.single(BEDROOM, bytes(205_000), UtteranceStart(id=f"{number}"))
    bench.service.chunk(KITCHEN, bytes(100_000), None, None)
    assert bench.outlet.outcomes == []


def test_a_chunk_that_comes_too_late_takes_nobodys_memory() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000})
    bench.service.stop(KITCHEN, None, None)
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.service.abort(KITCHEN, None)
    for number in range(5):
        bench.service.single(BEDROOM, bytes(205_000), UtteranceStart(id=f"{number}"))
    told = len(bench.outlet.outcomes)
    bench.service.chunk(KITCHEN, bytes(100_000), None, None)
    assert bench.outlet.outcomes[told:] == []


def test_a_chunk_over_the_cap_takes_nobodys_memory() -> None:
    bench = Bench(
        limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000, "max_utterance_s": 1.0},
        device_defaults={"on_cap": "truncate"},
    )
    bench.service.start(KITCHEN, UtteranceStart(id="long"))
    bench.service.chunk(KITCHEN, bytes(40_000), None, None)
    for number in range(5):
        bench.service.single(BEDROOM, bytes(200_000), UtteranceStart(id=f"{number}"))
    bench.service.chunk(KITCHEN, bytes(100_000), None, None)
    assert bench.outlet.outcomes == []


def test_memory_is_taken_from_the_device_that_hoards_most_before_a_chunk_is_refused() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000})
    for number in range(5):
        bench.service.single(BEDROOM, bytes(205_000), UtteranceStart(id=f"{number}"))
    bench.service.chunk(KITCHEN, bytes(100_000), None, None)
    assert [outcome.id for outcome in bench.outlet.outcomes] == ["4"]
    assert bench.is_listening(KITCHEN)


def test_open_audio_of_one_address_fills_nobody_elses_memory() -> None:
    bench = Bench(limits={"max_buffered_mib": 1})
    bench.service.attach("wyoming", bench.outlet)
    hoard = [DeviceKey("wyoming", "10.0.0.9", f"{number}") for number in range(64)]
    for _ in range(20):
        for key in hoard:
            if bench.is_listening(key) or not bench.outlet.outcomes:
                bench.service.chunk(key, CHUNK, None, None)
    told = len(bench.outlet.outcomes)
    bench.speak(KITCHEN, "quiet", chunks=60)
    bench.answer(heard())
    assert bench.last.id == "quiet"
    assert bench.last.kind is OutcomeKind.TRANSCRIPT
    hit = bench.outlet.outcomes[told:-1]
    assert {(outcome.key.name, outcome.error and outcome.error.code) for outcome in hit} == {
        ("10.0.0.9", "overloaded")
    }
    assert bench.service.budget.used_bytes <= 2**20


def test_memory_is_not_taken_from_who_holds_less() -> None:
    bench = Bench(limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000})
    for number in range(3):
        bench.service.chunk(DeviceKey("native", f"room-{number}"), bytes(340_000), None, None)
    bench.service.chunk(KITCHEN, bytes(340_001), None, None)
    assert bench.last.key == KITCHEN
    bench.service.chunk(BEDROOM, bytes(100_000), None, None)
    assert bench.last.key.name.startswith("room-")
    assert bench.is_listening(BEDROOM)


def test_what_is_being_transcribed_gives_up_no_memory_and_costs_one_look_at_the_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Registry] = []

    def look(registry: Registry, *names: Name) -> Any:
        looks.append(registry)
        return hoarders(registry, *names)

    hoarders: Callable[..., Any] = Registry.hoarders
    monkeypatch.setattr(Registry, "hoarders", look)
    bench = Bench(workers=20, limits={"max_buffered_mib": 1, "max_queued_audio_s": 100_000})
    for number in range(20):
        bench.service.single(DeviceKey("native", f"room-{number}"), bytes(52_000), UtteranceStart())
    assert len(bench.pool.submitted) == 20
    bench.service.single(KITCHEN, bytes(30_000), UtteranceStart(id="refused"))
    assert bench.last.id == "refused"
    assert bench.last.error is not None
    assert bench.last.error.code == "overloaded"
    assert len(looks) == 1


def test_an_utterance_that_is_too_old_already_takes_nobodys_place() -> None:
    bench = Bench(limits={"max_queued": 2})
    for number in range(3):
        bench.speak(BEDROOM, f"{number}")
    bench.service.single(KITCHEN, CHUNK, UtteranceStart(id="old", age_s=100.0))
    codes = {outcome.id: outcome.error.code for outcome in bench.outlet.outcomes if outcome.error}
    assert codes == {"old": "expired"}


def test_being_disabled_is_told_before_anything_else() -> None:
    bench = Bench(devices={"kitchen": {"enabled": False}})
    bench.service.start(KITCHEN, UtteranceStart(id="a", language="de"))
    assert bench.last.error is not None
    assert bench.last.error.code == "disabled"


def test_a_start_that_repeats_the_open_id_is_ignored_whatever_changed_since() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    bench.service.change_settings(KITCHEN, SettingsChange(language="fr"))
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    assert bench.outlet.outcomes == []
    assert bench.is_listening(KITCHEN)


def test_introducing_a_configured_device_clears_what_had_to_leave_for_it() -> None:
    bench = Bench(limits={"max_devices": 1}, devices={"bath": {}})
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.service.registry.register(DeviceKey("native", "bath"))
    assert bench.service.registry.find(KITCHEN) is not None
    bench.service.abort(KITCHEN, None)
    bench.service.registry.register(DeviceKey("native", "bath"))
    assert ("forget kitchen", None) in bench.outlet.told


def test_introducing_any_other_device_takes_nobodys_place() -> None:
    bench = Bench(limits={"max_devices": 1})
    bench.service.registry.register(KITCHEN)
    bench.service.registry.register(BEDROOM)
    bench.service.registry.register(KITCHEN)
    assert [device.key for device in bench.service.registry] == [KITCHEN]
    assert [name for name, _ in bench.outlet.told] == ["settings kitchen", "state kitchen"]


def test_a_device_of_a_previous_run_is_known_as_it_was_set_if_there_is_a_place() -> None:
    bench = Bench(limits={"max_devices": 1})
    bench.service.registry.restore(KITCHEN, Overrides(enabled=False), 17.0)
    bench.service.registry.restore(BEDROOM, Overrides(), 18.0)
    bench.service.registry.restore(KITCHEN, Overrides(enabled=True), 16.0)
    (device,) = bench.service.registry
    assert (device.settings.enabled, device.last_seen_ts) == (False, 17.0)
    assert bench.outlet.told == []


def test_nobody_is_forgotten_who_waits_for_an_answer() -> None:
    bench = Bench()
    bench.speak()
    with pytest.raises(RequestError, match="kitchen is transcribing; try again when it is idle"):
        bench.service.registry.forget(KITCHEN)
    bench.service.registry.forget_silent("native", bench.clock.epoch() + 1, ())
    assert len(bench.service.registry) == 1
    bench.answer(heard())
    bench.service.registry.forget_silent("hermes", bench.clock.epoch() + 1, ())
    assert len(bench.service.registry) == 1
    bench.service.registry.forget_silent("native", bench.clock.epoch() + 1, ())
    assert bench.outlet.told[-1] == ("forget kitchen", None)


def test_who_is_switched_off_is_not_forgotten_for_its_silence() -> None:
    bench = Bench()
    bench.service.change_settings(KITCHEN, SettingsChange(enabled=False))
    bench.service.registry.forget_silent("native", bench.clock.epoch() + 1, ())
    assert len(bench.service.registry) == 1


def test_a_forgotten_device_has_what_it_published_cleared() -> None:
    bench = Bench(limits={"max_devices": 1})
    bench.speak(KITCHEN)
    bench.answer(heard())
    bench.service.start(BEDROOM, UtteranceStart())
    assert ("forget kitchen", None) in bench.outlet.told


def test_messages_to_unknown_devices_do_nothing() -> None:
    bench = Bench()
    bench.service.stop(KITCHEN, None, None)
    bench.service.abort(KITCHEN, None)
    bench.service.end(KITCHEN, EndReason.DISCONNECT)
    bench.service.count_dropped_chunk(KITCHEN)
    assert bench.outlet.told == []
    assert len(bench.service.registry) == 0


def test_a_gap_ends_an_utterance_when_the_clock_says_so() -> None:
    bench = Bench()
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    assert bench.service.deadline == pytest.approx(bench.clock.now() + 0.8)
    bench.pass_time(0.5)
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.pass_time(0.5)
    assert bench.is_listening(KITCHEN)
    bench.pass_time(0.31)
    assert not bench.is_listening(KITCHEN)
    bench.answer(heard())
    assert bench.last.end is EndReason.GAP
    assert bench.last.latency_s == pytest.approx(0.01)


def test_settings_are_told_on_change_only() -> None:
    bench = Bench()
    for enabled in (False, False, True):
        bench.service.change_settings(KITCHEN, SettingsChange(enabled=enabled))
    told = [value for _, value in bench.outlet.told if isinstance(value, DeviceSettings)]
    assert [settings.enabled for settings in told] == [False, True]


def test_announce_tells_a_door_everything_again() -> None:
    bench = Bench()
    bench.service.registry.register(KITCHEN)
    bench.outlet.told.clear()
    bench.service.registry.announce("native")
    assert [name for name, _ in bench.outlet.told] == ["settings kitchen", "state kitchen"]


def test_a_new_configuration_reaches_the_devices_that_are_known() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="a"))
    bench.service.reconfigure(Config.model_validate({"devices": {"kitchen": {"enabled": False}}}))
    assert bench.last.kind is OutcomeKind.ABORTED
    assert bench.service.registry.find(KITCHEN) is not None


def test_while_stopping_what_is_open_is_transcribed_and_nothing_new_is_taken() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="open"))
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.service.shut_down()
    bench.service.start(KITCHEN, UtteranceStart(id="late"))
    bench.service.single(KITCHEN, CHUNK, UtteranceStart(id="single"))
    bench.service.chunk(BEDROOM, CHUNK, None, None)
    codes = {outcome.id: outcome.error.code for outcome in bench.outlet.outcomes if outcome.error}
    assert codes == {"late": "shutting_down", "single": "shutting_down"}
    assert not bench.is_listening(BEDROOM)
    bench.answer(heard())
    assert (bench.last.id, bench.last.end) == ("open", EndReason.SHUTDOWN)
    assert bench.last.incomplete
    assert bench.service.scheduler.drained


def test_what_is_not_done_in_time_is_answered_shutting_down() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "running")
    bench.speak(BEDROOM, "waiting")
    bench.service.abandon()
    codes = {outcome.id: outcome.error.code for outcome in bench.outlet.outcomes if outcome.error}
    assert codes == {"running": "shutting_down", "waiting": "shutting_down"}
    assert bench.service.budget.used_bytes == 0


def test_an_answer_to_nothing_carries_no_id() -> None:
    bench = Bench()
    bench.service.answer_error(KITCHEN, UtteranceStart(), BadPayloadError("not JSON"))
    assert (bench.last.id, bench.last.end, bench.last.audio_s) == (None, None, 0.0)


def test_the_words_are_in_the_log_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level("INFO", "stt_mqtt"):
        bench.speak()
        bench.answer(heard("The secret word."))
    assert "transcript end=stop" in caplog.text
    assert "secret" not in caplog.text
    with caplog.at_level("DEBUG", "stt_mqtt"):
        bench.speak(id="b")
        bench.answer(heard("The secret word."))
    assert "secret" in caplog.text


def test_the_log_says_what_was_lost_and_what_looked_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "stt_mqtt"):
        log_outcome(
            Outcome(KITCHEN, "a", 0.0, OutcomeKind.NO_SPEECH, lost_chunks=3, hint=Hint.CLIPPING)
        )
    assert "no_speech audio_s=0.000 lost_chunks=3 hint=clipping" in caplog.text


def test_a_device_that_leaves_takes_back_what_is_open_and_what_waits() -> None:
    bench = Bench()
    for id in ("running", "waiting"):
        bench.speak(KITCHEN, id)
    bench.service.start(KITCHEN, UtteranceStart(id="open"))
    bench.service.leave(KITCHEN)
    outcomes = {outcome.id: outcome.kind for outcome in bench.outlet.outcomes}
    assert outcomes == {"open": OutcomeKind.ABORTED, "waiting": OutcomeKind.ABORTED}
    assert bench.service.registry.find(KITCHEN) is not None, "one is still in the model"
    bench.answer(heard())
    assert bench.service.registry.find(KITCHEN) is None
    assert bench.outlet.told[-1] == ("forget kitchen", None)
    assert bench.outlet.outcomes[-1].kind is OutcomeKind.TRANSCRIPT
    assert bench.service.budget.used_bytes == 0


def test_a_device_that_comes_back_before_its_last_answer_stays() -> None:
    bench = Bench()
    bench.speak(KITCHEN, "first")
    bench.service.leave(KITCHEN)
    bench.service.start(KITCHEN, UtteranceStart(id="second"))
    bench.answer(heard())
    device = bench.service.registry.find(KITCHEN)
    assert device is not None
    assert device.listening


def test_a_device_may_leave_while_it_is_given_its_answer() -> None:
    class Once:
        def __init__(self) -> None:
            self.answered = 0

        def outcome(self, outcome: Outcome) -> None:
            self.answered += 1
            bench.service.leave(outcome.key)

    bench, once = Bench(), Once()
    key = DeviceKey("other", "room", "1")
    bench.service.attach("other", once)
    bench.speak(key)
    bench.answer(heard())
    assert once.answered == 1
    assert len(bench.service.registry) == 0
    bench.service.leave(key)


def test_parts_of_a_name_are_devices_of_their_own_with_the_settings_of_the_name() -> None:
    bench = Bench(devices={"kitchen": {"prompt": "Soup."}})
    for part in ("1", "2"):
        bench.speak(DeviceKey("native", "kitchen", part), id=part)
    assert len(bench.service.registry) == 2
    bench.answer(heard())
    bench.answer(heard())
    assert [outcome.key.part for outcome in bench.outlet.outcomes] == ["1", "2"]


def test_before_the_model_is_loaded_utterances_wait_for_it() -> None:
    bench = Bench(workers=0)
    bench.speak(KITCHEN)
    assert not bench.pool.submitted
    assert not bench.service.scheduler.all_stuck
    bench.service.attach_pool(bench.pool, Capacity(1, 1))
    bench.answer(heard("Light on."))
    assert [outcome.kind for outcome in bench.outlet.outcomes] == [OutcomeKind.TRANSCRIPT]


def test_a_model_that_takes_too_long_to_load_is_said_to_be_missing() -> None:
    bench = Bench(workers=0)
    bench.speak(KITCHEN)
    bench.clock.advance(11)
    bench.service.tick()
    (outcome,) = bench.outlet.outcomes
    assert outcome.error is not None
    assert outcome.error.code == "model_unavailable"


def test_outcomes_are_counted_by_door() -> None:
    bench = Bench()
    bench.speak(KITCHEN)
    bench.answer(heard())
    assert bench.service.metrics.doors == {"native": {"transcript": 1}}


def test_an_utterance_without_audio_takes_no_place_in_the_queue() -> None:
    bench = Bench(workers=0)
    bench.speak(KITCHEN, chunks=0)
    assert bench.service.scheduler.queue.jobs == 0
    (outcome,) = bench.outlet.outcomes
    assert outcome.error is not None
    assert outcome.error.code == "too_short"


def test_who_is_cut_off_before_a_sound_was_not_too_short() -> None:
    bench = Bench()
    bench.service.start(KITCHEN, UtteranceStart(id="open"))
    bench.service.shut_down()
    (outcome,) = bench.outlet.outcomes
    assert outcome.error is not None
    assert outcome.error.code == "shutting_down"


def test_observers_of_outcomes_are_told_those_of_all_doors_after_the_outlets() -> None:
    bench = Bench()
    bench.service.attach("wyoming", bench.outlet)
    failing, observer = Observer(fails=True), Observer()
    for one in (failing, observer):
        bench.service.registry.observers.add_for_outcomes(one)
    bench.speak(id="a")
    bench.answer(heard())
    bench.speak(DeviceKey("wyoming", "10.0.0.1", "1"), id="b")
    bench.answer(nothing_heard())
    assert observer.told == bench.outlet.outcomes
    assert [outcome.id for outcome in failing.told] == ["a", "b"]


def test_an_outcome_has_the_levels_of_its_audio() -> None:
    bench = Bench()
    levels = Levels(-20.0, -60.0, 0.0)
    bench.speak()
    bench.answer(replace(heard(), levels=levels))
    assert bench.outlet.outcomes[0].levels == levels


class Keeper:
    """Notes what it should keep."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, str | None, OutcomeKind]] = []

    def keep(self, utterance: Utterance, outcome: Outcome) -> None:
        self.kept.append((len(utterance.audio.data), outcome.id, outcome.kind))


def test_the_audio_of_each_utterance_that_was_queued_is_offered_with_its_outcome() -> None:
    bench, keeper = Bench(), Keeper()
    bench.service.keeper = keeper
    bench.speak(id="a")
    bench.answer(heard())
    bench.speak(id="b")
    bench.answer(InferenceFailedError("broken"))
    bench.service.start(KITCHEN, UtteranceStart(id="c"))
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    bench.service.abort(KITCHEN, None)
    size = 10 * len(CHUNK)
    assert keeper.kept == [(size, "a", OutcomeKind.TRANSCRIPT), (size, "b", OutcomeKind.ERROR)]


# Defects -----------------------------------------------------------------------------------------


def test_an_utterance_whose_first_chunk_fails_unexpectedly_ends_after_the_gap() -> None:
    bench = Bench(decoders=ScarceDecoders(), devices={"kitchen": {"codec": "opus"}})
    speech = framed(opus_packets(tone(rate=48_000)))
    with pytest.raises(OSError, match="Too many open files"):
        bench.service.chunk(KITCHEN, speech, None, None)
    assert bench.is_listening(KITCHEN)
    assert bench.service.deadline is not None
    bench.pass_time(1.0)
    assert [utterance.audio.data for utterance in bench.pool.utterances] == [speech]
    bench.answer(heard())
    assert bench.last.end is EndReason.GAP
    assert bench.service.budget.used_bytes == 0


def test_an_utterance_whose_deadline_fails_unexpectedly_ends_at_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(device: Device, now: float) -> list[Ended]:
        raise RuntimeError("a defect")

    bench = Bench()
    bench.service.chunk(KITCHEN, CHUNK, None, None)
    with monkeypatch.context() as patch:
        patch.setattr(Device, "tick", fail)
        with pytest.raises(RuntimeError, match="a defect"):
            bench.pass_time(30.0)
    assert bench.service.deadline is not None
    bench.pass_time(0.0)
    assert not bench.is_listening(KITCHEN)
