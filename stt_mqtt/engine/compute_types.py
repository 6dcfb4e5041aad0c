"""Which number formats CTranslate2 computes with on this processor."""

from __future__ import annotations

from stt_mqtt.errors import MissingExtraError


def supported_compute_types() -> frozenset[str]:
    """Names such as `int8` and `float32`. Raises `MissingExtraError` without CTranslate2."""
    try:
        from ctranslate2 import get_supported_compute_types
    except ImportError as error:
        raise MissingExtraError(error.name) from error
    return frozenset(get_supported_compute_types("cpu"))
