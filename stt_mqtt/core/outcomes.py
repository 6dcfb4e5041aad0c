"""Turns the end of an utterance into its outcome and its line in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeAlias

from stt_mqtt.core.clock import Moment
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import (
    DeviceKey,
    EndReason,
    InferenceResult,
    Outcome,
    OutcomeKind,
    Utterance,
    UtteranceStart,
    Verdict,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An utterance and its verdict. `verdict` None: the device aborted the utterance.

    `wait_s`: time in the queue, in seconds; None if it was never queued.
    """

    utterance: Utterance
    verdict: Verdict | None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What was recognised of an utterance that is still open."""

    utterance: Utterance
    verdict: Verdict

    @property
    def is_draft(self) -> bool:
        """Whether it is a draft, made while somebody speaks."""
        return self.utterance.draft_after is not None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A start whose id was used before. It opened nothing.

    `outcome` None: the first utterance with this id is not answered yet.
    """

    start: UtteranceStart
    outcome: Outcome | None


Ended: TypeAlias = Utterance | Answer | Repeated
"""What a device returns. An `Utterance` is to be transcribed; the others are to be answered."""


def outcome_of(answer: Answer, moment: Moment) -> Outcome:
    """The outcome of an utterance, answered at `moment`."""
    utterance, verdict = answer.utterance, answer.verdict
    result = verdict if isinstance(verdict, InferenceResult) else None
    error = verdict if isinstance(verdict, UtteranceError) else None
    return Outcome(
        key=utterance.key,
        id=utterance.id or None,
        ts=moment.epoch_of(utterance.ended_at) - utterance.age_s,
        kind=_kind(verdict),
        age_s=utterance.age_s,
        transcript=None if result is None else result.transcript,
        audio_s=utterance.seconds if result is None else result.audio_s,
        end=utterance.end,
        truncated=utterance.truncated or (result is not None and result.truncated),
        lost_chunks=utterance.lost_chunks,
        model=None if result is None else result.model,
        rung=None if result is None else result.rung,
        wait_s=answer.wait_s,
        infer_s=None if result is None else result.infer_s,
        latency_s=moment.now - utterance.ended_at,
        error=error,
        hint=None if verdict is None else verdict.hint,
        levels=None if result is None else result.levels,
        context=utterance.context,
    )


def outcome_of_refusal(
    key: DeviceKey,
    start: UtteranceStart,
    error: UtteranceError,
    end: EndReason | None,
    moment: Moment,
) -> Outcome:
    """The outcome of a message that opened no utterance."""
    return Outcome(
        key=key,
        id=start.id,
        ts=moment.epoch - start.age_s,
        kind=OutcomeKind.ERROR,
        age_s=start.age_s,
        end=end,
        latency_s=0.0,
        error=error,
        context=start.context,
    )


def log_outcome(outcome: Outcome) -> None:
    """Log one line per utterance with its timings. The text is logged only at DEBUG."""
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


def _kind(verdict: Verdict | None) -> OutcomeKind:
    if verdict is None:
        return OutcomeKind.ABORTED
    if isinstance(verdict, UtteranceError):
        return OutcomeKind.ERROR
    spoken = verdict.transcript is not None and verdict.transcript.text != ""
    return OutcomeKind.TRANSCRIPT if spoken else OutcomeKind.NO_SPEECH
