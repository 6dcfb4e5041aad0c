"""The native devices: announced by themselves, configured, or known from the previous run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ValidationError

from stt_mqtt.config import Config, DeviceConfig
from stt_mqtt.config.devices import settings_for
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import UNCHANGED, Overrides, SettingsChange
from stt_mqtt.doors.native.messages import SatelliteInfo, parse_satellite, parse_set
from stt_mqtt.doors.native.topics import (
    BRIDGE,
    DOOR,
    OFFLINE,
    ONLINE,
    DeviceMessage,
    Verb,
    is_satellite,
)
from stt_mqtt.errors import BadPayloadError, UtteranceError
from stt_mqtt.mqtt.json import object_in
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, DeviceState, EndReason

MAX_NAMES_LOGGED = 100
"""Illegal names that are logged, once each. More are only counted."""
MAX_DEVICES = 100_000
"""Most devices of the previous run that are read in one start."""
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""Largest retained message that is read. `health` lists every device."""
LATEST_TS = 253_402_300_799.0
"""The end of the year 9999. A later time is invalid."""

_STATES = frozenset(state.value.encode() for state in DeviceState)

log = logging.getLogger(__name__)


class PresenceObserver(Protocol):
    """Is told what devices publish about themselves."""

    def availability_seen(self, name: str) -> None:
        """The device published `online` or `offline`."""

    def availability_cleared(self, name: str) -> None:
        """The device cleared its retained availability."""

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        """The device published its satellite information. `SatelliteInfo()`: it cleared it."""


class NativeDevices:
    """Registers native devices: those online, configured, or known from the previous run."""

    def __init__(self, service: SpeechService) -> None:
        self.observer: PresenceObserver | None = None
        self._service = service
        self._online: dict[str, None] = {}
        """Devices that published `online`, the newest last; at most `limits.max_devices`."""
        self._previous: PreviousRun | None = PreviousRun(service.config)
        """The retained messages of the previous run. None when all have been read."""
        self._restored: set[str] = set()
        """Devices of the previous run that were handled."""
        self._names_logged: set[str] = set()

    def is_online(self, name: str) -> bool:
        """Whether a device has published `online`."""
        return name in self._online

    @property
    def online(self) -> list[str]:
        """The devices that have published `online`, by name."""
        return sorted(self._online)

    def register_configured(self) -> None:
        """Register the devices that the configuration names."""
        for name in self._service.config.named_devices:
            if is_satellite(name):
                self._service.registry.register(DeviceKey(DOOR, name))

    def forget_silent(self, since_ts: float) -> None:
        """Remove devices that are not online and were last seen before `since_ts`."""
        self._service.registry.forget_silent(DOOR, since_ts, self._online)

    def refuse(self, name: str) -> None:
        """Drop a message of a device with an illegal name. Each name is logged once."""
        self._service.metrics.drop(DropReason.BAD_NAME)
        if name in self._names_logged or len(self._names_logged) >= MAX_NAMES_LOGGED:
            return
        self._names_logged.add(name)
        rule = "1 to 64 of A-Z a-z 0-9 _ . - are taken"
        if name == BRIDGE:
            rule = "it is the name of the service itself"
        log.warning(
            "what comes from a device called %r is dropped: %s; give it another name", name, rule
        )

    # Messages of devices about themselves ------------------------------------------------------

    def availability(self, key: DeviceKey, payload: bytes, retained: bool) -> None:
        """A device published or cleared its availability. Raises `BadPayloadError`."""
        if payload == ONLINE:
            self._online[key.name] = None
            if len(self._online) > self._service.config.limits.max_devices:
                del self._online[next(iter(self._online))]
        else:
            was_online = key.name in self._online
            self._online.pop(key.name, None)
            device = self._service.registry.find(key)
            if payload == OFFLINE and was_online and device is not None:
                device.counters.disconnects += 1
        if payload == OFFLINE:
            self._service.end(key, EndReason.DISCONNECT)
        elif payload and payload != ONLINE:
            raise BadPayloadError("availability: online or offline is needed")
        if self.observer is not None:
            if payload:
                self.observer.availability_seen(key.name)
            else:
                self.observer.availability_cleared(key.name)
        if payload == ONLINE:
            self._register(key, retained)

    def satellite(self, key: DeviceKey, payload: bytes, retained: bool) -> SatelliteInfo:
        """A device published or cleared its satellite information. Raises `BadPayloadError`."""
        satellite = parse_satellite(payload)
        if self.observer is not None:
            self.observer.satellite_seen(key.name, satellite)
        if payload.strip():
            self._register(key, retained)
        return satellite

    def interrupt(self, is_direct: Callable[[str], bool]) -> None:
        """The connection to the broker is lost, for all devices but those that are direct."""
        for device in self._service.registry:
            if device.key.door == DOOR and not is_direct(device.key.name):
                device.interrupt()

    def _register(self, key: DeviceKey, retained: bool) -> None:
        """Register a device before its first utterance, so that observers know it by then."""
        self._service.registry.register(key)
        if not retained:
            self._service.registry.touch(key)

    # Retained messages of the previous run -----------------------------------------------------

    def note_retained_device(self, route: DeviceMessage, payload: bytes) -> None:
        """Note the retained state or settings of a device."""
        if self._previous is None or not payload:
            return
        if route.verb is Verb.SETTINGS:
            self._previous.note_device(route.device, payload)
        elif payload in _STATES:
            self._previous.note_device(route.device, None)

    def note_retained_service(self, name: str, payload: bytes) -> None:
        """Note the retained `info` or `health` of the service."""
        if self._previous is None:
            return
        if name == "info":
            self._previous.note_info(payload)
        elif name == "health":
            self._previous.note_health(payload)

    def restore(self) -> list[DeviceKey]:
        """Restore the devices of the previous run that have been read so far.

        If there are too many, those that were seen last are restored. Returns the others.
        """
        if self._previous is None:
            return []
        without_place: list[DeviceKey] = []
        # A device that was restored before may have been removed since.
        left = [one for one in self._previous.devices() if one.name not in self._restored]
        self._restored.update(one.name for one in left)
        placed = self._known | set(self._service.config.named_devices)
        places = self._service.config.limits.max_devices - len(placed)
        too_many = sum(device.name not in placed for device in left) - places
        for device in left:
            key = DeviceKey(DOOR, device.name)
            if device.name not in placed and too_many > 0:
                too_many -= 1
                without_place.append(key)
            else:
                self._service.registry.restore(key, device.overrides, device.last_seen_ts)
        return without_place

    def all_read(self) -> None:
        """All retained messages of the previous run have been read and restored."""
        if self._previous is not None:
            self._previous = None
            for name in self._known:
                self._service.registry.register(DeviceKey(DOOR, name))

    @property
    def _known(self) -> set[str]:
        return {device.key.name for device in self._service.registry if device.key.door == DOOR}


