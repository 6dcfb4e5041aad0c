"""The rules of an utterance's life, one test each, after the wire contract."""

from __future__ import annotations

import itertools

import pytest

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.config import DeviceConfig
from stt_mqtt.config.devices import OnCap
from stt_mqtt.core.budget import Budget, DeviceContext
from stt_mqtt.core.device import Device
from stt_mqtt.core.filters import MAX_REMEMBERED, REMEMBERED_S, REST_S
from stt_mqtt.core.outcomes import Answer, Ended, Repeated
from stt_mqtt.core.settings import Overrides, SettingsChange
from stt_mqtt.errors import DisabledError, UnsupportedFormatError, UtteranceError
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    DeviceKey,
    DeviceState,
    EncodedAudio,
    EndReason,
    Outcome,
    OutcomeKind,
    Utterance,
    UtteranceStart,
)
from tests.audio.synth import framed, opus_packets, tone
from tests.fakes import ScarceDecoders

CHUNK = bytes(range(256)) * 4
"""32 ms at 16 kHz."""


class Bench:
    """A device with a budget, caps of one second and numbered ids."""

    def __init__(
        self,
        budget_bytes: int = 1_000_000,
        decoders: Decoders = IN_THIS_PROCESS,
        **config: object,
    ) -> None:
        self.budget = Budget(budget_bytes)
        numbers = itertools.count(1)
        context = DeviceContext(
            AudioCap(1.0, 40_000), self.budget, lambda: f"made-{next(numbers)}", decoders
        )
        settings = DeviceConfig.model_validate(config)
        self.device = Device(DeviceKey("native", "kitchen"), settings, context)

    def chunks(self, count: int, now: float) -> list[Ended]:
        ended: list[Ended] = []
        for _ in range(count):
            ended += self.device.chunk(CHUNK, None, None, now)
        return ended


def the_utterance(ended: list[Ended]) -> Utterance:
    assert len(ended) == 1
    assert isinstance(ended[0], Utterance)
    return ended[0]


def test_chunks_between_start_and_stop_become_one_utterance() -> None:
    bench = Bench()
    assert (
        bench.device.start(UtteranceStart(id="a", language="en", prompt="lamp", context=7), 0.0)
        == []
    )
    assert bench.chunks(3, 0.1) == []
    utterance = the_utterance(bench.device.stop(None, None, 0.2))
    assert utterance.audio.data == CHUNK * 3
    assert (utterance.id, utterance.language, utterance.prompt) == ("a", "en", "lamp")
    assert (utterance.end, utterance.ended_at, utterance.context) == (EndReason.STOP, 0.2, 7)
    assert utterance.seconds == pytest.approx(0.096)
    assert bench.budget.used_bytes == len(utterance.audio.data)


def test_a_chunk_opens_an_utterance_in_the_configured_format() -> None:
    bench = Bench(codec="pcm_f32le", rate=8000, channels=2)
    bench.chunks(1, 0.0)
    utterance = the_utterance(bench.device.stop(None, None, 0.1))
    assert utterance.audio.format == AudioFormat(Codec.PCM_F32LE, 8000, 2)
    assert utterance.id == "made-1"


def test_a_chunk_may_name_the_format_of_the_utterance_it_opens() -> None:
    bench = Bench()
    named = AudioFormat(Codec.PCM_S16LE, 8000, 1)
    bench.device.chunk(CHUNK, None, named, 0.0)
    bench.device.chunk(CHUNK, None, AudioFormat(Codec.FLAC), 0.0)
    assert the_utterance(bench.device.stop(None, None, 0.1)).audio.format == named


def test_an_utterance_opened_by_a_chunk_ends_after_the_gap() -> None:
    bench = Bench(gap_timeout_ms=800)
    bench.chunks(1, 0.0)
    bench.chunks(1, 0.5)
    assert bench.device.deadline == pytest.approx(1.3)
    assert bench.device.tick(1.29) == []
    utterance = the_utterance(bench.device.tick(1.4))
    assert utterance.end is EndReason.GAP
    assert utterance.ended_at == pytest.approx(1.3)
    assert bench.device.deadline is None


