"""Streaming resampling to `SAMPLE_RATE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stt_mqtt.types import SAMPLE_RATE, Planar

if TYPE_CHECKING:
    import av

_BATCH = 16_384
"""Samples that are resampled at once."""


class Resampler:
    """Brings audio of one rate to `SAMPLE_RATE`, piece by piece."""

    def __init__(self, rate: int, channels: int = 1) -> None:
        """`rate` of the input in Hz."""
        self._rate = rate
        self._layout = "mono" if channels == 1 else "stereo"
        self._resampler: av.AudioResampler | None = None
        if rate != SAMPLE_RATE:
            # It takes 17 MB, which most homes never need.
            import av

            self._resampler = av.AudioResampler(
                format="fltp", layout=self._layout, rate=SAMPLE_RATE
            )
        self._nothing = np.empty((channels, 0), np.float32)
        self._last = np.zeros((channels, 1), np.float32)
        self._taken = 0
        self._given = 0

    def push(self, planar: Planar) -> Planar:
        """The output after these samples; the last few milliseconds stay inside."""
        if self._resampler is None:
            return planar
        self._taken += planar.shape[1]
        return self._resample(planar)

    def flush(self) -> Planar:
        """The rest: in all as long as the input. Nothing may be pushed afterwards."""
        if self._resampler is None:
            return self._nothing
        # The filter looks ahead: the last samples come out when there is something behind them.
        # What goes on as it was has no step there, whatever its offset.
        return self._resample(np.repeat(self._last, self._rate // 20, axis=1))

    def _resample(self, planar: Planar) -> Planar:
        if self._resampler is None or not planar.shape[1]:
            return self._nothing
        import av

        self._last = planar[:, -1:]
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(planar), format="fltp", layout=self._layout
        )
        frame.sample_rate = self._rate
        frames = self._resampler.resample(frame)
        if not frames:
            return self._nothing
        samples = joined([np.asarray(frame.to_ndarray(), np.float32) for frame in frames])
        due = -(-self._taken * SAMPLE_RATE // self._rate) - self._given
        samples = samples[:, :due].clip(-1, 1)
        self._given += samples.shape[1]
        return samples


class BatchResampler:
    """The same, with many tiny pieces taken together, because each call is expensive."""

    def __init__(self, rate: int, channels: int = 1) -> None:
        """`rate` of the input in Hz."""
        self._resampler = Resampler(rate, channels)
        self._nothing = np.empty((channels, 0), np.float32)
        self._pending = [self._nothing]
        self._length = 0

    def push(self, planar: Planar) -> Planar:
        """The output after these samples, mostly nothing if pieces are tiny."""
        self._pending.append(planar)
        self._length += planar.shape[1]
        return self._flush() if self._length >= _BATCH else self._nothing

    def finish(self) -> Planar:
        """The rest: in all as long as the input. Nothing may be pushed afterwards."""
        return joined([self._flush(), self._resampler.flush()])

    def _flush(self) -> Planar:
        planar = joined(self._pending)
        self._pending = [self._nothing]
        self._length = 0
        return self._resampler.push(planar)


def joined(pieces: list[Planar]) -> Planar:
    """The pieces one after the other; not copied if only one of them holds anything."""
    holding = [piece for piece in pieces if piece.shape[1]] or pieces[:1]
    return holding[0] if len(holding) == 1 else np.concatenate(holding, axis=1)
