"""How much samples change from one to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Steps:
    """Sums of squares over blocks of samples that are looked at in pairs; one value per block."""

    even: Floats
    odd: Floats
    """Of the first and the second ones of the pairs, without offset."""
    within: Floats
    """Of the steps from the first to the second one of a pair."""
    across: Floats
    """Of those from the second one to the first one of the next pair."""
    apart: Floats
    """Of those from first one to first one, and from second one to second one."""

    @classmethod
    def none(cls) -> Steps:
        """Those of one block of nothing."""
        nothing = np.zeros(1, np.float32)
        return cls(nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def of(cls, blocks: npt.NDArray[np.generic]) -> Steps:
        """Those of each row; a row has an even number of samples."""
        pairs = blocks.astype(np.float32)
        even, odd = pairs[:, 0::2], pairs[:, 1::2]
        even = even - even.mean(axis=1, keepdims=True)
        odd = odd - odd.mean(axis=1, keepdims=True)
        return cls(
            _power(even),
            _power(odd),
            _power(odd - even),
            _power(even[:, 1:] - odd[:, :-1]),
            _power(np.diff(even)) + _power(np.diff(odd)),
        )

    @property
    def power(self) -> Floats:
        """Of all samples, without offset."""
        return self.even + self.odd

    def roughness(self, channels: int) -> Floats:
        """How much the samples of each of the interleaved channels change; 1 for white noise."""
        steps = self.apart if channels == 2 else self.within + self.across
        return np.asarray(steps / np.maximum(2 * self.power, 1e-20), np.float32)

    def __add__(self, more: Steps) -> Steps:
        """All blocks of both as one."""
        return Steps(
            self.even.sum(keepdims=True) + more.even.sum(),
            self.odd.sum(keepdims=True) + more.odd.sum(),
            self.within.sum(keepdims=True) + more.within.sum(),
            self.across.sum(keepdims=True) + more.across.sum(),
            self.apart.sum(keepdims=True) + more.apart.sum(),
        )


def _power(rows: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))