def test_an_utterance_opened_by_a_start_ends_after_the_idle_timeout() -> None:
    bench = Bench(gap_timeout_ms=800, idle_timeout_ms=5000)
    bench.device.start(UtteranceStart(), 0.0)
    bench.chunks(1, 1.0)
    assert bench.device.tick(5.9) == []
    assert the_utterance(bench.device.tick(6.0)).end is EndReason.GAP


def test_who_was_interrupted_and_says_no_more_was_heard_in_part() -> None:
    bench = Bench(idle_timeout_ms=5000)
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.chunks(1, 1.0)
    bench.device.interrupt()
    assert the_utterance(bench.device.tick(6.0)).end is EndReason.DISCONNECT
    bench.device.interrupt()
    # The whole may be sent again.
    assert bench.device.start(UtteranceStart(id="a"), 7.0) == []
    bench.chunks(1, 7.0)
    assert the_utterance(bench.device.tick(12.0)).end is EndReason.GAP


def test_who_was_interrupted_and_goes_on_to_the_stop_has_said_all() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    bench.chunks(1, 1.0)
    bench.device.interrupt()
    bench.chunks(1, 2.0)
    assert the_utterance(bench.device.stop(None, None, 2.1)).end is EndReason.STOP


@pytest.mark.parametrize("ends_the_wait", ["start", "stop", "time"])
def test_the_rest_of_a_numbered_utterance_that_a_gap_ended_opens_none(ends_the_wait: str) -> None:
    bench = Bench(idle_timeout_ms=5000)
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    the_utterance(bench.device.tick(5.0))
    # Without a start their numbers would be taken for sound.
    assert bench.chunks(2, 20.0) == []
    assert not bench.device.listening
    assert bench.device.counters.dropped_chunks == 2
    if ends_the_wait == "start":
        bench.device.start(UtteranceStart(sequenced=True), 20.1)
    elif ends_the_wait == "stop":
        bench.device.stop(None, None, 20.1)
    bench.chunks(1, 5.0 + REST_S if ends_the_wait == "time" else 20.5)
    assert bench.device.listening


def test_speech_that_the_machine_slept_through_is_as_old_as_its_first_sound() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(age_s=2.0), 0.0)
    bench.chunks(5, 0.1)
    bench.chunks(5, 60.0)
    utterance = the_utterance(bench.device.stop(None, None, 60.5))
    assert utterance.seconds == pytest.approx(0.32)
    # From the sound before the pause, less what was heard in all.
    assert utterance.age_s == pytest.approx(2.0 + 59.9)


def test_speech_whose_end_came_after_the_machine_slept_is_as_old_as_the_sleep() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    bench.chunks(5, 0.1)
    assert the_utterance(bench.device.stop(None, None, 60.1)).age_s == pytest.approx(59.94)


def test_speech_that_ended_before_the_machine_slept_is_not_older_than_it_was_then() -> None:
    bench = Bench(gap_timeout_ms=800)
    bench.chunks(5, 0.1)
    utterance = the_utterance(bench.device.tick(60.0))
    assert utterance.ended_at == pytest.approx(0.9)
    assert utterance.age_s == 0.0


def test_pauses_that_a_device_may_make_do_not_make_speech_older() -> None:
    bench = Bench(idle_timeout_ms=5000)
    bench.device.start(UtteranceStart(), 0.0)
    for at in (4.9, 9.8, 14.7):
        bench.chunks(1, at)
    assert the_utterance(bench.device.stop(None, None, 19.6)).age_s == 0.0


def test_speech_that_comes_together_after_the_process_stood_still_is_not_old() -> None:
    budget = Budget(1_000_000)
    context = DeviceContext(AudioCap(30.0, 1_000_000), budget, lambda: "made")
    device = Device(DeviceKey("native", "kitchen"), DeviceConfig(), context)
    device.start(UtteranceStart(), 0.0)
    device.chunk(CHUNK, None, None, 0.1)
    for _ in range(300):
        device.chunk(CHUNK, None, None, 12.0)
    # 9.6 s were heard within 12 s.
    assert the_utterance(device.stop(None, None, 12.0)).age_s == pytest.approx(2.4, abs=0.05)


