"""Discovery messages that a previous run left behind."""

from __future__ import annotations

import json

from stt_mqtt.doors.homeassistant.names import is_object_id
from stt_mqtt.doors.homeassistant.payloads import ORIGIN

MAX_LEFTOVERS = 100_000
"""Devices looked at in one start; a bound, not an expectation."""
MAX_CONFIG_BYTES = 64 * 1024
"""Ours are a few kilobytes; a longer message is of somebody else."""


class Leftovers:
    """Collects the object ids that the service announced under its `state_topic`."""

    def __init__(self, state_topic: str) -> None:
        self._state_topic = state_topic
        self._object_ids: set[str] = set()

    def note(self, object_id: str, payload: bytes) -> None:
        """Look at one retained discovery message, of whomever it is."""
        if (
            is_object_id(object_id)
            and len(self._object_ids) < MAX_LEFTOVERS
            and self._is_ours(payload)
        ):
            self._object_ids.add(object_id)

    def take_unknown(self, known: set[str]) -> list[str]:
        """Those that are not known to this run, in order; they are forgotten here, too."""
        unknown = sorted(self._object_ids - known)
        self._object_ids.clear()
        return unknown

    def _is_ours(self, payload: bytes) -> bool:
        """Whether another service, or one with another base topic, did not write it."""
        if len(payload) > MAX_CONFIG_BYTES:
            return False
        try:
            config = json.loads(payload)
        except (ValueError, RecursionError):
            return False
        match config:
            case {"o": {"name": str(origin)}, "avty": [{"t": str(topic)}, *_]}:
                return origin == ORIGIN and topic == self._state_topic
            case _:
                return False
