"""What a previous run left on the broker: its devices, with their settings and their last words."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from stt_mqtt.config import Config, DeviceConfig
from stt_mqtt.config.devices import settings_for
from stt_mqtt.core.settings import UNCHANGED, Overrides, SettingsChange
from stt_mqtt.doors.native.requests import parse_set
from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.json import object_in

MAX_DEVICES = 100_000
"""Devices looked at in one start; a bound, not an expectation."""
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""`health` tells of every device."""

LATEST_TS = 253_402_300_799.0
"""The end of the year 9999. What is said to be later was not seen at all."""


@dataclass(frozen=True, slots=True)
class LeftDevice:
    """A device of the previous run. `last_seen_ts`: seconds of the epoch; 0: not known."""

    name: str
    overrides: Overrides | None
    """None: its settings were not retained."""
    last_seen_ts: float


class _DeviceSections(BaseModel):
    """What of a configuration says how devices are set."""

    device_defaults: DeviceConfig
    devices: dict[str, DeviceConfig]


class PreviousRun:
    """Collects retained messages, then says which devices there were.

    `settings` tell what was in force, not what was changed over the wire. That is what differs
    from the configuration of that run, which `info` has; without it, from the present one.
    """

    def __init__(self, config: Config) -> None:
        self._devices = _DeviceSections(
            device_defaults=config.device_defaults, devices=config.devices
        )
        self._settings: dict[str, bytes | None] = {}
        self._last_seen_ts: dict[str, float] = {}

    def note_device(self, name: str, settings: bytes | None) -> None:
        """A device left its `settings`, or (None) its state."""
        if name not in self._settings and len(self._settings) >= MAX_DEVICES:
            return
        if settings is not None or name not in self._settings:
            self._settings[name] = settings

    def note_info(self, payload: bytes) -> None:
        """The service told what it was, with its configuration."""
        config = object_in(payload, MAX_PAYLOAD_BYTES).get("config")
        try:
            self._devices = _DeviceSections.model_validate(config)
        except ValidationError:
            # Of another version. The present configuration is the best guess.
            return

    def note_health(self, payload: bytes) -> None:
        """The service told how it was, with when each device was heard last."""
        devices = object_in(payload, MAX_PAYLOAD_BYTES).get("devices")
        for name, health in devices.items() if isinstance(devices, dict) else ():
            seen = health.get("last_seen") if isinstance(health, dict) else None
            if isinstance(seen, int | float) and 0 <= seen <= LATEST_TS and seen is not True:
                self._last_seen_ts[name] = float(seen)

    def devices(self) -> list[LeftDevice]:
        """The devices, who was heard last at the end."""
        found = [self.device(name) for name in self._settings]
        return sorted(found, key=lambda device: (device.last_seen_ts, device.name))

    def device(self, name: str) -> LeftDevice:
        """What is known of one device."""
        settings = self._settings.get(name)
        overrides = None if settings is None else self._overrides(name, settings)
        return LeftDevice(name, overrides, self._last_seen_ts.get(name, 0.0))

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