def test_an_empty_chunk_is_ignored() -> None:
    bench = Bench()
    assert bench.device.chunk(b"", None, None, 0.0) == []
    assert bench.device.state is DeviceState.IDLE
    assert bench.device.counters.dropped_chunks == 0


def test_a_start_ends_the_open_utterance() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.chunks(1, 0.1)
    utterance = the_utterance(bench.device.start(UtteranceStart(id="b"), 0.2))
    assert (utterance.id, utterance.end) == ("a", EndReason.RESTART)
    assert bench.device.listening


def test_a_refused_start_ends_the_open_utterance_too() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    ended = bench.device.refuse(UtteranceStart(id="b"), UnsupportedFormatError("no"), 0.2)
    assert isinstance(ended[0], Utterance)
    assert ended[0].end is EndReason.RESTART
    assert isinstance(ended[1], Answer)
    assert isinstance(ended[1].verdict, UtteranceError)
    assert (ended[1].utterance.id, ended[1].verdict.code) == ("b", "unsupported_format")
    assert not bench.device.listening


def test_a_start_that_repeats_the_open_id_is_ignored() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.chunks(1, 0.1)
    assert bench.device.start(UtteranceStart(id="a"), 0.2) == []
    assert the_utterance(bench.device.stop("a", None, 0.3)).audio.data == CHUNK


@pytest.mark.parametrize("verb", ["stop", "abort"])
def test_a_stop_or_abort_of_another_id_is_ignored(verb: str) -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    if verb == "stop":
        assert bench.device.stop("b", None, 0.1) == []
    else:
        assert bench.device.abort("b", 0.1) == []
    assert bench.device.listening


def test_an_abort_forgets_the_audio() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.chunks(3, 0.1)
    (aborted,) = bench.device.abort("a", 0.2)
    assert isinstance(aborted, Answer)
    assert aborted.verdict is None
    assert aborted.utterance.end is None
    assert aborted.utterance.seconds == pytest.approx(0.096)
    assert aborted.utterance.audio.data == b""
    assert bench.budget.used_bytes == 0


@pytest.mark.parametrize("verb", ["stop", "abort"])
def test_late_chunks_are_dropped_for_300_ms_after_the_end(verb: str) -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    if verb == "stop":
        bench.device.stop(None, None, 1.0)
    else:
        bench.device.abort(None, 1.0)
    bench.chunks(2, 1.29)
    assert not bench.device.listening
    assert bench.device.counters.dropped_chunks == 2
    bench.chunks(1, 1.31)
    assert bench.device.listening


def test_a_stop_with_nothing_open_drops_stragglers_too() -> None:
    bench = Bench()
    bench.device.stop(None, None, 1.0)
    bench.chunks(1, 1.1)
    bench.device.abort(None, 2.0)
    bench.chunks(1, 2.1)
    assert bench.device.counters.dropped_chunks == 2


def test_a_start_is_heard_at_once_after_a_stop() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    bench.device.stop(None, None, 1.0)
    bench.device.start(UtteranceStart(id="b"), 1.01)
    bench.chunks(1, 1.02)
    assert the_utterance(bench.device.stop("b", None, 1.1)).audio.data == CHUNK


def test_no_late_chunks_are_expected_after_a_gap() -> None:
    bench = Bench()
    bench.chunks(1, 0.0)
    bench.device.tick(0.9)
    bench.chunks(1, 0.91)
    assert bench.device.listening


def test_a_stop_that_counts_waits_200_ms_for_missing_chunks() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    bench.chunks(2, 0.1)
    assert bench.device.stop(None, 3, 1.0) == []
    assert bench.device.deadline == pytest.approx(1.2)
    utterance = the_utterance(bench.chunks(1, 1.1))
    assert (utterance.end, utterance.ended_at, utterance.lost_chunks) == (EndReason.STOP, 1.0, 0)
    assert utterance.audio.data == CHUNK * 3


def test_chunks_that_stay_missing_are_counted_as_lost() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(), 0.0)
    bench.chunks(2, 0.1)
    bench.device.stop(None, 5, 1.0)
    assert bench.device.stop(None, 5, 1.05) == []
    utterance = the_utterance(bench.device.tick(1.2))
    assert (utterance.end, utterance.ended_at, utterance.lost_chunks) == (EndReason.STOP, 1.0, 3)


