"""The native door: takes the MQTT messages of devices and publishes their outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from stt_mqtt.audio.magic import sniff
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.doors.native import messages
from stt_mqtt.doors.native.answers import Answers
from stt_mqtt.doors.native.bridge import Bridge
from stt_mqtt.doors.native.clashes import NameClashes
from stt_mqtt.doors.native.devices import NativeDevices
from stt_mqtt.doors.native.direct import DirectDevices
from stt_mqtt.doors.native.sharing import Sharing
from stt_mqtt.doors.native.topics import (
    DOOR,
    BridgeFleet,
    BridgeNames,
    BridgeOutput,
    BridgeRequest,
    DeviceMessage,
    IllegalDevice,
    Route,
    Topics,
    Verb,
)
from stt_mqtt.errors import PayloadTooLargeError, UtteranceError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.mqtt.routing import AudioTopics, RetainedTopics, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    DeviceState,
    EndReason,
    NamedFormat,
    Outcome,
    UtteranceStart,
)

_OWN_OUTPUT = frozenset({Verb.STATE, Verb.SETTINGS})
_OF_ITSELF = frozenset({Verb.AVAILABILITY, Verb.SATELLITE})
_OPENS = frozenset({Verb.CHUNK, Verb.START, Verb.UTTERANCE})
_MAY_BE_RETAINED = frozenset({Verb.SET, Verb.AVAILABILITY, Verb.SATELLITE})


class NativeDoor:
    """Translates device messages into calls of the service, and publishes the outcomes.

    `bridge` handles the messages about the service itself. `now`: the clock of
    `Publication.expires_at`, in monotonic seconds. `ownership`: which devices are this gateway's.
    """

    def __init__(
        self,
        service: SpeechService,
        bridge: Bridge,
        publish: Publish,
        now: Callable[[], float] = time.monotonic,
        ownership: Ownership = EVERYTHING,
    ) -> None:
        self._service = service
        self._ownership = ownership
        self._bridge = bridge
        self._publish = publish
        self._topics = Topics(service.config.mqtt.base_topic)
        self._max_payload_bytes = service.config.mqtt.max_payload_kib * 1024
        self.devices = NativeDevices(service)
        self._clashes = NameClashes(service.metrics)
        self.direct = DirectDevices(service, self.devices, self._retain, ownership)
        self._sharing = Sharing(service, ownership, self.direct, now)
        self._answers = Answers(self._topics, publish, self.direct, service.metrics, now)
        service.attach(DOOR, self, self)
        service.add_observer(DOOR, self)
        service.registry.observers.add_for_turns(DOOR, self._answers)

    # On the broker -----------------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """The topics of the door. All chunks are wanted, because any can open an utterance."""
        of_fleet = self._topics.of_fleet if self._ownership.shared else ()
        return Subscriptions(
            filters=self._topics.subscriptions + of_fleet,
            audio=AudioTopics((f"/{Verb.CHUNK}",)),
            senders=self.devices.senders,
            large_endings=(f"/{Verb.UTTERANCE}",),
            dropped=self._dropped,
            retained=RetainedTopics(self._topics.read_first, self._clean_up, self._topics.bulk),
        )

    def handle(self, message: Inbound) -> None:
        """Handle a message of a device, a request, or a message of a service about itself."""
        route = self._topics.parse(message.topic)
        if not isinstance(route, DeviceMessage):
            self._handle_other(route, message)
            return
        verb = route.verb
        if verb in _OWN_OUTPUT:
            if message.retain:
                self.devices.note_retained_device(route, message.payload)
            return
        if message.retain and verb not in _MAY_BE_RETAINED:
            self._service.metrics.drop(DropReason.RETAINED)
            return
        if verb in _OF_ITSELF and self.direct.is_connected(route.device):
            # What the service publishes for a browser comes back from the broker.
            return
        key = DeviceKey(DOOR, route.device)
        if verb is Verb.RESULT:
            self._sharing.result(key, message.payload)
        elif verb not in _OPENS or self._sharing.is_mine(route.device):
            self._take(key, verb, message)
        elif verb is Verb.START:
            self._sharing.start(key, message.payload)
        elif verb is Verb.CHUNK and self._sharing.chunk(key):
            self._take(key, verb, message)

    def receive(self, device: str, verb: Verb, payload: bytes) -> None:
        """Handle a message of a device that is connected directly."""
        self._take(DeviceKey(DOOR, device), verb, Inbound("", payload))

    def on_connected(self) -> None:
        """Publish the retained topics of all devices and of the service; `online` comes last."""
        self._service.registry.announce(DOOR)
        self.devices.register_configured()
        self.direct.announce()
        self._bridge.announce()
        self._ownership.connected()

    def on_disconnected(self) -> None:
        """What is open may have lost its end, unless it does not come over the broker."""
        self.devices.interrupt(self.direct.is_connected)
        self._ownership.disconnected()

    def ownership_changed(self, lost: bool) -> None:
        """Publish what is known of the devices that a gateway had which is gone."""
        self.direct.owners_changed()
        if lost:
            self._service.registry.announce(DOOR)

    def restore_devices(self) -> None:
        """Restore the devices of the previous run that have been read so far."""
        for key in self.devices.restore():
            if self._ownership.leads:
                self._clear(key)

    def _clean_up(self) -> None:
        """Restore the devices whose retained messages arrived late."""
        self.restore_devices()
        self.devices.all_read()

    def _dropped(self, topic: str, error: UtteranceError) -> None:
        """Answer a device whose message was dropped."""
        route = self._topics.parse(topic)
        if isinstance(route, DeviceMessage):
            self._answer(DeviceKey(DOOR, route.device), route.verb, UtteranceStart(), error)

    # Outcomes and devices ----------------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        """Publish an outcome, unless another gateway publishes it."""
        if self._sharing.publishes(outcome):
            self._answers.outcome(outcome)

    def partial(self, partial: Partial) -> None:
        """Publish a partial result."""
        self._answers.partial(partial)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Publish a changed state."""
        if self._sharing.publishes_state(key.name, state):
            self._retain(key, Verb.STATE, state.value.encode())
        self.direct.tell(key.name, "state", {"state": state.value})

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
        """Publish changed settings."""
        fields = messages.settings_fields(settings)
        if self._sharing.is_mine(key.name):
            self._retain(key, Verb.SETTINGS, encode(fields))
        self.direct.tell(key.name, "settings", fields)

    def forget(self, key: DeviceKey) -> None:
        """Clear the retained messages about a device.

        If the device is not online, also clear its own ones, which would register it again.
        """
        if not self._sharing.is_mine(key.name):
            return
        self._clear(key)
        if not self.devices.is_online(key.name):
            self._retain(key, Verb.AVAILABILITY, b"")
            self._retain(key, Verb.SATELLITE, b"")

    def _clear(self, key: DeviceKey) -> None:
        """Clear the messages that the service retained about a device."""
        self._retain(key, Verb.STATE, b"")
        self._retain(key, Verb.SETTINGS, b"")

    def _retain(self, key: DeviceKey, name: str, payload: bytes) -> None:
        self._publish(Publication(self._topics.of_device(key.name, name), payload, retain=True))

    # Messages ----------------------------------------------------------------------------------

    def _take(self, key: DeviceKey, verb: Verb, message: Inbound) -> None:
        try:
            self._check_size(message, verb)
            if verb is Verb.CHUNK:
                self._chunk(key, message)
            else:
                self._act(key, verb, message)
        except UtteranceError as error:
            self._answer(key, verb, UtteranceStart(), error)

    def _act(self, key: DeviceKey, verb: Verb, message: Inbound) -> None:
        match verb:
            case Verb.START:
                self._start(key, message)
            case Verb.STOP:
                stop = messages.parse_stop(message.payload)
                self._clashes.stopped(key.name, stop.id)
                self._service.stop(key, stop.id, stop.chunks)
            case Verb.ABORT:
                self._service.abort(key, messages.parse_abort(message.payload))
            case Verb.UTTERANCE:
                self._single(key, message)
            case Verb.SET:
                if message.payload:
                    self._set(key, message)
            case Verb.ENABLED:
                self._service.change_settings(key, messages.parse_switch(message.payload))
            case Verb.AVAILABILITY:
                self.devices.availability(key, message.payload, message.retain)
                self.direct.seen(key.name, None)
            case Verb.SATELLITE:
                satellite = self.devices.satellite(key, message.payload, message.retain)
                self.direct.seen(key.name, satellite)

    def _handle_other(self, route: Route | None, message: Inbound) -> None:
        if isinstance(route, BridgeRequest):
            self._bridge.request(message, route.request)
        elif isinstance(route, BridgeOutput):
            self._bridge.output(message, route.name)
            if message.retain:
                self.devices.note_retained_service(route.name, message.payload)
        elif isinstance(route, BridgeNames):
            self._bridge.names(message.payload)
        elif isinstance(route, BridgeFleet):
            self._ownership.heard(message.payload)
        elif isinstance(route, IllegalDevice):
            self.devices.refuse(route.name)
        else:
            self._service.metrics.drop(DropReason.BAD_TOPIC)

    def _check_size(self, message: Inbound, verb: Verb) -> None:
        if len(message.payload) > self._max_payload_bytes:
            self._service.metrics.drop(DropReason.PAYLOAD_TOO_LARGE)
            raise PayloadTooLargeError(
                f"{len(message.payload)} bytes on …/{verb.value}, at most "
                f"{self._max_payload_bytes} are taken (mqtt.max_payload_kib)"
            )

    def _chunk(self, key: DeviceKey, message: Inbound) -> None:
        if not message.payload:
            return
        number = None
        mark = next((value for name, value in message.user if name == "seq"), None)
        if mark is not None:
            number = messages.parse_sequence_number(mark)
            if number is None:
                self._service.metrics.drop(DropReason.BAD_SEQUENCE)
                self._service.count_dropped_chunk(key)
                return
        format: NamedFormat = None
        if message.content_type is not None:
            format = messages.named_format(message.content_type, self._default_format(key))
        self._service.chunk(key, message.payload, number, format)

    def _start(self, key: DeviceKey, message: Inbound) -> None:
        try:
            request = messages.parse_start(
                message.payload, self._default_format(key), message.content_type
            )
        except UtteranceError as error:
            start = UtteranceStart(context=self._reply(key, message, None))
            self._service.refuse(key, start, error)
            return
        start = replace(request.start, context=self._reply(key, message, request.reply_to))
        self._clashes.started(key.name, start.id)
        self._sharing.started(key.name, start.id)
        if request.error is None:
            self._service.start(key, start)
        else:
            self._service.refuse(key, start, request.error)

    def _single(self, key: DeviceKey, message: Inbound) -> None:
        start = UtteranceStart(context=self._reply(key, message, None))
        if sniff(message.payload) is None:
            try:
                start = replace(start, format=self._format(key, message))
            except UtteranceError as error:
                self._answer(key, Verb.UTTERANCE, start, error)
                return
        self._service.single(key, message.payload, start)

    def _answer(
        self, key: DeviceKey, verb: Verb, start: UtteranceStart, error: UtteranceError
    ) -> None:
        """Answer an invalid message. An invalid start still ends the open utterance."""
        if verb is Verb.START:
            self._service.refuse(key, start, error)
        else:
            end = EndReason.SINGLE if verb is Verb.UTTERANCE else None
            self._service.answer_error(key, start, error, end)

    def _set(self, key: DeviceKey, message: Inbound) -> None:
        change = messages.parse_set(message.payload)
        device = self._service.registry.find(key)
        if message.retain and device is not None:
            # It comes again with each connection. What was set since must stay.
            change = change.without(device.were_set)
        self._service.change_settings(key, change)

    def _format(self, key: DeviceKey, message: Inbound) -> AudioFormat:
        return messages.message_format(message.content_type, self._default_format(key))

    def _default_format(self, key: DeviceKey) -> AudioFormat:
        return self._service.config.device(key.name).format

    def _reply(self, key: DeviceKey, message: Inbound, wish: str | None) -> messages.Reply | None:
        topic = message.response_topic or wish
        if topic is None:
            return None
        if not self._topics.is_reply(key.name, topic):
            self._service.metrics.drop(DropReason.BAD_REPLY_TO)
            return None
        return messages.Reply(topic, message.correlation)
