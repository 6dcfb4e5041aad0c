from __future__ import annotations

import numpy as np
import pytest

from stt_mqtt.phrases.sounds import (
    OMISSION,
    SOUNDS,
    SUBSTITUTION,
    encoded,
    key_of,
    number_in_words,
    words_of,
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("two", "too"),
        ("EcoBee", "ecobea"),
        ("night", "nite"),
        ("knight", "night"),
        ("photo", "foto"),
        ("20-ounce", "twenty ounce"),
        ("It's", "its"),
        ("50%", "fifty percent"),
        ("bed light", "bedlight"),
    ],
)
def test_what_sounds_alike_in_english_has_one_key(first: str, second: str) -> None:
    assert key_of(first, "en") == key_of(second, "en")


@pytest.mark.parametrize(
    ("first", "second"),
    [("Rad", "Rat"), ("Tür", "Tur"), ("vier", "fier"), ("21", "einundzwanzig"), ("Thema", "Tema")],
)
def test_what_sounds_alike_in_german_has_one_key(first: str, second: str) -> None:
    assert key_of(first, "de") == key_of(second, "de")


@pytest.mark.parametrize(
    ("first", "second"), [("light", "let"), ("mood", "blue"), ("stop", "start"), ("lock", "log")]
)
def test_what_sounds_different_has_another_key(first: str, second: str) -> None:
    assert key_of(first, "en") != key_of(second, "en")


@pytest.mark.parametrize("language", ["en", "de", "fr", "zh", "xx"])
@pytest.mark.parametrize(
    "text", ["", "  ", "éàü ñ", "日本語", "x" * 500, "½ 3/4", "12345678901234"]
)
def test_every_text_has_a_key_of_known_sounds(text: str, language: str) -> None:
    assert set(key_of(text, language)) <= set(SOUNDS)


def test_words_have_no_punctuation_and_no_capitals() -> None:
    assert words_of("Turn ON the light, please!", "en") == ["turn", "on", "the", "light", "please"]


def test_numbers_become_words_of_the_language() -> None:
    assert words_of("at 7:30", "en") == ["at", "seven", "thirty"]
    assert words_of("auf 21 Grad", "de") == ["auf", "einundzwanzig", "grad"]


def test_a_number_stays_digits_in_a_language_without_rules_and_beyond_a_million() -> None:
    assert number_in_words(5, "xx") == "5"
    assert number_in_words(1_000_001, "en") == "1000001"


def test_sounds_that_are_often_confused_cost_less_than_others() -> None:
    m, n, k = encoded("mnk")
    assert SUBSTITUTION[m, n] < SUBSTITUTION[m, k]
    assert OMISSION[encoded("h")] < OMISSION[encoded("k")]


def test_confusing_two_sounds_costs_the_same_both_ways_and_nothing_if_they_are_one() -> None:
    assert np.array_equal(SUBSTITUTION, SUBSTITUTION.T)
    assert not SUBSTITUTION.diagonal().any()
