"""A room with people in it, as a microphone hears it, and what a satellite made of it."""

from __future__ import annotations

import importlib.util
import json
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stt_mqtt import __version__
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
LEAD_S = 2.0
PAUSE_S = 1.5
PROGRAM = EXAMPLES / "micropython" / "satellite.py"
LISTENING = {
    "v": 1, "model": "MicroPython example", "version": __version__, "mode": "always",
    "codec": "pcm_s16le", "muted": False, "playing": False, "listening": True, "reason": None,
}  # fmt: skip
"""What a satellite says about itself at its start."""


def _load() -> Any:
    """The MicroPython example as a module, whatever its place."""
    spec = importlib.util.spec_from_file_location("micropython_satellite", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SATELLITE = _load()


def judged(pcm: bytes) -> Iterator[tuple[int, int, int, int]]:
    """What the MicroPython example makes of each frame: level, floor, begins, goes on."""
    vad = SATELLITE.Vad()
    size = 2 * SATELLITE.FRAME
    for at in range(0, len(pcm) - size + 1, size):
        vad.hear(array("h", bytes(2 * SATELLITE.NUMBER) + pcm[at : at + size]))
        yield vad.level, vad.floor, int(vad.begins()), int(vad.goes_on())


def tone(seconds: float, rms: float = 20.0, seed: int = 5) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Noise as rooms have it: the same power in every octave. `rms` in steps of 16 bits."""
    count = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return noise * rms / float(np.sqrt(np.mean(np.square(noise))))


def samples_of(signal: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    """16-bit little-endian samples."""
    pcm: bytes = np.rint(np.clip(signal, -32768, 32767)).astype("<i2").tobytes()
    return pcm


@dataclass(frozen=True)
class Conversation:
    """All demo samples one after the other, in a room that is not silent."""

    pcm: bytes
    said: list[str] = field(default_factory=lambda: [sample.text for sample in SAMPLES])
    begins_s: list[float] = field(default_factory=list)
    """When each begins."""


def conversation() -> Conversation:
    """Everything that the demo's people say, with pauses."""
    parts = [np.zeros(round(LEAD_S * SAMPLE_RATE))]
    begins_s = []
    for sample in SAMPLES:
        begins_s.append(sum(map(len, parts)) / SAMPLE_RATE)
        parts += [
            np.frombuffer(sample.pcm(), "<i2").astype(float),
            np.zeros(round(PAUSE_S * SAMPLE_RATE)),
        ]
    signal = np.concatenate(parts)
    return Conversation(
        samples_of(signal + tone(len(signal) / SAMPLE_RATE)[: len(signal)]), begins_s=begins_s
    )


@dataclass(frozen=True)
class Publication:
    """A message that a satellite published."""

    topic: str
    payload: bytes
    retained: bool = False
    at_ms: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass
class Spoken:
    """One utterance on the wire."""

    start: dict[str, Any]
    at_ms: int
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    end: str | None = None
    """`stop` or `abort`; None: the record ends, or another begins, in the middle of it."""
    told_chunks: int | None = None

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.chunks]

    @property
    def audio(self) -> bytes:
        return b"".join(audio for _, audio in self.chunks)


def utterances(publications: Iterable[Publication], device: str) -> list[Spoken]:
    """What was said, as the topics and payloads tell it; fails on what the wire does not allow."""
    return list(_utterances(publications, f"stt/{device}/"))


def _utterances(publications: Iterable[Publication], prefix: str) -> Iterator[Spoken]:
    spoken: Spoken | None = None
    for publication in publications:
        name = publication.topic.removeprefix(prefix)
        if not name.startswith("audio"):
            continue
        assert not publication.retained, "audio must not be retained"
        if name == "audio/start":
            if spoken is not None:
                yield spoken
            spoken = Spoken(publication.json, publication.at_ms)
            continue
        assert spoken is not None, f"{name} without a start"
        if name == "audio":
            (number,) = struct.unpack_from("<I", publication.payload)
            spoken.chunks.append((number, publication.payload[4:]))
            continue
        spoken.end = name.removeprefix("audio/")
        if publication.payload:
            assert publication.json["id"] == spoken.start["id"]
            spoken.told_chunks = publication.json.get("chunks")
        yield spoken
        spoken = None
    if spoken is not None:
        yield spoken
