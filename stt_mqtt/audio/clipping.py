"""Whether loud sounds are cut off at full scale."""

from __future__ import annotations

import numpy as np

from stt_mqtt.types import Planar

_FULL = 0.999
_RUN = 3
"""Samples in a row at full scale that are cut off; a lone one is a peak that just fits."""
_CLIPPED = 0.003
"""Share of the samples from which on it is worth a word."""


class Clipping:
    """Counts, channel by channel, what is cut off."""

    def __init__(self) -> None:
        self._cut_off = np.zeros(2, np.int64)
        self._samples = 0

    def push(self, planar: Planar) -> None:
        """Look at the next samples, at the rate that they came in."""
        self._samples += planar.shape[1]
        for channel, samples in enumerate(planar):
            if not len(samples) or max(samples.max(), -samples.min()) < _FULL:
                continue
            full = np.abs(samples) >= _FULL
            runs = full[: -(_RUN - 1)] & full[1:-1] & full[_RUN - 1 :]
            # What never leaves full scale is stuck there.
            if not full.all():
                self._cut_off[channel] += np.count_nonzero(runs)

    @property
    def found(self) -> bool:
        """Whether so much was cut off that words suffer."""
        return bool(self._cut_off.max() > _CLIPPED * self._samples)
