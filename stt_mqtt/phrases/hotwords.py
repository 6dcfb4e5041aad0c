"""The names of a home as hotwords. Those that are most likely to be said come first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stt_mqtt.phrases.names import Entity, HomeNames

MAX_CHARACTERS = 400
"""Most characters of all hotwords together. 100 tokens, which a model takes, have about as many."""
DOMAINS = (
    "light",
    "switch",
    "cover",
    "climate",
    "media_player",
    "scene",
    "script",
    "fan",
    "lock",
    "vacuum",
    "todo",
    "input_boolean",
    "humidifier",
    "valve",
    "lawn_mower",
    "button",
    "sensor",
    "binary_sensor",
)
"""Domains in the order of their entities. All others come after them."""


def hotwords_of(names: HomeNames, area: str | None) -> tuple[str, ...]:
    """Names for a device in `area`, which is the name, an alias or the id of an area.

    The order: entities in that area, areas, lists, other entities. Entities are sorted by domain,
    then by area.
    """
    place = names.area_called(area) if area else None
    here = None if place is None else place.id
    near = [entity for entity in names.entities if here is not None and entity.area == here]
    far = [entity for entity in names.entities if here is None or entity.area != here]
    areas = sorted(names.areas, key=lambda one: one.id != here)
    in_order = (
        *_named(sorted(near, key=_usefulness)),
        *(name for one in areas for name in one.names),
        *(value for one in names.lists for value in one.values),
        *_named(sorted(far, key=_usefulness)),
    )
    return tuple(_fitting(in_order))


def _named(entities: Iterable[Entity]) -> Iterator[str]:
    return (name for entity in entities for name in entity.names)


def _usefulness(entity: Entity) -> tuple[int, str]:
    order = DOMAINS.index(entity.domain) if entity.domain in DOMAINS else len(DOMAINS)
    return order, entity.area or ""


def _fitting(names: Iterable[str]) -> Iterator[str]:
    """The first names, each once, until `MAX_CHARACTERS` are full."""
    room = MAX_CHARACTERS
    taken = set()
    for name in names:
        if name.casefold() in taken:
            continue
        room -= len(name)
        if room < 0:
            return
        taken.add(name.casefold())
        yield name
