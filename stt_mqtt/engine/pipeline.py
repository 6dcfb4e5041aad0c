"""From encoded audio to text, in an inference thread: decode, speech gate, model, quality gate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.audio.endpoint import end_of_speech
from stt_mqtt.audio.gate import SpeechSpan, find_parts, find_speech
from stt_mqtt.audio.levels import measure
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.pauses import cut_at_pauses, judge_pauses, without_pauses
from stt_mqtt.engine.quality import is_loop, without_echo
from stt_mqtt.engine.recognizer import Memo, Piece, Recognizer
from stt_mqtt.engine.transcriber import MAX_SPEECH_S, Hypothesis, Speech
from stt_mqtt.errors import (
    InferenceFailedError,
    TooLongError,
    TooShortError,
    UnsupportedLanguageError,
    UtteranceError,
)
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.stages import Stage, StageTimes, summed
from stt_mqtt.types import (
    SAMPLE_RATE,
    Batch,
    Completion,
    InferenceResult,
    Samples,
    Transcript,
    Utterance,
    Verdict,
    normalise_language,
)

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[float, float], None]

MIN_UTTERANCE_S = 0.1
"""Shortest utterance. Less audio is an error of the device."""
TAIL_MS = 90
"""Audio that is kept after the last sound of speech, in milliseconds."""
NO_SAMPLES: Samples = np.zeros(0, np.float32)
FILE_TOGETHER = 4
"""Most pieces of a long file that are decoded together."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """From encoded audio to text, for the service and for files.

    `max_s`: audio beyond this many seconds is cut off. `languages`: the allowed languages, which
    may be fewer than the model supports.
    """

    recognizer: Recognizer
    gate: GateConfig
    max_s: float
    rung: str
    languages: frozenset[str]
    decoders: Decoders = IN_THIS_PROCESS

    def run(self, batch: Batch, progress: Progress | None = None) -> Iterator[tuple[int, Verdict]]:
        """Yield the index and verdict of each utterance in the batch as soon as it is known.

        Retried utterances come last. `progress` is called with the seconds of speech that are done
        and the total.
        """
        waiting: dict[int, _Assembly] = {}
        pieces: list[_Placed] = []
        for index, utterance in enumerate(batch.utterances):
            try:
                if utterance.draft_after is not None:
                    yield index, self._draft(utterance, utterance.draft_after)
                    continue
                assembly, speeches = self._prepare(utterance)
            except UtteranceError as error:
                yield index, error
            except Exception as error:
                yield index, _unexpected(error, utterance)
            else:
                if not speeches:
                    # The speech gate found no speech, so there is no inference.
                    yield index, assembly.without_speech()
                    continue
                waiting[index] = assembly
                pieces += [_Placed(index, place, piece) for place, piece in enumerate(speeches)]
        # Short utterances first, so that they do not wait for a long one.
        pieces.sort(key=lambda placed: waiting[placed.utterance].pieces)
        of_s, done_s = sum(placed.piece.speech_s for placed in pieces), 0.0
        started = time.perf_counter()
        for start in range(0, len(pieces), batch.together):
            together = pieces[start : start + batch.together]
            found = self.recognizer.recognize([p.piece for p in together], batch.may_retry)
            for number, answer in found:
                placed = together[number]
                done_s += placed.piece.speech_s
                if progress is not None:
                    progress(done_s, of_s)
                verdict = waiting[placed.utterance].add(placed.place, answer)
                if verdict is not None:
                    yield placed.utterance, self._completed(verdict, time.perf_counter() - started)

    def transcribe(self, utterance: Utterance, progress: Progress | None = None) -> InferenceResult:
        """Transcribe one utterance. Retries are allowed.

        Raises an `UtteranceError`: `CorruptAudioError`, `UnsupportedFormatError`,
        `TooShortError`, `TooLongError`, `UnsupportedLanguageError` or `InferenceFailedError`.
        """
        batch = Batch(0, (utterance,), may_retry=True, together=FILE_TOGETHER)
        ((_, verdict),) = self.run(batch, progress)
        if isinstance(verdict, UtteranceError):
            raise verdict
        return verdict

    def _draft(self, utterance: Utterance, after: str) -> InferenceResult:
        """A draft of the text of an open utterance. It is not judged, except for loops.

        There is no transcript if nothing was heard, or if the speech is too long for the model.
        """
        started = time.perf_counter()
        decoded = self.decoders.whole(utterance.audio, self.max_s)
        audio_s = len(decoded.samples) / SAMPLE_RATE
        found = find_speech(decoded.samples, self.gate)
        if found is None or audio_s - found.start / SAMPLE_RATE > MAX_SPEECH_S:
            return InferenceResult(audio_s)
        language, allowed = self._languages(utterance)
        speech = Speech(
            decoded.samples[found.start :], language, allowed, utterance.prompt, utterance.hotwords
        )
        hypothesis = self.recognizer.transcriber.draft(speech, after)
        work_s = time.perf_counter() - started
        if is_loop(hypothesis):
            return InferenceResult(audio_s, work_s=work_s)
        once = replace(hypothesis, text=without_echo(hypothesis.text))
        return InferenceResult(audio_s, join([once]), work_s=work_s)

    def _prepare(self, utterance: Utterance) -> tuple[_Assembly, list[Piece]]:
        """Decode an utterance and find its pieces of speech. Silence has none."""
        started = time.perf_counter()
        decoded = self.decoders.whole(utterance.audio, self.max_s)
        decoded_at = time.perf_counter()
        audio_s = len(decoded.samples) / SAMPLE_RATE
        error = self._unfit(utterance, audio_s, decoded.truncated)
        if error is not None:
            error.hint = decoded.hint
            raise error
        language, allowed = self._languages(utterance)
        parts = self._parts(decoded.samples)
        found = list(self._pieces(decoded.samples, parts))
        levels = measure(decoded.samples, [span for part in parts for span in part])
        gate_s = time.perf_counter() - decoded_at
        memo = utterance.memo if isinstance(utterance.memo, Memo) else None
        for_end = memo is not None and memo.for_end
        for_phrases = self.recognizer.has_book and utterance.phrases
        hotwords = utterance.hotwords
        if for_phrases and not utterance.prompt and not hotwords:
            hotwords = self.recognizer.names(utterance.area)
        asked = Speech(
            NO_SAMPLES, language, allowed, utterance.prompt, hotwords, for_phrases, for_end
        )
        pieces = [
            Piece(replace(asked, samples=samples), speech_s, utterance.area, memo)
            for samples, speech_s in found
        ]
        stages = {Stage.DECODE: decoded_at - started, Stage.GATE: gate_s}
        assembly = _Assembly(audio_s, decoded.truncated, len(pieces), decoded.hint, levels, stages)
        return assembly, pieces

    def _unfit(
        self, utterance: Utterance, audio_s: float, truncated: bool
    ) -> UtteranceError | None:
        """Why audio of this length is refused; None: it is not."""
        if truncated and utterance.reject_over_cap:
            return TooLongError(f"the audio is longer than {self.max_s:g} s")
        if audio_s < MIN_UTTERANCE_S:
            return TooShortError(
                f"{audio_s * 1000:.0f} ms of audio, at least {MIN_UTTERANCE_S * 1000:.0f} needed"
            )
        return None

    def _languages(self, utterance: Utterance) -> tuple[str | None, tuple[str, ...]]:
        """The language if it is known, and the languages to detect among."""
        if utterance.language is not None:
            return utterance.language, ()
        wanted = {normalise_language(tag) for tag in utterance.languages} or self.languages
        allowed = sorted(wanted & self.languages)
        if not allowed:
            raise UnsupportedLanguageError(
                f"none of the languages {', '.join(sorted(wanted))} is spoken by this service"
            )
        return (allowed[0], ()) if len(allowed) == 1 else (None, tuple(allowed))

    def _parts(self, samples: Samples) -> list[list[SpeechSpan]]:
        """The parts of the speech, each as the spans between shortened pauses.

        Audio after the end of speech has no influence. So a glimpse has the same pieces as the
        finished utterance, if nobody spoke after it.
        """
        end = end_of_speech(samples) if self.gate.enabled else None
        if end is not None:
            samples = samples[: end + TAIL_MS * SAMPLE_RATE // 1000]
        return find_parts(samples, self.gate, judge_pauses)

    def _pieces(
        self, samples: Samples, parts: Iterable[Sequence[SpeechSpan]]
    ) -> Iterator[tuple[Samples, float]]:
        """Pieces of speech that are short enough for the model, with the seconds of each."""
        for part in parts:
            found, speech_s = without_pauses(samples, part)
            cuts = cut_at_pauses(found, MAX_SPEECH_S)
            if len(cuts) == 1:
                yield found, speech_s
                continue
            for cut in cuts:
                # A cut piece may have silence at its edges, or consist of silence.
                within = find_speech(cut, self.gate)
                if within is not None:
                    yield cut[within.start : within.end], within.speech_s

    def _completed(self, verdict: Verdict, infer_s: float) -> Verdict:
        if isinstance(verdict, UtteranceError):
            return verdict
        model = self.recognizer.transcriber.model
        return replace(verdict, model=model, rung=self.rung, infer_s=infer_s)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A piece of speech: the index of its utterance, and its place in it."""

    utterance: int
    place: int
    piece: Piece


