"""What phrase files say, with the place of each part. `source` merges the files of a language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hassil.expression import Sentence
from hassil.intents import IntentData, SlotList


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something is written. `number`: of the file, in the order of reading."""

    number: int
    line: int
    column: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence, a rule or a value, as it is written and as hassil reads it."""

    place: Place
    text: str
    sentence: Sentence


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list. `templates`: its values that are templates. `kind`: values, range or wildcard."""

    place: Place
    kind: str
    slot_list: SlotList
    templates: tuple[Template, ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenBlock:
    """Sentences of an intent, with the rules and lists that only they have."""

    place: Place
    intent: str
    sentences: tuple[Template, ...]
    rules: Mapping[str, Template]
    lists: Mapping[str, WrittenList]
    data: IntentData


@dataclass(slots=True)
class WrittenLanguage:
    """Everything that the phrase files say in a language.

    `notes`: what is written but has no effect. `known`: lists whose values the home gives.
    """

    code: str
    place: Place
    known: frozenset[str]
    blocks: list[WrittenBlock] = field(default_factory=list)
    rules: dict[str, Template] = field(default_factory=dict)
    lists: dict[str, WrittenList] = field(default_factory=dict)
    skip_words: list[str] = field(default_factory=list)
    notes: list[tuple[Place, str]] = field(default_factory=list)


@dataclass(slots=True)
class Problems:
    """Mistakes in phrase files, each once."""

    _found: dict[tuple[Place, str], None] = field(default_factory=dict)

    def report(self, place: Place, message: str) -> None:
        """Add a mistake."""
        self._found.setdefault((place, message))

    def lines(self) -> list[str]:
        """A line for each mistake, in the order of the files."""
        return [f"{place}: {message}" for place, message in sorted(self._found)]

    def __bool__(self) -> bool:
        return bool(self._found)
