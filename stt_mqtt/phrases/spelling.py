"""The words of a text as they are written, and whether they continue the words around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stt_mqtt.phrases.sounds import words_of

_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"


@dataclass(frozen=True, slots=True)
class Spelling:
    """The words of a label or value, with spaces between them.

    `apart_before`, `apart_after`: it does not continue the word before, or the word after does not
    continue it.
    """

    words: str
    apart_before: bool
    apart_after: bool

    @classmethod
    def of(cls, text: str, language: str) -> Spelling:
        """The spelling of a text. Only letters continue a word."""
        letters = text.strip(_APOSTROPHES)
        return cls(
            " ".join(words_of(text, language)),
            bool(letters) and not letters[0].isalpha(),
            bool(letters) and not letters[-1].isalpha(),
        )


@dataclass(frozen=True, slots=True)
class ListSpellings:
    """The values of a list by their words.

    `begun`: a longer value by its first words. `longest`: the characters of the longest value.
    """

    whole: dict[str, Spelling]
    begun: dict[str, Spelling]
    longest: int

    @classmethod
    def of(cls, values: Iterable[Spelling]) -> ListSpellings:
        """The spellings of these values."""
        whole = {value.words: value for value in values}
        begun = {
            words[:end]: value
            for words, value in whole.items()
            for end, letter in enumerate(words)
            if letter == " "
        }
        return cls(whole, begun, max(map(len, whole), default=0))
