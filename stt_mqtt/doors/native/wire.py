"""The native topics on the broker: what devices send, what is asked, what is left retained."""

from __future__ import annotations

import logging

from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.bridge import Bridge
from stt_mqtt.doors.native.door import DOOR, NativeDoor
from stt_mqtt.doors.native.instances import Instances
from stt_mqtt.doors.native.previous_run import PreviousRun
from stt_mqtt.doors.native.topics import (
    BRIDGE,
    BridgeOutput,
    BridgeRequest,
    DeviceMessage,
    IllegalDevice,
    Topics,
    Verb,
)
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.routing import AudioTopics, RetainedTopics, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, DeviceState

MAX_NAMES_TOLD = 100
"""Illegal names that get a line of the log each; more are only counted."""

_STATES = frozenset(state.value.encode() for state in DeviceState)

log = logging.getLogger(__name__)


class NativeWire:
    """The native door and the bridge as one door on MQTT."""

    def __init__(
        self,
        service: SpeechService,
        topics: Topics,
        door: NativeDoor,
        bridge: Bridge,
        instances: Instances,
    ) -> None:
        self._service = service
        self._topics = topics
        self._door = door
        self._bridge = bridge
        self._instances = instances
        self._previous: PreviousRun | None = PreviousRun(service.config)
        self._taken_over: set[str] = set()
        """Devices of the previous run that were dealt with."""
        self._names_told: set[str] = set()
        self.subscriptions = Subscriptions(
            filters=topics.subscriptions,
            # Any chunk can open an utterance.
            audio=AudioTopics((f"/{Verb.CHUNK}",)),
            large_endings=(f"/{Verb.UTTERANCE}",),
            dropped=self.dropped,
            retained=RetainedTopics(topics.read_first, self.clean_up, topics.bulk),
        )

    def handle(self, message: Inbound) -> None:
        """Act on a message of a device, on a request, or on what a service tells of itself."""
        route = self._topics.parse(message.topic)
        if isinstance(route, DeviceMessage):
            self._device(route, message)
        elif isinstance(route, BridgeRequest):
            self._bridge.handle(message, route)
        elif isinstance(route, BridgeOutput):
            self._output(route, message)
        elif isinstance(route, IllegalDevice):
            self._refuse_name(route.name)
        else:
            self._service.metrics.drop(DropReason.BAD_TOPIC)

    def dropped(self, topic: str) -> None:
        """Answer a device whose message was dropped."""
        route = self._topics.parse(topic)
        if isinstance(route, DeviceMessage):
            self._door.dropped(route)

    def take_over(self) -> None:
        """Know the devices of the previous run, as far as it has been read.

        Where there are more than places, those that were heard last.
        """
        if self._previous is None:
            return
        # Who was taken over already may have been forgotten since.
        left = [one for one in self._previous.devices() if one.name not in self._taken_over]
        self._taken_over.update(one.name for one in left)
        placed = self._known | set(self._service.config.named_devices)
        places = self._service.config.limits.max_devices - len(placed)
        too_many = sum(device.name not in placed for device in left) - places
        for device in left:
            key = DeviceKey(DOOR, device.name)
            if device.name not in placed and too_many > 0:
                too_many -= 1
                self._door.clear(key)
            else:
                self._service.known.take_over(key, device.overrides, device.last_seen_ts)

    def on_connected(self) -> None:
        """Tell about all devices and the service; that it is online comes last."""
        self._service.known.announce(DOOR)
        self._door.introduce_configured()
        self._bridge.announce()

    def clean_up(self) -> None:
        """Whatever a previous run left has been read: take over what came late, too."""
        if self._previous is None:
            return
        self.take_over()
        for name in self._known:
            self._service.known.introduce(DeviceKey(DOOR, name))
        self._previous = None

    @property
    def _known(self) -> set[str]:
        return {device.key.name for device in self._service.registry if device.key.door == DOOR}

    def _device(self, route: DeviceMessage, message: Inbound) -> None:
        if route.verb in {Verb.STATE, Verb.SETTINGS}:
            self._left(route, message)
        else:
            self._door.handle(message, route)

    def _left(self, route: DeviceMessage, message: Inbound) -> None:
        """A message of ours, perhaps of a previous run."""
        if self._previous is None or not message.retain or not message.payload:
            return
        if route.verb is Verb.SETTINGS:
            self._previous.note_device(route.device, message.payload)
        elif message.payload in _STATES:
            self._previous.note_device(route.device, None)

    def _output(self, route: BridgeOutput, message: Inbound) -> None:
        match route.name:
            case "state":
                self._instances.state(message.payload, message.retain)
            case "info":
                self._instances.info(message.payload, message.retain)
                if self._previous is not None and message.retain:
                    self._previous.note_info(message.payload)
            case "health":
                if self._previous is not None and message.retain:
                    self._previous.note_health(message.payload)
            case _:
                self._instances.response(message.payload)

    def _refuse_name(self, name: str) -> None:
        """Say once for each name why nothing comes of it."""
        self._service.metrics.drop(DropReason.BAD_NAME)
        if name in self._names_told or len(self._names_told) >= MAX_NAMES_TOLD:
            return
        self._names_told.add(name)
        why = (
            "it is the name of the service itself"
            if name == BRIDGE
            else "1 to 64 of A-Z a-z 0-9 _ . - are taken"
        )
        log.warning(
            "what comes from a device called %r is dropped: %s; give it another name", name, why
        )
