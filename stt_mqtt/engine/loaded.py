"""A loaded Whisper network with its features, tokenizer and silence padding.

Whisper's encoder reads 30 s. Here it reads a short window: the speech with a little silence around
it. Cached encoder states of silence replace the rest. Encoder states have the shape (states,
width), 20 ms each. Log-mel frames have the shape (mels, frames), 10 ms each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from stt_mqtt.engine.calibration import UNCALIBRATED, WINDOW_S, Calibrated, Floats, Window
from stt_mqtt.engine.resources import give_back_freed_memory
from stt_mqtt.engine.tokenizer import WhisperTokenizer
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import SAMPLE_RATE, Samples

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper

FRAMES_PER_S = 100
LONG_S = 16
"""Longer windows are encoded one at a time. Their memory grows with the square of the length: 54 MB
with 30 s and tiny.en. The windows of commands are not longer, also with base."""


class LoadedModel:
    """A network, the log-mel `features` of its input, its tokenizer and its calibration.

    `calibrated` None: the model has no calibration, so every pass reads the full window.
    """

    def __init__(
        self,
        name: str,
        network: Whisper,
        features: Callable[[Samples], Floats],
        tokenizer: WhisperTokenizer,
        calibrated: Calibrated | None,
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.is_calibrated = calibrated is not None
        self.calibration = UNCALIBRATED if calibrated is None else calibrated.calibration
        self._network: Whisper | None = network
        self._features = features
        self._long_turn = Lock()
        """Held by the thread that encodes a long window."""
        self._silence: Silence | None = None
        if calibrated is not None and calibrated.silence is not None:
            self._silence = Silence(calibrated.silence)
        elif calibrated is not None:
            self._silence = self.encode_silence(calibrated.calibration.silence_level)

    @property
    def network(self) -> Whisper:
        """The network. Raises InferenceFailedError if the model is closed."""
        if self._network is None:
            raise InferenceFailedError(f"model {self.name} is closed")
        return self._network

    def close(self) -> None:
        """Free the weights as soon as the last running transcription ends."""
        self._network = None
        give_back_freed_memory()

    def states(self, samples: Samples, window: Window) -> Floats:
        """Encoder states of a piece of speech with silence padding; shape (states, width)."""
        states = self._encode(self._features(padded(samples, window)))
        return states if self._silence is None else self._silence.append_to(states, window)

    def encode_silence(self, level: float) -> Silence:
        """Encoder states of a full window of silence at a log-mel level."""
        frames = np.full((self.network.n_mels, round(WINDOW_S * FRAMES_PER_S)), level, np.float32)
        return Silence(self._encode(frames))

    def _encode(self, frames: Floats) -> Floats:
        # Without a calibration every window is long. Then speed is worth more.
        is_long = self.is_calibrated and frames.shape[1] > LONG_S * FRAMES_PER_S
        with self._long_turn if is_long else nullcontext():
            encoded = self.network.encode(as_view(frames[np.newaxis]), to_cpu=True)
        states: Floats = np.array(encoded, np.float32)[0]
        return states


def as_view(array: Floats) -> StorageView:
    """Convert an array to a view for CTranslate2."""
    from ctranslate2 import StorageView

    return StorageView.from_array(np.ascontiguousarray(array, np.float32))


def window_s(window: Window, speech_s: float) -> int:
    """Length of the encoded window for a piece of speech, in whole seconds.

    Pieces with windows of the same length are decoded together.
    """
    wanted = max(window.lead_s + speech_s + window.pad_s, window.min_s)
    return math.ceil(min(wanted, WINDOW_S))


def padded(samples: Samples, window: Window) -> Samples:
    """The speech padded with silence to the length of its window, or cut to it."""
    lead = round(window.lead_s * SAMPLE_RATE)
    whole = np.zeros(window_s(window, len(samples) / SAMPLE_RATE) * SAMPLE_RATE, np.float32)
    room = whole[lead:]
    room[: len(samples)] = samples[: len(room)]
    return whole


@dataclass(frozen=True, slots=True)
class Silence:
    """Encoder states of silence, one for each position of the full window."""

    states: Floats

    def append_to(self, states: Floats, window: Window) -> Floats:
        """The states of a window, followed by the tail of silence that the window requires."""
        rest = self.states[len(states) :]
        kept = min(window.tail_states, len(rest))
        tail = rest[len(rest) - kept :: window.tail_stride]
        return np.concatenate([states, tail]) if kept else states
