"""Counting sentences by arithmetic, and drawing them at random."""

from __future__ import annotations

from random import Random

import pytest

from stt_mqtt.phrases.expand import Expander
from stt_mqtt.phrases.names import NO_NAMES, Area, Entity, HomeNames, NameList
from stt_mqtt.phrases.parts import WrittenLanguage
from stt_mqtt.phrases.source import merge

HOME = HomeNames(
    entities=(
        Entity("light.a", ("Lamp", "Bed light")),
        Entity("light.b", ("Spot",)),
        Entity("cover.c", ("Blind",)),
    ),
    areas=(Area("k", ("Kitchen", "Galley")),),
    lists=(NameList("drink", ("tea", "coffee")),),
)


def written(*sentences: str, rest: str = "", block: str = "") -> WrittenLanguage:
    quoted = ", ".join(f"'{sentence}'" for sentence in sentences)
    text = f"language: en\nintents: {{A: {{data: [{{sentences: [{quoted}]{block}}}]}}}}\n{rest}"
    languages, problems = merge([("f", text)], frozenset({"drink"}))
    assert problems == []
    return languages["en"]


def count(language: WrittenLanguage, names: HomeNames = NO_NAMES) -> int:
    expander = Expander(language, names)
    return sum(expander.count(block) for block in language.blocks)


@pytest.mark.parametrize(
    ("sentence", "sentences"),
    [
        ("stop", 1),
        ("(turn|switch) on [the] light", 4),
        ("[[very] big] dog", 3),
        ("(a;b;c)", 6),
        ("([a];b)", 4),
        ("to {0..100:level}", 101),
        ("to {0..100,25:level} [percent]", 10),
        ("{name}", 4),
        ("{name} in {area}", 8),
        ("drink {drink}", 2),
        ("<two> and <two>", 4),
        ("say {text}", 1),
        ("{size} {half}", 3 * 6),
        ("on {floor}", 0),
    ],
)
def test_a_template_has_so_many_sentences(sentence: str, sentences: int) -> None:
    rest = """
expansion_rules: {two: '(one|two)'}
lists:
  text: {wildcard: true}
  size: {values: ['big', '[very] small']}
  half: {range: {from: 1, to: 3, fractions: halves}}
"""
    assert count(written(sentence, rest=rest), HOME) == sentences


def test_names_count_where_their_domain_fits() -> None:
    block = ", requires_context: {domain: light}"
    assert count(written("{name} on", block=block), HOME) == 3
    block = ", excludes_context: {domain: light}"
    assert count(written("{name} on", block=block), HOME) == 1


def test_sentences_without_number_are_counted_without_being_written_out() -> None:
    rules = "".join(f"  r{n}: '(<r{n + 1}>|<r{n + 1}> [very])'\n" for n in range(3))
    language = written("<r0>", rest=f"expansion_rules:\n{rules}  r3: '{'[a]' * 1000}'\n")
    assert count(language) == 3**3 * 2**1000


def test_sentences_at_random_are_sentences_of_the_template() -> None:
    language = written(
        "[please] (turn;the {name}) (on|off) {0..2:n} <x> {text}",
        rest="expansion_rules: {x: now}\nlists: {text: {wildcard: true}}",
    )
    expander, random = Expander(language, HOME), Random(5)
    (block,) = language.blocks
    drawn = {expander.sample(block, random) for _ in range(3000)}
    names = ("Lamp", "Bed light", "Spot", "Blind")
    assert drawn == {
        f"{please}{first} {switch} {n} now …"
        for please in ("please ", "")
        for name in names
        for first in (f"turn the {name}", f"the {name} turn")
        for switch in ("on", "off")
        for n in range(3)
    }


def test_the_same_seed_gives_the_same_sentences() -> None:
    language = written("(a|b|c|d) (a|b|c|d) (a|b|c|d)")
    (block,) = language.blocks

    def drawn(seed: int) -> list[str | None]:
        random = Random(seed)
        return [Expander(language, NO_NAMES).sample(block, random) for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_sentence_with_an_empty_list_is_not_drawn() -> None:
    language = written("on {floor}", "in {area}")
    expander, random = Expander(language, HOME), Random(1)
    (block,) = language.blocks
    assert {expander.sample(block, random) for _ in range(50)} == {"in Kitchen", "in Galley"}
    assert expander.sample(written("on {floor}").blocks[0], random) is None
