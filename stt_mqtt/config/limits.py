"""`limits:`: every bound of the service in one place."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from pydantic import Field

from stt_mqtt.config.base import Section
from stt_mqtt.types import SAMPLE_RATE

BYTES_PER_SAMPLE = 4
"""Audio is held as float32."""


def _kib_of_an_utterance(values: Mapping[str, Any]) -> int:
    seconds = float(values["max_utterance_s"])
    return max(2048, ceil(seconds * SAMPLE_RATE * BYTES_PER_SAMPLE / 1024))


def _room_for_an_utterance(values: Mapping[str, Any]) -> float:
    return max(300.0, float(values["max_utterance_s"]))


def _age_after_the_wait(values: Mapping[str, Any]) -> float:
    return max(30.0, float(values["max_queue_age_s"]))


class LimitsConfig(Section):
    """Caps per utterance and over all devices. One that is not set makes room for the others."""

    max_utterance_s: float = Field(default=30.0, ge=1.0, le=600.0)
    """Longest utterance, in seconds of audio."""
    max_utterance_kib: int = Field(default_factory=_kib_of_an_utterance, ge=16, le=65536)
    """Most memory of one open utterance, in KiB; not set: 2048, or what `max_utterance_s` needs."""
    max_buffered_mib: int = Field(default=64, ge=1, le=4096)
    """Most audio held for all devices together, open and queued, in MiB."""
    max_devices: int = Field(default=1000, ge=1, le=100_000)
    """Devices remembered at once."""
    devices_forget_after_days: float = Field(default=30.0, ge=0.01, le=3650.0)
    """Days of silence after which a device that `devices` does not name is forgotten."""
    max_queued: int = Field(default=64, ge=1, le=10_000)
    """Utterances that may wait for the model."""
    max_queued_audio_s: float = Field(default_factory=_room_for_an_utterance, ge=1.0, le=100_000.0)
    """Seconds of audio that may wait for the model; not set: 300, or `max_utterance_s`."""
    max_queue_age_s: float = Field(default=10.0, ge=0.1, le=600.0)
    """Longest that an utterance waits here before it is answered `expired`, in seconds."""
    max_age_s: float = Field(default_factory=_age_after_the_wait, ge=1.0, le=3600.0)
    """Oldest that speech may be at its turn, in seconds; not set: 30, or `max_queue_age_s`."""
    inference_timeout_s: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Time after which a running transcription is answered `inference_timeout`, in seconds."""

    @property
    def max_decoded_s(self) -> float:
        """Seconds of one utterance that are decoded: both of its caps, as 16 kHz float32."""
        held_s = self.max_utterance_kib * 1024 / (SAMPLE_RATE * BYTES_PER_SAMPLE)
        return min(self.max_utterance_s, held_s)
