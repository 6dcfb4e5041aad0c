"""The topics, requests and answers of Hermes. Pure.

Names of sites and sessions are checked. Other optional fields with invalid values are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from stt_mqtt.config.devices import is_language
from stt_mqtt.core.partials import Partial
from stt_mqtt.errors import BadPayloadError, UtteranceError
from stt_mqtt.mqtt.json import Json, encode, parse_object
from stt_mqtt.types import Outcome, OutcomeKind

TEXT_CAPTURED = "hermes/asr/textCaptured"
PARTIAL_TEXT_CAPTURED = "hermes/asr/partialTextCaptured"
ERROR = "hermes/error/asr"
RECORDING_FINISHED = "rhasspy/asr/recordingFinished"

MAX_SITE = 64
MAX_SESSION = 256
MAX_WAKEWORD = 256
MAX_REASON = 64
DEFAULT_SITE = "default"

_FRAMES = "hermes/audioServer/"
_FRAME_ENDING = "/audioFrame"
_SESSION_FRAME_ENDING = "/audioSessionFrame"
_VOICE_ACTIVITY = "hermes/voiceActivity/"
_VOICE_STARTS = {"vadUp": True, "vadDown": False}
_MAX_TOPIC = len(_FRAMES) + MAX_SITE + 1 + MAX_SESSION + len(_SESSION_FRAME_ENDING)
_NOT_IN_A_LEVEL = re.compile("[/+#\0]")
_SITE_KEYS = ("siteId", "site_id")
_SESSION_KEYS = ("sessionId", "session_id")


# Topics --------------------------------------------------------------------------------------


class Request(StrEnum):
    """A request with JSON, named by its topic."""

    START = "hermes/asr/startListening"
    STOP = "hermes/asr/stopListening"
    TOGGLE_ON = "hermes/asr/toggleOn"
    TOGGLE_OFF = "hermes/asr/toggleOff"


@dataclass(frozen=True, slots=True)
class AudioFrameTopic:
    """An audio topic of a site. `session` None: for all sessions of the site."""

    site: str
    session: str | None


@dataclass(frozen=True, slots=True)
class VoiceActivityTopic:
    """A topic on which a site reports that speech starts or stops."""

    site: str
    starts: bool


Route: TypeAlias = Request | AudioFrameTopic | VoiceActivityTopic

FRAME_ENDINGS = (_FRAME_ENDING, _SESSION_FRAME_ENDING)
"""The endings of audio topics."""
FILTERS = (
    *(request.value for request in Request),
    f"{_FRAMES}+{_FRAME_ENDING}",
    f"{_FRAMES}+/+{_SESSION_FRAME_ENDING}",
    *(f"{_VOICE_ACTIVITY}+/{said}" for said in _VOICE_STARTS),
)
"""Filters of the input. They do not overlap, so no message arrives twice."""
_REQUESTS = {request.value: request for request in Request}


def parse_topic(topic: str) -> Route | None:
    """Parse a topic. None if it is not of Hermes or has an invalid site or session."""
    # Checked before the cache, so that long topics cannot fill it.
    return _parse_topic(topic) if len(topic) <= _MAX_TOPIC else None


def audio_captured_topic(site: str, session: str) -> str:
    """Topic of the audio of a session. Without an id the level is `None`, as in Rhasspy."""
    return f"rhasspy/asr/{site}/{session or None}/audioCaptured"


@lru_cache(maxsize=4096)
def _parse_topic(topic: str) -> Route | None:
    """Cached because a satellite sends sixty frames a second on one topic."""
    if topic.startswith(_FRAMES):
        return _parse_frame_topic(topic.removeprefix(_FRAMES))
    if topic.startswith(_VOICE_ACTIVITY):
        site, _, said = topic.removeprefix(_VOICE_ACTIVITY).partition("/")
        starts = _VOICE_STARTS.get(said)
        return VoiceActivityTopic(site, starts) if starts is not None and _is_site(site) else None
    return _REQUESTS.get(topic)


def _parse_frame_topic(rest: str) -> AudioFrameTopic | None:
    if rest.endswith(_FRAME_ENDING):
        site = rest.removesuffix(_FRAME_ENDING)
        return AudioFrameTopic(site, None) if _is_site(site) else None
    site, _, last = rest.partition("/")
    if not last.endswith(_SESSION_FRAME_ENDING):
        return None
    session = last.removesuffix(_SESSION_FRAME_ENDING)
    return AudioFrameTopic(site, session) if _is_site(site) and _is_session(session) else None


def _is_site(name: str) -> bool:
    return 1 <= len(name) <= MAX_SITE and _is_level(name)


def _is_session(name: str) -> bool:
    return len(name) <= MAX_SESSION and _is_level(name)


def _is_level(name: str) -> bool:
    return name.isprintable() and _NOT_IN_A_LEVEL.search(name) is None


# Requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionAddress:
    """A site and a session there. `session` is empty where there is no id."""

    site: str = DEFAULT_SITE
    session: str = ""


@dataclass(frozen=True, slots=True)
class StartListening:
    """A request to open a session."""

    address: SessionAddress
    language: str | None
    stop_on_silence: bool
    send_audio_captured: bool
    wakeword: str | None


@dataclass(frozen=True, slots=True)
class StopListening:
    """A request to end a session. `site` None: any site."""

    site: str | None
    session: str


@dataclass(frozen=True, slots=True)
class Toggle:
    """Switches a site on or off, for a reason. `site` None: all sites."""

    site: str | None
    reason: str


def parse_start(payload: bytes) -> StartListening:
    """Parse a `startListening`. Raises `BadPayloadError`."""
    fields = _parse_filled(payload)
    return StartListening(
        address=SessionAddress(_site(fields) or DEFAULT_SITE, _session(fields)),
        language=_language(fields.get("lang")),
        stop_on_silence=_get(fields, "stopOnSilence", "stop_on_silence") is not False,
        send_audio_captured=_get(fields, "sendAudioCaptured", "send_audio_captured") is True,
        wakeword=_short(_get(fields, "wakewordId", "wakeword_id"), MAX_WAKEWORD),
    )


def parse_stop(payload: bytes) -> StopListening:
    """Parse a `stopListening`. Without site and session it means the default ones.

    Raises `BadPayloadError`.
    """
    fields = _parse_filled(payload)
    site, session = _site(fields), _session(fields)
    return StopListening(site if site or session else DEFAULT_SITE, session)


def parse_toggle(payload: bytes) -> Toggle:
    """Parse a `toggleOn` or `toggleOff`. Empty means all sites. Raises `BadPayloadError`."""
    if not payload.strip():
        return Toggle(None, "")
    fields = parse_object(payload)
    value = fields.get("reason")
    reason = "" if value is None else _short(value, MAX_REASON)
    if reason is None:
        raise BadPayloadError(f"reason: a string of at most {MAX_REASON} characters is needed")
    return Toggle(_site(fields) or DEFAULT_SITE, reason)


def address_of(payload: bytes) -> SessionAddress:
    """The site and session of an invalid request, as far as they can be read."""
    try:
        fields = parse_object(payload)
    except BadPayloadError:
        return SessionAddress()
    site = _get(fields, *_SITE_KEYS)
    session = _get(fields, *_SESSION_KEYS)
    return SessionAddress(
        site if isinstance(site, str) and _is_site(site) else DEFAULT_SITE,
        session if isinstance(session, str) and _is_session(session) else "",
    )


def _parse_filled(payload: bytes) -> Json:
    """Parse a JSON object. An empty payload is refused: it only clears a retained message."""
    if not payload.strip():
        raise BadPayloadError("a JSON object is needed, this is empty")
    return parse_object(payload)


def _get(fields: Json, camel: str, snake: str) -> object:
    value = fields.get(camel)
    return fields.get(snake) if value is None else value


def _site(fields: Json) -> str | None:
    value = _get(fields, *_SITE_KEYS)
    if value is not None and not (isinstance(value, str) and _is_site(value)):
        raise BadPayloadError(
            f"siteId: 1 to {MAX_SITE} printable characters without / + # are needed"
        )
    return value


def _session(fields: Json) -> str:
    value = _get(fields, *_SESSION_KEYS)
    if value is None:
        return ""
    if not (isinstance(value, str) and _is_session(value)):
        raise BadPayloadError(
            f"sessionId: at most {MAX_SESSION} printable characters without / + # are taken"
        )
    return value


def _language(value: object) -> str | None:
    return value if is_language(value) else None


def _short(value: object, most: int) -> str | None:
    return value if isinstance(value, str) and len(value) <= most else None


# Answers -------------------------------------------------------------------------------------


def text_captured(request: StartListening, outcome: Outcome | None) -> bytes:
    """`textCaptured`: the text, or an empty one. `outcome` None: there was none in time.

    An incomplete text is left out, because the dialogue manager would act on it.
    """
    transcript = outcome.transcript if outcome else None
    infer_s = outcome.infer_s if outcome else None
    complete = outcome and outcome.kind is OutcomeKind.TRANSCRIPT and not outcome.incomplete
    said = transcript if complete else None
    return encode(
        {
            "text": "" if said is None else said.text,
            "likelihood": 0 if said is None else round(said.confidence, 4),
            "seconds": round(infer_s or 0, 4),
            **_who(request.address),
            "wakewordId": request.wakeword,
            "asrTokens": None,
            "lang": request.language if transcript is None else transcript.language,
        }
    )


def partial_text_captured(request: StartListening, partial: Partial) -> bytes:
    """`partialTextCaptured`: the text so far, with the fields of `textCaptured`.

    `revision` and `stable` are as on the native topic `partial`.
    """
    return encode(
        {
            "text": partial.text,
            "likelihood": round(partial.confidence, 4),
            "seconds": round(partial.work_s, 4),
            **_who(request.address),
            "wakewordId": request.wakeword,
            "asrTokens": None,
            "lang": partial.language,
            "revision": partial.revision,
            "stable": partial.stable,
        }
    )


def recording_finished(address: SessionAddress) -> bytes:
    """`recordingFinished`: the session takes no more audio."""
    return encode(_who(address))


def error(failure: UtteranceError, address: SessionAddress) -> bytes:
    """`hermes/error/asr`, with the error code as its context."""
    return encode({"error": failure.detail, "context": failure.code, **_who(address)})


def _who(address: SessionAddress) -> dict[str, object]:
    return {"siteId": address.site, "sessionId": address.session or None}
