from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.phrases import alignment, search
from stt_mqtt.phrases.grammar import Slot
from stt_mqtt.phrases.search import Grammar, Search
from stt_mqtt.phrases.sounds import OMISSION, SOUNDS, SUBSTITUTION, encoded
from tests.phrases.books import sentences
from tests.thorough import examples

BOOK = sentences(
    "turn (on|off) [the] {thing}",
    "(dim|[please] raise) {thing} [to {level}]",
    "({level};{thing}) now",
    "stop[ped]",
    lists="{thing: {values: [light, radio, old lamp]}, level: {values: [ten, fifty]}}",
).grammar


def keys(grammar: Grammar, node: int | None = None) -> Iterator[str]:
    """The phonetic keys of all sentences."""
    automaton = grammar.automaton
    node = automaton.start if node is None else node
    if node == 0:
        yield ""
        return
    for label, target in automaton.arcs[node]:
        one = automaton.labels[label]
        starts = (
            grammar.lists[one.values].keys if isinstance(one, Slot) else [automaton.keys[label]]
        )
        yield from (start + rest for start in starts for rest in keys(grammar, target))


def distance(first: str, second: str) -> float:
    """The cost of hearing one key as another, by the textbook."""
    rows, columns = encoded(first), encoded(second)
    costs = np.zeros((len(rows) + 1, len(columns) + 1))
    costs[1:, 0] = np.cumsum(OMISSION[rows])
    costs[0, 1:] = np.cumsum(OMISSION[columns])
    for i, row in enumerate(rows, start=1):
        for j, column in enumerate(columns, start=1):
            costs[i, j] = min(
                costs[i - 1, j - 1] + SUBSTITUTION[row, column],
                costs[i - 1, j] + OMISSION[row],
                costs[i, j - 1] + OMISSION[column],
            )
    return float(costs[-1, -1])


@pytest.fixture(scope="module", autouse=True)
def _without_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MIN_LIKENESS", 0.0)
        patch.setattr(search, "MAX_STEPS", 100_000)
        patch.setattr(alignment, "SPARE_SOUNDS", 100)
        yield


@settings(max_examples=examples(20), deadline=None)
@given(st.text(alphabet=SOUNDS, min_size=1, max_size=16))
def test_the_costs_are_those_of_comparing_with_every_sentence(key: str) -> None:
    expected = sorted(distance(key, sentence) for sentence in keys(BOOK))
    costs = [found.cost for found in Search(BOOK, key).found()]
    assert costs == pytest.approx(expected, abs=1e-4)


def test_a_sentence_costs_nothing_if_the_text_sounds_like_it() -> None:
    for sentence in keys(BOOK):
        assert next(Search(BOOK, sentence).found()).cost == pytest.approx(0.0, abs=1e-5)


def test_a_search_ends_after_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_STEPS", 3)
    assert list(Search(BOOK, "turnonTelait").found()) == []


def test_a_book_without_sentences_finds_nothing() -> None:
    empty = sentences("on {thing}", lists="{thing: {values: []}}").grammar
    assert list(Search(empty, "on").found()) == []
