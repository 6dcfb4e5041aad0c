"""How many sentences templates have, and some of them at random. Nothing is written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    TextChunk,
)

from stt_mqtt.phrases.book import values_of
from stt_mqtt.phrases.names import HomeNames
from stt_mqtt.phrases.parts import Template, WrittenBlock, WrittenLanguage
from stt_mqtt.phrases.search import WILDCARD, ValueList
from stt_mqtt.phrases.source import intents_of

ANY_WORDS = "…"
"""Stands for the words of a wildcard."""
MAX_TRIES = 20
"""How often a random sentence is sought in a template with empty lists."""


class EmptyListError(Exception):
    """A list without values: the sentence cannot be said."""


class Expander:
    """Counts and draws the sentences of a language, with the names of a home."""

    def __init__(self, written: WrittenLanguage, names: HomeNames) -> None:
        self._written = written
        self._names = names
        self._intents = intents_of(written)
        self._values: dict[tuple[str, ...], ValueList] = {}

    def count(self, block: WrittenBlock) -> int:
        """How many sentences a block has. A wildcard counts as one word."""
        counter = _Counter(block, self._written, lambda one: self._size(one, block))
        return sum(counter.count(sentence.sentence.expression) for sentence in block.sentences)

    def sample(self, block: WrittenBlock, random: Random) -> str | None:
        """A random sentence of a block. None: none was found, because lists are empty."""
        for _ in range(MAX_TRIES):
            sentence = random.choice(block.sentences)
            try:
                text = self._drawn(sentence.sentence.expression, block, random)
            except EmptyListError:
                continue
            return " ".join(text.split())
        return None

    def values(self, reference: ListReference, block: WrittenBlock) -> ValueList:
        """The values of a list in a block."""
        name = reference.list_name
        is_own = name in block.lists
        contexts = repr((block.data.requires_context, block.data.excludes_context))
        key = (name, str(block.place) if is_own else contexts)
        if key not in self._values:
            self._values[key] = values_of(reference, block.data, self._intents, self._names)
        return self._values[key]

    def _size(self, reference: ListReference, block: WrittenBlock) -> int:
        values = self.values(reference, block)
        return 1 if values is WILDCARD else len(values.values)

    def _drawn(self, expression: Expression, block: WrittenBlock, random: Random) -> str:
        items: list[Expression] = []
        match expression:
            case TextChunk():
                return expression.original_text
            case ListReference():
                return self._drawn_value(self.values(expression, block), random)
            case RuleReference():
                rule = rules_of(block, self._written)[expression.rule_name]
                items = [rule.sentence.expression]
            case Alternative():
                items = [random.choice(expression.items)]
            case Permutation():
                items = random.sample(expression.items, len(expression.items))
            case Group():
                items = expression.items
        return "".join(self._drawn(item, block, random) for item in items)

    def _drawn_value(self, values: ValueList, random: Random) -> str:
        if values is WILDCARD:
            return ANY_WORDS
        if not values.values:
            raise EmptyListError
        return random.choice(values.values).text


def count_without_lists(sentence: Template, block: WrittenBlock, written: WrittenLanguage) -> int:
    """How many sentences a template has if every list has one value."""
    return _Counter(block, written, lambda _: 1).count(sentence.sentence.expression)


def rules_of(block: WrittenBlock, written: WrittenLanguage) -> dict[str, Template]:
    """The rules that the sentences of a block can use."""
    return {**written.rules, **block.rules} if block.rules else written.rules


class _Counter:
    """Counts the sentences of expressions in a block."""

    def __init__(
        self, block: WrittenBlock, written: WrittenLanguage, size: Callable[[ListReference], int]
    ) -> None:
        self._rules = rules_of(block, written)
        self._size = size
        self._counted: dict[str, int] = {}

    def count(self, expression: Expression) -> int:
        match expression:
            case ListReference():
                return self._size(expression)
            case RuleReference():
                name = expression.rule_name
                if name not in self._counted:
                    self._counted[name] = self.count(self._rules[name].sentence.expression)
                return self._counted[name]
            case Alternative():
                return sum(self.count(item) for item in expression.items)
            case Group():
                product = math.prod(self.count(item) for item in expression.items)
                if isinstance(expression, Permutation):
                    product *= math.factorial(len(expression.items))
                return product
        return 1
