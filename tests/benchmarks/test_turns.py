"""The benchmark `turns` judges the two ways of ending a turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import DASH
from benchmarks.speech import Clip
from benchmarks.turns import (
    SATELLITE_S,
    cut,
    figures,
    is_complete,
    is_complete_but_wrong,
    page,
    phrase_evidence,
    surer_than,
)
from stt_mqtt.core.listening import COMPLETE_S, SENTENCE_S
from stt_mqtt.types import Completion, Phrase, Transcript


def glimpse(completion: str, is_whole: bool, is_right: bool = False, clip: str = "a") -> Any:
    one = {"clip": clip, "speaker": "s", "kind": "commands", "at_s": 1.0, "is_whole": is_whole}
    return {**one, "completion": completion, "is_one_word": False, "is_right": is_right}


def sentence(end_prob: float, is_whole: bool) -> Any:
    one = {"clip": "a", "speaker": "s", "kind": "read", "at_s": 1.0, "is_whole": is_whole}
    return {**one, "end_prob": end_prob, "confidence": 0.9}


PHRASES = [
    glimpse("COMPLETE", True, True, "a"),
    glimpse("COMPLETE", True, True, "b"),
    glimpse("EXTENDABLE", True, True, "c"),
    glimpse("COMPLETE", False, True, "a"),
    glimpse("COMPLETE", False, False, "b"),
    glimpse("OPEN", False, False, "b"),
    *(glimpse(one.name, False) for one in Completion if one is not Completion.COMPLETE),
    *(glimpse("NONE", False, False, "c") for _ in range(3)),
]


def test_only_a_complete_phrase_ends_a_turn_early() -> None:
    ended = {one.name for one in Completion if is_complete(glimpse(one.name, True))}
    assert ended == {"COMPLETE"}


def test_a_pause_cuts_off_if_it_is_longer_than_the_wait_and_the_phrase_seems_complete() -> None:
    found = figures(PHRASES, is_complete, COMPLETE_S)
    ended, mistaken, cut_off = found["shares"]
    assert found["counts"] == (3, 10)
    assert ended[0] == pytest.approx(2 / 3)
    assert mistaken[0] == pytest.approx(2 / 10)
    assert cut_off == pytest.approx([4 / 5 * one for one in mistaken])


def test_a_text_that_is_right_already_is_not_cut_off_with_other_words() -> None:
    assert cut(PHRASES, is_complete_but_wrong, COMPLETE_S)[0] == pytest.approx(4 / 5 * 1 / 10)


def test_a_whole_phrase_waits_for_the_satellite_if_it_is_not_complete() -> None:
    assert figures(PHRASES, is_complete, COMPLETE_S)["waits_s"][0] == COMPLETE_S
    extendable = [one for one in PHRASES if one["completion"] == "EXTENDABLE"]
    assert figures(extendable, is_complete, COMPLETE_S)["waits_s"][0] == SATELLITE_S


def test_two_of_the_pauses_are_longer_than_a_sentence_waits() -> None:
    found = [sentence(0.95, True), sentence(0.95, False), sentence(0.5, False)]
    _, mistaken, cut_off = figures(found, surer_than(0.88), SENTENCE_S)["shares"]
    assert (mistaken[0], cut_off[0]) == (0.5, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("text", "slots", "is_right", "is_one_word"),
    [
        ("A small latte.", {"size": "small"}, False, False),
        ("A small latte.", {"size": "small", "drink": "latte"}, True, False),
        ("Small latte, please.", None, True, False),
        ("Small.", None, False, True),
        ("", None, False, False),
    ],
)
def test_the_evidence_says_whether_the_text_is_right_without_its_words(
    text: str, slots: dict[str, object] | None, is_right: bool, is_one_word: bool
) -> None:
    clip = Clip("a", "a", "", Path(), b"", slots={"size": "small", "drink": "latte"})
    phrase = None if slots is None else Phrase("order", slots, {}, 0.0)
    said = Transcript(text, "en", 0.9, 0.0, phrase=phrase, completion=Completion.OPEN)
    assert phrase_evidence(clip, said) == {
        "completion": "OPEN",
        "is_one_word": is_one_word,
        "is_right": is_right,
    }


def test_the_page_judges_both_ways() -> None:
    eager = {"recordings": 1, "glimpses": [sentence(0.95, True), sentence(0.5, False)]}
    phrases = {"recordings": 3, "glimpses": PHRASES}
    text = "\n".join(page({"model": "tiny.en", "phrases": phrases, "eager": eager}))
    of_phrases, of_sentences = text.split("## eager")
    assert "| commands | 3 | 10 | 66.7% " in of_phrases
    assert "| 16.0% " in of_phrases
    assert "| 8.0% " in of_phrases
    assert "| read | 1 | 1 | 100.0% (100.0 to 100.0) | 0.0% " in of_sentences


def test_a_page_without_glimpses_has_dashes() -> None:
    nothing = {"recordings": 0, "glimpses": []}
    text = "\n".join(page({"model": "tiny.en", "phrases": nothing, "eager": nothing}))
    assert "| all | 0 | 0 |" + 5 * f" {DASH} |" in text
