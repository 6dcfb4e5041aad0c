"""What the benchmarks say: the speech data where it is installed, else the samples."""

from __future__ import annotations

import json
import os
import wave
from dataclasses import dataclass
from pathlib import Path

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

VARIABLE = "STT_MQTT_SPEECH"
MAX_CLIP_S = 28.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: 16-bit little-endian mono at `SAMPLE_RATE`, and what is said in it."""

    id: str
    corpus: str
    text: str
    file: Path
    pcm: bytes

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.pcm) / 2 / SAMPLE_RATE


def recordings() -> list[Clip]:
    """Every English clip of the speech data up to `MAX_CLIP_S`, in the manifest's order."""
    folder = Path(os.environ[VARIABLE])
    rows = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    return [
        Clip(
            row["id"], row["corpus"], row["text"], folder / row["path"], _pcm(folder / row["path"])
        )
        for row in rows
        if row["lang"] == "en" and row["duration_s"] <= MAX_CLIP_S
    ]


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


def _pcm(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{path.name} is not 16-bit mono at {SAMPLE_RATE} Hz")
        return bytes(file.readframes(file.getnframes()))
