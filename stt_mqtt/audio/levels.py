"""Measures how loud speech and background are, to judge a microphone. Changes no sample."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np

from stt_mqtt.audio.gate import SpeechSpan
from stt_mqtt.levels import Levels
from stt_mqtt.types import SAMPLE_RATE, Samples

FRAME = SAMPLE_RATE * 30 // 1000
"""Samples of a frame of 30 ms, as in the speech gate."""
QUIETEST = 0.1
"""The quietest tenth of all frames is the background. Speech has gaps between its sounds, so there
is some background even in audio that was closely cut."""
FULL_SCALE = 0.999
SILENCE_DBFS = -96.0
"""Level of digital silence: one step of 16 bits. Lower levels are not distinguished."""


def measure(samples: Samples, speech: Sequence[SpeechSpan]) -> Levels | None:
    """Measure `samples`, full scale ±1.0, in which the gate found `speech`.

    The level of the speech is the mean power of its louder half. None: there is not one frame.
    """
    count = len(samples) // FRAME
    if not count:
        return None
    frames = samples[: count * FRAME].reshape(count, FRAME)
    power = np.einsum("ij,ij->i", frames, frames) / FRAME
    quietest = max(int(count * QUIETEST), 1)
    noise = float(np.partition(power, quietest - 1)[:quietest].mean())
    spoken = [power[span.start // FRAME : -(-span.end // FRAME)] for span in speech]
    return Levels(_speech_dbfs(spoken), _dbfs(noise), _clipped(samples))


def _speech_dbfs(spoken: Sequence[Samples]) -> float | None:
    power = np.concatenate(spoken) if spoken else np.empty(0, np.float32)
    if not len(power):
        return None
    half = len(power) // 2
    return _dbfs(float(np.partition(power, half)[half:].mean()))


def _clipped(samples: Samples) -> float:
    """Share of samples at full scale."""
    if max(samples.max(), -samples.min()) < FULL_SCALE:
        return 0.0
    return np.count_nonzero(np.abs(samples) >= FULL_SCALE) / len(samples)


def _dbfs(power: float) -> float:
    return max(10 * log10(power), SILENCE_DBFS) if power > 0 else SILENCE_DBFS
