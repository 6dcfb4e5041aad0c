"""The interface of a model, with its input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from stt_mqtt.errors import UtteranceError
from stt_mqtt.stages import StageTimes
from stt_mqtt.types import Completion, Phrase, Samples

MAX_SPEECH_S = 28.0
"""Longest piece of speech, in seconds. Whisper's window has 30 s."""


States: TypeAlias = npt.NDArray[np.float32]
"""Encoder states, shape (states, width), 20 ms each."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of speech to transcribe, at most `MAX_SPEECH_S` long.

    `language` None: detect it among `languages`, or among all if that is empty. `prompt`: text that
    the model takes as preceding. `hotwords`: words to prefer.
    """

    samples: Samples
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    for_phrases: bool = False
    """Whether the hypothesis should have alternatives and states, to find phrases of the book."""
    for_end: bool = False
    """Whether the hypothesis should have its window, to judge whether the sentence has ended."""


class DecodePass(Enum):
    """How to decode speech."""

    FIRST = auto()
    """The window of the calibration and the beam of the rung, with timestamps if calibrated."""
    SECOND = auto()
    """A wide window, a wide beam, and for English timestamps, which improve the spelling."""
    PLAIN = auto()
    """The window of the first pass without timestamps. It selects the most probable whole text, so
    that the model does not repeat itself."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text that the model found in a piece of speech. An empty text: no speech."""

    text: str
    language: str
    tokens: int
    """Number of text tokens."""
    mean_log_prob: float
    no_speech_prob: float
    work_s: float = 0.0
    """Seconds of work for this piece: its share of the batch, and its retry."""
    retried: bool = False
    """Whether the piece was decoded again because the first hypothesis was doubtful."""
    remembered: bool = False
    """Whether it was found while the utterance was open."""
    stages: StageTimes = field(default_factory=dict, repr=False, compare=False)
    """The work for this piece by stage."""
    alternatives: tuple[str, ...] = ()
    """Other texts of the beam, the most probable first."""
    states: States | None = field(default=None, repr=False, compare=False)
    """Encoder states of the speech, shape (states, width), without the silence after it."""
    window: States | None = field(default=None, repr=False, compare=False)
    """Encoder states of all that the model read, to judge whether the sentence has ended."""
    heard: str | None = None
    """The text that the model found, if `text` is a phrase of the book instead."""
    phrase: Phrase | None = None
    """The phrase of the book that was said."""
    completion: Completion = Completion.NONE
    """How much of a phrase of the book the text is, if the utterance is live."""
    end_prob: float = 0.0
    """Probability of the mark that ends the sentence. 0: there is none, or nobody asked."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text as tokens, with the log-probability of each."""

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]

    @property
    def total(self) -> float:
        """The log-probability of the text."""
        return sum(self.log_probs)


class Transcriber(Protocol):
    """A loaded model. All methods are thread-safe."""

    @property
    def model(self) -> str:
        """Name for results, such as `tiny.en`."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model supports."""
        ...

    @property
    def clear_no_speech_prob(self) -> float:
        """A hypothesis with a `no_speech_prob` below this is certainly speech."""
        ...

    @property
    def takes_names(self) -> bool:
        """Whether names of the home as hotwords improve the transcripts."""
        ...

    def transcribe(
        self, speeches: Sequence[Speech], decode_pass: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        """Transcribe pieces of speech, together where that saves work.

        The result has an UnsupportedLanguageError or InferenceFailedError for a piece that failed.
        """
        ...

    def draft(self, speech: Speech, after: str) -> Hypothesis:
        """Transcribe speech that goes on: quickly, and less exactly than `transcribe`.

        The text begins with `after`, which is not decoded again. Raises `UtteranceError` or an
        error of the inference library.
        """
        ...

    def score(self, states: States, texts: Sequence[str], language: str) -> list[ScoredText]:
        """How probable each text is, given the encoder states of a piece of speech.

        Raises InferenceFailedError.
        """
        ...

    def close(self) -> None:
        """Free the memory of the model. `transcribe` then returns InferenceFailedError."""
        ...
