"""Reads the results that other gateways of the fleet publish. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ValidationError

from stt_mqtt.errors import InferenceFailedError, ShuttingDownError, UtteranceError
from stt_mqtt.hints import Hint
from stt_mqtt.types import DeviceKey, EndReason, Outcome, OutcomeKind, Phrase, Transcript

MAX_RESULT_BYTES = 256 * 1024


class _Phrase(BaseModel):
    id: str
    slots: dict[str, object]
    entities: dict[str, str]
    score: float | None
    margin: float | None


class _Error(BaseModel):
    code: str
    detail: str


class _Result(BaseModel):
    """A result that is whole and new. Others say nothing of an utterance that is sent again."""

    id: str
    ts: float
    outcome: OutcomeKind
    text: str
    heard: str
    language: str | None
    confidence: float | None
    no_speech_prob: float | None
    audio_s: float
    end: EndReason | None
    truncated: bool
    lost_chunks: int
    model: str | None
    rung: str | None
    wait_s: float | None
    infer_s: float | None
    latency_s: float | None
    error: _Error | None
    age_s: float
    phrase: _Phrase | None
    hint: str | None
    incomplete: Literal[False]
    repeated: Literal[False]


def outcome_in(key: DeviceKey, payload: bytes) -> Outcome | None:
    """The outcome in a result of a device.

    None: it is none, the utterance may still be answered otherwise, or the result is a repetition.
    """
    if len(payload) > MAX_RESULT_BYTES:
        return None
    try:
        result = _Result.model_validate_json(payload)
    except ValidationError:
        return None
    if result.error is not None and result.error.code == ShuttingDownError.code:
        # The device sends the utterance again.
        return None
    return Outcome(
        key=key,
        id=result.id,
        ts=result.ts,
        kind=result.outcome,
        transcript=_transcript(result),
        audio_s=result.audio_s,
        end=result.end,
        truncated=result.truncated,
        lost_chunks=result.lost_chunks,
        model=result.model,
        rung=result.rung,
        wait_s=result.wait_s,
        infer_s=result.infer_s,
        latency_s=result.latency_s,
        error=None if result.error is None else _error(result.error),
        age_s=result.age_s,
        hint=next((hint for hint in Hint if hint.sentence == result.hint), None),
    )


def _transcript(result: _Result) -> Transcript | None:
    if result.language is None:
        return None
    phrase = result.phrase
    return Transcript(
        result.text,
        result.language,
        result.confidence or 0.0,
        result.no_speech_prob or 0.0,
        heard=None if result.heard == result.text else result.heard,
        phrase=None
        if phrase is None
        else Phrase(phrase.id, phrase.slots, phrase.entities, phrase.score or 0.0, phrase.margin),
    )


def _error(told: _Error) -> UtteranceError:
    """The error with this code. One that this version does not know is a failed inference."""
    kinds = {kind.code: kind for kind in UtteranceError.__subclasses__()}
    return kinds.get(told.code, InferenceFailedError)(told.detail)
