"""One address that Wyoming is spoken on: opened when it can be, tried again until then."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable

from wyoming.server import AsyncEventHandler, AsyncServer, AsyncTcpServer, AsyncUnixServer

from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.doors.wyoming.addresses import UNIX_PEER, peer_name, uri_of
from stt_mqtt.doors.wyoming.bounds import Bounds
from stt_mqtt.doors.wyoming.guests import Connections
from stt_mqtt.doors.wyoming.outgoing import Peer

log = logging.getLogger(__name__)


class WyomingListener:
    """Listens on an address of TCP or on a Unix socket. `opened` is told once it does."""

    def __init__(
        self,
        address: ListenAddress,
        guests: Connections,
        bounds: Bounds,
        opened: Callable[[ListenAddress], None],
    ) -> None:
        self._address = address
        self._guests = guests
        self._bounds = bounds
        self._opened = opened
        self._server: AsyncServer | None = None
        self._trying: asyncio.Task[None] | None = None
        self._told = ""

    async def open(self) -> None:
        """Listen, now or as soon as the address can be had; never fails."""
        if not await self._try():
            self._trying = asyncio.create_task(self._keep_trying())

    async def give_up(self) -> None:
        """Do not try any more where it could not listen yet."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait({self._trying})

    async def close(self) -> None:
        """Listen no more; who is connected is sent away with what is still to be read."""
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.retry_s)
            if await self._try():
                return

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(self._bounds.bind_s):
                self._server = await self._listen()
        except (OSError, UnicodeError) as error:
            self._tell(_reason(error))
            return False
        log.info("wyoming listens on %s", uri_of(self._address))
        self._opened(self._address)
        return True

    async def _listen(self) -> AsyncServer:
        address = self._address
        server: AsyncServer
        if address.scheme is Scheme.UNIX:
            await _clear(address.path)
            server = AsyncUnixServer(address.path)
        else:
            server = AsyncTcpServer(address.host, address.port)
        await server.start(self._greet)
        return server

    def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncEventHandler:
        if self._address.scheme is Scheme.UNIX:
            name = UNIX_PEER
        else:
            name = peer_name(writer.get_extra_info("peername"))
        return self._guests.admit(Peer(name, reader, writer, writer.transport.abort))

    def _tell(self, reason: str) -> None:
        level = logging.ERROR if reason != self._told else logging.DEBUG
        self._told = reason
        log.log(
            level,
            "wyoming cannot listen on %s: %s; free it, change wyoming.listen, or set "
            "wyoming.enabled: false (tried again every %g s)",
            uri_of(self._address),
            reason,
            self._bounds.retry_s,
        )


async def _clear(path: str) -> None:
    """Remove the socket of a program that is gone. Raises OSError where that is not what it is."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError("a file that is no socket is there")
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        os.unlink(path)
        return
    writer.close()
    raise FileExistsError("another program listens there")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
