"""What is valid in a phrase file but probably not meant."""

from __future__ import annotations

import pytest

from stt_mqtt.config import PhrasesConfig
from stt_mqtt.phrases.lint import findings_of
from stt_mqtt.phrases.names import NO_NAMES, Area, Entity, Floor, HomeNames, NameList
from stt_mqtt.phrases.source import merge, read_languages


def findings(*texts: str, names: HomeNames = NO_NAMES) -> list[str]:
    named = [(f"f{number}" if number else "f", text) for number, text in enumerate(texts)]
    languages, problems = merge(named, frozenset())
    assert problems == []
    return [str(one) for language in languages.values() for one in findings_of(language, names)]


def block(*sentences: str, rest: str = "", keys: str = "") -> str:
    quoted = ", ".join(f"'{sentence}'" for sentence in sentences)
    data = f"data: [{{sentences: [{quoted}]{keys}}}]"
    return f"language: en\nintents: {{A: {{{data}}}}}\n{rest}"


def test_a_good_file_has_no_findings() -> None:
    text = block(
        "<turn> on [the] {name}",
        "remind me to {text}",
        "go to {room} ({text}|)",
        keys=", expansion_rules: {own: '{thing}'}, lists: {thing: {values: [ball]}}",
        rest="expansion_rules: {turn: '(turn|switch)', odd: '[very] odd'}\n"
        "lists: {text: {wildcard: true}, room: {values: ['<odd> room', attic]}}",
    )
    assert findings(text.replace("'go to", "'<own>', 'go to")) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            block("go", rest="lists: {x: {values: [a]}}"),
            ["f:3:9: warning: no sentence uses the list {x}"],
        ),
        (
            block("go", rest="expansion_rules: {a: '<b>', b: c}"),
            [
                "f:3:19: warning: no sentence uses the rule <a>",
                "f:3:29: warning: no sentence uses the rule <b>",
            ],
        ),
        (
            block("go", keys=", lists: {x: {values: [a]}}, expansion_rules: {r: b}"),
            [
                "f:2:50: warning: no sentence of these uses the list {x}",
                "f:2:87: warning: no sentence of these uses the rule <r>",
            ],
        ),
        (
            block("take {x}", rest="lists: {x: {values: []}}"),
            ["f:3:9: warning: list {x} has no values"],
        ),
        (block(), ["f:2:22: warning: intent A has no sentence here"]),
        (block("go", keys=", slots: {x: , y: 0}"), ["f:2:22: warning: slot x is empty"]),
        (
            block("go {1..2:}"),
            ["f:2:35: warning: {1..2:} has a slot without a name"],
        ),
        (
            block("go on", "go  On"),
            ["f:2:44: warning: this sentence is already in f:2:35"],
        ),
        (
            block(
                "[the] {name}",
                "{area} {name}",
                "(lamp|{floor})",
                "[the] <x>",
                rest="expansion_rules: {x: '{name}'}",
            ),
            [
                f"f:2:{column}: warning: this can be only a name, which is never accepted"
                for column in (35, 51, 68, 86)
            ],
        ),
        (block("[please] [now]"), ["f:2:35: warning: this can be said without any word"]),
        (
            block("say {text} (now|) ", "say {text}[ ]", rest="lists: {text: {wildcard: true}}"),
            [
                "f:2:35: warning: wildcard {text} is not at the end, so its end is hard to find "
                "in speech"
            ],
        ),
        (
            block(
                "say <what> now",
                rest="lists: {text: {wildcard: true}}\nexpansion_rules: {what: '(it|{text})'}",
            ),
            [
                "f:2:35: warning: wildcard {text} is not at the end, so its end is hard to find "
                "in speech"
            ],
        ),
        (
            block("a " + "(a|b|c|d|e|f|g|h|i|j)" * 7),
            ["f:2:35: warning: this has 10,000,000 sentences, even without its lists"],
        ),
        (
            block("a " + "[b]" * 200),
            ["f:2:35: warning: this has about 10^60 sentences, even without its lists"],
        ),
        (
            block("go", keys=", sentance: [a]", rest="list: {}\nresponses: {}"),
            [
                "f:2:42: warning: key 'sentance' has no effect in an entry of data, "
                "did you mean 'sentences'?",
                "f:3:1: warning: key 'list' has no effect in a phrase file, did you mean 'lists'?",
            ],
        ),
        (
            block(
                "to {x}", rest="lists: {x: {values: [tea, {in: tee, out: tea}, {in: ti, out: 2}]}}"
            ),
            ["f:3:9: info: 'tea', 'ti' in list {x} sound alike"],
        ),
        (
            block("to {x}", rest="lists: {x: {values: ['...', two]}}"),
            ["f:3:9: warning: '...' in list {x} has no sound, so it is never heard"],
        ),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_found(text: str, lines: list[str]) -> None:
    assert findings(text) == lines


def test_a_sentence_of_two_intents_is_found_in_any_file() -> None:
    other = "language: en\nintents: {B: {data: [{sentences: [go on]}]}}"
    assert findings(block("go on"), other) == [
        "f1:2:35: warning: this sentence is already in f:2:35 for intent A"
    ]


def test_a_sentence_may_be_there_again_for_another_context() -> None:
    other = (
        "language: en\nintents: {B: {data: [{sentences: [go on], requires_context: {area: x}}]}}"
    )
    assert findings(block("go on"), other) == []


def test_a_rule_that_another_file_replaces_is_found() -> None:
    other = "language: en\nexpansion_rules: {a: b}"
    assert findings(block("<a>", rest="expansion_rules: {a: c}"), other) == [
        "f1:2:19: warning: rule <a> replaces the one in f:3:19"
    ]


def test_names_that_sound_alike_are_worth_knowing() -> None:
    names = HomeNames(
        entities=(Entity("light.a", ("Night light",)), Entity("light.b", ("Knight light", "Spot"))),
        areas=(Area("a", ("Hall", "Haul")),),
        floors=(Floor("a", ("...",)),),
        lists=(NameList("drink", ("tee", "tea", "coffee")),),
    )
    assert findings(block("go"), names=names) == [
        "names: info: 'Night light', 'Knight light' of entities sound alike",
        "names: warning: '...' of floors has no sound, so it is never heard",
        "names: info: 'tee', 'tea' in list {drink} sound alike",
    ]


def test_the_starter_book_has_only_wildcards_before_the_end() -> None:
    languages = read_languages(PhrasesConfig(builtin=True))
    assert sorted(languages) == ["de", "en"]
    for written in languages.values():
        for finding in findings_of(written, NO_NAMES):
            assert "is not at the end" in finding.message
