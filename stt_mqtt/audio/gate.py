"""The speech gate: whether somebody speaks, and where.

It is cheap and finds silence, room tone, hum and clicks; what is loud and changes (dogs, music)
passes, and the model has to judge it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import webrtcvad

from stt_mqtt.config import GateConfig
from stt_mqtt.types import SAMPLE_RATE, Samples

_FRAME_MS = 30
_FRAME = SAMPLE_RATE * _FRAME_MS // 1000
_BACKGROUND_FRAMES = 10
"""The quietest frames are taken for the background; of short audio only a quarter, since an
edge that cut closely leaves hardly anything but speech."""
_OVER_BACKGROUND = 1.5
"""Power of speech over that of the background, at least; speech under noise has no more."""


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """Sample indices: the first sound of speech, and behind the last; with the margin.

    `speech_s`: seconds from the first to the last sound, without it.
    """

    start: int
    end: int
    speech_s: float


def find_speech(samples: Samples, config: GateConfig) -> SpeechSpan | None:
    """Where speech is in `samples`, at full scale ±1.0; None: nobody speaks.

    With the gate off everything is speech.
    """
    if not config.enabled:
        return SpeechSpan(0, len(samples), len(samples) / SAMPLE_RATE)
    count = len(samples) // _FRAME
    frames = samples[: count * _FRAME].reshape(count, _FRAME)
    power = np.mean(np.square(frames), axis=1)
    quietest = np.argsort(power)[: min(_BACKGROUND_FRAMES, count // 4)]
    background = float(power[quietest].mean()) if len(quietest) else 0.0

    voiced = _voiced(frames, quietest, config.aggressiveness)
    voiced &= power >= 10 ** (config.floor_dbfs / 10)
    # The detector stays on for 60 to 90 ms after a click; those frames are only background.
    sounding = np.count_nonzero(voiced & (power >= _OVER_BACKGROUND * background))
    if sounding * _FRAME_MS < config.min_speech_ms:
        return None
    found = np.flatnonzero(voiced)
    margin = config.margin_ms * SAMPLE_RATE // 1000
    start = int(found[0]) * _FRAME
    end = int(found[-1] + 1) * _FRAME
    return SpeechSpan(
        max(start - margin, 0), min(end + margin, len(samples)), (end - start) / SAMPLE_RATE
    )


def _voiced(
    frames: Samples, background: npt.NDArray[np.intp], aggressiveness: int
) -> npt.NDArray[np.bool_]:
    """Which frames sound like a voice.

    A new detector takes any sound for a voice until it knows the background, about 100 ms,
    so it hears the frames at the indices `background` first.
    """
    detector = webrtcvad.Vad(aggressiveness)
    pcm = [frame.tobytes() for frame in (np.clip(frames, -1, 1) * 32767).astype("<i2")]
    for index in background[::-1]:
        detector.is_speech(pcm[index], SAMPLE_RATE)
    return np.array([detector.is_speech(frame, SAMPLE_RATE) for frame in pcm], bool)
