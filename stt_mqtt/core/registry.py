"""The devices that are known: bounded, the least recently used idle one leaves first.

Whose settings were changed over the wire stays: a muted room must not hear again because others
came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from stt_mqtt.config import DeviceConfig
from stt_mqtt.core.context import DeviceContext
from stt_mqtt.core.device import Device
from stt_mqtt.core.settings import Overrides
from stt_mqtt.errors import TooManyDevicesError
from stt_mqtt.types import DeviceKey


class Registry:
    """Finds devices by key and makes new ones, at most `max_devices` at once.

    `configure` gives a device its settings; `keep` names those that are never forgotten.
    """

    def __init__(
        self,
        max_devices: int,
        context: DeviceContext,
        configure: Callable[[DeviceKey], DeviceConfig],
        keep: Callable[[DeviceKey], bool],
    ) -> None:
        self._max_devices = max_devices
        self._context = context
        self._configure = configure
        self._keep = keep
        self._devices: OrderedDict[DeviceKey, Device] = OrderedDict()

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._devices.values()))

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, key: DeviceKey) -> Device | None:
        """The device, if it is known."""
        return self._devices.get(key)

    def get(self, key: DeviceKey) -> tuple[Device, Device | None]:
        """The device, made if needed, and the one that had to leave for it.

        Raises `TooManyDevicesError` when all places are taken by devices that are busy or
        configured.
        """
        device = self._devices.get(key)
        if device is not None:
            self._devices.move_to_end(key)
            return device, None
        evicted = self._evict() if len(self._devices) >= self._max_devices else None
        device = Device(key, self._configure(key), self._context)
        self._devices[key] = device
        return device, evicted

    def remove(self, key: DeviceKey) -> None:
        """Forget a device."""
        self._devices.pop(key, None)

    def _evict(self) -> Device:
        for device in self._devices.values():
            if device.idle and device.overrides == Overrides() and not self._keep(device.key):
                del self._devices[device.key]
                return device
        raise TooManyDevicesError(
            f"all {self._max_devices} places for devices are taken; raise limits.max_devices"
        )
