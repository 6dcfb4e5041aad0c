"""The voice detector: the Silero VAD network, in numpy.

The audio is complete, so only the recurrence must run step by step. In numpy this needs far less
memory than an inference runtime. The weights in `silero_vad_v6.npz` are those of Silero VAD v6
(github.com/snakers4/silero-vad, MIT licence, copyright 2020-present Silero Team; the text is in
`silero_vad_v6.LICENSE`). `tools/make_voice_weights.py` extracted them from the ONNX file in
faster-whisper 1.2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stt_mqtt.types import Samples

Array: TypeAlias = npt.NDArray[np.float32]

CHUNK = 512
"""Samples per probability: 32 ms."""

WEIGHTS = {
    "spectrum_weight": (129, 3 * 128),
    "spectrum_bias": (128,),
    "halve_weight": (3 * 128, 64),
    "halve_bias": (64,),
    "join_weight": (2 * 64, 64),
    "join_bias": (64,),
    "widen_weight": (64, 128),
    "widen_bias": (128,),
    "gates_weight": (128, 4 * 128),
    "gates_bias": (4 * 128,),
    "recurrent_weight": (128, 4 * 128),
    "speech_weight": (128,),
    "speech_bias": (1,),
}
"""The arrays of the weights file and their shapes, input dimension first; all float32.

The order of the gates is input, output and forget gate (halved), then the candidate.
"""

_CONTEXT = 64
_MIRRORED = 64
"""Samples that are mirrored after a chunk."""
_FRAME, _HOP = 256, 128
_FRAMES = 4
"""Spectra per chunk."""
_HALF = _FRAME // 2
_BINS = _HALF + 1
_WIDTH = 128
_BLOCK = 64
"""Chunks that are computed together. Their data fits into the cache of a core."""


def _windowed_basis() -> tuple[Array, Array]:
    """Cosines and sines of the bins with a Hann window, for the folded halves of a frame.

    Both have the shape (128, 129): samples 1 to 128 of a frame, and bins. The window is 0 at sample
    0. The sample in the middle has no partner, so its even half is twice itself.
    """
    places = np.arange(1, _HALF + 1)
    window = 0.5 - 0.5 * np.cos(np.pi * places / _HALF)
    window[-1] /= 2
    angles = np.pi / _HALF * np.outer(places, np.arange(_BINS))
    cosines, sines = window[:, np.newaxis] * np.cos(angles), window[:, np.newaxis] * np.sin(angles)
    return cosines.astype(np.float32), sines.astype(np.float32)


_COSINES, _SINES = _windowed_basis()


class VoiceDetector:
    """The network. The weights are named and shaped as in `WEIGHTS`. Thread-safe."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = {name: weights[name] for name in WEIGHTS}

    @classmethod
    def load(cls) -> VoiceDetector:
        """Load the network with the weights in this package."""
        path = files("stt_mqtt.engine").joinpath("silero_vad_v6.npz")
        with path.open("rb") as file, np.load(file) as arrays:
            return cls(arrays)

    def probabilities(self, samples: Samples) -> Array:
        """The probability of a voice in each chunk of `CHUNK` samples. The last is zero-padded.

        Shape `(ceil(n / CHUNK),)` for `samples` of shape `(n,)`. The network gets each chunk with
        the 64 samples before it (zeros for the first) and has a memory of earlier chunks.
        """
        count = -(-len(samples) // CHUNK)
        padded = np.zeros(_CONTEXT + count * CHUNK, np.float32)
        padded[_CONTEXT : _CONTEXT + len(samples)] = samples
        probabilities = np.empty(count, np.float32)
        hidden, cell = np.zeros(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            magnitudes = _magnitudes(padded[start * CHUNK : _CONTEXT + stop * CHUNK])
            outputs = self._remember(self._encode(magnitudes), hidden, cell)
            hidden = outputs[-1].copy()
            probabilities[start:stop] = self._judge(outputs)
        return probabilities

    def _encode(self, magnitudes: Array) -> Array:
        """The input of the gates, shape `(chunks, 4 * 128)`, from the output of `_magnitudes`."""
        weights = self._weights
        chunks = len(magnitudes) // _FRAMES
        # A convolution with three taps: all taps of all spectra at once, then shifted and added.
        taps = (magnitudes @ weights["spectrum_weight"]).reshape(chunks, _FRAMES, 3, _WIDTH)
        features = taps[:, :, 1] + weights["spectrum_bias"]
        features[:, 1:] += taps[:, :-1, 0]
        features[:, :-1] += taps[:, 1:, 2]
        flat = _rectify(features).reshape(chunks, _FRAMES * _WIDTH)
        # The same with stride 2. The first tap of the first position gets only padding.
        weight = weights["halve_weight"]
        halves = np.concatenate(
            [flat[:, : 2 * _WIDTH] @ weight[_WIDTH:], flat[:, _WIDTH:] @ weight], axis=1
        )
        halves += np.tile(weights["halve_bias"], 2)
        joined = _rectify(_rectify(halves) @ weights["join_weight"] + weights["join_bias"])
        wide = _rectify(joined @ weights["widen_weight"] + weights["widen_bias"])
        return np.asarray(wide @ weights["gates_weight"] + weights["gates_bias"])

    def _remember(self, gates: Array, hidden: Array, cell: Array) -> Array:
        """Outputs of the LSTM after `hidden`, shape `(chunks, 128)`. Changes `cell` in place."""
        weight = self._weights["recurrent_weight"]
        outputs = np.empty((len(gates), _WIDTH), np.float32)
        state = np.empty(4 * _WIDTH, np.float32)
        enters, leaves, keeps, candidate = np.split(state, 4)
        opening = state[: 3 * _WIDTH]
        for gate, output in zip(gates, outputs, strict=True):
            np.dot(hidden, weight, out=state)
            state += gate
            np.tanh(state, out=state)
            # The logistic function of x is (tanh(x / 2) + 1) / 2. These gates are already halved.
            opening += 1
            opening *= 0.5
            cell *= keeps
            candidate *= enters
            cell += candidate
            np.tanh(cell, out=candidate)
            hidden = np.multiply(candidate, leaves, out=output)
        return outputs

    def _judge(self, outputs: Array) -> Array:
        weights = self._weights
        logits = _rectify(outputs) @ weights["speech_weight"] + weights["speech_bias"]
        return np.asarray(np.tanh(logits / 2) / 2 + 0.5)


def _magnitudes(padded: Array) -> Array:
    """The spectra of the chunks in `padded`, which begins with the context of the first one.

    Shape `(chunks * 4, 129)`. A frame is the sum of an even and an odd half around its middle. The
    even half has only cosines, the odd half only sines. Two products of half the size are faster
    here than many short Fourier transforms, and are single precision in every numpy version.
    """
    chunks = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + CHUNK)[::CHUNK]
    mirrored = chunks[:, -2 : -2 - _MIRRORED : -1]
    seen = np.concatenate([chunks, mirrored], axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(seen, _FRAME, axis=1)[:, ::_HOP]
    rising, falling = frames[..., 1 : _HALF + 1], frames[..., : _HALF - 1 : -1]
    squares = np.square((rising + falling).reshape(-1, _HALF) @ _COSINES)
    squares += np.square((rising - falling).reshape(-1, _HALF) @ _SINES)
    return np.asarray(np.sqrt(squares, out=squares))


def _rectify(values: Array) -> Array:
    """Replace negative values with zeros, in place."""
    return np.maximum(values, 0, out=values)
