"""The log-mel spectrogram, the input of Whisper, in numpy.

On one machine the numbers equal those of faster-whisper to the last digit. If the last digit
differs, the model transcribes one in ten single words differently, such as "2." for "2". So the
steps, their order and their memory layout are those of faster-whisper. Most of a window is silence
around the speech, so only frames with a non-zero sample are computed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.types import SAMPLE_RATE, Samples

HOP = 160
"""Samples from one frame to the next: 10 ms."""
_FRAME = 400
_EDGE = _FRAME // 2
"""Half a frame. Frames are centred: half of the first one mirrors the first samples."""
_BINS = _FRAME // 2 + 1
_BLOCK = 256
"""Frames that are transformed at once: 1.2 MB. Those of 28 s would take 14 MB."""
_LEAST = 1e-10
"""Least energy, so that the logarithm is finite."""
_RANGE = 8.0
"""Dynamic range in powers of ten. Quieter values are raised to the bottom of it."""
_LINEAR_MELS, _LINEAR_HZ = 15.0, 1000.0
"""Slaney's mel scale is linear up to this point, then logarithmic."""
_LOG_STEP = np.log(6.4) / 27.0
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)


class LogMel:
    """Computes log-mel frames of `mels` bands. Thread-safe."""

    def __init__(self, mels: int) -> None:
        self.filters = _mel_filters(mels).astype(np.float32)
        """The weight of each spectral bin in each mel band; shape `(mels, 201)`."""

    def __call__(self, samples: Samples) -> Floats:
        """The frames of `samples` (at least half a frame); shape `(mels, n // HOP)`."""
        energies = np.full((len(self.filters), len(samples) // HOP), _LEAST, np.float32)
        first, last = _touched(samples, energies.shape[1])
        if first < last:
            power = _power(samples, first, last)
            np.maximum(self.filters @ power.T, _LEAST, out=energies[:, first:last])
        frames = np.log10(energies, out=energies)
        np.maximum(frames, frames.max(initial=np.log10(_LEAST)) - _RANGE, out=frames)
        frames += 4.0
        frames /= 4.0
        return frames


def _power(samples: Samples, first: int, last: int) -> Floats:
    """The power spectra of the frames from `first` to before `last`; shape `(frames, 201)`."""
    start, stop = first * HOP - _EDGE, (last - 1) * HOP + _EDGE
    part = samples[max(start, 0) : stop]
    before, behind = max(-start, 0), max(stop - len(samples), 0)
    if before or behind:
        part = np.pad(part, (before, behind), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(part, _FRAME)[::HOP]
    magnitudes = np.empty((len(frames), _BINS), np.float32)
    for at in range(0, len(frames), _BLOCK):
        spectra = np.fft.rfft(frames[at : at + _BLOCK] * _WINDOW)
        np.abs(spectra.astype(np.complex64, copy=False), out=magnitudes[at : at + _BLOCK])
    return np.asarray(np.square(magnitudes, out=magnitudes))


def _touched(samples: Samples, frames: int) -> tuple[int, int]:
    """The range of frames with a non-zero sample: first frame, and end (exclusive)."""
    found = np.flatnonzero(samples)
    if not len(found):
        return 0, 0
    # Frames at the edges overlap mirrored samples.
    first = max(-(-(int(found[0]) - _EDGE + 1) // HOP), 0)
    last = min((int(found[-1]) + _EDGE) // HOP + 1, frames)
    return first, last


def _mel_filters(mels: int) -> npt.NDArray[np.float64]:
    """Triangular filters of equal area on Slaney's mel scale, from 0 Hz to half the rate."""
    places = np.linspace(0.0, _mel(SAMPLE_RATE / 2), mels + 2)
    linear = places * (_LINEAR_HZ / _LINEAR_MELS)
    hz = np.where(
        places < _LINEAR_MELS, linear, _LINEAR_HZ * np.exp(_LOG_STEP * (places - _LINEAR_MELS))
    )
    bins = np.linspace(0.0, SAMPLE_RATE / 2, _BINS)
    low, middle, high = hz[:-2, np.newaxis], hz[1:-1, np.newaxis], hz[2:, np.newaxis]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.asarray(np.maximum(triangles, 0.0) * (2.0 / (high - low)))


def _mel(hz: float) -> float:
    """Convert a frequency in the logarithmic part to mels."""
    return float(_LINEAR_MELS + np.log(hz / _LINEAR_HZ) / _LOG_STEP)
