"""The door to Home Assistant: it announces what is there, and hears when to do so again."""

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
from stt_mqtt.doors.homeassistant.leftovers import Leftovers
from stt_mqtt.doors.homeassistant.names import SERVICE_ID, object_id
from stt_mqtt.doors.homeassistant.payloads import About
from stt_mqtt.doors.native.door import DOOR as NATIVE
from stt_mqtt.doors.native.presence import SatelliteInfo
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import RequestError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.mqtt.routing import RetainedTopics, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, DeviceState

log = logging.getLogger(__name__)

MIN_BIRTH_INTERVAL_S = 10.0
"""Each birth costs a message per device. What came just before is retained and still there."""
HOLD_S = 1.0
"""How long news of a device wait for more of it.

Of a message that comes while Home Assistant works on the one before it drops all components but
the first.
"""


class HomeAssistantDoor:
    """Keeps the retained discovery messages of the service and of the native devices.

    Whoever makes it has it follow the native devices. With `homeassistant.enabled` off it takes
    back what a previous run announced, and nothing else. `now`: monotonic seconds.
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
        """What was last said of the service."""
        self._devices: dict[str, About] = {}
        """Known devices, and what they tell of themselves."""
        self._strangers: OrderedDict[str, About] = OrderedDict()
        """Who tells of itself without being known; as many as there may be devices."""
        self._held: dict[str, float] = {}
        """Until when news of a device wait, the first ones first."""
        self._leftovers = Leftovers(self._topics.of_bridge("state"))
        self._clearing: Counter[str] = Counter()
        """Empty messages of ours that have not come back yet, by object id."""
        self._born_at = -inf
        self._is_open = False
        """Whether the broker was there once: before, devices are only noted."""

    # On the broker -----------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """Where Home Assistant says that it has started, and where it deletes devices.

        The discovery messages of all programs are read first. Some of them are large.
        """
        configs = (f"{self._config_prefix}+/config",)
        return Subscriptions(
            filters=(self._status_topic, *configs) if self._enabled else (),
            large_endings=("/config",),
            retained=RetainedTopics(configs, self.clean_up, bulk=configs),
        )

    def handle(self, message: Inbound) -> None:
        """Announce everything when Home Assistant starts; note what is left, or deleted there."""
        if message.topic == self._status_topic:
            now = self._now()
            if message.payload == b"online" and now - self._born_at >= MIN_BIRTH_INTERVAL_S:
                self._born_at = now
                self._announce_all()
            return
        announced = self._announced(message.topic)
        if announced is None:
            self._service.metrics.drop(DropReason.BAD_TOPIC)
        elif message.payload:
            if message.retain:
                self._leftovers.note(announced, message.payload)
        elif announced in self._clearing:
            # Our own message comes back.
            self._clearing -= Counter((announced,))
        else:
            self._deleted(announced)

    def on_connected(self) -> None:
        """Announce everything."""
        if not self._enabled:
            return
        self._is_open = True
        self._clearing.clear()
        self._announce_all()

    def clean_up(self) -> None:
        """Take back what a previous run announced and this one does not know."""
        known = {SERVICE_ID, *map(object_id, self._devices)} if self._enabled else set()
        for unknown in self._leftovers.take_unknown(known):
            self._retain(unknown, b"")

    # What the service tells --------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds."""
        return next(iter(self._held.values()), None)

    def tick(self) -> None:
        """Announce what has waited long enough."""
        now = self._now()
        for name in [name for name, at in self._held.items() if at <= now]:
            self._announce(name)

    def info_changed(self) -> None:
        """The service may have other rungs or another health interval; it has not said so yet."""
        if not self._is_open:
            return
        service = encode(payloads.service_config(self._facts))
        if service != self._announced_service:
            self._announce_service(service)

    def availability_seen(self, name: str) -> None:
        """A device said `online` or `offline` on its availability topic."""
        self._learn(name, replace(self._about(name), has_availability=True))

    def availability_cleared(self, name: str) -> None:
        """A device cleared its availability topic, on which nothing is retained any more."""
        self._learn(name, replace(self._about(name), has_availability=False))

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        """A device told what it is, or cleared that."""
        self._learn(name, self._about(name).as_told(satellite))

    def settings(self, key: DeviceKey, _settings: DeviceSettings) -> None:
        """A device became known, or its settings changed."""
        if key.name not in self._devices:
            self._devices[key.name] = self._strangers.pop(key.name, About())
            self._hold(key.name)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Home Assistant reads it where the native door says it. Who speaks does not wait."""
        if state is not DeviceState.IDLE and key.name in self._held:
            self._announce(key.name)

    def forget(self, key: DeviceKey) -> None:
        """A device left: so it does in Home Assistant."""
        about = self._devices.pop(key.name, None)
        self._held.pop(key.name, None)
        if about is not None:
            self._learn(key.name, replace(about, could_mute=False))
        self._retain(object_id(key.name), b"")

    # Inside ------------------------------------------------------------------------------

    @property
    def _facts(self) -> payloads.Facts:
        rungs = tuple(rung.name for rung in self._service.rungs.rungs)
        return payloads.Facts(self._topics, rungs, self._service.config.service.health_interval_s)

    def _announced(self, topic: str) -> str | None:
        """The object id that a discovery topic is about; None if it is none of a device."""
        if not topic.startswith(self._config_prefix):
            return None
        id, _, rest = topic[len(self._config_prefix) :].partition("/")
        return id if id and rest == "config" else None

    def _about(self, name: str) -> About:
        return self._devices.get(name) or self._strangers.get(name) or About()

    def _learn(self, name: str, about: About) -> None:
        if name in self._devices:
            if about != self._devices[name]:
                self._devices[name] = about
                self._hold(name)
        elif about == About():
            self._strangers.pop(name, None)
        else:
            self._strangers[name] = about
            self._strangers.move_to_end(name)
            if len(self._strangers) > self._service.config.limits.max_devices:
                self._strangers.popitem(last=False)

    def _hold(self, name: str) -> None:
        """Announce a device soon; before the first connection that is not needed."""
        if self._is_open:
            self._held.setdefault(name, self._now() + HOLD_S)

    def _announce_all(self) -> None:
        """First the service, because the satellites are connected through it."""
        self._announce_service(encode(payloads.service_config(self._facts)))
        for name in self._devices:
            self._announce(name)

    def _announce_service(self, service: bytes) -> None:
        self._announced_service = service
        self._retain(SERVICE_ID, service)

    def _announce(self, name: str) -> None:
        self._held.pop(name, None)
        config = payloads.device_config(self._facts, name, self._devices[name])
        self._retain(object_id(name), encode(config))

    def _deleted(self, announced: str) -> None:
        """Home Assistant has deleted a device: it comes back when it speaks again."""
        name = next((name for name in self._devices if object_id(name) == announced), None)
        if name is None:
            return
        try:
            self._service.known.forget(DeviceKey(NATIVE, name))
        except RequestError as error:
            log.info("deleted in Home Assistant, but not forgotten: %s", error)
            self._hold(name)

    def _retain(self, object_id: str, payload: bytes) -> None:
        if not payload and self._enabled:
            self._clearing[object_id] += 1
        topic = f"{self._config_prefix}{object_id}/config"
        self._publish(Publication(topic, payload, qos=1, retain=True))
