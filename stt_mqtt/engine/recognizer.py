"""The model with its quality gate: turns pieces of speech into checked hypotheses."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from stt_mqtt.engine.quality import (
    Doubt,
    doubt_about,
    ends_sentence,
    is_alike,
    is_clear,
    is_loop,
    is_noise,
    is_prompted,
    prefer,
    repeats_prompt,
    said_once,
    strongest_voice,
)
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech, Transcriber
from stt_mqtt.engine.voice import CHUNK, VoiceDetector
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.stages import Stage, summed
from stt_mqtt.types import SAMPLE_RATE

if TYPE_CHECKING:
    from stt_mqtt.engine.phrases import CurrentBook

log = logging.getLogger(__name__)

CHUNKS_PER_S = SAMPLE_RATE / CHUNK
"""Probabilities of the voice detector per second."""


MAX_REMEMBERED = 4
"""Most pieces of an utterance whose hypotheses are remembered."""
_Setting: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Memo:
    """The hypotheses for the latest pieces of an utterance that is still open. Thread-safe.

    The same samples with the same settings get the same hypothesis, without inference.
    """

    for_end: bool = False
    """Whether the end of the utterance depends on the end of its sentence."""
    _hypotheses: dict[bytes, tuple[_Setting, Hypothesis]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    """A glimpse and the final utterance may be recognised at the same time."""

    def find(self, piece: Piece, setting: _Setting) -> Hypothesis | None:
        """The hypothesis for a piece. None: there is none under this setting."""
        with self._lock:
            known = self._hypotheses.get(piece.digest)
        return known[1] if known is not None and known[0] == setting else None

    def keep(self, piece: Piece, setting: _Setting, hypothesis: Hypothesis) -> None:
        """Remember a hypothesis. The oldest is forgotten."""
        with self._lock:
            self._hypotheses[piece.digest] = setting, replace(hypothesis, states=None, window=None)
            while len(self._hypotheses) > MAX_REMEMBERED:
                del self._hypotheses[next(iter(self._hypotheses))]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of speech. `speech_s`: seconds from the first to the last sound.

    `area`: where the device is, which selects phrases of the book. `memo`: what is known of the
    utterance from the time when it was open.
    """

    speech: Speech
    speech_s: float
    area: str | None = None
    memo: Memo | None = None

    @property
    def digest(self) -> bytes:
        """A digest of the samples."""
        return hashlib.blake2b(self.speech.samples.tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Recognizer:
    """Decodes pieces of speech together, judges each hypothesis, and retries doubtful ones."""

    transcriber: Transcriber
    voice: VoiceDetector
    current: CurrentBook | None = None
    """The phrase book. None: there is none."""

    @property
    def has_book(self) -> bool:
        """Whether there are phrases to recognise."""
        return self.current is not None and bool(self.current.book.languages)

    def names(self, area: str | None) -> tuple[str, ...]:
        """Names of the home as hotwords for a device in `area`, if they help the model."""
        if self.current is None or not self.transcriber.takes_names:
            return ()
        return self.current.book.hotwords(area)

    def recognize(
        self, pieces: Sequence[Piece], may_retry: bool
    ) -> Iterator[tuple[int, Hypothesis | UtteranceError]]:
        """Yield the index and hypothesis of each piece.

        Remembered pieces come first, retried ones last.
        """
        unknown: list[int] = []
        # The book may be replaced while the model works.
        settings = [self._setting(piece) for piece in pieces]
        for index, piece in enumerate(pieces):
            known = None if piece.memo is None else piece.memo.find(piece, settings[index])
            if known is None:
                unknown.append(index)
            else:
                yield index, replace(known, remembered=True)
        if unknown:
            found = self._decode([pieces[index] for index in unknown], may_retry)
            for place, answer in found:
                index, memo = unknown[place], pieces[unknown[place]].memo
                if memo is not None and isinstance(answer, Hypothesis):
                    judged = self._ended(answer) if pieces[index].speech.for_end else answer
                    memo.keep(pieces[index], settings[index], judged)
                    yield index, judged
                else:
                    yield index, answer

    def _setting(self, piece: Piece) -> _Setting:
        """What the hypothesis for the samples of a piece depends on."""
        book = None if self.current is None else self.current.book
        speech = piece.speech
        asked = speech.language, speech.languages, speech.prompt, speech.hotwords
        return self.transcriber, book, piece.area, speech.for_phrases, *asked

    def _decode(
        self, pieces: Sequence[Piece], may_retry: bool
    ) -> Iterator[tuple[int, Hypothesis | UtteranceError]]:
        """Yield the index and hypothesis of each piece. Retried pieces come last."""
        started = time.perf_counter()
        answers = self.transcriber.transcribe([piece.speech for piece in pieces])
        share_s = (time.perf_counter() - started) / len(pieces)
        doubtful: list[tuple[int, Hypothesis, Doubt]] = []
        for index, answer in enumerate(answers):
            since = time.perf_counter()
            judged, doubt = self._judge(pieces[index], answer)
            if isinstance(judged, UtteranceError):
                yield index, judged
                continue
            judged = self._phrase(pieces[index], judged)
            judge_s = time.perf_counter() - since
            stages = summed(judged.stages, {Stage.JUDGE: judge_s})
            judged = replace(judged, work_s=share_s + judge_s, stages=stages)
            if judged.phrase is not None:
                yield index, judged
            elif may_retry and doubt is not None:
                doubtful.append((index, judged, doubt))
            else:
                yield index, _believed(judged, pieces[index].speech)
        for index, first, doubt in doubtful:
            since = time.perf_counter()
            best = _without_loop(self._retry(pieces[index], first, doubt))
            best = self._phrase(pieces[index], best)
            retry_s = time.perf_counter() - since
            stages = summed(first.stages, {Stage.RETRY: retry_s})
            yield index, replace(best, work_s=first.work_s + retry_s, retried=True, stages=stages)

    def _phrase(self, piece: Piece, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis with the phrase of the book that was said, if it is one."""
        if self.current is None or not piece.speech.for_phrases:
            return hypothesis
        # Only with a book: hassil and rapidfuzz may be missing.
        from stt_mqtt.engine.phrases import completed, recognize

        book = self.current.book
        try:
            found = recognize(book, self.transcriber, hypothesis, piece.area)
            return found if piece.memo is None else completed(book, found, piece.area)
        except Exception:
            log.exception("the phrase book could not be used, please report this")
            return hypothesis

    def _ended(self, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis with the probability of the mark that ends its sentence."""
        window, text = hypothesis.window, hypothesis.text
        if window is None or hypothesis.phrase is not None or not ends_sentence(text):
            return hypothesis
        since = time.perf_counter()
        try:
            (scored,) = self.transcriber.score(window, [text], hypothesis.language)
        except Exception:
            log.exception("the end of a sentence could not be judged, please report this")
            return hypothesis
        work_s = hypothesis.work_s + time.perf_counter() - since
        return replace(hypothesis, end_prob=math.exp(scored.log_probs[-1]), work_s=work_s)

    def _judge(
        self, piece: Piece, answer: Hypothesis | UtteranceError
    ) -> tuple[Hypothesis | UtteranceError, Doubt | None]:
        """The judged answer, and the doubt if it should be decoded again.

        An unexpected exception affects only this piece.
        """
        if isinstance(answer, UtteranceError):
            return answer, None
        try:
            judged = self._without_noise(piece.speech, piece.speech_s, answer)
            if answer.text and not judged.text:
                return judged, None
            return judged, doubt_about(answer, piece.speech, piece.speech_s)
        except Exception as error:
            log.exception("a transcript could not be judged, please report this")
            return InferenceFailedError(f"unexpected {type(error).__name__}, see the log"), None

    def _without_noise(self, speech: Speech, speech_s: float, hypothesis: Hypothesis) -> Hypothesis:
        """The hypothesis, with an empty text if it comes from noise."""
        prompted = is_prompted(speech)
        clear = is_clear(hypothesis, self.transcriber.clear_no_speech_prob, prompted)
        if not hypothesis.text or clear:
            return hypothesis
        probabilities = self.voice.probabilities(speech.samples)
        voice = strongest_voice(probabilities, CHUNKS_PER_S)
        noise = is_noise(hypothesis, speech_s, voice, prompted)
        return replace(hypothesis, text="") if noise else hypothesis

    def _retry(self, piece: Piece, first: Hypothesis, doubt: Doubt) -> Hypothesis:
        """The better of the first hypothesis and a retry. The first if the retry fails."""
        try:
            return self._decoded_again(piece, first, doubt)
        except Exception:
            log.exception("a transcript could not be decoded again, please report this")
            return first

    def _decoded_again(self, piece: Piece, first: Hypothesis, doubt: Doubt) -> Hypothesis:
        speech = replace(piece.speech, language=first.language)
        if doubt is Doubt.SPARSE:
            (closer,) = self.transcriber.transcribe([speech], DecodePass.SECOND)
            return first if isinstance(closer, UtteranceError) else prefer(first, closer)
        speech = replace(speech, prompt=None, hotwords=())
        (plain,) = self.transcriber.transcribe([speech], DecodePass.PLAIN)
        if isinstance(plain, UtteranceError):
            return first
        if is_loop(first):
            return self._without_noise(speech, piece.speech_s, plain)
        if is_loop(plain) or (doubt is Doubt.LOOP and not plain.text):
            return _believed(first, piece.speech)
        if doubt is Doubt.PROMPTED and is_alike(first.text, plain.text):
            # The words of the prompt were really spoken. The prompt has the better spelling.
            return first
        return self._without_noise(speech, piece.speech_s, plain)


def _believed(hypothesis: Hypothesis, speech: Speech) -> Hypothesis:
    """The hypothesis as used without a retry: without loops and repetitions of the prompt."""
    if not is_prompted(speech):
        return _without_loop(hypothesis)
    once = replace(hypothesis, text=said_once(hypothesis.text))
    leaked = once.text != hypothesis.text and repeats_prompt(once.text, speech)
    return replace(once, text="") if leaked else _without_loop(once)


def _without_loop(hypothesis: Hypothesis) -> Hypothesis:
    """The hypothesis, with an empty text if it is a loop."""
    return replace(hypothesis, text="") if is_loop(hypothesis) else hypothesis