def test_a_new_start_does_not_wait_for_the_stragglers_of_the_old_utterance() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.device.stop(None, 5, 1.0)
    utterance = the_utterance(bench.device.start(UtteranceStart(id="b"), 1.1))
    assert (utterance.id, utterance.end, utterance.ended_at) == ("a", EndReason.STOP, 1.0)


def test_numbered_chunks_are_put_in_order_and_losses_filled_with_silence() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    for number in (0, 2, 1, 1, 5):
        bench.device.chunk(number.to_bytes(4, "little") + bytes([number]) * 64, None, None, 0.1)
    utterance = the_utterance(bench.device.stop(None, None, 0.2))
    expected = [bytes([n]) * 64 for n in (0, 1, 2)] + [bytes(128)] + [bytes([5]) * 64]
    assert utterance.audio.data == b"".join(expected)
    assert utterance.lost_chunks == 2
    assert bench.device.counters.dropped_chunks == 1


def test_a_numbered_chunk_too_short_for_its_number_is_dropped() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    bench.device.chunk(b"\0\0\0", None, None, 0.1)
    assert bench.device.counters.dropped_chunks == 1


def test_a_number_may_come_beside_the_chunk() -> None:
    bench = Bench()
    bench.device.chunk(b"bb", 1, None, 0.0)
    bench.device.chunk(b"aa", 0, None, 0.0)
    assert the_utterance(bench.device.stop(None, 2, 0.1)).audio.data == b"aabb"


def test_finalize_transcribes_at_the_cap_and_drops_the_rest_until_a_pause() -> None:
    bench = Bench(gap_timeout_ms=800)
    ended = bench.chunks(40, 0.0)
    utterance = the_utterance(ended)
    assert (utterance.end, utterance.truncated) == (EndReason.CAP, True)
    assert utterance.seconds == pytest.approx(1.0)
    assert bench.chunks(5, 0.5) == []
    assert bench.chunks(5, 1.2) == []
    assert not bench.device.listening
    bench.chunks(1, 2.01)
    assert bench.device.listening


@pytest.mark.parametrize("message", ["start", "stop"])
def test_after_the_cap_a_start_or_stop_makes_the_device_heard_again(message: str) -> None:
    bench = Bench()
    bench.chunks(40, 0.0)
    if message == "start":
        bench.device.start(UtteranceStart(), 0.1)
    else:
        bench.device.stop(None, None, 0.1)
    bench.chunks(1, 0.5)
    assert bench.device.listening


def test_truncate_keeps_the_head_and_awaits_the_end() -> None:
    bench = Bench(on_cap=OnCap.TRUNCATE)
    assert bench.chunks(40, 0.0) == []
    utterance = the_utterance(bench.device.stop(None, None, 1.0))
    assert (utterance.end, utterance.truncated) == (EndReason.STOP, True)
    assert len(utterance.audio.data) == 32_000
    assert bench.device.counters.dropped_chunks == 9


def test_reject_answers_too_long_and_forgets_the_audio() -> None:
    bench = Bench(on_cap=OnCap.REJECT)
    (failed,) = bench.chunks(40, 0.0)
    assert isinstance(failed, Answer)
    assert isinstance(failed.verdict, UtteranceError)
    assert (failed.verdict.code, failed.utterance.end) == ("too_long", EndReason.CAP)
    assert failed.utterance.audio.data == b""
    assert bench.budget.used_bytes == 0


def test_a_device_that_floods_stays_at_its_cap() -> None:
    bench = Bench(on_cap=OnCap.TRUNCATE)
    bench.chunks(2000, 0.0)
    assert bench.budget.used_bytes <= 40_000


def test_reordered_chunks_count_against_the_cap() -> None:
    bench = Bench(on_cap=OnCap.TRUNCATE)
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    for number in range(1, 16):
        bench.device.chunk(number.to_bytes(4, "little") + bytes(20_000), None, None, 0.0)
    assert bench.budget.used_bytes <= 40_000


