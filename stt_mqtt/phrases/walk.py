"""Follows the words of a text through the sentences of a grammar.

Unlike the search, it compares the words as they are written. A position is the number of characters
of the text before it; the words of the text are in lower case, with one space between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from stt_mqtt.phrases.grammar import Arc, End, Slot, Text
from stt_mqtt.phrases.search import WILDCARD, Grammar
from stt_mqtt.phrases.spelling import ListSpellings, Spelling


@dataclass(frozen=True, slots=True)
class SentencePlace:
    """A place in a sentence of the grammar.

    `apart`: what follows begins a word. `only_names`: so far there are only names of the home.
    `is_free`: there was a wildcard. `is_open`: it has the last words of the text.
    """

    node: int
    position: int
    apart: bool
    only_names: bool = True
    is_free: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """What a grammar has for a whole text.

    `places`: places in sentences that begin with the text. `is_inside`: the text also ends between
    the words of a label or value.
    """

    places: tuple[SentencePlace, ...]
    is_inside: bool


@dataclass(frozen=True, slots=True)
class Branches:
    """The arcs from a node by which a sentence can be said.

    `words`: arcs with whole words, by the first of them. `glued`: those of them that may continue
    a word. `others`: slots, parts of words, spaces and ends. `is_end`: a sentence ends here.
    """

    words: Mapping[str, Sequence[Arc]]
    glued: Sequence[Arc]
    others: Sequence[Arc]
    is_end: bool


Steps: TypeAlias = Iterator[SentencePlace | None]
"""Places after a label or value. None: the text ended between its words."""


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """Follows texts through a grammar. `names`: slots of names of the home.

    What a label or list looks like in words is computed when it is first needed.
    """

    grammar: Grammar
    language: str
    names: frozenset[str]
    _labels: dict[int, Spelling] = field(default_factory=dict, init=False, repr=False)
    _lists: dict[str, ListSpellings] = field(default_factory=dict, init=False, repr=False)
    _nodes: dict[int, Branches] = field(default_factory=dict, init=False, repr=False)
    _continuing: dict[int, bool] = field(default_factory=dict, init=False, repr=False)
    _ending: list[bool] = field(default_factory=list, init=False, repr=False)

    def reached(self, text: str) -> Reached:
        """Where a text of words leads. Its cost grows with its words, not with the values."""
        start = SentencePlace(self.grammar.automaton.start, 0, True)
        seen, waiting = {start}, [start]
        is_inside = False
        while waiting:
            for place in self._steps(waiting.pop(), text):
                if place is None:
                    is_inside = True
                elif place not in seen:
                    seen.add(place)
                    waiting.append(place)
        whole = tuple(place for place in seen if place.position == len(text))
        return Reached(whole, is_inside)

    def ends(self, place: SentencePlace) -> bool:
        """Whether a sentence ends at a place that was reached. A bare name is no sentence."""
        return not place.only_names and self._branches(place.node).is_end

    def goes_on(
        self, node: int, apart: bool, ignored: frozenset[str] = frozenset(), said: str = ""
    ) -> bool:
        """Whether a sentence has more words after a node than those that are `ignored`.

        The first of them must begin a word; `apart`: it does in any case. `said`: the first words
        of something that is ignored.
        """
        if node == 0:
            return bool(said)
        return any(
            self._goes_on_by(label, target, apart, ignored, said)
            for label, target in self._leaving(node)
        )

    def _goes_on_by(
        self, number: int, target: int, apart: bool, ignored: frozenset[str], said: str
    ) -> bool:
        label = self.grammar.automaton.labels[number]
        if isinstance(label, Slot):
            return apart or self._has_value_apart(label.values)
        if isinstance(label, End):
            return self.goes_on(target, apart, ignored, said)
        spelling = self._spelling(number)
        if not spelling.words:
            return self.goes_on(target, apart or spelling.apart_before, ignored, said)
        if not (apart or spelling.apart_before):
            return False
        words = f"{said} {spelling.words}".strip()
        if words in ignored:
            words = ""
        elif not any(one.startswith(f"{words} ") for one in ignored):
            return True
        return self.goes_on(target, spelling.apart_after, ignored, words)

    def _leaving(self, node: int) -> Iterator[Arc]:
        """The arcs from a node by which a sentence can be said: no list on the way is empty."""
        ending = self._can_end()
        for label, target in self.grammar.automaton.arcs[node]:
            if ending[target] and self._can_be_said(label):
                yield label, target

    def _can_end(self) -> list[bool]:
        """Whether an end can be reached, for each node. Arcs lead to nodes of lower numbers."""
        if not self._ending:
            labels = self.grammar.automaton.labels
            empty = {number for number in range(len(labels)) if not self._can_be_said(number)}
            ending = [True]
            for leaving in self.grammar.automaton.arcs[1:]:
                ending.append(
                    not empty or any(ending[to] and label not in empty for label, to in leaving)
                )
            self._ending.extend(ending)
        return self._ending

    def _can_be_said(self, label: int) -> bool:
        slot = self.grammar.automaton.labels[label]
        if not isinstance(slot, Slot):
            return True
        values = self.grammar.lists[slot.values]
        return values is WILDCARD or bool(values.values)

    def _branches(self, node: int) -> Branches:
        if node not in self._nodes:
            words: defaultdict[str, list[Arc]] = defaultdict(list)
            glued, others = [], []
            is_end = False
            for arc in self._leaving(node):
                label = self.grammar.automaton.labels[arc[0]]
                is_end |= isinstance(label, End)
                spelling = self._spelling(arc[0]) if isinstance(label, Text) else None
                if (
                    spelling is None
                    or not spelling.words
                    or (not spelling.apart_after and self._continues_words(arc[1]))
                ):
                    others.append(arc)
                else:
                    words[spelling.words.partition(" ")[0]].append(arc)
                    if not spelling.apart_before:
                        glued.append(arc)
            self._nodes[node] = Branches(words, glued, others, is_end)
        return self._nodes[node]

    def _following(self, place: SentencePlace, text: str) -> Iterator[Arc]:
        """The arcs that may fit at a place."""
        branches = self._branches(place.node)
        yield from branches.others
        if not place.apart:
            yield from branches.glued
        start = _start(place, True, text)
        if start is not None:
            first = text[start:].partition(" ")[0]
            yield from branches.words.get(first, ())

    def _steps(self, place: SentencePlace, text: str) -> Steps:
        """The places after each of the labels that can follow at a place."""
        for number, target in self._following(place, text):
            label = self.grammar.automaton.labels[number]
            match label:
                case Slot(values, name) if self.grammar.lists[values] is WILDCARD:
                    yield from self._any_words(place, target, text)
                case Slot(values, name):
                    only_names = place.only_names and name in self.names
                    yield from self._values(place, target, self._list(values), only_names, text)
                case Text():
                    spelling = self._spelling(number)
                    if not spelling.words:
                        apart = place.apart or spelling.apart_before
                        yield replace(place, node=target, apart=apart)
                    else:
                        yield from self._word(place, target, spelling, text)

    def _word(self, place: SentencePlace, target: int, spelling: Spelling, text: str) -> Steps:
        start = _start(place, spelling.apart_before, text)
        if start is None:
            return
        words = spelling.words
        if text.startswith(words, start):
            end = start + len(words)
            yield SentencePlace(target, end, spelling.apart_after, False, place.is_free)
        elif start < len(text) and words.startswith(text[start:] + " "):
            yield None

    def _values(
        self, place: SentencePlace, target: int, values: ListSpellings, only_names: bool, text: str
    ) -> Steps:
        for apart in {place.apart, True}:
            start = _start(place, apart, text)
            if start is None or start == len(text):
                continue
            value = values.begun.get(text[start:])
            if value is not None and (place.apart or value.apart_before == apart):
                yield None
            for end in range(start + 1, min(len(text), start + values.longest) + 1):
                value = values.whole.get(text[start:end])
                if value is not None and (place.apart or value.apart_before == apart):
                    yield SentencePlace(target, end, value.apart_after, only_names, place.is_free)

    def _any_words(self, place: SentencePlace, target: int, text: str) -> Steps:
        start = _start(place, True, text)
        if start is None:
            return
        end = start
        while end < len(text):
            end = text.find(" ", end + 1)
            end = len(text) if end < 0 else end
            yield SentencePlace(target, end, True, False, True, end == len(text))

    def _list(self, name: str) -> ListSpellings:
        if name not in self._lists:
            values = self.grammar.lists[name].values
            self._lists[name] = ListSpellings.of(
                Spelling.of(value.text, self.language) for value in values
            )
        return self._lists[name]

    def _spelling(self, label: int) -> Spelling:
        if label not in self._labels:
            text = self.grammar.automaton.labels[label]
            assert isinstance(text, Text)
            self._labels[label] = Spelling.of(text.text, self.language)
        return self._labels[label]

    def _has_value_apart(self, name: str) -> bool:
        """Whether a list has a value that never continues a word."""
        if self.grammar.lists[name] is WILDCARD:
            return True
        return any(value.apart_before for value in self._list(name).whole.values())

    def _continues_words(self, node: int) -> bool:
        """Whether a label after this node may continue a word."""
        if node not in self._continuing:
            labels = self.grammar.automaton.labels
            self._continuing[node] = any(
                isinstance(labels[number], Slot)
                or (isinstance(labels[number], Text) and not self._spelling(number).apart_before)
                for number, _ in self.grammar.automaton.arcs[node]
            )
        return self._continuing[node]


def _start(place: SentencePlace, apart: bool, text: str) -> int | None:
    """Where the next words begin: a new word if `apart`. None: not after this place."""
    position = place.position
    if position == 0:
        return 0
    if not (apart or place.apart):
        return position if position < len(text) and text[position] != " " else None
    if position == len(text):
        return None
    return position + 1 if text[position] == " " else None
