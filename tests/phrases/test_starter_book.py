"""The starter books say what people say, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hassil import Intents, recognize
from hassil.expression import Expression, Group, ListReference, RuleReference
from hassil.intents import SlotList, TextSlotList

import stt_mqtt.phrases
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import matches
from tests.thorough import some
from tools import near_phrases

BOOKS = Path(stt_mqtt.phrases.__file__).parent / "starter"
LANGUAGES = ["en", "de"]
CASES = {language: Path(__file__).parent / f"starter/{language}.yaml" for language in LANGUAGES}
NEAR = "near"
CASES[NEAR] = near_phrases.SENTENCES
HOME_LISTS = {"name", "area", "floor"}


@cache
def book_of(language: str) -> Intents:
    data: dict[str, Any] = yaml.safe_load((BOOKS / f"{language}.yaml").read_text("utf-8"))
    return Intents.from_dict(data)


@cache
def cases_of(name: str) -> Mapping[str, Any]:
    data: dict[str, Any] = yaml.safe_load(CASES[name].read_text("utf-8"))
    return data


@cache
def names_of(name: str) -> dict[str, SlotList]:
    """The lists of the home. A kind of thing is its domain and perhaps its device class."""
    home = cases_of(name)["home"]
    names = []
    for kind, listed in home["names"].items():
        domain, _, device_class = kind.partition(".")
        context = {"domain": domain} | ({"device_class": device_class} if device_class else {})
        for name_and_aliases in listed:
            spellings = name_and_aliases.split("/")
            names += [(spelling, spellings[0], context) for spelling in spellings]
    return {
        "name": TextSlotList.from_tuples(names),
        "area": TextSlotList.from_strings(home["areas"]),
        "floor": TextSlotList.from_strings(home["floors"]),
    }


def understood(cases: str, sentence: str, **context: str) -> tuple[str, dict[str, Any]] | None:
    """The intent of a sentence and its slots; None: it is not in the book."""
    book = book_of(cases_of(cases)["language"])
    result = recognize(sentence, book, slot_lists=names_of(cases), intent_context=context)
    if result is None:
        return None
    return result.intent.name, {name: slot.value for name, slot in result.entities.items()}


@cache
def phrase_book(cases: str) -> PhraseBook:
    language = cases_of(cases)["language"]
    return PhraseBook({language: book_of(language)}, near_phrases.home_of(cases_of(cases)["home"]))


def matched(cases: str, text: str, area: str | None = None) -> tuple[str, dict[str, Any]] | None:
    """The phrase that a transcript is and its slots; None: it is none."""
    book = phrase_book(cases).compiled(cases_of(cases)["language"], area)
    assert book is not None
    exact = matches(book, [text], 8).exact
    return None if exact is None else (exact.phrase.id, dict(exact.phrase.slots))


def references(expression: Expression) -> Iterator[ListReference | RuleReference]:
    if isinstance(expression, ListReference | RuleReference):
        yield expression
    elif isinstance(expression, Group):
        for item in expression.items:
            yield from references(item)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_list_and_rule_that_a_template_names_exists_and_each_is_used(language: str) -> None:
    book = book_of(language)
    blocks = [block for intent in book.intents.values() for block in intent.data]
    sentences = [sentence for block in blocks for sentence in block.sentences]
    named = [
        reference
        for sentence in (*sentences, *book.expansion_rules.values())
        for reference in references(sentence.expression)
    ]
    lists = {one.list_name for one in named if isinstance(one, ListReference)}
    rules = {one.rule_name for one in named if isinstance(one, RuleReference)}
    assert lists == set(book.slot_lists) | HOME_LISTS
    assert rules == set(book.expansion_rules)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_is_understood(language: str) -> None:
    wrong = [
        (sentence, heard)
        for intent, sentences in cases_of(language)["commands"].items()
        for sentence, slots in sentences.items()
        if (heard := understood(language, sentence)) != (intent, slots)
    ]
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_transcript_of_each_command_is_found_by_its_sound(language: str) -> None:
    wrong = [
        (sentence, heard)
        for intent, sentences in cases_of(language)["commands"].items()
        for sentence, slots in some([*sentences.items()])
        if (heard := matched(language, sentence)) != (intent, slots)
    ]
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_no_command_is_not_in_the_book(language: str) -> None:
    sentences = cases_of(language)["not_commands"]
    assert not [one for one in sentences if understood(language, one) is not None]
    assert not [one for one in some(sentences) if matched(language, one) is not None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_enough_cases_of_each_kind(language: str) -> None:
    cases = cases_of(language)
    assert sum(map(len, cases["commands"].values())) >= 80
    assert len(cases["not_commands"]) >= 40
    assert set(cases["commands"]) == set(book_of(language).intents)


@pytest.mark.parametrize(
    ("language", "sentence", "intent"),
    [
        ("en", "turn on the lights", "HassTurnOn"),
        ("en", "turn the lights off", "HassTurnOff"),
        ("en", "close the blinds", "HassTurnOff"),
        ("en", "set the lights to blue", "HassLightSet"),
        ("en", "what's the temperature", "HassClimateGetTemperature"),
        ("de", "mach das Licht an", "HassTurnOn"),
        ("de", "Licht aus", "HassTurnOff"),
        ("de", "Rollläden runter", "HassTurnOff"),
        ("de", "mach das Licht blau", "HassLightSet"),
        ("de", "wie warm ist es", "HassClimateGetTemperature"),
    ],
)
def test_a_device_with_an_area_speaks_of_that_area(
    language: str, sentence: str, intent: str
) -> None:
    heard = understood(language, sentence, area="Attic")
    assert heard is not None
    assert matched(language, sentence, area="Attic") == heard
    assert heard[0] == intent
    assert heard[1]["area"] == "Attic"
    elsewhere = understood(language, sentence)
    assert elsewhere is not None
    assert elsewhere[0] == intent
    assert "area" not in elsewhere[1]


def test_near_phrases_are_not_in_the_book_but_those_that_they_sound_like_are() -> None:
    near = cases_of(NEAR)["near"]
    assert near
    assert not [one["text"] for one in near if understood(NEAR, one["text"])]
    assert not [one["nearest"] for one in near if not understood(NEAR, one["nearest"])]


def test_all_phrases_that_are_spoken_for_comparison_are_in_the_book() -> None:
    said = cases_of(NEAR)["said"]
    assert said
    assert not [sentence for sentence in said if not understood(NEAR, sentence)]
