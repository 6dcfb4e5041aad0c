"""How many tokens people speak in a second, relative to English."""

from __future__ import annotations

import pytest

from stt_mqtt.engine.speaking_rate import (
    MAX_RELATIVE_RATE,
    relative_token_rate,
    token_counts,
)


def test_english_is_the_measure() -> None:
    assert relative_token_rate("en") == 1.0


@pytest.mark.parametrize("language", ["", "xx", "en-GB", "<|fr|>"])
def test_what_is_no_known_language_counts_like_english(language: str) -> None:
    assert relative_token_rate(language) == 1.0


@pytest.mark.parametrize(
    ("language", "spoken"),
    # Tokens per second in commands of speech-to-phrase, against the 3.39 of English there.
    [("fr", 4.67), ("es", 3.85), ("it", 3.68), ("de", 3.87), ("nl", 3.78), ("el", 6.18)],
)
def test_the_rate_is_that_of_recordings(language: str, spoken: float) -> None:
    assert relative_token_rate(language) == pytest.approx(spoken / 3.39, rel=0.2)


def test_scripts_that_the_tokenizer_hardly_knows_have_many_tokens() -> None:
    rates = [relative_token_rate(language) for language in ("en", "fr", "el", "hi", "ml")]
    assert rates == sorted(rates)
    assert rates[-1] > 3 * rates[0]


def test_no_rate_is_below_english_or_beyond_its_bound() -> None:
    assert all(1.0 <= relative_token_rate(code) <= MAX_RELATIVE_RATE for code in token_counts())


def test_every_count_is_one_that_a_tokenizer_can_give() -> None:
    assert len(token_counts()) >= 99
    assert all(1.0 <= counted < 20.0 for counted in token_counts().values())
