"""The JSON messages of the native topics: parsing of input, and fields of output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from stt_mqtt.audio.formats import parse_content_type, parse_format
from stt_mqtt.config.devices import MAX_PROMPT_CHARACTERS, is_language
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.settings import UNCHANGED, DeviceSettings, SettingsChange, Unchanged
from stt_mqtt.errors import BadPayloadError, UtteranceError
from stt_mqtt.mqtt.json import Json, parse_object
from stt_mqtt.types import AudioFormat, NamedFormat, Outcome, Phrase, UtteranceStart

RESULT_VERSION = 1
MAX_SHOWN_CHARACTERS = 64
"""Longest name of a model or version. Longer ones are cut."""

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_AGE_MS = 24 * 3600 * 1000
"""Largest age. A greater one counts as a day."""
_MAX_CHUNKS = 2**32


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A parsed start. `error`: why it is invalid, although its id is valid."""

    start: UtteranceStart
    reply_to: str | None
    error: UtteranceError | None


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A parsed stop. `id`: the utterance. `chunks`: how many were sent."""

    id: str | None
    chunks: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """Where a device requested a copy of the result."""

    topic: str
    correlation: bytes | None


@dataclass(frozen=True, slots=True)
class SatelliteInfo:
    """What a satellite publishes about itself on `satellite/state`. None: unknown."""

    model: str | None = None
    version: str | None = None
    can_mute: bool = False
    """Whether it publishes the state of its microphone, so that it can be muted."""
    gateway: str | None = None
    """For a browser: the gateway of the fleet that it is connected to."""


def parse_start(
    payload: bytes, default: AudioFormat, content_type: str | None = None
) -> StartRequest:
    """Parse a start. The content type and then `default` say what it does not name itself.

    Raises `BadPayloadError` if it is not a JSON object or its id is illegal.
    """
    fields = parse_object(payload)
    id = _id(fields)
    reply_to = fields.get("reply_to")
    try:
        _text(fields, "reply_to")
        start = UtteranceStart(
            id=id,
            format=parse_format(
                fields.get("codec"),
                fields.get("rate"),
                fields.get("channels"),
                message_format(content_type, default),
            ),
            language=_language(fields.get("language")),
            prompt=_prompt(fields.get("prompt")),
            sequenced=_sequenced(fields.get("framing")),
            age_s=_age_ms(fields.get("age_ms")) / 1000,
        )
        error = None
    except UtteranceError as caught:
        start, error = UtteranceStart(id=id), caught
    return StartRequest(start, reply_to if isinstance(reply_to, str) else None, error)


def id_of_start(payload: bytes) -> str | None:
    """The id in a start. None: it has none, or is invalid."""
    try:
        return _id(parse_object(payload))
    except UtteranceError:
        return None


def message_format(content_type: str | None, default: AudioFormat) -> AudioFormat:
    """The format of the audio that a message is about. Raises as `parse_content_type` does."""
    if content_type is None or content_type.startswith("application/json"):
        return default
    return parse_content_type(content_type, default)


def parse_stop(payload: bytes) -> StopRequest:
    """Parse a stop. Raises `BadPayloadError`."""
    fields = parse_object(payload)
    chunks = fields.get("chunks")
    if chunks is not None and not _is_whole_number(chunks, 0, _MAX_CHUNKS):
        raise BadPayloadError("chunks: a whole number from 0 is needed")
    return StopRequest(_id(fields), chunks if isinstance(chunks, int) else None)


def parse_abort(payload: bytes) -> str | None:
    """Parse an abort; return its id. Raises `BadPayloadError`."""
    return _id(parse_object(payload))


def parse_set(payload: bytes) -> SettingsChange:
    """Parse changed settings. A null resets a setting. Raises `BadPayloadError`."""
    fields = parse_object(payload)
    enabled: bool | Unchanged | None = UNCHANGED
    if "enabled" in fields:
        value = fields["enabled"]
        if value is not None and not isinstance(value, bool):
            raise BadPayloadError("enabled: true, false or null is needed")
        enabled = value
    return SettingsChange(
        enabled=enabled,
        language=_language(fields["language"]) if "language" in fields else UNCHANGED,
        prompt=_prompt(fields["prompt"]) if "prompt" in fields else UNCHANGED,
    )


def parse_switch(payload: bytes) -> SettingsChange:
    """Parse `ON` or `OFF` from the switch of Home Assistant. Raises `BadPayloadError`."""
    wanted = payload.strip()
    if wanted not in {b"ON", b"OFF"}:
        raise BadPayloadError("enabled/set: ON or OFF is needed")
    return SettingsChange(enabled=wanted == b"ON")


def parse_sequence_number(text: str) -> int | None:
    """The sequence number in the `seq` property of a chunk; None if it is invalid."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    number = int(text)
    return number if number < 2**32 else None