def test_what_was_held_back_behind_the_cap_is_cut_off_too() -> None:
    bench = Bench(on_cap=OnCap.TRUNCATE)
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    for number in (1, 2, 3, 0):
        chunk = bytes([number]) * 12_000
        bench.device.chunk(number.to_bytes(4, "little") + chunk, None, None, 0.0)
    utterance = the_utterance(bench.device.stop(None, 4, 0.1))
    assert utterance.truncated
    assert utterance.audio.data == bytes(12_000) + b"\1" * 12_000 + b"\2" * 8_000


def test_the_memory_of_all_devices_is_bounded() -> None:
    bench = Bench(budget_bytes=2000)
    ended = bench.chunks(2, 0.0)
    assert isinstance(ended[0], Answer)
    assert isinstance(ended[0].verdict, UtteranceError)
    assert ended[0].verdict.code == "overloaded"
    assert bench.budget.used_bytes == 0
    assert bench.chunks(1, 0.1) == []
    assert not bench.device.listening


def test_chunks_dropped_over_the_cap_are_not_called_lost() -> None:
    bench = Bench(on_cap=OnCap.TRUNCATE)
    bench.device.start(UtteranceStart(sequenced=True), 0.0)
    for number in range(50):
        bench.device.chunk(number.to_bytes(4, "little") + CHUNK, None, None, 0.0)
    utterance = the_utterance(bench.device.stop(None, 50, 1.0))
    assert (utterance.truncated, utterance.lost_chunks) == (True, 0)


def test_a_stream_of_unknown_length_is_capped_by_the_time_it_has_been_open() -> None:
    bench = Bench(codec="ogg")
    ended: list[Ended] = []
    now = 0.0
    while not ended:
        bench.device.chunk(b"x", None, None, now)
        now += 0.5
        ended = bench.device.tick(now)
    utterance = the_utterance(ended)
    assert (utterance.end, utterance.truncated) == (EndReason.CAP, True)
    assert utterance.ended_at == pytest.approx(2.0)


def test_truncate_awaits_the_end_of_a_stream_that_has_been_open_too_long() -> None:
    bench = Bench(codec="ogg", on_cap=OnCap.TRUNCATE)
    for tenth in range(30):
        assert bench.device.chunk(b"x", None, None, tenth / 10) == []
        assert bench.device.tick(tenth / 10) == []
    utterance = the_utterance(bench.device.stop(None, None, 3.0))
    assert (utterance.end, utterance.truncated) == (EndReason.STOP, True)


@pytest.mark.parametrize("on_cap", ["finalize", "truncate"])
def test_what_must_end_within_a_time_ends_then_whether_audio_comes_or_not(on_cap: str) -> None:
    for chunks in (0, 5, 100):
        bench = Bench(on_cap=on_cap, idle_timeout_ms=200)
        bench.device.start(UtteranceStart(ends_within_s=0.5), 10.0)
        ended = bench.chunks(chunks, 10.1)
        if not ended:
            assert bench.device.deadline == 10.5
            assert bench.device.tick(10.49) == []
            ended = bench.device.tick(10.5)
        utterance = the_utterance(ended)
        end = EndReason.CAP if chunks else EndReason.GAP
        assert (utterance.end, utterance.truncated) == (end, chunks > 0)
        assert utterance.seconds <= 0.5


def test_words_of_the_start_are_added_to_those_that_are_configured() -> None:
    bench = Bench(hotwords=["Siobhan"])
    bench.device.start(UtteranceStart(hotwords=("Nguyen",)), 0.0)
    bench.chunks(1, 0.0)
    assert the_utterance(bench.device.stop(None, None, 0.1)).hotwords == ("Siobhan", "Nguyen")


@pytest.mark.parametrize("refused", [True, False])
def test_after_a_start_the_pause_that_ends_deafness_is_the_longer_one(refused: bool) -> None:
    bench = Bench(gap_timeout_ms=800, idle_timeout_ms=5000)
    if refused:
        bench.device.refuse(UtteranceStart(), UnsupportedFormatError("no"), 0.0)
    else:
        bench.device.start(UtteranceStart(), 0.0)
        bench.chunks(40, 0.0)
    bench.chunks(1, 4.9)
    bench.chunks(1, 9.8)
    assert not bench.device.listening
    bench.chunks(1, 14.9)
    assert bench.device.listening


