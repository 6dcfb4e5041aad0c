"""The fair queue before the model: bounded in number, seconds and age; one turn per device.

Pure: `now` and all deadlines are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from stt_mqtt.types import Codec, DeviceKey, Utterance

_BYTES_PER_SAMPLE = {Codec.PCM_S16LE: 2, Codec.PCM_F32LE: 4}
_COMPRESSED_BYTES_PER_S = 8000
"""Assumed for coded audio whose length only decoding tells: 64 kbit/s."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Most utterances, seconds of audio, and seconds of waiting."""

    max_jobs: int
    max_audio_s: float
    max_age_s: float


class FairQueue:
    """Utterances that wait for the model.

    Devices take turns; while one of a device is being transcribed its next ones wait, so that a
    device's answers keep their order.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._waiting: dict[DeviceKey, deque[Utterance]] = {}
        self._turns: deque[DeviceKey] = deque()
        self._busy: set[DeviceKey] = set()
        self.jobs = 0
        self.audio_s = 0.0

    def put(self, utterance: Utterance) -> list[Utterance]:
        """Add an utterance; return those that found no place for it.

        When the queue is full the device with the most utterances in it gives way with its
        newest one. A device with a single one never does: then the new utterance is refused.
        """
        self._append(utterance)
        refused: list[Utterance] = []
        while self.jobs > self._limits.max_jobs or self.audio_s > self._limits.max_audio_s:
            hog = max(self._waiting, key=lambda key: len(self._waiting[key]))
            loser = hog if len(self._waiting[hog]) > 1 else utterance.key
            refused.append(self._remove_newest(loser))
        return refused

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

    def pop(self) -> Utterance | None:
        """The next utterance of a device that has none in the model; marks the device busy."""
        for _ in range(len(self._turns)):
            key = self._turns.popleft()
            if key in self._busy:
                self._turns.append(key)
                continue
            waiting = self._waiting[key]
            utterance = waiting.popleft()
            self._forget(utterance)
            if waiting:
                self._turns.append(key)
            else:
                del self._waiting[key]
            self._busy.add(key)
            return utterance
        return None

    def done(self, key: DeviceKey) -> None:
        """The utterance of this device left the model."""
        self._busy.discard(key)

    def expire(self, now: float) -> list[Utterance]:
        """Take out all that are older than the age limit."""
        expired = [
            u for waiting in self._waiting.values() for u in waiting if now >= self._deadline(u)
        ]
        for utterance in expired:
            self._remove(utterance)
        return expired

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

    def _append(self, utterance: Utterance) -> None:
        waiting = self._waiting.get(utterance.key)
        if waiting is None:
            waiting = self._waiting[utterance.key] = deque()
            self._turns.append(utterance.key)
        waiting.append(utterance)
        self.jobs += 1
        self.audio_s += audio_seconds(utterance)

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
            self._turns.remove(utterance.key)

    def _forget(self, utterance: Utterance) -> None:
        self.jobs -= 1
        self.audio_s -= audio_seconds(utterance)
        if self.jobs == 0:
            self.audio_s = 0.0


def audio_seconds(utterance: Utterance) -> float:
    """Length of an utterance in seconds; a guess where only decoding could tell."""
    if utterance.seconds:
        return utterance.seconds
    format = utterance.audio.format
    if format is not None and format.codec in _BYTES_PER_SAMPLE:
        width = _BYTES_PER_SAMPLE[format.codec] * format.channels
        return len(utterance.audio.data) / (width * format.rate)
    return len(utterance.audio.data) / _COMPRESSED_BYTES_PER_S
