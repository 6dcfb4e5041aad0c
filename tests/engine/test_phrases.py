from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stt_mqtt.engine.phrases import MAX_CANDIDATES, CurrentBook, completed, recognize
from stt_mqtt.engine.recognizer import Piece, Recognizer
from stt_mqtt.engine.transcriber import Hypothesis
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.types import Completion
from tests.engine.scripted import FakeVoice, Scripted, hypothesis, speech
from tests.phrases.books import book

BOOK = book(
    "language: en\n"
    "intents: {Said: {data: [{sentences: ['turn (on|off) [the] (light|radio)', stop, start]}]}}\n"
)
STATES = np.ones((50, 4), np.float32)


def heard(text: str, *alternatives: str) -> Hypothesis:
    return replace(hypothesis(text), alternatives=alternatives, states=STATES)


def test_a_transcript_that_is_a_phrase_costs_no_inference() -> None:
    model = Scripted()
    found = recognize(BOOK, model, heard("turn off the radio"), None)
    assert model.scored == []
    assert found.text == "Turn off the radio."
    assert found.heard == "turn off the radio"
    assert found.phrase is not None
    assert found.phrase.id == "Said"


def test_a_phrase_that_is_as_likely_as_the_transcript_replaces_it() -> None:
    model = Scripted(likely={"Turn on the lied.": -0.9, "Turn on the light.": -1.0})
    found = recognize(BOOK, model, heard("Turn on the lied."), None)
    assert found.text == "Turn on the light."
    assert found.heard == "Turn on the lied."
    assert found.phrase is not None
    assert found.phrase.score == pytest.approx(-1.0)
    assert found.phrase.margin is not None
    assert found.phrase.margin > 10


def test_a_phrase_that_is_far_less_likely_leaves_the_transcript() -> None:
    said = heard("Turn on the lied.")
    assert recognize(BOOK, Scripted(likely={"Turn on the lied.": -0.2}), said, None) is said


def test_of_two_phrases_that_are_equally_likely_none_is_chosen() -> None:
    likely = {"Stark.": -2.0, "Start.": -2.0, "Stop.": -2.0}
    said = heard("Stark.", "Stop.", "Start.")
    assert recognize(BOOK, Scripted(likely=likely), said, None) is said


def test_a_phrase_that_is_likely_only_without_sound_leaves_the_transcript() -> None:
    likely = {"Turn on the lied.": -1.0, "Turn on the light.": -1.2}
    model = Scripted(
        likely=likely, without_sound={"Turn on the lied.": -9.0, "Turn on the light.": -0.5}
    )
    said = heard("Turn on the lied.")
    assert recognize(BOOK, model, said, None) is said


def test_what_is_near_to_no_phrase_costs_no_inference() -> None:
    model = Scripted()
    said = heard("I think it may rain tomorrow.")
    assert recognize(BOOK, model, said, None) is said
    assert model.scored == []


def test_nothing_heard_stays_nothing() -> None:
    silent = heard("")
    assert recognize(BOOK, Scripted(), silent, None) is silent


def test_another_language_than_the_book_leaves_the_transcript() -> None:
    said = replace(heard("stop"), language="fr")
    assert recognize(BOOK, Scripted(), said, None) is said


def test_the_number_of_scored_candidates_is_bounded() -> None:
    words = " ".join(f"ban{letter}" for letter in "abcdefghijklmnopqrstuvwxyz").split()
    many = book(f"language: en\nintents: {{Said: {{data: [{{sentences: [{', '.join(words)}]}}]}}}}")
    model = Scripted()
    recognize(many, model, heard("Ban."), None)
    assert 0 < len(model.scored[0]) - 1 <= MAX_CANDIDATES


@pytest.mark.parametrize(
    ("found", "completion"),
    [
        (heard("stop"), Completion.COMPLETE),
        (heard("turn on"), Completion.OPEN),
        (heard("star"), Completion.SIMILAR),
        (heard("uh", "stopp"), Completion.SIMILAR),
        (heard("uh"), Completion.NONE),
        (heard("star light"), Completion.NONE),
    ],
)
def test_a_word_that_sounds_similar_to_a_phrase_of_one_word_may_be_that_phrase(
    found: Hypothesis, completion: Completion
) -> None:
    assert completed(BOOK, found, None).completion is completion


@pytest.mark.parametrize(
    ("text", "as_heard", "completion"),
    [
        ("Turn on the light.", "turn on the light", Completion.COMPLETE),
        ("Turn on the light.", "turn an delight", Completion.SIMILAR),
        ("Turn on the radio.", "turn on the rad io", Completion.COMPLETE),
        ("Turn on the radio.", "turn on the ray", Completion.SIMILAR),
        ("Turn on the light.", "turn on the lie", Completion.SIMILAR),
        ("Turn on the light.", "turn on the light please", Completion.COMPLETE),
        ("Stop.", "star", Completion.SIMILAR),
        ("Turn on", "turn don", Completion.OPEN),
    ],
)
def test_a_phrase_whose_last_word_was_not_heard_may_not_be_complete_yet(
    text: str, as_heard: str, completion: Completion
) -> None:
    found = replace(heard(text), heard=as_heard)
    assert completed(BOOK, found, None).completion is completion


def recognizer(model: Scripted, current: PhraseBook = BOOK) -> Recognizer:
    return Recognizer(model, FakeVoice(0.9), CurrentBook(current))


def only(model: Scripted, for_phrases: bool = True) -> Hypothesis:
    piece = Piece(replace(speech(1), for_phrases=for_phrases), 1.0)
    ((_, found),) = recognizer(model).recognize([piece], True)
    assert isinstance(found, Hypothesis)
    return found


def test_the_recognizer_finds_phrases_for_pieces_that_want_them() -> None:
    model = Scripted(lambda *_: heard("stop"))
    assert only(model).phrase is not None
    assert only(model, for_phrases=False).phrase is None


def test_a_phrase_needs_no_second_decoding() -> None:
    doubtful = replace(heard("stop"), mean_log_prob=-3.0)
    model = Scripted(lambda *_: doubtful)
    assert only(model).phrase is not None
    assert len(model.asked) == 1


def test_a_failure_of_the_scoring_leaves_the_transcript() -> None:
    model = Scripted(lambda *_: heard("Stark."), scoring_fails=True)
    assert only(model).text == "Stark."
