"""The nodes of a phrase file as values. Everything of the wrong shape is reported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TypeAlias

import yaml

from stt_mqtt.config.diagnostics import shown
from stt_mqtt.config.yaml_nodes import is_null
from stt_mqtt.phrases.parts import Place, Problems, Template
from stt_mqtt.phrases.templates import TemplateError, TemplateParser

MAX_NUMBER = 1_000_000_000
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})

Pair: TypeAlias = tuple[str, yaml.Node, yaml.Node]
"""A key, its node, and the node of its value."""


class NodeReader:
    """Reads the nodes of one file. `notes`: keys that have no effect."""

    def __init__(self, file: str, number: int, problems: Problems, parser: TemplateParser) -> None:
        self.notes: list[tuple[Place, str]] = []
        self._file = file
        self._number = number
        self._problems = problems
        self._parser = parser

    def place(self, node: yaml.Node | None) -> Place:
        """Where a node is written. None: at the start of the file."""
        mark = None if node is None else node.start_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        return Place(self._number, line + 1, column + 1, self._file)

    def report(self, node: yaml.Node | None, message: str) -> None:
        """Report a mistake at a node."""
        self.report_at(self.place(node), message)

    def report_at(self, place: Place, message: str) -> None:
        """Report a mistake at a place."""
        self._problems.report(place, message)

    def pairs(
        self,
        node: yaml.Node,
        what: str,
        known: Sequence[str] | None = None,
        unused: Sequence[str] = (),
    ) -> Iterator[Pair]:
        """Yield the pairs of a mapping. A key that is neither known nor unused gets a note.

        `known` None: every key is known. An empty node has no pairs.
        """
        if is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self.report(node, f"{what} must have keys below it")
            return
        lines: dict[str, int] = {}
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                self.report(key_node, f"{what}: a key must be text")
                continue
            key = str(key_node.value)
            if key_node.tag == "tag:yaml.org,2002:merge":
                self.report(key_node, "<< is not possible here, write the keys")
            elif key in lines:
                self.report(key_node, f"{shown(key)} is given twice, first in line {lines[key]}")
            elif known is None or key in known:
                yield key, key_node, value
            elif key not in unused:
                close = get_close_matches(key[:60], known, n=1)
                guess = f", did you mean '{close[0]}'?" if close else ""
                self.notes.append(
                    (self.place(key_node), f"key {shown(key)} has no effect in {what}{guess}")
                )
            lines.setdefault(key, self.place(key_node).line)

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """The items of a sequence. An empty node has none."""
        if is_null(node):
            return []
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.report(node, f"{what} must be a list, as in [a, b] or one - per line")
        return []

    def texts(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
        """Yield the texts of a sequence, as they are written: `no` and `7` are texts."""
        for item in self.items(node, what):
            if isinstance(item, yaml.ScalarNode) and not is_null(item):
                yield str(item.value), item
            else:
                self.report(item, f"{what} must be texts; are quotes missing?")

    def template(self, text: str, node: yaml.Node, what: str) -> Template | None:
        """The template that a text is. None: it is none, which is reported."""
        try:
            return Template(self.place(node), text, self._parser.parse(text))
        except TemplateError as error:
            self.report(node, f"{what}: {error}")
            return None

    def plain(self, node: yaml.Node) -> object:
        """A value that JSON can have. Other values, such as dates, are texts."""
        if isinstance(node, yaml.MappingNode):
            return {key: self.plain(value) for key, _, value in self.pairs(node, "a value")}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item) for item in node.value]
        assert isinstance(node, yaml.ScalarNode)
        return _scalar(node)

    def truth(self, node: yaml.Node, what: str) -> bool:
        """A truth value. Anything else is reported and false."""
        value = str(node.value).lower() if isinstance(node, yaml.ScalarNode) else None
        if value not in _TRUE | _FALSE:
            self.report(node, f"{what} must be true or false")
        return value in _TRUE

    def number(self, node: yaml.Node, what: str) -> int | float | None:
        """A number up to `MAX_NUMBER`. None: it is none, which is reported."""
        value = self.plain(node)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, int | float) and is_number and abs(value) <= MAX_NUMBER:
            return value
        self.report(node, f"{what} must be a number up to {MAX_NUMBER}")
        return None


def _scalar(node: yaml.ScalarNode) -> object:
    constructor = yaml.constructor.SafeConstructor()
    text = str(node.value)
    value: object = text
    try:
        match node.tag.rpartition(":")[2]:
            case "null":
                value = None
            case "bool":
                value = constructor.construct_yaml_bool(node)
            case "int":
                value = constructor.construct_yaml_int(node)
            case "float":
                number = constructor.construct_yaml_float(node)
                value = number if math.isfinite(number) else text
    except (ValueError, OverflowError):
        return text
    return value
