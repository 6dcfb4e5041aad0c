"""Mixes two channels to one: their mean if both have the same signal, else the better one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stt_mqtt.hints import Hint
from stt_mqtt.types import SAMPLE_RATE, Planar, Samples

_BLOCK_S = 0.02
_LOUD = 0.95
"""Quantile of the block powers that is the level of a channel."""
_MOST_LOUD_BLOCKS = 12
"""Most blocks louder than the level (a quarter of a second), so that one word sets the level."""
_DEAD_POWER = 1e-8
"""Power without any speech, -80 dB of full scale."""
_FAINT = 1e-4
"""Relative power below which a channel is only crosstalk of the other."""
_IN_PHASE = 0.8
"""Least correlation at which the mean of two channels is used."""
_OPPOSED = -0.6
_INVERTED = -0.8
"""Correlation below which one channel is certainly the negative of the other."""
_SAME_SOURCE = 0.6
"""Least correlation of levels at which both channels have the same source, maybe delayed."""
_STEADY_DB = 10.0
"""Level range below which a channel has no speech. Noise has 1 to 5 dB."""
_LOYALTY_DB = 6.0
"""How much better the other channel must be for a change of the chosen one."""
_LIVE_S = 10.0
_DECIDE_EVERY_S = 0.25
_FIRST_S = 0.01
"""Length of audio for the first choice."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The weights of the channels."""

    left: float
    right: float
    hint: Hint | None = None


MEAN = Mix(0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Power of each channel in blocks of 20 ms, and the correlation of the channels."""

    left: Samples
    right: Samples
    edges: Samples
    """For the differences between samples, which weight the voice band evenly: power of the left,
    power of the right, and common power; one row per piece."""

    @classmethod
    def of(cls, left: Samples, right: Samples, rate: int) -> Evidence:
        """The evidence in one piece."""
        block = round(_BLOCK_S * rate)
        if _FIRST_S * rate <= len(left):
            block = min(block, len(left))
        a, b = np.diff(left), np.diff(right)
        edges = np.array([[a @ a, b @ b, a @ b]], np.float32)
        return cls(block_powers(left, block), block_powers(right, block), edges)


def choose(evidence: Evidence, before: Mix | None) -> Mix | None:
    """Choose the mix; `before` is the current one. None: there is no evidence."""
    if not len(evidence.left):
        return None
    left, right = _level(evidence.left), _level(evidence.right)
    if max(left, right) < _DEAD_POWER:
        return None
    if min(left, right) < _DEAD_POWER:
        return Mix(*_only(left > right), Hint.DEAD_CHANNEL)
    if min(left, right) < _FAINT * max(left, right):
        return Mix(*_only(left > right))
    return _of_two(evidence, before or MEAN)


def _of_two(evidence: Evidence, before: Mix) -> Mix:
    """Choose the mix of two channels that both have a signal."""
    power_left, power_right, common = evidence.edges.sum(axis=0)
    correlation = common / max(float(np.sqrt(power_left * power_right)), 1e-20)
    if correlation >= _IN_PHASE:
        return MEAN
    decibels = [10 * np.log10(p + 1e-10) for p in (evidence.left, evidence.right)]
    dynamics = [_level(db) - float(np.quantile(db, 0.1)) for db in decibels]
    lead_db = dynamics[0] - dynamics[1] + _LOYALTY_DB * (before.left - before.right)
    better = _only(lead_db >= 0)
    if correlation <= _OPPOSED:
        return Mix(*better, Hint.INVERTED_STEREO if correlation <= _INVERTED else None)
    if max(dynamics) < _STEADY_DB:
        # There was no speech yet, so there is no evidence.
        return before
    if min(dynamics) < _STEADY_DB or _correlation(*decibels) >= _SAME_SOURCE:
        return Mix(*better)
    # Each channel has its own voice, such as the two sides of a telephone call.
    return MEAN


class LiveMixer:
    """Mixes arriving audio by the evidence of the last seconds."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Evidence]] = deque()
        """Seconds and evidence of each piece."""
        self._heard_s = 0.0
        self._undecided_s = 0.0
        self._gathered: list[Planar] = []
        self._gathered_samples = 0
        self._rate = 0
        self._mix: Mix | None = None

    def push(self, planar: Planar, rate: int) -> Planar:
        """Mix the next samples at `rate` Hz to one channel, with a ramp where the mix changes."""
        if len(planar) == 1 or not planar.shape[1]:
            return planar[:1]
        before = self._mix
        if rate != self._rate:
            self._gathered, self._gathered_samples, self._rate = [], 0, rate
        self._gathered.append(planar)
        self._gathered_samples += planar.shape[1]
        # A single piece may be too short for evidence.
        if self._gathered_samples >= (_FIRST_S if before is None else _BLOCK_S) * rate:
            self._remember(np.concatenate(self._gathered, axis=1), rate)
            self._gathered, self._gathered_samples = [], 0
            if before is None or self._undecided_s >= _DECIDE_EVERY_S:
                self._undecided_s = 0.0
                self._mix = choose(self._evidence, before) or before
        if self._mix is None:
            # No signal yet. If a channel is stuck at a value, its end must not cause a click.
            still = (planar - planar.mean(axis=1, keepdims=True)).mean(axis=0, keepdims=True)
            return np.asarray(still.clip(-1, 1), np.float32)
        return mixed(planar, self._mix, before)[np.newaxis]

    def _remember(self, planar: Planar, rate: int) -> None:
        seconds = planar.shape[1] / rate
        self._recent.append((seconds, Evidence.of(planar[0], planar[1], rate)))
        self._heard_s += seconds
        self._undecided_s += seconds
        while self._heard_s - self._recent[0][0] >= _LIVE_S:
            self._heard_s -= self._recent.popleft()[0]

    @property
    def _evidence(self) -> Evidence:
        pieces = [piece for _, piece in self._recent]
        return Evidence(
            np.concatenate([piece.left for piece in pieces]),
            np.concatenate([piece.right for piece in pieces]),
            np.concatenate([piece.edges for piece in pieces]),
        )


def mixed(planar: Planar, mix: Mix, before: Mix | None = None) -> Samples:
    """Mix both channels. A change from `before` has a ramp of 20 ms."""
    if before is None or (before.left, before.right) == (mix.left, mix.right):
        weights = np.array([mix.left, mix.right], np.float32)
        return np.asarray(weights @ planar, np.float32)
    length = planar.shape[1]
    ramp = np.minimum(np.arange(1, length + 1) / min(length, SAMPLE_RATE // 50), 1)
    left = before.left + (mix.left - before.left) * ramp
    right = before.right + (mix.right - before.right) * ramp
    return np.asarray(left * planar[0] + right * planar[1], np.float32)


def block_powers(samples: Samples, block: int) -> Samples:
    """Power without offset of each whole block."""
    count = len(samples) // block
    blocks = samples[: count * block].reshape(count, block)
    squares = np.einsum("ij,ij->i", blocks, blocks) / block - np.square(blocks.mean(axis=1))
    return np.asarray(np.maximum(squares, 0), np.float32)


def _level(powers: Samples) -> float:
    """The power of the loud blocks."""
    louder = min(round((1 - _LOUD) * len(powers)), _MOST_LOUD_BLOCKS)
    return float(np.partition(powers, len(powers) - 1 - louder)[len(powers) - 1 - louder])


def _only(left: bool) -> tuple[float, float]:
    return (1.0, 0.0) if left else (0.0, 1.0)


def _correlation(a: Samples, b: Samples) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-20))
