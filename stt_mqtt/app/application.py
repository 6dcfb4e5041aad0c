"""The service as a whole: what it is made of, how it starts, reloads and stops."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from stt_mqtt.app.engine import Engine
from stt_mqtt.app.files import ConfigSource, resolve_password
from stt_mqtt.app.intake import Intake, IntakeHandlers
from stt_mqtt.app.ladder import LadderRunner
from stt_mqtt.app.loading import Start, load_ladder, shelf_of
from stt_mqtt.app.timer import DeadlineTimer
from stt_mqtt.config import BrokerMode, Changes, Config, compare, merge
from stt_mqtt.doors.embedded import EmbeddedBroker, reachable
from stt_mqtt.doors.mqtt.client import MqttClient
from stt_mqtt.doors.mqtt.messages import Inbound, Will
from stt_mqtt.doors.mqtt.options import ClientOptions
from stt_mqtt.doors.native.bridge import Bridge, BridgeContext
from stt_mqtt.doors.native.door import DOOR, NativeDoor
from stt_mqtt.doors.native.leftovers import Leftovers
from stt_mqtt.doors.native.topics import BridgeRequest, DeviceMessage, Topics
from stt_mqtt.engine.memory import give_back_freed_memory
from stt_mqtt.engine.pipeline import Verdict
from stt_mqtt.engine.pool import Delivery
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import ConfigError
from stt_mqtt.observe import logs
from stt_mqtt.observe.metrics import Dropped
from stt_mqtt.service.clock import SystemClock
from stt_mqtt.service.dispatch import Capacity
from stt_mqtt.service.line import Line
from stt_mqtt.service.rungs import EngineFacts
from stt_mqtt.types import DeviceKey

log = logging.getLogger(__name__)

LEFTOVERS_WINDOW_S = 2.0
"""How long after the first connection the broker is asked for what a previous run left."""
IDLE_BEFORE_TRIM_S = 20.0
"""How long the model rests before its working memory is given back to the system."""
GOODBYE_TIMEOUT_S = 3.0
POOL_CLOSE_TIMEOUT_S = 2.0


class Application:
    """Runs the service inside a running event loop, from loading the model to the goodbye."""

    def __init__(self, source: ConfigSource, config: Config) -> None:
        self._source = source
        self._config = config
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._trim: asyncio.TimerHandle | None = None
        self.failed = False
        """Whether the service ended itself because it could not go on."""
        self.online = asyncio.Event()
        """Set once the broker has been told that the service is there."""

    def request_stop(self) -> None:
        """Have `run` end the service in good order."""
        self._stop.set()

    async def run(self) -> bool:
        """Serve until `request_stop`; return whether every thread ended in time.

        Raises `ModelError`, `ConfigError` or `BrokerError` when the service cannot start.
        """
        config = self._config
        password = resolve_password(config.mqtt)
        start = await asyncio.to_thread(load_ladder, config)
        rung = config.rungs[start.index]
        voice = VoiceDetector.load()
        self._engine = Engine(config, rung, start.transcriber, start.languages, voice)
        if config.broker.mode is BrokerMode.EMBEDDED:
            await asyncio.to_thread(start_embedded, config, password)
        self._put_together(config, password, start)
        self._client.start()
        self._note_drained()
        tasks = [
            asyncio.create_task(self._publish_health()),
            asyncio.create_task(self._ladder.run()),
        ]
        try:
            await self._stop.wait()
            await self._shut_down()
        finally:
            for task in tasks:
                task.cancel()
            self._timer.cancel()
            await asyncio.to_thread(self._client.stop, GOODBYE_TIMEOUT_S)
            clean = await asyncio.to_thread(self._engine.close, POOL_CLOSE_TIMEOUT_S)
        log.info("stopped")
        return clean

    def reload(self) -> Changes:
        """Read the configuration again: all of it is taken, or a `ConfigError` and nothing."""
        if not self.online.is_set():
            raise ConfigError(["the service is not online yet, reload again when it is"])
        wanted = self._source.load()
        changes = compare(self._config, wanted)
        self._config = merge(self._config, wanted)
        logs.set_up(self._config.log)
        self._engine.reconfigure(self._config)
        self._line.reconfigure(self._config)
        self._door.introduce_configured()
        self._bridge.publish_info()
        self._timer.arm()
        log.info("configuration reloaded: %s", ", ".join(changes.applied) or "nothing changed")
        if changes.needs_restart:
            log.warning("a restart is needed for %s", ", ".join(changes.needs_restart))
        return changes

    def _put_together(self, config: Config, password: str | None, start: Start) -> None:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        shelf = shelf_of(config)
        workers = shelf.parallelism.workers
        pool = self._engine.start(workers, self._delivery_to(loop))
        self._ladder = LadderRunner(config, start, shelf, clock)
        capacity = Capacity(workers, shelf.largest_batch(self._engine.rung))
        facts = EngineFacts(start.languages, capacity, self._ladder.status)
        self._line = Line(config, facts, clock, pool)
        self._timer = DeadlineTimer(loop.call_at, lambda: self._line.deadline, self._tick)
        self._topics = Topics(config.mqtt.base_topic)
        self._intake = Intake(
            loop,
            IntakeHandlers(
                self._on_message,
                self._on_shed,
                self._on_connected,
                self._timer.arm,
            ),
        )
        self._client = MqttClient(self._client_options(config, password), self._intake)
        self._door = NativeDoor(self._line, self._topics, self._client.publish)
        context = BridgeContext(
            self._line, clock, self.reload, self._transport_drops, self._ladder.set_mode
        )
        self._bridge = Bridge(context, self._topics, self._client.publish)
        self._ladder.attach(self._engine, self._line, self._bridge.publish_info)
        self._leftovers = Leftovers()
        self._cleaned = False

    def _client_options(self, config: Config, password: str | None) -> ClientOptions:
        mqtt = reachable(config.mqtt, config.broker)
        return ClientOptions(
            config=mqtt,
            host=mqtt.host,
            port=mqtt.effective_port,
            will=Will(self._topics.of_bridge("state"), b"offline"),
            password=password,
            subscriptions=self._topics.subscriptions,
        )

    def _transport_drops(self) -> dict[str, int]:
        return {
            "inbox_full": self._intake.dropped,
            "undecodable_topic": self._client.undecodable_messages,
            "publications_lost": self._client.lost_publications,
        }

    # On the event loop ---------------------------------------------------------------------

    def _on_message(self, message: Inbound) -> None:
        route = self._topics.parse(message.topic)
        if isinstance(route, DeviceMessage):
            self._leftovers.note(route, message.retain, message.payload)
            self._door.handle(message, route)
        elif isinstance(route, BridgeRequest):
            self._bridge.handle(message, route)
        elif message.topic != self._topics.of_bridge("state"):
            self._line.metrics.drop(Dropped.BAD_TOPIC)

    def _on_shed(self, topic: str) -> None:
        route = self._topics.parse(topic)
        if isinstance(route, DeviceMessage):
            self._door.shed(route)

    def _on_connected(self) -> None:
        if self._stop.is_set():
            return
        if not self._cleaned:
            self._cleaned = True
            self._client.subscribe(self._topics.retained_output)
            asyncio.get_running_loop().call_later(LEFTOVERS_WINDOW_S, self._clean_leftovers)
        self._line.announce(DOOR)
        self._door.introduce_configured()
        self._bridge.announce()
        self.online.set()

    def _clean_leftovers(self) -> None:
        self._client.unsubscribe(self._topics.retained_output)
        known = {device.key.name for device in self._line.registry if device.key.door == DOOR}
        for name in self._leftovers.unknown(known):
            self._door.forget(DeviceKey(DOOR, name))

    def _delivery_to(self, loop: asyncio.AbstractEventLoop) -> Delivery:
        def verdict(batch: int, index: int, verdict: Verdict) -> None:
            # The loop may be closed by then: the utterance was answered `shutting_down`.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_verdict, batch, index, verdict)

        def finished(batch: int) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_finished, batch)

        return Delivery(verdict, finished)

    def _on_verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        self._line.delivered(batch, index, verdict)
        self._timer.arm()
        self._note_drained()

    def _on_finished(self, batch: int) -> None:
        self._line.batch_finished(batch)
        self._timer.arm()
        self._note_drained()

    def _tick(self) -> None:
        self._line.tick()
        self._note_drained()
        if self._line.dispatcher.hopeless and not self.failed:
            log.error("all inference threads hang: the service ends, to be started afresh")
            self.failed = True
            self.request_stop()

    def _note_drained(self) -> None:
        if not self._line.dispatcher.drained:
            return
        self._drained.set()
        if self._trim is not None:
            self._trim.cancel()
        loop = asyncio.get_running_loop()
        self._trim = loop.call_later(IDLE_BEFORE_TRIM_S, self._give_back_memory)

    def _give_back_memory(self) -> None:
        if self._line.dispatcher.drained:
            give_back_freed_memory()

    async def _publish_health(self) -> None:
        while True:
            await asyncio.sleep(self._config.service.health_interval_s)
            try:
                self._bridge.publish_health()
            except Exception:
                log.exception("the health message could not be made, please report this")

    async def _shut_down(self) -> None:
        grace_s = self._config.service.shutdown_grace_s
        log.info("stopping: what is still to be transcribed gets %g s", grace_s)
        self._line.shut_down()
        self._drained.clear()
        self._note_drained()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._drained.wait()
        self._intake.pump()
        self._line.abandon()
        self._bridge.say_goodbye()
        if not await asyncio.to_thread(self._client.flush, GOODBYE_TIMEOUT_S):
            log.warning("the broker did not take the last messages in time")


def start_embedded(config: Config, password: str | None) -> None:
    """Start the broker inside this process. Raises `BrokerError`."""
    username = config.mqtt.username
    login = None if username is None else (username, password or "")
    EmbeddedBroker(config.broker, login, config.mqtt.max_payload_kib * 1024).start()
    log.info("embedded broker listens on %s:%d", config.broker.listen, config.broker.port)
