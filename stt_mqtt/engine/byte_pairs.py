"""Byte-pair encoding as in GPT-2 and Whisper, with the vocabulary of CTranslate2's model folder.

The library `tokenizers` takes 28 MB for the same. The tokens are the same, too, except for
characters that are too new for the Unicode version of Python.

A token is a string of bytes. The ids of a vocabulary are in the order in which its tokens were
learned: the pair that makes the token with the least id is merged first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, pairwise
from math import inf
from pathlib import Path
from unicodedata import category

END = "<|endoftext|>"
"""The first control token. All text tokens are before it."""
_CONTRACTION = re.compile("'(?:[stmd]|re|ve|ll)")
_RUN = re.compile(r" ?L+| ?N+| ?O+|[ _]+(?![^ _])|[ _]+")
"""Words, numbers, signs, and blanks: by the kinds of the characters, see `_kind`."""
_CONTROL = re.compile(r"<\|[^<|>]*\|>")
_NO_BLANKS = "\x1c\x1d\x1e\x1f"
"""Characters that are blanks for Python, but not in Unicode's property `White_Space`."""
_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that a vocabulary file writes as the character of that number."""


class BytePairs:
    """Encodes and decodes text. Thread-safe.

    `names`: the tokens as in a vocabulary file, by their id. A character stands for a byte.
    """

    def __init__(self, names: Sequence[str]) -> None:
        end = names.index(END)
        byte_of = {character: number for number, character in enumerate(byte_characters())}
        self._tokens = [bytes(byte_of[one] for one in name) for name in names[:end]]
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        self.controls = {name: number for number, name in enumerate(names[end:], end)}
        """The ids of the control tokens by their names."""
        self._control_names = list(names[end:])

    @classmethod
    def of(cls, folder: Path) -> BytePairs:
        """The vocabulary of the model in `folder`."""
        listed = folder / "vocabulary.json"
        if listed.is_file():
            return cls(json.loads(listed.read_text(encoding="utf-8")))
        lines = (folder / "vocabulary.txt").read_text(encoding="utf-8").removesuffix("\n")
        return cls(lines.split("\n"))

    def control_name(self, token: int) -> str:
        """The name of a control token."""
        return self._control_names[token - len(self._tokens)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of text tokens. Incomplete characters become U+FFFD."""
        return b"".join(self._tokens[token] for token in tokens).decode(errors="replace")

    def encode(self, text: str) -> list[int]:
        """The tokens of a text. Control tokens that are written out are left out."""
        words = chain.from_iterable(map(_words, self._parts(text)))
        return [token for word in words for token in self._merged(word)]

    def _parts(self, text: str) -> Iterator[str]:
        """What is between control tokens."""
        start = 0
        for found in _CONTROL.finditer(text):
            if found[0] in self.controls:
                yield text[start : found.start()]
                start = found.end()
        yield text[start:]

    def _merged(self, word: str) -> list[int]:
        parts = [bytes([byte]) for byte in word.encode(errors="replace")]
        ranks = [self._rank(*pair) for pair in pairwise(parts)]
        while ranks and (best := min(ranks)) < inf:
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            around = slice(max(at - 1, 0), at + 2)
            ranks[around] = [self._rank(*pair) for pair in pairwise(parts[around])]
        return [self._ids[part] for part in parts]

    def _rank(self, left: bytes, right: bytes) -> float:
        """When this pair is merged; infinite: never."""
        return self._ids.get(left + right, inf)


def _words(text: str) -> Iterator[str]:
    """The words of a text, which are encoded one by one. A blank belongs to the word after it."""
    kinds = "".join(map(_kind, text))
    at = 0
    while found := _CONTRACTION.match(text, at) or _RUN.match(kinds, at):
        yield text[at : found.end()]
        at = found.end()


def _kind(character: str) -> str:
    """L: letter, N: number, O: other; a space is itself, other blanks are _."""
    if character == " ":
        return " "
    if character.isspace() and character not in _NO_BLANKS:
        return "_"
    major = category(character)[0]
    return major if major in "LN" else "O"


@cache
def byte_characters() -> tuple[str, ...]:
    """The character of each byte in a vocabulary file."""
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in _PRINTABLE else next(others)) for byte in range(256))
