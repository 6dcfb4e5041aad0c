"""The known devices. Their number is bounded: the least recently used idle one is removed first.

The places are counted by door, so that made-up names at one door leave room for the others.
Devices with settings changed over the wire are kept, so that new devices cannot re-enable a room
that was disabled.
"""

from __future__ import annotations

import heapq
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from stt_mqtt.config import Config, DeviceConfig
from stt_mqtt.core.budget import DeviceContext
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.device import Device
from stt_mqtt.core.observers import Observers
from stt_mqtt.core.queue import Name, name_of
from stt_mqtt.core.settings import Overrides
from stt_mqtt.errors import RequestError, TooManyDevicesError
from stt_mqtt.types import DeviceKey

_UNCHANGED = Overrides()

log = logging.getLogger(__name__)


class Registry:
    """Finds devices by key and creates them, at most `limits.max_devices` at once for each door.

    It reports to observers which devices are registered and removed. A reload replaces `config`.
    """

    def __init__(self, config: Config, context: DeviceContext, clock: Clock) -> None:
        self.config = config
        self.observers = Observers()
        self._max_devices = config.limits.max_devices
        self._context = context
        self._clock = clock
        self._devices: dict[DeviceKey, Device] = {}
        self._by_use: defaultdict[str, dict[DeviceKey, Device]] = defaultdict(dict)
        """The devices of each door, the least recently used first."""
        self._leaving: set[DeviceKey] = set()

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._devices.values()))

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, key: DeviceKey) -> Device | None:
        """The device, if it is registered."""
        return self._devices.get(key)

    def hoarders(self) -> dict[Name, Device]:
        """Of each name, the device whose open utterance holds the most memory, if one holds any."""
        largest: dict[Name, tuple[int, Device]] = {}
        for device in self._devices.values():
            nbytes = 0 if device.utterance is None else device.utterance.nbytes
            if nbytes > largest.get(name_of(device.key), (0, device))[0]:
                largest[name_of(device.key)] = nbytes, device
        return {name: device for name, (_, device) in largest.items()}

    def config_of(self, key: DeviceKey) -> DeviceConfig:
        """The configured settings of a device."""
        return self.config.device(key.name)

    def is_configured(self, name: str) -> bool:
        """Whether a device has an entry of its own. May be called from any thread."""
        return name in self.config.devices

    def touch(self, key: DeviceKey) -> Device | None:
        """The device that sent a message, if it is registered. Updates `last_seen_ts`."""
        device = self.find(key)
        if device is not None:
            device.last_seen_ts = self._clock.epoch()
        return device

    def touch_or_add(self, key: DeviceKey) -> Device:
        """As `get_or_add`, and update `last_seen_ts`: the device sent a message."""
        device = self.get_or_add(key)
        device.last_seen_ts = self._clock.epoch()
        return device

    def get_or_add(self, key: DeviceKey) -> Device:
        """The device, created if needed. An idle device may be removed to make room for it.

        Raises `TooManyDevicesError` if all other devices of the door are busy or configured.
        """
        self._leaving.discard(key)
        device = self._devices.get(key)
        if device is not None:
            by_use = self._by_use[key.door]
            by_use[key] = by_use.pop(key)
            return device
        if len(self._by_use[key.door]) >= self._max_devices:
            self._evict(key.door)
        device = self._devices[key] = Device(key, self.config_of(key), self._context)
        self._by_use[key.door][key] = device
        return device

    def register(self, key: DeviceKey) -> None:
        """Create a device before its first utterance, if there is room for it.

        Another device is removed only to make room for a configured one.
        """
        if not self.is_configured(key.name) and not self._has_place_for(key):
            return
        try:
            device = self.get_or_add(key)
        except TooManyDevicesError:
            return
        self.observers.announce(device)

    def announce(self, door: str) -> None:
        """Report the settings and state of all devices of a door again."""
        for device in self:
            if device.key.door == door:
                device.announced = None
                self.observers.announce(device)

    def restore(self, key: DeviceKey, overrides: Overrides | None, last_seen_ts: float) -> None:
        """Create a device of the previous run with its settings, if there is room for it.

        Observers are not told; call `announce` or `register` for that.
        """
        if not self._has_place_for(key):
            return
        device = self.get_or_add(key)
        if overrides is not None:
            device.restore(overrides)
        # If its last message has no known time, its silence counts from now.
        device.last_seen_ts = max(device.last_seen_ts, last_seen_ts or self._clock.epoch())

    def forget(self, key: DeviceKey) -> None:
        """Remove a device and clear its retained messages, even if it is not registered.

        Raises `RequestError` if it is configured or has an unanswered utterance.
        """
        if self.is_configured(key.name):
            raise RequestError(f"{key.name} has an entry under devices: and is never forgotten")
        device = self.find(key)
        if device is not None and not device.idle:
            raise RequestError(f"{key.name} is {device.state.value}; try again when it is idle")
        self._remove(key)

    def forget_silent(self, door: str, since_ts: float, but: Collection[str]) -> None:
        """Remove the devices of a door that were last seen before `since_ts` (Unix epoch, seconds).

        Devices that are configured, busy, disabled or named in `but` are kept. A disabled device
        that was removed would come back enabled.
        """
        for device in self:
            key = device.key
            silent = key.door == door and device.last_seen_ts < since_ts and device.idle
            silent = silent and device.settings.enabled
            if silent and key.name not in but and not self.is_configured(key.name):
                log.info("forgotten after a long silence", extra={"device": str(key)})
                self._remove(key)

    def mark_leaving(self, key: DeviceKey) -> None:
        """Have a device removed as soon as all its utterances are answered."""
        self._leaving.add(key)

    def remove_if_left(self, device: Device) -> None:
        """Remove a device that is marked as leaving, if all its utterances are answered."""
        if device.key in self._leaving and device.idle:
            self._leaving.remove(device.key)
            self._remove(device.key)

    def _remove(self, key: DeviceKey) -> None:
        if self._devices.pop(key, None) is not None:
            del self._by_use[key.door][key]
        self.observers.forget(key)

    def _evict(self, door: str) -> None:
        # A flood of new names comes here with every message, and finds everybody busy.
        for key, device in self._by_use[door].items():
            if device.pending or device.listening:
                continue
            if device.overrides == _UNCHANGED and not self.is_configured(key.name):
                self._remove(key)
                return
        raise TooManyDevicesError(
            f"all {self._max_devices} places for devices are taken; raise limits.max_devices"
        )

    def _has_place_for(self, key: DeviceKey) -> bool:
        return key in self._devices or len(self._by_use[key.door]) < self.config.limits.max_devices


class DeviceDeadlines:
    """A heap of the deadlines of devices, earliest first. Times are monotonic seconds.

    A deadline that moves later does not change the heap. The device is returned early and `set`
    again.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deadlines: list[tuple[float, DeviceKey]] = []

    @property
    def next_at(self) -> float | None:
        """When `due` next returns a device; None if no deadline is set."""
        return self._deadlines[0][0] if self._deadlines else None

    def set(self, device: Device) -> None:
        """Schedule the device for its deadline."""
        deadline = device.deadline
        if deadline is not None and (device.timer_at is None or deadline < device.timer_at):
            device.timer_at = deadline
            heapq.heappush(self._deadlines, (deadline, device.key))

    @contextmanager
    def kept(self, device: Device) -> Iterator[None]:
        """Schedule the device also if what is done with it fails: its utterance must end."""
        try:
            yield
        except BaseException:
            self.set(device)
            raise

    def due(self, now: float) -> Iterator[Device]:
        """The devices whose deadline has passed. Each must be `set` again."""
        while self._deadlines and self._deadlines[0][0] <= now:
            at, key = heapq.heappop(self._deadlines)
            device = self._registry.find(key)
            if device is not None and device.timer_at == at:
                device.timer_at = None
                yield device