def test_a_repeated_start_that_would_be_refused_now_is_ignored_too() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    assert bench.device.refuse(UtteranceStart(id="a"), UnsupportedFormatError("no"), 0.1) == []
    assert bench.device.listening


def test_a_format_that_is_not_taken_refuses_the_chunk_that_names_it() -> None:
    bench = Bench()
    (failed,) = bench.device.chunk(CHUNK, None, UnsupportedFormatError("speex"), 0.0)
    assert isinstance(failed, Answer)
    assert isinstance(failed.verdict, UtteranceError)
    assert bench.device.chunk(CHUNK, None, UnsupportedFormatError("speex"), 0.1) == []


def test_a_disconnect_ends_the_open_utterance() -> None:
    bench = Bench()
    bench.chunks(1, 0.0)
    assert the_utterance(bench.device.end(EndReason.DISCONNECT, 0.1)).end is EndReason.DISCONNECT
    assert bench.device.end(EndReason.DISCONNECT, 0.2) == []


def test_a_whole_utterance_never_touches_the_open_one() -> None:
    bench = Bench()
    bench.device.start(UtteranceStart(id="a"), 0.0)
    bench.chunks(1, 0.1)
    single = bench.device.single(CHUNK * 2, UtteranceStart(), 0.2)
    assert isinstance(single, Utterance)
    assert (single.end, single.audio.data) == (EndReason.SINGLE, CHUNK * 2)
    assert the_utterance(bench.device.stop("a", None, 0.3)).audio.data == CHUNK


def test_a_whole_utterance_that_is_a_file_of_another_kind_is_refused_and_not_kept() -> None:
    bench = Bench()
    failed = bench.device.single(b"%PDF-1.7\n", UtteranceStart(), 0.0)
    assert isinstance(failed, Answer)
    assert isinstance(failed.verdict, UtteranceError)
    assert failed.verdict.code == "unsupported_format"
    assert "PDF" in failed.verdict.detail
    assert failed.utterance.end is EndReason.SINGLE
    assert bench.budget.used_bytes == 0


def test_a_wav_file_in_each_chunk_is_one_utterance() -> None:
    bench = Bench()
    for at in (0.0, 0.1):
        bench.device.chunk(wav_bytes(b"ab" * 100, 16_000), None, None, at)
    utterance = the_utterance(bench.device.stop(None, None, 0.2))
    assert utterance.audio == EncodedAudio(AudioFormat(), b"ab" * 200)
    assert bench.budget.used_bytes == 400


def test_a_whole_utterance_counts_against_the_memory_of_all() -> None:
    bench = Bench(budget_bytes=2000)
    assert isinstance(bench.device.single(CHUNK, UtteranceStart(), 0.0), Utterance)
    refused = bench.device.single(CHUNK, UtteranceStart(), 0.0)
    assert isinstance(refused, Answer)
    assert isinstance(refused.verdict, UtteranceError)
    assert (refused.verdict.code, refused.utterance.end) == ("overloaded", EndReason.SINGLE)


def test_a_disabled_device_answers_disabled_and_its_chunks_are_dropped() -> None:
    bench = Bench(enabled=False)
    (failed,) = bench.device.start(UtteranceStart(id="a"), 0.0)
    assert isinstance(failed, Answer)
    assert isinstance(failed.verdict, UtteranceError)
    assert isinstance(failed.verdict, DisabledError)
    single = bench.device.single(CHUNK, UtteranceStart(), 0.0)
    assert isinstance(single, Answer)
    assert isinstance(single.verdict, UtteranceError)
    assert single.verdict.code == "disabled"
    bench.chunks(3, 0.1)
    assert bench.device.counters.dropped_chunks == 3
    assert not bench.device.listening


