"""The search for a calibration: what is tried, what it costs, and which windows are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.calibration import FULL_WINDOW, UNCALIBRATED, Calibration, Floats, Window
from stt_mqtt.engine.calibration_search import (
    PAD_AND_MIN_S,
    SILENCE_LEVEL,
    WER_MARGIN,
    WINDOWS,
    Score,
    SplitModel,
    Trial,
    calibration,
    choose,
    clear_no_speech_prob,
    try_windows,
    worse_languages,
)
from stt_mqtt.engine.loaded import Silence, window_s
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.engine.scripted import hypothesis, speech

WORDS = 1000
ENGLISH = ("en",)
SHORT, MIDDLE, WIDE = WINDOWS[1], WINDOWS[9], WINDOWS[17]


@dataclass
class FakeModel:
    """Encodes a window to as many states as it has, and says how many states it decodes."""

    encoded: list[Window] = field(default_factory=list)

    def encode(self, samples: Samples, window: Window) -> Floats:
        self.encoded.append(window)
        return np.ones((50 * window_s(window, len(samples) / SAMPLE_RATE), 1), np.float32)

    def decode(self, states: Floats, speech: Speech) -> Hypothesis:
        return hypothesis(f"{int(states.sum())} of {len(states)}")

    @property
    def split(self) -> SplitModel:
        return SplitModel(self.encode, self.decode, Silence(np.zeros((1500, 1), np.float32)))


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on by `step_s` whenever it is read."""
    ticks = count()
    return lambda: next(ticks) * step_s


def trial(window: Window, wrong: int, cpu_s: float, loops: set[int] | None = None) -> Trial:
    """One of a single clip, whose difference to another one may always be chance."""
    return Trial(window, (Score(wrong, WORDS, 0, 100),), cpu_s, frozenset(loops or ()))


def spoken(window: Window, wrong: list[int], cpu_s: float) -> Trial:
    """One with as many wrong words in each clip of ten."""
    return Trial(window, tuple(Score(one, 10, 0, 1) for one in wrong), cpu_s, frozenset())


def test_the_full_window_is_the_reference_and_only_the_start_of_the_search() -> None:
    assert [window for window in WINDOWS if window == FULL_WINDOW] == [FULL_WINDOW]
    assert len(set(WINDOWS)) == len(WINDOWS) == 21


def test_each_piece_of_speech_is_encoded_once_for_all_tails() -> None:
    fake = FakeModel()
    found = list(try_windows(fake.split, speech(), WINDOWS, ticking(0.0)))
    assert [window for window, _, _ in found] == list(WINDOWS)
    assert len(fake.encoded) == 1 + len(PAD_AND_MIN_S)
    assert all(window.tail_states == 0 for window in fake.encoded)


def test_each_tail_is_decoded_behind_what_was_encoded() -> None:
    texts = {
        (window.min_s, window.tail_states, window.tail_stride): heard.text
        for window, heard, _ in try_windows(FakeModel().split, speech(), WINDOWS, ticking(0.0))
    }
    assert texts[30.0, 0, 1] == "1500 of 1500"
    assert texts[4.0, 1500, 1] == "200 of 1500"
    assert texts[4.0, 300, 1] == "200 of 500"
    assert texts[4.0, 1500, 2] == "200 of 850"
    assert texts[10.0, 500, 1] == "500 of 1000"


def test_every_window_pays_for_its_encoding_although_that_was_done_once() -> None:
    costs = [
        cpu_s for _, _, cpu_s in try_windows(FakeModel().split, speech(), WINDOWS, ticking(1.0))
    ]
    assert costs == [2.0] * len(WINDOWS)


def test_the_first_look_is_the_cheapest_that_is_about_as_good_as_the_best() -> None:
    trials = [trial(FULL_WINDOW, 150, 9), trial(SHORT, 106, 1), trial(MIDDLE, 105, 2)]
    assert choose([*trials, trial(WIDE, 100, 3)], ENGLISH) == (MIDDLE, WIDE)


def test_of_equally_good_windows_the_second_look_takes_the_cheaper() -> None:
    trials = [trial(FULL_WINDOW, 100, 9), trial(WIDE, 100, 3), trial(MIDDLE, 100, 2)]
    assert choose([*trials, trial(SHORT, 102, 1)], ENGLISH) == (SHORT, MIDDLE)


def test_a_window_that_loops_where_the_full_one_does_not_is_ruled_out() -> None:
    trials = [trial(FULL_WINDOW, 100, 9, {7}), trial(SHORT, 90, 1, {3}), trial(WIDE, 101, 3, {7})]
    assert choose(trials, ENGLISH) == (WIDE, FULL_WINDOW)


def test_where_no_short_window_hears_well_the_full_one_stays() -> None:
    trials = [trial(FULL_WINDOW, 100, 9), trial(SHORT, 300, 1), trial(WIDE, 106, 3)]
    assert choose(trials, ENGLISH) == (FULL_WINDOW, FULL_WINDOW)


