"""What all devices share, and what is counted of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.audio.buffer import AudioCap


class Budget:
    """Counts the bytes of audio that all devices hold together, open and queued.

    It decides nothing: the service makes room, a device asks whether there is enough.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0

    def missing_bytes(self, nbytes: int) -> int:
        """How many bytes have to be freed before `nbytes` more may be held; 0: none."""
        return max(self.used_bytes + nbytes - self._limit_bytes, 0)

    def use(self, nbytes: int) -> None:
        """Note that `nbytes` more are held; a negative number gives back."""
        self.used_bytes += nbytes


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
