"""The JSON that the door publishes. Pure functions from the line's values to payloads."""

from __future__ import annotations

from stt_mqtt.doors.hermes.requests import SessionAddress, StartListening
from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.types import Outcome, OutcomeKind


def text_captured(request: StartListening, outcome: Outcome | None) -> bytes:
    """`textCaptured`: what was said, or that nothing was understood. `outcome` None: none came.

    What was heard in part is not told: the dialogue manager would act on it.
    """
    heard = None if outcome is None else outcome.transcript
    spoken = outcome is not None and outcome.kind is OutcomeKind.TRANSCRIPT
    spoken = spoken and outcome is not None and not outcome.incomplete
    infer_s = None if outcome is None else outcome.infer_s
    return encode(
        {
            "text": heard.text if heard is not None and spoken else "",
            "likelihood": round(heard.confidence, 4) if heard is not None and spoken else 0,
            "seconds": round(infer_s or 0, 4),
            **_who(request.address),
            "wakewordId": request.wakeword,
            "asrTokens": None,
            "lang": request.language if heard is None else heard.language,
        }
    )


def recording_finished(address: SessionAddress) -> bytes:
    """`recordingFinished`: the microphone is not listened to any more."""
    return encode(_who(address))


def error(failure: UtteranceError, address: SessionAddress) -> bytes:
    """`hermes/error/asr`, with the code of the error as its context."""
    return encode({"error": failure.detail, "context": failure.code, **_who(address)})


def _who(address: SessionAddress) -> dict[str, object]:
    return {"siteId": address.site, "sessionId": address.session or None}
