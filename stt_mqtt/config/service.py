"""The service itself: `engine:`, `ladder:`, `gate:`, `limits:`, `log:` and `service:`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import ceil
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from stt_mqtt.config.section import Section
from stt_mqtt.rungs import Rung
from stt_mqtt.types import SAMPLE_RATE

BYTES_PER_SAMPLE = 4
"""Audio is held as float32."""
AUTO = "auto"
"""Stands for the choice by load where the name of a rung is asked for."""
DEFAULT_RUNG = "default"
"""Name of the only rung where none is listed."""
MAX_RUNGS = 8

RungName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")]


class EngineConfig(Section):
    """The Whisper model and the threads that it runs on."""

    model: str = Field(default="tiny.en", min_length=1, max_length=1024)
    """Name of a model (see `stt-mqtt models`) or a folder with a CTranslate2 model."""
    compute_type: str = Field(default="int8", pattern=r"^[a-z0-9_]{1,32}$")
    """Number type of CTranslate2, such as `int8`, `int8_float32` or `float32`."""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses that the decoder follows at once. 1: greedy decoding."""
    workers: int | None = Field(default=None, ge=1, le=64)
    """Utterances transcribed at the same time. null: from the cores that the process may use."""
    max_batch: int = Field(default=2, ge=1, le=32)
    """Most waiting utterances decoded in one batch. If memory is short, fewer are."""
    threads: int | None = Field(default=None, ge=1, le=64)
    """Threads for one utterance. null: from the cores that the process may use."""


class GateConfig(Section):
    """Speech gate: silence and clicks do not reach the model."""

    enabled: bool = True
    """`false`: all audio goes to the model."""
    aggressiveness: int = Field(default=2, ge=0, le=3)
    """Mode of webrtcvad. 0 takes most sounds for speech, 3 the fewest."""
    min_speech_ms: int = Field(default=90, ge=30, le=1000)
    """Time with a voice that an utterance needs to count as speech, in milliseconds."""
    floor_dbfs: float = Field(default=-75.0, ge=-96.0, le=-20.0)
    """Audio below this level is never speech, in dBFS (0 is full scale)."""
    margin_ms: int = Field(default=300, ge=0, le=2000)
    """Audio that is kept before and after the speech, in milliseconds."""


class RungConfig(Section):
    """One rung of the ladder."""

    name: RungName
    """Name of the rung, for `rung`, the results and the log."""
    model: str = Field(min_length=1, max_length=1024)
    """Name of a model (see `stt-mqtt models`) or a folder with a CTranslate2 model."""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses that the decoder follows at once. 1: greedy decoding."""
    compute_type: str = Field(default="int8", pattern=r"^[a-z0-9_]{1,32}$")
    """Number type of CTranslate2, such as `int8`, `int8_float32` or `float32`."""

    @field_validator("name")
    @classmethod
    def _auto_is_no_name(cls, name: str) -> str:
        if name == AUTO:
            raise ValueError(f"{AUTO} stands for the choice by load; call the rung otherwise")
        return name

    @property
    def rung(self) -> Rung:
        """The rung as a value that travels."""
        return Rung(self.name, self.model, self.beam_size, self.compute_type)


class LadderConfig(Section):
    """The ladder: a better model while the load is low, a faster one while it is high."""

    rungs: tuple[RungConfig, ...] = Field(default=(), max_length=MAX_RUNGS)
    """Models to choose from, best first. Empty: one rung, `default`, with the keys of `engine`."""
    rung: RungName = AUTO
    """`auto`: the load decides. Otherwise the name of the rung to stay on."""
    promised_wait_ms: int = Field(default=1000, ge=100, le=60_000)
    """Longest time that an utterance should wait in the queue, in milliseconds."""
    min_stay_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    """Shortest time between two changes of the rung, in seconds."""

    @model_validator(mode="after")
    def _names_say_which(self) -> LadderConfig:
        names: list[str] = []
        for number, rung in enumerate(self.rungs):
            if rung.name in names:
                first = names.index(rung.name)
                raise ValueError(f"rungs[{number}].name is the name of rungs[{first}] too")
            names.append(rung.name)
        known = names or [DEFAULT_RUNG]
        if self.rung not in (AUTO, *known):
            raise ValueError(
                f"rung '{self.rung}' is not one of the rungs; known are {', '.join(known)}"
            )
        return self


def _kib_of_an_utterance(values: Mapping[str, Any]) -> int:
    seconds = float(values["max_utterance_s"])
    return max(2048, ceil(seconds * SAMPLE_RATE * BYTES_PER_SAMPLE / 1024))


def _room_for_an_utterance(values: Mapping[str, Any]) -> float:
    return max(300.0, float(values["max_utterance_s"]))


def _age_after_the_wait(values: Mapping[str, Any]) -> float:
    return max(30.0, float(values["max_queue_age_s"]))


class LimitsConfig(Section):
    """Limits per utterance and over all devices. Limits that are not set follow those that are."""

    max_utterance_s: float = Field(default=30.0, ge=1.0, le=600.0)
    """Longest utterance, in seconds of audio."""
    max_utterance_kib: int = Field(default_factory=_kib_of_an_utterance, ge=16, le=65536)
    """Memory of one open utterance, in KiB. Default: 2048, or what `max_utterance_s` needs."""
    max_buffered_mib: int = Field(default=64, ge=1, le=4096)
    """Memory for the open and queued audio of all devices, in MiB."""
    max_devices: int = Field(default=1000, ge=1, le=100_000)
    """Number of devices of each protocol that the service knows at the same time."""
    devices_forget_after_days: float = Field(default=30.0, ge=0.01, le=3650.0)
    """Days without a message after which a device without an entry in `devices` is forgotten."""
    max_queued: int = Field(default=64, ge=1, le=10_000)
    """Utterances that may wait in the queue."""
    max_queued_audio_s: float = Field(default_factory=_room_for_an_utterance, ge=1.0, le=100_000.0)
    """Audio that may wait in the queue, in seconds. Default: 300, or a longer `max_utterance_s`."""
    max_queue_age_s: float = Field(default=10.0, ge=0.1, le=600.0)
    """Time in the queue after which an utterance is answered `expired`, in seconds."""
    max_age_s: float = Field(default_factory=_age_after_the_wait, ge=1.0, le=3600.0)
    """Age at which speech is `expired`, in seconds. Default: 30, or a longer `max_queue_age_s`."""
    inference_timeout_s: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Time of a transcription after which it is answered `inference_timeout`, in seconds."""

    @property
    def max_decoded_s(self) -> float:
        """Seconds of one utterance that are decoded: both of its caps, as 16 kHz float32."""
        held_s = self.max_utterance_kib * 1024 / (SAMPLE_RATE * BYTES_PER_SAMPLE)
        return min(self.max_utterance_s, held_s)


class LogLevel(StrEnum):
    """Lowest level of messages that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogConfig(Section):
    """Logs, written to standard error."""

    level: LogLevel = LogLevel.INFO
    """`debug` also writes the transcribed words. The other levels never do."""
    format: LogFormat = LogFormat.TEXT
    """`text` for people, `json` (one object per line) for log collectors."""


class ServiceConfig(Section):
    """Behaviour of the service process."""

    shutdown_grace_s: float = Field(default=10.0, ge=0.0, le=300.0)
    """Time for transcribing open utterances when the service stops, in seconds."""
    health_interval_s: float = Field(default=30.0, ge=1.0, le=3600.0)
    """Time between two messages on `stt/bridge/health`, in seconds."""
