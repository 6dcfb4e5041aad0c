"""The devices that are known: bounded, the least recently used idle one leaves first.

Whose settings were changed over the wire stays: a muted room must not hear again because others
came.
"""

from __future__ import annotations

import heapq
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator

from stt_mqtt.config import Config, DeviceConfig
from stt_mqtt.core.budget import DeviceContext
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.device import Device
from stt_mqtt.core.observers import Observers
from stt_mqtt.core.settings import Overrides
from stt_mqtt.errors import RequestError, TooManyDevicesError
from stt_mqtt.types import DeviceKey

log = logging.getLogger(__name__)


class Registry:
    """Finds devices by key and makes new ones, at most `limits.max_devices` at once.

    Observers are told who comes and who is forgotten. `config`: replaced by a reload.
    """

    def __init__(self, config: Config, context: DeviceContext, clock: Clock) -> None:
        self.config = config
        self.observers = Observers()
        self._max_devices = config.limits.max_devices
        self._context = context
        self._clock = clock
        self._devices: OrderedDict[DeviceKey, Device] = OrderedDict()
        self._leaving: set[DeviceKey] = set()

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._devices.values()))

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, key: DeviceKey) -> Device | None:
        """The device, if it is known."""
        return self._devices.get(key)

    def config_of(self, key: DeviceKey) -> DeviceConfig:
        """What the configuration says of a device."""
        return self.config.device(key.name)

    def touch(self, key: DeviceKey) -> Device | None:
        """The device that a message came from, if it is known."""
        device = self.find(key)
        if device is not None:
            device.last_seen_ts = self._clock.epoch()
        return device

    def touch_or_add(self, key: DeviceKey) -> Device:
        """The device that a message came from, made if needed. Raises `TooManyDevicesError`."""
        device = self.get_or_add(key)
        device.last_seen_ts = self._clock.epoch()
        return device

    def get_or_add(self, key: DeviceKey) -> Device:
        """The device, made if needed; an idle one may be forgotten for it.

        Raises `TooManyDevicesError` when all places are taken by devices that are busy or
        configured.
        """
        self._leaving.discard(key)
        device = self._devices.get(key)
        if device is not None:
            self._devices.move_to_end(key)
            return device
        if len(self._devices) >= self._max_devices:
            self._evict()
        device = self._devices[key] = Device(key, self.config_of(key), self._context)
        return device

    def register(self, key: DeviceKey) -> None:
        """Make a device known before it speaks, if there is a place for it now.

        Another device is forgotten only for one that is configured.
        """
        if not self._is_configured(key) and not self._has_place_for(key):
            return
        try:
            device = self.get_or_add(key)
        except TooManyDevicesError:
            return
        self.observers.announce(device)

    def announce(self, door: str) -> None:
        """Tell again the settings and state of all devices of a door."""
        for device in self:
            if device.key.door == door:
                device.announced = None
                self.observers.announce(device)

    def restore(self, key: DeviceKey, overrides: Overrides | None, last_seen_ts: float) -> None:
        """Know a device of a previous run, as it was set, if there is a place for it.

        Nobody is told: `announce` or `register` does that.
        """
        if not self._has_place_for(key):
            return
        device = self.get_or_add(key)
        if overrides is not None:
            device.restore(overrides)
        # If nobody knows when it was heard last, its silence counts from now.
        device.last_seen_ts = max(device.last_seen_ts, last_seen_ts or self._clock.epoch())

    def forget(self, key: DeviceKey) -> None:
        """Forget a device and what is retained about it, also if it is not known.

        Raises `RequestError` for one that is configured or has something unanswered.
        """
        if self._is_configured(key):
            raise RequestError(f"{key.name} has an entry under devices: and is never forgotten")
        device = self.find(key)
        if device is not None and not device.idle:
            raise RequestError(f"{key.name} is {device.state.value}; try again when it is idle")
        self._remove(key)

    def forget_silent(self, door: str, since_ts: float, but: Collection[str]) -> None:
        """Forget the devices of a door that nobody heard since then, in seconds of the epoch.

        Devices stay that are configured, busy, named in `but`, or switched off: a room that must
        not hear must not come back hearing.
        """
        for device in self:
            key = device.key
            silent = key.door == door and device.last_seen_ts < since_ts and device.idle
            silent = silent and device.settings.enabled
            if silent and key.name not in but and not self._is_configured(key):
                log.info("forgotten after a long silence", extra={"device": str(key)})
                self._remove(key)

    def mark_leaving(self, key: DeviceKey) -> None:
        """A device will not speak again: its place is free once nothing of it is unanswered."""
        self._leaving.add(key)

    def remove_if_left(self, device: Device) -> None:
        """Forget a device that is leaving, if nothing of it is unanswered."""
        if device.key in self._leaving and device.idle:
            self._leaving.remove(device.key)
            self._remove(device.key)

    def _remove(self, key: DeviceKey) -> None:
        self._devices.pop(key, None)
        self.observers.forget(key)

    def _evict(self) -> None:
        for device in self._devices.values():
            changed = device.overrides != Overrides()
            if device.idle and not changed and not self._is_configured(device.key):
                self._remove(device.key)
                return
        raise TooManyDevicesError(
            f"all {self._max_devices} places for devices are taken; raise limits.max_devices"
        )

    def _is_configured(self, key: DeviceKey) -> bool:
        return key.name in self.config.devices

    def _has_place_for(self, key: DeviceKey) -> bool:
        return key in self._devices or len(self) < self.config.limits.max_devices


class DeviceDeadlines:
    """Deadlines of devices, the earliest first. Times are monotonic seconds.

    A deadline that moves later costs nothing: the device is looked at early and set again.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deadlines: list[tuple[float, DeviceKey]] = []

    @property
    def next_at(self) -> float | None:
        """When `due` has something to say; None: nothing is set."""
        return self._deadlines[0][0] if self._deadlines else None

    def set(self, device: Device) -> None:
        """See that the device is looked at when its deadline comes."""
        deadline = device.deadline
        if deadline is not None and (device.timer_at is None or deadline < device.timer_at):
            device.timer_at = deadline
            heapq.heappush(self._deadlines, (deadline, device.key))

    def due(self, now: float) -> Iterator[Device]:
        """The devices whose time has come; each has to be `set` again."""
        while self._deadlines and self._deadlines[0][0] <= now:
            at, key = heapq.heappop(self._deadlines)
            device = self._registry.find(key)
            if device is not None and device.timer_at == at:
                device.timer_at = None
                yield device
