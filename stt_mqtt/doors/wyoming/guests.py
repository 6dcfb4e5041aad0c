"""Who is connected: bounded, and no address keeps the others out."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import count

from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler

from stt_mqtt.doors.wyoming.connection import ServerContext, WyomingConnection
from stt_mqtt.doors.wyoming.outgoing import Outgoing, Peer, encode
from stt_mqtt.errors import OverloadedError, ShuttingDownError, UtteranceError
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, Outcome

DOOR = "wyoming"

log = logging.getLogger(__name__)


class Connections:
    """All connections, whatever they came through."""

    def __init__(self, house: ServerContext) -> None:
        self._house = house
        self._connections: dict[DeviceKey, WyomingConnection] = {}
        self._numbers = count(1)
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, peer: Peer) -> AsyncEventHandler:
        """Who serves a newcomer; where there is no place, it is told so and sent away."""
        if self._closing:
            return _Refusal(peer, self._house, ShuttingDownError("the service is stopping"))
        most = self._house.bounds.connections
        if len(self._connections) >= most and not self._make_room(peer.name):
            self._house.service.metrics.drop(DropReason.TOO_MANY_CONNECTIONS)
            error = OverloadedError(f"all {most} connections are busy")
            return _Refusal(peer, self._house, error)
        key = DeviceKey(DOOR, peer.name, str(next(self._numbers)))
        connection = WyomingConnection(peer, key, self._house, self._forget)
        self._connections[key] = connection
        self._empty.clear()
        return connection

    def answer(self, outcome: Outcome) -> None:
        """Give an outcome to its connection, if that is still there."""
        connection = self._connections.get(outcome.key)
        if connection is not None:
            connection.answer(outcome)

    async def close(self) -> None:
        """Send everybody away, when they have read what is on its way."""
        self._closing = True
        for connection in list(self._connections.values()):
            connection.finish()
        try:
            async with asyncio.timeout(self._house.bounds.close_s):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections.values()):
                connection.hang_up()
            await self._empty.wait()

    def _make_room(self, name: str) -> bool:
        """Send somebody away for a newcomer: who is quiet, else who has more than his share."""
        quiet = [
            (since, key)
            for key, connection in self._connections.items()
            if (since := connection.quiet_since) is not None
        ]
        if quiet:
            _, key = min(quiet)
            self._connections.pop(key).hang_up()
            return True
        held = Counter(key.name for key in self._connections)
        hog, most = held.most_common(1)[0]
        if most <= held[name] + 1:
            return False
        newest = next(key for key in reversed(self._connections) if key.name == hog)
        error = OverloadedError(f"{most} connections of one address are busy, others want a place")
        self._connections.pop(newest).send_away(error)
        return True

    def _forget(self, key: DeviceKey) -> None:
        self._connections.pop(key, None)
        if not self._connections:
            self._empty.set()


class _Refusal(AsyncEventHandler):
    """Says why, and hangs up."""

    def __init__(self, peer: Peer, house: ServerContext, error: UtteranceError) -> None:
        super().__init__(peer.reader, peer.writer)
        self._out = Outgoing(peer, house.bounds)
        self._error = error

    async def run(self) -> None:
        self._out.send(encode(Error(self._error.detail, self._error.code).event()))
        self._out.close()

    async def handle_event(self, _event: Event) -> bool:
        return False
