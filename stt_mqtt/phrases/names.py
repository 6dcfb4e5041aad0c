"""What a home has and how people call it: entities, areas, floors, and words of the user's lists.

The values are immutable. `NamesBuilder` is the only way from foreign data to them, so all of them
are within the bounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_ENTITIES = 10_000
MAX_AREAS = 1_000
MAX_FLOORS = 100
MAX_LISTS = 100
MAX_LIST_VALUES = 10_000
"""Most values in one list."""
MAX_NAMES = 20
"""Most names of one entity, area or floor."""
MAX_NAME_CHARACTERS = 100
MAX_ID_CHARACTERS = 255
MAX_TOPIC_BYTES = 256 * 1024
"""Largest message on the retained topic with names."""
FORMAT_VERSION = 1
"""Version of the JSON that `HomeNames.to_json` writes."""


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor. `names`: its name, then its aliases."""

    id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Area:
    """An area, mostly a room. `names`: its name, then its aliases. `floor`: the id of its floor."""

    id: str
    names: tuple[str, ...]
    floor: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing to talk about. `id`: as in Home Assistant, `light.kitchen`.

    `names`: its name, then its aliases. `area`: the id of its area, or of the area of its device.
    """

    id: str
    names: tuple[str, ...]
    area: str | None = None
    device_class: str | None = None

    @property
    def domain(self) -> str:
        """The kind of the entity, such as `light`."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class NameList:
    """The values of a list that sentences can refer to as `{name}`."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HomeNames:
    """Everything that a home has. Each part is sorted, so equal homes are equal values.

    `lists` come from the configuration and from MQTT. Their `name`, `area` and `floor` add values
    to the entities, areas and floors.
    """

    entities: tuple[Entity, ...] = ()
    areas: tuple[Area, ...] = ()
    floors: tuple[Floor, ...] = ()
    lists: tuple[NameList, ...] = ()

    def area_called(self, text: str) -> Area | None:
        """The area with this id, name or alias. Case does not matter."""
        wanted = text.strip().casefold()
        for area in self.areas:
            if wanted in {area.id.casefold(), *(name.casefold() for name in area.names)}:
                return area
        return None

    def to_json(self) -> bytes:
        """These names for a file. `names_from_json` is the inverse."""
        fields = {
            "v": FORMAT_VERSION,
            "entities": [[one.id, one.names, one.area, one.device_class] for one in self.entities],
            "areas": [[one.id, one.names, one.floor] for one in self.areas],
            "floors": [[one.id, one.names] for one in self.floors],
            "lists": {one.name: one.values for one in self.lists},
        }
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()


NO_NAMES = HomeNames()


class NamesBuilder:
    """Collects names and drops what exceeds the bounds or is no name. `dropped` counts that."""

    def __init__(self) -> None:
        self.dropped = 0
        self._entities: dict[str, Entity] = {}
        self._areas: dict[str, Area] = {}
        self._floors: dict[str, Floor] = {}
        self._lists: dict[str, tuple[str, ...]] = {}

    def add_entity(
        self, id: object, names: Iterable[object], area: object, device_class: object
    ) -> None:
        """Add an entity, unless it has no name."""
        known, cleaned = self._identity(id, names, self._entities, MAX_ENTITIES)
        if known:
            self._entities[known] = Entity(known, cleaned, _id(area), _id(device_class))

    def add_area(self, id: object, names: Iterable[object], floor: object) -> None:
        """Add an area, unless it has no name."""
        known, cleaned = self._identity(id, names, self._areas, MAX_AREAS)
        if known:
            self._areas[known] = Area(known, cleaned, _id(floor))

    def add_floor(self, id: object, names: Iterable[object]) -> None:
        """Add a floor, unless it has no name."""
        known, cleaned = self._identity(id, names, self._floors, MAX_FLOORS)
        if known:
            self._floors[known] = Floor(known, cleaned)

    def add_list(self, name: object, values: Iterable[object]) -> None:
        """Add values to a list."""
        known = _id(name)
        if known is None or (known not in self._lists and len(self._lists) >= MAX_LISTS):
            self.dropped += 1
            return
        merged = (*self._lists.get(known, ()), *values)
        self._lists[known] = self._names(merged, MAX_LIST_VALUES)

    def add_all(self, names: HomeNames) -> None:
        """Add everything of another source. What has a known id replaces it."""
        for entity in names.entities:
            self.add_entity(entity.id, entity.names, entity.area, entity.device_class)
        for area in names.areas:
            self.add_area(area.id, area.names, area.floor)
        for floor in names.floors:
            self.add_floor(floor.id, floor.names)
        for one in names.lists:
            self.add_list(one.name, one.values)

    def build(self) -> HomeNames:
        """Everything that was added."""
        return HomeNames(
            tuple(self._entities[id] for id in sorted(self._entities)),
            tuple(self._areas[id] for id in sorted(self._areas)),
            tuple(self._floors[id] for id in sorted(self._floors)),
            tuple(NameList(name, self._lists[name]) for name in sorted(self._lists)),
        )

    def _identity(
        self, id: object, names: Iterable[object], known: Mapping[str, object], most: int
    ) -> tuple[str | None, tuple[str, ...]]:
        """The id and the names of something to add. The id is None if there is no place for it."""
        cleaned = self._names(names, MAX_NAMES)
        valid = _id(id)
        if valid is None or not cleaned or (valid not in known and len(known) >= most):
            self.dropped += 1
            return None, ()
        return valid, cleaned

    def _names(self, names: Iterable[object], most: int) -> tuple[str, ...]:
        """Clean names, each once, whatever its capitals. The first spelling stays."""
        cleaned: dict[str, str] = {}
        for name in names:
            text = _clean(name)
            if text is None or (len(cleaned) >= most and text.casefold() not in cleaned):
                self.dropped += 1
            else:
                cleaned.setdefault(text.casefold(), text)
        return tuple(cleaned.values())


def names_from_json(data: bytes) -> HomeNames:
    """The names in a file of `HomeNames.to_json`. Raises ValueError for anything else."""
    fields = _object(data)
    builder = NamesBuilder()
    try:
        if fields["v"] != FORMAT_VERSION:
            raise ValueError(f"version {str(fields['v'])[:20]} is not known")
        for id, names, area, device_class in fields["entities"]:
            builder.add_entity(id, _list(names), area, device_class)
        for id, names, floor in fields["areas"]:
            builder.add_area(id, _list(names), floor)
        for id, names in fields["floors"]:
            builder.add_floor(id, _list(names))
        for name, values in fields["lists"].items():
            builder.add_list(name, _list(values))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is not a list of names") from error
    return builder.build()


def names_from_topic(payload: bytes) -> tuple[HomeNames, int]:
    """The lists in a message `{"list": ["value", …]}`, and how many values were dropped.

    An empty payload clears them. Raises ValueError, whose message repeats nothing of the payload.
    """
    if len(payload) > MAX_TOPIC_BYTES:
        raise ValueError(f"{len(payload)} bytes, at most {MAX_TOPIC_BYTES} are taken")
    if not payload.strip():
        return NO_NAMES, 0
    fields = _object(payload)
    if not all(isinstance(values, list) for values in fields.values()):
        raise ValueError('lists are needed, as in {"drink": ["tea", "coffee"]}')
    return names_in_lists(fields)


def names_in_lists(lists: Mapping[str, Iterable[object]]) -> tuple[HomeNames, int]:
    """The names in lists as the configuration has them, and how many values were dropped."""
    builder = NamesBuilder()
    for name, values in lists.items():
        builder.add_list(name, values)
    return builder.build(), builder.dropped


def merged(*sources: HomeNames) -> HomeNames:
    """The names of all sources. Of two things with one id, that of the later source counts."""
    builder = NamesBuilder()
    for names in sources:
        builder.add_all(names)
    return builder.build()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        # Without the chain: the error of the parser holds the whole text.
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - bad data, not a wrong call
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _id(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARACTERS:
        return None
    return value if value.isprintable() else None


def _clean(value: object) -> str | None:
    """A name on one line without blanks around it; None if there is none or it is too long."""
    if not isinstance(value, str) or len(value) > MAX_ID_CHARACTERS * 4:
        return None
    text = " ".join(value.split())
    if not 0 < len(text) <= MAX_NAME_CHARACTERS or not text.isprintable():
        return None
    return text
