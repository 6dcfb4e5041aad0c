"""Checks what the templates of a language refer to: rules, lists, and how large they become."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hassil.expression import (
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
)

from stt_mqtt.phrases.book import HOME_LISTS
from stt_mqtt.phrases.grammar import MAX_PERMUTED
from stt_mqtt.phrases.lists import wrong_range
from stt_mqtt.phrases.parts import Problems, Template, WrittenLanguage

MAX_DEPTH = 64
"""Most levels of a sentence with its rules, in each other."""
MAX_SENTENCE_PARTS = 50_000
MAX_PARTS = 1_000_000
"""Most words, lists and brackets of a sentence, and of a language, with the rules written out."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """How large an expression is with its rules written out: parts, and levels inside it."""

    parts: int = 1
    depth: int = 1


def check_language(written: WrittenLanguage, problems: Problems) -> None:
    """Report unknown rules and lists, rules that contain themselves, and what is too large."""
    lists = {*written.lists, *written.known, *HOME_LISTS}
    common = _Checker(written.rules, lists, problems)
    for name, rule in written.rules.items():
        common.rule(name, rule)
    for one in written.lists.values():
        for template in one.templates:
            common.value(template)
    parts = 0
    for block in written.blocks:
        checker = common
        if block.rules or block.lists:
            rules = {**written.rules, **block.rules}
            checker = _Checker(rules, lists | set(block.lists), problems)
        for name, rule in block.rules.items():
            checker.rule(name, rule)
        for one in block.lists.values():
            for template in one.templates:
                common.value(template)
        for sentence in block.sentences:
            before, parts = parts, parts + checker.sentence(sentence)
            if before <= MAX_PARTS < parts:
                problems.report(
                    sentence.place,
                    f"language {written.code} has more than {MAX_PARTS} words and lists, counting "
                    "those of a rule wherever it is used",
                )


class _Checker:
    """Checks templates that may refer to certain rules and lists."""

    def __init__(
        self, rules: Mapping[str, Template], lists: Collection[str], problems: Problems
    ) -> None:
        self._rules = rules
        self._lists = lists
        self._problems = problems
        self._known: dict[str, _Extent] = {}
        self._used: set[str] = set()
        """Rules whose lists are checked because a sentence uses them."""

    def rule(self, name: str, template: Template) -> None:
        """Check a rule, whether it is used or not."""
        self._rule(name, template, ())

    def value(self, template: Template) -> None:
        """Check a value of a list, which cannot refer to a list."""
        if any(True for _ in _lists_in(template.sentence.expression)):
            self._problems.report(template.place, "a value cannot contain a list")
        self.sentence(template)

    def sentence(self, template: Template) -> int:
        """Check a sentence; return how many parts it has."""
        extent = self._extent(template.sentence.expression, template, ())
        self._check_lists(template)
        if extent.parts > MAX_SENTENCE_PARTS:
            self._problems.report(
                template.place,
                f"this becomes more than {MAX_SENTENCE_PARTS} words and lists with its rules",
            )
        return min(extent.parts, MAX_SENTENCE_PARTS)

    def _rule(self, name: str, referring: Template, within: tuple[str, ...]) -> _Extent:
        """The extent of a rule that a template refers to."""
        known = self._known.get(name)
        if known is not None:
            return known
        rule = self._rules.get(name)
        if rule is None:
            self._problems.report(referring.place, f"there is no expansion rule <{name[:60]}>")
            return _Extent()
        if name in within:
            self._problems.report(rule.place, f"the expansion rule <{name[:60]}> contains itself")
            return _Extent()
        if len(within) >= MAX_DEPTH:
            self._problems.report(rule.place, _TOO_DEEP)
            return _Extent()
        extent = self._extent(rule.sentence.expression, rule, (*within, name))
        self._known[name] = extent
        return extent

    def _extent(
        self, expression: Expression, template: Template, within: tuple[str, ...]
    ) -> _Extent:
        if isinstance(expression, RuleReference):
            inner = self._rule(expression.rule_name, template, within)
            extent = _Extent(inner.parts, inner.depth + 1)
        elif isinstance(expression, Group):
            items = [self._extent(item, template, within) for item in expression.items]
            parts, depth = (
                sum(item.parts for item in items),
                max((item.depth for item in items), default=0),
            )
            if isinstance(expression, Permutation):
                if len(items) > MAX_PERMUTED:
                    self._problems.report(
                        template.place, f"a permutation has more than {MAX_PERMUTED} parts"
                    )
                # Each part stands before any of the others that remain.
                parts *= 2 ** (min(len(items), MAX_PERMUTED) - 1)
            extent = _Extent(min(parts + 1, MAX_PARTS), depth + 1)
        else:
            extent = _Extent()
        if extent.depth > MAX_DEPTH:
            self._problems.report(template.place, _TOO_DEEP)
            return _Extent(extent.parts)
        return extent

    def _check_lists(self, template: Template) -> None:
        """Check the lists of a template and of the rules that it uses."""
        waiting = [template]
        while waiting:
            one = waiting.pop()
            for reference in _lists_in(one.sentence.expression):
                wrong = self._wrong_list(reference)
                if wrong is not None:
                    self._problems.report(one.place, wrong)
            for name in _rules_in(one.sentence.expression):
                if name not in self._used and name in self._rules:
                    self._used.add(name)
                    waiting.append(self._rules[name])

    def _wrong_list(self, reference: ListReference) -> str | None:
        name = reference.list_name
        numbers = reference.get_inline_range()
        if numbers is not None:
            wrong = wrong_range(*numbers)
            return None if wrong is None else f"the range {{{name}}} {wrong}"
        if name in self._lists:
            return None
        if name[:1].isdigit():
            return f"there is no list {{{name[:60]}}}; a range is written as {{0..100:slot}}"
        return (
            f"there is no list {{{name[:60]}}}; if it comes from the home, add it to phrases.names"
        )


_TOO_DEEP = f"more than {MAX_DEPTH} brackets and rules inside each other"


def _lists_in(expression: Expression) -> list[ListReference]:
    """The lists that an expression itself refers to."""
    return [one for one in _leaves(expression) if isinstance(one, ListReference)]


def _rules_in(expression: Expression) -> list[str]:
    """The rules that an expression itself refers to."""
    return [one.rule_name for one in _leaves(expression) if isinstance(one, RuleReference)]


def _leaves(expression: Expression) -> list[Expression]:
    if not isinstance(expression, Group):
        return [expression]
    return [leaf for item in expression.items for leaf in _leaves(item)]
