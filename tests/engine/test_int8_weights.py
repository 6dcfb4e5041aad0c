from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from stt_mqtt.engine.int8_weights import convert, quantized, weights_folder
from stt_mqtt.engine.models import WEIGHTS, default_models_dir, resolve

FLOAT32, INT8, FLOAT16 = 0, 1, 4
ROWS = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], np.float16)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are of Linux")


def text(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def variable(name: str, kind: int, array: np.ndarray) -> bytes:
    head = struct.pack(f"<B{array.ndim}IBI", array.ndim, *array.shape, kind, array.nbytes)
    return text(name) + head + array.tobytes()


def model(*variables: bytes, version: int = 6) -> bytes:
    head = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    aliases = struct.pack("<I", 1) + text("projection/weight") + text("embeddings/weight")
    return head + b"".join(variables) + aliases


WEIGHT = variable("embeddings/weight", FLOAT16, ROWS)
CONVERTED = (
    variable("embeddings/weight", INT8, np.array([[64, -127, 32], [0, 0, 0]], np.int8)),
    variable("embeddings/weight_scale", FLOAT32, np.array([63.5, 1.0], np.float32)),
)
OTHERS = (
    variable("bias", FLOAT16, ROWS[0]),
    variable("conv1/weight", FLOAT16, ROWS[np.newaxis]),
    variable("activation", INT8, np.array(3, np.int8)),
)


def test_weights_become_int8_with_a_scale_and_all_else_stays() -> None:
    out = io.BytesIO()
    convert(io.BytesIO(model(WEIGHT, *OTHERS)), out)
    assert out.getvalue() == model(*CONVERTED, *OTHERS)


def test_halves_are_rounded_to_even_as_in_ctranslate2() -> None:
    values, scales = quantized(np.array([[127.0, 0.5, 1.5, -2.5]], np.float32))
    assert (values.tolist(), scales.tolist()) == ([[127, 0, 2, -2]], [1.0])


def folder_with(folder: Path, weights: bytes) -> Path:
    (folder / WEIGHTS).write_bytes(weights)
    (folder / "config.json").write_text("{}")
    return folder


@linux_only
def test_the_folder_has_converted_weights_and_the_other_files(tmp_path: Path) -> None:
    original = model(WEIGHT)
    with weights_folder(folder_with(tmp_path, original), "int8") as folder:
        assert folder != tmp_path
        assert (folder / WEIGHTS).read_bytes() == model(*CONVERTED)
        assert (folder / "config.json").read_text() == "{}"
    assert not folder.exists()
    assert (tmp_path / WEIGHTS).read_bytes() == original


@pytest.mark.parametrize(
    ("weights", "compute_type"),
    [
        (model(WEIGHT), "float32"),
        (model(WEIGHT, version=4), "int8"),
        (model(WEIGHT, version=7), "int8"),
        (model(WEIGHT)[:60], "int8"),
        (b"", "int8"),
        (model(WEIGHT.replace(struct.pack("<I", 12), struct.pack("<I", 13))), "int8"),
    ],
    ids=["no int8", "old format", "new format", "cut off", "empty", "faulty size"],
)
def test_what_cannot_be_converted_is_loaded_as_it_is(
    tmp_path: Path, weights: bytes, compute_type: str
) -> None:
    with weights_folder(folder_with(tmp_path, weights), compute_type) as folder:
        assert folder == tmp_path


def test_without_room_for_temporary_files_the_model_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("stt_mqtt.engine.int8_weights.TemporaryDirectory", full)
    with weights_folder(folder_with(tmp_path, model(WEIGHT)), "int8") as folder:
        assert folder == tmp_path


@linux_only
def test_the_model_computes_the_same_to_the_last_bit() -> None:
    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper

    original = resolve("tiny.en", default_models_dir()).folder
    noise = np.random.default_rng(0).standard_normal((1, 80, 100)).astype(np.float32)
    outputs = []
    for compute_type in ("float32", "int8"):
        with weights_folder(original, compute_type) as folder:
            network = Whisper(str(folder), compute_type="int8", intra_threads=1)
        states = network.encode(StorageView.from_array(noise), to_cpu=True)
        (answer,) = network.generate(states, [[50257]], max_length=8, return_scores=True)
        outputs.append((np.array(states).tobytes(), answer.scores, answer.sequences_ids))
    assert outputs[0] == outputs[1]
