"""Templates are read as hassil reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hassil.expression import Expression, Group, ListReference, RuleReference, TextChunk
from hassil.parse_expression import parse_sentence
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import PhrasesConfig
from stt_mqtt.phrases.source import read_languages
from stt_mqtt.phrases.templates import TemplateError, TemplateParser


def shape(expression: Expression) -> Any:
    """All that the book needs of an expression."""
    match expression:
        case TextChunk():
            return (expression.text, expression.original_text)
        case ListReference():
            return (expression.list_name, expression.slot_name, expression.get_inline_range())
        case RuleReference():
            return expression.rule_name
        case Group():
            return (type(expression).__name__, [shape(item) for item in expression.items])
    raise AssertionError(expression)


def test_the_starter_book_is_read_as_hassil_reads_it() -> None:
    compared = 0
    for written in read_languages(PhrasesConfig(builtin=True)).values():
        sentences = [one for block in written.blocks for one in block.sentences]
        for template in [*sentences, *written.rules.values()]:
            compared += 1
            reference = parse_sentence(template.text).expression
            assert shape(template.sentence.expression) == shape(reference)
    assert compared > 400


@given(st.text("ab [](){}<>|;:.\\", max_size=25))
def test_any_text_is_read_as_hassil_reads_it_or_refused(text: str) -> None:
    parser = TemplateParser()
    try:
        parsed = shape(parser.parse(text).expression)
    except TemplateError:
        return
    assert parsed == shape(parse_sentence(text).expression)
    assert parsed == shape(parser.parse(text).expression)


def test_parts_that_templates_have_in_common_are_one_object() -> None:
    parser = TemplateParser()
    first = parser.parse("(turn|switch) on [the] {name}").expression
    second = parser.parse("(turn|switch) off [the] {name}").expression
    assert isinstance(first, Group)
    assert isinstance(second, Group)
    same = [one is other for one, other in zip(first.items, second.items, strict=True)]
    assert same == [True, False, True, True, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\\ ",
        "(",
        ")",
        "(]",
        "()",
        "[]",
        "{}",
        "<>",
        "a\\",
        "[" * 25 + "]" * 25,
        "a" * 4001,
    ],
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        TemplateParser().parse(text)