def test_a_window_that_is_good_for_most_is_ruled_out_by_the_language_that_it_spoils() -> None:
    languages = ["en"] * 40 + ["fr"] * 8
    full = spoken(FULL_WINDOW, [1] * 48, 9.0)
    short = spoken(SHORT, [0] * 20 + [1] * 20 + [2] * 8, 1.0)
    wide = spoken(WIDE, [0] * 20 + [1] * 28, 3.0)
    assert short.score.wer < full.score.wer
    assert worse_languages(short, full, languages) == ["fr"]
    assert choose([full, short, wide], languages) == (WIDE, WIDE)


def test_a_few_more_wrong_words_in_a_language_may_be_chance() -> None:
    languages = ["en"] * 40 + ["fr"] * 8
    full = spoken(FULL_WINDOW, [1] * 40 + [2, 0, 1, 1, 0, 2, 0, 0], 9.0)
    short = spoken(SHORT, [1] * 40 + [0, 2, 1, 1, 1, 2, 0, 0], 1.0)
    assert short.score.wer > full.score.wer
    assert worse_languages(short, full, languages) == []
    assert choose([full, short], languages) == (SHORT, FULL_WINDOW)


def test_the_full_window_is_never_worse_than_itself() -> None:
    full = spoken(FULL_WINDOW, [0, 3, 1], 9.0)
    assert worse_languages(full, full, ["en", "fr", "fr"]) == []


def test_the_words_of_each_language_are_counted_for_themselves() -> None:
    measured = spoken(SHORT, [1, 2, 4], 1.0)
    assert measured.score_in("fr", ["fr", "en", "fr"]) == Score(5, 20, 0, 2)
    assert measured.score_in("de", ["fr", "en", "fr"]) == Score()
    assert measured.score == Score(7, 30, 0, 3)


outcomes = st.tuples(
    st.integers(0, WORDS), st.floats(0.001, 100), st.frozensets(st.integers(0, 3), max_size=2)
)


@given(st.lists(outcomes, min_size=len(WINDOWS), max_size=len(WINDOWS)))
def test_the_choice_keeps_its_promises_whatever_was_measured(
    measured: list[tuple[int, float, frozenset[int]]],
) -> None:
    trials = [
        trial(window, wrong, cpu_s, set(loops))
        for window, (wrong, cpu_s, loops) in zip(WINDOWS, measured, strict=True)
    ]
    by_window = {one.window: one for one in trials}
    first, second = (by_window[window] for window in choose(trials, ENGLISH))
    sound = [one for one in trials if one.loops <= by_window[FULL_WINDOW].loops]
    assert first in sound
    assert second in sound
    assert second.score.wer == min(one.score.wer for one in sound)
    assert first.score.wer <= second.score.wer + WER_MARGIN
    assert first.cpu_s <= second.cpu_s
    for one in sound:
        assert one.cpu_s >= first.cpu_s or one.score.wer > second.score.wer + WER_MARGIN


@pytest.mark.parametrize(
    ("probabilities", "bound"),
    [((0.9, 0.31), 0.3), ((0.3,), 0.3), ((0.29, 0.8), 0.25), ((0.16,), 0.15), ((0.01,), 0.15)],
)
def test_speech_is_beyond_doubt_below_what_noise_reaches_but_never_below_0_15(
    probabilities: tuple[float, ...], bound: float
) -> None:
    noise = [hypothesis("Woof woof.", no_speech=probability) for probability in probabilities]
    assert clear_no_speech_prob(noise) == bound


def test_without_noise_the_usual_bound_is_taken() -> None:
    assert clear_no_speech_prob([]) == 0.25


@pytest.mark.parametrize("text", ["", "Thank you.", "la la la la " * 20])
def test_noise_that_the_quality_gate_doubts_anyway_does_not_count(text: str) -> None:
    assert clear_no_speech_prob([hypothesis(text, no_speech=0.01)]) == 0.4


def test_a_calibration_is_made_of_all_that_was_found() -> None:
    trials = [trial(FULL_WINDOW, 100, 9), trial(SHORT, 104, 1), trial(WIDE, 90, 3)]
    assert calibration(trials, ENGLISH, []) == Calibration(WIDE, WIDE, SILENCE_LEVEL, 0.25)
    assert calibration(trials, ENGLISH, []) != UNCALIBRATED


def test_scores_add_up_to_shares_of_words_and_clips() -> None:
    score = Score(1, 4, 0, 1) + Score(0, 6, 1, 1)
    assert (score.wer, score.exact_share) == (0.1, 0.5)
    assert (Score().wer, Score().exact_share) == (0.0, 0.0)
    assert replace(trial(SHORT, 0, 2.0)).cpu_ms_per_clip == 20.0
