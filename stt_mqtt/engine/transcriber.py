"""The seam to the model: what the line asks of an engine, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Samples


@dataclass(frozen=True, slots=True)
class Speech:
    """What to transcribe, at most `MAX_SPEECH_S` of it.

    `language` None: detect it, among `languages` or, where that is empty, among all. `prompt` is
    what was said before, or as if; `hotwords` are words to prefer.
    """

    samples: Samples
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()


class DecodePass(Enum):
    """How closely the model looks."""

    FIRST = auto()
    """The calibrated window and beam of the rung, and timestamps where the calibration says so."""
    SECOND = auto()
    """A wide window, a wide beam, and in English timestamps, with which the model spells better."""
    PLAIN = auto()
    """The window of the first one, without timestamps and for the most probable text as a whole:
    so it does not repeat itself."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model makes of a piece of speech, before anybody judges it."""

    text: str
    language: str
    tokens: int
    """Tokens of text."""
    mean_log_prob: float
    no_speech_prob: float


class Transcriber(Protocol):
    """A loaded, warm model. Every method may be called from any thread."""

    @property
    def model(self) -> str:
        """Name shown in results, as in `tiny.en`."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model speaks."""
        ...

    @property
    def clear_no_speech_prob(self) -> float:
        """Below this `no_speech_prob` there is speech beyond doubt."""
        ...

    def transcribe(
        self, speeches: Sequence[Speech], look: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        """What was said in each; they are decoded together where that saves work.

        The errors are UnsupportedLanguageError and InferenceFailedError.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; transcribing afterwards gives InferenceFailedError."""
        ...


MAX_SPEECH_S = 28.0
"""Longest piece that a model looks at in one go; Whisper's window has 30 s."""
