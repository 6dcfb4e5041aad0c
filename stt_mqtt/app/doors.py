"""Creates the configured doors, and the connection to the broker that most of them share."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from stt_mqtt.app.broker import client_options, instance_id
from stt_mqtt.app.callbacks import ApplicationCallbacks
from stt_mqtt.app.facts import door_facts
from stt_mqtt.app.machines import Connections, Machines
from stt_mqtt.app.web import figures, web_door
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.hermes.door import HermesDoor
from stt_mqtt.doors.homeassistant.door import HomeAssistantDoor
from stt_mqtt.doors.native.bridge import Bridge, BridgeCallbacks
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.native.instances import Instance
from stt_mqtt.doors.native.topics import DOOR, FLEET, Topics
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.wyoming.door import WyomingDoor
from stt_mqtt.errors import AnotherServiceError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.inbox import Inbox
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.routing import MqttDoor, Router
from stt_mqtt.observe.metrics import DropReason

log = logging.getLogger(__name__)

RETAINED_WINDOW_S = 2.0
"""How long after the start retained messages of the previous run are read."""
LAST_MESSAGES_TIMEOUT_S = 3.0
DAY_S = 24 * 3600.0


class Doors:
    """All doors. Runs on the event loop.

    On the first connection the doors only probe for another service on the base topic and read the
    retained messages of the previous run. They subscribe to input when the probe has ended.
    """

    def __init__(
        self,
        service: SpeechService,
        clock: Clock,
        password: str | None,
        application: ApplicationCallbacks,
        ownership: Ownership = EVERYTHING,
    ) -> None:
        config = service.config
        self._ownership = ownership
        self._service = service
        self._clock = clock
        self._application = application
        self._opened_at = clock.now()
        self._client = MqttClient(client_options(config, password, clock))
        publish = self._client.publish
        callbacks = BridgeCallbacks(
            application.reload,
            application.set_rung,
            self._transport_drops,
            self._on_probed,
            application.names,
            application.phrases,
            application.fleet,
        )
        instance = Instance(instance_id(config), ownership)
        self._bridge = Bridge(service, clock, publish, callbacks, instance)
        # First in all lists, so that Home Assistant knows a device before its state.
        self._discovery = HomeAssistantDoor(service, publish, clock.now, ownership)
        if config.homeassistant.enabled:
            service.add_observer(DOOR, self._discovery)
        self._native = NativeDoor(service, self._bridge, publish, clock.now, ownership)
        if config.homeassistant.enabled:
            self._native.devices.observer = self._discovery
        on_broker: list[MqttDoor] = [self._discovery, self._native]
        self._hermes: HermesDoor | None = None
        if config.hermes.enabled:
            self._hermes = HermesDoor(service, clock, publish, ownership)
            on_broker.append(self._hermes)
        self._wyoming: WyomingDoor | None = None
        if config.wyoming.enabled:
            self._wyoming = WyomingDoor(service, application.rearm_timer, application.stop)
        self._machines = Machines(
            service, clock, application.lag, self._connections, application.fleet
        )
        self._web = web_door(config.web, self._web_parts)
        self._router = Router(on_broker, lambda: service.metrics.drop(DropReason.BAD_TOPIC))
        self.inbox = Inbox(self._client, self._router, self._on_connected, application.rearm_timer)
        self._stopping = False
        self._serving = False
        """Whether input is subscribed: no other service is live, or `mqtt.takeover` is on."""
        self._other_is_live = False
        """Whether another service is live on the base topic. Retained messages are then its own."""
        self._cleaned = False
        self._clean_up_at: float | None = None

    async def open_early(self) -> None:
        """Open the doors that work before the model is loaded."""
        if self._web is not None:
            await self._web.open()
        if self._wyoming is not None:
            await self._wyoming.open()

    def connect(self) -> None:
        """Start the connection to the broker."""
        self._client.subscribe(self._router.read_first, self._router.bulk)
        self._client.start(self.inbox)

    @property
    def is_connected(self) -> bool:
        """Whether the service is connected to the broker."""
        return self._client.connected

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        all_of_them = (
            None if self._hermes is None else self._hermes.deadline,
            self._discovery.deadline,
            self._bridge.instances.deadline,
            self._bridge.fleet.deadline,
            self._ownership.deadline,
            self._clean_up_at,
        )
        return min((at for at in all_of_them if at is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        self._discovery.tick()
        if self._hermes is not None:
            self._hermes.tick()
        self._bridge.instances.tick(self._client.connected)
        self._bridge.fleet.tick()
        self._ownership.tick()
        if self._clean_up_at is not None and self._clock.now() >= self._clean_up_at:
            self._clean_up_at = None
            self._clean_up()

    def reconfigured(self) -> None:
        """Apply and publish a new configuration."""
        self._native.devices.register_configured()
        self.publish_info()

    def publish_info(self) -> None:
        """Publish `info`, after the discovery message that depends on it."""
        if self._serving:
            self._discovery.info_changed()
            self._bridge.publish_info()

    def publish_health(self) -> None:
        """Publish `health`, and remove devices that were silent for long."""
        if self._serving:
            self._forget_silent()
            self._bridge.publish_health()

    async def publish_health_repeatedly(self) -> None:
        """Do so for ever, in the interval of the configuration."""
        while True:
            await asyncio.sleep(self._service.config.service.health_interval_s)
            try:
                self.publish_health()
            except Exception:
                log.exception("the health message could not be made, please report this")

    def fleet_changed(self) -> None:
        """Something of the fleet may have changed. May be called at each heartbeat of a worker."""
        if self._serving and not self._stopping:
            self._bridge.fleet.changed()
            self._application.rearm_timer()
        if self._web is not None:
            self._web.changed()

    def tell_gateways(self, payload: bytes, retain: bool) -> None:
        """Publish on the topic that the gateways of a fleet share, now or not at all."""
        topic = Topics(self._service.config.mqtt.base_topic).of_bridge(FLEET)
        connection = self._client.connection
        self._client.publish(Publication(topic, payload, retain=retain, connection=connection))

    def ownership_changed(self, lost: bool) -> None:
        """Other devices are this gateway's now. `lost`: a gateway is gone with what it had open."""
        self._discovery.ownership_changed()
        self._native.ownership_changed(lost)
        if self._ownership.gateway is not None and self._ownership.is_live(self._ownership.gateway):
            self._application.online.set()

    def speak(self) -> None:
        """This gateway leads: publish everything about the service."""
        self._discovery.info_changed()
        self._bridge.announce()

    def begin_shutdown(self) -> None:
        """The service stops: do not announce anything on a new connection."""
        self._stopping = True

    def handle_remaining(self) -> None:
        """Handle the messages that are still in the inbox."""
        self.inbox.pump()

    async def send_last_messages(self) -> None:
        """Publish `offline` and wait until the last messages are sent."""
        self._bridge.say_offline()
        if self._wyoming is not None:
            await self._wyoming.close()
        if self._web is not None:
            await self._web.close()
        if not await asyncio.to_thread(self._client.flush, LAST_MESSAGES_TIMEOUT_S):
            log.warning("the broker did not take the last messages in time")

    async def close(self) -> None:
        """Close all connections, also after a failed start."""
        if self._wyoming is not None:
            await self._wyoming.close()
        if self._web is not None:
            await self._web.close()
        await asyncio.to_thread(self._client.stop, LAST_MESSAGES_TIMEOUT_S)

    def _transport_drops(self) -> dict[str, int]:
        return {
            "inbox_full": self.inbox.dropped,
            "undecodable_topic": self._client.undecodable_messages,
            "packet_too_large": self._client.too_large_messages,
            "publications_lost": self._client.lost_publications,
        }

    def _web_parts(self) -> WebParts:
        """What the pages need. Raises ImportError if a library of the pages is not installed."""
        service, application = self._service, self._application
        return WebParts(
            service=service,
            clock=self._clock,
            native=self._native,
            online=application.online,
            rearm_timer=application.rearm_timer,
            metrics=figures(service, self._machines),
            health=self._machines.health,
            readiness=self._machines.readiness,
            doors=partial(door_facts, service, self._client, self._native, self._wyoming),
            phrases=application.phrases_status,
            transport_drops=self._transport_drops,
            self_check=application.self_check,
            fleet=application.fleet,
        )

    def _connections(self) -> Connections:
        client = self._client
        return Connections(
            broker=client.address,
            thread_is_alive=client.is_alive,
            thread_hangs=client.hangs,
            is_connected=client.connected,
            is_online=self._application.online.is_set(),
            is_stopping=self._stopping,
            accepted=client.connections,
            outbox=client.waiting,
            inbox=(len(self.inbox), self.inbox.buffered_bytes),
            lost=self._transport_drops(),
            wyoming=0 if self._wyoming is None else self._wyoming.connections,
            browsers=0 if self._web is None else self._web.browsers,
        )

    def _forget_silent(self) -> None:
        """Remove silent devices. Not on the first day: after a power cut all have been silent."""
        if self._clock.now() - self._opened_at >= DAY_S:
            days = self._service.config.limits.devices_forget_after_days
            self._native.devices.forget_silent(self._clock.epoch() - days * DAY_S)

    def _on_connected(self) -> None:
        if self._stopping:
            return
        self._bridge.instances.on_connected()
        if self._serving:
            self._announce()
        else:
            self._bridge.instances.probe()
        self._application.rearm_timer()

    def _on_probed(self, other: str | None) -> None:
        """Subscribe to the input, unless another service is live."""
        if self._stopping:
            return
        mqtt = self._service.config.mqtt
        if other is not None and not mqtt.takeover:
            self._stopping = True
            self._bridge.instances.stop()
            self._application.stop_with_error(
                AnotherServiceError(
                    f"another service, instance {other}, is live on the base topic "
                    f"{mqtt.base_topic} of {self._client.address}; end it, give this one another "
                    "mqtt.base_topic, or set mqtt.takeover: true to have both answer"
                )
            )
            return
        if other is not None:
            log.warning(
                "another service, instance %s, is live on the base topic %s: both answer "
                "everything (mqtt.takeover)",
                other,
                mqtt.base_topic,
            )
        self._serving = True
        self._other_is_live = other is not None
        if not self._other_is_live:
            self._native.restore_devices()
        self._client.subscribe(self._router.subscriptions, self._router.bulk)
        self._announce()

    def _announce(self) -> None:
        """Publish everything about the service and its devices."""
        if not self._cleaned:
            self._clean_up_at = self._clock.now() + RETAINED_WINDOW_S
        self._router.on_connected()
        if not self._ownership.shared:
            self._application.online.set()

    def _clean_up(self) -> None:
        if not self._client.connected:
            # Not everything has been read. The next connection reads it again.
            return
        self._cleaned = True
        self._client.unsubscribe(set(self._router.read_first) - set(self._router.subscriptions))
        if not self._other_is_live:
            self._router.clean_up()
