"""How the end of an utterance becomes its outcome, and the one line that the log gets of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from stt_mqtt.core.ended import Aborted, Failed
from stt_mqtt.core.scheduler import Answer
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import (
    DeviceKey,
    EndReason,
    InferenceResult,
    Outcome,
    OutcomeKind,
    Utterance,
    UtteranceStart,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: monotonic seconds and seconds of the epoch."""

    now: float
    epoch: float

    def epoch_of(self, at: float) -> float:
        """The epoch seconds of a monotonic moment."""
        return self.epoch - (self.now - at)


def of_answer(answer: Answer, stamp: Moment) -> Outcome:
    """The outcome of an utterance that was queued."""
    utterance, verdict = answer.utterance, answer.verdict
    if verdict is None:
        return _outcome(utterance, OutcomeKind.ABORTED, stamp, wait_s=answer.wait_s)
    if isinstance(verdict, UtteranceError):
        return _outcome(
            utterance,
            OutcomeKind.ERROR,
            stamp,
            wait_s=answer.wait_s,
            error=verdict,
        )
    return _heard(answer, verdict, stamp)


def of_ended(ended: Aborted | Failed, stamp: Moment) -> Outcome:
    """The outcome of an utterance that never reached the queue."""
    if isinstance(ended, Aborted):
        return _outcome(ended.utterance, OutcomeKind.ABORTED, stamp)
    return _outcome(ended.utterance, OutcomeKind.ERROR, stamp, error=ended.error)


def of_refusal(
    key: DeviceKey,
    start: UtteranceStart,
    error: UtteranceError,
    end: EndReason | None,
    stamp: Moment,
) -> Outcome:
    """The answer to a message that opened nothing."""
    return Outcome(
        key=key,
        id=start.id,
        ts=stamp.epoch - start.age_s,
        kind=OutcomeKind.ERROR,
        age_s=start.age_s,
        audio_s=0.0,
        end=end,
        latency_s=0.0,
        error=error,
        context=start.context,
    )


def log_outcome(outcome: Outcome) -> None:
    """One line per utterance with its timings; the words only at DEBUG."""
    where = {"device": str(outcome.key), "utterance": outcome.id}
    facts = [outcome.kind.value]
    if outcome.end is not None:
        facts.append(f"end={outcome.end.value}")
    for name in ("audio_s", "wait_s", "infer_s", "latency_s"):
        value: float | None = getattr(outcome, name)
        if value is not None:
            facts.append(f"{name}={value:.3f}")
    if outcome.truncated:
        facts.append("truncated")
    if outcome.lost_chunks:
        facts.append(f"lost_chunks={outcome.lost_chunks}")
    if outcome.repeated:
        facts.append("repeated")
    if outcome.hint is not None:
        facts.append(f"hint={outcome.hint.value}")
    if outcome.error is not None:
        facts.append(f"error={outcome.error.code}: {outcome.error.detail}")
    log.log(
        logging.INFO if outcome.error is None else logging.WARNING, " ".join(facts), extra=where
    )
    if outcome.kind is OutcomeKind.TRANSCRIPT and outcome.transcript is not None:
        log.debug("text: %s", outcome.transcript.text, extra=where)


def _heard(answer: Answer, heard: InferenceResult, stamp: Moment) -> Outcome:
    utterance = answer.utterance
    spoken = heard.transcript is not None and heard.transcript.text != ""
    return Outcome(
        key=utterance.key,
        id=utterance.id,
        ts=stamp.epoch_of(utterance.ended_at) - utterance.age_s,
        kind=OutcomeKind.TRANSCRIPT if spoken else OutcomeKind.NO_SPEECH,
        age_s=utterance.age_s,
        transcript=heard.transcript,
        audio_s=heard.audio_s,
        end=utterance.end,
        truncated=utterance.truncated or heard.truncated,
        lost_chunks=utterance.lost_chunks,
        model=heard.model,
        rung=heard.rung,
        wait_s=answer.wait_s,
        infer_s=heard.infer_s,
        latency_s=stamp.now - utterance.ended_at,
        hint=heard.hint,
        context=utterance.context,
    )


def _outcome(
    utterance: Utterance,
    kind: OutcomeKind,
    stamp: Moment,
    wait_s: float | None = None,
    error: UtteranceError | None = None,
) -> Outcome:
    return Outcome(
        key=utterance.key,
        id=utterance.id or None,
        ts=stamp.epoch_of(utterance.ended_at) - utterance.age_s,
        kind=kind,
        age_s=utterance.age_s,
        audio_s=utterance.seconds,
        end=utterance.end,
        truncated=utterance.truncated,
        lost_chunks=utterance.lost_chunks,
        wait_s=wait_s,
        latency_s=stamp.now - utterance.ended_at,
        error=error,
        hint=None if error is None else error.hint,
        context=utterance.context,
    )
