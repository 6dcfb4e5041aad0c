"""The base class of sections, and the types of their keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr


class Section(BaseModel):
    """One YAML section: immutable, unknown keys refused, every field documented."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    SHORT_FORM: ClassVar[str | None] = None
    """The key that a scalar in place of the section sets; None: a scalar is not allowed."""


@dataclass(frozen=True, slots=True)
class KeyType:
    """The type of a key: a section, free names with sections, a list, or a scalar."""

    section: type[Section] | None = None
    entries: KeyType | None = None
    items: KeyType | None = None
    text: bool = False
    secret: bool = False
    optional: bool = False

    @property
    def nested(self) -> bool:
        """Whether the value has keys."""
        return self.section is not None or self.entries is not None

    @property
    def short_form(self) -> str | None:
        """The key that a scalar in place of the section sets."""
        return None if self.section is None else self.section.SHORT_FORM

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the section, in the order of the model; empty if it is not a section."""
        return () if self.section is None else tuple(self.section.model_fields)

    def child(self, key: str) -> KeyType | None:
        """The type of `key` in this section; None if there is no such key."""
        if self.section is None:
            return self.entries
        field = self.section.model_fields.get(key)
        return None if field is None else _type_of(field.annotation)


def _type_of(annotation: Any) -> KeyType:
    members = _members(annotation)
    types = [member for member in members if isinstance(member, type)]
    optional = type(None) in types
    for member in members:
        if get_origin(member) is dict:
            return KeyType(entries=_type_of(get_args(member)[1]), optional=optional)
        if get_origin(member) is tuple:
            return KeyType(items=_type_of(get_args(member)[0]), optional=optional)
        if isinstance(member, type) and issubclass(member, Section):
            return KeyType(section=member, optional=optional)
    return KeyType(
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
