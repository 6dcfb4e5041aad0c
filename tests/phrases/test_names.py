from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.phrases import names as module
from stt_mqtt.phrases.names import (
    NO_NAMES,
    Area,
    Entity,
    Floor,
    HomeNames,
    NameList,
    NamesBuilder,
    merged,
    names_from_json,
    names_from_topic,
    names_in_lists,
)

HOME = HomeNames(
    entities=(
        Entity("light.mood", ("Mood Lighting", "ambience"), "living_room"),
        Entity("sensor.outside", ("Außen",), None, "temperature"),
    ),
    areas=(Area("living_room", ("Living Room", "lounge"), "ground"),),
    floors=(Floor("ground", ("Ground floor",)),),
    lists=(NameList("drink", ("tea", "coffee")),),
)


def entity_named(*names: object) -> tuple[tuple[str, ...], int]:
    builder = NamesBuilder()
    builder.add_entity("light.a", names, None, None)
    (entity,) = builder.build().entities
    return entity.names, builder.dropped


def test_the_domain_of_an_entity_is_the_first_part_of_its_id() -> None:
    assert HOME.entities[0].domain == "light"


@pytest.mark.parametrize("text", ["living_room", "Living room", " LOUNGE "])
def test_an_area_is_found_by_its_id_name_or_alias(text: str) -> None:
    assert HOME.area_called(text) == HOME.areas[0]


def test_an_unknown_area_is_not_found() -> None:
    assert HOME.area_called("kitchen") is None


def test_names_are_kept_once_in_their_order_and_on_one_line() -> None:
    assert entity_named("Mood  Lighting ", "a\tb", "mood lighting") == (("Mood Lighting", "a b"), 0)


@pytest.mark.parametrize("bad", [None, 5, "", "  ", "x" * 101, "a\x00b", ["a"]])
def test_what_is_no_name_is_dropped_and_counted(bad: object) -> None:
    assert entity_named("a", bad) == (("a",), 1)


def test_a_thing_without_a_name_or_a_valid_id_is_dropped() -> None:
    builder = NamesBuilder()
    builder.add_entity("light.a", [], None, None)
    builder.add_area(None, ["Kitchen"], None)
    builder.add_floor("x" * 256, ["Ground floor"])
    builder.add_list("a\n", ["b"])
    assert builder.build() == NO_NAMES
    assert builder.dropped == 4


def test_every_count_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("ENTITIES", "AREAS", "FLOORS", "LISTS", "LIST_VALUES", "NAMES"):
        monkeypatch.setattr(module, f"MAX_{bound}", 2)
    builder = NamesBuilder()
    for number in range(3):
        builder.add_entity(f"light.{number}", ["a", "b"], None, None)
        builder.add_area(f"area{number}", ["a"], None)
        builder.add_floor(f"floor{number}", ["a"])
        builder.add_list(f"list{number}", ["a", "b"])
    assert builder.dropped == 4
    builder.add_area("area0", ["a", "b", "c"], None)
    builder.add_list("list0", ["c"])
    assert builder.dropped == 6
    home = builder.build()
    assert (len(home.entities), len(home.areas), len(home.floors), len(home.lists)) == (2, 2, 2, 2)
    assert home.areas[0].names == ("a", "b")
    assert home.lists[0].values == ("a", "b")


def test_equal_homes_are_equal_whatever_the_order_of_the_answers() -> None:
    builder = NamesBuilder()
    for entity in reversed(HOME.entities):
        builder.add_entity(entity.id, entity.names, entity.area, entity.device_class)
    assert builder.build().entities == HOME.entities


def test_a_file_gives_back_what_was_written() -> None:
    assert names_from_json(HOME.to_json()) == HOME
    assert names_from_json(NO_NAMES.to_json()) == NO_NAMES


BROKEN: list[Any] = [
    [],
    {},
    {"v": 2, "entities": [], "areas": [], "floors": [], "lists": {}},
    {"v": 1, "entities": {}, "areas": [], "floors": [], "lists": []},
    {"v": 1, "entities": [["light.a"]], "areas": [], "floors": [], "lists": {}},
    {"v": 1, "entities": [["light.a", "b", None, None]], "areas": [], "floors": [], "lists": {}},
    {"v": 1, "entities": 5, "areas": [], "floors": [], "lists": {}},
]


@pytest.mark.parametrize("fields", BROKEN)
def test_any_other_file_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        names_from_json(json.dumps(fields).encode())


@given(st.binary())
def test_no_bytes_harm_the_readers(data: bytes) -> None:
    for read in (names_from_json, names_from_topic):
        with suppress(ValueError):
            assert read(data) is not None


def test_a_message_holds_lists() -> None:
    payload = '{"drink": ["tea", " Tea", "Kaffee"], "name": ["Würfel", 5]}'.encode()
    expected = (NameList("drink", ("tea", "Kaffee")), NameList("name", ("Würfel",)))
    assert names_from_topic(payload) == (HomeNames(lists=expected), 1)


def test_an_empty_message_clears_the_lists() -> None:
    assert names_from_topic(b" ") == (NO_NAMES, 0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b'{"a": "SECRET"}', "lists are needed, as in "),
        (b" " * (256 * 1024 + 1), "262145 bytes, at most 262144 are taken"),
    ],
)
def test_a_refused_message_has_a_reason_that_repeats_nothing_of_it(
    payload: bytes, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        names_from_topic(payload)
    assert "SECRET" not in str(caught.value)


def test_the_lists_of_all_sources_are_joined_and_a_later_entity_counts() -> None:
    configured, _ = names_in_lists({"drink": ["Coffee", "milk"], "shop": ["bakery"]})
    renamed = HomeNames(entities=(Entity("light.mood", ("Glow",)),))
    home = merged(HOME, configured, renamed)
    assert home.lists == (
        NameList("drink", ("tea", "coffee", "milk")),
        NameList("shop", ("bakery",)),
    )
    assert home.entities == (*renamed.entities, HOME.entities[1])
    assert (home.areas, home.floors) == (HOME.areas, HOME.floors)
