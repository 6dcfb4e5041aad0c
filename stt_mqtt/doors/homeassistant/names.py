"""Object ids of discovery messages, and the test whether a message is ours. Pure."""

from __future__ import annotations

import json
import re
from hashlib import sha256

from stt_mqtt.config.root import RESERVED_NAME

ORIGIN = "stt-mqtt"
MAX_CONFIG_BYTES = 64 * 1024
"""Largest message that may be ours. Ours have a few kilobytes."""

_PREFIX = "stt_mqtt_"
_DIGEST_CHARACTERS = 8
_OBJECT_ID = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{1,{64 + 1 + _DIGEST_CHARACTERS}}}")


def object_id(device: str) -> str:
    """The object id of a device. Dots are illegal there and become underscores.

    A part of the SHA-256 is appended to a name with dots, so that `a.b` and `a_b` differ.
    """
    if "." not in device:
        return _PREFIX + device
    digest = sha256(device.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_PREFIX}{device.replace('.', '_')}-{digest}"


SERVICE_ID = object_id(RESERVED_NAME)
"""The object id of the service. No device can have it."""


def is_ours(object_id: str, config: bytes, state_topic: str) -> bool:
    """Whether a service with this `state_topic` published this discovery message."""
    if _OBJECT_ID.fullmatch(object_id) is None or len(config) > MAX_CONFIG_BYTES:
        return False
    try:
        parsed = json.loads(config)
    except (ValueError, RecursionError):
        return False
    match parsed:
        case {"o": {"name": str(origin)}, "avty": [{"t": str(topic)}, *_]}:
            return origin == ORIGIN and topic == state_topic
        case _:
            return False