def test_disabling_aborts_the_open_utterance() -> None:
    bench = Bench()
    bench.chunks(1, 0.0)
    (aborted,) = bench.device.change(SettingsChange(enabled=False), 0.1)
    assert isinstance(aborted, Answer)
    assert aborted.verdict is None
    assert bench.device.change(SettingsChange(enabled=None), 0.2) == []
    bench.chunks(1, 1.0)
    (aborted,) = bench.device.reconfigure(DeviceConfig(enabled=False), 1.1)
    assert isinstance(aborted, Answer)
    assert aborted.verdict is None


def test_settings_that_are_missing_stay_and_null_goes_back_to_the_configured_value() -> None:
    bench = Bench(language="de", prompt="Lampe")
    bench.device.change(SettingsChange(language="en", prompt="lamp"), 0.0)
    bench.device.change(SettingsChange(enabled=True), 0.0)
    assert (bench.device.settings.language, bench.device.settings.prompt) == ("en", "lamp")
    assert bench.device.overrides != Overrides()
    bench.device.change(SettingsChange(language=None, enabled=None), 0.0)
    assert (bench.device.settings.language, bench.device.settings.prompt) == ("de", "lamp")


def test_what_the_start_names_wins_over_the_settings() -> None:
    bench = Bench(language="de", prompt="Lampe")
    bench.device.start(UtteranceStart(language="en", prompt=""), 0.0)
    utterance = the_utterance(bench.device.stop(None, None, 0.1))
    assert (utterance.language, utterance.prompt) == ("en", "")


def test_a_device_is_transcribing_while_the_model_has_its_words() -> None:
    bench = Bench()
    states = [bench.device.state]
    bench.device.pending = 1
    states.append(bench.device.state)
    assert not bench.device.idle
    bench.chunks(1, 0.0)
    states.append(bench.device.state)
    assert states == [DeviceState.IDLE, DeviceState.TRANSCRIBING, DeviceState.LISTENING]


def test_ticking_an_idle_device_does_nothing() -> None:
    assert Bench().device.tick(10.0) == []


