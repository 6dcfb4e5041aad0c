"""The model with its quality gate: pieces of speech in, believed words out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.quality import is_clear, is_doubtful, is_noise, prefer, strongest_voice
from stt_mqtt.engine.transcriber import Hypothesis, Look, Speech, Transcriber
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.types import Samples

log = logging.getLogger(__name__)


VOICES_PER_S = 31.25
"""Probabilities that a voice detector gives for a second."""


class VoiceDetector(Protocol):
    """Tells voices from noise, better and slower than the speech gate."""

    def probabilities(self, samples: Samples) -> Floats:
        """How probable a voice is, in each 32 ms."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of speech. `speech_s`: from its first to its last sound."""

    speech: Speech
    speech_s: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What was heard in a piece; without text, nothing was said.

    `work_s`: seconds of work for this one, its share of what was done together.
    """

    hypothesis: Hypothesis
    work_s: float
    second_look: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """Hears pieces of speech together and judges each transcript."""

    transcriber: Transcriber
    voice: VoiceDetector

    def hear(
        self, pieces: Sequence[Piece], second_look: bool
    ) -> Iterator[tuple[int, Finding | UtteranceError]]:
        """What was said in each piece, with its index; those that are looked at twice come last."""
        started = time.perf_counter()
        answers = self.transcriber.transcribe([piece.speech for piece in pieces])
        share_s = (time.perf_counter() - started) / len(pieces)
        doubtful: list[tuple[int, Hypothesis, float]] = []
        for index, answer in enumerate(answers):
            since = time.perf_counter()
            judged = self._first_look(pieces[index], answer)
            now = time.perf_counter()
            work_s = share_s + now - since
            if isinstance(judged, UtteranceError):
                yield index, judged
            elif second_look and is_doubtful(judged, pieces[index].speech_s):
                doubtful.append((index, judged, work_s))
            else:
                yield index, Finding(judged, work_s)
        for index, first, first_work_s in doubtful:
            since = time.perf_counter()
            best = self._second_look(pieces[index], first)
            now = time.perf_counter()
            work_s = first_work_s + now - since
            yield index, Finding(best, work_s, second_look=True)

    def _first_look(
        self, piece: Piece, answer: Hypothesis | UtteranceError
    ) -> Hypothesis | UtteranceError:
        """The believed answer. An unexpected failure harms only this piece."""
        if isinstance(answer, UtteranceError):
            return answer
        try:
            return self._judged(piece, self._with_words(piece, answer))
        except Exception as error:
            log.exception("a transcript could not be judged, please report this")
            return InferenceFailedError(f"unexpected {type(error).__name__}, see the log")

    def _with_words(self, piece: Piece, answer: Hypothesis) -> Hypothesis:
        """The answer, or one without the prompt where the prompt has wiped out the words."""
        speech = piece.speech
        if answer.text or not (speech.prompt or speech.hotwords):
            return answer
        speech = replace(speech, prompt=None, hotwords=(), language=answer.language)
        (bare,) = self.transcriber.transcribe([speech])
        return answer if isinstance(bare, UtteranceError) else bare

    def _judged(self, piece: Piece, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, without its text where nothing was said."""
        if not hypothesis.text or is_clear(hypothesis, self.transcriber.clear_no_speech_prob):
            return hypothesis
        probabilities = self.voice.probabilities(piece.speech.samples)
        voice = strongest_voice(probabilities, VOICES_PER_S)
        noise = is_noise(hypothesis, piece.speech_s, voice)
        return replace(hypothesis, text="") if noise else hypothesis

    def _second_look(self, piece: Piece, first: Hypothesis) -> Hypothesis:
        speech = replace(piece.speech, language=first.language)
        (second,) = self.transcriber.transcribe([speech], Look.SECOND)
        return first if isinstance(second, UtteranceError) else prefer(first, second)
