"""How much the tests of properties and long lists try."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

THOROUGH = int(os.environ.get("STT_MQTT_THOROUGH", "1"))
"""As many times more examples, and all of each list, for a run by hand or at night."""


def examples(count: int) -> int:
    """For `max_examples`: `count`, or as many times more. They differ from run to run."""
    return count * THOROUGH


def some(items: Sequence[T], each: int = 3) -> Sequence[T]:
    """The first one and every third one after it, or all."""
    return items[::each] if THOROUGH == 1 else items
