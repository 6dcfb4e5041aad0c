from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.engine.words import Words
from tests.engine.scripted import END_OF_TEXT, byte_tokenizer, byte_words

ENGLISH = byte_words("en")
MULTILINGUAL = byte_words("en", "de", "cy")
QUIET = np.zeros(0, np.float32)


def names(words: Words, tokens: list[int]) -> list[str]:
    """Control tokens by their names, text as text."""
    told: list[str] = []
    text: list[int] = []
    for token in [*tokens, END_OF_TEXT]:
        if token < END_OF_TEXT:
            text.append(token)
            continue
        if text:
            told.append(words.tokenizer.decode(text))
            text = []
        told.append(str(words.tokenizer.id_to_token(token)))
    return told[:-1]


def prompt(
    words: Words = ENGLISH,
    prompt: str | None = None,
    hotwords: tuple[str, ...] = (),
    timestamps: bool = False,
) -> list[str]:
    speech = Speech(QUIET, prompt=prompt, hotwords=hotwords)
    return names(words, words.prompt(speech, "de", timestamps))


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
    tokens = ENGLISH.tokenizer.encode(text).ids
    assert ENGLISH.spoken(tokens) == ("", len(tokens))


@pytest.mark.parametrize("text", ["7", "ok", "да", "はい", "نعم", "네", "ไม่"])
def test_a_letter_or_digit_of_any_script_is_text(text: str) -> None:
    heard, _ = ENGLISH.spoken(ENGLISH.tokenizer.encode(f" {text}. ").ids)
    assert heard == f"{text}."


def test_only_tokens_of_text_are_spoken_and_counted() -> None:
    hi = ENGLISH.tokenizer.encode(" hi").ids
    timestamp = END_OF_TEXT + 100
    assert ENGLISH.spoken([timestamp, *hi, timestamp + 20, END_OF_TEXT]) == ("hi", 3)


def test_an_english_model_speaks_english_whatever_its_tokenizer_knows(tmp_path: Path) -> None:
    byte_tokenizer("en", "de").save(str(tmp_path / "tokenizer.json"))
    words = Words.of(tmp_path, languages=1)
    assert words.languages == {"en"}
    assert not words.multilingual


def test_a_multilingual_model_speaks_what_its_tokenizer_names(tmp_path: Path) -> None:
    byte_tokenizer("en", "de", "yue").save(str(tmp_path / "tokenizer.json"))
    words = Words.of(tmp_path, languages=3)
    assert words.languages == {"en", "de", "yue"}
    assert words.multilingual


def test_a_tokenizer_of_another_kind_of_model_is_told_apart() -> None:
    with pytest.raises(LookupError, match=r"the tokenizer has no <\|de\|>"):
        byte_words("en", "cy").prompt(Speech(QUIET), "de", timestamps=False)
