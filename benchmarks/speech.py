"""The recordings of the benchmarks: the speech data, or the samples of the demo."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

VARIABLE = "STT_MQTT_SPEECH"
MAX_CLIP_S = 28.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, 16-bit little-endian mono at `SAMPLE_RATE`, and its text.

    `speaker`: the clip's id if unknown; the original sound of a noise. `slots`: the values of an
    order.
    """

    id: str
    corpus: str
    text: str
    file: Path
    pcm: bytes
    speaker: str = ""
    slots: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.pcm) / 2 / SAMPLE_RATE


def recordings(language: str = "en", max_s: float = MAX_CLIP_S) -> list[Clip]:
    """The clips of the speech data in a language, up to `max_s`."""
    return _clips(
        "manifest.jsonl", lambda row: row["lang"] == language and row["duration_s"] <= max_s
    )


def orders() -> list[Clip]:
    """The voice commands of the speech data."""
    return _clips("slots_manifest.jsonl")


def noises(folder: Path | None = None) -> list[Clip]:
    """The noises of the speech data or of `folder`. `corpus`: the group, else the label."""
    return _clips("noise_manifest.jsonl", folder=folder)


def samples(folder: Path) -> list[Clip]:
    """The samples of the demo. Writes them to `folder` as WAV."""
    clips = []
    for sample in SAMPLES:
        file = folder / f"{sample.file}.wav"
        clips.append(Clip(sample.file, "samples", sample.text, file, sample.pcm()))
        write_wav(file, clips[-1].pcm)
    return clips


def write_wav(file: Path, pcm: bytes) -> None:
    """Write 16-bit mono at `SAMPLE_RATE`."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm)


def read_wav(file: Path) -> bytes:
    """The samples of a WAV file. Raises ValueError if it is not 16-bit mono at `SAMPLE_RATE`."""
    with wave.open(str(file)) as read:
        if (read.getframerate(), read.getnchannels(), read.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{file.name} is not 16-bit mono at {SAMPLE_RATE} Hz")
        return bytes(read.readframes(read.getnframes()))


def _clips(
    name: str,
    wanted: Callable[[Mapping[str, Any]], bool] = lambda _row: True,
    folder: Path | None = None,
) -> list[Clip]:
    folder = folder or Path(os.environ[VARIABLE])
    clips = []
    for row in filter(wanted, map(json.loads, (folder / name).read_text().splitlines())):
        file = folder / row["path"]
        corpus = row.get("group") or row.get("label") or row["corpus"]
        speaker = row.get("speaker") or row.get("sound") or row["id"]
        text, slots = row.get("text") or "", row.get("slots") or {}
        clips.append(Clip(row["id"], corpus, text, file, read_wav(file), speaker, slots))
    return clips
