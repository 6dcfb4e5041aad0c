"""What happens to one utterance on an inference thread: decode, speech gate, model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.gate import find_speech
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.transcriber import Speech, Transcriber
from stt_mqtt.errors import TooLongError, TooShortError
from stt_mqtt.types import SAMPLE_RATE, Heard, Utterance

Progress: TypeAlias = Callable[[float, float], None]

MIN_UTTERANCE_S = 0.1
"""Less audio than this is an error of the device, not an utterance."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The way from coded audio to words, the same for the service and for files.

    `max_s`: audio beyond this many seconds is cut off.
    """

    transcriber: Transcriber
    gate: GateConfig
    max_s: float

    def run(self, utterance: Utterance, progress: Progress | None = None) -> Heard:
        """Find out what was said. `progress` is told the seconds of speech done, and of how many.

        Raises an `UtteranceError`: `CorruptAudioError`, `UnsupportedFormatError`,
        `TooShortError`, `TooLongError`, `UnsupportedLanguageError` or `InferenceFailedError`.
        """
        decoded = decode(utterance.audio, self.max_s)
        if decoded.truncated and utterance.reject_over_cap:
            raise TooLongError(f"the audio is longer than {self.max_s:g} s")
        audio_s = len(decoded.samples) / SAMPLE_RATE
        if audio_s < MIN_UTTERANCE_S:
            raise TooShortError(
                f"{audio_s * 1000:.0f} ms of audio, at least {MIN_UTTERANCE_S * 1000:.0f} needed"
            )
        found = find_speech(decoded.samples, self.gate)
        if found is None:
            return Heard(audio_s, None, None, decoded.truncated)
        speech = decoded.samples[found.start : found.end]
        started = time.perf_counter()
        wanted = Speech(speech, utterance.language, utterance.prompt)
        speech_s = len(speech) / SAMPLE_RATE
        transcript = self.transcriber.transcribe(
            wanted, None if progress is None else lambda done_s: progress(done_s, speech_s)
        )
        infer_s = time.perf_counter() - started
        return Heard(audio_s, transcript, infer_s, decoded.truncated)