@dataclass(frozen=True, slots=True)
class PreviousDevice:
    """A device of the previous run. `last_seen_ts`: seconds of the epoch; 0 if unknown."""

    name: str
    overrides: Overrides | None
    """What was changed over the wire. None: its settings were not retained."""
    last_seen_ts: float


class _DeviceSections(BaseModel):
    """The sections of a configuration about devices."""

    device_defaults: DeviceConfig
    devices: dict[str, DeviceConfig]


class PreviousRun:
    """Collects the retained messages of the previous run and derives its devices.

    The retained `settings` are the effective ones. The overrides are what differs from the
    configuration of that run, which is in `info`. Without `info`, the current configuration is
    used.
    """

    def __init__(self, config: Config) -> None:
        self._devices = _DeviceSections(
            device_defaults=config.device_defaults, devices=config.devices
        )
        self._settings: dict[str, bytes | None] = {}
        self._last_seen_ts: dict[str, float] = {}

    def note_device(self, name: str, settings: bytes | None) -> None:
        """Note the retained `settings` of a device, or its state (None)."""
        if name not in self._settings and len(self._settings) >= MAX_DEVICES:
            return
        if settings is not None or name not in self._settings:
            self._settings[name] = settings

    def note_info(self, payload: bytes) -> None:
        """Note the retained `info`, which has the configuration."""
        config = object_in(payload, MAX_PAYLOAD_BYTES).get("config")
        try:
            self._devices = _DeviceSections.model_validate(config)
        except ValidationError:
            # From another version. The current configuration is the best guess.
            return

    def note_health(self, payload: bytes) -> None:
        """Note the retained `health`, which has the time when each device was last seen."""
        devices = object_in(payload, MAX_PAYLOAD_BYTES).get("devices")
        for name, health in devices.items() if isinstance(devices, dict) else ():
            seen = health.get("last_seen") if isinstance(health, dict) else None
            if isinstance(seen, int | float) and 0 <= seen <= LATEST_TS and seen is not True:
                self._last_seen_ts[name] = float(seen)

    def devices(self) -> list[PreviousDevice]:
        """The devices, in the order in which they were last seen."""
        found = [self.device(name) for name in self._settings]
        return sorted(found, key=lambda device: (device.last_seen_ts, device.name))

    def device(self, name: str) -> PreviousDevice:
        """One device."""
        settings = self._settings.get(name)
        overrides = None if settings is None else self._overrides(name, settings)
        return PreviousDevice(name, overrides, self._last_seen_ts.get(name, 0.0))

    def _overrides(self, name: str, settings: bytes) -> Overrides:
        try:
            in_force = parse_set(settings)
        except UtteranceError:
            return Overrides()
        sections = self._devices
        configured = settings_for(name, sections.device_defaults, sections.devices)
        return Overrides().changed_by(
            SettingsChange(
                UNCHANGED if in_force.enabled == configured.enabled else in_force.enabled,
                UNCHANGED if in_force.language == configured.language else in_force.language,
                UNCHANGED if in_force.prompt == configured.prompt else in_force.prompt,
            )
        )
