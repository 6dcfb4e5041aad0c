"""Who is told about the devices, and of what."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from stt_mqtt.core.device import Device
from stt_mqtt.core.outlet import DeviceObserver
from stt_mqtt.types import DeviceKey

log = logging.getLogger(__name__)


class Observers:
    """Tells of each change once, to all followers of a door in the order in which they came.

    A follower that fails keeps nobody else from being told.
    """

    def __init__(self) -> None:
        self._by_door: defaultdict[str, list[DeviceObserver]] = defaultdict(list)

    def add(self, door: str, follower: DeviceObserver) -> None:
        """Have the devices of a door watched."""
        self._by_door[door].append(follower)

    def announce(self, device: Device) -> None:
        """Tell what changed about a device since the last time."""
        current = (device.settings, device.state)
        before = device.announced
        if current == before:
            return
        device.announced = current
        for follower in self._by_door[device.key.door]:
            if before is None or before[0] != current[0]:
                _guarded(device.key, partial(follower.settings, device.key, current[0]))
            if before is None or before[1] != current[1]:
                _guarded(device.key, partial(follower.state, device.key, current[1]))

    def forget(self, key: DeviceKey) -> None:
        """Tell that a device left."""
        for follower in self._by_door[key.door]:
            _guarded(key, partial(follower.forget, key))


def _guarded(key: DeviceKey, tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:
        log.exception("a change was not told, please report this", extra={"device": str(key)})
