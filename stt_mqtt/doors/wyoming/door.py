"""The Wyoming door: listens, admits clients, and passes outcomes to their connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count

from wyoming.server import AsyncEventHandler

from stt_mqtt import __version__
from stt_mqtt.config import ListenAddress, Scheme, WyomingEndpointing
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.announce import Announcer, machine_id
from stt_mqtt.doors.wyoming.connection import RefusedConnection, ServerContext, WyomingConnection
from stt_mqtt.doors.wyoming.listeners import SocketListener, StdioListener
from stt_mqtt.doors.wyoming.messages import describe, encode
from stt_mqtt.doors.wyoming.reader import Bounds, PayloadBudget
from stt_mqtt.doors.wyoming.writer import Peer
from stt_mqtt.errors import OverloadedError, ShuttingDownError
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.rungs import RungStatus
from stt_mqtt.types import DeviceKey, Endpointing, Outcome, TurnEnd

DOOR = "wyoming"
PAUSE_S = 0.7
"""Silence after speech that ends an utterance, as in Home Assistant."""
NO_SPEECH_S = 8.0
"""Audio without any speech that ends an utterance."""


class WyomingDoor:
    """Serves Wyoming on all addresses of `wyoming.listen`. Runs on the event loop.

    `rearm_timer` is called after calls of the service, `stdio_ended` when the client on stdio has
    ended and all its answers are sent. The door can be opened before a model is loaded.
    """

    def __init__(
        self,
        service: SpeechService,
        rearm_timer: Callable[[], None],
        stdio_ended: Callable[[], None],
        bounds: Bounds | None = None,
    ) -> None:
        self._bounds = Bounds() if bounds is None else bounds
        self._service = service
        self._info: tuple[RungStatus, bytes] | None = None
        budget = PayloadBudget(self._bounds.large_payloads_bytes)
        self._context = ServerContext(
            service, rearm_timer, self._encoded_info, self._turn_end, self._bounds, budget
        )
        self._connections: dict[DeviceKey, WyomingConnection] = {}
        self._lingering: set[Peer] = set()
        """Refused clients that are waited for."""
        self._displaced: set[DeviceKey] = set()
        """Connections that made room for others and are waited for."""
        self._numbers = count(1)
        self._closing = False
        self._empty = asyncio.Event()
        """Set while no client is connected."""
        self._empty.set()
        self._announcer = Announcer(machine_id())
        self._listeners = [
            StdioListener(self.admit, stdio_ended)
            if address.scheme is Scheme.STDIO
            else SocketListener(address, self.admit, self._bounds, self._opened)
            for address in service.config.wyoming.addresses
        ]
        service.attach(DOOR, self, self)

    @property
    def connections(self) -> int:
        """Number of connected clients."""
        return len(self._connections)

    @property
    def clients(self) -> list[str]:
        """The names of the connected clients, one for each connection."""
        return sorted(key.name for key in self._connections)

    @property
    def problem(self) -> str | None:
        """Why it does not listen on all addresses, and what to do; None: it does."""
        problems = [listener.problem for listener in self._listeners if listener.problem]
        return "; ".join(problems) or None

    async def open(self) -> None:
        """Start to listen. An address that is not available is logged and retried."""
        for listener in self._listeners:
            await listener.open()

    async def close(self) -> None:
        """Send the last answers and close all connections. May be called twice."""
        self._closing = True
        await asyncio.gather(self._close_connections(), self._announcer.close())
        for listener in self._listeners:
            await listener.close()

    def admit(self, peer: Peer) -> AsyncEventHandler:
        """The handler of a new connection. If there are too many, it refuses the client."""
        if self._closing:
            error = ShuttingDownError("the service is stopping")
            return RefusedConnection(peer, self._bounds, error, self._lingering)
        most = self._bounds.connections
        if len(self._connections) >= most and not self._make_room(peer.name):
            self._service.metrics.drop(DropReason.TOO_MANY_CONNECTIONS)
            busy = OverloadedError(f"all {most} connections are busy")
            return RefusedConnection(peer, self._bounds, busy, self._lingering)
        key = DeviceKey(DOOR, peer.name, str(next(self._numbers)))
        connection = WyomingConnection(peer, key, self._context, self._forget)
        self._connections[key] = connection
        self._empty.clear()
        return connection

    def outcome(self, outcome: Outcome) -> None:
        """Pass an outcome to its connection, if it is still open."""
        connection = self._connections.get(outcome.key)
        if connection is not None:
            connection.answer(outcome)

    def partial(self, partial: Partial) -> None:
        """Pass a partial result to its connection, if it is still open."""
        connection = self._connections.get(partial.key)
        if connection is not None:
            connection.partial(partial)

    async def _close_connections(self) -> None:
        for connection in list(self._connections.values()):
            connection.finish()
        try:
            async with asyncio.timeout(self._bounds.close_s):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections.values()):
                connection.hang_up()
            await self._empty.wait()

    def _make_room(self, name: str) -> bool:
        """Close a connection to make room for a new one. Return False if none may be closed.

        It is the one that is idle for longest, else the newest of the address with the most. One
        that was idle for a moment only belongs to a client that is about to speak. It makes room
        only if its address has the most.
        """
        held = Counter([name, *(key.name for key in self._connections)])
        busiest, most = held.most_common(1)[0]
        before = asyncio.get_running_loop().time() - self._bounds.fresh_s
        idle = [
            (since, key)
            for key, connection in self._connections.items()
            if (since := connection.idle_since) is not None
            and (since <= before or held[key.name] == most)
        ]
        if idle:
            _, victim = min(idle)
        elif held[name] == most:
            return False
        else:
            victim = next(key for key in reversed(self._connections) if key.name == busiest)
        displaced = self._connections.pop(victim)
        if len(self._displaced) < self._bounds.refused:
            self._displaced.add(victim)
            most = self._bounds.connections
            displaced.send_away(OverloadedError(f"all {most} connections are wanted by others"))
        else:
            displaced.hang_up()
        return True

    def _forget(self, key: DeviceKey) -> None:
        self._connections.pop(key, None)
        self._displaced.discard(key)
        if not self._connections:
            self._empty.set()

    def _opened(self, address: ListenAddress) -> None:
        if self._service.config.wyoming.zeroconf and not self._closing:
            self._announcer.announce(address)

    @property
    def _ends_turns(self) -> bool:
        return self._service.config.wyoming.endpointing is WyomingEndpointing.SERVER

    def _turn_end(self, key: DeviceKey) -> TurnEnd:
        """How the utterances of a client end."""
        if not self._ends_turns:
            return TurnEnd(Endpointing.SILENCE)
        config = self._service.config.device(key.name)
        return TurnEnd(config.endpointing, PAUSE_S, NO_SPEECH_S)

    def _encoded_info(self) -> bytes:
        """The answer to `describe`. Cached until the state of the ladder changes."""
        status = self._service.rung_status
        if self._info is None or self._info[0] is not status:
            info = describe(
                status, self._service.languages, __version__, client_ends=not self._ends_turns
            )
            self._info = (status, encode(info.event()))
        return self._info[1]
