"""The JSON that the service publishes. Pure functions from the line's values to payloads."""

from __future__ import annotations

from math import isfinite

from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.types import Outcome

RESULT_VERSION = 1


def result(outcome: Outcome) -> dict[str, object]:
    """The `result` message: all keys always present."""
    heard = outcome.transcript
    error = outcome.error
    return {
        "v": RESULT_VERSION,
        "id": outcome.id,
        "device": outcome.key.name,
        "ts": round(outcome.ts, 3),
        "outcome": outcome.kind.value,
        "text": "" if heard is None else heard.text,
        "language": None if heard is None else heard.language,
        "confidence": _rounded(None if heard is None else heard.confidence),
        "no_speech_prob": _rounded(None if heard is None else heard.no_speech_prob),
        "audio_s": _rounded(outcome.audio_s),
        "end": None if outcome.end is None else outcome.end.value,
        "truncated": outcome.truncated,
        "lost_chunks": outcome.lost_chunks,
        "model": outcome.model,
        "rung": outcome.rung,
        "wait_s": _rounded(outcome.wait_s),
        "infer_s": _rounded(outcome.infer_s),
        "latency_s": _rounded(outcome.latency_s),
        "error": None if error is None else {"code": error.code, "detail": error.detail},
        "age_s": _rounded(outcome.age_s),
        "incomplete": outcome.incomplete,
        "repeated": outcome.repeated,
        "hint": None if outcome.hint is None else outcome.hint.sentence,
    }


def settings(settings: DeviceSettings) -> dict[str, object]:
    """The `settings` message."""
    return {
        "enabled": settings.enabled,
        "language": settings.language,
        "prompt": settings.prompt,
    }


def _rounded(value: float | None) -> float | None:
    """For JSON, which has no word for what is not finite."""
    return None if value is None or not isfinite(value) else round(value, 4)
