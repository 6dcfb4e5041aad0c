"""What others may ask of a satellite over MQTT, and what it says about itself."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from stt_mqtt import __version__

MAX_PAYLOAD_BYTES = 1024
_KEYS = ("muted", "listen", "playing")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """A message on `satellite/set`; None: nothing is wished for in this."""

    muted: bool | None = None
    listen: bool | None = None
    playing: bool | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What the satellite says about itself on `satellite/state`."""

    mode: str
    codec: str
    muted: bool
    playing: bool
    listening: bool
    """Whether speech would begin an utterance now."""
    dropped: int
    """Utterances that never reached the broker, since the start."""

    def as_json(self) -> bytes:
        """The payload."""
        fields = {
            "v": 1,
            "version": __version__,
            "mode": self.mode,
            "codec": self.codec,
            "muted": self.muted,
            "playing": self.playing,
            "listening": self.listening,
            "dropped": self.dropped,
        }
        return json.dumps(fields).encode()


def parse_wishes(payload: bytes, retained: bool) -> Wishes:
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
        return Wishes()
    if retained:
        return Wishes(muted=fields.get("muted"))
    return Wishes(*(fields.get(key) for key in _KEYS))
