"""Signs that PCM samples are not in the format they are declared to be in.

Sound is smooth: a sample differs little from the one before it in the same channel. Samples that
are read in the wrong format are rough, and read in the right format they are smooth again. Noise
is rough either way, so it raises no alarm. Blocks are compared with themselves, because loud and
quiet sounds differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from stt_mqtt.audio.pcm import SampleType
from stt_mqtt.hints import Hint

_INSPECTED_S = 30
_BLOCK = 2048
"""Samples of a block, of all channels together; where there are fewer, they are one block."""
_LOUDEST = 4
"""One in this many blocks is inspected, the loudest ones, and at least this many."""
_FLOATS_RANGE = 2048
"""Range of the high halves of floats of usual sizes, at least."""
_FEWEST = 800
"""Samples below which there is no hint."""
_ROUGH = 0.5
"""Roughness of what may be misread; white noise has 1."""
_SMOOTH = 0.35
_SMOOTHER = 0.4
"""Roughness of another reading, at most, as a share of this one."""
_MISREAD = 0.1
"""Share of the power from which on the blocks that are smooth in another reading decide."""
_BYTES_SMOOTHER = 0.6
"""The same for bytes, of which every second one read as the high half is smooth, too."""

_LEAST_BYTES_POWER = 2
"""Mean square below which two bytes may be the halves of a sample of next to nothing."""

_MOST_BYTES_LEVEL = 96
_LEAST_UNLIKE = 0.2
"""Share of the pairs of bytes that differ, at least, where two bytes are two samples."""

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Votes:
    """Power of all blocks, and of those that are in another format than declared."""

    all: float = 0.0
    swapped: float = 0.0
    shifted: float = 0.0
    bytes: float = 0.0
    floats: float = 0.0


class Layout:
    """Inspects samples as they arrive and tells what is wrong with their format."""

    def __init__(self, sample_type: SampleType, rate: int, channels: int) -> None:
        self._type = sample_type
        self._channels = channels
        self._left = _INSPECTED_S * rate * channels
        self._count = 0
        self._steps = Steps.none()
        self._votes = _Votes()
        self._no_floats: float = 0
        self._tiny: float = 0
        self._beyond: float = 0

    def push(self, data: memoryview) -> None:
        """Inspect more bytes, which begin with a whole sample."""
        count = min(len(data) // self._type.width, self._left)
        block = min(_BLOCK, count // 2 * 2)
        if self._type not in {SampleType.S16, SampleType.F32} or block < 4:
            return
        count = count // block * block
        self._left -= count
        self._count += count
        data = data[: count * self._type.width]
        if self._type is SampleType.S16:
            self._inspect_integers(_loudest(np.frombuffer(data, "<i2").reshape(-1, block)))
        else:
            self._inspect_floats(np.frombuffer(data, "<f4").reshape(-1, block))

    @property
    def hint(self) -> Hint | None:
        """What is wrong, if anything is."""
        if self._count < _FEWEST:
            return None
        return self._misread() or self._channels_hint()

    def _misread(self) -> Hint | None:
        """What the numbers are instead."""
        # Half of the integers are negative, and those are huge as floats or none at all.
        no_floats = self._no_floats + self._tiny
        if no_floats > 0.3 * self._count and self._no_floats > 0.01 * self._count:
            return Hint.S16_AS_FLOAT
        if self._beyond > 0.05 * self._count:
            return Hint.FLOAT_RANGE
        votes = self._votes
        least = max(_MISREAD * votes.all, 1e-20)
        if votes.floats > least:
            return Hint.FLOAT_AS_S16
        if votes.bytes > least:
            return Hint.BYTES_AS_S16
        if votes.swapped + votes.shifted > least:
            # The wrong one of the two has the high bytes in place, so it is smooth as well, but
            # less so.
            return Hint.SHIFTED if votes.shifted > votes.swapped else Hint.BYTE_ORDER
        return None

    def _channels_hint(self) -> Hint | None:
        steps = self._steps
        even, odd, within, across, apart = (float(getattr(steps, f.name)[0]) for f in fields(steps))
        quieter, louder = sorted((even, odd))
        lesser, greater = sorted((within, across))
        if self._channels == 2:
            alike = lesser > 0.9 * greater and quieter > 0.9 * louder
            return Hint.MONO_AS_STEREO if alike and apart > 1.2 * (lesser + greater) else None
        together, alone = steps.roughness(1)[0], steps.roughness(2)[0]
        two = lesser < 0.25 * greater or quieter < 0.1 * louder or together > max(3 * alone, 0.3)
        return Hint.STEREO_AS_MONO if two and louder and alone < 0.5 else None

    def _inspect_integers(self, samples: npt.NDArray[np.int16]) -> None:
        steps = Steps.of(samples)
        self._steps = self._steps + steps
        power, roughness = steps.power, steps.roughness(self._channels)
        votes = self._votes
        votes.all += float(power.sum())
        if _may_be_bytes(samples):
            smooth = _bytes_roughness(samples) < np.minimum(_BYTES_SMOOTHER * roughness, _SMOOTH)
            votes.bytes += float(power[smooth].sum())
        rough = roughness > _ROUGH
        if not rough.any():
            return
        samples, power, roughness = samples[rough], power[rough], roughness[rough]
        votes.floats += float(power[_are_floats(samples)].sum())
        swapped = Steps.of(samples.byteswap()).roughness(self._channels)
        between = samples.view(np.uint8)[:, 1:-3]
        shifted = Steps.of(np.ascontiguousarray(between).view("<i2")).roughness(self._channels)
        limit = np.minimum(_SMOOTHER * roughness, _SMOOTH)
        votes.swapped += float(power[(swapped < limit) & (swapped <= shifted)].sum())
        votes.shifted += float(power[(shifted < limit) & (shifted < swapped)].sum())

    def _inspect_floats(self, samples: Floats) -> None:
        sizes = np.abs(samples)
        usual = sizes <= 2
        if not usual.all():
            # What is no number is not less than anything.
            self._beyond += np.count_nonzero(~usual)
            self._no_floats += np.count_nonzero(~(sizes <= 1e6))
            samples = np.where(usual, samples, 0)
        self._tiny += np.count_nonzero((sizes < 1e-12) & (sizes > 0))
        self._steps = self._steps + Steps.of(_loudest(samples))


def _loudest(blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows with the widest range."""
    count = max(len(blocks) // _LOUDEST, _LOUDEST)
    if count >= len(blocks):
        return blocks
    ranges = blocks.max(axis=1).astype(np.float32) - blocks.min(axis=1)
    return blocks[np.argpartition(ranges, -count)[-count:]]


def _may_be_bytes(samples: npt.NDArray[np.int16]) -> bool:
    """Whether both bytes of the samples vary alike, by a few of the samples."""
    few = samples.reshape(-1)[::8].copy().view(np.int8).reshape(-1, 2)
    for zero in (0, -128):
        low, high = (few ^ np.int8(zero)).astype(np.float32).var(axis=0)
        if high > 1 and low < 4 * high and high < 4 * low:
            return True
    return False


def _bytes_roughness(samples: npt.NDArray[np.int16]) -> Floats:
    """Roughness of the bytes, each taken for a sample: signed or not, whichever is smoother."""
    found = []
    for zero in (0, -128):
        values = samples.view(np.int8) ^ np.int8(zero)
        steps = Steps.of(values)
        lesser, greater = np.minimum(steps.even, steps.odd), np.maximum(steps.even, steps.odd)
        alike = (lesser > 0.5 * greater) & (lesser > _LEAST_BYTES_POWER * samples.shape[1])
        # Quiet samples, read so, are at both ends of the range and nowhere else.
        wide = values.astype(np.int16)
        alike &= np.abs(wide).mean(axis=1) < _MOST_BYTES_LEVEL
        # Bytes that were widened to 16 bits stand there twice.
        pairs = wide.reshape(len(wide), -1, 2)
        alike &= (np.abs(np.diff(pairs, axis=2)) > 1).mean(axis=(1, 2)) > _LEAST_UNLIKE
        found.append(np.where(alike, steps.roughness(1), np.inf))
    return np.minimum(*found)


def _are_floats(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Whether two samples are one float of a usual size; zeros say nothing."""
    sizes = np.abs(samples.view("<f4"))
    sounding = np.count_nonzero(sizes != 0, axis=1)
    usual = np.count_nonzero((sizes > 1e-7) & (sizes < 2), axis=1)
    # An offset has the high halves of all in one place; those of floats are all over it.
    varied = np.ptp(samples[:, 1::2].astype(np.int32), axis=1) > _FLOATS_RANGE
    return np.asarray((usual > 0.9 * sounding) & (sounding > 0.05 * sizes.shape[1]) & varied)


@dataclass(frozen=True, slots=True)
class Steps:
    """How much samples change: sums of squares over blocks, taken in pairs; one value per block."""

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
