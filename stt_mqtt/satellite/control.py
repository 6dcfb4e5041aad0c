"""The control of a satellite over MQTT: its commands, its state, and when it listens.

`now` is monotonic seconds.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass

from stt_mqtt import __version__
from stt_mqtt.config import ListenMode, SatelliteConfig
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.satellite.segmenter import ListenState

MAX_PAYLOAD_BYTES = 1024
MAX_REASON = 200
"""Characters of the reason in the state."""
MODEL = "stt-mqtt satellite"
_KEYS = ("muted", "listen", "playing")
_IDS = ("ended", "open")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SatelliteTopics:
    """The topics of one satellite."""

    topics: Topics
    device: str

    def topic(self, name: str) -> str:
        """A topic below that of the device, such as `satellite/set`."""
        return self.topics.of_device(self.device, name)


@dataclass(frozen=True, slots=True)
class ControlCommand:
    """A message on `satellite/set`; None: leave this as it is."""

    muted: bool | None = None
    listen: bool | None = None
    playing: bool | None = None
    ended: str | None = None
    """Id of an utterance that the service has ended by itself."""
    open: str | None = None
    """Id of an utterance that is only the beginning of a phrase so far."""


@dataclass(frozen=True, slots=True)
class SatelliteState:
    """The retained message on `satellite/state`."""

    mode: str
    codec: str
    muted: bool
    playing: bool
    listening: bool
    """Whether speech would begin an utterance now."""
    reason: str | None
    """Why it cannot listen, for a person; None: nothing is wrong."""
    dropped: int
    """Utterances dropped since the start."""

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
    """`text` with every unprintable character as a space, at most `limit` characters."""
    kept = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(character if character.isprintable() else " " for character in kept)


def parse_command(payload: bytes, retained: bool) -> ControlCommand:
    """The command in a message on `satellite/set`; an empty one if it cannot be read.

    Of a retained message only `muted` counts, because an old `listen` must not wake the satellite.
    """
    try:
        fields = json.loads(payload) if 0 < len(payload) <= MAX_PAYLOAD_BYTES else None
    except (ValueError, RecursionError):
        fields = None
    if (
        not isinstance(fields, dict)
        or any(not isinstance(fields.get(key), bool | None) for key in _KEYS)
        or not all(_is_id(fields.get(key)) for key in _IDS)
    ):
        if payload:
            keys = ", ".join((*_KEYS, *_IDS))
            log.warning("satellite/set is ignored: it is no JSON with %s", keys)
        return ControlCommand()
    if retained:
        return ControlCommand(muted=fields.get("muted"))
    return ControlCommand(*(fields.get(key) for key in (*_KEYS, *_IDS)))


def _is_id(value: object) -> bool:
    return value is None or (isinstance(value, str) and _ID.fullmatch(value) is not None)


class ListenPolicy:
    """Decides the listen state: by mode, wake-up, mute, and the sound that the satellite plays."""

    def __init__(self, config: SatelliteConfig) -> None:
        self._mode = config.mode
        self._listen_timeout_s = config.listen_timeout_s
        self._press_timeout_s = config.vad.max_utterance_s
        self._playing_timeout_s = config.playing_timeout_s
        self._listens_until = 0.0
        self._plays_until = 0.0
        self.muted = False

    def state(self, now: float, speaking: bool) -> ListenState:
        """Listen state of the next frame. `speaking`: an utterance is open."""
        if self.muted or self.is_playing(now):
            return ListenState.OFF
        if self._mode is ListenMode.ALWAYS:
            return ListenState.ACTIVE
        if now >= self._listens_until and not (speaking and self._listens_until):
            return ListenState.WAITING
        return ListenState.HELD if self._mode is ListenMode.PUSH_TO_TALK else ListenState.ACTIVE

    def is_playing(self, now: float) -> bool:
        """Whether the satellite plays a sound, which it must not listen to."""
        return now < self._plays_until

    def listen(self, now: float) -> None:
        """A wake-up, or a pressed button: listen for `listen_timeout_s`.

        A button counts as released after `max_utterance_s`.
        """
        held = self._mode is ListenMode.PUSH_TO_TALK
        self._listens_until = now + (self._press_timeout_s if held else self._listen_timeout_s)

    def stop_listening(self) -> None:
        """The button is released, or the utterance after a wake-up has ended."""
        self._listens_until = 0.0

    def play(self, playing: bool, now: float) -> None:
        """A sound begins to play, or ends. It counts as ended after `playing_timeout_s`."""
        self._plays_until = now + self._playing_timeout_s if playing else 0.0
