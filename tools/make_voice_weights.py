"""Makes the weights of the voice detector, for maintainers.

`python -m tools.make_voice_weights PATH.onnx` takes the `silero_vad_v6.onnx` that
faster-whisper 1.2.1 ships in its folder `assets`, and needs the package `onnx`. The file
belongs into the repository, so nobody else has to run this.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stt_mqtt.engine import voice
from stt_mqtt.engine.voice import WEIGHTS

SOURCE_SHA256 = "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"
"""Digest of the ONNX file whose layers `arrange` knows."""
TARGET = Path(voice.__file__).with_name("silero_vad_v6.npz")


def main() -> None:
    """Make the weights file anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path, help="silero_vad_v6.onnx of faster-whisper 1.2.1")
    data = parser.parse_args().onnx.read_bytes()
    if sha256(data).hexdigest() != SOURCE_SHA256:
        parser.error("this is another file than the one whose layers are known here")
    weights: dict[str, Any] = arrange(read_tensors(data))
    assert {name: array.shape for name, array in weights.items()} == WEIGHTS
    np.savez(TARGET, **weights)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


def read_tensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The tensors of an ONNX file by name."""
    import onnx
    import onnx.numpy_helper

    graph = onnx.load_model_from_string(data).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def arrange(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors as the detector multiplies by them; see `WEIGHTS`.

    The spectrum's basis is left out, being a Fourier transform under a Hann window; so are the
    taps of convolutions that only ever meet padding.
    """
    conv = [tensors[f"encoder.conv_layers.{layer}.weight"] for layer in range(4)]
    bias = [tensors[f"encoder.conv_layers.{layer}.bias"] for layer in range(4)]
    gates, recurrent, biases = (tensors[f"onnx::LSTM_{number}"][0] for number in (209, 210, 211))
    halves = np.repeat([0.5, 0.5, 0.5, 1.0], len(gates) // 4)
    arranged = {
        "spectrum_weight": conv[0].transpose(1, 2, 0).reshape(len(conv[0][0]), -1),
        "spectrum_bias": bias[0],
        "halve_weight": _by_tap(conv[1]),
        "halve_bias": bias[1],
        "join_weight": _by_tap(conv[2][:, :, 1:]),
        "join_bias": bias[2],
        "widen_weight": _by_tap(conv[3][:, :, 1:2]),
        "widen_bias": bias[3],
        "gates_weight": gates.T * halves,
        "gates_bias": biases.reshape(2, -1).sum(axis=0) * halves,
        "recurrent_weight": recurrent.T * halves,
        "speech_weight": tensors["decoder.conv1d.weight"].reshape(-1),
        "speech_bias": tensors["decoder.conv1d.bias"],
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arranged.items()}


def _by_tap(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A convolution's weights (outputs, inputs, taps) as a matrix (taps * inputs, outputs)."""
    return weight.transpose(2, 1, 0).reshape(-1, len(weight))


if __name__ == "__main__":
    main()
