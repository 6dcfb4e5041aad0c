"""The short window: what the encoder reads, and the cached silence that stands for the rest.

Encoder states have the shape (states, width), 20 ms each; log-mel frames the shape (mels, frames),
10 ms each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stt_mqtt.engine.calibration import WINDOW_S, Floats, Window
from stt_mqtt.types import SAMPLE_RATE, Samples

FRAMES_PER_S = 100


def window_s(window: Window, speech_s: float) -> int:
    """Whole seconds that are encoded for a piece of speech.

    Whole, because utterances whose windows are equal are decoded together.
    """
    wanted = max(window.lead_s + speech_s + window.pad_s, window.min_s)
    return math.ceil(min(wanted, WINDOW_S))


def framed(samples: Samples, window: Window) -> Samples:
    """The speech within its window, silence around it; what does not fit is cut off."""
    lead = round(window.lead_s * SAMPLE_RATE)
    padded = np.zeros(window_s(window, len(samples) / SAMPLE_RATE) * SAMPLE_RATE, np.float32)
    room = padded[lead:]
    room[: len(samples)] = samples[: len(room)]
    return padded


@dataclass(frozen=True, slots=True)
class Silence:
    """What the encoder makes of silence, one state for each place of the full window."""

    states: Floats

    @classmethod
    def heard_by(cls, encode: Callable[[Floats], Floats], mels: int, level: float) -> Silence:
        """Have the encoder hear a full window of silence, once."""
        frames = np.full((mels, round(WINDOW_S * FRAMES_PER_S)), level, np.float32)
        return cls(encode(frames))

    def behind(self, states: Floats, window: Window) -> Floats:
        """The states of a window with the silence that follows them."""
        rest = self.states[len(states) :]
        kept = min(window.tail_states, len(rest))
        tail = rest[len(rest) - kept :: window.tail_stride]
        return np.concatenate([states, tail]) if kept else states