@lru_cache(maxsize=64)
def named_format(content_type: str, default: AudioFormat) -> NamedFormat:
    """Parse a content type. Cached, because every chunk may have one."""
    try:
        return parse_content_type(content_type, default)
    except UtteranceError as error:
        return error


def transaction_of(fields: Json) -> str | int | float | None:
    """The id of a bridge request, which its response repeats."""
    value = fields.get("transaction")
    return value if isinstance(value, str | int | float) else None


def parse_satellite(payload: bytes) -> SatelliteInfo:
    """Parse a message on `satellite/state`, which may be empty. Raises `BadPayloadError`.

    Other fields are ignored. A model or version that is not printable text counts as None.
    """
    fields = parse_object(payload)
    return SatelliteInfo(
        _shown(fields.get("model")),
        _shown(fields.get("version")),
        isinstance(fields.get("muted"), bool),
        _shown(fields.get("gateway")),
    )


def result_fields(outcome: Outcome) -> dict[str, object]:
    """The fields of the `result` message. All keys are always present."""
    transcript = outcome.transcript
    error = outcome.error
    return {
        "v": RESULT_VERSION,
        "id": outcome.id,
        "device": outcome.key.name,
        "ts": round(outcome.ts, 3),
        "outcome": outcome.kind.value,
        "text": "" if transcript is None else transcript.text,
        "language": None if transcript is None else transcript.language,
        "confidence": _rounded(None if transcript is None else transcript.confidence),
        "no_speech_prob": _rounded(None if transcript is None else transcript.no_speech_prob),
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
        "heard": "" if transcript is None else transcript.free,
        "phrase": None if transcript is None else _phrase_fields(transcript.phrase),
        "hint": None if outcome.hint is None else outcome.hint.sentence,
    }


def _phrase_fields(phrase: Phrase | None) -> dict[str, object] | None:
    if phrase is None:
        return None
    return {
        "id": phrase.id,
        "slots": dict(phrase.slots),
        "entities": dict(phrase.entities),
        "score": _rounded(phrase.score),
        "margin": _rounded(phrase.margin),
    }


def partial_fields(partial: Partial) -> dict[str, object]:
    """The fields of the `partial` message."""
    return {
        "id": partial.id,
        "text": partial.text,
        "revision": partial.revision,
        "stable": partial.stable,
    }


def settings_fields(settings: DeviceSettings) -> dict[str, object]:
    """The fields of the `settings` message."""
    return {
        "enabled": settings.enabled,
        "language": settings.language,
        "prompt": settings.prompt,
    }


def _id(fields: Json) -> str | None:
    value = _text(fields, "id")
    if value is not None and _ID.fullmatch(value) is None:
        raise BadPayloadError("id: 1 to 64 of A-Z a-z 0-9 _ . : - are needed")
    return value


def _text(fields: Json, name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise BadPayloadError(f"{name}: a string is needed")
    return value


def _language(value: object) -> str | None:
    if value is None:
        return None
    if not is_language(value):
        raise BadPayloadError("language: a tag such as en or en-US is needed")
    return value


def _prompt(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_PROMPT_CHARACTERS:
        raise BadPayloadError(f"prompt: at most {MAX_PROMPT_CHARACTERS} characters are taken")
    return value


def _sequenced(value: object) -> bool:
    if value not in (None, "seq32"):
        raise BadPayloadError("framing: seq32 is the only one")
    return value is not None


def _age_ms(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(min(value, _MAX_AGE_MS))
    raise BadPayloadError("age_ms: a number from 0 is needed")


def _is_whole_number(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _shown(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable():
        return None
    return value.strip()[:MAX_SHOWN_CHARACTERS].strip() or None


def _rounded(value: float | None) -> float | None:
    """A rounded number. None if it is not finite, which JSON cannot represent."""
    return None if value is None or not isfinite(value) else round(value, 4)
