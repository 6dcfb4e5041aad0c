"""Streaming resampling to `SAMPLE_RATE`."""

from __future__ import annotations

import av
import numpy as np

from stt_mqtt.types import SAMPLE_RATE, Samples

_NOTHING = np.empty(0, np.float32)
_BATCH = 16_384
"""Samples that are resampled at once."""


class Resampler:
    """Brings mono audio of one rate to `SAMPLE_RATE`, piece by piece, without seams."""

    def __init__(self, rate: int) -> None:
        """`rate` of the input in Hz."""
        self._rate = rate
        self._resampler: av.AudioResampler | None = None
        if rate != SAMPLE_RATE:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        self._taken = 0
        self._given = 0

    def push(self, mono: Samples) -> Samples:
        """What can be said after `mono`; the last few milliseconds stay inside."""
        if self._resampler is None:
            return mono
        self._taken += len(mono)
        return self._resample(mono)

    def flush(self) -> Samples:
        """The rest: in all as long as the input. Nothing may be pushed afterwards."""
        if self._resampler is None:
            return _NOTHING
        # The filter looks ahead: only with silence behind it the last samples come out.
        return self._resample(np.zeros(self._rate // 20, np.float32))

    def _resample(self, mono: Samples) -> Samples:
        if self._resampler is None or not len(mono):
            return _NOTHING
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(mono).reshape(1, -1), format="flt", layout="mono"
        )
        frame.sample_rate = self._rate
        frames = self._resampler.resample(frame)
        if not frames:
            return _NOTHING
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        due = -(-self._taken * SAMPLE_RATE // self._rate) - self._given
        samples = samples[:due].clip(-1, 1)
        self._given += len(samples)
        return samples


class BatchResampler:
    """The same, with many tiny pieces taken together, because each call costs."""

    def __init__(self, rate: int) -> None:
        """`rate` of the input in Hz."""
        self._resampler = Resampler(rate)
        self._pending = bytearray()

    def push(self, mono: Samples) -> Samples:
        """What can be said after `mono`, mostly nothing where pieces are tiny."""
        self._pending += mono.tobytes()
        return self._flush() if len(self._pending) >= _BATCH * mono.itemsize else _NOTHING

    def finish(self) -> Samples:
        """The rest: in all as long as the input. Nothing may be pushed afterwards."""
        return np.concatenate([self._flush(), self._resampler.flush()])

    def _flush(self) -> Samples:
        mono = np.frombuffer(bytes(self._pending), np.float32)
        self._pending.clear()
        return self._resampler.push(mono)
