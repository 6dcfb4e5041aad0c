"""The partial results of an open utterance: its text so far, and how much of it stays.

A word is stable if consecutive hypotheses agree on it, case and punctuation aside. The last words
of a hypothesis never count, because speech that stops in a word misleads the model. The decoder
goes on after the stable text, so that the next hypothesis begins with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

from stt_mqtt.types import DeviceKey, Transcript

AGREEING = 2
"""Consecutive hypotheses that must agree on a word."""
SURE = 0.7
"""Least confidence of these hypotheses."""
HELD_BACK = 2
"""Last words of a hypothesis that do not count."""
FIRST_DRAFT_S = 0.1
"""Audio between the beginning of speech, as it was noticed, and the first draft."""
DRAFT_EVERY_S = 0.3
"""Least audio between two drafts."""
LONGER = 1.5
"""How much longer each such time is than the one before."""
MAX_EVERY_S = 3.0
"""Longest such time."""
WORK_SHARE = 5.0
"""Least time between two drafts, relative to the work for the last one."""
_WORD = re.compile(r"\S+")
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial result.

    `revision`: 1 for the first one of an utterance. `stable`: characters of the text that no later
    revision changes. `work_s`: seconds of work for it. `context`: what the door gave at the start.
    """

    key: DeviceKey
    id: str
    text: str
    language: str
    confidence: float
    work_s: float
    revision: int
    stable: int
    context: object = None


@dataclass(frozen=True, slots=True)
class _Word:
    """A word as it is compared, and where it ends in its text, without punctuation."""

    sound: str
    end: int


class Partials:
    """Turns hypotheses about a growing utterance into revisions of its text."""

    def __init__(self) -> None:
        self.revision = 0
        self.text = ""
        self.stable = ""
        """The beginning of the text, which no later revision changes."""
        self.language: str | None = None
        """The language of the last hypothesis. None: there is none."""
        self._before: list[list[str]] = []
        """The words of the confident hypotheses before, the newest last."""
        self._heard_at = -inf

    def revise(self, found: Transcript, heard_at: float) -> bool:
        """Take a hypothesis about the audio until `heard_at`. Return whether it is a new revision.

        It is ignored if it is older than the last one, has no words, or contradicts what is stable.
        """
        rest = rest_of(found.free, self.stable)
        if heard_at < self._heard_at or rest is None or not _words(found.free):
            return False
        self._heard_at, self.language = heard_at, found.language
        before, self.text = (self.text, self.stable), self.stable + rest
        words = _words(self.text)
        agreed = self._agreed([word.sound for word in words], found.confidence)
        if agreed and words[agreed - 1].end > len(self.stable):
            self.stable = self.text[: words[agreed - 1].end]
        is_new = (self.text, self.stable) != before
        self.revision += is_new
        return is_new

    def _agreed(self, sounds: list[str], confidence: float) -> int:
        """How many words this hypothesis and those before have in common at their beginning."""
        before = self._before
        if confidence < SURE:
            before.clear()
            return 0
        agreed = max(len(sounds) - HELD_BACK, 0) if len(before) == AGREEING - 1 else 0
        for others in before:
            agreed = min(agreed, _common(sounds, others))
        self._before = [*before, sounds][-(AGREEING - 1) :]
        return agreed


class DraftTimes:
    """Says when a draft of an utterance is due. Times are seconds of its audio."""

    def __init__(self) -> None:
        self._heard_s = 0.0
        self._due_s: float | None = None
        self._begun_s = 0.0
        self._every_s = DRAFT_EVERY_S
        self._is_running = False

    def is_due(self, heard_s: float) -> bool:
        """Whether a draft is due while somebody speaks, after `heard_s` seconds."""
        self._heard_s = heard_s
        if self._due_s is None:
            self._due_s = heard_s + FIRST_DRAFT_S
        return not self._is_running and heard_s >= self._due_s

    def begin(self) -> None:
        """The draft that is due is made now."""
        self._is_running = True
        self._begun_s = self._heard_s
        self._due_s = self._begun_s + self._every_s
        self._every_s = min(self._every_s * LONGER, MAX_EVERY_S)

    def skip(self) -> None:
        """The draft that is due cannot be made now."""
        self._due_s = self._heard_s + DRAFT_EVERY_S

    def end(self, work_s: float) -> None:
        """The draft was made, with this much work."""
        self._is_running = False
        self._due_s = max(self._due_s or 0.0, self._begun_s + WORK_SHARE * work_s)


def rest_of(text: str, beginning: str) -> str | None:
    """What follows after the words of `beginning` in a text. None: it begins with others."""
    words, begun = _words(text), _words(beginning)
    if [word.sound for word in words[: len(begun)]] != [word.sound for word in begun]:
        return None
    return text[words[len(begun) - 1].end :] if begun else text


def _words(text: str) -> list[_Word]:
    """The words of a text. Punctuation alone is none."""
    words = []
    for found in _WORD.finditer(text):
        sound = _EDGES.sub("", found.group())
        if sound:
            end = found.start() + found.group().rindex(sound) + len(sound)
            words.append(_Word(sound.casefold(), end))
    return words


def _common(sounds: list[str], others: list[str]) -> int:
    """How many words two lists have in common at their beginning."""
    pairs = enumerate(zip(sounds, others, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(sounds), len(others)))
