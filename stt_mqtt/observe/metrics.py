"""Counters of the service. All names are from fixed lists, so their number is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from stt_mqtt.observe.histogram import Histogram
from stt_mqtt.stages import Stage, StageTimes
from stt_mqtt.types import InferenceResult, Outcome, OutcomeKind

_RTF_WEIGHT = 0.1
"""Weight of the newest utterance in the running mean of the real-time factor."""
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Bounds of all histograms of times, from a short decoding to the age at which speech expires."""


class DropReason(StrEnum):
    """Why something was dropped: input without an effect, or an answer lost to a defect."""

    BAD_TOPIC = "bad_topic"
    BAD_NAME = "bad_name"
    """A message of a device with an illegal name."""
    BAD_NAMES = "bad_names"
    """A message with names of the home that cannot be used."""
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
    NAME_CLASH = "name_clash"
    """A stop of an utterance that another satellite of the same name had ended."""
    ANSWER = "answer"
    """An outcome whose outlet raised."""
    ELSEWHERE = "elsewhere"
    """An outcome that another gateway of the fleet publishes."""


class Metrics:
    """Totals since the start of the process."""

    def __init__(self, decoder_failures: Counter[str] | None = None) -> None:
        """`decoder_failures`: counted by the processes that decode, by kind."""
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.hints: Counter[str] = Counter()
        """Hints about audio, by name."""
        self.dropped: Counter[str] = Counter()
        self.decoder_failures = Counter() if decoder_failures is None else decoder_failures
        self.doors: dict[str, Counter[str]] = {}
        """Outcomes by door."""
        self.latency: dict[str, Histogram] = {}
        """Seconds from the end of the speech to its transcript or `no_speech`, by door."""
        self.stages = {stage: Histogram(SECONDS) for stage in Stage}
        """Seconds of each stage, those of glimpses included and those of drafts not."""
        self.audio_s = 0.0
        """Seconds of audio that were transcribed, or found to be without speech."""
        self.inferences = 0
        """Utterances that reached a model."""
        self.open_inferences = 0
        """Those of them that came in chunks, so that glimpses were possible."""
        self.retries = 0
        """Utterances that were decoded again because they were doubtful."""
        self.glimpses = 0
        """Transcriptions of utterances that were still open."""
        self.drafts = 0
        """Quick transcriptions for partial results."""
        self.drafts_s = 0.0
        """Seconds of work for them."""
        self.remembered = 0
        """Utterances whose answer was ready when they ended."""
        self.glimpses_s = 0.0
        """Seconds of work for glimpses."""
        self.remembered_s = 0.0
        """Seconds of that work whose answer was used."""
        self.rung_changes = 0
        """How often another rung came into use."""
        self.rtf: float | None = None
        """Real-time factor: seconds of an inference thread per second of audio, a running mean."""

    def count_outcome(self, outcome: Outcome) -> None:
        """Count an outcome and its error code."""
        self.outcomes[outcome.kind.value] += 1
        self.doors.setdefault(outcome.key.door, Counter())[outcome.kind.value] += 1
        if outcome.wait_s is not None:
            self.stages[Stage.WAIT].observe(outcome.wait_s)
        inferred = outcome.kind in {OutcomeKind.TRANSCRIPT, OutcomeKind.NO_SPEECH}
        if inferred and outcome.latency_s is not None:
            latency = self.latency.setdefault(outcome.key.door, Histogram(SECONDS))
            latency.observe(outcome.latency_s)
        if outcome.error is not None:
            self.errors[outcome.error.code] += 1
        if outcome.hint is not None:
            self.hints[outcome.hint.value] += 1

    def count_inference(self, result: InferenceResult, was_open: bool = False) -> None:
        """Count an inference and its work. `was_open`: it came in chunks, so it had glimpses."""
        self.audio_s += result.audio_s
        self._count_stages(result.stages)
        if result.work_s is None:
            return
        self.inferences += 1
        self.open_inferences += was_open
        self.retries += result.retried
        work_s = result.work_s
        if result.remembered_s is not None:
            self.remembered += 1
            self.remembered_s += result.remembered_s
            work_s += result.remembered_s
        # Another machine may claim to have worked on no audio.
        if result.audio_s <= 0:
            return
        rtf = work_s / result.audio_s
        self.rtf = rtf if self.rtf is None else self.rtf + _RTF_WEIGHT * (rtf - self.rtf)

    @property
    def wasted_s(self) -> float:
        """Seconds of work for glimpses that were not used, so far."""
        return self.glimpses_s - self.remembered_s

    def count_glimpse(self, result: InferenceResult | None) -> None:
        """Count a glimpse and its work, which is wasted unless the answer is used.

        `result` None: it failed.
        """
        self.glimpses += 1
        if result is not None:
            self.glimpses_s += result.work_s or 0.0
            self._count_stages(result.stages)

    def count_draft(self, work_s: float) -> None:
        """Count a draft for a partial result, and its work."""
        self.drafts += 1
        self.drafts_s += work_s

    def publishing(self, now: Callable[[], float]) -> Callable[[], None]:
        """Measure a publication from now until the call of the result, in the network thread.

        `now`: seconds of a monotonic clock.
        """
        since = now()
        return lambda: self.stages[Stage.PUBLISH].observe(now() - since)

    def drop(self, reason: DropReason) -> None:
        """Count a dropped message."""
        self.dropped[reason.value] += 1

    def _count_stages(self, stages: StageTimes) -> None:
        for stage, seconds in stages.items():
            self.stages[stage].observe(seconds)
