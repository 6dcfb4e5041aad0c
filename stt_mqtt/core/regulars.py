"""Who is at home here: the names that a crowd of new ones does not delay.

Pure: `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from stt_mqtt.core.pace import Pace

MAX_REGULARS = 1000
"""Regulars without an entry in the configuration. The one that was silent longest leaves first."""
ADMITTED_AT_ONCE = 8
"""Names that can become regulars at one time: the rooms of a home after a start."""
ADMITTED_EVERY_S = 60.0
"""After that, one in this time. Real words from 1,000 new names make few of them regulars."""


def _nobody(_name: str) -> bool:
    return False


class Regulars:
    """The names that are configured, and names in which words were heard, a few at a time.

    A name is a door and the name of a device, as in `core/queue.py`.
    `is_configured`: whether a device has an entry of its own. `in` may be used in any thread.
    """

    def __init__(self, is_configured: Callable[[str], bool] = _nobody) -> None:
        self._is_configured = is_configured
        self._names: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Those that are not configured, in the order in which words were last heard in them."""
        self._admission = Pace(ADMITTED_AT_ONCE, ADMITTED_EVERY_S)

    def __contains__(self, name: tuple[str, str]) -> bool:
        return name in self._names or self._is_configured(name[1])

    def heard(self, name: tuple[str, str], now: float) -> None:
        """Words were heard in a name. It becomes a regular if it is its turn."""
        if name in self._names:
            self._names.move_to_end(name)
            return
        if self._is_configured(name[1]) or not self._admission.takes(now):
            return
        self._names[name] = None
        if len(self._names) > MAX_REGULARS:
            self._names.popitem(last=False)
