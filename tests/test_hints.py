"""The hints: one plain sentence each, and a line in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stt_mqtt.errors import TooLongError
from stt_mqtt.hints import Hint, foremost

TOPICS = Path(__file__).parent.parent / "docs" / "topics.md"


@pytest.mark.parametrize("hint", Hint)
def test_a_hint_says_what_it_looks_like_and_what_to_do(hint: Hint) -> None:
    sentence = hint.sentence
    assert re.fullmatch(r"[A-Z][^\n]*: [^\n]*\.", sentence)
    assert len(sentence) <= 160


def test_the_documentation_has_all_hints_in_their_order() -> None:
    section = TOPICS.read_text(encoding="utf-8").split("### Hints")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [hint.value for hint in Hint]


def test_of_several_the_one_that_explains_most_is_told() -> None:
    assert foremost([Hint.CLIPPING, None, Hint.BYTE_ORDER, Hint.OFFSET]) is Hint.BYTE_ORDER
    assert foremost([None]) is None


def test_an_error_that_comes_of_it_says_so() -> None:
    error = TooLongError("the audio is longer than 30 s")
    assert error.detail == "the audio is longer than 30 s"
    error.hint = Hint.FLOAT_AS_S16
    assert error.detail == f"the audio is longer than 30 s. {Hint.FLOAT_AS_S16.sentence}"
