"""Transcribes recordings of any length in stretches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stt_mqtt.audio.decode import Decoding
from stt_mqtt.engine.pauses import cut_at_pauses
from stt_mqtt.engine.pipeline import Pipeline, Progress
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Codec,
    EncodedAudio,
    InferenceResult,
    Samples,
    Transcript,
    Utterance,
)

_DECODED = AudioFormat(Codec.PCM_F32LE, SAMPLE_RATE, 1)


@dataclass(frozen=True, slots=True)
class Recording:
    """Audio that may be too long to decode into memory at once.

    `asked`: an utterance without audio, with the parameters. `stretch_s`: most seconds that are
    decoded at a time.
    """

    audio: EncodedAudio
    asked: Utterance
    stretch_s: float

    def transcribe(self, pipeline: Pipeline, progress: Progress | None = None) -> InferenceResult:
        """Transcribe all of it. Raises as `Pipeline.transcribe` does.

        `progress` is called with the seconds of speech that are done and that are known so far.
        """
        found: list[InferenceResult] = []
        told_s = 0.0

        def tell(done_s: float, of_s: float) -> None:
            nonlocal told_s
            if progress is not None:
                progress(before_s + done_s, before_s + of_s)
            told_s = before_s + of_s

        decoding = Decoding(self.audio)
        try:
            for stretch in stretches(decoding, self.stretch_s):
                before_s = told_s
                audio = EncodedAudio(_DECODED, stretch.tobytes(), ready=True)
                found.append(pipeline.transcribe(replace(self.asked, audio=audio), tell))
        except UtteranceError as error:
            error.hint = decoding.hint
            raise
        return replace(join(found), hint=decoding.hint)


def stretches(pieces: Iterable[Samples], max_s: float) -> Iterator[Samples]:
    """Split audio at pauses into at least one stretch of at most `max_s` seconds."""
    longest = round(max_s * SAMPLE_RATE)
    waiting: list[Samples] = [np.empty(0, np.float32)]
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length > longest:
            *ready, last = cut_at_pauses(np.concatenate(waiting), max_s)
            yield from ready
            waiting, length = [last], len(last)
    yield np.concatenate(waiting)


def join(found: Sequence[InferenceResult]) -> InferenceResult:
    """Join the results of all stretches. The numbers are means, weighted by words.

    A phrase of the book is one stretch. Of several, the text is what was heard.
    """
    if len(found) == 1:
        return found[0]
    transcripts = [one.transcript for one in found if one.transcript is not None]
    transcript, first = None, found[0]
    if transcripts:
        first = next(one for one in found if one.transcript is not None)
        words = [len(transcript.text.split()) for transcript in transcripts]
        weights = [max(count, 1) for count in words]
        transcript = Transcript(
            text=" ".join(transcript.free for transcript in transcripts if transcript.text),
            language=transcripts[words.index(max(words))].language,
            confidence=float(np.average([t.confidence for t in transcripts], weights=weights)),
            no_speech_prob=float(
                np.average([t.no_speech_prob for t in transcripts], weights=weights)
            ),
        )
    return replace(first, audio_s=sum(one.audio_s for one in found), transcript=transcript)
