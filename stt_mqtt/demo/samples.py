"""The sample commands: three rooms with three commands each, spoken by espeak-ng."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from stt_mqtt.audio.decode import decode
from stt_mqtt.types import EncodedAudio

MAX_SAMPLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A command: room, text, and the file beside this module with its recording."""

    room: str
    file: str
    text: str

    def read(self) -> bytes:
        """The recording as FLAC."""
        return files("stt_mqtt.demo").joinpath("samples", self.file).read_bytes()

    def pcm(self) -> bytes:
        """The recording as 16-bit little-endian mono at `SAMPLE_RATE`."""
        samples = decode(EncodedAudio(None, self.read()), MAX_SAMPLE_S).samples
        return np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


SAMPLES = (
    Sample("kitchen", "kitchen-1.flac", "How long does it take to boil an egg?"),
    Sample("kitchen", "kitchen-2.flac", "Set a timer for 10 minutes."),
    Sample("kitchen", "kitchen-3.flac", "What is the weather tomorrow?"),
    Sample("living-room", "living-room-1.flac", "Turn off the living room lamp."),
    Sample("living-room", "living-room-2.flac", "Open the blinds."),
    Sample("living-room", "living-room-3.flac", "Play some music."),
    Sample("bedroom", "bedroom-1.flac", "Turn off all the lights."),
    Sample("bedroom", "bedroom-2.flac", "Close the garage door."),
    Sample("bedroom", "bedroom-3.flac", "What time is it?"),
)
