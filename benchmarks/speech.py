"""What the benchmarks speak: the speech data where it is installed, else the demo's samples."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

VARIABLE = "STT_MQTT_SPEECH"
MAX_CLIP_S = 28.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording: 16-bit little-endian mono at `SAMPLE_RATE`, and what is said in it.

    `speaker`: the clip's id if nobody knows; of a noise, the sound that it was made from.
    `slots`: what must be understood of an order.
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
        """Length of the recording."""
        return len(self.pcm) / 2 / SAMPLE_RATE


def recordings(language: str = "en") -> list[Clip]:
    """Every clip of the speech data in a language up to `MAX_CLIP_S`, in the manifest's order."""
    return [
        clip_of(folder, row, row["corpus"])
        for folder, row in rows("manifest.jsonl")
        if row["lang"] == language and row["duration_s"] <= MAX_CLIP_S
    ]


def orders() -> list[Clip]:
    """Every clip of the speech data of which only the slots are known."""
    return [clip_of(folder, row, row["corpus"]) for folder, row in rows("slots_manifest.jsonl")]


def noises(folder: Path | None = None) -> list[Clip]:
    """Every clip of the speech data, or of a folder, in which nobody speaks.

    `corpus` is its group if it has one, else what is heard.
    """
    found = rows("noise_manifest.jsonl", folder)
    return [clip_of(where, row, row.get("group") or row["label"]) for where, row in found]


def samples(folder: Path) -> list[Clip]:
    """The samples of the demo, written to `folder` as WAV."""
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


def rows(name: str, folder: Path | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """The lines of a manifest, each with the folder that its path starts from."""
    folder = folder or Path(os.environ[VARIABLE])
    return [(folder, json.loads(line)) for line in (folder / name).read_text().splitlines()]


def clip_of(folder: Path, row: Mapping[str, Any], corpus: str) -> Clip:
    """The recording that a line of a manifest names."""
    file = folder / row["path"]
    speaker = row.get("speaker") or row.get("sound") or row["id"]
    text = row.get("text") or ""
    return Clip(row["id"], corpus, text, file, read_wav(file), speaker, row.get("slots") or {})
