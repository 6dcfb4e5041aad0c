"""The memory that all audio of all devices may take together."""

from __future__ import annotations

from collections.abc import Callable

from stt_mqtt.types import DeviceKey


class Budget:
    """Counts bytes held against a limit.

    `make_room` is asked, on behalf of a device, to free something of others when it gets tight;
    it answers whether there was anything to free.
    """

    def __init__(self, limit_bytes: int, make_room: Callable[[DeviceKey], bool]) -> None:
        self._limit_bytes = limit_bytes
        self._make_room = make_room
        self.used_bytes = 0

    def admits(self, nbytes: int, key: DeviceKey) -> bool:
        """Whether the device `key` may hold `nbytes` more."""
        while self.used_bytes + nbytes > self._limit_bytes:
            if not self._make_room(key):
                return False
        return True

    def use(self, nbytes: int) -> None:
        """Note that `nbytes` more are held; negative gives back."""
        self.used_bytes += nbytes
