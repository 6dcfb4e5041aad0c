"""Whisper through faster-whisper: a loaded model as a `Transcriber`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stt_mqtt.config import EngineConfig
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.memory import give_back_freed_memory, keep_freed_memory
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.transcriber import Speech, normalise_language
from stt_mqtt.errors import (
    InferenceFailedError,
    MissingExtraError,
    ModelError,
    UnsupportedLanguageError,
)
from stt_mqtt.types import SAMPLE_RATE, Samples, Transcript

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment

WINDOW_S = 30.0
"""Audio that Whisper reads at once, in seconds."""

# Whisper's own rule for silence: it says so, and does not believe its words either.
SILENCE_NO_SPEECH_PROB = 0.6
SILENCE_LOG_PROB = -1.0


def load(
    model: ResolvedModel, options: EngineConfig, parallelism: Parallelism
) -> WhisperTranscriber:
    """Load `model` and warm it up. Raises ModelError or MissingExtraError."""
    keep_freed_memory()
    # Read once by huggingface_hub, when it is first imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise MissingExtraError(error.name) from error
    try:
        library = WhisperModel(
            str(model.folder),
            device="cpu",
            compute_type=options.compute_type,
            cpu_threads=parallelism.threads,
            num_workers=parallelism.workers,
        )
        transcriber = WhisperTranscriber(model.name, library, options.beam_size)
        transcriber.transcribe(Speech(_quiet_noise()))
    except Exception as error:
        raise ModelError(
            f"model {model.name} in {model.folder} cannot be used "
            f"with engine.compute_type {options.compute_type}: {error}"
        ) from error
    return transcriber


class WhisperTranscriber:
    """A loaded faster-whisper model; see `Transcriber`."""

    def __init__(self, name: str, model: WhisperModel, beam_size: int) -> None:
        self._name = name
        self._model: WhisperModel | None = model
        self._beam_size = beam_size
        self._languages = frozenset(model.supported_languages)

    @property
    def model(self) -> str:
        """Name shown in results."""
        return self._name

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model speaks."""
        return self._languages

    def transcribe(
        self, speech: Speech, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """What was said. Raises UnsupportedLanguageError or InferenceFailedError."""
        model = self._model
        if model is None:
            raise InferenceFailedError(f"model {self._name} is closed")
        audio_s = len(speech.samples) / SAMPLE_RATE
        language = self._language_of(speech.language)
        try:
            stream, info = model.transcribe(
                speech.samples,
                language=language,
                beam_size=self._beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                initial_prompt=prompt_tokens(model, speech.prompt),
                # Timestamps say where the next window starts; a single window needs none.
                without_timestamps=audio_s <= WINDOW_S,
                # Left to `summarise`, because the library forgets the numbers of what it drops.
                no_speech_threshold=None,
            )
        except Exception as error:
            raise self._failed(error) from error
        segments: list[Segment] = []
        for segment in self._guarded(stream):
            segments.append(segment)
            if progress is not None:
                progress(min(segment.end, audio_s))
        if progress is not None:
            progress(audio_s)
        return summarise(segments, info.language)

    def close(self) -> None:
        """Free the weights, as soon as the last running transcription has ended."""
        # The library's own unload_model does nothing where it finds a lock taken.
        self._model = None
        give_back_freed_memory()

    def _language_of(self, tag: str | None) -> str | None:
        language = None if tag is None else normalise_language(tag)
        if language is not None and language not in self._languages:
            raise UnsupportedLanguageError(
                f"model {self._name} does not speak {language!r}"
                + ("; it speaks English only" if self._languages == {"en"} else "")
            )
        return language

    def _guarded(self, stream: Iterator[Segment]) -> Iterator[Segment]:
        try:
            yield from stream
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> InferenceFailedError:
        reason = str(error)[:200] or type(error).__name__
        return InferenceFailedError(f"model {self._name} failed: {reason}")


def prompt_tokens(model: WhisperModel, prompt: str | None) -> list[int] | None:
    """The words of a prompt as the model's tokens; None where there are none.

    Whisper's control tokens, written out in a prompt, would steer the decoder: they are left out.
    """
    if prompt is None or not prompt.strip():
        return None
    tokenizer = model.hf_tokenizer
    tokens = tokenizer.encode(" " + prompt.strip(), add_special_tokens=False).ids
    first_control_token = tokenizer.token_to_id("<|endoftext|>")
    return [token for token in tokens if token < first_control_token]


def summarise(segments: Sequence[Segment], language: str) -> Transcript:
    """One transcript of all segments; the numbers are means weighted by tokens.

    What counts as silence leaves no text but still counts in the numbers.
    """
    weights = [len(segment.tokens) for segment in segments]
    if not any(weights):
        return Transcript(text="", language=language, confidence=0.0, no_speech_prob=1.0)
    log_prob = np.average([segment.avg_logprob for segment in segments], weights=weights)
    no_speech_prob = np.average([segment.no_speech_prob for segment in segments], weights=weights)
    text = "".join(segment.text for segment in segments if not is_silence(segment)).strip()
    return Transcript(
        text=text if any(character.isalnum() for character in text) else "",
        language=language,
        confidence=min(1.0, math.exp(log_prob)),
        no_speech_prob=float(no_speech_prob),
    )


def is_silence(segment: Segment) -> bool:
    """Whether the model hears nothing in a segment that it has put words to."""
    return bool(
        segment.no_speech_prob > SILENCE_NO_SPEECH_PROB and segment.avg_logprob < SILENCE_LOG_PROB
    )


def _quiet_noise() -> Samples:
    noise = np.random.default_rng(seed=0).standard_normal(SAMPLE_RATE)
    return (noise * 1e-3).astype(np.float32)
