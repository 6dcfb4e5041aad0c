"""The door to Home Assistant: announces the service and its devices by MQTT discovery."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from math import inf

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
"""Each birth message costs a message per device. What was just announced is retained anyway."""
COLLECT_S = 1.0
"""How long a device with news waits for more of it.

Home Assistant drops most of a discovery message that comes while it works on the one before.
"""
MAX_PREVIOUS_MESSAGES = 100_000
"""Most discovery messages of a previous run that are looked at in one start."""


class HomeAssistantDoor(MqttDoor):
    """Keeps the retained discovery messages of the service and of the native devices.

    It has to be registered as an observer of the native devices. If `homeassistant.enabled` is
    off, it only removes what a previous run announced. `now`: monotonic seconds.
    """

    def __init__(
        self, service: SpeechService, publish: Publish, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._service = service
        self._enabled = service.config.homeassistant.enabled
        self._topics = Topics(service.config.mqtt.base_topic)
        self._publish = publish
        self._now = now
        prefix = service.config.homeassistant.discovery_prefix
        self._status_topic = f"{prefix}/status"
        self._config_prefix = f"{prefix}/device/"
        self._announced_service = b""
        """The last message about the service."""
        self._devices: dict[str, DeviceFacts] = {}
        """Known devices."""
        self._unknown: OrderedDict[str, DeviceFacts] = OrderedDict()
        """Devices that told something and are not known yet; at most `limits.max_devices`."""
        self._due: dict[str, float] = {}
        """When devices with news are announced, the first ones first."""
        self._previous_ids: set[str] = set()
        """Object ids that a previous run announced."""
        self._clearing: Counter[str] = Counter()
        """Our own empty messages that have not come back yet, by object id."""
        self._born_at = -inf
        self._was_connected = False
        """Before the first connection nothing is published."""

    # On the broker -----------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """The topics on which Home Assistant tells that it has started, and deletes devices.

        The discovery messages of all programs are read first. Some of them are large.
        """
        configs = (f"{self._config_prefix}+/config",)
        return Subscriptions(
            filters=(self._status_topic, *configs) if self._enabled else (),
            large_endings=("/config",),
            retained=RetainedTopics(configs, self.clean_up, bulk=configs),
        )

    def handle(self, message: Inbound) -> None:
        """Announce everything when Home Assistant starts; forget devices that it deletes."""
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
            # Our own message comes back.
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
        """Remove what a previous run announced and this one does not know."""
        known = {SERVICE_ID, *map(object_id, self._devices)} if self._enabled else set()
        for leftover in sorted(self._previous_ids - known):
            self._retain(leftover, b"")
        self._previous_ids.clear()

    # Time --------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds."""
        return next(iter(self._due.values()), None)

    def tick(self) -> None:
        """Announce the devices whose time has come."""
        now = self._now()
        for name in [name for name, at in self._due.items() if at <= now]:
            self._announce(name)

    # What the service and the devices tell -----------------------------------------------

    def info_changed(self) -> None:
        """The rungs or the health interval may have changed. Comes before the new `info`."""
        if not self._was_connected:
            return
        service = encode(payloads.service_config(self._service_facts))
        if service != self._announced_service:
            self._announce_service(service)

    def availability_seen(self, name: str) -> None:
        """A device said `online` or `offline` on its availability topic."""
        self._update(name, replace(self._facts(name), has_availability=True))

    def availability_cleared(self, name: str) -> None:
        """A device cleared its availability topic, so that nothing is retained there."""
        self._update(name, replace(self._facts(name), has_availability=False))

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        """A device told what satellite it is, or cleared that."""
        self._update(name, self._facts(name).with_satellite(satellite))

    def settings(self, key: DeviceKey, _settings: DeviceSettings) -> None:
        """A device became known, or its settings changed."""
        if key.name not in self._devices:
            self._devices[key.name] = self._unknown.pop(key.name, DeviceFacts())
            self._announce_soon(key.name)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """A device that speaks is announced at once, so that its result arrives."""
        if state is not DeviceState.IDLE and key.name in self._due:
            self._announce(key.name)

    def forget(self, key: DeviceKey) -> None:
        """A device left: remove it from Home Assistant."""
        facts = self._devices.pop(key.name, None)
        self._due.pop(key.name, None)
        if facts is not None:
            self._update(key.name, replace(facts, could_mute=False))
        self._retain(object_id(key.name), b"")

    # Inside ------------------------------------------------------------------------------

    @property
    def _service_facts(self) -> ServiceFacts:
        rungs = tuple(rung.name for rung in self._service.rung_status.rungs)
        return ServiceFacts(self._topics, rungs, self._service.config.service.health_interval_s)

    def _object_id_in(self, topic: str) -> str | None:
        """The object id in a discovery topic; None if the topic is another one."""
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
        """The service comes first, because the devices are connected through it."""
        self._announce_service(encode(payloads.service_config(self._service_facts)))
        for name in self._devices:
            self._announce(name)

    def _announce_service(self, service: bytes) -> None:
        self._announced_service = service
        self._retain(SERVICE_ID, service)

    def _announce(self, name: str) -> None:
        self._due.pop(name, None)
        config = payloads.device_config(self._service_facts, name, self._devices[name])
        self._retain(object_id(name), encode(config))

    def _deleted(self, deleted_id: str) -> None:
        """Home Assistant has deleted a device. It comes back when it speaks again."""
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
