"""Offsets of audio, constant or drifting, measured and taken out."""

from __future__ import annotations

import numpy as np

from stt_mqtt.types import SAMPLE_RATE, Samples

_BLOCK = SAMPLE_RATE // 10
_COARSE = 5
"""Blocks over which a mean is taken for the offset: in half a second sounds have none."""
_POWER_BLOCK = SAMPLE_RATE // 50
_LOUD = 0.95
"""Share of the blocks that are no louder than what counts as the level of the speech."""
_HARMLESS = 1e-3
"""Power of an offset over that of the speech up to which it disturbs nothing. Audio with less is
left bit by bit as it is, because any touch changes a word here and there."""
_LASTING = 0.25
"""Share of the time in which an offset may be less than what it is called."""
_NOTEWORTHY = 0.02
"""Offset, of full scale, that somebody should mend."""


def take_out_offset(samples: Samples) -> tuple[Samples, bool]:
    """The samples around zero, and whether they were so far from it that it is worth a word.

    A steady offset is one number. One that drifts is a line through the means of tenths of a
    second. In less than that nobody can tell it from a sound.
    """
    count = len(samples) // _BLOCK
    if not count:
        return samples, False
    means = samples[: count * _BLOCK].reshape(count, _BLOCK).mean(axis=1)
    coarse = _coarse(means)
    harmless = _HARMLESS * _speech_power(samples)
    if _mean_square(coarse) <= harmless:
        return samples, False
    middle = np.median(means)
    places = coarse if len(coarse) > 1 else means
    steady = _mean_square(places - middle) <= harmless
    offset = middle if steady else _curve(means, len(samples))
    centered = np.clip(samples - offset, -1, 1)
    # Sounds that are cut off on one side have an offset, but only as long as they last.
    lasting = float(np.quantile(np.abs(means), _LASTING))
    return centered.astype(np.float32), lasting >= _NOTEWORTHY


def block_powers(samples: Samples, block: int) -> Samples:
    """Power without offset of each whole block."""
    count = len(samples) // block
    blocks = samples[: count * block].reshape(count, block)
    squares = np.einsum("ij,ij->i", blocks, blocks) / block - np.square(blocks.mean(axis=1))
    return np.asarray(np.maximum(squares, 0), np.float32)


def _speech_power(samples: Samples) -> float:
    return float(np.quantile(block_powers(samples, _POWER_BLOCK), _LOUD))


def _mean_square(values: Samples) -> float:
    return float(np.mean(np.square(values)))


def _coarse(means: Samples) -> Samples:
    count = len(means) // _COARSE
    if not count:
        return np.asarray(means.mean(keepdims=True))
    return np.asarray(means[: count * _COARSE].reshape(count, _COARSE).mean(axis=1))


def _curve(means: Samples, length: int) -> Samples:
    """The line through the means, each at the middle of its block, and straight on at the ends."""
    at = (np.arange(len(means)) + 0.5) * _BLOCK
    before = 1.5 * means[0] - 0.5 * means[1]
    behind = means[-1] + (means[-1] - means[-2]) * (length - at[-1]) / _BLOCK
    at = np.concatenate([[0], at, [length]])
    heights = np.concatenate([[before], means, [behind]])
    return np.asarray(np.interp(np.arange(length), at, heights), np.float32)
