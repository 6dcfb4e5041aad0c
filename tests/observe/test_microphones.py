from __future__ import annotations

from typing import Any

import pytest

from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.observe.microphones import (
    EVENTS,
    EVENTS_AGE_S,
    FEWEST,
    LIMITS,
    UTTERANCE_AGE_S,
    UTTERANCES,
    Judgement,
    Limits,
    Microphones,
    Reason,
    Word,
)
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind, Transcript

NOW = 50_000.0
KITCHEN = DeviceKey("native", "kitchen")
CLEAR = Levels(speech_dbfs=-22.0, noise_dbfs=-62.0, clipped=0.0)


class Bench:
    """A kitchen with a microphone."""

    def __init__(self) -> None:
        self.microphones = Microphones(most=3)
        self.now = NOW

    def hears(self, times: int = 1, levels: Levels | None = CLEAR, **fields: Any) -> None:
        kind = fields.pop("kind", OutcomeKind.TRANSCRIPT)
        transcript = Transcript("Hello.", "en", 0.9, 0.0)
        for _ in range(times):
            outcome = Outcome(KITCHEN, "a", 0.0, kind, transcript, levels=levels, **fields)
            self.microphones.outcome(outcome, self.now)

    @property
    def judgement(self) -> Judgement:
        return self.microphones.judge("native", "kitchen", self.now)

    @property
    def word(self) -> Word:
        return self.judgement.word

    @property
    def reasons(self) -> dict[Reason, Word]:
        return {finding.reason: finding.word for finding in self.judgement.findings}


def test_a_microphone_is_good_if_nothing_speaks_against_it() -> None:
    bench = Bench()
    bench.hears(FEWEST)
    judgement = bench.judgement
    assert (judgement.word, judgement.findings) == (Word.GOOD, ())
    assert (judgement.speech_dbfs, judgement.noise_dbfs, judgement.snr_db) == (-22, -62, 40)


def test_a_few_utterances_are_no_evidence() -> None:
    bench = Bench()
    assert bench.word is Word.UNKNOWN
    bench.hears(FEWEST - 1, lost_chunks=3)
    assert bench.word is Word.UNKNOWN
    bench.hears(lost_chunks=3)
    assert bench.reasons == {Reason.LOST_CHUNKS: Word.BAD}


@pytest.mark.parametrize(
    ("levels", "reason", "word"),
    [
        (Levels(-22, -36, 0), Reason.NOISE, Word.WEAK),
        (Levels(-22, -29, 0), Reason.NOISE, Word.BAD),
        (Levels(-46, -80, 0), Reason.LEVEL, Word.WEAK),
        (Levels(-60, -90, 0), Reason.LEVEL, Word.BAD),
        (Levels(-3, -60, 0.01), Reason.CLIPPING, Word.BAD),
    ],
)
def test_levels_are_reasons(levels: Levels, reason: Reason, word: Word) -> None:
    bench = Bench()
    bench.hears(FEWEST, levels)
    assert bench.reasons == {reason: word}
    assert bench.word is word


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lost_chunks": 1}, Reason.LOST_CHUNKS),
        ({"hint": Hint.CLIPPING}, Reason.CLIPPING),
        ({"hint": Hint.OFFSET}, Reason.OFFSET),
        ({"age_s": 2.5}, Reason.LATE),
        ({"hint": Hint.BYTE_ORDER}, Reason.FORMAT),
    ],
)
def test_the_share_of_utterances_with_a_fault_is_a_reason(
    fields: dict[str, Any], reason: Reason
) -> None:
    bench = Bench()
    bench.hears(UTTERANCES)
    assert bench.reasons == {}
    bench.hears(round(LIMITS[reason].weak * UTTERANCES), **fields)
    assert bench.reasons == {reason: Word.WEAK}
    bench.hears(UTTERANCES, **fields)
    assert bench.reasons == {reason: Word.BAD}
    bench.hears(UTTERANCES)
    assert bench.reasons == {}