@dataclass(slots=True)
class _Assembly:
    """Collects the hypotheses of the pieces of one utterance."""

    audio_s: float
    truncated: bool
    pieces: int
    hint: Hint | None
    levels: Levels | None
    stages: StageTimes
    found: dict[int, Hypothesis] = field(default_factory=dict)
    failed: bool = False

    def add(self, place: int, answer: Hypothesis | UtteranceError) -> Verdict | None:
        """Add the answer for one piece.

        Returns the verdict if the answer is the last one or the first error.
        """
        if self.failed:
            return None
        if isinstance(answer, UtteranceError):
            self.failed = True
            return answer
        self.found[place] = answer
        return self._joined() if len(self.found) == self.pieces else None

    def without_speech(self) -> InferenceResult:
        return InferenceResult(
            self.audio_s,
            truncated=self.truncated,
            hint=self.hint,
            levels=self.levels,
            stages=self.stages,
        )

    def _joined(self) -> InferenceResult:
        hypotheses = [self.found[place] for place in range(self.pieces)]
        new = [hypothesis for hypothesis in hypotheses if not hypothesis.remembered]
        return replace(
            self.without_speech(),
            transcript=join(hypotheses),
            work_s=sum(hypothesis.work_s for hypothesis in new),
            retried=any(hypothesis.retried for hypothesis in hypotheses),
            remembered_s=None if new else sum(hypothesis.work_s for hypothesis in hypotheses),
            stages=summed(self.stages, *(hypothesis.stages for hypothesis in new)),
        )


