"""JSON objects in MQTT payloads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TypeAlias

from stt_mqtt.errors import BadPayloadError

Json: TypeAlias = Mapping[str, object]

MAX_JSON_BYTES = 16 * 1024
"""Largest JSON object in a request. No request of the contract needs more."""


def parse_object(payload: bytes) -> Json:
    """Parse a JSON object from a client. An empty or blank payload gives an empty object.

    Raises `BadPayloadError`.
    """
    if len(payload) > MAX_JSON_BYTES:
        raise BadPayloadError(f"more than {MAX_JSON_BYTES} bytes of JSON")
    if not payload.strip():
        return {}
    try:
        value = json.loads(payload, parse_constant=_refuse_constant, parse_float=_finite)
        # A lone surrogate is legal in JSON but cannot be encoded as UTF-8.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadPayloadError(f"not JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise BadPayloadError("a JSON object is needed")
    return value


def object_in(payload: bytes, max_bytes: int) -> Json:
    """Parse a JSON object from a service. An invalid or too large one gives an empty object."""
    try:
        value = json.loads(payload) if len(payload) <= max_bytes else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def encode(value: object) -> bytes:
    """Encode as compact UTF-8 JSON. Lone surrogates become question marks."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value
