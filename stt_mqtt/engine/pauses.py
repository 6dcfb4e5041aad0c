"""Long speech, cut at its pauses into pieces that a model can look at in one go."""

from __future__ import annotations

import numpy as np

from stt_mqtt.types import SAMPLE_RATE, Samples

SEARCH_S = 10.0
"""How far before the longest possible piece a pause is looked for."""
PAUSE_MS = 300
_STEP = SAMPLE_RATE // 100


def cut_at_pauses(samples: Samples, max_s: float) -> list[Samples]:
    """Pieces of at most `max_s` seconds, in order, that together are `samples`.

    Each cut is in the middle of the quietest `PAUSE_MS` of the last `SEARCH_S` before it is due.
    """
    longest = round(max_s * SAMPLE_RATE)
    pieces = []
    while len(samples) > longest:
        earliest = longest - round(min(SEARCH_S, max_s / 2) * SAMPLE_RATE)
        cut = earliest + _quietest(samples[earliest:longest])
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]


def _quietest(samples: Samples) -> int:
    """Index of the middle of the quietest `PAUSE_MS`; the samples are at least as long."""
    steps = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    power = np.square(steps).mean(axis=1)
    width = PAUSE_MS // 10
    quietest = int(np.convolve(power, np.ones(width), "valid").argmin())
    return (quietest * _STEP) + width * _STEP // 2
