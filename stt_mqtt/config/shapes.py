"""What the models say about a key, in the few words that reading YAML needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, get_origin

from pydantic import SecretStr

from stt_mqtt.config.base import Section
from stt_mqtt.config.mqtt import BrokerConfig
from stt_mqtt.config.root import Config

SHORT_FORMS: dict[type[Section], str] = {BrokerConfig: "mode"}
"""Sections that may be written as one scalar, and the key that the scalar stands for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at a key: a section, free names with sections, a list, or a scalar."""

    section: type[Section] | None = None
    entries: Shape | None = None
    items: Shape | None = None
    text: bool = False
    secret: bool = False
    optional: bool = False

    @property
    def nested(self) -> bool:
        """Whether keys belong below this key."""
        return self.section is not None or self.entries is not None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the section, in the order of the model; empty if it is none."""
        return () if self.section is None else tuple(self.section.model_fields)

    def child(self, key: str) -> Shape | None:
        """Shape of `key` below this one; None: there is no such key."""
        if self.section is None:
            return self.entries
        field = self.section.model_fields.get(key)
        return None if field is None else _shape_of(field.annotation)


ROOT = Shape(section=Config)
"""The whole file."""


def shape_at(path: tuple[str, ...]) -> Shape:
    """Shape of the key at `path`; KeyError where the configuration has no such key."""
    shape = ROOT
    for key in path:
        child = shape.child(key)
        if child is None:
            raise KeyError(key)
        shape = child
    return shape


def _shape_of(annotation: Any) -> Shape:
    members = _members(annotation)
    types = [member for member in members if isinstance(member, type)]
    optional = type(None) in types
    for member in members:
        if get_origin(member) is dict:
            return Shape(entries=_shape_of(get_args(member)[1]), optional=optional)
        if get_origin(member) is tuple:
            return Shape(items=_shape_of(get_args(member)[0]), optional=optional)
        if isinstance(member, type) and issubclass(member, Section):
            return Shape(section=member, optional=optional)
    return Shape(
        text=any(issubclass(member, str | SecretStr | Enum) for member in types),
        secret=SecretStr in types,
        optional=optional,
    )


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a type, without `Annotated` and `|` around them."""
    if get_origin(annotation) in (dict, tuple) or not get_args(annotation):
        return [annotation]
    if hasattr(annotation, "__metadata__"):
        return _members(get_args(annotation)[0])
    return [member for part in get_args(annotation) for member in _members(part)]
