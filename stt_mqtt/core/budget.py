"""The memory budget and other values that all devices share, and the counters of a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders


class Budget:
    """Counts the bytes of audio in all open and queued utterances together.

    It only counts. Devices check it, and the service frees memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def missing_bytes(self, nbytes: int) -> int:
        """How many bytes must be freed before `nbytes` more fit; 0 if they fit."""
        return max(self.used_bytes + nbytes - self.limit_bytes, 0)

    def use(self, nbytes: int) -> None:
        """Count `nbytes` more as held. A negative number gives bytes back."""
        self.used_bytes += nbytes


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """What all devices share: the cap of an utterance, the memory budget, the generator of ids.

    `decoders` decode the audio that arrives.
    """

    cap: AudioCap
    budget: Budget
    new_id: Callable[[], str]
    decoders: Decoders = IN_THIS_PROCESS


@dataclass(slots=True)
class Counters:
    """Counters of a device since it was registered."""

    utterances: int = 0
    errors: int = 0
    dropped_chunks: int = 0
    disconnects: int = 0
    """How often it went offline, as far as it says when it does."""
