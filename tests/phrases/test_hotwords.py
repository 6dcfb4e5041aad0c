from __future__ import annotations

import pytest

from stt_mqtt.phrases.book import MAX_COMPILED, PhraseBook
from stt_mqtt.phrases.hotwords import MAX_CHARACTERS, hotwords_of
from stt_mqtt.phrases.names import HomeNames, NamesBuilder


def home() -> HomeNames:
    builder = NamesBuilder()
    builder.add_area("bedroom", ["Bedroom"], None)
    builder.add_area("kitchen", ["Kitchen", "Galley"], None)
    builder.add_entity("script.wake_up", ["Wake Up"], None, None)
    builder.add_entity("light.bed", ["Bed Light"], "bedroom", None)
    builder.add_entity("sun.sun", ["Sun"], None, None)
    builder.add_entity("media_player.radio", ["Radio"], "kitchen", None)
    builder.add_entity("light.stove", ["Stove Light", "Hob Light"], "kitchen", None)
    builder.add_list("drink", ["green tea"])
    return builder.build()


@pytest.mark.parametrize("area", ["Kitchen", "galley", "kitchen"])
def test_what_is_in_the_room_comes_first_then_areas_lists_and_the_rest(area: str) -> None:
    assert hotwords_of(home(), area) == (
        *("Stove Light", "Hob Light", "Radio"),
        *("Kitchen", "Galley", "Bedroom"),
        "green tea",
        *("Bed Light", "Wake Up", "Sun"),
    )


@pytest.mark.parametrize("area", [None, "", "Attic"])
def test_without_a_known_area_all_entities_are_sorted_by_domain(area: str | None) -> None:
    assert hotwords_of(home(), area) == (
        *("Bedroom", "Kitchen", "Galley"),
        "green tea",
        *("Bed Light", "Stove Light", "Hob Light", "Radio", "Wake Up", "Sun"),
    )


def test_a_name_counts_once() -> None:
    builder = NamesBuilder()
    builder.add_area("kitchen", ["Kitchen"], None)
    builder.add_entity("light.a", ["kitchen"], None, None)
    assert hotwords_of(builder.build(), None) == ("Kitchen",)


def test_names_have_a_bound() -> None:
    builder = NamesBuilder()
    for number in range(1000):
        builder.add_entity(f"light.l{number}", [f"Light {number}"], None, None)
    words = hotwords_of(builder.build(), None)
    assert MAX_CHARACTERS - 20 < len("".join(words)) <= MAX_CHARACTERS


def test_a_home_without_names_has_no_hotwords() -> None:
    assert PhraseBook().hotwords("Kitchen") == ()


def test_the_order_is_made_once_for_an_area() -> None:
    book = PhraseBook(names=home())
    assert book.hotwords("Kitchen") is book.hotwords("Kitchen")
    assert book.hotwords("Kitchen") != book.hotwords("Bedroom")


def test_any_number_of_areas_can_be_asked_for() -> None:
    book = PhraseBook(names=home())
    first = book.hotwords("Kitchen")
    for number in range(2 * MAX_COMPILED):
        book.hotwords(f"Room {number}")
    assert len(book._hotwords) <= MAX_COMPILED
    assert book.hotwords("Kitchen") == first