def words_of(utterance: Utterance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return utterance.languages, utterance.hotwords


def test_the_configured_languages_and_hotwords_go_with_every_utterance() -> None:
    bench = Bench(languages=["en", "de"], hotwords=["Kiri"])
    bench.device.start(UtteranceStart(language="fr"), 0.0)
    bench.chunks(1, 0.1)
    started = the_utterance(bench.device.stop(None, None, 0.2))
    bench.chunks(1, 1.0)
    bare = the_utterance(bench.device.stop(None, None, 1.1))
    single = bench.device.single(CHUNK, UtteranceStart(), 2.0)
    assert isinstance(single, Utterance)
    for utterance in (started, bare, single):
        assert words_of(utterance) == (("en", "de"), ("Kiri",))


def test_languages_and_hotwords_that_are_reloaded_count_from_the_next_utterance_on() -> None:
    bench = Bench(languages=["en"], hotwords=["Kiri"])
    bench.chunks(1, 0.0)
    bench.device.reconfigure(DeviceConfig(languages=("de",), hotwords=()), 0.1)
    assert words_of(the_utterance(bench.device.stop(None, None, 0.2))) == (("en",), ("Kiri",))
    bench.chunks(1, 1.0)
    assert words_of(the_utterance(bench.device.stop(None, None, 1.1))) == (("de",), ())


def start_and_stop(device: Device, id: str, now: float) -> list[Ended]:
    return [
        *device.start(UtteranceStart(id=id), now),
        *device.chunk(CHUNK, None, None, now),
        *device.stop(id, None, now),
    ]


def outcome_of(id: str, end: EndReason = EndReason.STOP) -> Outcome:
    return Outcome(DeviceKey("native", "kitchen"), id, 0.0, OutcomeKind.NO_SPEECH, end=end)


def test_an_id_that_was_answered_opens_nothing_and_its_chunks_are_dropped() -> None:
    device = Bench().device
    (utterance,) = start_and_stop(device, "a", 0.0)
    assert isinstance(utterance, Utterance)
    device.answered(outcome_of("a"), 1.0)
    again = UtteranceStart(id="a", context="again")
    assert device.start(again, 5.0) == [Repeated(again, outcome_of("a"))]
    assert device.chunk(CHUNK, None, None, 5.1) == []
    assert not device.listening
    assert device.start(UtteranceStart(id="b"), 5.2) == []
    assert device.listening


def test_an_id_that_was_answered_ends_what_is_open() -> None:
    device = Bench().device
    start_and_stop(device, "a", 0.0)
    device.answered(outcome_of("a"), 1.0)
    device.start(UtteranceStart(id="b"), 2.0)
    part, repeated = device.start(UtteranceStart(id="a"), 2.1)
    assert isinstance(part, Utterance)
    assert (part.id, part.end) == ("b", EndReason.RESTART)
    assert isinstance(repeated, Repeated)


def test_an_id_that_waits_for_the_model_opens_nothing_either() -> None:
    device = Bench().device
    start_and_stop(device, "a", 0.0)
    assert device.start(UtteranceStart(id="a"), 1.0) == [Repeated(UtteranceStart(id="a"), None)]


def test_a_start_that_cannot_be_obeyed_is_repeated_too() -> None:
    device = Bench().device
    device.refuse(UtteranceStart(id="a"), UnsupportedFormatError("mp9"), 0.0)
    device.answered(outcome_of("a"), 0.0)
    again = device.refuse(UtteranceStart(id="a"), UnsupportedFormatError("mp9"), 1.0)
    assert again == [Repeated(UtteranceStart(id="a"), outcome_of("a"))]


def test_a_part_that_is_sent_again_whole_is_a_new_utterance() -> None:
    device = Bench().device
    device.start(UtteranceStart(id="a"), 0.0)
    device.chunk(CHUNK, None, None, 0.1)
    device.end(EndReason.DISCONNECT, 0.2)
    (whole,) = start_and_stop(device, "a", 1.0)
    assert isinstance(whole, Utterance)
    device.answered(outcome_of("a", EndReason.DISCONNECT), 1.1)
    assert device.start(UtteranceStart(id="a"), 1.2) == [Repeated(UtteranceStart(id="a"), None)]
    device.answered(outcome_of("a"), 1.3)
    assert device.start(UtteranceStart(id="a"), 1.4) == [
        Repeated(UtteranceStart(id="a"), outcome_of("a"))
    ]


def test_a_chunk_that_fails_unexpectedly_is_kept_and_counted() -> None:
    decoders = ScarceDecoders()
    bench = Bench(decoders=decoders, codec="opus")
    packets = opus_packets(tone(rate=48_000))
    first, second = framed(packets[:10]), framed(packets[10:20])
    with pytest.raises(OSError, match="Too many open files"):
        bench.device.chunk(first, None, None, 0.0)
    assert bench.device.deadline is not None
    assert bench.budget.used_bytes == len(first)
    decoders.fails = False
    bench.device.chunk(second, None, None, 0.1)
    utterance = the_utterance(bench.device.stop(None, None, 0.2))
    assert utterance.audio.data == first + second
    assert bench.budget.used_bytes == len(first + second)


def test_ids_are_remembered_for_minutes_and_a_bounded_number_of_them() -> None:
    device = Bench().device
    for number in range(MAX_REMEMBERED + 1):
        start_and_stop(device, str(number), 0.0)
        device.answered(outcome_of(str(number)), 0.0)
    assert device.start(UtteranceStart(id="0"), 1.0) == []
    assert device.abort("0", 1.0) != []
    assert device.start(UtteranceStart(id="2"), REMEMBERED_S - 1) != []
    assert device.start(UtteranceStart(id="2"), REMEMBERED_S) == []


def test_a_change_can_leave_out_what_was_set_before() -> None:
    device = Bench().device
    device.change(SettingsChange(prompt="lamp"), 0.0)
    assert device.were_set == {"prompt"}
    again = SettingsChange(language="en", prompt="Lampe").without(device.were_set)
    assert again == SettingsChange(language="en")
    assert again.names == {"language"}


def test_a_restored_setting_gives_way_to_what_was_set_since() -> None:
    device = Bench().device
    device.restore(Overrides(enabled=False))
    assert not device.settings.enabled
    assert device.were_set == {"enabled"}
    device.restore(Overrides(enabled=True))
    assert not device.settings.enabled
