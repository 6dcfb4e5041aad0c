"""Gateways and workers of a fleet on a real NATS server, as far as their connections go."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.delivery import Delivery, Pull
from stt_mqtt.fleet.wire import Job, decode_job
from stt_mqtt.nodes import Role
from stt_mqtt.types import DeviceKey, EncodedAudio, EndReason, Utterance
from tools.brokers import PATIENCE_S
from tools.nats_servers import NatsServer

_NAMES = itertools.count()


async def until(predicate: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not predicate():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def job(number: int, gateway: str = "hall", size: int = 1000, attempt: int = 1) -> Job:
    """A job with audio of `size` bytes."""
    audio = EncodedAudio(None, bytes([number % 256]) * size, decoded=True, ready=True)
    spoken = Utterance(
        key=DeviceKey("native", "kitchen"),
        id=f"u{number}",
        audio=audio,
        language=None,
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
        seconds=1.0,
    )
    return Job(gateway, number, attempt, 10.0, True, spoken)


class Peer:
    """A connection, and what it was told."""

    def __init__(self, config: FleetConfig, node: str, **options: Any) -> None:
        self.connection = FleetConnection(config, node, **options)
        self.events: list[str] = []
        self.came: list[Delivery] = []
        self.ended = 0
        self.connection.on_ready = lambda: self.events.append("ready")
        self.connection.on_lost = lambda: self.events.append("lost")

    async def ready(self, times: int = 1) -> None:
        await until(lambda: self.events.count("ready") >= times and self.connection.connected)

    async def failing(self, words: str) -> str:
        """The failure, as soon as it has these words."""
        await until(lambda: words in (self.connection.failure or ""))
        return self.connection.failure or ""

    async def pull(self, count: int = 1, priority: int = 0) -> Pull:
        return await self.connection.pull(count, priority, self.came.append, self._end)

    async def next(self) -> Delivery:
        """Pull a job, and wait for it."""
        number = len(self.came)
        await self.pull()
        return await self.delivery(number)

    async def delivery(self, number: int) -> Delivery:
        await until(lambda: len(self.came) > number)
        return self.came[number]

    @property
    def numbers(self) -> list[int]:
        """Of the jobs that came."""
        return [decode_job(one.data, 0.0).number for one in self.came]

    def _end(self) -> None:
        self.ended += 1


class Fleet:
    """Gateways and workers with a fleet name of their own."""

    def __init__(self, server: NatsServer, **config: Any) -> None:
        # The servers reserve what a fleet may store.
        self.config = {
            "max_stored_mib": 8,
            "name": f"fleet{next(_NAMES)}",
            "servers": (server.url,),
            **config,
        }
        self.peers: list[Peer] = []

    async def open(self, role: Role, node: str, **changes: Any) -> Peer:
        peer = Peer(FleetConfig.model_validate(self.config | changes | {"role": role}), node)
        self.peers.append(peer)
        await peer.connection.open()
        return peer

    async def gateway(self, node: str = "hall", **changes: Any) -> Peer:
        peer = await self.open(Role.GATEWAY, node, **changes)
        await peer.ready()
        return peer

    async def worker(self, node: str = "cellar", **changes: Any) -> Peer:
        peer = await self.open(Role.WORKER, node, **changes)
        await peer.ready()
        return peer


@asynccontextmanager
async def a_fleet(server: NatsServer, **config: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(server, **config)
    try:
        yield fleet
    finally:
        for peer in fleet.peers:
            await peer.connection.close(5.0)


@asynccontextmanager
async def an_operator(server: NatsServer) -> AsyncIterator[Client]:
    """A plain client that may do everything."""
    client = await nats.connect(server.url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


async def ask(client: Client, subject: str, fields: dict[str, object] | None = None) -> Any:
    """Ask JetStream."""
    data = b"" if fields is None else json.dumps(fields).encode()
    answer = await client.request(f"$JS.API.{subject}", data, timeout=PATIENCE_S)
    return json.loads(answer.data)