def test_each_reason_has_a_sentence_with_its_figure() -> None:
    bench = Bench()
    bench.hears(3, Levels(-22, -33, 0.0), lost_chunks=1)
    bench.hears(1, Levels(-22, -33, 0.0))
    sentences = [finding.sentence for finding in bench.judgement.findings]
    assert sentences[0].startswith("Chunks were lost in 3 of 4 utterances: ")
    assert sentences[1].startswith("Speech is only 11 dB above the background: ")


def test_the_sentence_about_a_wrong_format_is_that_of_the_hint() -> None:
    bench = Bench()
    error = CorruptAudioError("nothing could be decoded")
    error.hint = Hint.SHIFTED
    bench.hears(FEWEST, None, kind=OutcomeKind.ERROR, error=error)
    (finding,) = bench.judgement.findings
    assert (finding.word, finding.sentence) == (Word.BAD, Hint.SHIFTED.sentence)


def test_the_worst_reason_comes_first() -> None:
    bench = Bench()
    bench.hears(FEWEST, Levels(-60, -73, 0.0))
    assert list(bench.reasons) == [Reason.LEVEL, Reason.NOISE]
    assert bench.word is Word.BAD


def test_wake_ups_without_speech_are_counted_over_the_last_hour() -> None:
    bench = Bench()
    bench.hears(UTTERANCES)
    limits = LIMITS[Reason.FALSE_WAKE_UPS]
    bench.hears(round(limits.weak) - 1, kind=OutcomeKind.NO_SPEECH)
    assert bench.word is Word.GOOD
    bench.hears(kind=OutcomeKind.NO_SPEECH)
    assert bench.reasons == {Reason.FALSE_WAKE_UPS: Word.WEAK}
    bench.hears(EVENTS + 5, kind=OutcomeKind.NO_SPEECH)
    assert bench.reasons == {Reason.FALSE_WAKE_UPS: Word.BAD}
    bench.now += EVENTS_AGE_S + 1
    assert bench.word is Word.GOOD


def test_going_offline_is_counted_over_the_last_hour_also_before_anything_was_said() -> None:
    bench = Bench()
    bench.microphones.went_offline("native", "kitchen", 3, NOW)
    assert bench.reasons == {Reason.RECONNECTS: Word.WEAK}
    bench.microphones.went_offline("native", "kitchen", 10**9, NOW)
    assert bench.reasons == {Reason.RECONNECTS: Word.BAD}
    assert bench.judgement.findings[0].sentence.startswith(f"It went offline {EVENTS} times")


def test_silence_says_nothing_about_levels() -> None:
    bench = Bench()
    bench.hears(5, Levels(None, -30, 0.0), kind=OutcomeKind.NO_SPEECH)
    assert bench.word is Word.UNKNOWN
    bench.hears(FEWEST, None)
    assert (bench.judgement.word, bench.judgement.snr_db) == (Word.GOOD, None)


def test_what_was_said_yesterday_says_nothing_about_today() -> None:
    bench = Bench()
    bench.hears(UTTERANCES, lost_chunks=1)
    bench.now += UTTERANCE_AGE_S + 1
    assert bench.word is Word.UNKNOWN


def test_limits_go_up_or_down() -> None:
    assert [Limits(3, 10).word(value) for value in (2, 3, 10)] == [Word.GOOD, Word.WEAK, Word.BAD]
    assert [Limits(15, 8).word(value) for value in (16, 15, 8)] == [Word.GOOD, Word.WEAK, Word.BAD]


def test_the_number_of_rooms_is_bounded_and_a_forgotten_one_is_unknown() -> None:
    microphones = Microphones(most=2)
    for name in ("one", "two", "one", "three"):
        microphones.went_offline("native", name, 10, NOW)
    words = [microphones.judge("native", name, NOW).word for name in ("one", "two", "three")]
    assert words == [Word.BAD, Word.UNKNOWN, Word.BAD]
    microphones.forget("native", "one")
    assert microphones.judge("native", "one", NOW).word is Word.UNKNOWN


def test_doors_have_rooms_of_their_own() -> None:
    microphones = Microphones(most=2)
    microphones.went_offline("hermes", "kitchen", 10, NOW)
    assert microphones.judge("native", "kitchen", NOW).word is Word.UNKNOWN
