"""Splits speech at pauses: between sentences, and where it is too long for the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_mqtt.audio.gate import SHORT_PAUSE_MS, Pause, SpeechSpan
from stt_mqtt.types import SAMPLE_RATE, Samples

SEARCH_S = 10.0
"""How far before the end of the longest piece to search for a pause."""
PAUSE_MS = 300
_STEP = SAMPLE_RATE // 100

NOTABLE_S = 0.8
"""A pause of this length is shortened. It can make a model leave out speech beside it."""
LONG_S = 1.5
"""A pause of this length may be long for the speaker."""
LONG_FOR_ANYBODY_S = 2.0
USUAL_S = 0.15
"""Shorter pauses are within words, so they do not count for the speaker."""
USUAL_PAUSES = 2
"""How many other pauses are needed to know what is usual for the speaker."""
OVER_USUAL = 2.0
"""A long pause is this many times the usual pause of the speaker."""
PART_S = 4.0
"""Least seconds of audio per part beyond the second, because each part needs a window."""


def judge_pauses(pauses_s: Sequence[float], audio_s: float) -> list[Pause]:
    """Decide about each pause in audio of `audio_s`. A pause that is long for the speaker divides.

    A model often leaves out one of two sentences with a pause between them, so they are decoded
    separately. The speech of a hesitating speaker is recognized better as one, with shortened
    pauses.
    """
    long = [n for n, pause_s in enumerate(pauses_s) if pause_s >= _long_s(pauses_s, n)]
    longest = sorted(long, key=lambda n: -pauses_s[n])[: 1 + int(audio_s / PART_S)]
    return [
        Pause.DIVIDING if n in longest else Pause.SHORTENED if pause_s >= NOTABLE_S else Pause.KEPT
        for n, pause_s in enumerate(pauses_s)
    ]


def without_pauses(samples: Samples, part: Sequence[SpeechSpan]) -> tuple[Samples, float]:
    """The samples of a part with shortened pauses, and the length of its speech in seconds."""
    speech_s = sum(span.speech_s for span in part)
    if len(part) == 1:
        return samples[part[0].start : part[0].end], speech_s
    said = np.concatenate([samples[span.start : span.end] for span in part])
    return said, speech_s + (len(part) - 1) * SHORT_PAUSE_MS / 1000


def _long_s(pauses_s: Sequence[float], number: int) -> float:
    """The length of a long pause, given the other pauses of the speaker."""
    others = [*pauses_s[:number], *pauses_s[number + 1 :]]
    usual = [pause_s for pause_s in others if USUAL_S <= pause_s < LONG_FOR_ANYBODY_S]
    if len(usual) < USUAL_PAUSES:
        return LONG_S
    return min(max(LONG_S, OVER_USUAL * float(np.median(usual))), LONG_FOR_ANYBODY_S)


def cut_at_pauses(samples: Samples, max_s: float) -> list[Samples]:
    """Split `samples` into pieces of at most `max_s` seconds.

    Each cut is in the middle of the quietest `PAUSE_MS` in the last `SEARCH_S` of a piece.
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
    """Index of the middle of the quietest `PAUSE_MS`. The samples must be at least as long."""
    steps = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    power = np.square(steps).mean(axis=1)
    width = PAUSE_MS // 10
    quietest = int(np.convolve(power, np.ones(width), "valid").argmin())
    return (quietest * _STEP) + width * _STEP // 2
