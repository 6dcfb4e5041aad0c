from __future__ import annotations

import pytest

from stt_mqtt.phrases import grammar
from stt_mqtt.phrases.grammar import GrammarError, Slot, Text
from tests.phrases.books import HOME, compiled, sentences


def arcs_with(text: str, *templates: str) -> int:
    automaton = sentences(*templates).grammar.automaton
    labels = [number for number, label in enumerate(automaton.labels) if label == Text(text)]
    return sum(label in labels for leaving in automaton.arcs for label, _ in leaving)


def test_sentences_share_their_endings() -> None:
    assert arcs_with("lamp", "red lamp", "(blue|[very] green) lamp", "old lamp") == 1


def test_a_list_is_one_arc_however_many_values_it_has() -> None:
    def arcs(values: int) -> int:
        names = ", ".join(f"n{number}" for number in range(values))
        book = sentences("on {thing} now", lists=f"{{thing: {{values: [{names}]}}}}")
        return sum(map(len, book.grammar.automaton.arcs))

    assert arcs(2) == arcs(2000)


def test_every_arc_leads_to_a_lower_level() -> None:
    automaton = compiled(HOME).grammar.automaton
    level = {0: 0}
    for number, arcs in enumerate(automaton.levels, start=1):
        level |= {int(source): number for source in arcs[:, 0]}
    assert all(
        level[target] < level[source]
        for source, leaving in enumerate(automaton.arcs)
        for _, target in leaving
    )


def test_a_slot_has_the_name_after_the_colon() -> None:
    book = sentences("on {thing:what}", lists="{thing: {values: [tea]}}")
    labels = [label for label in book.grammar.automaton.labels if isinstance(label, Slot)]
    assert labels == [Slot("thing", "what")]


@pytest.mark.parametrize(
    ("templates", "rules", "message"),
    [
        (["<lost> it"], "{}", "intent Said: there is no expansion rule <lost>"),
        (["<a>"], '{a: "x <b>", b: "y <a>"}', "the expansion rule <a> contains itself"),
        (["(a;b;c;d;e;f;g)"], "{}", "a permutation has more than 6 parts"),
        (["on {lost}"], "{}", "there is no list {lost}"),
        (["on {0..20000:n}"], "{}", "a range has 20001 numbers, at most 10000 are possible"),
    ],
)
def test_a_faulty_template_is_refused_with_the_reason(
    templates: list[str], rules: str, message: str
) -> None:
    with pytest.raises(GrammarError, match=message.replace("(", r"\(")):
        sentences(*templates, rules=rules)


def test_the_number_of_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_NODES", 5)
    with pytest.raises(GrammarError, match="more than 5 nodes"):
        sentences("one two three four five six")
