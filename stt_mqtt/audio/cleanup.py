"""Cleans microphone audio in frames: high-pass, noise suppression, automatic gain."""

from __future__ import annotations

from collections.abc import Callable
from math import log10, pi, tan
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stt_mqtt.audio.activity import FRAME_SAMPLES, NoiseFloor, band_power_db
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.errors import MissingExtraError
from stt_mqtt.types import SAMPLE_RATE

_Stage: TypeAlias = Callable[[bytes], bytes]
_Signal: TypeAlias = npt.NDArray[np.float64]

_CUT_OFF_HZ = 100.0

_TARGET_DBFS = -20.0
"""Target level of quiet speech in the voice band, relative to a full-scale sine."""
_OVER_FLOOR_DB = 12.0
"""How far above the noise floor a frame must be to count as speech."""
_STILL_OVER_FLOOR_DB = 6.0
"""If the learned level is closer to the floor than this, it was not speech (but a fan, say)."""
_LEARNING = 50
"""Frames until the noise floor is known. No frame counts as speech before."""
_SMOOTHING = 0.03
"""Weight of a frame in the level of the speech: a time constant of about 1 s."""
_RISE_DB = 0.024
"""Largest rise of the gain per frame: 0.8 dB per second. A faster rise would look like speech to
the noise floors that follow, which have a memory of some seconds."""
_FALL_DB = 0.2
_LIMIT = 32767 * 10 ** (-1 / 20)
"""Highest peak after amplification, 1 dB below full scale."""

_SUPPRESSION_DB = -15
"""Largest attenuation of a band. Neither 6 nor 30 dB gave fewer wrong words."""
_SUPPRESSED_BYTES = 320
"""Bytes per call of the suppressor, 10 ms."""


class Cleanup:
    """The enabled stages in order. Not thread-safe."""

    def __init__(self, config: CleanupConfig) -> None:
        """Raises MissingExtraError if noise suppression is on and its package is missing."""
        self._stages: list[_Stage] = []
        if config.high_pass:
            self._stages.append(_HighPass())
        if config.noise_suppression:
            self._stages.append(_noise_suppression())
        if config.auto_gain:
            self._stages.append(_AutoGain(config.max_gain_db))

    def process(self, frame: bytes) -> bytes:
        """Clean the next frame: 960 bytes of pcm_s16le, 30 ms at 16 kHz."""
        for stage in self._stages:
            frame = stage(frame)
        return frame


class _HighPass:
    """A second-order Butterworth filter, computed by partial fractions.

    The two poles are conjugate, so one complex state is enough: `s[n] = p s[n-1] + u[n]` and
    `y[n] = k u[n] + Re(r s[n])`. Divided by `p^n` this is a cumulative sum, which numpy computes
    for a whole frame. `p^-480` is a million, so no precision is lost.
    """

    def __init__(self) -> None:
        analogue = tan(pi * _CUT_OFF_HZ / SAMPLE_RATE) * np.exp(0.75j * pi)
        self._pole = complex((1 + analogue) / (1 - analogue))
        scale = abs(1 + self._pole) ** 2 / 4
        self._direct = scale / abs(self._pole) ** 2
        zeros = scale * (1 - 1 / self._pole) ** 2
        self._residue = 2 * zeros / (1 - self._pole.conjugate() / self._pole)
        self._powers = self._pole ** np.arange(FRAME_SAMPLES)
        self._carry = 0j

    def __call__(self, frame: bytes) -> bytes:
        samples = _signal(frame)
        states = self._powers * (self._carry + np.cumsum(samples / self._powers))
        self._carry = self._pole * complex(states[-1])
        return _frame(self._direct * samples + (self._residue * states).real)


class _AutoGain:
    """Amplifies quiet voices slowly. Loud audio passes unchanged.

    The level of the voice is learned only from frames well above the noise floor, so pauses and
    steady noise have no effect. Peaks are limited at once, and only while they last.
    """

    def __init__(self, max_gain_db: float) -> None:
        self._max_gain_db = max_gain_db
        self._floor = NoiseFloor()
        self._frames = 0
        self._speech: float | None = None
        """Mean power of the speech, relative to a full-scale sine; None: no speech yet."""
        self._gain_db = 0.0
        self._last = 1.0
        """The gain of the last sample."""

    def __call__(self, frame: bytes) -> bytes:
        self._learn(band_power_db(frame))
        samples = _signal(frame)
        gains = np.linspace(self._last, 10 ** (self._gain_db / 20), FRAME_SAMPLES)
        peaks = np.maximum.accumulate(np.abs(samples))
        gains = np.minimum(gains, np.maximum(_LIMIT / np.maximum(peaks, 1.0), 1.0))
        self._last = float(gains[-1])
        return _frame(gains * samples)

    def _learn(self, level_db: float) -> None:
        floor_db = self._floor.push(level_db)
        self._frames += 1
        if self._frames > _LEARNING and level_db >= floor_db + _OVER_FLOOR_DB:
            power = 10 ** (level_db / 10)
            before = power if self._speech is None else self._speech
            self._speech = before + _SMOOTHING * (power - before)
        wanted_db = 0.0
        if self._speech is not None:
            speech_db = 10 * log10(self._speech)
            if speech_db < floor_db + _STILL_OVER_FLOOR_DB:
                self._speech = None
            else:
                wanted_db = min(max(_TARGET_DBFS - speech_db, 0.0), self._max_gain_db)
        self._gain_db += min(max(wanted_db - self._gain_db, -_FALL_DB), _RISE_DB)


def _noise_suppression() -> _Stage:
    try:
        from pyspeex_noise import AudioProcessor
    except ImportError as error:
        raise MissingExtraError(error.name, "satellite") from error
    suppressor = AudioProcessor(auto_gain=0, noise_suppression=_SUPPRESSION_DB)

    def suppress(frame: bytes) -> bytes:
        starts = range(0, len(frame), _SUPPRESSED_BYTES)
        return b"".join(
            suppressor.process_10ms(frame[at : at + _SUPPRESSED_BYTES]) for at in starts
        )

    return suppress


def _signal(frame: bytes) -> _Signal:
    return np.frombuffer(frame, "<i2").astype(np.float64)


def _frame(samples: _Signal) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
