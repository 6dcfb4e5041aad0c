"""Reads the lists of a phrase file: values, a range of numbers, or a wildcard."""

from __future__ import annotations

import yaml
from hassil.expression import TextChunk
from hassil.intents import (
    RangeFractionType,
    RangeSlotList,
    TextSlotList,
    TextSlotValue,
    WildcardSlotList,
)
from hassil.util import is_template, normalize_text

from stt_mqtt.config.yaml_nodes import is_null
from stt_mqtt.phrases.book import MAX_RANGE
from stt_mqtt.phrases.nodes import NodeReader
from stt_mqtt.phrases.parts import Place, Template, WrittenList

MAX_VALUES = 10_000
"""Most values of a list."""
_KINDS = ("values", "range", "wildcard")
_VALUE = ("in", "out", "context", "metadata")
_RANGE = ("from", "to", "step", "fractions", "multiplier")
_RANGE_UNUSED = ("type", "digits", "words", "words_language")


class ListReader:
    """Reads the lists of one file."""

    def __init__(self, nodes: NodeReader) -> None:
        self._nodes = nodes

    def read(self, node: yaml.Node) -> dict[str, WrittenList]:
        """The lists below a node, by name."""
        lists = {}
        for name, key_node, value in self._nodes.pairs(node, "lists"):
            read = self._list(name, self._nodes.place(key_node), value)
            if read is not None:
                lists[name] = read
        return lists

    def add(self, name: str, added: WrittenList, lists: dict[str, WrittenList]) -> None:
        """Add a list to those of other files. Values are added to the values there."""
        known = lists.get(name)
        if known is None:
            lists[name] = added
        elif known.kind != added.kind:
            self._nodes.report_at(
                added.place,
                f"list {{{name}}} has {added.kind} here and {known.kind} in {known.place}",
            )
        elif isinstance(added.slot_list, TextSlotList) and isinstance(
            known.slot_list, TextSlotList
        ):
            values = [*known.slot_list.values, *added.slot_list.values]
            if len(values) > MAX_VALUES:
                message = f"list {{{name}}} has more than {MAX_VALUES} values with {known.place}"
                self._nodes.report_at(added.place, message)
                return
            templates = known.templates + added.templates
            lists[name] = WrittenList(
                known.place, known.kind, TextSlotList(name, values), templates
            )
        elif known.slot_list != added.slot_list:
            self._nodes.report_at(
                added.place, f"list {{{name}}} has another range in {known.place}"
            )

    def _list(self, name: str, place: Place, node: yaml.Node) -> WrittenList | None:
        what = f"list {{{name[:60]}}}"
        parts = {
            key: value for key, _, value in self._nodes.pairs(node, what, _KINDS, ("metadata",))
        }
        if "wildcard" in parts and not self._nodes.truth(parts["wildcard"], "wildcard"):
            del parts["wildcard"]
        match list(parts):
            case ["values"]:
                return self._values(name, place, parts["values"])
            case ["range"]:
                numbers = self._range(name, parts["range"])
                return None if numbers is None else WrittenList(place, "a range", numbers)
            case ["wildcard"]:
                return WrittenList(place, "a wildcard", WildcardSlotList(name))
        self._nodes.report_at(place, f"{what} needs one of values, range and wildcard: true")
        return None

    def _values(self, name: str, place: Place, node: yaml.Node) -> WrittenList:
        values: list[TextSlotValue] = []
        templates: list[Template] = []
        items = self._nodes.items(node, f"the values of list {{{name[:60]}}}")
        if len(items) > MAX_VALUES:
            self._nodes.report(
                node, f"list {{{name[:60]}}} has {len(items)} values, at most {MAX_VALUES}"
            )
        for item in items[:MAX_VALUES]:
            read = self._value(item)
            if read is None:
                continue
            value, template = read
            values.append(value)
            if template is not None:
                templates.append(template)
        return WrittenList(place, "values", TextSlotList(name, values), tuple(templates))

    def _value(self, node: yaml.Node) -> tuple[TextSlotValue, Template | None] | None:
        """A value, and its template if it is one. None: it is none, which is reported.

        The meaning of a template without `out` is the text that is spoken.
        """
        parts = {"in": node}
        if isinstance(node, yaml.MappingNode):
            parts = {key: value for key, _, value in self._nodes.pairs(node, "a value", _VALUE)}
        spoken = parts.get("in")
        if not isinstance(spoken, yaml.ScalarNode) or is_null(spoken):
            self._nodes.report(node, "a value must be text, or have text below `in`")
            return None
        text = str(spoken.value)
        template = None
        if is_template(text):
            template = self._nodes.template(text, spoken, "a value")
            if template is None:
                return None
        out = self._nodes.plain(parts["out"]) if "out" in parts else None
        context = None
        if "context" in parts:
            context = {
                key: self._nodes.plain(value)
                for key, _, value in self._nodes.pairs(parts["context"], "context")
            }
        if template is not None:
            return TextSlotValue(template.sentence.expression, out, context), template
        return TextSlotValue(
            TextChunk(normalize_text(text)), text if out is None else out, context
        ), None

    def _range(self, name: str, node: yaml.Node) -> RangeSlotList | None:
        what = f"list {{{name[:60]}}}"
        parts = {
            key: value for key, _, value in self._nodes.pairs(node, what, _RANGE, _RANGE_UNUSED)
        }
        missing = [key for key in ("from", "to") if key not in parts]
        if missing:
            self._nodes.report(node, f"{what}: a range needs from and to")
            return None
        start, stop = self._whole(parts, "from", 0), self._whole(parts, "to", 0)
        step = self._whole(parts, "step", 1)
        fractions = self._fractions(parts.get("fractions"))
        multiplier = None
        if "multiplier" in parts and not is_null(parts["multiplier"]):
            multiplier = self._nodes.number(parts["multiplier"], "multiplier")
        if start is None or stop is None or step is None:
            return None
        if step < 1:
            self._nodes.report(parts["step"], "step must be 1 or more")
            return None
        wrong = wrong_range(start, stop, step, fractions)
        if wrong is not None:
            self._nodes.report(node, f"{what} {wrong}")
            return None
        return RangeSlotList(
            name, start, stop, step, fraction_type=fractions, multiplier=multiplier
        )

    def _whole(self, parts: dict[str, yaml.Node], key: str, default: int) -> int | None:
        if key not in parts:
            return default
        value = self._nodes.number(parts[key], key)
        if isinstance(value, float):
            self._nodes.report(parts[key], f"{key} must be a whole number")
            return None
        return value

    def _fractions(self, node: yaml.Node | None) -> RangeFractionType | None:
        if node is None or is_null(node):
            return None
        try:
            return RangeFractionType(str(node.value))
        except ValueError:
            self._nodes.report(node, "fractions must be halves or tenths")
            return None


def wrong_range(
    start: int, stop: int, step: int, fractions: RangeFractionType | None = None
) -> str | None:
    """What is wrong with a range; None: nothing."""
    if step < 1:
        return "has step 0; it must be 1 or more"
    if start > stop:
        return f"goes from {start} to {stop}; the smaller number must come first"
    count = range_size(start, stop, step, fractions)
    if count > MAX_RANGE:
        return f"has {count} numbers, at most {MAX_RANGE} are possible"
    return None


def range_size(start: int, stop: int, step: int, fractions: RangeFractionType | None) -> int:
    """How many numbers a range has."""
    each = 1 + len(RangeFractionType.get_fractions(fractions))
    return each * ((stop - start) // step + 1)
