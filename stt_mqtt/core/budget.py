"""The memory budget and other values that all devices share, and the counters of a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config import Config
from stt_mqtt.core.hearing import Hearing
from stt_mqtt.core.queue import Name, name_of
from stt_mqtt.types import DeviceKey


class Budget:
    """Counts the bytes of audio in all open and queued utterances, together and by name.

    It only counts. Devices check it, and the service frees memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._held: dict[Name, int] = {}
        """Bytes of each door and name."""

    def missing_bytes(self, nbytes: int) -> int:
        """How many bytes must be freed before `nbytes` more fit; 0 if they fit."""
        return max(self.used_bytes + nbytes - self.limit_bytes, 0)

    def use(self, key: DeviceKey, nbytes: int) -> None:
        """Count `nbytes` more as held by a device. A negative number gives bytes back."""
        self.used_bytes += nbytes
        held = self._held.get(name_of(key), 0) + nbytes
        if held:
            self._held[name_of(key)] = held
        else:
            self._held.pop(name_of(key), None)

    def larger(self, key: DeviceKey, nbytes: int) -> list[Name]:
        """Who holds more than the name of `key` would with `nbytes` more, the largest first."""
        least = self._held.get(name_of(key), 0) + nbytes
        larger = [
            name for name, held in self._held.items() if held > least and name != name_of(key)
        ]
        return sorted(larger, key=lambda name: self._held[name], reverse=True)


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """What all devices share: the cap of an utterance, the memory budget, the generator of ids,
    who decodes the audio that arrives, and what is listened to.
    """

    cap: AudioCap
    budget: Budget
    new_id: Callable[[], str]
    decoders: Decoders = IN_THIS_PROCESS
    hearing: Hearing = field(default_factory=Hearing)

    @classmethod
    def of(
        cls, config: Config, budget: Budget, new_id: Callable[[], str], decoders: Decoders
    ) -> DeviceContext:
        """What the devices of a service share."""
        limits = config.limits
        cap = AudioCap(limits.max_utterance_s, limits.max_utterance_kib * 1024)
        return cls(cap, budget, new_id, decoders, Hearing(for_glimpses=config.has_model))


@dataclass(slots=True)
class Counters:
    """Counters of a device since it was registered."""

    utterances: int = 0
    errors: int = 0
    dropped_chunks: int = 0
    disconnects: int = 0
    """How often it went offline, as far as it says when it does."""
