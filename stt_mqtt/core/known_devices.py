"""Which devices are known, for how long, and who is told of it."""

from __future__ import annotations

import logging
from collections.abc import Collection

from stt_mqtt.config import Config, DeviceConfig
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.context import DeviceContext
from stt_mqtt.core.device import Device
from stt_mqtt.core.observers import Observers
from stt_mqtt.core.registry import Registry
from stt_mqtt.core.settings import Overrides
from stt_mqtt.errors import RequestError, TooManyDevicesError
from stt_mqtt.types import DeviceKey

log = logging.getLogger(__name__)


class KnownDevices:
    """The registry with its followers: who comes is announced, who goes is told as forgotten.

    `config`: replaced by a reload.
    """

    def __init__(self, config: Config, context: DeviceContext, clock: Clock) -> None:
        self.config = config
        self.registry = Registry(
            config.limits.max_devices, context, self.config_of, self._is_configured
        )
        self.followers = Observers()
        self._clock = clock
        self._leaving: set[DeviceKey] = set()

    def config_of(self, key: DeviceKey) -> DeviceConfig:
        """What the configuration says of a device."""
        return self.config.device(key.name)

    def heard(self, key: DeviceKey) -> Device | None:
        """The device that a message came from, if it is known."""
        device = self.registry.find(key)
        if device is not None:
            device.last_seen_ts = self._clock.epoch()
        return device

    def heard_or_made(self, key: DeviceKey) -> Device:
        """The same, made if needed. Raises `TooManyDevicesError`."""
        device = self._find_or_make(key)
        device.last_seen_ts = self._clock.epoch()
        return device

    def introduce(self, key: DeviceKey) -> None:
        """Make a device known before it speaks, if there is a place for it now.

        Only for one that is configured somebody else is forgotten.
        """
        if not self._is_configured(key) and not self._has_place_for(key):
            return
        try:
            device = self._find_or_make(key)
        except TooManyDevicesError:
            return
        self.followers.announce(device)

    def announce(self, door: str) -> None:
        """Tell again the settings and state of all devices of a door."""
        for device in self.registry:
            if device.key.door == door:
                device.announced = None
                self.followers.announce(device)

    def take_over(self, key: DeviceKey, overrides: Overrides | None, last_seen_ts: float) -> None:
        """Know a device of a previous run, as it was set, if there is a place for it.

        Nobody is told: `announce` or `introduce` does that.
        """
        if not self._has_place_for(key):
            return
        device = self._find_or_make(key)
        if overrides is not None:
            device.restore(overrides)
        # Who knows when it was heard last: its silence counts from now.
        device.last_seen_ts = max(device.last_seen_ts, last_seen_ts or self._clock.epoch())

    def forget(self, key: DeviceKey) -> None:
        """Forget a device and what is retained about it, also of one that is not known.

        Raises `RequestError` for one that is configured or has something unanswered.
        """
        if self._is_configured(key):
            raise RequestError(f"{key.name} has an entry under devices: and is never forgotten")
        device = self.registry.find(key)
        if device is not None and not device.idle:
            raise RequestError(f"{key.name} is {device.state.value}; try again when it is idle")
        self.registry.remove(key)
        self.followers.forget(key)

    def forget_silent(self, door: str, since_ts: float, but: Collection[str]) -> None:
        """Forget the devices of a door that nobody heard since then, in seconds of the epoch.

        Who is configured, busy or named in `but` stays, and who is switched off: a room that must
        not hear must not come back hearing.
        """
        for device in self.registry:
            key = device.key
            silent = key.door == door and device.last_seen_ts < since_ts and device.idle
            silent = silent and device.settings.enabled
            if silent and key.name not in but and not self._is_configured(key):
                log.info("forgotten after a long silence", extra={"device": str(key)})
                self.forget(key)

    def leaves(self, key: DeviceKey) -> None:
        """A device will not speak again: its place is free once nothing of it is unanswered."""
        self._leaving.add(key)

    def let_go(self, device: Device) -> None:
        """Forget a device that is leaving, if nothing of it is unanswered."""
        if device.key in self._leaving and device.idle:
            self._leaving.remove(device.key)
            self.registry.remove(device.key)
            self.followers.forget(device.key)

    def _is_configured(self, key: DeviceKey) -> bool:
        return key.name in self.config.devices

    def _has_place_for(self, key: DeviceKey) -> bool:
        known = self.registry.find(key) is not None
        return known or len(self.registry) < self.config.limits.max_devices

    def _find_or_make(self, key: DeviceKey) -> Device:
        device, evicted = self.registry.get(key)
        if evicted is not None:
            self.followers.forget(evicted.key)
        self._leaving.discard(key)
        return device
