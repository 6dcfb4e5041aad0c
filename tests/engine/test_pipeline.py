from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.audio.levels import SILENCE_DBFS
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.pipeline import Pipeline, join
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.transcriber import MAX_SPEECH_S, DecodePass, Hypothesis, Speech
from stt_mqtt.errors import (
    CorruptAudioError,
    InferenceFailedError,
    TooLongError,
    TooShortError,
    UnsupportedLanguageError,
    UtteranceError,
)
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.stages import Stage
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Batch,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
    Verdict,
)
from tests.engine.scripted import FakeVoice, Scripted, hypothesis

SPOKEN = frozenset({"en"})
TOGETHER = 4
ANYTHING = GateConfig(enabled=False)
SILENCE = bytes(2 * SAMPLE_RATE)
DIGITAL_SILENCE = Levels(None, SILENCE_DBFS, 0.0)


def pcm(seconds: float, mark: int = 1) -> bytes:
    """Audio that a scripted model knows by its mark: a square wave of so much."""
    return (
        np.resize(np.repeat([mark * 512, -mark * 512], 8), round(seconds * SAMPLE_RATE))
        .astype("<i2")
        .tobytes()
    )


def utterance(data: bytes, codec: Codec = Codec.PCM_S16LE, name: str = "kitchen") -> Utterance:
    return Utterance(
        key=DeviceKey("native", name),
        id="a",
        audio=EncodedAudio(AudioFormat(codec), data),
        language="en",
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
    )


def pipeline(
    model: Scripted | None = None, gate: GateConfig = ANYTHING, max_s: float = 60.0
) -> Pipeline:
    return Pipeline(
        Recognizer(model or Scripted(), FakeVoice()), gate, max_s, "best", frozenset({"en"})
    )


def run(used: Pipeline, *utterances: Utterance, may_retry: bool = False) -> dict[int, Verdict]:
    """The verdicts by their index; there may be only one for each."""
    found = list(used.run(Batch(7, utterances, may_retry, together=TOGETHER)))
    assert Counter(index for index, _ in found) == Counter(range(len(utterances)))
    return dict(found)


def understood(verdict: Verdict) -> str:
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is not None
    return verdict.transcript.text


@dataclass
class Numbered:
    """A model that says how many pieces it has heard, and that can be given errors."""

    errors: dict[int, UtteranceError]
    count: int = 0

    def __call__(self, said: Speech, decode_pass: DecodePass) -> Hypothesis | UtteranceError:
        self.count += 1
        return self.errors.get(self.count) or hypothesis(f"Part {self.count}.")


def test_what_the_device_asked_for_reaches_the_model() -> None:
    model = Scripted()
    asked = replace(
        utterance(pcm(1.0)),
        language=None,
        languages=("en", "de"),
        prompt="In the hall.",
        hotwords=("Kiri",),
    )
    run(pipeline(model), asked)
    ((_, (speech,)),) = model.asked
    assert len(speech.samples) == SAMPLE_RATE
    assert (speech.language, speech.languages) == ("en", ())
    assert (speech.prompt, speech.hotwords) == ("In the hall.", ("Kiri",))


def test_a_transcript_is_signed_by_its_model_and_rung() -> None:
    heard = pipeline().transcribe(utterance(pcm(1.0)))
    assert heard.transcript is not None
    assert heard.transcript.text == "Turn on the light."
    assert heard.transcript.confidence == pytest.approx(math.exp(-0.2))
    assert heard.transcript.no_speech_prob == pytest.approx(0.01)
    assert (heard.model, heard.rung, heard.audio_s) == ("scripted", "best", 1.0)
    assert heard.infer_s is not None
    assert heard.work_s is not None


def test_silence_never_reaches_the_model() -> None:
    model = Scripted()
    assert pipeline(model, GateConfig()).transcribe(utterance(SILENCE)) == InferenceResult(
        audio_s=1.0, levels=DIGITAL_SILENCE
    )
    assert model.asked == []


def test_the_levels_of_speech_and_background_are_told_beside_the_words() -> None:
    heard = pipeline(gate=GateConfig()).transcribe(utterance(SAMPLES[0].pcm()))
    assert heard.transcript is not None
    assert heard.levels is not None
    assert heard.levels.speech_dbfs is not None
    assert -40 < heard.levels.speech_dbfs < -5
    assert heard.levels.noise_dbfs < heard.levels.speech_dbfs


