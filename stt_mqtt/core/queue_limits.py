"""The limits of what waits in the queue. Pure: all times are in seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.audio.buffer import estimated_seconds
from stt_mqtt.config import LimitsConfig
from stt_mqtt.types import Utterance


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Maximum utterances, seconds of audio, seconds of waiting, and age of the speech in seconds.

    An utterance counts for at most `max_utterance_s`, because the rest is cut off anyway.
    """

    max_jobs: int
    max_audio_s: float
    max_wait_s: float
    max_age_s: float
    max_utterance_s: float

    @classmethod
    def of(cls, limits: LimitsConfig) -> QueueLimits:
        """The configured limits."""
        return cls(
            limits.max_queued,
            limits.max_queued_audio_s,
            limits.max_queue_age_s,
            limits.max_age_s,
            limits.max_utterance_s,
        )

    def deadline(self, utterance: Utterance) -> float:
        """When an utterance that waits has waited too long or is too old."""
        return utterance.ended_at + min(self.max_wait_s, self.max_age_s - utterance.age_s)

    def length_s(self, utterance: Utterance) -> float:
        """Seconds of audio in an utterance, estimated where only decoding could tell."""
        seconds = utterance.seconds or estimated_seconds(utterance.audio)
        return min(seconds, self.max_utterance_s)
