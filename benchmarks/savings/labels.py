"""Where speech begins and ends in a clean clip, from the clip alone.

It knows nothing of the voice activity detection that is judged by it: it has the whole clip at
once, so it can compare each moment with the clip's own floor and its own peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_mqtt.types import SAMPLE_RATE

FRAME = SAMPLE_RATE // 100
WINDOW = 3
"""Frames that a level is taken over."""
FLOOR_SHARE = 0.1
ABOVE_FLOOR_DB = 8.0
BELOW_PEAK_DB = 40.0
MIN_RUN = 6
"""Frames that sound lasts; what is shorter is a click."""
SHORT_RUN = 12
KNOCK_GAP = 6
RELEASE_GAP = 20
"""A short run this many frames before the rest, or after it, is a knock or a breath.

A word can end with a release long after its last vowel; it cannot begin with one.
"""
LOWEST_HZ = 80.0
DIGITAL_SILENCE_DB = -120.0


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech in a clip: from, to, its level in dB of full scale, and how far above the floor."""

    start_s: float
    end_s: float
    level_dbfs: float
    snr_db: float


def label(samples: NDArray[np.int16]) -> Speech | None:
    """The span from the first sound of speech to the last; None where there is none."""
    levels = frame_levels(samples)
    if len(levels) < MIN_RUN:
        return None
    floor = float(np.quantile(levels, FLOOR_SHARE))
    threshold = max(floor + ABOVE_FLOOR_DB, float(levels.max()) - BELOW_PEAK_DB)
    runs = _without_knocks(_runs(levels > threshold))
    if not runs:
        return None
    first, last = runs[0][0], runs[-1][1]
    voiced = np.concatenate([levels[start:end] for start, end in runs])
    active = np.concatenate([samples[start * FRAME : end * FRAME] for start, end in runs])
    level = 10 * np.log10(float(np.mean(np.square(active / 32768.0))))
    snr_db = 10 * np.log10(float(np.mean(10 ** (voiced / 10)))) - floor
    return Speech(first / 100, last / 100, float(level), float(snr_db))


def frame_levels(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level of each 10 ms in dB, smoothed, with rumble taken out and hiss sounds lifted."""
    spectrum = np.fft.rfft(samples / 32768.0)
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    lifted = np.fft.irfft(
        spectrum * (hz / (hz + LOWEST_HZ)) ** 2 * np.sqrt(1 + (hz / 1000) ** 2), len(samples)
    )
    frames = lifted[: len(lifted) // FRAME * FRAME].reshape(-1, FRAME)
    energy = np.mean(np.square(frames), axis=1)
    smooth = np.convolve(
        np.pad(energy, WINDOW // 2, mode="edge"), np.ones(WINDOW) / WINDOW, "valid"
    )
    return 10 * np.log10(smooth + 10 ** (DIGITAL_SILENCE_DB / 10))


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    pairs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    return [(start, end) for start, end in pairs if end - start >= MIN_RUN]


def _without_knocks(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without short runs at either end that are far from the others."""
    kept = list(runs)
    while len(kept) > 1 and _is_knock(kept[0], kept[1][0] - kept[0][1], KNOCK_GAP):
        kept.pop(0)
    while len(kept) > 1 and _is_knock(kept[-1], kept[-1][0] - kept[-2][1], RELEASE_GAP):
        kept.pop()
    return kept


def _is_knock(run: tuple[int, int], gap: int, far: int) -> bool:
    return run[1] - run[0] <= SHORT_RUN and gap >= far
