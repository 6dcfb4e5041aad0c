"""Pauses that are planted into recordings, as of somebody who thinks while speaking.

A pause lies where the recording is quietest between two stretches of speech. All samples of the
recording stay as they are. The pause is filled with the background of the recording itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.household import ABOVE_FLOOR_DB, BELOW_PEAK_DB, frame_levels
from benchmarks.sounds import Rng, Sound, at_level, level_dbfs, pcm, shaped
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.types import SAMPLE_RATE

PAUSES_S = (0.2, 0.3, 0.4, 0.5, 0.7)
STRETCH_S = 0.25
"""Least length of the speech before and after a pause."""
WINDOW_S = 0.05
"""Length of the quiet place that a pause is planted in."""
APART_S = 0.3
"""Least distance of two such places."""
FADE_S = 0.01
QUIET_SHARE = 0.1
"""Of the windows of a recording, the quietest, which are its background."""
FLOOR_DBFS = -80.0
"""Least level of a background: a microphone never gives digital silence."""
SPEECH_PROBABILITY = 0.5
LEVEL_S = 0.01
"""Of the recording in one value of `frame_levels`."""
BEFORE_END_S, BEHIND_END_S = 0.3, 0.18
"""Around the end of the last speech, where its last sound ends."""
_WINDOW = 512
_HOP = 256


@dataclass(frozen=True, slots=True)
class Planted:
    """A recording with a pause of `seconds` before its sample `at`."""

    sound: Sound
    at: int
    seconds: float


def speech_span(sound: Sound) -> tuple[float, float] | None:
    """When speech begins and when its last sound ends, in seconds; None: there is no speech.

    The voice detector finds both to 0.1 s. The last sound ends with the last level of 10 ms, of
    those around, that is above the background. So the end is known to 30 ms.
    """
    voiced = np.flatnonzero(probabilities := _voice().probabilities(sound) > SPEECH_PROBABILITY)
    if not len(voiced):
        return None
    step_s = len(sound) / SAMPLE_RATE / len(probabilities)
    first_s, last_s = float(voiced[0]) * step_s, float(voiced[-1] + 1) * step_s
    levels = frame_levels(np.frombuffer(pcm(sound), "<i2"))
    floor, peak = float(np.quantile(levels, 0.1)), float(levels.max())
    start = max(round((last_s - BEFORE_END_S) / LEVEL_S), 0)
    around = levels[start : round((last_s + BEHIND_END_S) / LEVEL_S)]
    loud = np.flatnonzero(around > max(floor + ABOVE_FLOOR_DB, peak - BELOW_PEAK_DB))
    return first_s, (start + int(loud[-1]) + 1) * LEVEL_S if len(loud) else last_s


@cache
def _voice() -> VoiceDetector:
    return VoiceDetector.load()


def background(sound: Sound, seconds: float, rng: Rng) -> Sound:
    """Noise with the spectrum and the level of the quietest parts of a recording."""
    count = max((len(sound) - _WINDOW) // _HOP + 1, 1)
    padded = np.pad(sound, (0, _WINDOW))
    windows = np.stack([padded[_HOP * number :][:_WINDOW] for number in range(count)])
    power = np.mean(np.square(windows, dtype=np.float64), axis=1)
    quiet = windows[np.argsort(power)[: max(round(QUIET_SHARE * count), 1)]]
    spectrum = np.sqrt(np.mean(np.abs(np.fft.rfft(quiet * np.hanning(_WINDOW))) ** 2, axis=0))
    hz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    noise = shaped(rng, seconds, lambda f: np.interp(f, hz, spectrum + 1e-9))
    return at_level(noise, max(level_dbfs(quiet.ravel()), FLOOR_DBFS))


def quietest(sound: Sound) -> int | None:
    """The sample in the middle of the quietest place between two stretches of speech."""
    return next(iter(quiet_places(sound, 1)), None)


def quiet_places(sound: Sound, most: int) -> list[int]:
    """The quietest places as in `quietest`, the quietest first, `APART_S` from each other."""
    span = speech_span(sound)
    if span is None:
        return []
    first, last = (round(at * SAMPLE_RATE) for at in (span[0] + STRETCH_S, span[1] - STRETCH_S))
    length = round(WINDOW_S * SAMPLE_RATE)
    if last - first < length:
        return []
    total = np.concatenate([[0.0], np.cumsum(np.square(sound[first:last], dtype=np.float64))])
    energy, apart = total[length:] - total[:-length], round(APART_S * SAMPLE_RATE)
    places: list[int] = []
    while len(places) < most and np.isfinite(energy).any():
        at = int(np.argmin(energy))
        places.append(first + at + length // 2)
        energy[max(at - apart, 0) : at + apart] = np.inf
    return places


def planted(sound: Sound, seconds: float, rng: Rng) -> Planted | None:
    """A pause in the quietest place; None: there is no place between two stretches of speech.

    The recording fades into the background and out of it within the pause, so nothing clicks.
    """
    at = quietest(sound)
    if at is None:
        return None
    pause = background(sound, seconds, rng)
    fade = round(FADE_S * SAMPLE_RATE)
    rise = np.linspace(0, 1, fade, dtype=np.float32)
    pause[:fade] = rise * pause[:fade] + rise[::-1] * sound[at : at + fade]
    pause[-fade:] = rise[::-1] * pause[-fade:] + rise * sound[at - fade : at]
    return Planted(np.concatenate([sound[:at], pause, sound[at:]]), at, len(pause) / SAMPLE_RATE)
