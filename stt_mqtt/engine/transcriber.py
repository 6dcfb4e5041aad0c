"""The interface to a model: speech in, hypotheses out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Samples

MAX_SPEECH_S = 28.0
"""Longest speech that a model decodes at once, in seconds; Whisper's window has 30 s."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What to transcribe, at most `MAX_SPEECH_S` of it.

    `language` None: detect it among `languages`, or among all if that is empty. `prompt`: text
    that is taken to come before. `hotwords`: words to prefer.
    """

    samples: Samples
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()


class DecodePass(Enum):
    """How a model decodes speech."""

    FIRST = auto()
    """The calibrated window and beam of the rung, and timestamps where the calibration says so."""
    SECOND = auto()
    """A wide window, a wide beam, and in English timestamps, with which the model spells better."""
    PLAIN = auto()
    """The window of the first pass, without timestamps and for the most probable text as a whole.
    So the model does not repeat itself."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model makes of a piece of speech; without text, nothing was said."""

    text: str
    language: str
    tokens: int
    """Tokens of text."""
    mean_log_prob: float
    no_speech_prob: float
    work_s: float = 0.0
    """Seconds of work for this piece: its share of what was decoded together, and its retry."""
    retried: bool = False
    """Whether the first answer was doubtful and the piece was decoded again."""


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
        """A hypothesis with a `no_speech_prob` below this is speech beyond doubt."""
        ...

    def transcribe(
        self, speeches: Sequence[Speech], decode_pass: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        """What was said in each; they are decoded together where that saves work.

        The errors are UnsupportedLanguageError and InferenceFailedError.
        """
        ...

    def close(self) -> None:
        """Free the model's memory. Transcribing afterwards gives InferenceFailedError."""
        ...
