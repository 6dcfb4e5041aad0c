"""The JSON of Hermes clients, checked: what only decorates may be anything, ids may not."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.config.devices import is_language
from stt_mqtt.doors.hermes.topics import MAX_SESSION, MAX_SITE, is_session, is_site
from stt_mqtt.errors import BadPayloadError
from stt_mqtt.mqtt.json import Json, parse_object

DEFAULT_SITE = "default"
MAX_WAKEWORD = 256
MAX_REASON = 64

_SITE_KEYS = ("siteId", "site_id")
_SESSION_KEYS = ("sessionId", "session_id")


@dataclass(frozen=True, slots=True)
class SessionAddress:
    """A site and a session there; `session` is empty where there is no id."""

    site: str = DEFAULT_SITE
    session: str = ""


@dataclass(frozen=True, slots=True)
class StartListening:
    """A wish to have a session opened."""

    address: SessionAddress
    language: str | None
    stop_on_silence: bool
    send_audio_captured: bool
    wakeword: str | None


@dataclass(frozen=True, slots=True)
class StopListening:
    """A wish to have a session ended. `site` None: on whatever site it is."""

    site: str | None
    session: str


@dataclass(frozen=True, slots=True)
class Toggle:
    """Of which site, and why. `site` None: of all."""

    site: str | None
    reason: str


def parse_start(payload: bytes) -> StartListening:
    """A start. Raises `BadPayloadError`."""
    fields = _parse_filled(payload)
    return StartListening(
        address=SessionAddress(_site(fields) or DEFAULT_SITE, _session(fields)),
        language=_language(fields.get("lang")),
        stop_on_silence=_get(fields, "stopOnSilence", "stop_on_silence") is not False,
        send_audio_captured=_get(fields, "sendAudioCaptured", "send_audio_captured") is True,
        wakeword=_short(_get(fields, "wakewordId", "wakeword_id"), MAX_WAKEWORD),
    )


def parse_stop(payload: bytes) -> StopListening:
    """A stop; one without site and session is about the default ones. Raises `BadPayloadError`."""
    fields = _parse_filled(payload)
    site, session = _site(fields), _session(fields)
    return StopListening(site if site or session else DEFAULT_SITE, session)


def parse_toggle(payload: bytes) -> Toggle:
    """A toggle; an empty payload is about all sites. Raises `BadPayloadError`."""
    if not payload.strip():
        return Toggle(None, "")
    fields = parse_object(payload)
    value = fields.get("reason")
    reason = "" if value is None else _short(value, MAX_REASON)
    if reason is None:
        raise BadPayloadError(f"reason: a string of at most {MAX_REASON} characters is needed")
    return Toggle(_site(fields) or DEFAULT_SITE, reason)


def address_of(payload: bytes) -> SessionAddress:
    """Whom a request that cannot be obeyed is about, as far as it can be told."""
    try:
        fields = parse_object(payload)
    except BadPayloadError:
        return SessionAddress()
    site = _get(fields, *_SITE_KEYS)
    session = _get(fields, *_SESSION_KEYS)
    return SessionAddress(
        site if isinstance(site, str) and is_site(site) else DEFAULT_SITE,
        session if isinstance(session, str) and is_session(session) else "",
    )


def _parse_filled(payload: bytes) -> Json:
    """An empty payload asks for nothing: so a retained message is cleared."""
    if not payload.strip():
        raise BadPayloadError("a JSON object is needed, this is empty")
    return parse_object(payload)


def _get(fields: Json, camel: str, snake: str) -> object:
    value = fields.get(camel)
    return fields.get(snake) if value is None else value


def _site(fields: Json) -> str | None:
    value = _get(fields, *_SITE_KEYS)
    if value is not None and not (isinstance(value, str) and is_site(value)):
        raise BadPayloadError(
            f"siteId: 1 to {MAX_SITE} printable characters without / + # are needed"
        )
    return value


def _session(fields: Json) -> str:
    value = _get(fields, *_SESSION_KEYS)
    if value is None:
        return ""
    if not (isinstance(value, str) and is_session(value)):
        raise BadPayloadError(
            f"sessionId: at most {MAX_SESSION} printable characters without / + # are taken"
        )
    return value


def _language(value: object) -> str | None:
    return value if is_language(value) else None


def _short(value: object, most: int) -> str | None:
    return value if isinstance(value, str) and len(value) <= most else None
