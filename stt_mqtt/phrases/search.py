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
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from rapidfuzz import fuzz, process

from stt_mqtt.phrases.alignment import AlignedKeys, HeardSounds
from stt_mqtt.phrases.grammar import Automaton, End, Slot, Text
from stt_mqtt.phrases.sounds import Costs

MIN_LIKENESS = 40.0
"""Least likeness, 0 to 100, of a word to some part of the text. Other words can only be omitted."""
MAX_WORDS = 96
MAX_VALUES = 12
"""Most words, and most values of one list, that are compared sound by sound."""
MAX_STEPS = 600
"""Most partial sentences that a search extends."""
ARCS_TOGETHER = 2048
"""Most arcs that are computed at once, which bounds the memory."""


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


@dataclass(frozen=True, slots=True, eq=False)
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
        self._heard = HeardSounds(key)
        self._values = {
            name: self._likely(values) if values is not WILDCARD else None
            for name, values in grammar.lists.items()
        }
        self._words, self._row = self._match_words()
        self._slots = self._match_slots()
        self._full: dict[int, Costs] = {}
        self._to_end = self._costs_to_end()

    def found(self) -> Iterator[Found]:
        """Yield distinct sentences, the nearest first. Ends after a bounded number of steps."""
        start = self._automaton.start
        best = float(self._to_end[start, 0])
        if not np.isfinite(best):
            return
        origin = np.full(self._heard.positions, np.inf, np.float32)
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
        """The values most like a part of the text, with their costs by start and end."""
        likely = process.extract(
            self._heard.key, values.keys, scorer=fuzz.partial_ratio, limit=MAX_VALUES
        )
        chosen = [values.values[index] for _key, _likeness, index in likely]
        aligned = self._heard.align([value.key for value in chosen])
        return [(value, aligned.full(index)) for index, value in enumerate(chosen)]

    def _match_words(self) -> tuple[AlignedKeys, npt.NDArray[np.intp]]:
        """The costs of the words that are like a part of the text, and the row of each label.

        The row of a label that is not like any part is -1.
        """
        keys = self._automaton.keys
        row = np.full(len(keys), -1, np.intp)
        texts = [number for number, key in enumerate(keys) if key]
        likely = process.extract(
            self._heard.key,
            [keys[number] for number in texts],
            scorer=fuzz.partial_ratio,
            limit=MAX_WORDS,
            score_cutoff=MIN_LIKENESS,
        )
        matched = [texts[index] for _key, _likeness, index in likely]
        row[matched] = np.arange(len(matched))
        return self._heard.align([keys[number] for number in matched]), row

    def _match_slots(self) -> dict[int, Costs]:
        """The costs of each slot with its best value, by start and end."""
        slots = {}
        for number, label in enumerate(self._automaton.labels):
            if isinstance(label, Slot):
                values = self._values[label.values]
                if values is None:
                    slots[number] = self._heard.anything()
                elif values:
                    slots[number] = np.min([costs for _, costs in values], axis=0)
        return slots

    def _costs_to_end(self) -> Costs:
        """For each node and position, the cost of the best way to an end; shape (nodes, n + 1)."""
        size, widths = self._heard.positions, self._words.costs.shape[2]
        # With space after the end, so that every part of a word has the same width.
        to_end = np.full((len(self._automaton.arcs), size + widths - 1), np.inf, np.float32)
        to_end[0, :size] = self._heard.omitted[-1] - self._heard.omitted
        for arcs in self._automaton.levels:
            sources, labels, targets = arcs.T
            costs = to_end[targets, :size] + self._automaton.omitted[labels][:, np.newaxis]
            words = np.flatnonzero(self._row[labels] >= 0)
            for start in range(0, len(words), ARCS_TOGETHER):
                some = words[start : start + ARCS_TOGETHER]
                after = sliding_window_view(to_end[targets[some]], widths, axis=1)
                through = (after + self._words.costs[self._row[labels[some]]]).min(axis=2)
                costs[some] = np.minimum(costs[some], through)
            for number in np.flatnonzero(np.isinf(self._automaton.omitted[labels])):
                matched = self._slots.get(labels[number])
                if matched is not None:
                    costs[number] = (matched + to_end[targets[number], :size]).min(axis=1)
            starts = np.flatnonzero(np.diff(sources, prepend=-1))
            to_end[sources[starts], :size] = np.minimum.reduceat(costs, starts, axis=0)
        return to_end[:, :size]

    def _matched(self, label: int) -> Costs | None:
        """The costs of a label by start and end. None: it is not like any part of the text."""
        if label in self._slots:
            return self._slots[label]
        if self._row[label] < 0:
            return None
        if label not in self._full:
            self._full[label] = self._words.full(int(self._row[label]))
        return self._full[label]

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
            after = before + self._automaton.omitted[number]
            matched = self._matched(number)
            if matched is not None:
                after = np.minimum(after, (before[:, np.newaxis] + matched).min(axis=0))
            yield _Partial(target, after, partial, number)

    def _sentence(self, last: _Partial, cost: float) -> Found:
        parts: list[str | Filled] = []
        block, sounds, position = -1, 0, self._heard.positions - 1
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
        matched = (
            self._matched(partial.label)
            if values is None
            else next(costs for value, costs in values if value is partial.value)
        )
        if matched is None:
            return end
        through = costs + matched[:, end]
        start = int(through.argmin())
        return (
            end if costs[end] + self._automaton.omitted[partial.label] < through[start] else start
        )
