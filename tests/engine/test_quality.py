from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.quality import (
    PHANTOMS,
    Doubt,
    compression_ratio,
    doubt_about,
    is_alike,
    is_clear,
    is_loop,
    is_noise,
    is_phantom,
    prefer,
    repeats_prompt,
    said_once,
    strongest_voice,
    without_echo,
)
from stt_mqtt.engine.transcriber import Hypothesis
from tests.engine.scripted import hypothesis, speech

GOOD = hypothesis()
LOOP = hypothesis("Turn on the light. " * 9, tokens=45)
NOTHING = hypothesis("", tokens=0)
THANKS = hypothesis("Thank you.", tokens=3)

probabilities = st.floats(0.0, 1.0)
hypotheses = st.builds(
    Hypothesis,
    text=st.sampled_from(["", "Go.", "Thank you.", "Turn on the light.", LOOP.text]),
    language=st.just("en"),
    tokens=st.integers(0, 224),
    mean_log_prob=st.floats(-10.0, 0.0),
    no_speech_prob=probabilities,
)


@pytest.mark.parametrize("text", ["Ah! " * 9, "Turn on the light. " * 9, "no" * 40, "はい" * 30])
def test_text_that_repeats_itself_is_a_loop(text: str) -> None:
    assert is_loop(hypothesis(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No, no, no.",
        "Bye bye.",
        "Ten, ten, ten, ten.",
        "Add milk, eggs, butter, cheese, bread, apples and a bag of rice to the shopping list.",
    ],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert not is_loop(hypothesis(text))


def test_a_compression_ratio_is_one_where_compressing_gains_nothing() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio("Turn on the light.") < 1.0
    assert compression_ratio("Turn on the light. " * 100) > 10.0


@pytest.mark.parametrize("text", ["Thank you.", "THANKS FOR WATCHING!", " mm-hmm ", "you", "Bye."])
def test_a_phantom_is_known_in_any_spelling(text: str) -> None:
    assert is_phantom(text)


@pytest.mark.parametrize("text", ["", "Thank you, turn it off.", "Good bye.", "yours", "thankyou"])
def test_only_the_whole_text_is_a_phantom(text: str) -> None:
    assert not is_phantom(text)


def test_every_phantom_is_found_as_it_is_written() -> None:
    assert all(is_phantom(text) for text in PHANTOMS)


def test_a_low_no_speech_probability_is_clear() -> None:
    assert is_clear(replace(GOOD, no_speech_prob=0.29), 0.3)
    assert not is_clear(replace(GOOD, no_speech_prob=0.3), 0.3)


@pytest.mark.parametrize("text", ["Thank you.", LOOP.text])
def test_neither_a_phantom_nor_a_loop_is_ever_clear(text: str) -> None:
    assert not is_clear(hypothesis(text, no_speech=0.0), 0.3)


@given(hypotheses)
def test_without_a_calibration_nothing_is_clear(heard: Hypothesis) -> None:
    assert not is_clear(heard, 0.0)


def test_a_quick_word_in_a_weak_voice_is_speech() -> None:
    assert not is_noise(hypothesis("Go.", tokens=2, no_speech=0.61), speech_s=0.57, voice=0.22)


def test_a_looping_sneeze_is_noise() -> None:
    assert is_noise(hypothesis("Ah! " * 9, tokens=18, no_speech=0.45), speech_s=4.98, voice=0.05)


def test_a_phantom_with_a_clear_voice_was_said() -> None:
    assert not is_noise(replace(THANKS, no_speech_prob=0.2), speech_s=0.8, voice=0.5)
    assert not is_noise(replace(THANKS, no_speech_prob=0.5), speech_s=0.8, voice=0.6)


def test_a_phantom_with_weak_evidence_was_not_said() -> None:
    assert is_noise(replace(THANKS, no_speech_prob=0.5), speech_s=3.0, voice=0.05)


def test_speech_with_long_pauses_is_judged_by_where_it_is_strongest() -> None:
    said = hypothesis("Turn on the light.", tokens=5, no_speech=0.4)
    assert is_noise(said, speech_s=4.9, voice=0.05)
    assert not is_noise(said, speech_s=25.0, voice=0.3)


def test_the_strongest_voice_is_a_mean_over_five_seconds() -> None:
    probabilities = np.zeros(20 * 10, np.float32)
    probabilities[120:140] = 1.0
    assert strongest_voice(probabilities, per_s=10) == pytest.approx(2 / 5)
    assert strongest_voice(probabilities[:140], per_s=10) == pytest.approx(2 / 5)
    assert strongest_voice(probabilities[:130], per_s=10) == pytest.approx(1 / 5)


@pytest.mark.parametrize("count", [1, 7, 50])
def test_the_voice_of_a_short_piece_is_the_mean_of_it_all(count: int) -> None:
    probabilities = np.linspace(0, 1, count, dtype=np.float32)
    assert strongest_voice(probabilities, per_s=10) == pytest.approx(probabilities.mean())


@given(hypotheses, st.floats(0.0, 30.0), probabilities, probabilities)
def test_more_voice_never_makes_it_noise(
    heard: Hypothesis, speech_s: float, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert is_noise(heard, speech_s, less) or not is_noise(heard, speech_s, more)


@given(hypotheses, st.floats(0.0, 30.0), probabilities, probabilities)
def test_less_no_speech_never_makes_it_noise(
    heard: Hypothesis, speech_s: float, voice: float, other: float
) -> None:
    low, high = sorted((heard.no_speech_prob, other))
    assert is_noise(replace(heard, no_speech_prob=high), speech_s, voice) or not is_noise(
        replace(heard, no_speech_prob=low), speech_s, voice
    )


@pytest.mark.parametrize(
    ("tokens", "speech_s", "doubtful"),
    [(5, 1.0, False), (2, 1.0, True), (2, 0.99, False), (8, 4.0, True), (12, 4.0, False)],
)
def test_few_words_for_much_speech_deserve_a_retry(
    tokens: int, speech_s: float, doubtful: bool
) -> None:
    doubt = doubt_about(hypothesis("Go on.", tokens), speech(), speech_s)
    assert doubt is (Doubt.SPARSE if doubtful else None)


def test_a_loop_deserves_a_retry() -> None:
    assert doubt_about(LOOP, speech(), speech_s=3.0) is Doubt.LOOP


PROMPTED = replace(speech(), prompt="Turn on the hall lamp. Close the blinds.", hotwords=("Kiri",))


@pytest.mark.parametrize(
    "text",
    [
        "Turn on the hall lamp.",
        "close the blinds",
        "Turn on the hall lamp. Close the blinds.",
        "Kiri!",
    ],
)
def test_what_may_be_the_prompts_deserves_a_retry(text: str) -> None:
    assert doubt_about(hypothesis(text, 20), PROMPTED, speech_s=2.0) is Doubt.PROMPTED


@pytest.mark.parametrize("text", ["Turn off the hall lamp.", "Kiri, pause.", "Blinds close."])
def test_other_words_are_not_the_prompts(text: str) -> None:
    assert not repeats_prompt(text, PROMPTED)


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("Cancel timer. Cancel timer.", "Cancel timer."),
        ("Close the blinds. Close the blinds. Close the", "Close the blinds."),
        ("go on, go on, Go", "go on"),
    ],
)
def test_a_sentence_that_is_said_again_deserves_a_retry(text: str, once: str) -> None:
    assert said_once(text) == once
    assert doubt_about(hypothesis(text, 8), PROMPTED, speech_s=2.0) is Doubt.LOOP


