"""How words are counted, and what an interval says."""

from __future__ import annotations

import pytest

from benchmarks.scoring import (
    Estimate,
    bootstrap,
    difference_of_shares,
    groups,
    is_exact,
    is_right_word,
    rate,
    ratio_of_shares,
    share,
    slots_right,
    wer,
    word_errors,
)


def test_numbers_case_and_punctuation_are_no_errors() -> None:
    assert is_exact("set a timer for twenty minutes", "Set a timer for 20 minutes.")


def test_words_too_many_are_errors_also_where_nothing_was_said() -> None:
    assert word_errors("stop", "stop it now") == (2, 1)
    assert word_errors("", "thank you") == (2, 0)


def test_the_word_error_rate_is_over_all_texts_as_one() -> None:
    assert wer([("lights on", "Lights on."), ("stop", "")]) == pytest.approx(1 / 3)
    assert wer([]) is None


@pytest.mark.parametrize(("said", "heard"), [("one", "1."), ("five", "5"), ("off", "Off!")])
def test_a_single_word_is_right_however_it_is_written(said: str, heard: str) -> None:
    assert is_right_word(said, heard)


@pytest.mark.parametrize("heard", ["", "Us.", "off off", "turn off"])
def test_a_single_word_is_wrong_when_another_one_stands_there(heard: str) -> None:
    assert not is_right_word("off", heard)


@pytest.mark.parametrize(
    "heard",
    [
        "I'd like a twenty ounce iced coffee, double shot.",
        "A 20-ounce iced coffee with double-shot",
        "20 oz. Iced Coffee, double shots please",
        "Twenty ounces iced coffee double shot.",
    ],
)
def test_slots_are_right_however_numbers_hyphens_and_units_are_written(heard: str) -> None:
    slots = {"size": "twenty ounce", "coffeeDrink": "iced coffee", "numberOfShots": "double shot"}
    assert slots_right(slots, heard)


@pytest.mark.parametrize(
    "heard",
    [
        "a twenty ounce ice coffee",
        "a twelve ounce iced coffee",
        "iced twenty ounce coffee",
        "a 120 ounce iced coffee",
        "a twenty ounce iced coffees",
    ],
)
def test_slots_are_wrong_when_one_value_is_not_there_word_by_word(heard: str) -> None:
    assert not slots_right({"size": "twenty ounce", "coffeeDrink": "iced coffee"}, heard)


def test_an_interval_holds_the_figure_and_is_the_same_each_time() -> None:
    wrong, of = [1.0, 0.0, 0.0, 1.0] * 25, [1.0] * 100
    first = bootstrap([wrong, of], list(map(str, range(100))), share)
    assert first == bootstrap([wrong, of], list(map(str, range(100))), share)
    assert first.value == 0.5
    assert first.low is not None
    assert first.high is not None
    assert 0.39 < first.low < 0.42
    assert 0.58 < first.high < 0.61


def test_clips_of_one_speaker_are_redrawn_together() -> None:
    wrong = [float(clip // 10 % 2) for clip in range(100)]
    by_clip = bootstrap([wrong, [1.0] * 100], list(map(str, range(100))), share)
    by_speaker = bootstrap([wrong, [1.0] * 100], [str(clip // 10) for clip in range(100)], share)
    assert by_clip.low is not None
    assert by_speaker.low is not None
    assert by_speaker.low < by_clip.low


def test_few_speakers_leave_the_clips_to_be_redrawn() -> None:
    wrong = [float(clip % 2) for clip in range(100)]
    one_speaker = bootstrap([wrong, [1.0] * 100], ["one"] * 100, share)
    assert one_speaker == bootstrap([wrong, [1.0] * 100], list(map(str, range(100))), share)


def test_what_errs_alike_on_every_clip_is_no_difference_and_no_doubt() -> None:
    wrong, of = [1.0, 0.0, 2.0, 0.0, 0.0, 1.0], [3.0] * 6
    clusters = list("abcdef")
    columns = [wrong, of, wrong, of]
    assert bootstrap(columns, clusters, difference_of_shares) == Estimate(0, 0, 0)
    assert bootstrap(columns, clusters, ratio_of_shares) == Estimate(1, 1, 1)


def test_no_phantom_in_few_noises_still_leaves_room_for_some() -> None:
    assert rate([0.0] * 10, [1.0] * 10, list("abcdefghij")).high == pytest.approx(0.308, abs=0.001)


def test_nothing_measured_is_no_figure() -> None:
    assert bootstrap([[], []], [], share) == Estimate(None)
    assert bootstrap([[1.0], [0.0]], ["a"], share) == Estimate(None)


def test_where_few_people_speak_the_clips_are_drawn_and_not_the_places_in_them() -> None:
    clips = ["a", "a", "b", "b", "c", "c"]
    assert groups(["one"] * 6, clips) == clips
    speakers = ["one", "two", "three", "four", "five", "five"]
    assert groups(speakers, clips) == speakers
