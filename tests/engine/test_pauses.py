from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.gate import Pause, SpeechSpan
from stt_mqtt.engine.pauses import cut_at_pauses, judge_pauses, without_pauses
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.thorough import examples


def talk(seconds: float, *pauses_s: float, seed: int = 0) -> Samples:
    """Sound with a pause of 0.4 s around each of `pauses_s`."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    for middle_s in pauses_s:
        start, end = (round((middle_s + half) * SAMPLE_RATE) for half in (-0.2, 0.2))
        samples[start:end] *= 0.001
    return samples.astype(np.float32)


def lengths_s(pieces: list[Samples]) -> list[float]:
    return [len(piece) / SAMPLE_RATE for piece in pieces]


@pytest.mark.parametrize("seconds", [0.0, 1.0, 28.0])
def test_what_fits_is_one_piece(seconds: float) -> None:
    samples = talk(seconds)
    (piece,) = cut_at_pauses(samples, 28.0)
    assert piece is samples


def test_a_cut_is_in_the_middle_of_a_pause() -> None:
    pieces = cut_at_pauses(talk(40.0, 21.0), 28.0)
    assert lengths_s(pieces) == pytest.approx([21.0, 19.0], abs=0.06)


def test_each_cut_counts_from_the_one_before() -> None:
    pieces = cut_at_pauses(talk(70.0, 19.0, 45.0), 28.0)
    assert lengths_s(pieces) == pytest.approx([19.0, 26.0, 25.0], abs=0.11)


def test_a_pause_that_comes_long_before_a_cut_is_due_is_no_reason_to_cut() -> None:
    pieces = cut_at_pauses(talk(40.0, 10.0), 28.0)
    assert 18.0 < lengths_s(pieces)[0] <= 28.0


def test_the_quietest_pause_is_taken_and_not_a_single_quiet_moment() -> None:
    samples = talk(40.0, 20.0)
    samples[25 * SAMPLE_RATE : 25 * SAMPLE_RATE + SAMPLE_RATE // 20] = 0.0
    assert lengths_s(cut_at_pauses(samples, 28.0))[0] == pytest.approx(20.0, abs=0.06)


def test_silence_without_end_is_cut_too() -> None:
    pieces = cut_at_pauses(np.zeros(100 * SAMPLE_RATE, np.float32), 28.0)
    assert sum(map(len, pieces)) == 100 * SAMPLE_RATE


@settings(max_examples=examples(20), deadline=None)
@given(
    st.floats(0.0, 20.0),
    st.floats(1.0, 6.0),
    st.lists(st.floats(0.2, 20.0), max_size=4),
    st.integers(0, 2**16),
)
def test_the_pieces_are_the_whole_and_none_is_too_long_or_tiny(
    seconds: float, max_s: float, pauses_s: list[float], seed: int
) -> None:
    samples = talk(seconds, *pauses_s, seed=seed)
    pieces = cut_at_pauses(samples, max_s)
    assert (np.concatenate(pieces) == samples).all()
    assert all(len(piece) <= round(max_s * SAMPLE_RATE) for piece in pieces)
    if len(pieces) > 1:
        assert all(len(piece) >= 0.14 * SAMPLE_RATE for piece in pieces)


def told(pauses_s: list[float], audio_s: float) -> str:
    """K for a pause that is kept, S for shortened, D for dividing."""
    return "".join(pause.name[0] for pause in judge_pauses(pauses_s, audio_s))


@pytest.mark.parametrize("pause_s", [1.5, 2.0, 20.0])
def test_a_long_pause_divides_what_is_said(pause_s: float) -> None:
    assert told([0.2, pause_s, 0.3], 10.0) == "KDK"
    assert told([pause_s], 10.0) == "D"


@pytest.mark.parametrize("pause_s", [0.8, 1.0, 1.4])
def test_a_hesitation_is_shortened_and_does_not_divide(pause_s: float) -> None:
    assert told([0.2, pause_s, 0.3], 10.0) == "KSK"


@pytest.mark.parametrize("pause_s", [0.0, 0.3, 0.7])
def test_a_pause_between_words_is_kept(pause_s: float) -> None:
    assert told([pause_s], 10.0) == "K"


def test_speech_without_pauses_is_left_as_it_is() -> None:
    assert told([], 10.0) == ""


def test_of_somebody_who_often_makes_long_pauses_only_longer_ones_divide() -> None:
    assert told([1.0, 1.2, 1.7, 1.1], 10.0) == "SSSS"
    assert told([1.0, 1.2, 2.0, 1.1], 10.0) == "SSDS"


def test_one_other_pause_says_nothing_of_how_somebody_speaks() -> None:
    assert told([1.6, 1.6], 10.0) == "DD"
    assert told([2.0, 3.0, 4.0], 14.0) == "DDD"


def test_many_sounds_with_pauses_between_them_do_not_cost_a_look_each() -> None:
    pauses_s = [2.0 + n / 100 for n in range(15)]
    assert told(pauses_s, 30.0) == "S" * 7 + "D" * 8


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.floats(0.0, 60.0), max_size=40), st.floats(0.0, 600.0))
def test_the_answer_is_one_for_each_pause_and_bounded(
    pauses_s: list[float], audio_s: float
) -> None:
    judged = judge_pauses(pauses_s, audio_s)
    assert len(judged) == len(pauses_s)
    assert judged.count(Pause.DIVIDING) <= 1 + audio_s / 4


def test_a_part_without_shortened_pauses_is_not_copied() -> None:
    samples = talk(4.0)
    piece, speech_s = without_pauses(samples, [SpeechSpan(16_000, 32_000, 0.9)])
    assert np.shares_memory(piece, samples)
    assert (len(piece), speech_s) == (16_000, 0.9)


def test_what_shortened_pauses_part_is_put_together() -> None:
    samples = talk(4.0)
    spans = [SpeechSpan(0, 16_000, 0.8), SpeechSpan(40_000, 60_000, 1.0)]
    piece, speech_s = without_pauses(samples, spans)
    assert (piece == np.concatenate([samples[:16_000], samples[40_000:60_000]])).all()
    assert speech_s == pytest.approx(0.8 + 0.4 + 1.0)
