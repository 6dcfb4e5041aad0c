"""What all decoded audio goes through: resampled to 16 kHz, freed of its offset, mixed to mono.

Clipping is detected on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stt_mqtt.audio.channels import MEAN, Evidence, Mix, block_powers, choose, mixed
from stt_mqtt.audio.resample import BatchResampler, joined
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, Planar, Samples

WINDOW_S = 30
"""Audio that is judged, and so held, together: a whole utterance, or a part of a recording."""


_LEAST_REST = SAMPLE_RATE // 10

_FULL = 0.999
_RUN = 3
"""Samples in a row at full scale that are cut off; a lone one is a peak that just fits."""
_CLIPPED = 0.003
"""Share of cut-off samples from which on there is a hint."""
_BLOCK = SAMPLE_RATE // 10
_COARSE = 5
"""Blocks whose mean is an offset: over half a second, sound has none."""
_POWER_BLOCK = SAMPLE_RATE // 50
_LOUD = 0.95
"""Share of the blocks that are no louder than what counts as the level of the speech."""
_HARMLESS = 1e-3
"""Power of an offset, as a share of that of the speech, up to which it is harmless. Audio with less
stays as it is to the last bit, because every change alters a word here and there."""
_LASTING = 0.25
"""Share of the time in which the offset may be smaller than the one reported."""
_NOTEWORTHY = 0.02
"""Offset, as a share of full scale, from which on there is a hint."""


class Conditioner:
    """Turns decoded samples of one rate into samples for the model.

    Offset and mix are decided for `WINDOW_S` at a time, so they do not change in an utterance.
    """

    def __init__(self, rate: int, channels: int) -> None:
        """`rate` of the input in Hz."""
        self._resampler = BatchResampler(rate, channels)
        self._clipping = Clipping()
        self._waiting: list[Planar] = []
        self._length = 0
        self._mix: Mix | None = None
        self._hints: set[Hint | None] = set()
        self.taken = 0
        """Samples at `SAMPLE_RATE` that came in."""

    @property
    def hint(self) -> Hint | None:
        """What looks wrong with what was given so far."""
        clipping = Hint.CLIPPING if self._clipping.found else None
        return foremost([*self._hints, clipping])

    def push(self, planar: Planar) -> Iterator[Samples]:
        """Take the next samples; yields what is ready, which is mostly nothing."""
        self._clipping.push(planar)
        self._wait(self._resampler.push(planar))
        # What is left has an offset of its own, if it has any: so it is never next to nothing.
        while self._length >= WINDOW_S * SAMPLE_RATE + _LEAST_REST:
            held = joined(self._waiting)
            rest = held[:, WINDOW_S * SAMPLE_RATE :].copy()
            self._waiting, self._length = [rest], rest.shape[1]
            yield self._ready(held[:, : WINDOW_S * SAMPLE_RATE])
            del held

    def finish(self) -> Samples:
        """The rest. Nothing may be pushed afterwards."""
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
    """Counts the samples of each channel that are cut off at full scale."""

    def __init__(self) -> None:
        self._cut_off = np.zeros(2, np.int64)
        self._samples = 0

    def push(self, planar: Planar) -> None:
        """Take the next samples, at the rate in which they arrived."""
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
        """Whether so much is cut off that recognition suffers."""
        return bool(self._cut_off.max() > _CLIPPED * self._samples)


def take_out_offset(samples: Samples) -> tuple[Samples, bool]:
    """The samples without their offset, and whether it was large enough for a hint.

    A steady offset is one number. A drifting one is a line through the means of tenths of a
    second; what is shorter cannot be told from sound.
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
