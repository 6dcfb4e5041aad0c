"""This process as a gateway of a fleet. Without `fleet:` nothing of this is used."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stt_mqtt.config import AUTO, FleetConfig
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.ownership import OwnershipObserver
from stt_mqtt.core.service import SpeechService
from stt_mqtt.engine.tokenizer import token_counts
from stt_mqtt.errors import MissingExtraError, SttMqttError
from stt_mqtt.fleet.flight import JobConnection
from stt_mqtt.fleet.gateway import FleetPool, GatewayCallbacks
from stt_mqtt.fleet.members import Members, MembersCallbacks
from stt_mqtt.fleet.names import NamesLink, NamesTeller
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.rungs import Rung, RungStatus
from stt_mqtt.types import Verdict

if TYPE_CHECKING:
    from stt_mqtt.fleet.connection import FleetConnection

HANDOVER_S = 3.0
"""Longest time until other gateways have the devices of one that is stopped."""
LISTENING_S = 0.05
"""Time between two looks whether somebody still speaks."""
CLOSE_TIMEOUT_S = 3.0
"""Time for the end of the connection to the NATS servers."""
UNKNOWN = "fleet"
"""What stands for the model as long as no worker was heard."""
_MAX_NODE = 32
"""Longest name of a node, in characters."""


class Connection(JobConnection, NamesLink, Protocol):
    """The connection to the NATS servers. See `FleetConnection`."""

    async def open(self) -> None: ...  # noqa: D102

    async def close(self, timeout_s: float) -> None: ...  # noqa: D102

    async def say_gateway(self, data: bytes) -> None: ...  # noqa: D102

    async def leave_gateway(self) -> None: ...  # noqa: D102

    async def watch_gateways(  # noqa: D102
        self, handle: Callable[[str, bytes | None], None]
    ) -> None: ...


class SharedDoors(OwnershipObserver, Protocol):
    """The doors whose devices the gateways share."""

    def tell_gateways(self, payload: bytes, retain: bool) -> None:
        """Publish on the topic of the gateways."""


def node_of(config: FleetConfig, host: Callable[[], str] = socket.gethostname) -> str:
    """The name of this process in its fleet: configured, or made of the name of the host."""
    if config.node is not None:
        return config.node
    return re.sub("[^A-Za-z0-9_-]+", "-", host())[:_MAX_NODE].strip("-") or "node"


def connect(config: FleetConfig) -> FleetConnection:
    """The connection of this process, not yet opened.

    Raises `MissingExtraError` without nats-py.
    """
    try:
        from stt_mqtt.fleet.connection import FleetConnection
    except ImportError as error:
        if (error.name or "").startswith("stt_mqtt"):
            raise
        raise MissingExtraError(error.name, "fleet") from error
    return FleetConnection(config, node_of(config))


def members_of(
    config: FleetConfig | None, connection: Connection | None, clock: Clock
) -> Members | None:
    """The gateways of the fleet, and the share of this one. None: there is no fleet."""
    if config is None or connection is None:
        return None
    return Members(config.name, node_of(config), connection, clock)


def every_language() -> frozenset[str]:
    """Codes of the languages that some Whisper model understands."""
    return frozenset(token_counts())


def first_status() -> RungStatus:
    """The state of a gateway without a model before it has heard of a worker."""
    return RungStatus((Rung(UNKNOWN, UNKNOWN, 0, UNKNOWN),), AUTO, UNKNOWN, "no worker is there")


@dataclass(frozen=True, slots=True)
class ApplicationSide:
    """Callbacks of a `Gateway` into the application. `verdict` and `finished`: as for a `Pool`.

    `publish_info`: called after the state of the ladder or the languages changed. `rearm_timer`:
    called when the next deadline may have changed.
    """

    verdict: Callable[[int, int, Verdict], None]
    finished: Callable[[int], None]
    publish_info: Callable[[], None]
    rearm_timer: Callable[[], None]


class Gateway:
    """Has the fleet transcribe for a service. Runs on the event loop.

    Where this process has no model, the state of the ladder and the languages are those of the live
    workers, or of the last ones.
    """

    def __init__(
        self,
        connection: Connection,
        service: SpeechService,
        clock: Clock,
        callbacks: ApplicationSide,
        members: Members,
    ) -> None:
        config = service.config
        assert config.fleet is not None
        self._config: FleetConfig = config.fleet
        self._has_model = config.has_model
        self._node = node_of(config.fleet)
        self._connection = connection
        self._members = members
        self._service = service
        self._clock = clock
        self._application = callbacks
        to_pool = GatewayCallbacks(
            callbacks.verdict, callbacks.finished, self._changed, self._waiting
        )
        self._pool = FleetPool(connection, self._node, config, clock, to_pool)
        promised_wait_s = config.ladder.promised_wait_ms / 1000
        service.scheduler.attach_fleet(self._pool, promised_wait_s)
        self.names = NamesTeller(connection, clock.now)
        """Tells the workers the names of the home."""

    def share(self, doors: SharedDoors, stop_with_error: Callable[[SttMqttError], None]) -> None:
        """Share the devices of the doors with the other gateways.

        `stop_with_error`: called if another process has the name of this one.
        """
        rearm = self._application.rearm_timer
        self._members.observe(doors, MembersCallbacks(doors.tell_gateways, rearm, stop_with_error))

    async def open(self) -> None:
        """Begin to connect. Raises `ConfigError` if that can never succeed."""
        await self._pool.open()
        self._pool_is_ready, self._connection.on_ready = self._connection.on_ready, self._on_ready
        await self._members.open()
        await self._connection.hear_workers(self.names.heard)
        await self._connection.open()

    async def leave(self, timeout_s: float) -> None:
        """Hand the devices over to other gateways, and let what is open here end.

        Takes at most `timeout_s` besides `HANDOVER_S`. Returns at once if there is no other one.
        """
        if await self._members.leave(HANDOVER_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while any(  # noqa: ASYNC110 - no event tells that all doors are silent
                        device.listening for device in self._service.registry
                    ):
                        await asyncio.sleep(LISTENING_S)

    async def close(self) -> None:
        """Withdraw what has no result, and disconnect."""
        self.names.close()
        await self._pool.close()
        await self._members.close()
        await self._connection.close(CLOSE_TIMEOUT_S)

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        return self._pool.deadline

    def tick(self) -> None:
        """Do what is due."""
        self._pool.tick()

    @property
    def status(self) -> FleetStatus:
        """The fleet as this gateway sees it."""
        pool = self._pool
        return FleetStatus(
            name=self._config.name,
            gateway=self._node,
            connected=self._connection.connected,
            leads=self._members.leads,
            gateways=tuple(sorted({*self._members.gateways, self._node})),
            workers=pool.roster.workers,
            in_flight=pool.in_flight,
            late=pool.late,
            again=pool.again,
        )

    def _on_ready(self) -> None:
        self._pool_is_ready()
        self._members.reached()

    def _changed(self) -> None:
        self._service.scheduler.resize(self._pool.lanes, self._clock.now())
        if not self._has_model:
            self._follow_workers()
        self._application.rearm_timer()

    def _waiting(self) -> tuple[int, float]:
        queue = self._service.scheduler.queue
        return queue.jobs, queue.audio_s

    def _follow_workers(self) -> None:
        """Take over what the workers say of their models."""
        workers = self._pool.roster.workers
        before = self._service.rung_status
        models = sorted({worker.model for worker in workers if worker.model})
        rungs = tuple(Rung(model, model, 0, UNKNOWN) for model in models) or before.rungs
        slots = {rung.name: 0 for rung in rungs}
        for worker in workers:
            if worker.model:
                slots[worker.model] += worker.slots
        active = max(slots, key=lambda name: slots[name])
        reason = f"the workers choose: {', '.join(models)}" if models else self._pool.absence
        languages = self._languages()
        status = RungStatus(rungs, AUTO, active, reason)
        if (status, languages) != (before, self._service.languages):
            self._service.rung_status, self._service.languages = status, languages
            self._application.publish_info()

    def _languages(self) -> frozenset[str]:
        """What some worker understands. One that does not say so may understand everything."""
        spoken = [worker.languages for worker in self._pool.roster.workers if worker.slots]
        if not spoken:
            return self._service.languages
        return frozenset().union(*spoken) if all(spoken) else every_language()
