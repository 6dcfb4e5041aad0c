"""How many examples the tests of properties try. They differ from run to run."""

from __future__ import annotations

import os

THOROUGH = int(os.environ.get("STT_MQTT_THOROUGH", "1"))
"""As many times more examples, for a run by hand or at night."""


def examples(count: int) -> int:
    """For `max_examples`: `count`, or as many times more as are wanted."""
    return count * THOROUGH
