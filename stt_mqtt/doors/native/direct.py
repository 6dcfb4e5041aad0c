"""Native devices that are connected to this process itself, beside the broker: browsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stt_mqtt import __version__
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.devices import NativeDevices
from stt_mqtt.doors.native.messages import SatelliteInfo, settings_fields
from stt_mqtt.doors.native.topics import DOOR, OFFLINE, ONLINE, Verb
from stt_mqtt.mqtt.json import Json, encode
from stt_mqtt.types import DeviceKey, EndReason

MODEL = "web browser"
"""The model that `satellite/state` of a browser names."""
SATELLITE = {"model": MODEL, "version": __version__}
"""What is published of a browser. In a fleet the gateway is added that it is connected to."""


class DirectListener(Protocol):
    """A device that is connected directly."""

    def tell(self, kind: str, fields: Json) -> None:
        """Send a message, such as `result`, with its fields."""

    def replaced(self) -> None:
        """Another connection speaks for the device now. Nothing more is told."""


class DirectDevices:
    """Tells directly connected devices what is published about them. Runs on the event loop.

    It publishes their availability for them. `retain`: publishes a retained message of a device.
    """

    def __init__(
        self,
        service: SpeechService,
        devices: NativeDevices,
        retain: Callable[[DeviceKey, Verb, bytes], None],
        ownership: Ownership = EVERYTHING,
    ) -> None:
        self._service = service
        self._devices = devices
        self._retain = retain
        self._listeners: dict[str, DirectListener] = {}
        self._ownership = ownership
        gateway = ownership.gateway
        self._satellite = encode(
            SATELLITE if gateway is None else {**SATELLITE, "gateway": gateway}
        )
        self._browsers: dict[str, str | None] = {}
        """Devices whose `satellite/state` says that they are browsers, and of which gateway."""

    def is_connected(self, name: str) -> bool:
        """Whether a device is connected directly."""
        return name in self._listeners

    @property
    def connected(self) -> list[str]:
        """The devices that are connected directly, by name."""
        return sorted(self._listeners)

    def is_browser(self, name: str) -> bool:
        """Whether a device is a browser, as far as its retained messages say."""
        return name in self._browsers

    def is_elsewhere(self, name: str) -> bool:
        """Whether a device is a browser that is connected to another gateway."""
        gateway = self._browsers.get(name)
        return (
            gateway is not None
            and gateway != self._ownership.gateway
            and self._devices.is_online(name)
            and self._ownership.is_live(gateway)
        )

    def connect(self, name: str, listener: DirectListener) -> None:
        """A device has connected. It replaces an older connection of the same device.

        An utterance that is open ends, so that no audio of two connections is mixed.
        """
        key = DeviceKey(DOOR, name)
        before = self._listeners.pop(name, None)
        if before is not None:
            before.replaced()
        self._service.end(key, EndReason.DISCONNECT)
        self._devices.satellite(key, self._satellite, retained=False)
        self._devices.availability(key, ONLINE, retained=False)
        self._publish(key)
        self._listeners[name] = listener
        device = self._service.registry.find(key)
        if device is not None:
            listener.tell("settings", settings_fields(device.settings))
            listener.tell("state", {"state": device.state.value})

    def disconnect(self, name: str, listener: DirectListener) -> None:
        """A connection has ended. Does nothing if it was replaced."""
        if self._listeners.get(name) is listener:
            del self._listeners[name]
            self._leave(DeviceKey(DOOR, name))

    def tell(self, name: str, kind: str, fields: Json) -> None:
        """Send a device a message, if it is connected directly."""
        listener = self._listeners.get(name)
        if listener is not None:
            listener.tell(kind, fields)

    def announce(self) -> None:
        """Publish the availability of all devices that are connected directly."""
        for name in self._listeners:
            self._publish(DeviceKey(DOOR, name))

    def seen(self, name: str, satellite: SatelliteInfo | None) -> None:
        """A device published its availability (None) or satellite information on the broker.

        If a browser is online there but not connected to a gateway, that one ended before it could
        say so.
        """
        if satellite is not None:
            self._note(name, satellite)
        self._leave_if_gone(name)

    def owners_changed(self) -> None:
        """Gateways may be gone, and with them the connections to their browsers."""
        for name in list(self._browsers):
            self._leave_if_gone(name)

    def _leave_if_gone(self, name: str) -> None:
        if name not in self._browsers or name in self._listeners or self.is_elsewhere(name):
            return
        was_ours = self._browsers[name] == self._ownership.gateway
        if self._devices.is_online(name) and (was_ours or self._ownership.leads):
            self._leave(DeviceKey(DOOR, name))

    def _note(self, name: str, satellite: SatelliteInfo) -> None:
        if satellite.model != MODEL:
            self._browsers.pop(name, None)
        elif len(self._browsers) < self._service.config.limits.max_devices:
            self._browsers[name] = satellite.gateway

    def _publish(self, key: DeviceKey) -> None:
        self._retain(key, Verb.SATELLITE, self._satellite)
        self._retain(key, Verb.AVAILABILITY, ONLINE)

    def _leave(self, key: DeviceKey) -> None:
        self._devices.availability(key, OFFLINE, retained=False)
        self._retain(key, Verb.AVAILABILITY, OFFLINE)
