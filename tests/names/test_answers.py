from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.names.answers import (
    Answers,
    attributes_in,
    devices_in,
    entries_in,
    exposed_entities,
    names_in,
)
from stt_mqtt.phrases.names import NO_NAMES, Area, Entity, Floor, HomeNames
from tests.names.server import recorded


def home_of(
    entries: Any, states: Any = (), areas: Any = (), floors: Any = (), devices: Any = ()
) -> HomeNames:
    exposed = sorted(entries)
    answers = Answers(
        entries_in(entries),
        attributes_in(list(states), exposed),
        devices_in(list(devices)),
        list(areas),
        list(floors),
    )
    return names_in(answers, exposed)[0]


def names_of(entry: dict[str, Any], states: Any = (), devices: Any = ()) -> tuple[str, ...]:
    (entity,) = home_of(
        {"light.a": {"disabled_by": None, **entry}}, states, devices=devices
    ).entities
    return entity.names


def state_of(id: str, **attributes: Any) -> dict[str, Any]:
    return {"entity_id": id, "state": "on", "attributes": attributes}


def test_the_answers_of_a_real_home_give_its_names() -> None:
    exposed = exposed_entities(recorded("exposed"))
    answers = Answers(
        entries_in(recorded("entries")),
        attributes_in(recorded("states"), exposed),
        devices_in(recorded("devices")),
        recorded("areas"),
        recorded("floors"),
    )
    assert names_in(answers, exposed) == (
        HomeNames(
            entities=(
                Entity("event.kitchen_utterance", ("Counter Utterance",), "kitchen"),
                Entity("input_boolean.lamp", ("lamp",)),
                Entity("light.kitchen_light", ("Kitchen light",)),
                Entity(
                    "light.living_room_lamp",
                    ("Living room lamp", "Glow", "mood light"),
                    "living_room",
                ),
                Entity("light.standing_light", ("Reading Lamp",), "bedroom"),
                Entity("media_player.kitchen_radio", ("Kitchen radio",)),
                Entity("todo.shopping_list", ("Shopping List",)),
                Entity("zone.home", ("Test bed",)),
            ),
            areas=(
                Area("bedroom", ("Bedroom",), "upper_floor"),
                Area("garden", ("Garden",)),
                Area("kitchen", ("Kitchen",), "ground_floor"),
                Area("living_room", ("Living Room", "front room", "lounge"), "ground_floor"),
            ),
            floors=(
                Floor("ground_floor", ("Ground floor", "downstairs")),
                Floor("upper_floor", ("Upper floor",)),
            ),
        ),
        0,
    )


def test_only_what_is_exposed_to_the_conversation_counts() -> None:
    exposed = {
        "light.b": {"conversation": True, "cloud.alexa": True},
        "light.a": {"conversation": True},
        "light.c": {"cloud.alexa": True},
        "light.d": {"conversation": False},
        "no id": {"conversation": True},
    }
    assert exposed_entities({"exposed_entities": exposed}) == ["light.a", "light.b"]


def test_an_alias_that_repeats_the_name_is_left_out() -> None:
    shown = [state_of("light.a", friendly_name="Lamp")]
    assert names_of({"aliases": ["lamp", "light"]}, shown) == ("Lamp", "light")


def test_the_order_of_aliases_does_not_depend_on_the_start_of_home_assistant() -> None:
    one, other = ({"name": "Lamp", "aliases": aliases} for aliases in (["b", "a"], ["a", "b"]))
    assert names_of(one) == names_of(other) == ("Lamp", "a", "b")


def test_a_disabled_entity_and_one_without_any_name_are_left_out() -> None:
    entries = {"light.a": {"disabled_by": "user", "name": "Lamp"}, "light.b": None}
    assert home_of(entries) == NO_NAMES


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"name": "Lamp", "original_name": "LED"}, "Lamp"),
        ({"name": None, "original_name": "LED"}, "LED"),
        ({"has_entity_name": True, "original_name": "LED", "device_id": "d"}, "Desk LED"),
        ({"has_entity_name": True, "original_name": None, "device_id": "d"}, "Desk"),
    ],
)
def test_while_there_is_no_state_the_name_comes_from_the_registries(
    entry: dict[str, Any], name: str
) -> None:
    devices = [{"id": "d", "name": "Lamp 5", "name_by_user": "Desk"}]
    assert names_of({"aliases": [], **entry}, devices=devices) == (name,)


# In the form of Home Assistant 2026.11 ---------------------------------------------------------

DEVICES = [
    {"id": "strip", "name": "Power strip", "parent_device_id": None, "area_id": "office"},
    {
        "id": "socket",
        "name": "Socket 1",
        "parent_device_id": "strip",
        "next_name_part": "parent_device",
        "area_id": None,
    },
]


@pytest.mark.parametrize(
    ("next_name_part", "name"), [("device", "Power strip Socket 1 Switch"), (None, "Switch")]
)
def test_null_among_the_aliases_stands_for_the_name_in_parts(
    next_name_part: str | None, name: str
) -> None:
    entry = {
        "aliases": ["plug", None],
        "original_name": "Switch",
        "name": None,
        "device_id": "socket",
        "next_name_part": next_name_part,
    }
    assert names_of(entry, [state_of("light.a", friendly_name="Other")], DEVICES) == ("plug", name)


def test_a_name_that_the_user_gave_takes_the_place_of_the_original_one() -> None:
    entry = {"aliases": [None], "original_name": "Switch", "name": "Heater", "next_name_part": None}
    assert names_of(entry) == ("Heater",)


def test_an_entity_without_null_does_not_answer_to_its_name() -> None:
    entries = {
        "light.a": {"aliases": ["glow"], "name": "Lamp", "next_name_part": None},
        "light.b": {"aliases": [None], "name": "Light", "next_name_part": None},
        "light.c": {"aliases": [], "name": "Hidden", "next_name_part": None},
    }
    home = home_of(entries)
    assert [(entity.id, entity.names) for entity in home.entities] == [
        ("light.a", ("glow",)),
        ("light.b", ("Light",)),
    ]


@pytest.mark.parametrize(
    ("own", "device", "area"),
    [("desk", "socket", "desk"), (None, "socket", "office"), (None, "gone", None)],
)
def test_the_area_is_that_of_the_entity_its_device_or_the_parent_of_the_device(
    own: str | None, device: str, area: str | None
) -> None:
    entry = {"name": "Lamp", "area_id": own, "device_id": device}
    (entity,) = home_of({"light.a": entry}, devices=DEVICES).entities
    assert entity.area == area


def test_the_device_class_of_the_user_is_preferred() -> None:
    entry = {"name": "Door", "device_class": "window", "original_device_class": "door"}
    (entity,) = home_of({"light.a": entry}).entities
    assert entity.device_class == "window"
    shown = [state_of("light.a", friendly_name="Door", device_class="gate")]
    (entity,) = home_of({"light.a": None}, shown).entities
    assert entity.device_class == "gate"


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["light.a", "aliases", "name", "id", "area_id", "exposed_entities"]),
            below,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(JSON, JSON, JSON, JSON, JSON, JSON)
def test_no_answer_harms_the_reader(
    exposed: Any, entries: Any, states: Any, areas: Any, floors: Any, devices: Any
) -> None:
    ids = [*exposed_entities(exposed), "light.a"]
    answers = Answers(
        entries_in(entries), attributes_in(states, ids), devices_in(devices), areas, floors
    )
    home, dropped = names_in(answers, ids)
    assert len(home.entities) <= 1
    assert dropped >= 0
