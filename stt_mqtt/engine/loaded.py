"""A loaded Whisper network with its ears, its words, and its idea of silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from stt_mqtt.engine.calibration import UNCALIBRATED, Calibrated, Floats, Window
from stt_mqtt.engine.memory import give_back_freed_memory
from stt_mqtt.engine.window import Silence, framed
from stt_mqtt.engine.words import Words
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import Samples

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper


class LoadedModel:
    """The parts of a model: the network, its ears, its words, and its idea of silence.

    `calibrated` None: nobody measured this model, so every look reads the full window.
    """

    def __init__(
        self,
        name: str,
        network: Whisper,
        features: Callable[[Samples], Floats],
        words: Words,
        calibrated: Calibrated | None,
    ) -> None:
        self.name = name
        self.words = words
        self.is_calibrated = calibrated is not None
        self.calibration = UNCALIBRATED if calibrated is None else calibrated.calibration
        self._network: Whisper | None = network
        self._features = features
        self._silence: Silence | None = None
        if calibrated is not None and calibrated.silence is not None:
            self._silence = Silence(calibrated.silence)
        elif calibrated is not None:
            self._silence = self.hear_silence(calibrated.calibration.silence_level)

    @property
    def network(self) -> Whisper:
        """The network. Raises InferenceFailedError once the model is closed."""
        if self._network is None:
            raise InferenceFailedError(f"model {self.name} is closed")
        return self._network

    def close(self) -> None:
        """Free the weights, as soon as the last running transcription has ended."""
        self._network = None
        give_back_freed_memory()

    def states(self, samples: Samples, window: Window) -> Floats:
        """What the encoder hears in a piece of speech; shape (states, width)."""
        states = self._encode(self._features(framed(samples, window)))
        return states if self._silence is None else self._silence.behind(states, window)

    def hear_silence(self, level: float) -> Silence:
        """What the encoder makes of a full window of silence, at a log-mel level."""
        return Silence.heard_by(self._encode, self.network.n_mels, level)

    def _encode(self, frames: Floats) -> Floats:
        encoded = self.network.encode(as_view(frames[np.newaxis]), to_cpu=True)
        states: Floats = np.array(encoded, np.float32)[0]
        return states


def as_view(array: Floats) -> StorageView:
    """An array as CTranslate2 takes it."""
    from ctranslate2 import StorageView

    return StorageView.from_array(np.ascontiguousarray(array, np.float32))