def test_a_transcript_without_words_is_handed_on_with_what_the_model_says() -> None:
    heard = pipeline(Scripted(lambda *_: hypothesis("", 0))).transcribe(utterance(pcm(1.0)))
    assert heard.transcript is not None
    assert heard.transcript.text == ""
    assert heard.infer_s is not None


@pytest.mark.parametrize("seconds", [0.0, 0.0999])
def test_under_100_ms_is_too_short(seconds: float) -> None:
    with pytest.raises(TooShortError, match="100 needed"):
        pipeline().transcribe(utterance(pcm(seconds)))


def test_100_ms_is_enough() -> None:
    assert pipeline().transcribe(utterance(pcm(0.1))).transcript is not None


def test_what_is_over_the_cap_is_cut_off_or_refused_as_the_device_is_set() -> None:
    long = utterance(pcm(1.5))
    heard = pipeline(max_s=1.0).transcribe(long)
    assert (heard.audio_s, heard.truncated) == (1.0, True)
    with pytest.raises(TooLongError, match="longer than 1 s"):
        pipeline(max_s=1.0).transcribe(replace(long, reject_over_cap=True))


def test_what_ends_at_the_cap_is_not_refused() -> None:
    exact = replace(utterance(pcm(1.0)), reject_over_cap=True)
    assert not pipeline(max_s=1.0).transcribe(exact).truncated


def test_silence_over_the_cap_is_told_to_be_cut_off() -> None:
    heard = pipeline(gate=GateConfig(), max_s=0.5).transcribe(utterance(SILENCE))
    assert heard == InferenceResult(audio_s=0.5, truncated=True, levels=DIGITAL_SILENCE)


def test_bytes_that_are_no_audio_are_an_error_of_the_utterance() -> None:
    with pytest.raises(CorruptAudioError):
        pipeline().transcribe(utterance(pcm(1.0), Codec.OGG))


def test_an_error_of_the_model_is_an_error_of_the_utterance() -> None:
    model = Scripted(lambda *_: UnsupportedLanguageError("no German"))
    with pytest.raises(UnsupportedLanguageError, match="no German"):
        pipeline(model).transcribe(utterance(pcm(1.0)))


def test_each_utterance_of_a_batch_gets_exactly_one_verdict_of_its_own() -> None:
    model = Scripted()
    speech = SAMPLES[0].pcm()
    seconds = len(speech) / 2 / SAMPLE_RATE
    found = run(
        pipeline(model, GateConfig(), max_s=120.0),
        utterance(b"not an Ogg", Codec.OGG),
        utterance(pcm(0.05)),
        utterance(SILENCE),
        utterance(speech * 16),
        utterance(speech),
    )
    assert isinstance(found[0], CorruptAudioError)
    assert isinstance(found[1], TooShortError)
    assert found[2] == InferenceResult(audio_s=1.0, levels=DIGITAL_SILENCE)
    assert isinstance(found[3], InferenceResult)
    assert found[3].audio_s == pytest.approx(16 * seconds)
    assert understood(found[3]).startswith("Turn on the light. Turn on the light.")
    assert understood(found[4]) == "Turn on the light."


def test_what_has_speech_in_it_is_decoded_together() -> None:
    model = Scripted()
    run(pipeline(model), *(utterance(pcm(1.0, mark)) for mark in (1, 2, 3)))
    assert model.passes == [("first", [1, 2, 3])]


def test_no_more_pieces_are_in_the_model_at_once_than_there_is_memory_for() -> None:
    model = Scripted()
    found = run(pipeline(model), *(utterance(pcm(1.0, n)) for n in range(1, TOGETHER + 3)))
    assert all(understood(verdict) for verdict in found.values())
    assert [len(marks) for _, marks in model.passes] == [TOGETHER, 2]


def test_short_utterances_do_not_wait_for_all_of_a_long_one() -> None:
    batch = Batch(7, (utterance(long_talk(20.0, seconds=40.0)), utterance(pcm(1.0))), False, 1)
    assert [index for index, _ in pipeline(Scripted()).run(batch)] == [1, 0]


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ((), (None, ("de", "en"))),
        (("en-US",), ("en", ())),
        (("de", "cy"), ("de", ())),
        (("de", "EN", "cy"), (None, ("de", "en"))),
    ],
)
def test_a_language_is_detected_among_those_that_are_allowed_and_that_every_rung_speaks(
    allowed: tuple[str, ...], asked: tuple[str | None, tuple[str, ...]]
) -> None:
    model = Scripted(languages=frozenset({"en", "de", "fr"}))
    two = replace(pipeline(model), languages=frozenset({"en", "de"}))
    run(two, replace(utterance(pcm(1.0)), language=None, languages=allowed))
    ((_, (said,)),) = model.asked
    assert (said.language, said.languages) == asked


