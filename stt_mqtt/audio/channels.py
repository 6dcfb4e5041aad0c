"""Mixes two channels to one: their mean if both carry the same, else the better one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stt_mqtt.hints import Hint
from stt_mqtt.types import SAMPLE_RATE, Planar, Samples

_BLOCK_S = 0.02
_LOUD = 0.95
"""Share of the blocks that are no louder than what counts as the level of a channel."""
_MOST_LOUD_BLOCKS = 12
"""Most blocks that may be louder, a quarter of a second, so that a lone word sets the level."""
_DEAD_POWER = 1e-8
"""Nobody speaks below this, -80 dB of full scale."""
_FAINT = 1e-4
"""Share of the power of the other channel below which one is only its crosstalk."""
_IN_PHASE = 0.8
"""Correlation from which on the mean of two channels loses nothing."""
_OPPOSED = -0.6
_INVERTED = -0.8
"""Correlation below which one channel is surely the other's negative."""
_SAME_SOURCE = 0.6
"""Correlation of the levels from which on both channels hear the same, if not at the same time."""
_STEADY_DB = 10.0
"""Distance of loud and quiet moments below which a channel has no speech; noise has 1 to 5 dB."""
_LOYALTY_DB = 6.0
"""How much better the other channel has to be for one that was chosen to be left."""
_LIVE_S = 10.0
_DECIDE_EVERY_S = 0.25
_FIRST_S = 0.01
"""Audio from which on the first choice is made."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How much is taken of each channel."""

    left: float
    right: float
    hint: Hint | None = None


MEAN = Mix(0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Power of each channel in blocks of 20 ms, and what the channels have in common."""

    left: Samples
    right: Samples
    edges: Samples
    """Of the differences between samples, which weigh the whole voice band alike: power of the
    left, of the right, and their common power; one row for each piece."""

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
    """The mix, which was `before` so far; None: there is nothing to decide it by."""
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
    """The mix of two channels that both have sound."""
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
        # Nobody was heard yet, so there is nothing to choose by.
        return before
    if min(dynamics) < _STEADY_DB or _correlation(*decibels) >= _SAME_SOURCE:
        return Mix(*better)
    # Each has a voice of its own, as the two sides of a telephone call.
    return MEAN


class LiveMixer:
    """Mixes audio while it arrives, by the evidence of the last seconds."""

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
        """The next samples, at `rate` Hz, as one channel; with a ramp where the mix changes."""
        if len(planar) == 1 or not planar.shape[1]:
            return planar[:1]
        before = self._mix
        if rate != self._rate:
            self._gathered, self._gathered_samples, self._rate = [], 0, rate
        self._gathered.append(planar)
        self._gathered_samples += planar.shape[1]
        # Pieces may be so short that they tell nothing by themselves.
        if self._gathered_samples >= (_FIRST_S if before is None else _BLOCK_S) * rate:
            self._remember(np.concatenate(self._gathered, axis=1), rate)
            self._gathered, self._gathered_samples = [], 0
            if before is None or self._undecided_s >= _DECIDE_EVERY_S:
                self._undecided_s = 0.0
                self._mix = choose(self._evidence, before) or before
        if self._mix is None:
            # Nothing was heard yet. What one channel is stuck at must not end with a click.
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
    """Both channels in one. Where it was another mix `before`, with a ramp of 20 ms."""
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
