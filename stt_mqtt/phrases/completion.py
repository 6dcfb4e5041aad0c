"""Whether a text is a whole phrase of the book, only the beginning of one, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stt_mqtt.phrases.book import CompiledBook
from stt_mqtt.phrases.sounds import words_of
from stt_mqtt.types import Completion

MAX_WORDS = 60
"""A longer text is nothing of the book."""
POLITE = {
    "en": frozenset({"please", "now", "right now", "thanks", "thank you"}),
    "de": frozenset({"bitte", "jetzt", "danke"}),
}
"""Words at the end of a phrase that change nothing, by language."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Sentences that begin with a text.

    `is_whole`: one ends here. `goes_on`: others have more words. `likely`: more than polite ones.
    """

    is_whole: bool
    goes_on: bool
    likely: bool
    in_wildcard: bool = False
    after_wildcard: bool = False


def completion_of(book: CompiledBook, text: str) -> Completion:
    """How much of a phrase of the book a text is, by its words.

    Polite words, such as "please" and the words that the book skips, make no longer phrase. Words
    of a phrase are not taken for those of a wildcard: "add milk to my list" is complete, although
    "add {item} to my list" could go on.
    """
    words = words_of(text, book.language)
    if not 0 < len(words) <= MAX_WORDS:
        return Completion.NONE
    skipped = frozenset(" ".join(words_of(one, book.language)) for one in book.skip_words)
    polite = skipped | POLITE.get(book.language, frozenset())
    kept = _without(words, skipped)
    beginnings = list(_beginnings(book, words, polite))
    if kept != words and not any(one.is_whole for one in beginnings):
        beginnings += _beginnings(book, kept, polite)
    whole = [one for one in beginnings if one.is_whole]
    if not whole:
        return Completion.OPEN if any(one.goes_on for one in beginnings) else Completion.NONE
    is_after_wildcard = any(one.after_wildcard for one in whole)
    is_longer = any(
        one.likely and (not one.in_wildcard or (one.is_whole and not is_after_wildcard))
        for one in beginnings
    )
    return Completion.EXTENDABLE if is_longer else Completion.COMPLETE


def _beginnings(
    book: CompiledBook, words: Sequence[str], polite: frozenset[str]
) -> Iterator[_Beginning]:
    """The sentences that begin with these words, by where the words lead."""
    walker, text = book.walker, " ".join(words)
    reached = walker.reached(text)
    if reached.is_inside:
        yield _Beginning(is_whole=False, goes_on=True, likely=True)
    for place in reached.places:
        is_whole = walker.ends(place)
        if place.is_open:
            yield _Beginning(is_whole, goes_on=True, likely=True, in_wildcard=True)
        else:
            goes_on = walker.goes_on(place.node, place.apart)
            likely = walker.goes_on(place.node, place.apart, polite)
            yield _Beginning(is_whole, goes_on, likely, after_wildcard=place.is_free)


def _without(words: Sequence[str], skipped: frozenset[str]) -> list[str]:
    """The words without those that are skipped."""
    most = max((one.count(" ") + 1 for one in skipped), default=0)
    kept: list[str] = []
    index = 0
    while index < len(words):
        for count in range(most, 0, -1):
            if " ".join(words[index : index + count]) in skipped:
                index += count
                break
        else:
            kept.append(words[index])
            index += 1
    return kept