def test_languages_of_which_none_is_spoken_are_an_error_and_not_any_language() -> None:
    found = run(pipeline(), replace(utterance(pcm(1.0)), language=None, languages=("cy",)))
    assert isinstance(found[0], UnsupportedLanguageError)


def test_one_that_is_looked_at_twice_does_not_keep_the_others_waiting() -> None:
    def answer(said: Speech, decode_pass: DecodePass) -> Hypothesis:
        return hypothesis("Go.", 1) if len(said.samples) > SAMPLE_RATE else hypothesis()

    batch = Batch(7, (utterance(pcm(4.0)), utterance(pcm(1.0))), may_retry=True, together=TOGETHER)
    found = list(pipeline(Scripted(answer)).run(batch))
    assert [index for index, _ in found] == [1, 0]
    assert [v.retried for _, v in found if isinstance(v, InferenceResult)] == [False, True]


def test_a_batch_without_time_is_looked_at_once() -> None:
    model = Scripted(lambda *_: hypothesis("Go.", 1))
    run(pipeline(model), utterance(pcm(4.0)), may_retry=False)
    run(pipeline(model), utterance(pcm(4.0)), may_retry=True)
    assert [name for name, _ in model.passes] == ["first", "first", "second"]


def test_one_utterance_alone_always_has_time_for_a_retry() -> None:
    model = Scripted(lambda *_: hypothesis("Go.", 1))
    assert pipeline(model).transcribe(utterance(pcm(4.0))).retried
    assert [name for name, _ in model.passes] == ["first", "second"]


def long_talk(*pauses_s: float, seconds: float) -> bytes:
    samples = np.random.default_rng(1).normal(0, 3000, round(seconds * SAMPLE_RATE))
    for pause_s in pauses_s:
        middle = round(pause_s * SAMPLE_RATE)
        samples[middle - 3200 : middle + 3200] = 0
    return samples.astype("<i2").tobytes()


def test_long_speech_is_split_at_its_pauses_and_joined() -> None:
    model = Scripted(Numbered({}))
    (verdict,) = run(pipeline(model), utterance(long_talk(20.0, 45.0, seconds=59.0))).values()
    ((_, speeches),) = model.asked
    lengths_s = [len(speech.samples) / SAMPLE_RATE for speech in speeches]
    assert lengths_s == pytest.approx([20.0, 25.0, 14.0], abs=0.1)
    assert max(lengths_s) <= MAX_SPEECH_S
    assert understood(verdict) == "Part 1. Part 2. Part 3."
    assert isinstance(verdict, InferenceResult)
    assert verdict.audio_s == 59.0


def test_of_long_audio_only_what_is_said_reaches_the_model() -> None:
    model = Scripted(Numbered({}))
    speech = SAMPLES[0].pcm()
    long = utterance(speech + SILENCE * 70 + speech)
    (verdict,) = run(pipeline(model, GateConfig(), max_s=90.0), long).values()
    assert understood(verdict) == "Part 1. Part 2."
    ((_, speeches),) = model.asked
    # The speech with at most 300 ms of margin beside it.
    assert all(len(said.samples) <= len(speech) / 2 + 0.3 * SAMPLE_RATE for said in speeches)


@pytest.mark.parametrize("pause_s", [2, 10])
def test_two_commands_with_a_long_pause_between_them_are_heard_apart_and_joined(
    pause_s: int,
) -> None:
    model = Scripted(Numbered({}))
    first, second = SAMPLES[0].pcm(), SAMPLES[1].pcm()
    both = utterance(first + SILENCE * pause_s + second)
    (verdict,) = run(pipeline(model, GateConfig()), both).values()
    assert understood(verdict) == "Part 1. Part 2."
    ((_, speeches),) = model.asked
    lengths = [len(said.samples) for said in speeches]
    # The speech with at most 300 ms of margin beside it.
    for length, pcm_bytes in zip(lengths, (first, second), strict=True):
        assert length <= len(pcm_bytes) / 2 + 0.3 * SAMPLE_RATE


def test_each_of_two_commands_is_doubted_by_its_own_length() -> None:
    # Eight tokens are few for the whole, and enough for each.
    model = Scripted(lambda *_: hypothesis(tokens=8))
    both = utterance(SAMPLES[0].pcm() + SILENCE * 10 + SAMPLES[0].pcm())
    assert not pipeline(model, GateConfig()).transcribe(both).retried
    ((name, marks),) = model.passes
    assert (name, len(marks)) == ("first", 2)


