"""What devices are called in Home Assistant's discovery."""

from __future__ import annotations

import re
from hashlib import sha256

from stt_mqtt.config.root import RESERVED_NAME

PREFIX = "stt_mqtt_"
_DIGEST_CHARACTERS = 8
_OBJECT_ID = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{1,{64 + 1 + _DIGEST_CHARACTERS}}}")


def object_id(device: str) -> str:
    """The object id of a device; its name may have dots, an object id may not.

    What stands for a dotted name ends in a piece of its SHA-256, or `a.b` would be `a_b`.
    """
    if "." not in device:
        return PREFIX + device
    digest = sha256(device.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{PREFIX}{device.replace('.', '_')}-{digest}"


SERVICE_ID = object_id(RESERVED_NAME)
"""The object id of the service itself; no device can have it."""


def is_object_id(text: str) -> bool:
    """Whether `object_id` may have made this."""
    return _OBJECT_ID.fullmatch(text) is not None
