"""Models that hear the same in everything, and tell when they are closed."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.loaded import LoadedModel
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.types import Samples
from tests.engine.scripted import END_OF_TEXT, whisper_tokenizer

TIMEOUT_S = 60
MELS = 8


class Network:
    """Stands in for CTranslate2. While it is held it stays in the encoder."""

    n_mels = MELS

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        """One for each utterance that has reached the encoder."""
        self.may_go_on = threading.Semaphore(0)
        self.held = False
        self.beams: list[int] = []
        """Of each call to the decoder."""

    def encode(self, features: Any, to_cpu: bool) -> Floats:
        self.entered.release()
        if self.held:
            assert self.may_go_on.acquire(timeout=TIMEOUT_S)
        return np.zeros((1, np.array(features).shape[2] // 2, 4), np.float32)

    def generate(self, features: Any, prompts: list[list[int]], **options: Any) -> list[Any]:
        self.beams.append(options["beam_size"])
        said = whisper_tokenizer("en").pairs.encode("Yes.")
        answer = SimpleNamespace(sequences_ids=[said], scores=[-0.1], no_speech_prob=0.01)
        assert END_OF_TEXT not in said
        return [answer] * len(prompts)


class Features:
    """Stands in for the mel spectrogram."""

    def __call__(self, samples: Samples) -> Floats:
        return np.zeros((MELS, len(samples) // 160), np.float32)


class Model(LoadedModel):
    """A model that counts how often it is closed."""

    def __init__(self, name: str, *languages: str) -> None:
        self.toy = Network()
        self.closes = 0
        self.closed = threading.Event()
        super().__init__(
            name, self.toy, Features(), whisper_tokenizer(*(languages or ("en",))), None
        )

    def close(self) -> None:
        super().close()
        self.closes += 1
        self.closed.set()

    @property
    def transcriber(self) -> WhisperTranscriber:
        """It, with a beam of 5."""
        return WhisperTranscriber(self, 5)
