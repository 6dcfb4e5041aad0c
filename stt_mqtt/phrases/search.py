"""Finds the sentences of a grammar that sound most like a text.

First, dynamic programming from the end of the sentences gives the cost of the best way to an end,
for each node and each position in the text. Then a best-first search with these exact costs yields
distinct sentences, the nearest first. Positions are between the sounds of the text, from 0 to n.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from rapidfuzz import fuzz, process

from stt_mqtt.phrases.grammar import Automaton, End, Slot, Text
from stt_mqtt.phrases.sounds import OMISSION, SUBSTITUTION, Costs, encoded

MIN_LIKENESS = 55.0
"""Least likeness, 0 to 100, of a word to some part of the text. Other words can only be omitted."""
MAX_WORDS = 96
MAX_VALUES = 12
"""Most words, and most values of one list, that are compared sound by sound."""
MAX_STEPS = 600
"""Most partial sentences that a search extends."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a list: how it is written, how it sounds, its meaning, and its entity."""

    text: str
    key: str
    out: object
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class ValueList:
    """The values of a list, and their keys again, in one sequence for the comparison."""

    values: tuple[Value, ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[Value]) -> ValueList:
        """The list of these values, without those that have no sound."""
        heard = tuple(value for value in values if value.key)
        return cls(heard, tuple(value.key for value in heard))


WILDCARD = ValueList((), ())
"""Stands for the list of a wildcard: any words."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Compiled sentences with the values of their lists."""

    automaton: Automaton
    lists: Mapping[str, ValueList]


@dataclass(frozen=True, slots=True)
class Filled:
    """A slot of a found sentence. `value` None: a wildcard, from position `start` to `end`."""

    name: str
    value: Value | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """A sentence that sounds like the text.

    `parts`: its words as written, or a slot. `cost`: 0 if it sounds the same. `sounds`: how many
    sounds it has, without wildcards.
    """

    parts: tuple[str | Filled, ...]
    block: int
    cost: float
    sounds: int

    @property
    def slots(self) -> tuple[Filled, ...]:
        """The filled slots, in the order of the sentence."""
        return tuple(part for part in self.parts if isinstance(part, Filled))


@dataclass(frozen=True, slots=True)
class _Partial:
    """The start of a sentence. `costs`: the cost of the best way here from each position."""

    node: int
    costs: Costs
    before: _Partial | None = None
    label: int = -1
    value: Value | None = None


