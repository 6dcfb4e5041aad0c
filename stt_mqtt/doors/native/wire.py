"""The native topics on the broker: what devices send, what is asked, what is left retained."""

from __future__ import annotations

from typing import Protocol

from stt_mqtt.doors.mqtt.messages import Inbound
from stt_mqtt.doors.native.bridge import Bridge
from stt_mqtt.doors.native.door import AVAILABILITIES, DOOR, NativeDoor
from stt_mqtt.doors.native.leftovers import Leftovers
from stt_mqtt.doors.native.topics import BridgeRequest, DeviceMessage, Topics, Verb
from stt_mqtt.observe.metrics import Dropped
from stt_mqtt.service.line import Line
from stt_mqtt.types import DeviceKey


class Presence(Protocol):
    """Whoever wants to know which devices speak on their availability topic."""

    def availability_seen(self, name: str) -> None:
        """The device said `online` or `offline`."""

    def availability_cleared(self, name: str) -> None:
        """The device cleared what was retained there."""


class NativeWire:
    """The native door and the bridge as one door on MQTT."""

    def __init__(self, line: Line, topics: Topics, door: NativeDoor, bridge: Bridge) -> None:
        self._line = line
        self._topics = topics
        self._prefix = topics.base + "/"
        self._door = door
        self._bridge = bridge
        self._leftovers = Leftovers()
        self.presence: Presence | None = None
        self.subscriptions = topics.subscriptions
        self.retained_output = topics.retained_output
        self.chunk_endings = topics.chunk_endings
        self.bulky_endings = topics.bulky_endings

    def awaits(self, _topic: str) -> bool:
        """Any chunk can open an utterance."""
        return True

    def owns(self, topic: str) -> bool:
        """Whether a topic is under the base topic."""
        return topic.startswith(self._prefix)

    def handle(self, message: Inbound) -> None:
        """Act on a message of a device, or on a request."""
        route = self._topics.parse(message.topic)
        if isinstance(route, DeviceMessage):
            self._leftovers.note(route, message.retain, message.payload)
            self._door.handle(message, route)
            if route.verb is Verb.AVAILABILITY and self.presence is not None:
                if message.payload in AVAILABILITIES:
                    self.presence.availability_seen(route.device)
                elif not message.payload:
                    self.presence.availability_cleared(route.device)
        elif isinstance(route, BridgeRequest):
            self._bridge.handle(message, route)
        elif message.topic != self._topics.of_bridge("state"):
            self._line.metrics.drop(Dropped.BAD_TOPIC)

    def shed(self, topic: str) -> None:
        """Answer a device whose message was dropped."""
        route = self._topics.parse(topic)
        if isinstance(route, DeviceMessage):
            self._door.shed(route)

    def connected(self) -> None:
        """Tell about all devices and the service; that it is online comes last."""
        self._line.announce(DOOR)
        self._door.introduce_configured()
        self._bridge.announce()

    def clean_up(self) -> None:
        """Clear what a previous run left retained about devices that this one does not know."""
        known = {device.key.name for device in self._line.registry if device.key.door == DOOR}
        for name in self._leftovers.unknown(known):
            self._door.forget(DeviceKey(DOOR, name))
