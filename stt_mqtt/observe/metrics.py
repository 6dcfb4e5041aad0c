"""Counters of the whole service. All names come from closed lists, so their number is bounded."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from stt_mqtt.types import InferenceResult, Outcome

_RTF_WEIGHT = 0.1
"""Share of the newest utterance in the running real-time factor."""


class DropReason(StrEnum):
    """What was dropped: input that opens and ends nothing, and answers lost to a defect."""

    BAD_TOPIC = "bad_topic"
    BAD_NAME = "bad_name"
    """A message of a device whose name is not allowed."""
    BAD_REPLY_TO = "bad_reply_to"
    BAD_SEQUENCE = "bad_sequence"
    BAD_PAYLOAD = "bad_payload"
    BAD_FRAME = "bad_frame"
    RETAINED = "retained"
    TOO_MANY_DEVICES = "too_many_devices"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    REPEATED = "repeated"
    """A start whose id was used before."""
    ANSWER = "answer"
    """An answer that its door could not give."""


class Metrics:
    """Totals since the start of the process."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.hints: Counter[str] = Counter()
        """What looked wrong with the audio, by the name of the hint."""
        self.dropped: Counter[str] = Counter()
        self.doors: dict[str, Counter[str]] = {}
        """Outcomes by the door that they went through."""
        self.inferences = 0
        """Utterances that reached a model."""
        self.retries = 0
        """Those of them that were decoded again, because they were doubtful."""
        self.rtf: float | None = None
        """Seconds of an inference thread's work per second of audio, a running mean."""

    def count_outcome(self, outcome: Outcome) -> None:
        """Note one outcome and, if it is an error, its code."""
        self.outcomes[outcome.kind.value] += 1
        self.doors.setdefault(outcome.key.door, Counter())[outcome.kind.value] += 1
        if outcome.error is not None:
            self.errors[outcome.error.code] += 1
        if outcome.hint is not None:
            self.hints[outcome.hint.value] += 1

    def count_inference(self, result: InferenceResult) -> None:
        """Note the work that one utterance took."""
        if result.work_s is None:
            return
        self.inferences += 1
        self.retries += result.retried
        rtf = result.work_s / result.audio_s
        self.rtf = rtf if self.rtf is None else self.rtf + _RTF_WEIGHT * (rtf - self.rtf)

    def drop(self, reason: DropReason) -> None:
        """Note one message that was dropped."""
        self.dropped[reason.value] += 1
