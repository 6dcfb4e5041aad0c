"""`engine:` and `gate:`: which model, how it decodes, and what is speech at all."""

from __future__ import annotations

from pydantic import Field

from stt_mqtt.config.base import Section


class EngineConfig(Section):
    """The Whisper model and the threads that it runs on."""

    model: str = Field(default="tiny.en", min_length=1, max_length=1024)
    """Name of a model (see `stt-mqtt models`) or a folder with a CTranslate2 model."""
    compute_type: str = Field(default="int8", pattern=r"^[a-z0-9_]{1,32}$")
    """Number type of CTranslate2: `int8`, `int8_float32`, `float32`, …"""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses followed at once; 1 is greedy."""
    workers: int | None = Field(default=None, ge=1, le=64)
    """Utterances transcribed at once; null: chosen from the cores of this process."""
    max_batch: int = Field(default=2, ge=1, le=32)
    """Utterances decoded together at most, where several wait; fewer where memory is short."""
    threads: int | None = Field(default=None, ge=1, le=64)
    """Threads for one utterance; null: chosen from the cores of this process."""


class GateConfig(Section):
    """Speech gate before the model: silence and clicks cost no inference."""

    enabled: bool = True
    """Off: everything goes to the model."""
    aggressiveness: int = Field(default=2, ge=0, le=3)
    """Mode of webrtcvad: 0 keeps most, 3 keeps least."""
    min_speech_ms: int = Field(default=90, ge=30, le=1000)
    """Voiced time below which an utterance is not speech, in milliseconds."""
    floor_dbfs: float = Field(default=-75.0, ge=-96.0, le=-20.0)
    """Frames quieter than this are never speech, in dB below full scale."""
    margin_ms: int = Field(default=300, ge=0, le=2000)
    """Silence that is kept before and after the speech, in milliseconds."""
