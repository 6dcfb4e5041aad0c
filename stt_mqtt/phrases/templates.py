"""Reads sentence templates with hassil. Equal parts of templates become one object.

The sentences of a book have most of their parts in common, so this saves time and memory.
"""

from __future__ import annotations

from hassil.expression import Expression, Group, Sentence, Sequence
from hassil.parse_expression import parse_expression, parse_sentence
from hassil.parser import ParseError, ParseType, next_chunk

MAX_TEMPLATE = 4_000
"""Most characters of a template."""
MAX_BRACKETS = 24
"""Most brackets of a template inside each other."""
_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}


class TemplateError(ValueError):
    """A text that is no template. The message says why."""


class TemplateParser:
    """Reads templates and remembers their parts."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, bool], Expression] = {}

    def parse(self, text: str) -> Sentence:
        """The template that a text is. Raises TemplateError."""
        if not text.strip():
            raise TemplateError("it is empty")
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(f"it has more than {MAX_TEMPLATE} characters")
        wrong = _wrong_brackets(text.strip())
        if wrong is not None:
            raise TemplateError(wrong)
        try:
            return self._parsed(text)
        except (ParseError, AssertionError, ValueError, IndexError, RecursionError) as error:
            raise TemplateError("it is no template; is a bracket missing or empty?") from error

    def _parsed(self, text: str) -> Sentence:
        written = text.strip()
        items: list[Expression] = []
        position = 0
        while (chunk := next_chunk(written, position)) is not None:
            if chunk.parse_type in {ParseType.ALT, ParseType.PERM}:
                return parse_sentence(text, keep_text=True)
            position = chunk.end_index
            is_end_of_word = written[position : position + 1].isspace()
            key = (chunk.text, is_end_of_word)
            part = self._parts.get(key)
            if part is None:
                part = parse_expression(chunk, is_end_of_word=is_end_of_word)
                self._parts[key] = part
            items.append(part)
        only = items[0] if len(items) == 1 else None
        return Sentence(only if isinstance(only, Group) else Sequence(items), text)


def _wrong_brackets(text: str) -> str | None:
    """What is wrong with the brackets of a template; None: nothing."""
    expected: list[str] = []
    escaped = False
    for letter in text:
        if escaped or letter == "\\":
            escaped = not escaped
        elif letter in _BRACKETS:
            expected.append(_BRACKETS[letter])
            if len(expected) > MAX_BRACKETS:
                return f"it has more than {MAX_BRACKETS} brackets inside each other"
        elif letter in _BRACKETS.values():
            if not expected:
                return f"a {letter} without its opening bracket"
            if expected.pop() != letter:
                return f"a {letter} closes another bracket"
    if escaped:
        return "a backslash at the end"
    return f"a {expected[-1]} is missing" if expected else None
