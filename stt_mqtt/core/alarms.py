"""When which device has to be looked at again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from stt_mqtt.core.device import Device
from stt_mqtt.core.registry import Registry
from stt_mqtt.types import DeviceKey


class Alarms:
    """Deadlines of devices, the earliest first. Times are monotonic seconds.

    A deadline that moves later costs nothing: the device is looked at early and set again.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._alarms: list[tuple[float, DeviceKey]] = []

    @property
    def next_at(self) -> float | None:
        """When `due` has something to say; None: nothing is set."""
        return self._alarms[0][0] if self._alarms else None

    def set(self, device: Device) -> None:
        """See that the device is looked at when its deadline comes."""
        deadline = device.deadline
        if deadline is not None and (device.timer_at is None or deadline < device.timer_at):
            device.timer_at = deadline
            heapq.heappush(self._alarms, (deadline, device.key))

    def due(self, now: float) -> Iterator[Device]:
        """The devices whose time has come; each has to be `set` again."""
        while self._alarms and self._alarms[0][0] <= now:
            at, key = heapq.heappop(self._alarms)
            device = self._registry.find(key)
            if device is not None and device.timer_at == at:
                device.timer_at = None
                yield device
