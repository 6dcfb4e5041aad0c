"""What others may ask of a satellite over MQTT, and what it says about itself."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from stt_mqtt import __version__

MAX_PAYLOAD_BYTES = 1024
MAX_REASON = 200
"""Characters of the reason why it does not listen."""
MODEL = "stt-mqtt satellite"
_KEYS = ("muted", "listen", "playing")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControlCommand:
    """A message on `satellite/set`; None: nothing is wished for in this."""

    muted: bool | None = None
    listen: bool | None = None
    playing: bool | None = None


@dataclass(frozen=True, slots=True)
class SatelliteState:
    """What the satellite says about itself on `satellite/state`."""

    mode: str
    codec: str
    muted: bool
    playing: bool
    listening: bool
    """Whether speech would begin an utterance now."""
    reason: str | None
    """Why nothing can be heard, in words for a person; None: nothing is wrong."""
    dropped: int
    """Utterances that never reached the broker, since the start."""

    def as_json(self) -> bytes:
        """The payload."""
        fields = {
            "v": 1,
            "model": MODEL,
            "version": __version__,
            "mode": self.mode,
            "codec": self.codec,
            "muted": self.muted,
            "playing": self.playing,
            "listening": self.listening,
            "reason": None if self.reason is None else one_line(self.reason, MAX_REASON),
            "dropped": self.dropped,
        }
        return json.dumps(fields, ensure_ascii=False).encode()


def one_line(text: str, limit: int) -> str:
    """`text` without what breaks a line, moves a cursor or hides something, `limit` at most."""
    kept = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(character if character.isprintable() else " " for character in kept)


def parse_wishes(payload: bytes, retained: bool) -> ControlCommand:
    """What a message on `satellite/set` asks for; nothing, if it cannot be read.

    Of a retained message only the mute counts: a wake-up of last week wakes nobody.
    """
    try:
        fields = json.loads(payload) if 0 < len(payload) <= MAX_PAYLOAD_BYTES else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or any(
        not isinstance(fields.get(key), bool | None) for key in _KEYS
    ):
        if payload:
            log.warning("satellite/set is ignored: it is no JSON with muted, listen, playing")
        return ControlCommand()
    if retained:
        return ControlCommand(muted=fields.get("muted"))
    return ControlCommand(*(fields.get(key) for key in _KEYS))