@pytest.mark.parametrize(
    "text",
    [
        "Stop, stop.",
        "Don't, don't.",
        "O'Neil, O'Neil",
        "10:30 10:30",
        "4, 4, 4, 4",
        "1, 2, 1, 2.",
        "คำว่า คำว่า",
        "Turn it up and turn it down.",
        "",
    ],
)
def test_what_people_say_twice_is_not_said_again(text: str) -> None:
    assert said_once(text) == text


def test_behind_a_prompt_the_model_is_never_sure_enough() -> None:
    heard = hypothesis(no_speech=0.01)
    assert is_clear(heard, 0.25)
    assert not is_clear(heard, 0.25, prompted=True)


def test_a_prompt_makes_the_model_expect_speech() -> None:
    heard = hypothesis("You can't wait to see it.", 7, no_speech=0.6)
    assert is_noise(heard, speech_s=2.4, voice=0.06, prompted=True)
    assert not is_noise(heard, speech_s=2.4, voice=0.06)


def test_long_texts_that_cannot_be_alike_are_not_compared_letter_by_letter() -> None:
    assert not is_alike("ha " * 200, "ab" * 1500)


def test_nothing_behind_a_prompt_may_be_the_prompts_doing() -> None:
    assert doubt_about(NOTHING, PROMPTED, speech_s=2.0) is Doubt.PROMPTED


