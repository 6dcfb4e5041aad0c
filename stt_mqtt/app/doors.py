"""The doors as they are configured, and the one connection to the broker that most share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from stt_mqtt.config import Changes, Config
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.hermes.door import HermesDoor
from stt_mqtt.doors.homeassistant.door import HomeAssistantDoor
from stt_mqtt.doors.native.bridge import Bridge, BridgeContext
from stt_mqtt.doors.native.door import DOOR, NativeDoor
from stt_mqtt.doors.native.instances import Instances, Watcher
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.doors.native.wire import NativeWire
from stt_mqtt.doors.wyoming.door import WyomingDoor
from stt_mqtt.errors import AnotherServiceError, SttMqttError
from stt_mqtt.mqtt.arrivals import InboxBacklog
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.intake import Intake, IntakeHandlers
from stt_mqtt.mqtt.messages import Publication, Will
from stt_mqtt.mqtt.options import ClientOptions
from stt_mqtt.mqtt.routing import MqttDoor, Router
from stt_mqtt.observe.metrics import DropReason

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 3.0
"""How long another service on the base topic has to show that it is live."""
LEFTOVERS_WINDOW_S = 2.0
"""How long after the start the broker is still listened to for what a previous run left."""
DOUBT_S = 2.0
"""A broker that ends says so before it closes the connection."""
OWN_WILL_S = 120.0
"""So long after a connection the last will of the one before it may come."""
GOODBYE_TIMEOUT_S = 3.0
DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ApplicationCallbacks:
    """What the doors may ask of the application."""

    reload: Callable[[], Changes]
    set_rung: Callable[[str], None]
    rearm_timer: Callable[[], None]
    """The service was called: look at the deadline again."""
    stop: Callable[[], None]
    give_up: Callable[[SttMqttError], None]
    """The service must not go on, and leaves no trace."""
    online: asyncio.Event
    """To be set once the broker has been told that the service is there."""


class Doors:
    """What is open to the world. Lives on the event loop."""

    def __init__(
        self,
        service: SpeechService,
        clock: Clock,
        password: str | None,
        wishes: ApplicationCallbacks,
    ) -> None:
        config = service.config
        self._service = service
        self._topics = Topics(config.mqtt.base_topic)
        self._clock = clock
        self._opened_at = clock.now()
        # First of all, so that Home Assistant knows a device before it is told about it.
        self._discovery = HomeAssistantDoor(service, self._publish, clock.now)
        if config.homeassistant.enabled:
            service.follow(DOOR, self._discovery)
        self._native = NativeDoor(service, self._topics, self._publish, clock.now)
        if config.homeassistant.enabled:
            self._native.presence = self._discovery
        self._instances = Instances(token_hex(8), self._topics, self._publish)
        self._bridge = Bridge(
            BridgeContext(
                service,
                clock,
                self._instances,
                wishes.reload,
                self._transport_drops,
                wishes.set_rung,
            ),
            self._topics,
            self._publish,
        )
        watcher = Watcher(self._on_probed, self._bridge.say_online, self._on_said_offline)
        self._instances.attach(watcher)
        wire = self._wire = NativeWire(
            service, self._topics, self._native, self._bridge, self._instances
        )
        on_broker: list[MqttDoor] = [self._discovery, wire]
        self._hermes: HermesDoor | None = None
        if config.hermes.enabled:
            self._hermes = HermesDoor(service, clock, self._publish)
            on_broker.append(self._hermes)
        self._wyoming: WyomingDoor | None = None
        if config.wyoming.enabled:
            self._wyoming = WyomingDoor(service, wishes.rearm_timer, wishes.stop)
        self._router = Router(on_broker, lambda: service.metrics.drop(DropReason.BAD_TOPIC))
        handlers = IntakeHandlers(self._router, self._on_connected, wishes.rearm_timer)
        self._intake = Intake(asyncio.get_running_loop(), handlers)
        options = self._client_options(config, password)
        self._address = options.address
        self._client = MqttClient(options, self._intake)
        self.arrivals = InboxBacklog(self._client, self._intake)
        """What has come in and waits."""
        self._leaving = False
        self._is_sole = False
        """Whether it is known that no other service is live on the base topic."""
        self._probe_until: float | None = None
        """When no answer means that there is no other one, on the clock of the line."""
        self._doubt_until: float | None = None
        """When it counts that this service was said to be offline: not by its own last will."""
        self._connected_at = 0.0
        self._shares = False
        """Whether another service is live on the base topic, so that nothing is left over."""
        self._cleaned = False
        self._clean_up_at: float | None = None
        self._online = wishes.online
        self._give_up = wishes.give_up
        self._rearm_timer = wishes.rearm_timer

    async def open_early(self) -> None:
        """Open the doors that answer before the model is loaded."""
        if self._wyoming is not None:
            await self._wyoming.open()

    def connect(self) -> None:
        """Connect to the broker, and stay connected."""
        self._client.start()

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds."""
        hermes = None if self._hermes is None else self._hermes.deadline
        all_of_them = (
            hermes,
            self._discovery.deadline,
            self._probe_until,
            self._doubt_until,
            self._clean_up_at,
        )
        return min((at for at in all_of_them if at is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        self._discovery.tick()
        if self._hermes is not None:
            self._hermes.tick()
        now = self._clock.now()
        if self._probe_until is not None and now >= self._probe_until:
            self._probe_until = None
            # Without a connection nothing was found out; the next one begins anew.
            if self._client.connected:
                self._instances.give_up()
        if self._doubt_until is not None and now >= self._doubt_until:
            self._doubt_until = None
            if self._client.connected:
                self._instances.warn_offline()
        if self._clean_up_at is not None and now >= self._clean_up_at:
            self._clean_up_at = None
            self._clean_up()

    def reconfigured(self) -> None:
        """Tell the world of a new configuration."""
        self._native.introduce_configured()
        self.tell_info()

    def tell_info(self) -> None:
        """Tell the world what the service is now; first Home Assistant what it may be."""
        if not self._is_sole:
            return
        self._discovery.info_changed()
        self._bridge.publish_info()

    def tell_health(self) -> None:
        """Tell the world how the service is, and forget whom nobody has heard for long."""
        if self._is_sole:
            self._forget_silent()
            self._bridge.publish_health()

    def leave(self) -> None:
        """Nothing new is announced any more: the service is stopping."""
        self._leaving = True

    def take_in_the_rest(self) -> None:
        """Handle what has come in and waits."""
        self._intake.pump()

    async def say_goodbye(self) -> None:
        """Let the last answers out. The line is empty by now."""
        self._bridge.say_goodbye()
        if self._wyoming is not None:
            await self._wyoming.close()
        if not await asyncio.to_thread(self._client.flush, GOODBYE_TIMEOUT_S):
            log.warning("the broker did not take the last messages in time")

    async def close(self) -> None:
        """End all connections, also after a start that failed."""
        if self._wyoming is not None:
            await self._wyoming.close()
        await asyncio.to_thread(self._client.stop, GOODBYE_TIMEOUT_S)

    def _publish(self, publication: Publication) -> None:
        self._client.publish(publication)

    def _client_options(self, config: Config, password: str | None) -> ClientOptions:
        mqtt = reachable(config.mqtt, config.broker)
        return ClientOptions(
            config=mqtt,
            host=mqtt.host,
            port=mqtt.effective_port,
            will=Will(self._topics.of_bridge("state"), b"offline"),
            password=password,
            subscriptions=self._router.read_first,
            bulk=frozenset(self._router.bulk),
            now=self._clock.now,
        )

    def _transport_drops(self) -> dict[str, int]:
        return {
            "inbox_full": self._intake.dropped,
            "undecodable_topic": self._client.undecodable_messages,
            "publications_lost": self._client.lost_publications,
        }

    def _forget_silent(self) -> None:
        """Not in the first day: after a long power cut everybody has been silent for long."""
        if self._clock.now() - self._opened_at >= DAY_S:
            days = self._service.config.limits.devices_forget_after_days
            self._native.forget_silent(self._clock.epoch() - days * DAY_S)

    def _on_connected(self) -> None:
        if self._leaving:
            return
        self._connected_at = self._clock.now()
        self._doubt_until = None
        if self._is_sole:
            self._serve()
        else:
            self._instances.probe()
            self._probe_until = self._clock.now() + PROBE_TIMEOUT_S
        self._rearm_timer()

    def _on_said_offline(self) -> None:
        """Say what this service is. A broker that ends, and a lost link, tell of its own will."""
        self._bridge.announce()
        now = self._clock.now()
        if now - self._connected_at > OWN_WILL_S and self._doubt_until is None:
            self._doubt_until = now + DOUBT_S
        self._rearm_timer()

    def _on_probed(self, other: str | None) -> None:
        """Take input, unless another service does already."""
        self._probe_until = None
        if self._leaving:
            return
        mqtt = self._service.config.mqtt
        if other is not None and not mqtt.takeover:
            self._leaving = True
            self._instances.leave()
            self._give_up(
                AnotherServiceError(
                    f"another service, instance {other}, is live on the base topic "
                    f"{mqtt.base_topic} of {self._address}; end it, give this one another "
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
        self._is_sole = True
        self._shares = other is not None
        if not self._shares:
            self._wire.take_over()
        self._client.subscribe(self._router.subscriptions)
        self._serve()

    def _serve(self) -> None:
        if not self._cleaned:
            self._clean_up_at = self._clock.now() + LEFTOVERS_WINDOW_S
        self._router.on_connected()
        self._rearm_timer()
        self._online.set()

    def _clean_up(self) -> None:
        if not self._client.connected:
            # Not all of it was read; the next connection begins anew.
            return
        self._cleaned = True
        wanted = set(self._router.subscriptions)
        self._client.unsubscribe(tuple(set(self._router.read_first) - wanted))
        if not self._shares:
            self._router.clean_up()
        self._rearm_timer()
