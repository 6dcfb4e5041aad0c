"""The fair queue before the model: bounded in number, seconds and age; one turn per device.

Pure: `now` and all deadlines are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from stt_mqtt.audio.length import estimated_seconds
from stt_mqtt.types import DeviceKey, Utterance


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Most utterances, seconds of audio, and seconds of waiting.

    No utterance counts for more than `max_utterance_s`: the rest of it is cut off anyway.
    """

    max_jobs: int
    max_audio_s: float
    max_age_s: float
    max_utterance_s: float


class FairQueue:
    """Utterances that wait for the model.

    Devices take turns; while one of a device is being transcribed its next ones wait, so that a
    device's answers keep their order.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._waiting: dict[DeviceKey, deque[Utterance]] = {}
        self._turns: deque[DeviceKey] = deque()
        """Devices that wait and are not busy, the next one first."""
        self._busy: set[DeviceKey] = set()
        self.jobs = 0
        self._audio_ms = 0

    @property
    def audio_s(self) -> float:
        """Seconds of audio that wait, as far as that is known before decoding."""
        return self._audio_ms / 1000

    def put(self, utterance: Utterance) -> list[Utterance]:
        """Add an utterance; return those that found no place for it.

        When the queue is full the device with the most utterances in it gives way with its
        newest one. A device with a single one never does: then the new utterance is refused.
        An empty queue takes any utterance.
        """
        self._append(utterance)
        refused: list[Utterance] = []
        while self.jobs > 1 and self._is_overfull():
            hog = max(self._waiting, key=lambda key: len(self._waiting[key]))
            loser = hog if len(self._waiting[hog]) > 1 else utterance.key
            refused.append(self._remove_newest(loser))
        return refused

    def is_expired(self, utterance: Utterance, now: float) -> bool:
        """Whether an utterance is too old to be worth a place."""
        return now >= self._deadline(utterance)

    def evict_from_hog(self, spare: DeviceKey) -> Utterance | None:
        """Take out the newest utterance of the device that holds most bytes in several.

        None when there is no such device other than `spare`.
        """
        held = {
            key: sum(len(utterance.audio.data) for utterance in waiting)
            for key, waiting in self._waiting.items()
            if len(waiting) > 1
        }
        hog = max(held, key=lambda key: held[key], default=spare)
        return None if hog == spare else self._remove_newest(hog)

    @property
    def ready(self) -> int:
        """How many utterances could go to the model now: one of each device that has none there."""
        return len(self._turns)

    def pop_batch(self, most: int) -> tuple[Utterance, ...]:
        """The next utterances, up to `most`, each of another device; marks the devices busy."""
        return tuple(self._pop() for _ in range(min(most, self.ready)))

    def done(self, key: DeviceKey) -> None:
        """The utterance of this device left the model; its next one waits for its turn."""
        self._busy.remove(key)
        if key in self._waiting:
            self._turns.append(key)

    def expire(self, now: float) -> list[Utterance]:
        """Take out all that are older than the age limit."""
        expired = [
            u for waiting in self._waiting.values() for u in waiting if self.is_expired(u, now)
        ]
        for utterance in expired:
            self._remove(utterance)
        return expired

    def withdraw(self, key: DeviceKey) -> list[Utterance]:
        """Take out all of a device."""
        withdrawn = list(self._waiting.get(key, ()))
        for utterance in withdrawn:
            self._remove(utterance)
        return withdrawn

    def clear(self) -> list[Utterance]:
        """Take out everything."""
        everything = [u for waiting in self._waiting.values() for u in waiting]
        for utterance in everything:
            self._remove(utterance)
        return everything

    @property
    def next_expiry(self) -> float | None:
        """When the first waiting utterance will be too old."""
        return min(
            (self._deadline(u) for waiting in self._waiting.values() for u in waiting), default=None
        )

    def oldest_s(self, now: float) -> float:
        """How long the utterance that waits longest has waited, in seconds."""
        return max(
            (now - u.ended_at for waiting in self._waiting.values() for u in waiting), default=0.0
        )

    def _deadline(self, utterance: Utterance) -> float:
        return utterance.ended_at - utterance.age_s + self._limits.max_age_s

    def _pop(self) -> Utterance:
        key = self._turns.popleft()
        self._busy.add(key)
        waiting = self._waiting[key]
        utterance = waiting.popleft()
        self._forget(utterance)
        if not waiting:
            del self._waiting[key]
        return utterance

    def _append(self, utterance: Utterance) -> None:
        waiting = self._waiting.get(utterance.key)
        if waiting is None:
            waiting = self._waiting[utterance.key] = deque()
            if utterance.key not in self._busy:
                self._turns.append(utterance.key)
        waiting.append(utterance)
        self.jobs += 1
        self._audio_ms += self._length_ms(utterance)

    def _remove_newest(self, key: DeviceKey) -> Utterance:
        utterance = self._waiting[key][-1]
        self._remove(utterance)
        return utterance

    def _remove(self, utterance: Utterance) -> None:
        waiting = self._waiting[utterance.key]
        index = next(i for i, other in enumerate(waiting) if other is utterance)
        del waiting[index]
        self._forget(utterance)
        if not waiting:
            del self._waiting[utterance.key]
            if utterance.key not in self._busy:
                self._turns.remove(utterance.key)

    def _forget(self, utterance: Utterance) -> None:
        self.jobs -= 1
        self._audio_ms -= self._length_ms(utterance)

    def _is_overfull(self) -> bool:
        limits = self._limits
        return self.jobs > limits.max_jobs or self._audio_ms > limits.max_audio_s * 1000

    def length_s(self, utterance: Utterance) -> float:
        """Seconds of audio in an utterance, as far as that is known before decoding."""
        seconds = utterance.seconds or estimated_seconds(utterance.audio)
        return min(seconds, self._limits.max_utterance_s)

    def _length_ms(self, utterance: Utterance) -> int:
        return int(self.length_s(utterance) * 1000)