def test_of_two_commands_the_second_may_be_behind_the_cap() -> None:
    model = Scripted(lambda *_: hypothesis(tokens=8))
    both = utterance(SAMPLES[0].pcm() + SILENCE * 4 + SAMPLES[0].pcm())
    heard = pipeline(model, GateConfig(), max_s=5.0).transcribe(both)
    assert heard.truncated
    assert understood(heard) == "Turn on the light."


def test_a_hesitation_does_not_divide_a_command() -> None:
    model = Scripted(lambda *_: hypothesis(tokens=8))
    # Without the silence that the samples end with, there are 0.6 s between the words.
    words = [SAMPLES[n].pcm()[: 2 * round(s * SAMPLE_RATE)] for n, s in ((5, 1.5), (8, 1.32))]
    hesitating = utterance(words[0] + SILENCE[: 2 * round(0.3 * SAMPLE_RATE)] + words[1])
    pipeline(model, GateConfig()).transcribe(hesitating)
    assert [len(marks) for _, marks in model.passes] == [1]


def test_a_long_hesitation_is_shortened_before_the_model_hears_it() -> None:
    model = Scripted(lambda *_: hypothesis(tokens=8))
    words = [SAMPLES[n].pcm()[: 2 * round(s * SAMPLE_RATE)] for n, s in ((5, 1.5), (8, 1.32))]
    # With the silence that the second begins with, 1.2 s.
    run(
        pipeline(model, GateConfig()),
        utterance(words[0] + SILENCE[: 2 * round(0.9 * SAMPLE_RATE)] + words[1]),
    )
    ((_, (said,)),) = model.asked
    without_pause_s = sum(map(len, words)) / 2 / SAMPLE_RATE - 0.3
    assert len(said.samples) / SAMPLE_RATE == pytest.approx(without_pause_s + 0.4, abs=0.2)


def test_what_a_device_asked_for_holds_for_every_piece() -> None:
    model = Scripted()
    asked = replace(utterance(pcm(59.0)), prompt="In the hall.", hotwords=("Kiri",))
    run(pipeline(model), asked)
    ((_, speeches),) = model.asked
    assert len(speeches) > 2
    assert {(s.language, s.prompt, s.hotwords) for s in speeches} == {
        ("en", "In the hall.", ("Kiri",))
    }


def test_pieces_of_one_utterance_that_end_up_in_two_rounds_are_joined_in_order() -> None:
    model = Scripted(Numbered({}))
    short = [utterance(pcm(1.0)) for _ in range(TOGETHER - 1)]
    found = run(pipeline(model), *short, utterance(long_talk(20.0, seconds=40.0)))
    assert understood(found[TOGETHER - 1]) == f"Part {TOGETHER}. Part {TOGETHER + 1}."
    assert [len(speeches) for _, speeches in model.asked] == [TOGETHER, 1]


@pytest.mark.parametrize("failing", [{2}, {3}, {2, 4}, {2, 3, 4}])
def test_a_failing_piece_of_a_long_utterance_answers_it_once(failing: set[int]) -> None:
    errors: dict[int, UtteranceError] = {n: InferenceFailedError(f"piece {n}") for n in failing}
    model = Scripted(Numbered(errors))
    found = run(
        pipeline(model),
        utterance(long_talk(20.0, 45.0, seconds=59.0)),
        utterance(pcm(1.0)),
    )
    assert found[0] is errors[min(failing)]
    assert understood(found[1]) == "Part 1."


def test_the_numbers_of_a_long_utterance_are_those_of_its_pieces() -> None:
    def answer(said: Speech, decode_pass: DecodePass) -> Hypothesis:
        return hypothesis("Go.", 1) if len(said.samples) > 19 * SAMPLE_RATE else hypothesis()

    heard = pipeline(Scripted(answer)).transcribe(utterance(long_talk(20.0, seconds=30.0)))
    assert heard.retried
    assert heard.infer_s is not None
    assert heard.work_s is not None
    assert heard.infer_s >= heard.work_s > 0


def test_a_joined_transcript_weighs_its_pieces_by_tokens() -> None:
    whole = join(
        [
            hypothesis("One.", tokens=3, log_prob=-0.4, no_speech=0.4),
            hypothesis("Two.", tokens=1, log_prob=-0.8, no_speech=0.0),
        ]
    )
    assert whole.text == "One. Two."
    assert whole.confidence == pytest.approx(math.exp(-0.5))
    assert whole.no_speech_prob == pytest.approx(0.3)


