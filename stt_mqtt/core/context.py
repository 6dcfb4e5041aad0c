"""What devices are given, and what is counted about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.core.budget import Budget


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """What all devices share: the cap of an utterance, the memory budget, a source of ids."""

    cap: AudioCap
    budget: Budget
    new_id: Callable[[], str]


@dataclass(slots=True)
class Counters:
    """What happened to a device since it became known."""

    utterances: int = 0
    errors: int = 0
    dropped_chunks: int = 0
