"""What the benchmarks say: the speech data where it is installed, else the samples."""

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
CHUNK_BYTES = 32_000
"""One second, where the way the audio is cut does not matter."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: 16-bit little-endian mono at `SAMPLE_RATE`, and what is said in it.

    `speaker`: the clip's id where nobody knows; of a noise, the sound that it was made of.
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

    @property
    def chunks(self) -> list[bytes]:
        """The audio in pieces of `CHUNK_BYTES`."""
        return [self.pcm[at : at + CHUNK_BYTES] for at in range(0, len(self.pcm), CHUNK_BYTES)]


def recordings(language: str = "en") -> list[Clip]:
    """Every clip of the speech data in a language up to `MAX_CLIP_S`, in the manifest's order."""
    folder, rows = _manifest("manifest.jsonl")
    return [
        _clip(folder, row, row["corpus"])
        for row in rows
        if row["lang"] == language and row["duration_s"] <= MAX_CLIP_S
    ]


def orders() -> list[Clip]:
    """Every clip of the speech data of which only the slots are known."""
    folder, rows = _manifest("slots_manifest.jsonl")
    return [_clip(folder, row, row["corpus"]) for row in rows]


def noises(built: Path | None = None) -> list[Clip]:
    """Every clip of the speech data, or of a folder, in which nobody speaks.

    `corpus` says what is heard: its group, if it has one.
    """
    folder, rows = _manifest("noise_manifest.jsonl", built)
    return [_clip(folder, row, row.get("group") or row["label"]) for row in rows]


def samples(folder: Path) -> list[Clip]:
    """The samples of the demo, written to `folder` as WAV."""
    clips = []
    for sample in SAMPLES:
        clip = Clip(
            sample.file, "samples", sample.text, folder / f"{sample.file}.wav", sample.pcm()
        )
        with wave.open(str(clip.file), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(clip.pcm)
        clips.append(clip)
    return clips


def read_pcm(path: Path) -> bytes:
    """The samples of a 16-bit mono WAV file at `SAMPLE_RATE`."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{path.name} is not 16-bit mono at {SAMPLE_RATE} Hz")
        return bytes(file.readframes(file.getnframes()))


def _manifest(name: str, built: Path | None = None) -> tuple[Path, list[dict[str, Any]]]:
    folder = built or Path(os.environ[VARIABLE])
    return folder, [json.loads(line) for line in (folder / name).read_text().splitlines()]


def _clip(folder: Path, row: Mapping[str, Any], corpus: str) -> Clip:
    file = folder / row["path"]
    return Clip(
        row["id"],
        corpus,
        row.get("text") or "",
        file,
        read_pcm(file),
        row.get("speaker") or row.get("sound") or row["id"],
        row.get("slots") or {},
    )
