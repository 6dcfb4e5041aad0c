"""The real tiny.en, from its package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiwer
import numpy as np
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from stt_mqtt.config import EngineConfig
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.models import ResolvedModel, resolve
from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.engine.whisper import WhisperTranscriber, load
from stt_mqtt.errors import InferenceFailedError, ModelError, UnsupportedLanguageError
from stt_mqtt.types import SAMPLE_RATE, Samples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    return resolve("tiny.en", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tiny(model: ResolvedModel) -> WhisperTranscriber:
    return load(model, EngineConfig(), Parallelism(2, 1))


@pytest.fixture(scope="module")
def speech_folder() -> Path:
    folder = os.environ.get("STT_MQTT_SPEECH")
    if not folder:
        pytest.skip("STT_MQTT_SPEECH names no folder with recordings")
    return Path(folder)


def read(folder: Path, corpus: str) -> tuple[Samples, str]:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    clip = next(entry for line in lines if (entry := json.loads(line))["corpus"] == corpus)
    with wave.open(str(folder / clip["path"])) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return pcm.astype(np.float32) / np.float32(32768), clip["text"]


def noise(seconds: float) -> Samples:
    samples = np.random.default_rng(seed=1).standard_normal(int(seconds * SAMPLE_RATE))
    return (samples * 0.01).astype(np.float32)


def word_error_rate(reference: str, heard: str) -> float:
    normalise = EnglishTextNormalizer()
    return float(jiwer.wer(normalise(reference), normalise(heard)))


def test_the_english_model_speaks_english_only(tiny: WhisperTranscriber) -> None:
    assert tiny.languages == {"en"}
    with pytest.raises(UnsupportedLanguageError):
        tiny.transcribe(Speech(noise(0.5), "de"))


@pytest.mark.parametrize("samples", [noise(0.0), noise(0.001), noise(0.1)])
def test_hardly_any_audio_is_still_answered(tiny: WhisperTranscriber, samples: Samples) -> None:
    transcript = tiny.transcribe(Speech(samples, "en"))
    assert 0.0 <= transcript.confidence <= 1.0
    assert 0.0 <= transcript.no_speech_prob <= 1.0


def test_a_prompt_longer_than_the_model_takes_is_cut(tiny: WhisperTranscriber) -> None:
    assert tiny.transcribe(Speech(noise(0.5), "en", "kitchen lamp " * 500)).language == "en"


def test_a_closed_model_fails_its_utterances(model: ResolvedModel) -> None:
    transcriber = load(model, EngineConfig(beam_size=1), Parallelism(1, 1))
    transcriber.close()
    with pytest.raises(InferenceFailedError):
        transcriber.transcribe(Speech(noise(0.5), "en"))


def test_an_unknown_compute_type_is_one_clear_sentence(model: ResolvedModel) -> None:
    with pytest.raises(ModelError, match=r"tiny\.en .*engine\.compute_type int3"):
        load(model, EngineConfig(compute_type="int3"), Parallelism(1, 1))


def test_a_damaged_model_is_one_clear_sentence(tmp_path: Path) -> None:
    for name in ("model.bin", "tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot be used"):
        load(ResolvedModel("mine", tmp_path), EngineConfig(), Parallelism(1, 1))


def test_loading_is_offline_and_brings_no_onnxruntime(model: ResolvedModel) -> None:
    program = f"""
import socket, sys
from pathlib import Path
def refuse(*_):
    raise SystemExit("the network was used")
socket.socket.connect = refuse
from stt_mqtt.config import EngineConfig
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.whisper import load
load(ResolvedModel("tiny.en", Path({str(model.folder)!r})), EngineConfig(), Parallelism(1, 1))
import huggingface_hub.constants
print(huggingface_hub.constants.HF_HUB_OFFLINE, "onnxruntime" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "False"]


def test_a_recorded_sentence_is_understood_alike_by_several_threads(
    tiny: WhisperTranscriber, speech_folder: Path
) -> None:
    samples, reference = read(speech_folder, "jfk")
    with ThreadPoolExecutor(3) as threads:
        heard = list(threads.map(tiny.transcribe, [Speech(samples, "en-GB")] * 3))
    assert word_error_rate(reference, heard[0].text) == 0.0
    assert heard[0] == heard[1] == heard[2]
    assert heard[0].confidence > 0.5
    assert heard[0].no_speech_prob < 0.5


def test_over_a_minute_of_speech_is_transcribed_without_a_gap(
    tiny: WhisperTranscriber, speech_folder: Path
) -> None:
    samples, reference = read(speech_folder, "ljspeech_long")
    assert len(samples) > 60 * SAMPLE_RATE
    told: list[float] = []
    transcript = tiny.transcribe(Speech(samples, "en"), told.append)
    assert word_error_rate(reference, transcript.text) < 0.05
    assert told == sorted(told)
    assert told[-1] == len(samples) / SAMPLE_RATE
