"""Where decoded audio of any rate flows together, as 16 kHz mono, up to a limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stt_mqtt.audio.resample import Resampler
from stt_mqtt.types import Samples

_BATCH = 16_384
"""Samples that are resampled at once, so that many tiny frames do not cost a call each."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Audio ready for the model; `truncated`: there was more than fits the limit."""

    samples: Samples
    truncated: bool


class Sink:
    """Takes mono samples piece by piece, holds at most `max_s` seconds of them."""

    def __init__(self, rate: int, max_s: float) -> None:
        """`rate` of what is pushed, in Hz."""
        self.room = int(max_s * rate)
        self._resampler = Resampler(rate)
        self._pending = bytearray()
        self._out = bytearray()
        self._truncated = False

    def push(self, mono: Samples) -> bool:
        """Add samples; False: they did not all fit, no more are wanted."""
        if len(mono) > self.room:
            mono = mono[: self.room]
            self._truncated = True
        self.room -= len(mono)
        self._pending += mono.tobytes()
        if len(self._pending) >= _BATCH * mono.itemsize:
            self._resample()
        return not self._truncated

    def finish(self) -> Decoded:
        """Everything that was pushed. Nothing may be pushed afterwards."""
        self._resample()
        self._out += self._resampler.flush().tobytes()
        return Decoded(np.frombuffer(self._out, np.float32), self._truncated)

    def _resample(self) -> None:
        mono = np.frombuffer(bytes(self._pending), np.float32)
        self._pending.clear()
        self._out += self._resampler.push(mono).tobytes()
