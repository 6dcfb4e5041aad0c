"""The sentences of a phrase book as one automaton.

A node is the set of its arcs. Nodes with equal arcs are one node, so the sentences of a book share
their endings. Optional words, alternatives and permutations become arcs. A list stays one arc,
however many values it has, so the automaton does not grow with the home.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)

from stt_mqtt.phrases.sounds import OMISSION, Costs, encoded, key_of

MAX_PERMUTED = 6
"""Most parts of a permutation."""
MAX_NODES = 200_000
_WORD = re.compile(r"\s*\S+\s*|\s+")


class GrammarError(ValueError):
    """A template that cannot be compiled. The message says why."""


@dataclass(frozen=True, slots=True)
class Text:
    """An arc with a word, or a part of a word, as it is written. Spaces separate words."""

    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """An arc with any value of list `values`. `name`: the name that a result gives the value."""

    values: str
    name: str


@dataclass(frozen=True, slots=True)
class End:
    """An arc to the end of a sentence of a block. The number of the block identifies it."""

    block: int


Label: TypeAlias = Text | Slot | End
Arc: TypeAlias = tuple[int, int]
"""The index of a label, and a node."""
Arcs: TypeAlias = tuple[Arc, ...]
"""The arcs of a node, each once, in ascending order."""


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """The compiled sentences. Node 0 is the end of every sentence.

    `arcs[node]`: pairs of a label, as its index, and a node. `levels`: the arcs again, shape (arcs,
    3) with source, label and target, sorted by source. An arc leads to a node of a lower level.
    `keys`: how each label sounds; empty for slots and ends. `omitted`: what it costs if a label was
    not heard at all; a slot must be heard.
    """

    labels: tuple[Label, ...]
    keys: tuple[str, ...]
    omitted: Costs
    arcs: tuple[tuple[tuple[int, int], ...], ...]
    start: int
    levels: tuple[npt.NDArray[np.intp], ...]


@dataclass(slots=True)
class GrammarBuilder:
    """Collects sentence templates and compiles them."""

    nodes: list[Arcs] = field(default_factory=lambda: [()])
    """The arcs of each node. Every arc leads to a node that comes before."""
    _numbers: dict[Arcs, int] = field(default_factory=lambda: {(): 0})
    _labels: dict[Label, int] = field(default_factory=dict)
    _starts: set[Arc] = field(default_factory=set)

    def add(
        self,
        sentences: Iterable[Sentence],
        rules: Mapping[str, Sentence],
        list_of: Callable[[ListReference], str],
        block: int,
    ) -> None:
        """Add the sentences of a block. `list_of`: the list that a reference means.

        Raises GrammarError.
        """
        end = self.arc(End(block), 0)
        compiler = _Compiler(self, rules, list_of)
        for sentence in sentences:
            self._starts.update(self.nodes[compiler.before(sentence.expression, end, ())])

    def arc(self, label: Label, target: int) -> int:
        """The node with one arc."""
        return self.node({(self._labels.setdefault(label, len(self._labels)), target)})

    def node(self, leaving: set[Arc]) -> int:
        """The node with these arcs."""
        arcs = tuple(sorted(leaving))
        number = self._numbers.get(arcs)
        if number is None:
            if len(self.nodes) >= MAX_NODES:
                raise GrammarError(f"the sentences need more than {MAX_NODES} nodes")
            number = self._numbers[arcs] = len(self.nodes)
            self.nodes.append(arcs)
        return number

    def build(self, language: str) -> Automaton:
        """The automaton of all sentences."""
        arcs, start = self._reachable(self._merged(self.node(self._starts)))
        level = [0] * len(arcs)
        by_level: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for source, leaving in enumerate(arcs):
            level[source] = max((level[target] + 1 for _, target in leaving), default=0)
            by_level[level[source]] += [(source, label, target) for label, target in leaving]
        labels = tuple(self._labels)
        keys = [key_of(one.text, language) if isinstance(one, Text) else "" for one in labels]
        omitted = [
            np.inf if isinstance(label, Slot) else OMISSION[encoded(key)].sum()
            for label, key in zip(labels, keys, strict=True)
        ]
        return Automaton(
            labels,
            tuple(keys),
            np.array(omitted, np.float32),
            tuple(arcs),
            start,
            tuple(np.array(by_level[number], np.intp) for number in sorted(by_level) if number),
        )

    def _merged(self, start: int) -> int:
        """The node that starts the same sentences, where sentences also share their beginnings.

        Sentences whose beginnings overlap in many ways could need many more nodes. Then they share
        only their endings.
        """
        most = min(MAX_NODES, 2 * len(self.nodes) + 1000)
        try:
            return _Merger(self, most).merged(start)
        except (OverflowError, RecursionError, GrammarError):
            return start

    def _reachable(self, start: int) -> tuple[list[Arcs], int]:
        """The nodes that can be reached from `start`, and its new number among them."""
        wanted, waiting = {0, start}, [start]
        while waiting:
            for _, target in self.nodes[waiting.pop()]:
                if target not in wanted:
                    wanted.add(target)
                    waiting.append(target)
        place = {number: index for index, number in enumerate(sorted(wanted))}
        nodes = [
            tuple((label, place[target]) for label, target in self.nodes[number])
            for number in sorted(wanted)
        ]
        return nodes, place[start]


@dataclass(frozen=True, slots=True)
class _Merger:
    """Lets sentences share their beginnings. `most`: the most nodes of the builder."""

    builder: GrammarBuilder
    most: int
    done: dict[int, int] = field(default_factory=dict)

    def merged(self, number: int) -> int:
        """The node that starts the same sentences as node `number`.

        Raises OverflowError, RecursionError or GrammarError if there are too many.
        """
        if number not in self.done:
            nodes = self.builder.nodes
            targets: defaultdict[int, list[int]] = defaultdict(list)
            for label, target in nodes[number]:
                targets[label].append(target)
            arcs: set[Arc] = set()
            for label, several in targets.items():
                together = {arc for target in several for arc in nodes[target]}
                arcs.add((label, self.merged(self.builder.node(together)) if together else 0))
            if len(nodes) > self.most:
                raise OverflowError
            self.done[number] = self.builder.node(arcs)
        return self.done[number]


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Compiles the expressions of a sentence, from its end to its start."""

    builder: GrammarBuilder
    rules: Mapping[str, Sentence]
    list_of: Callable[[ListReference], str]

    def before(self, expression: Expression, node: int, within: tuple[str, ...]) -> int:
        """The node from which `expression` leads to `node`. `within`: the rules that it is in."""
        match expression:
            case TextChunk():
                for part in reversed(_WORD.findall(expression.original_text)):
                    node = self.builder.arc(Text(part), node)
                return node
            case ListReference():
                return self.builder.arc(Slot(self.list_of(expression), expression.slot_name), node)
            case RuleReference():
                return self._rule(expression.rule_name, node, within)
            case Alternative():
                return self._any(self.before(item, node, within) for item in expression.items)
            case Permutation():
                return self._permutation(expression, node, within)
            case Group():
                for item in reversed(expression.items):
                    node = self.before(item, node, within)
                return node
        raise GrammarError(f"{type(expression).__name__} is not known")

    def _rule(self, name: str, node: int, within: tuple[str, ...]) -> int:
        if name not in self.rules:
            raise GrammarError(f"there is no expansion rule <{name}>")
        if name in within:
            raise GrammarError(f"the expansion rule <{name}> contains itself")
        return self.before(self.rules[name].expression, node, (*within, name))

    def _permutation(self, group: Group, node: int, within: tuple[str, ...]) -> int:
        if len(group.items) > MAX_PERMUTED:
            raise GrammarError(f"a permutation has more than {MAX_PERMUTED} parts")
        every = frozenset(range(len(group.items)))
        return self._after(group, frozenset(), {every: node}, within)

    def _after(
        self,
        group: Group,
        done: frozenset[int],
        reached: dict[frozenset[int], int],
        within: tuple[str, ...],
    ) -> int:
        """The node from which the parts of a permutation that are not done lead to its end."""
        if done not in reached:
            reached[done] = self._any(
                self.before(
                    group.items[index], self._after(group, done | {index}, reached, within), within
                )
                for index in sorted(frozenset(range(len(group.items))) - done)
            )
        return reached[done]

    def _any(self, nodes: Iterable[int]) -> int:
        return self.builder.node({arc for node in nodes for arc in self.builder.nodes[node]})