def test_a_piece_in_which_nothing_was_said_leaves_no_gap_in_the_text() -> None:
    whole = join([hypothesis("One."), hypothesis("", 0), hypothesis("Two.")])
    assert whole.text == "One. Two."


def test_the_last_piece_with_words_tells_how_surely_the_sentence_has_ended() -> None:
    first, last = (replace(hypothesis(), end_prob=one) for one in (0.9, 0.4))
    assert join([first, last]).end_prob == 0.4
    assert join([first, hypothesis("", 0)]).end_prob == 0.9
    assert join([hypothesis("", 0)]).end_prob == 0.0


def test_a_confidence_never_exceeds_one() -> None:
    assert join([hypothesis(log_prob=0.001)]).confidence == 1.0


def test_an_unexpected_exception_harms_only_its_utterance_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks_on_wav(audio: EncodedAudio, max_s: float) -> Decoded:
        if audio.format == AudioFormat(Codec.WAV):
            raise ZeroDivisionError
        return decode(audio, max_s)

    monkeypatch.setattr("stt_mqtt.audio.decoders.decode", breaks_on_wav)
    with caplog.at_level(logging.ERROR):
        found = run(
            pipeline(),
            utterance(pcm(1.0)),
            utterance(b"RIFF", Codec.WAV, name="hall"),
            utterance(pcm(1.0)),
        )
    assert isinstance(found[1], InferenceFailedError)
    assert "unexpected ZeroDivisionError" in found[1].detail
    assert understood(found[0]) == understood(found[2]) == "Turn on the light."
    (record,) = caplog.records
    assert vars(record)["device"] == "native/hall"
    assert record.exc_info is not None


def test_progress_says_how_many_seconds_of_the_speech_are_done() -> None:
    told: list[tuple[float, float]] = []
    batch = Batch(
        7, (utterance(pcm(1.0)), utterance(SILENCE), utterance(pcm(2.0))), False, TOGETHER
    )
    list(pipeline().run(batch, lambda *done: told.append(done)))
    assert told == [(1.0, 4.0), (2.0, 4.0), (4.0, 4.0)]


def test_progress_of_a_long_utterance_is_told_by_its_pieces() -> None:
    told: list[tuple[float, float]] = []
    long = utterance(long_talk(20.0, 45.0, seconds=59.0))
    pipeline().transcribe(long, lambda *done: told.append(done))
    assert [of_s for _, of_s in told] == pytest.approx([59.0] * 3)
    assert [done_s for done_s, _ in told] == pytest.approx([20.0, 45.0, 59.0], abs=0.1)


def test_progress_reaches_its_end_when_a_piece_fails() -> None:
    told: list[tuple[float, float]] = []
    model = Scripted(Numbered({1: InferenceFailedError("broken")}))
    with pytest.raises(InferenceFailedError):
        pipeline(model).transcribe(utterance(pcm(40.0)), lambda *done: told.append(done))
    assert told[-1] == pytest.approx((40.0, 40.0))


def test_where_nobody_speaks_there_is_no_progress() -> None:
    told: list[tuple[float, float]] = []
    pipeline(gate=GateConfig()).transcribe(utterance(SILENCE), lambda *done: told.append(done))
    assert told == []


def test_what_looks_wrong_with_the_audio_is_said_with_the_words_and_without_them() -> None:
    swapped = np.frombuffer(SAMPLES[0].pcm(), "<i2").byteswap().tobytes()
    assert pipeline().transcribe(utterance(swapped)).hint is Hint.BYTE_ORDER
    assert pipeline().transcribe(utterance(SAMPLES[0].pcm())).hint is None
    beside = np.full(SAMPLE_RATE, 3_000, "<i2").tobytes()
    silent = pipeline(gate=GateConfig()).transcribe(utterance(beside))
    assert (silent.transcript, silent.hint) == (None, Hint.OFFSET)


def test_an_error_that_comes_of_it_says_what_looks_wrong() -> None:
    floats = np.frombuffer(SAMPLES[0].pcm(), "<i2").astype(np.float32) / 32768
    long = replace(utterance(floats.tobytes()), reject_over_cap=True)
    with pytest.raises(TooLongError) as raised:
        pipeline(max_s=4.0).transcribe(long)
    assert raised.value.hint is Hint.FLOAT_AS_S16
    assert raised.value.detail.endswith(Hint.FLOAT_AS_S16.sentence)


