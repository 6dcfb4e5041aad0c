"""The tokenizer of a model, and how many tokens people speak in a second, relative to English."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.tokenizer import (
    MAX_RELATIVE_RATE,
    WhisperTokenizer,
    relative_token_rate,
    token_counts,
)
from stt_mqtt.engine.transcriber import Speech
from tests.engine.scripted import END_OF_TEXT, byte_names, whisper_tokenizer

ENGLISH = whisper_tokenizer("en")
MULTILINGUAL = whisper_tokenizer("en", "de", "cy")
QUIET = np.zeros(0, np.float32)


def names(tokenizer: WhisperTokenizer, tokens: list[int]) -> list[str]:
    """Control tokens by their names, text as text."""
    told: list[str] = []
    text: list[int] = []
    for token in [*tokens, END_OF_TEXT]:
        if token < END_OF_TEXT:
            text.append(token)
            continue
        if text:
            told.append(tokenizer.pairs.decode(text))
            text = []
        told.append(tokenizer.pairs.control_name(token))
    return told[:-1]


def prompt(
    tokenizer: WhisperTokenizer = ENGLISH,
    prompt: str | None = None,
    hotwords: tuple[str, ...] = (),
    timestamps: bool = False,
) -> list[str]:
    speech = Speech(QUIET, prompt=prompt, hotwords=hotwords)
    return names(tokenizer, tokenizer.prompt(speech, "de", timestamps))


def test_an_english_model_is_told_no_language() -> None:
    assert prompt() == ["<|startoftranscript|>", "<|notimestamps|>"]


def test_a_multilingual_model_is_told_the_language_and_to_transcribe() -> None:
    told = ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    assert prompt(MULTILINGUAL) == told


def test_timestamps_are_asked_for_by_not_refusing_them() -> None:
    assert prompt(timestamps=True) == ["<|startoftranscript|>"]
    assert prompt(MULTILINGUAL, timestamps=True)[-1] == "<|transcribe|>"


def test_a_prompt_stands_before_the_transcript() -> None:
    told = ["<|startofprev|>", " Kia ora.", "<|startoftranscript|>", "<|notimestamps|>"]
    assert prompt(prompt=" Kia ora. \n") == told


def test_hotwords_stand_before_the_prompt() -> None:
    told = prompt(prompt="In the hall.", hotwords=("Kiri", "lamp"))
    assert told[:2] == ["<|startofprev|>", " Kiri, lamp In the hall."]


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_a_prompt_of_nothing_is_not_announced(text: str | None) -> None:
    assert prompt(prompt=text) == ["<|startoftranscript|>", "<|notimestamps|>"]


def test_control_tokens_written_out_are_left_out() -> None:
    text = "a<|endoftext|>b<|startoftranscript|>c<|de|>d<|notimestamps|>"
    told = prompt(MULTILINGUAL, prompt=text, hotwords=(text,))
    assert told[:2] == ["<|startofprev|>", " abcd abcd"]
    assert told[2:] == prompt(MULTILINGUAL)


def test_of_a_long_prompt_the_end_is_kept() -> None:
    told = prompt(prompt="a" * 500 + "b" * 200)
    assert told[1] == "a" * 23 + "b" * 200


def test_of_many_hotwords_the_first_are_kept() -> None:
    told = prompt(hotwords=("a" * 49, "b" * 500))
    assert told[1] == " " + "a" * 49 + ", " + "b" * 48


def test_hotwords_and_prompt_share_the_room() -> None:
    told = prompt(prompt="b" * 500, hotwords=("a" * 500,))
    assert told[1] == " " + "a" * 99 + "b" * 123


@given(st.text(max_size=400), st.lists(st.text(max_size=80), max_size=5), st.booleans())
def test_no_prompt_takes_more_than_223_tokens_or_steers_the_decoder(
    text: str, hotwords: list[str], timestamps: bool
) -> None:
    speech = Speech(QUIET, prompt=text, hotwords=tuple(hotwords))
    task = MULTILINGUAL.prompt(Speech(QUIET), "de", timestamps)
    tokens = MULTILINGUAL.prompt(speech, "de", timestamps)
    context = tokens[: -len(task)]
    assert tokens[-len(task) :] == task
    assert len(context) <= 1 + 223
    assert all(token < END_OF_TEXT for token in context[1:])


@pytest.mark.parametrize("text", ["", " ", " ...", " - ♪ !", "。、", "\n"])
def test_text_without_a_letter_or_digit_is_no_text(text: str) -> None:
    tokens = ENGLISH.pairs.encode(text)
    assert ENGLISH.decode(tokens) == ("", len(tokens))


@pytest.mark.parametrize("text", ["7", "ok", "да", "はい", "نعم", "네", "ไม่"])
def test_a_letter_or_digit_of_any_script_is_text(text: str) -> None:
    heard, _ = ENGLISH.decode(ENGLISH.pairs.encode(f" {text}. "))
    assert heard == f"{text}."


def test_only_tokens_of_text_are_spoken_and_counted() -> None:
    hi = ENGLISH.pairs.encode(" hi")
    timestamp = END_OF_TEXT + 100
    assert ENGLISH.decode([timestamp, *hi, timestamp + 20, END_OF_TEXT]) == ("hi", 3)


def test_an_english_model_speaks_english_whatever_its_tokenizer_knows(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text(json.dumps(byte_names("en", "de")))
    tokenizer = WhisperTokenizer.of(tmp_path, languages=1)
    assert tokenizer.languages == {"en"}
    assert not tokenizer.multilingual


def test_a_multilingual_model_speaks_what_its_tokenizer_names(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("\n".join(byte_names("en", "de", "yue")) + "\n")
    tokenizer = WhisperTokenizer.of(tmp_path, languages=3)
    assert tokenizer.languages == {"en", "de", "yue"}
    assert tokenizer.multilingual


def test_a_tokenizer_of_another_kind_of_model_is_told_apart() -> None:
    with pytest.raises(LookupError, match=r"the tokenizer has no <\|de\|>"):
        whisper_tokenizer("en", "cy").prompt(Speech(QUIET), "de", timestamps=False)


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