def join(hypotheses: Sequence[Hypothesis]) -> Transcript:
    """Join the hypotheses of all pieces. The numbers are means, weighted by tokens.

    A piece without text still counts in the means. A phrase of the book is one piece: if several
    have text, it is the text that was heard.
    """
    weights = [max(hypothesis.tokens, 1) for hypothesis in hypotheses]
    log_prob = np.average([h.mean_log_prob for h in hypotheses], weights=weights)
    spoken = [hypothesis for hypothesis in hypotheses if hypothesis.text]
    only = spoken[0] if len(spoken) == 1 else None
    return Transcript(
        text=only.text if only is not None else " ".join(h.heard or h.text for h in spoken),
        language=max(hypotheses, key=lambda h: (bool(h.text), h.tokens)).language,
        confidence=min(1.0, math.exp(log_prob)),
        no_speech_prob=float(np.average([h.no_speech_prob for h in hypotheses], weights=weights)),
        heard=None if only is None else only.heard,
        phrase=None if only is None else only.phrase,
        completion=Completion.NONE if only is None else only.completion,
        end_prob=spoken[-1].end_prob if spoken else 0.0,
    )


def _unexpected(error: Exception, utterance: Utterance) -> InferenceFailedError:
    log.error(
        "an utterance could not be prepared, please report this",
        exc_info=error,
        extra={"device": str(utterance.key), "utterance": utterance.id},
    )
    return InferenceFailedError(f"unexpected {type(error).__name__}, see the log")
