"""The phrase book: sentence templates in the format of Home Assistant, with the names of the home.

`hassil` reads the templates. They are compiled for each language and area, because some sentences
are only for a device in a certain area.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from hassil.errors import HassilError
from hassil.expression import ListReference
from hassil.intents import (
    IntentData,
    Intents,
    RangeSlotList,
    SlotList,
    TextSlotList,
    WildcardSlotList,
)
from hassil.sample import sample_expression

from stt_mqtt.phrases.grammar import GrammarBuilder, GrammarError
from stt_mqtt.phrases.hotwords import hotwords_of
from stt_mqtt.phrases.names import NO_NAMES, HomeNames
from stt_mqtt.phrases.search import WILDCARD, Grammar, Value, ValueList
from stt_mqtt.phrases.sounds import key_of, number_in_words
from stt_mqtt.phrases.walk import Walker

MAX_RANGE = 10_000
"""Most numbers in a range."""
MAX_SPELLINGS = 32
"""Most texts of one value that is a template."""
MAX_COMPILED = 64
"""Most combinations of language and area that are kept compiled."""
HOME_LISTS = frozenset({"name", "area", "floor"})
"""Lists of the home's names. A sentence of nothing else is not a command."""

Context: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Sentences of an intent. `slots`: what they mean without a word for it."""

    intent: str
    slots: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledBook:
    """The sentences for one language and area."""

    language: str
    grammar: Grammar
    blocks: tuple[Block, ...]
    skip_words: frozenset[str]
    walker: Walker
    """For texts that may be only the beginning of a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class PhraseBook:
    """All sentences of a home, by language. Immutable but for what is compiled already."""

    languages: Mapping[str, Intents] = field(default_factory=dict)
    names: HomeNames = NO_NAMES
    _compiled: dict[tuple[str, str | None], CompiledBook] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _hotwords: dict[str | None, tuple[str, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def compiled(self, language: str, area: str | None = None) -> CompiledBook | None:
        """The book for a device in `area`. None: it has no sentence in this language.

        Raises GrammarError.
        """
        intents = self.languages.get(language)
        if intents is None:
            return None
        place = self.names.area_called(area) if area else None
        key = (language, place.names[0] if place is not None else area)
        book = self._compiled.get(key)
        if book is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.clear()
            book = self._compiled[key] = _BookCompiler(intents, self.names, *key).compile()
        return book

    def hotwords(self, area: str | None) -> tuple[str, ...]:
        """Names of the home for a device in `area`, the most useful first."""
        words = self._hotwords.get(area)
        if words is None:
            if len(self._hotwords) >= MAX_COMPILED:
                self._hotwords.clear()
            words = self._hotwords[area] = hotwords_of(self.names, area)
        return words


def values_of(
    reference: ListReference, data: IntentData, intents: Intents, names: HomeNames
) -> ValueList:
    """The values that a list has in a block of sentences. `WILDCARD`: any words.

    Raises GrammarError.
    """
    return _BookCompiler(intents, names, intents.language, None).values(reference, data)


class _BookCompiler:
    """Compiles the intents of a language for the devices of one area."""

    def __init__(self, intents: Intents, names: HomeNames, language: str, area: str | None) -> None:
        self._intents = intents
        self._names = names
        self._language = language
        self._area = area
        self._lists: dict[str, ValueList] = {}

    def compile(self) -> CompiledBook:
        builder = GrammarBuilder()
        blocks: list[Block] = []
        for intent in self._intents.intents.values():
            for data in intent.data:
                slots = self._fixed_slots(data)
                if slots is None:
                    continue
                number = len(blocks)
                blocks.append(Block(intent.name, slots))
                rules = {**self._intents.expansion_rules, **data.expansion_rules}
                list_of = partial(self._list, data, number)
                try:
                    builder.add(data.sentences, rules, list_of, number)
                except (GrammarError, HassilError) as error:
                    raise GrammarError(f"intent {intent.name}: {error}") from error
        grammar = Grammar(builder.build(self._language), self._lists)
        return CompiledBook(
            self._language,
            grammar,
            tuple(blocks),
            frozenset(word.casefold() for word in self._intents.skip_words),
            Walker(grammar, self._language, HOME_LISTS),
        )

    def _fixed_slots(self, data: IntentData) -> dict[str, object] | None:
        """The slots that a block always has. None: it is not for this area."""
        slots = dict(data.slots)
        required = data.requires_context.get("area")
        if required is None:
            return slots
        is_slot = isinstance(required, Mapping) and bool(required.get("slot"))
        wanted = required.get("value") if isinstance(required, Mapping) else required
        if self._area is None or not _fits(self._area, wanted):
            return None
        if is_slot:
            slots["area"] = self._area
        return slots

    def _list(self, data: IntentData, block: int, reference: ListReference) -> str:
        """The key of the list that a reference in a block means; its values are then known."""
        name = reference.list_name
        if reference.is_inline_range:
            key = name
        elif name in data.slot_lists:
            key = f"{name}@{block}"
        else:
            required, excluded = _contexts(data)
            key = name if not required and not excluded else f"{name}?{required}!{excluded}"
        if key not in self._lists:
            self._lists[key] = self.values(reference, data)
        return key

    def values(self, reference: ListReference, data: IntentData) -> ValueList:
        """The values that a list has in a block."""
        inline = reference.get_inline_range()
        if inline is not None:
            start, stop, step = inline
            return self._range(RangeSlotList(None, start, stop, step))
        name = reference.list_name
        slot_list = data.slot_lists.get(name) or self._intents.slot_lists.get(name)
        if isinstance(slot_list, WildcardSlotList):
            return WILDCARD
        if isinstance(slot_list, RangeSlotList):
            return self._range(slot_list)
        required, excluded = _contexts(data)
        values = [
            value
            for value, context in (*self._written(slot_list), *self._named(name))
            if _matches(context, required, excluded)
        ]
        if slot_list is None and not self._is_named(name):
            raise GrammarError(f"there is no list {{{name}}}")
        return ValueList.of(values)

    def _written(self, slot_list: SlotList | None) -> Iterator[tuple[Value, Context]]:
        """The values of a list of the book."""
        if not isinstance(slot_list, TextSlotList):
            return
        rules, lists = self._intents.expansion_rules, self._intents.slot_lists
        for value in slot_list.values:
            texts = sample_expression(value.text_in, lists, rules, self._language)
            for text in islice(texts, MAX_SPELLINGS):
                out = text if value.value_out is None else value.value_out
                yield self._value(text, out), value.context or {}

    def _is_named(self, name: str) -> bool:
        return name in HOME_LISTS or any(one.name == name for one in self._names.lists)

    def _named(self, name: str) -> Iterator[tuple[Value, Context]]:
        """The values that the home adds to a list."""
        for one in self._names.lists:
            if one.name == name:
                yield from ((self._value(text, text), {}) for text in one.values)
        if name == "name":
            for entity in self._names.entities:
                context = {"domain": entity.domain, "device_class": entity.device_class}
                for text in entity.names:
                    yield self._value(text, entity.names[0], entity.id), context
        elif name in HOME_LISTS:
            for place in self._names.areas if name == "area" else self._names.floors:
                for text in place.names:
                    yield self._value(text, place.names[0], place.id), {}

    def _range(self, numbers: RangeSlotList) -> ValueList:
        fractions = 1 if numbers.fraction_type is None else 10
        count = fractions * ((numbers.stop - numbers.start) // numbers.step + 1)
        if count > MAX_RANGE:
            raise GrammarError(f"a range has {count} numbers, at most {MAX_RANGE} are possible")
        values = []
        for number in numbers.get_numbers():
            key = key_of(number_in_words(number, self._language), self._language)
            out = number if numbers.multiplier is None else number * numbers.multiplier
            values.append(Value(f"{number:g}", key, out))
        return ValueList.of(values)

    def _value(self, text: str, out: object, entity: str | None = None) -> Value:
        words = " ".join(text.split())
        return Value(words, key_of(words, self._language), out, entity)


def _contexts(data: IntentData) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a block requires of its values, and excludes. The area is not about values."""
    return (
        {key: value for key, value in data.requires_context.items() if key != "area"},
        {key: value for key, value in data.excludes_context.items() if key != "area"},
    )


def _matches(context: Context, required: Context, excluded: Context) -> bool:
    """Whether a value with this context may stand in a block. A value without context may."""
    if not context:
        return True
    return all(_fits(context.get(key), wanted) for key, wanted in required.items()) and not any(
        key in context and _fits(context[key], unwanted) for key, unwanted in excluded.items()
    )


def _fits(value: object, wanted: object) -> bool:
    """Whether a value is one of those that are wanted. None: all are."""
    if isinstance(wanted, Mapping):
        wanted = wanted.get("value")
    if wanted is None:
        return True
    options: Iterable[object] = wanted if isinstance(wanted, list | tuple) else [wanted]
    return any(str(value).casefold() == str(option).casefold() for option in options)