@pytest.mark.parametrize(
    ("text", "other", "alike"),
    [
        ("Call Siobhan.", "Call Shavon.", True),
        ("Siobhan", "Shavon.", True),
        ("Turn on the hall lamp.", "turn on the hall lamp", True),
        ("Turn on the kitchen floor lamp.", "Pause.", False),
        ("Kiri.", "", False),
    ],
)
def test_two_spellings_of_the_same_words_are_alike(text: str, other: str, alike: bool) -> None:
    assert is_alike(text, other) is alike


@pytest.mark.parametrize(
    ("language", "tokens", "doubtful"),
    [("en", 8, False), ("fr", 8, True), ("fr", 10, False), ("hi", 17, True), ("hi", 19, False)],
)
def test_a_language_with_more_tokens_a_second_is_sparse_with_more_of_them(
    language: str, tokens: int, doubtful: bool
) -> None:
    heard = replace(hypothesis("Go on.", tokens), language=language)
    assert (doubt_about(heard, speech(), speech_s=3.0) is Doubt.SPARSE) is doubtful


@pytest.mark.parametrize(
    ("language", "tokens", "noise"),
    [("en", 3, True), ("en", 7, False), ("hi", 7, True), ("hi", 17, False)],
)
def test_as_many_words_are_as_good_evidence_in_every_language(
    language: str, tokens: int, noise: bool
) -> None:
    heard = replace(hypothesis("Go.", tokens, no_speech=0.6), language=language)
    assert is_noise(heard, speech_s=2.0, voice=0.06) is noise


@pytest.mark.parametrize("text", ["you", "Thanks!", "Mm...", "I'll see you next time, bye."])
def test_a_short_sound_that_becomes_a_phantom_is_noise(text: str) -> None:
    # Beeps and chimes: half a second, a little like a voice.
    heard = hypothesis(text, 1, log_prob=-0.9, no_speech=0.77)
    assert is_noise(heard, speech_s=0.5, voice=0.4)
    assert not is_noise(replace(heard, text="Stop."), speech_s=0.5, voice=0.4)


def test_nothing_said_deserves_no_retry() -> None:
    assert doubt_about(NOTHING, speech(), speech_s=5.0) is None


def test_the_second_look_may_be_a_little_less_sure() -> None:
    first = hypothesis("Turn of the light.", log_prob=-0.5)
    assert prefer(first, replace(GOOD, mean_log_prob=-0.9)).text == GOOD.text
    assert prefer(first, replace(GOOD, mean_log_prob=-1.1)) == first


def test_a_second_look_replaces_a_loop_however_unsure_it_is() -> None:
    unsure = replace(GOOD, mean_log_prob=-5.0)
    assert prefer(LOOP, unsure) == unsure


@given(hypotheses, hypotheses)
def test_a_second_look_without_words_or_with_a_loop_is_never_taken(
    first: Hypothesis, second: Hypothesis
) -> None:
    best = prefer(first, second)
    assert best in (first, second)
    if not second.text or is_loop(second):
        assert best == first


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("Yes. Yes. Yes", "Yes."),
        ("What's... What's...", "What's..."),
        ("Turn on the light. Turn on the light.", "Turn on the light."),
        ("is the front is the front is", "is the front is"),
        ("Turn turn on the light", "Turn turn on the light"),
        ("Stop.", "Stop."),
        ("", ""),
    ],
)
def test_words_at_the_end_that_only_repeat_others_are_an_echo(text: str, without: str) -> None:
    assert without_echo(text) == without
