"""The messages on the WebSocket of a browser. See `docs/web.md`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from stt_mqtt.doors.native.topics import Verb
from stt_mqtt.errors import BadPayloadError
from stt_mqtt.mqtt.json import MAX_JSON_BYTES, Json, encode, parse_object

PROTOCOL = "stt-mqtt.v1"
"""The sub-protocol of the WebSocket."""
VERBS = {
    "start": Verb.START,
    "stop": Verb.STOP,
    "abort": Verb.ABORT,
    "set": Verb.SET,
}
"""What the messages of a browser are on MQTT. Their fields are the same."""
MAX_SHOWN_CHARACTERS = 40
MAX_REASON_BYTES = 123
"""The WebSocket protocol has no room for more."""


class CloseCode(IntEnum):
    """Why the service closes a WebSocket. Clients depend on the numbers."""

    STOPPING = 1001
    NOT_JSON = 1007
    NOT_TAKEN = 1008
    TOO_LARGE = 1009
    TRY_LATER = 1013
    REPLACED = 4001
    ROOM = 4003


@dataclass(frozen=True, slots=True)
class Farewell:
    """The reason for closing a WebSocket: for programs, and one sentence for people."""

    close_code: CloseCode
    code: str
    detail: str

    @property
    def message(self) -> str:
        """The `error` message before the end. Some proxies swallow the close code."""
        return encode_message("error", {"code": self.code, "detail": self.detail})

    @property
    def reason(self) -> bytes:
        """The reason in the close frame."""
        return self.detail.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


STOPPING = Farewell(CloseCode.STOPPING, "stopping", "the service is stopping")
STARTING = Farewell(CloseCode.TRY_LATER, "starting", "the service is starting, try again soon")
BUSY = Farewell(CloseCode.TRY_LATER, "busy", "too many browsers are connected, try again later")
REPLACED = Farewell(
    CloseCode.REPLACED, "replaced", "another page or browser now speaks as this room"
)
NO_START = {"code": "no_start", "detail": "audio came before a start, and was dropped"}


class FarewellError(Exception):
    """The connection must end because of what a browser sent."""

    def __init__(self, farewell: Farewell) -> None:
        super().__init__(farewell.detail)
        self.farewell = farewell


def too_large(limit_bytes: int) -> Farewell:
    """A frame was larger than the limit."""
    detail = f"a frame is larger than {limit_bytes} bytes"
    return Farewell(CloseCode.TOO_LARGE, "frame_too_large", detail)


def room_refused(detail: str) -> Farewell:
    """A browser may not speak as the room that it named."""
    return Farewell(CloseCode.ROOM, "room_not_allowed", detail)


def parse_message(payload: bytes) -> tuple[str, Json]:
    """The type and the fields of a text frame. Raises `FarewellError`."""
    if len(payload) > MAX_JSON_BYTES:
        raise FarewellError(too_large(MAX_JSON_BYTES))
    try:
        fields = parse_object(payload)
    except BadPayloadError as error:
        raise FarewellError(Farewell(CloseCode.NOT_JSON, "bad_message", str(error))) from error
    kind = fields.get("type")
    if isinstance(kind, str) and (kind in VERBS or kind in {"ping", "pong"}):
        return kind, fields
    shown = repr(kind)[:MAX_SHOWN_CHARACTERS]
    detail = f"unknown type {shown}; known are start, stop, abort, set and ping"
    raise FarewellError(Farewell(CloseCode.NOT_TAKEN, "unknown_type", detail))


def pong_fields(ping: Json) -> Json:
    """The answer to a ping: its number `t`, if it has one."""
    t = ping.get("t")
    return {"t": t} if isinstance(t, int | float) else {}


def encode_message(kind: str, fields: Json) -> str:
    """A text frame for the browser."""
    return encode({"type": kind, **fields}).decode()
