"""The Home Assistant door: announces the service and its devices by MQTT discovery."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from math import inf

from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.doors.homeassistant import payloads
from stt_mqtt.doors.homeassistant.names import SERVICE_ID, is_ours, object_id
from stt_mqtt.doors.homeassistant.payloads import DeviceFacts, ServiceFacts
from stt_mqtt.doors.native.messages import SatelliteInfo
from stt_mqtt.doors.native.topics import DOOR as NATIVE
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import RequestError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.mqtt.routing import MqttDoor, RetainedTopics, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, DeviceState

log = logging.getLogger(__name__)

MIN_BIRTH_INTERVAL_S = 10.0
"""Shortest time between two reactions to birth messages. Each costs a message per device."""
COLLECT_S = 1.0
"""How long a changed device waits for further changes before it is announced.

Home Assistant drops most of a discovery message that arrives while it processes the previous one.
"""
MAX_PREVIOUS_MESSAGES = 100_000
"""Most discovery messages of the previous run that are read in one start."""


class HomeAssistantDoor(MqttDoor):
    """Publishes the retained discovery messages of the service and the native devices.

    It must be added as an observer of the native devices. If `homeassistant.enabled` is off, it
    only removes the messages of the previous run. `now`: clock in monotonic seconds. `ownership`:
    which devices this gateway announces; the one that leads announces the service.
    """

    def __init__(
        self,
        service: SpeechService,
        publish: Publish,
        now: Callable[[], float] = time.monotonic,
        ownership: Ownership = EVERYTHING,
    ) -> None:
        self._service = service
        self._ownership = ownership
        self._enabled = service.config.homeassistant.enabled
        self._topics = Topics(service.config.mqtt.base_topic)
        self._publish = publish
        self._now = now
        prefix = service.config.homeassistant.discovery_prefix
        self._status_topic = f"{prefix}/status"
        self._config_prefix = f"{prefix}/device/"
        self._announced_service = b""
        """The last discovery message of the service."""
        self._devices: dict[str, DeviceFacts] = {}
        """Registered devices."""
        self._unknown: OrderedDict[str, DeviceFacts] = OrderedDict()
        """Facts of devices that are not registered yet; at most `limits.max_devices`."""
        self._due: dict[str, float] = {}
        """When changed devices are announced, earliest first."""
        self._previous_ids: set[str] = set()
        """Object ids of discovery messages of the previous run."""
        self._clearing: Counter[str] = Counter()
        """Our own empty messages that the broker has not sent back yet, by object id."""
        self._owned: set[str] = set()
        """Devices that were this gateway's after the last change of its share."""
        self._born_at = -inf
        self._was_connected = False
        """Whether the client was ever connected. Nothing is published before."""

    # On the broker -----------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """The birth topic of Home Assistant, and the discovery topics that it may clear.

        The retained discovery messages of all programs are read first. Some of them are large.
        """
        configs = (f"{self._config_prefix}+/config",)
        return Subscriptions(
            filters=(self._status_topic, *configs) if self._enabled else (),
            large_endings=("/config",),
            retained=RetainedTopics(configs, self.clean_up, bulk=configs),
        )

    def handle(self, message: Inbound) -> None:
        """Announce everything when Home Assistant starts. Remove devices that it deletes."""
        if message.topic == self._status_topic:
            now = self._now()
            if message.payload == b"online" and now - self._born_at >= MIN_BIRTH_INTERVAL_S:
                self._born_at = now
                self._announce_all()
            return
        object_id = self._object_id_in(message.topic)
        if object_id is None:
            self._service.metrics.drop(DropReason.BAD_TOPIC)
        elif message.payload:
            if message.retain:
                self._note_previous(object_id, message.payload)
        elif object_id in self._clearing:
            # The broker sent back our own message.
            self._clearing -= Counter((object_id,))
        else:
            self._deleted(object_id)

    def on_connected(self) -> None:
        """Announce everything."""
        if not self._enabled:
            return
        self._was_connected = True
        self._clearing.clear()
        self._announce_all()

    def clean_up(self) -> None:
        """Clear the discovery messages of the previous run that are not used any more."""
        known = {SERVICE_ID, *map(object_id, self._devices)} if self._enabled else set()
        for unused in sorted(self._previous_ids - known) if self._ownership.leads else ():
            self._retain(unused, b"")
        self._previous_ids.clear()

    # Time --------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        return next(iter(self._due.values()), None)

    def tick(self) -> None:
        """Announce the changed devices that are due."""
        now = self._now()
        for name in [name for name, at in self._due.items() if at <= now]:
            self._announce(name)

    # Events of the service and the devices -----------------------------------------------

    def info_changed(self) -> None:
        """The rungs or the health interval may have changed. Called before the new `info`."""
        if not self._was_connected or not self._ownership.leads:
            return
        service = encode(payloads.service_config(self._service_facts))
        if service != self._announced_service:
            self._announce_service(service)

    def availability_seen(self, name: str) -> None:
        """A device published `online` or `offline` on its availability topic."""
        self._update(name, replace(self._facts(name), has_availability=True))

    def availability_cleared(self, name: str) -> None:
        """A device cleared its retained availability."""
        self._update(name, replace(self._facts(name), has_availability=False))

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        """A device published or cleared its satellite information."""
        self._update(name, self._facts(name).with_satellite(satellite))

    def settings(self, key: DeviceKey, _settings: DeviceSettings) -> None:
        """A device was registered, or its settings changed."""
        if key.name not in self._devices:
            self._devices[key.name] = self._unknown.pop(key.name, DeviceFacts())
            self._announce_soon(key.name)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Announce a device at once when it starts an utterance, so that its result is shown."""
        if state is not DeviceState.IDLE and key.name in self._due:
            self._announce(key.name)

    def forget(self, key: DeviceKey) -> None:
        """Remove a device from Home Assistant."""
        facts = self._devices.pop(key.name, None)
        self._due.pop(key.name, None)
        if facts is not None:
            self._update(key.name, replace(facts, could_mute=False))
        if self._ownership.owns(key.name):
            self._retain(object_id(key.name), b"")

    def ownership_changed(self) -> None:
        """Announce the devices that have become this gateway's: the one before may be gone."""
        before, self._owned = self._owned, set(filter(self._ownership.owns, self._devices))
        for name in sorted(self._owned - before):
            self._announce_soon(name)

    # Internals ---------------------------------------------------------------------------

    @property
    def _service_facts(self) -> ServiceFacts:
        rungs = tuple(rung.name for rung in self._service.rung_status.rungs)
        config = self._service.config
        asks_names = config.phrases.has_book and config.phrases.home_assistant is not None
        return ServiceFacts(
            self._topics,
            rungs,
            config.service.health_interval_s,
            asks_names,
            has_fleet=config.fleet is not None,
            has_model=config.has_model,
        )

    def _object_id_in(self, topic: str) -> str | None:
        """The object id in a discovery topic; None for another topic."""
        if not topic.startswith(self._config_prefix):
            return None
        id, _, rest = topic[len(self._config_prefix) :].partition("/")
        return id if id and rest == "config" else None

    def _note_previous(self, object_id: str, config: bytes) -> None:
        state_topic = self._topics.of_bridge("state")
        if len(self._previous_ids) < MAX_PREVIOUS_MESSAGES and is_ours(
            object_id, config, state_topic
        ):
            self._previous_ids.add(object_id)

    def _facts(self, name: str) -> DeviceFacts:
        return self._devices.get(name) or self._unknown.get(name) or DeviceFacts()

    def _update(self, name: str, facts: DeviceFacts) -> None:
        if name in self._devices:
            if facts != self._devices[name]:
                self._devices[name] = facts
                self._announce_soon(name)
        elif facts == DeviceFacts():
            self._unknown.pop(name, None)
        else:
            self._unknown[name] = facts
            self._unknown.move_to_end(name)
            if len(self._unknown) > self._service.config.limits.max_devices:
                self._unknown.popitem(last=False)

    def _announce_soon(self, name: str) -> None:
        if self._was_connected:
            self._due.setdefault(name, self._now() + COLLECT_S)

    def _announce_all(self) -> None:
        """Announce the service, then the devices, which refer to it."""
        self._announce_service(encode(payloads.service_config(self._service_facts)))
        for name in self._devices:
            self._announce(name)

    def _announce_service(self, service: bytes) -> None:
        if self._ownership.leads:
            self._announced_service = service
            self._retain(SERVICE_ID, service)

    def _announce(self, name: str) -> None:
        self._due.pop(name, None)
        if not self._ownership.owns(name):
            return
        config = payloads.device_config(self._service_facts, name, self._devices[name])
        self._retain(object_id(name), encode(config))

    def _deleted(self, deleted_id: str) -> None:
        """Home Assistant deleted a device. Its next utterance brings it back."""
        name = next((name for name in self._devices if object_id(name) == deleted_id), None)
        if name is None:
            return
        try:
            self._service.registry.forget(DeviceKey(NATIVE, name))
        except RequestError as error:
            log.info("deleted in Home Assistant, but not forgotten: %s", error)
            self._announce_soon(name)

    def _retain(self, object_id: str, payload: bytes) -> None:
        if not payload and self._enabled:
            self._clearing[object_id] += 1
        topic = f"{self._config_prefix}{object_id}/config"
        self._publish(Publication(topic, payload, qos=1, retain=True))
