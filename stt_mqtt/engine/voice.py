"""Whether a voice speaks, and when: the Silero VAD network, in numpy.

Of audio that is there as a whole, only the recurrence has to go step by step; in numpy that costs
less than an inference runtime takes in memory. The weights in `silero_vad_v6.npz` are those of
Silero VAD v6 (github.com/snakers4/silero-vad, MIT licence, copyright 2020-present Silero Team; the
text is in `silero_vad_v6.LICENSE`), as `make_voice_weights.py` took them from the ONNX file that
faster-whisper 1.2.1 ships.
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
"""Samples that one probability stands for: 32 ms."""

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
"""The arrays of the weights file and their shapes, all float32, inputs first.

The gates are, in this order, input, output and forget gate, halved, and the candidate.
"""

_CONTEXT = 64
_MIRRORED = 64
"""Samples that are repeated backwards behind a chunk."""
_FRAME, _HOP = 256, 128
_FRAMES = 4
"""Spectra of one chunk."""
_BINS = _FRAME // 2 + 1
_WIDTH = 128
_BLOCK = 64
"""Chunks that are computed together: what they need fits into a core's cache."""
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)


class VoiceDetector:
    """The network with its weights, named and shaped as in `WEIGHTS`; threads may share it."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = {name: weights[name] for name in WEIGHTS}

    @classmethod
    def load(cls) -> VoiceDetector:
        """The network with the weights of this package."""
        path = files("stt_mqtt.engine").joinpath("silero_vad_v6.npz")
        with path.open("rb") as file, np.load(file) as arrays:
            return cls(arrays)

    def probabilities(self, samples: Samples) -> Array:
        """The probability of a voice in each chunk of `CHUNK` samples, the last filled with zeros.

        Shape `(ceil(n / CHUNK),)` for `samples` of shape `(n,)`. Each chunk is seen behind the
        last 64 samples before it, zeros for the first, and remembers the chunks before it.
        """
        count = -(-len(samples) // CHUNK)
        padded = np.zeros(_CONTEXT + count * CHUNK, np.float32)
        padded[_CONTEXT : _CONTEXT + len(samples)] = samples
        probabilities = np.empty(count, np.float32)
        hidden, cell = np.zeros(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            gates = self._encode(_frames(padded[start * CHUNK : _CONTEXT + stop * CHUNK]))
            outputs = self._remember(gates, hidden, cell)
            probabilities[start:stop] = self._judge(outputs)
        return probabilities

    def _encode(self, frames: Array) -> Array:
        """What the chunks in `frames` say to the gates, shape `(chunks, 4 * 128)`."""
        weights = self._weights
        chunks = len(frames)
        spectra = np.fft.rfft(frames)
        magnitudes = np.sqrt(np.square(spectra.real) + np.square(spectra.imag))
        # A convolution of three taps: every tap of every spectrum at once, then moved and added.
        rows = magnitudes.astype(np.float32, copy=False).reshape(-1, _BINS)
        taps = (rows @ weights["spectrum_weight"]).reshape(chunks, _FRAMES, 3, _WIDTH)
        features = taps[:, :, 1] + weights["spectrum_bias"]
        features[:, 1:] += taps[:, :-1, 0]
        features[:, :-1] += taps[:, 1:, 2]
        flat = _rectify(features).reshape(chunks, _FRAMES * _WIDTH)
        # The same with every second place: the first tap of the first one meets only padding.
        weight = weights["halve_weight"]
        halves = np.concatenate(
            [flat[:, : 2 * _WIDTH] @ weight[_WIDTH:], flat[:, _WIDTH:] @ weight], axis=1
        )
        halves += np.tile(weights["halve_bias"], 2)
        joined = _rectify(_rectify(halves) @ weights["join_weight"] + weights["join_bias"])
        wide = _rectify(joined @ weights["widen_weight"] + weights["widen_bias"])
        return np.asarray(wide @ weights["gates_weight"] + weights["gates_bias"])

    def _remember(self, gates: Array, hidden: Array, cell: Array) -> Array:
        """The outputs of the LSTM, shape `(chunks, 128)`; `hidden` and `cell` go one block on."""
        weight = self._weights["recurrent_weight"]
        outputs = np.empty((len(gates), _WIDTH), np.float32)
        state = np.empty(4 * _WIDTH, np.float32)
        enters, leaves, keeps, candidate = np.split(state, 4)
        opening = state[: 3 * _WIDTH]
        for step, gate in enumerate(gates):
            np.dot(hidden, weight, out=state)
            state += gate
            np.tanh(state, out=state)
            # The logistic function of x is (tanh(x / 2) + 1) / 2, and these gates come halved.
            opening += 1
            opening *= 0.5
            cell *= keeps
            candidate *= enters
            cell += candidate
            np.tanh(cell, out=hidden)
            hidden *= leaves
            outputs[step] = hidden
        return outputs

    def _judge(self, outputs: Array) -> Array:
        weights = self._weights
        logits = _rectify(outputs) @ weights["speech_weight"] + weights["speech_bias"]
        return np.asarray(np.tanh(logits / 2) / 2 + 0.5)


def _frames(padded: Array) -> Array:
    """The windowed frames of the chunks in `padded`, which begins with the first one's context.

    Shape `(chunks, 4, 256)`.
    """
    chunks = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + CHUNK)[::CHUNK]
    mirrored = chunks[:, -2 : -2 - _MIRRORED : -1]
    seen = np.concatenate([chunks, mirrored], axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(seen, _FRAME, axis=1)[:, ::_HOP]
    return np.asarray(frames * _WINDOW)


def _rectify(values: Array) -> Array:
    """`values` with zeros in place of what is negative; computed in place."""
    return np.maximum(values, 0, out=values)
