"""Levels, noise floor and voice activity of frames of 30 ms, for satellites.

A frame counts as speech when two conditions hold: the voice detector takes it for a voice, and its
level in the voice band is far enough above the noise floor. The detector alone takes loud noise
for a voice, and the level alone takes a slammed door for one. The threshold at which speech begins
is higher than the one at which it goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log10

import numpy as np
import webrtcvad

from stt_mqtt.config import VadConfig
from stt_mqtt.types import SAMPLE_RATE

FRAME_MS = 30
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
LOWEST_FLOOR_DBFS = -78.0
"""The lowest noise floor; digital silence is below what any room has."""

_HZ_PER_BIN = SAMPLE_RATE / FRAME_SAMPLES
_BAND = slice(round(200 / _HZ_PER_BIN), round(4000 / _HZ_PER_BIN))
"""Spectral bins of voices: without the rumble below and the hiss above."""
_WINDOW = np.hanning(FRAME_SAMPLES).astype(np.float32)
_FULL_SCALE = 32768.0**2 * FRAME_SAMPLES * float(np.sum(np.square(_WINDOW))) / 4
"""Power in the band of a sine at full scale, so that levels are in dB below that."""

_SMOOTHING = 0.5
_SPAN = 16
"""Frames of a span, half a second."""
_SPANS = 16
"""Spans that are remembered, 8 s: longer than people speak without a gap between two words. Of 246
recordings of 3 s and more, 5 s lifted the floor to 30 dB below the voice or higher in four, 8 s in
none."""
_BIAS_DB = 1.5
"""How far the least smoothed power of steady noise lies below its mean."""
_FIRST_GUESS_DBFS = -60.0
"""Highest floor in the first moments, which may be speech."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of one frame; levels are in dB relative to a full-scale sine."""

    level_dbfs: float
    floor_dbfs: float
    """Level of the room."""
    voiced: bool
    """Whether the detector takes it for a voice."""
    begins: bool
    """Whether it is clear enough for an utterance to begin."""
    goes_on: bool
    """Whether it is clear enough for an utterance to go on."""
    sounds: bool
    """Whether it is louder than the room, a voice or not."""


class VoiceActivity:
    """Judges frames of 30 ms, one after the other."""

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        self._detector = webrtcvad.Vad(config.aggressiveness)
        self._floor = NoiseFloor()

    def process(self, frame: bytes) -> Activity:
        """Judge the next `FRAME_SAMPLES` of 16-bit little-endian mono at `SAMPLE_RATE`."""
        level_dbfs = band_power_db(frame)
        floor_dbfs = self._floor.push(level_dbfs)
        voiced = self._detector.is_speech(frame, SAMPLE_RATE)
        above_db = level_dbfs - floor_dbfs
        return Activity(
            level_dbfs,
            floor_dbfs,
            voiced,
            begins=voiced and above_db >= self._config.begin_db,
            goes_on=voiced and above_db >= self._config.go_on_db,
            sounds=above_db >= self._config.go_on_db,
        )


def band_power_db(frame: bytes) -> float:
    """Power of one frame of pcm_s16le in the band of voices, in dB below a full-scale sine."""
    samples = np.frombuffer(frame, "<i2") * _WINDOW
    spectrum = np.fft.rfft(samples)[_BAND]
    power = float(np.vdot(spectrum, spectrum).real)
    return 10 * log10(power / _FULL_SCALE + 1e-12)


class NoiseFloor:
    """The level of the room by minimum statistics (R. Martin, 2001, in one band).

    The floor is the least smoothed power of the last seconds. So it comes down at once and goes up
    within seconds.
    """

    def __init__(self) -> None:
        self._smoothed: float | None = None
        self._least = 0.0
        self._frames = 0
        self._spans: deque[float] = deque(maxlen=_SPANS)

    def push(self, power_db: float) -> float:
        """Take the level of the next frame; the floor after it, both in dBFS."""
        power = 10 ** (power_db / 10)
        if self._smoothed is None:
            self._smoothed = self._least = power
        self._smoothed = _SMOOTHING * self._smoothed + (1 - _SMOOTHING) * power
        if self._frames % _SPAN == 0:
            if self._frames:
                self._spans.append(self._least)
            self._least = self._smoothed
        self._frames += 1
        self._least = min(self._least, self._smoothed)
        floor_db = 10 * log10(min(self._least, *self._spans, 1.0)) + _BIAS_DB
        if len(self._spans) < 2:
            floor_db = min(floor_db, _FIRST_GUESS_DBFS)
        return max(floor_db, LOWEST_FLOOR_DBFS)
