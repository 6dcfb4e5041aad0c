"""The answers to utterances that nobody transcribes. Pure functions; `now` in monotonic seconds."""

from __future__ import annotations

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer
from stt_mqtt.errors import (
    ExpiredError,
    ModelUnavailableError,
    OverloadedError,
    ShuttingDownError,
    TooShortError,
    UtteranceError,
)
from stt_mqtt.types import EndReason, InferenceResult, Utterance, Verdict


def answer_after_wait(utterance: Utterance, verdict: Verdict | None, until: float) -> Answer:
    """The answer to an utterance that was in the queue until `until`."""
    return Answer(utterance, verdict, max(until - utterance.ended_at, 0.0))


def overloaded(utterance: Utterance, now: float) -> Answer:
    """The answer to an utterance for which the queue has no place."""
    error = OverloadedError("more speech arrives than this machine can transcribe")
    return answer_after_wait(utterance, error, now)


def without_audio(utterance: Utterance) -> Answer:
    """The answer to an empty utterance: the service stopped, or the device sent nothing."""
    error: UtteranceError = TooShortError("no audio came")
    if utterance.end is EndReason.SHUTDOWN:
        error = ShuttingDownError("the service stops")
    return Answer(utterance, error, 0.0)


def too_old(utterance: Utterance, now: float, limits: LimitsConfig) -> ExpiredError:
    """Why an utterance is not transcribed whose turn comes now: the speech is too old."""
    age_s = now - utterance.ended_at + utterance.age_s
    return ExpiredError(
        f"spoken {age_s:.0f} s before its turn, "
        f"at most {limits.max_age_s:g} s are taken (limits.max_age_s)"
    )


def unless_late(
    utterance: Utterance, verdict: Verdict, now: float, limits: LimitsConfig
) -> Verdict:
    """The verdict of another machine, which comes now, or `expired`.

    It is `expired` if the speech was too old when the inference began: here it had not begun.
    """
    if not isinstance(verdict, InferenceResult):
        return verdict
    began_at = now - (verdict.infer_s or 0.0)
    if began_at - utterance.ended_at + utterance.age_s < limits.max_age_s:
        return verdict
    return too_old(utterance, began_at, limits)


def expired(utterance: Utterance, now: float, limits: LimitsConfig, absence: str | None) -> Answer:
    """The answer to an utterance that is too old. `absence`: why nobody could transcribe it."""
    waited_s = now - utterance.ended_at
    error: UtteranceError = ExpiredError(
        f"no turn within {limits.max_queue_age_s:g} s (limits.max_queue_age_s): "
        "more speech arrives than this machine can transcribe"
    )
    if waited_s < limits.max_queue_age_s:
        error = too_old(utterance, now, limits)
    elif absence is not None:
        error = ModelUnavailableError(absence)
    return answer_after_wait(utterance, error, now)
