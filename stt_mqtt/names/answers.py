"""The names in the answers of Home Assistant's WebSocket API. Pure functions.

Versions of Home Assistant differ. In 2026.2, an entity always answers to its friendly name, and to
its aliases beside it. In 2026.11, `null` among the aliases stands for the computed name, and an
entity without it does not answer to that name. Where aliases are a set in Home Assistant, their
order changes with each of its starts, so they are sorted.

What is not as expected in an answer is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stt_mqtt.phrases.names import HomeNames, NamesBuilder

ASSISTANT = "conversation"
"""What entities are exposed to: Home Assistant's own assistant."""

_ENTITY_ID = re.compile(r"[a-z0-9_]{1,127}\.[a-z0-9_]{1,127}")

Fields = Mapping[str, Any]


_ENTRY_KEYS = (
    "aliases", "area_id", "device_class", "device_id", "disabled_by", "has_entity_name", "name",
    "next_name_part", "original_device_class", "original_name",
)  # fmt: skip
_DEVICE_KEYS = ("area_id", "name", "name_by_user", "next_name_part", "parent_device_id")
_ATTRIBUTES = ("friendly_name", "device_class")


@dataclass(frozen=True, slots=True)
class Answers:
    """What is needed of the results of the commands. A whole result takes several times as much."""

    entries: Mapping[str, Fields]
    """Entries of the entity registry, by entity id."""
    attributes: Mapping[str, Fields]
    """Attributes of states, by entity id."""
    devices: Mapping[str, Fields]
    """Entries of the device registry, by device id."""
    areas: object
    """The result of `config/area_registry/list`."""
    floors: object
    """The result of `config/floor_registry/list`."""


def exposed_entities(result: object) -> list[str]:
    """The entity ids in a result of `homeassistant/expose_entity/list`, sorted."""
    exposed = _fields(_fields(result).get("exposed_entities"))
    return sorted(
        id
        for id, assistants in exposed.items()
        if _ENTITY_ID.fullmatch(id) and _fields(assistants).get(ASSISTANT) is True
    )


def entries_in(result: object) -> dict[str, Fields]:
    """The entries in a result of `config/entity_registry/get_entries`."""
    entries = _fields(result).items()
    return {id: _only(_ENTRY_KEYS, entry) for id, entry in entries if isinstance(entry, dict)}


def devices_in(result: object) -> dict[str, Fields]:
    """The devices in a result of `config/device_registry/list`."""
    return {str(device.get("id")): _only(_DEVICE_KEYS, device) for device in _items(result)}


def attributes_in(result: object, exposed: Iterable[str]) -> dict[str, Fields]:
    """The attributes of the exposed entities in a result of `get_states`."""
    wanted = set(exposed)
    states = ((state.get("entity_id"), state) for state in _items(result))
    return {
        id: _only(_ATTRIBUTES, _fields(state.get("attributes")))
        for id, state in states
        if isinstance(id, str) and id in wanted
    }


def names_in(answers: Answers, exposed: Iterable[str]) -> tuple[HomeNames, int]:
    """The names of a home, and how many were dropped because they exceed a bound."""
    builder = NamesBuilder()
    for floor in _items(answers.floors):
        builder.add_floor(floor.get("floor_id"), _names(floor))
    for area in _items(answers.areas):
        builder.add_area(area.get("area_id"), _names(area), area.get("floor_id"))
    null_is_computed = any(
        None in _list(entry.get("aliases")) for entry in answers.entries.values()
    )
    resolver = _Resolver(answers.devices, answers.attributes, null_is_computed)
    for id in exposed:
        entry = answers.entries.get(id, {})
        names = list(resolver.names(id, entry))
        if names:
            builder.add_entity(id, names, resolver.area(entry), resolver.device_class(id, entry))
    return builder.build(), builder.dropped


@dataclass(frozen=True, slots=True)
class _Resolver:
    """What the answers together say about an entity."""

    devices: Mapping[str, Fields]
    attributes: Mapping[str, Fields]
    null_is_computed: bool
    """Whether `null` among aliases stands for the computed name."""

    def names(self, id: str, entry: Fields) -> Iterator[str]:
        """The names of an entity, without blank ones. `entry` is empty if it has none."""
        if entry.get("disabled_by") is not None:
            return
        aliases = _list(entry.get("aliases"))
        if not entry or not self.null_is_computed:
            aliases = [None, *sorted(filter(_is_text, aliases))]
        for alias in aliases:
            name = self._name(id, entry) if alias is None else alias
            if isinstance(name, str) and name.strip():
                yield name

    def area(self, entry: Fields) -> str | None:
        """The area of the entity, of its device, or of the device that this is a part of."""
        device = self._device(entry.get("device_id"))
        parent = self._device(device.get("parent_device_id"))
        for owner in (entry, device, parent):
            area = owner.get("area_id")
            if isinstance(area, str):
                return area
        return None

    def device_class(self, id: str, entry: Fields) -> object:
        """The device class, such as `temperature`."""
        shown = self.attributes.get(id, {}).get("device_class")
        return entry.get("device_class") or entry.get("original_device_class") or shown

    def _name(self, id: str, entry: Fields) -> object:
        """The name that Home Assistant shows and hears."""
        if "next_name_part" in entry:
            return self._computed_name(entry)
        if id in self.attributes:
            shown = self.attributes[id].get("friendly_name")
            return shown or id.partition(".")[2].replace("_", " ")
        if entry.get("name") or not entry.get("has_entity_name"):
            return entry.get("name") or entry.get("original_name")
        device = self._device(entry.get("device_id"))
        return _joined(_device_name(device), entry.get("original_name"))

    def _computed_name(self, entry: Fields) -> str:
        """The name in parts: of the parent device, the device, and the entity."""
        device: Fields = {}
        parent: Fields = {}
        if entry["next_name_part"] == "device":
            device = self._device(entry.get("device_id"))
        if device.get("next_name_part") == "parent_device":
            parent = self._device(device.get("parent_device_id"))
        own = entry.get("name")
        own = entry.get("original_name") if own is None else own
        return _joined(_device_name(parent), _device_name(device), own)

    def _device(self, id: object) -> Fields:
        return self.devices.get(id, {}) if isinstance(id, str) else {}


def _device_name(device: Fields) -> object:
    return device.get("name_by_user") or device.get("name")


def _joined(*parts: object) -> str:
    return " ".join(part for part in parts if isinstance(part, str) and part)


def _only(keys: Iterable[str], fields: Fields) -> Fields:
    return {key: fields[key] for key in keys if key in fields}


def _names(item: Fields) -> list[Any]:
    return [item.get("name"), *sorted(filter(_is_text, _list(item.get("aliases"))))]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _items(result: object) -> Iterator[Fields]:
    return (item for item in _list(result) if isinstance(item, dict))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}
