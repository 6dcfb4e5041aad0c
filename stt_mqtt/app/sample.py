"""The recording that shows whether the engine works."""

from __future__ import annotations

from importlib.resources import files

from stt_mqtt.types import EncodedAudio

SAMPLE_FILE = "kitchen-3.flac"
SAMPLE_TEXT = "What is the weather tomorrow?"
"""What is said in it. It is one of the demo's samples."""


def read_sample() -> EncodedAudio:
    """Read the recording."""
    path = files("stt_mqtt").joinpath("demo", "samples", SAMPLE_FILE)
    return EncodedAudio(None, path.read_bytes())
