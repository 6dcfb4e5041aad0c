"""What in phrase files is valid but probably not meant."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    RuleReference,
    TextChunk,
)
from hassil.intents import TextSlotList, WildcardSlotList

from stt_mqtt.phrases.book import HOME_LISTS
from stt_mqtt.phrases.expand import count_without_lists, rules_of
from stt_mqtt.phrases.names import HomeNames
from stt_mqtt.phrases.parts import Place, Template, WrittenBlock, WrittenLanguage, WrittenList
from stt_mqtt.phrases.sounds import key_of

MANY_SENTENCES = 1_000_000
"""A template with more sentences, without the values of its lists, is hardly meant."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that is probably not meant. `is_warning` False: only worth knowing.

    `place` None: it is about names of the home.
    """

    place: Place | None
    message: str
    is_warning: bool = True

    def __str__(self) -> str:
        kind = "warning" if self.is_warning else "info"
        return f"{self.place or 'names'}: {kind}: {self.message}"


def findings_of(written: WrittenLanguage, names: HomeNames) -> list[Finding]:
    """Everything that is probably not meant in a language, in the order of the files."""
    found = [Finding(place, message) for place, message in written.notes]
    found += _unused(written)
    found += _repeated(written.blocks)
    for block in written.blocks:
        found += _in_block(block, written)
    for one in _all_lists(written):
        found += _in_list(one, written.code)
    in_files = sorted(dict.fromkeys(found), key=lambda one: (one.place, one.message))
    return in_files + list(_alike_names(names, written.code))


def _all_lists(written: WrittenLanguage) -> Iterator[WrittenList]:
    yield from written.lists.values()
    for block in written.blocks:
        yield from block.lists.values()


# What nothing uses -------------------------------------------------------------------------


def _unused(written: WrittenLanguage) -> Iterator[Finding]:
    used: set[Place] = set()
    for block in written.blocks:
        known = {**written.lists, **block.lists}
        for template in _used_templates(block, written):
            used.add(template.place)
            used.update(
                known[leaf.list_name].place
                for leaf in _leaves(template.sentence.expression)
                if isinstance(leaf, ListReference) and leaf.list_name in known
            )
        yield from _of_nothing("sentence of these", block.rules, block.lists, used)
    values = (template for one in written.lists.values() for template in one.templates)
    used.update(template.place for template in _reached(values, written.rules))
    yield from _of_nothing("sentence", written.rules, written.lists, used)


def _of_nothing(
    what: str,
    rules: Mapping[str, Template],
    lists: Mapping[str, WrittenList],
    used: set[Place],
) -> Iterator[Finding]:
    for name, rule in rules.items():
        if rule.place not in used:
            yield Finding(rule.place, f"no {what} uses the rule <{name}>")
    for name, one in lists.items():
        if one.place not in used:
            yield Finding(one.place, f"no {what} uses the list {{{name}}}")


def _used_templates(block: WrittenBlock, written: WrittenLanguage) -> list[Template]:
    """The sentences of a block and the rules that they use."""
    return _reached(block.sentences, rules_of(block, written))


def _reached(start: Iterable[Template], rules: Mapping[str, Template]) -> list[Template]:
    reached: dict[Place, Template] = {}
    waiting = list(start)
    while waiting:
        template = waiting.pop()
        if template.place in reached:
            continue
        reached[template.place] = template
        for leaf in _leaves(template.sentence.expression):
            if isinstance(leaf, RuleReference) and leaf.rule_name in rules:
                waiting.append(rules[leaf.rule_name])
    return list(reached.values())


def _leaves(expression: Expression) -> list[Expression]:
    if not isinstance(expression, Group):
        return [expression]
    return [leaf for item in expression.items for leaf in _leaves(item)]


# Sentences ---------------------------------------------------------------------------------


def _repeated(blocks: list[WrittenBlock]) -> Iterator[Finding]:
    """Sentences that are written twice for the same contexts. Only the first can be meant."""
    first: dict[tuple[str, str], tuple[WrittenBlock, Template]] = {}
    for block in blocks:
        context = repr((block.data.requires_context, block.data.excludes_context))
        own = str(block.place) if block.rules or block.lists else ""
        for sentence in block.sentences:
            key = (" ".join(sentence.text.casefold().split()), context + own)
            known, before = first.setdefault(key, (block, sentence))
            if before is not sentence:
                of = "" if known.intent == block.intent else f" for intent {known.intent}"
                yield Finding(sentence.place, f"this sentence is already in {before.place}{of}")


def _in_block(block: WrittenBlock, written: WrittenLanguage) -> Iterator[Finding]:
    if not block.sentences:
        yield Finding(block.place, f"intent {block.intent} has no sentence here")
    for name, value in block.data.slots.items():
        if value in (None, "", [], {}):
            yield Finding(block.place, f"slot {name} is empty")
    forms = _Forms(block, written)
    for sentence in block.sentences:
        count = count_without_lists(sentence, block, written)
        if count > MANY_SENTENCES:
            yield Finding(
                sentence.place, f"this has {_rounded(count)} sentences, even without its lists"
            )
        expression = sentence.sentence.expression
        form = forms.of(expression)
        if form.name_only:
            yield Finding(sentence.place, "this can be only a name, which is never accepted")
        if form.empty:
            yield Finding(sentence.place, "this can be said without any word")
        for name in dict.fromkeys(forms.wildcards_inside(expression, followed=False)):
            yield Finding(
                sentence.place,
                f"wildcard {{{name}}} is not at the end, so its end is hard to find in speech",
            )
    for template in _used_templates(block, written):
        for leaf in _leaves(template.sentence.expression):
            if isinstance(leaf, ListReference) and not leaf.slot_name.strip():
                yield Finding(template.place, f"{{{leaf.list_name}:}} has a slot without a name")


def _rounded(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"about 10^{int(math.log10(count))}"


@dataclass(frozen=True, slots=True)
class _Form:
    """What an expression can be: nothing at all, only names of the home, or something at all."""

    empty: bool = False
    name_only: bool = False
    some: bool = False

    def then(self, other: _Form) -> _Form:
        """Of this expression and another one after it."""
        return _Form(
            self.empty and other.empty,
            (self.name_only and (other.empty or other.name_only))
            or (self.empty and other.name_only),
            self.some or other.some,
        )


class _Forms:
    """The forms of the expressions of a block."""

    def __init__(self, block: WrittenBlock, written: WrittenLanguage) -> None:
        self._rules = rules_of(block, written)
        self._lists = {**written.lists, **block.lists}
        self._known: dict[str, _Form] = {}

    def of(self, expression: Expression) -> _Form:
        """What an expression can be."""
        match expression:
            case TextChunk():
                is_blank = not expression.original_text.strip()
                return _Form(empty=is_blank, some=not is_blank)
            case ListReference():
                return _Form(name_only=expression.list_name in HOME_LISTS, some=True)
            case RuleReference():
                name = expression.rule_name
                if name not in self._known:
                    self._known[name] = self.of(self._rules[name].sentence.expression)
                return self._known[name]
            case Alternative():
                forms = [self.of(item) for item in expression.items]
                return _Form(
                    any(form.empty for form in forms),
                    any(form.name_only for form in forms),
                    any(form.some for form in forms),
                )
        assert isinstance(expression, Group)
        whole = _Form(empty=True)
        for item in expression.items:
            whole = whole.then(self.of(item))
        return whole

    def wildcards_inside(self, expression: Expression, followed: bool) -> Iterator[str]:
        """Yield the wildcards that something may follow. `followed`: of the expression itself."""
        if isinstance(expression, ListReference):
            one = self._lists.get(expression.list_name)
            if followed and one is not None and isinstance(one.slot_list, WildcardSlotList):
                yield expression.list_name
        elif isinstance(expression, RuleReference):
            rule = self._rules[expression.rule_name]
            yield from self.wildcards_inside(rule.sentence.expression, followed)
        elif isinstance(expression, Alternative):
            for item in expression.items:
                yield from self.wildcards_inside(item, followed)
        elif isinstance(expression, Group):
            for item in reversed(expression.items):
                yield from self.wildcards_inside(item, followed)
                followed = followed or self.of(item).some


# Lists and names ---------------------------------------------------------------------------


def _in_list(one: WrittenList, language: str) -> Iterator[Finding]:
    slot_list = one.slot_list
    if not isinstance(slot_list, TextSlotList):
        return
    if not slot_list.values:
        yield Finding(one.place, f"list {{{slot_list.name}}} has no values")
    spoken = [
        (value.text_in.original_text, value.value_out)
        for value in slot_list.values
        if isinstance(value.text_in, TextChunk)
    ]
    for finding in _alike(spoken, language, f"in list {{{slot_list.name}}}"):
        yield replace(finding, place=one.place)


def _alike_names(names: HomeNames, language: str) -> Iterator[Finding]:
    """Names of different things that sound alike."""
    entities = [(name, one.id) for one in names.entities for name in one.names]
    areas = [(name, one.id) for one in names.areas for name in one.names]
    floors = [(name, one.id) for one in names.floors for name in one.names]
    for kind, spoken in (("entities", entities), ("areas", areas), ("floors", floors)):
        yield from _alike(spoken, language, f"of {kind}")
    for one in names.lists:
        spoken = [(value, value) for value in one.values]
        yield from _alike(spoken, language, f"in list {{{one.name}}}")


def _alike(spoken: Iterable[tuple[str, object]], language: str, where: str) -> Iterator[Finding]:
    by_sound: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for text, meaning in spoken:
        by_sound[key_of(text, language)].setdefault(str(meaning), text)
    for key, texts in by_sound.items():
        if key and len(texts) > 1:
            listed = ", ".join(f"'{text}'" for text in list(texts.values())[:4])
            yield Finding(None, f"{listed} {where} sound alike", is_warning=False)
        elif not key:
            listed = ", ".join(f"'{text}'" for text in list(texts.values())[:4])
            yield Finding(None, f"{listed} {where} has no sound, so it is never heard")
