"""Conditions all decoded audio: resamples to 16 kHz, removes the offset, mixes to mono.

It also detects clipping.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stt_mqtt.audio.channels import MEAN, Evidence, Mix, block_powers, choose, mixed
from stt_mqtt.audio.resample import BatchResampler, joined
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, Planar, Samples

WINDOW_S = 30
"""Length of audio that is analysed together: an utterance, or a part of a recording."""


_LEAST_REST = SAMPLE_RATE // 10

_FULL = 0.999
_RUN = 3
"""Least consecutive samples at full scale that count as clipped. A single one may be a peak."""
_CLIPPED = 0.003
"""Least share of clipped samples for a hint."""
_BLOCK = SAMPLE_RATE // 10
_COARSE = 5
"""Blocks whose mean is the offset. Over half a second, sound has no offset."""
_POWER_BLOCK = SAMPLE_RATE // 50
_LOUD = 0.95
"""Quantile of the block powers that is the level of the speech."""
_HARMLESS = 1e-3
"""Largest power of a harmless offset, relative to the speech. Audio with less is not changed at
all, because any change alters a few words."""
_LASTING = 0.25
"""Quantile of the offset over time that is compared for the hint."""
_NOTEWORTHY = 0.02
"""Least offset for a hint, as a share of full scale."""


class Conditioner:
    """Converts decoded samples of one rate to samples for the model.

    Offset and mix are determined for `WINDOW_S` at a time, so they do not change in an utterance.
    """

    def __init__(self, rate: int, channels: int, inspect_clipping: bool = True) -> None:
        """`rate` of the input in Hz. Samples that were resampled before cannot be inspected."""
        self._resampler = BatchResampler(rate, channels)
        self._clipping = Clipping()
        self._inspect_clipping = inspect_clipping
        self._waiting: list[Planar] = []
        self._length = 0
        self._mix: Mix | None = None
        self._hints: set[Hint | None] = set()
        self.taken = 0
        """Number of input samples, at `SAMPLE_RATE`."""

    @property
    def hint(self) -> Hint | None:
        """The most important hint so far."""
        clipping = Hint.CLIPPING if self._clipping.found else None
        return foremost([*self._hints, clipping])

    def push(self, planar: Planar) -> Iterator[Samples]:
        """Add the next samples. Yields samples that are ready, usually none."""
        if self._inspect_clipping:
            self._clipping.push(planar)
        self._wait(self._resampler.push(planar))
        # The offset of the rest is determined separately, so it must not be too short.
        while self._length >= WINDOW_S * SAMPLE_RATE + _LEAST_REST:
            held = joined(self._waiting)
            rest = held[:, WINDOW_S * SAMPLE_RATE :].copy()
            self._waiting, self._length = [rest], rest.shape[1]
            yield self._ready(held[:, : WINDOW_S * SAMPLE_RATE])
            del held

    def finish(self) -> Samples:
        """Return the remaining samples. Nothing may be pushed afterwards."""
        self._wait(self._resampler.finish())
        return self._ready(joined(self._waiting))

    def _wait(self, planar: Planar) -> None:
        self._waiting.append(planar)
        self._length += planar.shape[1]
        self.taken += planar.shape[1]

    def _ready(self, window: Planar) -> Samples:
        if not window.shape[1]:
            return np.empty(0, np.float32)
        centered = [take_out_offset(track) for track in window]
        tracks = [track for track, _ in centered]
        offsets = [offset for _, offset in centered]
        if len(tracks) == 1:
            self._hints.add(Hint.OFFSET if offsets[0] else None)
            return tracks[0]
        before = self._mix
        evidence = Evidence.of(tracks[0], tracks[1], SAMPLE_RATE)
        mix = choose(evidence, before) or before or MEAN
        self._mix = mix
        had_offset = (mix.left > 0 and offsets[0]) or (mix.right > 0 and offsets[1])
        self._hints |= {mix.hint, Hint.OFFSET if had_offset else None}
        return mixed(np.stack(tracks), mix, before)


class Clipping:
    """Counts the clipped samples of each channel."""

    def __init__(self) -> None:
        self._cut_off = np.zeros(2, np.int64)
        self._samples = 0

    def push(self, planar: Planar) -> None:
        """Add the next samples, before resampling."""
        self._samples += planar.shape[1]
        for channel, samples in enumerate(planar):
            if not len(samples) or max(samples.max(), -samples.min()) < _FULL:
                continue
            full = np.abs(samples) >= _FULL
            runs = full[: -(_RUN - 1)] & full[1:-1] & full[_RUN - 1 :]
            # A channel that is always at full scale is stuck, not clipped.
            if not full.all():
                self._cut_off[channel] += np.count_nonzero(runs)

    @property
    def found(self) -> bool:
        """Whether there is so much clipping that recognition suffers."""
        return bool(self._cut_off.max() > _CLIPPED * self._samples)


def take_out_offset(samples: Samples) -> tuple[Samples, bool]:
    """Remove the offset; return the samples and whether the offset is large enough for a hint.

    A steady offset is one number. A drifting one is interpolated between the means of tenths of a
    second, because faster changes cannot be distinguished from sound.
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
    # Sounds that are clipped on one side have an offset, but only while they last.
    lasting = float(np.quantile(np.abs(means), _LASTING))
    return centered.astype(np.float32), lasting >= _NOTEWORTHY


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
    """Interpolate linearly between the means at the middle of their blocks."""
    at = (np.arange(len(means)) + 0.5) * _BLOCK
    before = 1.5 * means[0] - 0.5 * means[1]
    behind = means[-1] + (means[-1] - means[-2]) * (length - at[-1]) / _BLOCK
    at = np.concatenate([[0], at, [length]])
    heights = np.concatenate([[before], means, [behind]])
    return np.asarray(np.interp(np.arange(length), at, heights), np.float32)
