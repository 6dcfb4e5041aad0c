from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.voice import CHUNK, WEIGHTS, VoiceDetector
from stt_mqtt.types import SAMPLE_RATE, Samples
from tests.thorough import examples

Probabilities: TypeAlias = npt.NDArray[np.float32]
Detect: TypeAlias = Callable[[Samples], Probabilities]

DETECTOR = VoiceDetector.load()
CONTEXT = 64


def noise(count: int, level: float = 0.1, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(count) * level).astype(np.float32)


def speech(index: int) -> Samples:
    pcm = np.frombuffer(SAMPLES[index].pcm(), "<i2")
    return np.asarray(pcm / 32768, np.float32)


def tone(count: int) -> Samples:
    phase = np.arange(count) * (2 * np.pi * 440 / SAMPLE_RATE)
    return np.asarray(np.sin(phase), np.float32)


SPEECH = speech(5)


@pytest.fixture(scope="module")
def onnx() -> Detect:
    """The network in ONNX's own runtime, fed chunk by chunk as the detector says it is."""
    runtime = pytest.importorskip("onnxruntime")
    path = files("faster_whisper").joinpath("assets", "silero_vad_v6.onnx")
    if not path.is_file():
        pytest.skip("the installed faster-whisper has no silero_vad_v6.onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path.read_bytes(), options)

    def detect(samples: Samples) -> Probabilities:
        hidden = cell = np.zeros((1, 1, 128), np.float32)
        context = np.zeros(CONTEXT, np.float32)
        found = []
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            chunk = np.pad(chunk, (0, CHUNK - len(chunk)))
            seen = np.concatenate([context, chunk])[np.newaxis]
            probability, hidden, cell = session.run(None, {"input": seen, "h": hidden, "c": cell})
            found.append(probability)
            context = chunk[-CONTEXT:]
        return np.concatenate(found)

    return detect


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_speech_is_judged_as_the_onnx_runtime_judges_it(onnx: Detect, index: int) -> None:
    samples = speech(index)
    np.testing.assert_allclose(DETECTOR.probabilities(samples), onnx(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "samples",
    [
        noise(CHUNK),
        noise(5 * SAMPLE_RATE),
        noise(5 * SAMPLE_RATE, level=1e-3, seed=1),
        np.clip(noise(64 * CHUNK, level=3, seed=2), -1, 1),
        noise(SAMPLE_RATE // 3, seed=3),
        tone(64 * CHUNK + 1),
        np.zeros(SAMPLE_RATE, np.float32),
        np.concatenate([speech(0) * 0.01, noise(SAMPLE_RATE), speech(4)]),
    ],
    ids=["one chunk", "noise", "quiet", "clipped", "short", "tone", "silence", "mixed"],
)
def test_other_sounds_are_judged_as_the_onnx_runtime_judges_them(
    onnx: Detect, samples: Samples
) -> None:
    np.testing.assert_allclose(DETECTOR.probabilities(samples), onnx(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("count", "chunks"),
    [(1, 1), (CHUNK, 1), (CHUNK + 1, 2), (64 * CHUNK, 64), (65 * CHUNK - 1, 65)],
)
def test_every_chunk_has_one_probability_also_an_incomplete_one(count: int, chunks: int) -> None:
    found = DETECTOR.probabilities(noise(count))
    assert found.shape == (chunks,)
    assert found.dtype == np.float32


def test_nothing_has_no_probabilities() -> None:
    assert DETECTOR.probabilities(np.zeros(0, np.float32)).shape == (0,)


def test_an_incomplete_chunk_is_filled_with_zeros() -> None:
    samples = speech(0)[: 20 * CHUNK - 200]
    filled = np.pad(samples, (0, 200))
    assert np.array_equal(DETECTOR.probabilities(samples), DETECTOR.probabilities(filled))


def test_silence_is_no_voice() -> None:
    assert DETECTOR.probabilities(np.zeros(2 * SAMPLE_RATE, np.float32)).max() < 0.05


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_speech_is_more_of_a_voice_than_noise_as_loud(index: int) -> None:
    samples = speech(index)
    level = float(np.sqrt(np.mean(np.square(samples))))
    heard = DETECTOR.probabilities(samples)
    assert heard.mean() > 2 * DETECTOR.probabilities(noise(len(samples), level)).mean()
    assert heard.max() > 0.5


@settings(deadline=None, max_examples=examples(30))
@given(count=st.integers(0, 140 * CHUNK), seed=st.integers(0, 9))
def test_a_chunk_is_judged_by_what_came_before_only(count: int, seed: int) -> None:
    samples = np.concatenate([SPEECH, noise(140 * CHUNK, seed=seed)])
    whole = DETECTOR.probabilities(samples)
    complete = count // CHUNK
    np.testing.assert_allclose(
        DETECTOR.probabilities(samples[:count])[:complete], whole[:complete], rtol=0, atol=1e-5
    )
    assert np.all((whole >= 0) & (whole <= 1))


def test_the_samples_are_left_as_they_are() -> None:
    samples = speech(0)
    before = samples.copy()
    samples.flags.writeable = False
    DETECTOR.probabilities(samples)
    assert np.array_equal(samples, before)


def test_threads_share_a_detector() -> None:
    inputs = [speech(index % 2) if index % 3 else noise(SAMPLE_RATE) for index in range(12)]
    alone = [DETECTOR.probabilities(samples) for samples in inputs]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(DETECTOR.probabilities, inputs))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_the_weights_file_holds_what_the_network_needs_and_names_its_licence() -> None:
    folder = files("stt_mqtt.engine")
    with folder.joinpath("silero_vad_v6.npz").open("rb") as file, np.load(file) as arrays:
        assert {name: array.shape for name, array in arrays.items()} == WEIGHTS
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    licence = folder.joinpath("silero_vad_v6.LICENSE").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "Silero Team" in licence