# Drafts ----------------------------------------------------------------------------------------


def draft(data: bytes, after: str = "") -> Utterance:
    return replace(utterance(data), end=None, draft_after=after)


def test_a_draft_is_one_quick_answer_without_a_judge() -> None:
    doubtful = hypothesis("Thank you.", log_prob=-3.0, no_speech=0.99)
    model = Scripted(lambda *_: doubtful)
    (verdict,) = run(pipeline(model), draft(pcm(1.0), "Thank"), may_retry=True).values()
    assert understood(verdict) == "Thank you."
    assert model.asked == []
    ((speech, after),) = model.drafted
    assert (after, speech.language, len(speech.samples)) == ("Thank", "en", SAMPLE_RATE)
    assert isinstance(verdict, InferenceResult)
    assert verdict.work_s is not None
    assert verdict.work_s > 0


def test_a_draft_begins_with_the_speech() -> None:
    model = Scripted()
    spoken = SAMPLES[0].pcm()
    run(pipeline(model, GateConfig()), draft(SILENCE + spoken))
    ((speech, _),) = model.drafted
    assert len(speech.samples) <= len(spoken) // 2 + SAMPLE_RATE // 2


def test_there_is_no_draft_of_silence_or_of_more_than_the_model_reads() -> None:
    model = Scripted()
    used = pipeline(model, GateConfig())
    (verdict,) = run(used, draft(SILENCE)).values()
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is None
    long = draft(pcm(MAX_SPEECH_S + 1))
    (verdict,) = run(pipeline(model), long).values()
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is None
    assert model.drafted == []


def test_the_echo_at_the_end_of_a_draft_is_left_out_and_a_loop_is_none() -> None:
    twice = Scripted(lambda *_: hypothesis("Stop it. Stop it."))
    (verdict,) = run(pipeline(twice), draft(pcm(1.0))).values()
    assert understood(verdict) == "Stop it."
    loop = Scripted(lambda *_: hypothesis("ha ho he " * 30 + "ha"))
    (verdict,) = run(pipeline(loop), draft(pcm(1.0))).values()
    assert isinstance(verdict, InferenceResult)
    assert verdict.transcript is None


@pytest.mark.parametrize("error", [InferenceFailedError("no memory"), RuntimeError("no memory")])
def test_a_draft_that_fails_is_an_error(error: Exception) -> None:
    def fail(*_: object) -> Hypothesis:
        raise error

    (verdict,) = run(pipeline(Scripted(fail)), draft(pcm(1.0))).values()
    assert isinstance(verdict, InferenceFailedError)


def test_the_time_of_each_stage_is_told() -> None:
    model = Scripted(lambda *_: replace(hypothesis(), stages={Stage.ENCODE: 0.25}))
    verdict = run(pipeline(model), utterance(pcm(1.0)))[0]
    assert isinstance(verdict, InferenceResult)
    assert set(verdict.stages) == {Stage.DECODE, Stage.GATE, Stage.ENCODE, Stage.JUDGE}
    assert verdict.stages[Stage.ENCODE] == 0.25
    assert all(seconds > 0 for seconds in verdict.stages.values())


def test_of_long_speech_the_stages_of_all_pieces_count_together() -> None:
    model = Scripted(lambda *_: replace(hypothesis(), stages={Stage.ENCODE: 0.25}))
    verdict = run(pipeline(model), utterance(pcm(2.5 * MAX_SPEECH_S), name="long"))[0]
    assert isinstance(verdict, InferenceResult)
    assert verdict.stages[Stage.ENCODE] == 0.25 * len(model.asked[0][1])
    assert len(model.asked[0][1]) > 1


def test_silence_has_only_the_stages_before_the_model() -> None:
    verdict = run(pipeline(gate=GateConfig()), utterance(SILENCE))[0]
    assert isinstance(verdict, InferenceResult)
    assert set(verdict.stages) == {Stage.DECODE, Stage.GATE}


def test_a_retry_is_one_stage() -> None:
    doubtful = replace(hypothesis("so " * 40), stages={Stage.ENCODE: 0.25})
    verdict = run(pipeline(Scripted(lambda *_: doubtful)), utterance(pcm(1.0)), may_retry=True)[0]
    assert isinstance(verdict, InferenceResult)
    assert verdict.retried
    assert verdict.stages[Stage.RETRY] > 0
    assert verdict.stages[Stage.ENCODE] == 0.25
