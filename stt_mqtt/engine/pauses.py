"""Speech cut at its pauses: where one thing is said after another, and where it gets too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_mqtt.types import SAMPLE_RATE, Samples

SEARCH_S = 10.0
"""How far before the longest possible piece a pause is looked for."""
PAUSE_MS = 300
_STEP = SAMPLE_RATE // 100

LONG_S = 0.8
"""From this on a pause may be long for the speaker."""
LONG_FOR_ANYBODY_S = 1.5
USUAL_S = 0.15
"""Shorter pauses are within words and say nothing of the speaker."""
USUAL_PAUSES = 2
"""How many others it takes to know what is usual for the speaker."""
OVER_USUAL = 2.0
"""How many times the usual pause of the speaker a long one lasts."""
PART_S = 4.0
"""Audio for each part beyond the second, on average. For each the model reads some seconds."""


def long_pauses(pauses_s: Sequence[float], audio_s: float) -> list[bool]:
    """Which pauses divide what is said in audio of `audio_s`: those long for the speaker.

    Of two things with such a pause between them a model likes to leave one out, and where one
    hesitates so long it hears the sentence no better in one piece than in two.
    """
    cuts = [n for n, pause_s in enumerate(pauses_s) if pause_s >= _least_s(pauses_s, n)]
    longest = sorted(cuts, key=lambda n: -pauses_s[n])[: 1 + int(audio_s / PART_S)]
    return [n in longest for n in range(len(pauses_s))]


def _least_s(pauses_s: Sequence[float], number: int) -> float:
    """How long a pause has to be to be long, as the speaker's others are."""
    others = [*pauses_s[:number], *pauses_s[number + 1 :]]
    usual = [pause_s for pause_s in others if USUAL_S <= pause_s < LONG_FOR_ANYBODY_S]
    if len(usual) < USUAL_PAUSES:
        return LONG_S
    return min(max(LONG_S, OVER_USUAL * float(np.median(usual))), LONG_FOR_ANYBODY_S)


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
