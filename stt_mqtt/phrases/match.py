"""The phrases of the book that are near to what was heard, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from stt_mqtt.phrases.book import HOME_LISTS, CompiledBook
from stt_mqtt.phrases.search import Filled, Found, Search
from stt_mqtt.phrases.sounds import key_of, words_of
from stt_mqtt.types import Phrase

MAX_SOUNDS = 200
"""A longer text is not a phrase."""
MAX_COST = 0.35
MAX_SHORT_COST = 0.5
"""Largest cost per sound of a candidate. A text of a word or two may be further off."""
SHORT_SOUNDS = 9
"""Most sounds of a word or two."""
NEAR = 12
"""Most candidates of one text."""
MAX_TEXTS = 3
"""Most hypotheses that are searched for."""
CAPITAL_NOUNS = frozenset({"de", "lb"})
"""Languages in which the recogniser writes nouns with a capital letter, as the book does."""
_QUESTION = re.compile(
    r"(what|who|how|when|where|which|why|is|are|was|can|could|may|do|does|did|will|would|should|"
    r"was|wer|wie|wann|wo|welche|welcher|welches|warum|ist|sind|kann|kannst|hast|hat|gibt)\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class PhraseCandidate:
    """A phrase that may have been said.

    `text`: the phrase as a result gives it. `written`: as the recogniser would write it. `cost`:
    how differently it sounds from what was heard, per sound; 0 is alike. `total_cost`: over all
    sounds. `phrase`: its meaning; the score is not known yet.
    """

    text: str
    written: str
    phrase: Phrase
    cost: float
    total_cost: float
    rank: tuple[int, int]
    """Orders phrases of the same words: few words of wildcards first, then as in the book."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What a book has for a text. `exact`: the phrase that the text is. `near`: nearest first."""

    exact: PhraseCandidate | None
    near: tuple[PhraseCandidate, ...]


def matches(book: CompiledBook, heard: Sequence[str], limit: int) -> Matches:
    """The phrases near to the hypotheses `heard`, the most likely one first."""
    near: dict[str, PhraseCandidate] = {}
    for number, text in enumerate(islice(dict.fromkeys(heard), MAX_TEXTS)):
        for words in _readings(text, book.skip_words):
            reading = _Heard.of(text, words, book.language)
            candidates = _near(book, reading)
            if number == 0:
                said = words_of(" ".join(words), book.language)
                same = [one for one in candidates if words_of(one.text, book.language) == said]
                if same:
                    return Matches(min(same, key=lambda candidate: candidate.rank), ())
            for candidate in candidates:
                known = near.setdefault(candidate.text.casefold(), candidate)
                if (candidate.cost, candidate.rank) < (known.cost, known.rank):
                    near[candidate.text.casefold()] = candidate
    by_cost = sorted(near.values(), key=lambda candidate: (candidate.cost, candidate.rank))
    return Matches(None, tuple(by_cost[:limit]))


def _readings(text: str, skip_words: frozenset[str]) -> list[list[str]]:
    """The words of a text, and those without the words that the book skips."""
    words = text.split()
    spoken = [word.strip(",.?!").casefold() for word in words]
    most = max((skipped.count(" ") + 1 for skipped in skip_words), default=0)
    kept: list[str] = []
    index = 0
    while index < len(words):
        length = next(
            (
                count
                for count in range(most, 0, -1)
                if " ".join(spoken[index : index + count]) in skip_words
            ),
            0,
        )
        if length == 0:
            kept.append(words[index])
        index += max(length, 1)
    return [words] if kept == words else [words, kept]


def _near(book: CompiledBook, heard: _Heard) -> list[PhraseCandidate]:
    """The candidates for one reading of a text."""
    if not 0 < len(heard.key) <= MAX_SOUNDS:
        return []
    most = MAX_SHORT_COST if len(heard.key) <= SHORT_SOUNDS else MAX_COST
    candidates = []
    for found in islice(Search(book.grammar, heard.key).found(), NEAR):
        has_wildcard = any(slot.value is None for slot in found.slots)
        cost = found.cost / max(1, found.sounds if has_wildcard else len(heard.key))
        if cost > most or _is_bare_name(found):
            continue
        candidate = _candidate(book, heard, found, cost)
        if candidate is not None:
            candidates.append(candidate)
    return candidates


@dataclass(frozen=True, slots=True)
class _Heard:
    """A text with the position in its key where each of its words ends."""

    text: str
    words: tuple[str, ...]
    ends: tuple[int, ...]
    key: str

    @classmethod
    def of(cls, text: str, words: Sequence[str], language: str) -> _Heard:
        keys = [key_of(word, language) for word in words]
        return cls(text, tuple(words), tuple(accumulate(map(len, keys))), "".join(keys))

    def part(self, start: int, end: int) -> str:
        """The words from one position to another, without punctuation around them."""
        begins = (0, *self.ends[:-1])
        chosen = [
            word
            for word, begin, stop in zip(self.words, begins, self.ends, strict=True)
            if start <= (begin + stop) / 2 <= end
        ]
        return " ".join(chosen).strip(" ,.?!;:")


def _candidate(
    book: CompiledBook, heard: _Heard, found: Found, cost: float
) -> PhraseCandidate | None:
    """What was found as a candidate. None: nothing was said for a wildcard."""
    block = book.blocks[found.block]
    slots, entities = dict(block.slots), {}
    parts: list[str] = []
    free_words = 0
    for part in found.parts:
        if isinstance(part, str):
            parts.append(part)
        elif part.value is None:
            free = heard.part(part.start, part.end)
            if not free:
                return None
            free_words += len(free.split())
            slots[part.name] = free
            parts.append(free)
        else:
            slots[part.name] = part.value.out
            parts.append(part.value.text)
            if part.value.entity is not None:
                entities[part.name] = part.value.entity
    text = " ".join("".join(parts).split())
    phrase = Phrase(block.intent, slots, entities)
    written = _as_heard(text, heard.text, book.language)
    rank = (free_words, found.block)
    return PhraseCandidate(_sentence(text), written, phrase, cost, found.cost, rank)


def _sentence(text: str) -> str:
    """A text with a capital letter and punctuation, as results have it."""
    return text[:1].upper() + text[1:] + ("?" if _QUESTION.match(text) else ".")


def _as_heard(text: str, heard: str, language: str) -> str:
    """A text as the recogniser would write it: its capitals and its percent sign follow `heard`."""
    spelled: dict[str, str] = {word.casefold(): word for word in _LETTERS.findall(heard)}
    spelled["i"] = "I"
    if "%" in heard:
        text = re.sub(r"(?<=\d) (percent|prozent)\b", "%", text, flags=re.IGNORECASE)

    def follow(word: re.Match[str]) -> str:
        written = str(word[0])
        otherwise = written if language in CAPITAL_NOUNS else written.casefold()
        return spelled.get(written.casefold(), otherwise)

    return _sentence(_LETTERS.sub(follow, text))


def _is_bare_name(found: Found) -> bool:
    """Whether a sentence consists only of names of the home."""
    return all(
        part.name in HOME_LISTS if isinstance(part, Filled) else not part.strip()
        for part in found.parts
    )
