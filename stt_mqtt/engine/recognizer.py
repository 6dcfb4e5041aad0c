"""The model with its quality gate: pieces of speech in, believed words out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.quality import (
    Doubt,
    doubt_about,
    is_alike,
    is_clear,
    is_loop,
    is_noise,
    is_prompted,
    is_prompts,
    prefer,
    said_once,
    strongest_voice,
)
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech, Transcriber
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
    retried: bool = False


@dataclass(frozen=True, slots=True)
class Recognizer:
    """Hears pieces of speech together and judges each transcript."""

    transcriber: Transcriber
    voice: VoiceDetector

    def hear(
        self, pieces: Sequence[Piece], may_retry: bool
    ) -> Iterator[tuple[int, Finding | UtteranceError]]:
        """What was said in each piece, with its index; those that are looked at twice come last."""
        started = time.perf_counter()
        answers = self.transcriber.transcribe([piece.speech for piece in pieces])
        share_s = (time.perf_counter() - started) / len(pieces)
        doubtful: list[tuple[int, Hypothesis, Doubt, float]] = []
        for index, answer in enumerate(answers):
            since = time.perf_counter()
            judged, doubt = self._first_look(pieces[index], answer)
            now = time.perf_counter()
            work_s = share_s + now - since
            if isinstance(judged, UtteranceError):
                yield index, judged
            elif may_retry and doubt is not None:
                doubtful.append((index, judged, doubt, work_s))
            else:
                yield index, Finding(_undoubted(judged, pieces[index].speech), work_s)
        for index, first, doubt, first_work_s in doubtful:
            since = time.perf_counter()
            best = self._retry(pieces[index], first, doubt)
            now = time.perf_counter()
            work_s = first_work_s + now - since
            yield index, Finding(_without_loop(best), work_s, retried=True)

    def _first_look(
        self, piece: Piece, answer: Hypothesis | UtteranceError
    ) -> tuple[Hypothesis | UtteranceError, Doubt | None]:
        """The judged answer, and why it should be decided again.

        An unexpected failure harms only this piece.
        """
        if isinstance(answer, UtteranceError):
            return answer, None
        try:
            judged = self._judged(piece.speech, piece.speech_s, answer)
            if answer.text and not judged.text:
                return judged, None
            return judged, doubt_about(answer, piece.speech, piece.speech_s)
        except Exception as error:
            log.exception("a transcript could not be judged, please report this")
            return InferenceFailedError(f"unexpected {type(error).__name__}, see the log"), None

    def _judged(self, speech: Speech, speech_s: float, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, without its text where nothing was said."""
        prompted = is_prompted(speech)
        clear = is_clear(hypothesis, self.transcriber.clear_no_speech_prob, prompted)
        if not hypothesis.text or clear:
            return hypothesis
        probabilities = self.voice.probabilities(speech.samples)
        voice = strongest_voice(probabilities, VOICES_PER_S)
        noise = is_noise(hypothesis, speech_s, voice, prompted)
        return replace(hypothesis, text="") if noise else hypothesis

    def _retry(self, piece: Piece, first: Hypothesis, doubt: Doubt) -> Hypothesis:
        """The better of the first answer and another one; the first if that one fails."""
        try:
            return self._decided_again(piece, first, doubt)
        except Exception:
            log.exception("a transcript could not be decided again, please report this")
            return first

    def _decided_again(self, piece: Piece, first: Hypothesis, doubt: Doubt) -> Hypothesis:
        speech = replace(piece.speech, language=first.language)
        if doubt is Doubt.SPARSE:
            (closer,) = self.transcriber.transcribe([speech], DecodePass.SECOND)
            return first if isinstance(closer, UtteranceError) else prefer(first, closer)
        speech = replace(speech, prompt=None, hotwords=())
        (plain,) = self.transcriber.transcribe([speech], DecodePass.PLAIN)
        if isinstance(plain, UtteranceError):
            return first
        if is_loop(first):
            return self._judged(speech, piece.speech_s, plain)
        if is_loop(plain) or (doubt is Doubt.LOOP and not plain.text):
            return _undoubted(first, piece.speech)
        if doubt is Doubt.PROMPTED and is_alike(first.text, plain.text):
            # Somebody said what the prompt has; it knows better how that is written.
            return first
        return self._judged(speech, piece.speech_s, plain)


def _undoubted(hypothesis: Hypothesis, speech: Speech) -> Hypothesis:
    """What is believed where nothing is decided again: no prompt's text that is said twice."""
    if not is_prompted(speech):
        return _without_loop(hypothesis)
    once = replace(hypothesis, text=said_once(hypothesis.text))
    leaked = once.text != hypothesis.text and is_prompts(once.text, speech)
    return replace(once, text="") if leaked else _without_loop(once)


def _without_loop(hypothesis: Hypothesis) -> Hypothesis:
    """The hypothesis, without its text where that is a loop."""
    return replace(hypothesis, text="") if is_loop(hypothesis) else hypothesis
