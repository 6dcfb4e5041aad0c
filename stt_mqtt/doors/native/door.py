"""The native door: MQTT messages of devices in, outcomes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from stt_mqtt.audio.formats import parse_content_type
from stt_mqtt.audio.magic import sniff
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import UNCHANGED, DeviceSettings
from stt_mqtt.doors.native import payloads
from stt_mqtt.doors.native.presence import Presence, parse_satellite
from stt_mqtt.doors.native.requests import (
    parse_abort,
    parse_sequence_number,
    parse_set,
    parse_start,
    parse_stop,
    parse_switch,
)
from stt_mqtt.doors.native.topics import DeviceMessage, Topics, Verb, is_satellite
from stt_mqtt.errors import (
    BadPayloadError,
    OverloadedError,
    PayloadTooLargeError,
    UtteranceError,
)
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    DeviceState,
    EndReason,
    NamedFormat,
    Outcome,
    OutcomeKind,
    UtteranceStart,
)

DOOR = "native"

MAX_TEXT_AGE_S = 30.0
"""The bare text has no time in it by which a reader could tell that it is stale."""

ONLINE, OFFLINE = b"online", b"offline"
AVAILABILITIES = frozenset({ONLINE, OFFLINE})

_OWN_OUTPUT = frozenset({Verb.STATE, Verb.SETTINGS})
_MAY_BE_RETAINED = frozenset({Verb.SET, Verb.AVAILABILITY, Verb.SATELLITE})


@dataclass(frozen=True, slots=True)
class Reply:
    """Where a device wants a copy of the result."""

    topic: str
    correlation: bytes | None


class NativeDoor:
    """Turns device messages into the line's events, and is the line's outlet for them."""

    def __init__(
        self,
        service: SpeechService,
        topics: Topics,
        publish: Publish,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._service = service
        self._topics = topics
        self._publish = publish
        self._max_payload_bytes = service.config.mqtt.max_payload_kib * 1024
        self._online: dict[str, None] = {}
        """Who is there by its own word, the newest last; as many as there may be devices."""
        self.presence: Presence | None = None
        service.attach(DOOR, self)
        service.follow(DOOR, self)

    def introduce_configured(self) -> None:
        """Make the devices known that the configuration names one by one."""
        for name in self._service.config.named_devices:
            if is_satellite(name):
                self._service.known.introduce(DeviceKey(DOOR, name))

    def handle(self, message: Inbound, route: DeviceMessage) -> None:
        """Act on one message of a device. Never raises for what a device sends."""
        if route.verb in _OWN_OUTPUT:
            return
        if message.retain and route.verb not in _MAY_BE_RETAINED:
            self._service.metrics.drop(DropReason.RETAINED)
            return
        key = DeviceKey(DOOR, route.device)
        try:
            self._check_size(message, route.verb)
            self._act(key, route.verb, message)
        except UtteranceError as error:
            self._answer(key, route.verb, UtteranceStart(), error)

    def dropped(self, route: DeviceMessage) -> None:
        """A message of a device, not a chunk, was dropped: more came than could be taken."""
        error = OverloadedError("messages arrive faster than they can be taken")
        self._answer(DeviceKey(DOOR, route.device), route.verb, UtteranceStart(), error)

    def outcome(self, outcome: Outcome) -> None:
        """Publish the text, the result and the copy of the result that was asked for.

        What was heard in part, or was told before, leaves no text: somebody would act on it.
        """
        device = outcome.key.name
        result = encode(payloads.result(outcome))
        if outcome.transcript is not None and _is_news(outcome):
            text = outcome.transcript.text.encode("utf-8", "replace")
            topic = self._topics.of_device(device, "text")
            self._publish(Publication(topic, text, expires_at=self._now() + MAX_TEXT_AGE_S))
        self._publish(Publication(self._topics.of_device(device, "result"), result))
        if isinstance(outcome.context, Reply):
            reply = outcome.context
            self._publish(Publication(reply.topic, result, correlation=reply.correlation))

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Publish a changed state."""
        self._retain(key, "state", state.value.encode())

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
        """Publish changed settings."""
        self._retain(key, "settings", encode(payloads.settings(settings)))

    def clear(self, key: DeviceKey) -> None:
        """Clear what the service left retained about a device."""
        self._retain(key, "state", b"")
        self._retain(key, "settings", b"")

    def forget(self, key: DeviceKey) -> None:
        """Clear what is retained about a device.

        Of one that is not there also what it said itself, by which it would be known again.
        """
        self.clear(key)
        if key.name not in self._online:
            self._retain(key, Verb.AVAILABILITY, b"")
            self._retain(key, Verb.SATELLITE, b"")

    def forget_silent(self, since_ts: float) -> None:
        """Forget who was not heard since then and does not say that it is there."""
        self._service.known.forget_silent(DOOR, since_ts, self._online)

    def _retain(self, key: DeviceKey, name: str, payload: bytes) -> None:
        self._publish(Publication(self._topics.of_device(key.name, name), payload, retain=True))

    def _check_size(self, message: Inbound, verb: Verb) -> None:
        if len(message.payload) > self._max_payload_bytes:
            self._service.metrics.drop(DropReason.PAYLOAD_TOO_LARGE)
            raise PayloadTooLargeError(
                f"{len(message.payload)} bytes on …/{verb.value}, at most "
                f"{self._max_payload_bytes} are taken (mqtt.max_payload_kib)"
            )

    def _act(self, key: DeviceKey, verb: Verb, message: Inbound) -> None:
        match verb:
            case Verb.CHUNK:
                self._chunk(key, message)
            case Verb.START:
                self._start(key, message)
            case Verb.STOP:
                stop = parse_stop(message.payload)
                self._service.stop(key, stop.id, stop.chunks)
            case Verb.ABORT:
                self._service.abort(key, parse_abort(message.payload))
            case Verb.UTTERANCE:
                self._single(key, message)
            case Verb.SET:
                if message.payload:
                    self._set(key, message)
            case Verb.ENABLED:
                self._service.change_settings(key, parse_switch(message.payload))
            case Verb.AVAILABILITY:
                self._availability(key, message)
            case Verb.SATELLITE:
                self._satellite(key, message)
            case Verb.STATE | Verb.SETTINGS:
                pass

    def _chunk(self, key: DeviceKey, message: Inbound) -> None:
        if not message.payload:
            return
        number = None
        mark = next((value for name, value in message.user if name == "seq"), None)
        if mark is not None:
            number = parse_sequence_number(mark)
            if number is None:
                self._service.metrics.drop(DropReason.BAD_SEQUENCE)
                self._service.count_dropped_chunk(key)
                return
        format: NamedFormat = None
        if message.content_type is not None:
            format = _named_format(message.content_type, self._default_format(key))
        self._service.chunk(key, message.payload, number, format)

    def _start(self, key: DeviceKey, message: Inbound) -> None:
        try:
            request = parse_start(message.payload, self._format(key, message))
        except UtteranceError as error:
            self._service.refuse(
                key, UtteranceStart(context=self._reply(key, message, None)), error
            )
            return
        start = replace(request.start, context=self._reply(key, message, request.reply_to))
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
        """Answer what cannot be obeyed; a start ends the open utterance all the same."""
        if verb is Verb.START:
            self._service.refuse(key, start, error)
        else:
            end = EndReason.SINGLE if verb is Verb.UTTERANCE else None
            self._service.answer_error(key, start, error, end)

    def _set(self, key: DeviceKey, message: Inbound) -> None:
        change = parse_set(message.payload)
        device = self._service.registry.find(key)
        if message.retain and device is not None and device.enabled_is_settled:
            # It was written before the device was switched on or off, which survives restarts.
            change = replace(change, enabled=UNCHANGED)
        self._service.change_settings(key, change)

    def _availability(self, key: DeviceKey, message: Inbound) -> None:
        if message.payload == ONLINE:
            self._online[key.name] = None
            if len(self._online) > self._service.config.limits.max_devices:
                del self._online[next(iter(self._online))]
        else:
            self._online.pop(key.name, None)
        if message.payload == OFFLINE:
            self._service.disconnect(key)
        elif message.payload and message.payload not in AVAILABILITIES:
            raise BadPayloadError("availability: online or offline is needed")
        if self.presence is not None:
            if message.payload:
                self.presence.availability_seen(key.name)
            else:
                self.presence.availability_cleared(key.name)
        if message.payload == ONLINE:
            self._introduce(key, message)

    def _satellite(self, key: DeviceKey, message: Inbound) -> None:
        satellite = parse_satellite(message.payload)
        if self.presence is not None:
            self.presence.satellite_seen(key.name, satellite)
        if message.payload.strip():
            self._introduce(key, message)

    def _introduce(self, key: DeviceKey, message: Inbound) -> None:
        """Know a device that says it is there, so that its first words are heard by all."""
        self._service.known.introduce(key)
        if not message.retain:
            self._service.known.seen(key)

    def _format(self, key: DeviceKey, message: Inbound) -> AudioFormat:
        default = self._default_format(key)
        content_type = message.content_type
        if content_type is None or content_type.startswith("application/json"):
            return default
        return parse_content_type(content_type, default)

    def _default_format(self, key: DeviceKey) -> AudioFormat:
        return self._service.config.device(key.name).format

    def _reply(self, key: DeviceKey, message: Inbound, reply_to: str | None) -> Reply | None:
        topic = message.response_topic or reply_to
        if topic is None:
            return None
        if not self._topics.is_reply(key.name, topic):
            self._service.metrics.drop(DropReason.BAD_REPLY_TO)
            return None
        return Reply(topic, message.correlation)


def _is_news(outcome: Outcome) -> bool:
    """Whether there are words that somebody may act on."""
    heard = outcome.kind is OutcomeKind.TRANSCRIPT
    return heard and not outcome.incomplete and not outcome.repeated


@lru_cache(maxsize=64)
def _named_format(content_type: str, default: AudioFormat) -> NamedFormat:
    """Cached because every chunk of a device may name its format."""
    try:
        return parse_content_type(content_type, default)
    except UtteranceError as error:
        return error