class Search:
    """The comparison of one text, given by its phonetic key, with a grammar."""

    def __init__(self, grammar: Grammar, key: str) -> None:
        self._automaton = grammar.automaton
        self._key = key
        self._sounds = encoded(key)
        self._heard = np.concatenate([[0.0], np.cumsum(OMISSION[self._sounds])]).astype(np.float32)
        self._values = {
            name: self._likely(values) if values is not WILDCARD else None
            for name, values in grammar.lists.items()
        }
        self._omitted = np.array(
            [
                np.inf if isinstance(label, Slot) else OMISSION[encoded(key)].sum()
                for label, key in zip(self._automaton.labels, self._automaton.keys, strict=True)
            ],
            np.float32,
        )
        self._matched = self._match_labels()
        self._to_end = self._costs_to_end()

    def found(self) -> Iterator[Found]:
        """Yield distinct sentences, the nearest first. Ends after a bounded number of steps."""
        start = self._automaton.start
        best = float(self._to_end[start, 0])
        if not np.isfinite(best):
            return
        origin = np.full(len(self._key) + 1, np.inf, np.float32)
        origin[0] = 0.0
        number = count()
        waiting = [(best, next(number), _Partial(start, origin))]
        for _ in range(MAX_STEPS):
            if not waiting:
                return
            cost, _number, partial = heapq.heappop(waiting)
            if partial.node == 0:
                yield self._sentence(partial, cost)
                continue
            for extended in self._extended(partial):
                total = float((extended.costs + self._to_end[extended.node]).min())
                if np.isfinite(total):
                    heapq.heappush(waiting, (total, next(number), extended))

    def _likely(self, values: ValueList) -> list[tuple[Value, Costs]]:
        """The values most like a part of the text, with their costs."""
        likely = process.extract(
            self._key, values.keys, scorer=fuzz.partial_ratio, limit=MAX_VALUES
        )
        chosen = [values.values[index] for _key, _likeness, index in likely]
        return list(zip(chosen, self._aligned([value.key for value in chosen]), strict=True))

    def _match_labels(self) -> dict[int, Costs]:
        """The costs of the labels that are like a part of the text; see `_aligned`."""
        keys = self._automaton.keys
        texts = [number for number, key in enumerate(keys) if key]
        likely = process.extract(
            self._key,
            [keys[number] for number in texts],
            scorer=fuzz.partial_ratio,
            limit=MAX_WORDS,
            score_cutoff=MIN_LIKENESS,
        )
        numbers = [texts[index] for _key, _likeness, index in likely]
        aligned = self._aligned([keys[number] for number in numbers])
        matched = dict(zip(numbers, aligned, strict=True))
        for number, label in enumerate(self._automaton.labels):
            if isinstance(label, Slot):
                values = self._values[label.values]
                if values is None:
                    matched[number] = self._anything()
                elif values:
                    matched[number] = np.min([costs for _, costs in values], axis=0)
        return matched

    def _anything(self) -> Costs:
        """The costs of a wildcard: 0 for any part of the text that is not empty."""
        size = len(self._key) + 1
        return np.where(np.tri(size, dtype=bool), np.float32(np.inf), np.float32(0.0))

    def _aligned(self, keys: Sequence[str]) -> list[Costs]:
        """For each key, the cost of aligning it with each part of the text; shape (n + 1, n + 1).

        Element (i, j) is for the part from position i to j. It is infinite if j < i.
        """
        if not keys:
            return []
        size, heard = len(self._key) + 1, self._heard
        empty = np.where(np.tri(size, k=-1, dtype=bool), np.inf, heard - heard[:, np.newaxis])
        lengths = np.array([len(key) for key in keys])
        order = np.argsort(lengths, kind="stable")
        sounds = np.zeros((len(keys), lengths.max()), np.intp)
        for row, index in enumerate(order):
            sounds[row, : lengths[index]] = encoded(keys[index])
        costs = np.repeat(empty.astype(np.float32)[np.newaxis], len(keys), axis=0)
        for place in range(lengths.max()):
            # Rows are sorted by length, so those with a sound here are at the end.
            longer = int(np.searchsorted(lengths[order], place, side="right"))
            sound, before = sounds[longer:, place], costs[longer:]
            after = before + OMISSION[sound][:, np.newaxis, np.newaxis]
            replaced = before[:, :, :-1] + SUBSTITUTION[sound][:, np.newaxis, self._sounds]
            np.minimum(after[:, :, 1:], replaced, out=after[:, :, 1:])
            # Sounds of the text that the key does not have.
            costs[longer:] = np.minimum.accumulate(after - heard, axis=2) + heard
        aligned: list[Costs] = [costs[0]] * len(keys)
        for row, index in enumerate(order):
            aligned[index] = costs[row]
        return aligned

    def _costs_to_end(self) -> Costs:
        """For each node and position, the cost of the best way to an end; shape (nodes, n + 1)."""
        automaton = self._automaton
        to_end = np.full((len(automaton.arcs), len(self._key) + 1), np.inf, np.float32)
        to_end[0] = self._heard[-1] - self._heard
        is_matched = np.zeros(len(automaton.labels), bool)
        is_matched[list(self._matched)] = True
        for arcs in automaton.levels:
            sources, labels, targets = arcs.T
            costs = to_end[targets] + self._omitted[labels][:, np.newaxis]
            for number in np.flatnonzero(is_matched[labels]):
                through = (self._matched[labels[number]] + to_end[targets[number]]).min(axis=1)
                np.minimum(costs[number], through, out=costs[number])
            starts = np.flatnonzero(np.diff(sources, prepend=-1))
            to_end[sources[starts]] = np.minimum.reduceat(costs, starts, axis=0)
        return to_end

    def _extended(self, partial: _Partial) -> Iterator[_Partial]:
        """The partial sentence with each of the arcs and values that can follow."""
        before = partial.costs
        for number, target in self._automaton.arcs[partial.node]:
            label = self._automaton.labels[number]
            values = self._values[label.values] if isinstance(label, Slot) else None
            if values is not None:
                for value, costs in values:
                    through = (before[:, np.newaxis] + costs).min(axis=0)
                    yield _Partial(target, through, partial, number, value)
                continue
            after = before + self._omitted[number]
            if number in self._matched:
                through = (before[:, np.newaxis] + self._matched[number]).min(axis=0)
                after = np.minimum(after, through)
            yield _Partial(target, after, partial, number)

    def _sentence(self, last: _Partial, cost: float) -> Found:
        parts: list[str | Filled] = []
        block, sounds, position = -1, 0, len(self._key)
        partial = last
        while partial.before is not None:
            label = self._automaton.labels[partial.label]
            start = self._start(partial, position)
            match label:
                case Text(text):
                    parts.append(text)
                    sounds += len(self._automaton.keys[partial.label])
                case Slot(_, name):
                    parts.append(Filled(name, partial.value, start, position))
                    sounds += len(partial.value.key) if partial.value is not None else 0
                case End(number):
                    block = number
            partial, position = partial.before, start
        return Found(tuple(reversed(parts)), block, cost, sounds)

    def _start(self, partial: _Partial, end: int) -> int:
        """The position from which the last label was best heard, if it was heard up to `end`."""
        assert partial.before is not None
        costs = partial.before.costs
        label = self._automaton.labels[partial.label]
        values = self._values[label.values] if isinstance(label, Slot) else None
        if values is not None:
            matched = next(costs for value, costs in values if value is partial.value)
        elif partial.label in self._matched:
            matched = self._matched[partial.label]
        else:
            return end
        through = costs + matched[:, end]
        start = int(through.argmin())
        return end if costs[end] + self._omitted[partial.label] < through[start] else start
