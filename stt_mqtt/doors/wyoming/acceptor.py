"""Accepts the clients of a listening server, also after the system lacked file descriptors."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from math import inf
from typing import TypeAlias

from wyoming.server import AsyncEventHandler

log = logging.getLogger(__name__)

BACKLOG = 100
"""Connections that wait in the system until they are accepted."""
ACCEPT_RETRY_S = 1.0
TELL_AGAIN_S = 60.0

Handle: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], AsyncEventHandler]


class Acceptor:
    """Accepts clients on the sockets of `server`, which must be bound and not serve by itself.

    Raises OSError, and closes the server, if the system has no file descriptor for it.

    The servers of asyncio try a hundred times at once where the system has no file descriptor left,
    and more often each second. This one tries once a second and says so once a minute.
    `handle` makes the handler of a client; `uri` is for the log.
    """

    def __init__(self, server: asyncio.Server, handle: Handle, uri: str) -> None:
        self._server = server
        self._handle = handle
        self._uri = uri
        self._handlers: dict[asyncio.Task[None], AsyncEventHandler] = {}
        self._told_at = -inf
        self._sockets: list[socket.socket] = []
        try:
            for one in server.sockets:
                listening = socket.socket(fileno=os.dup(one.fileno()))
                self._sockets.append(listening)
                listening.listen(BACKLOG)
                listening.setblocking(False)
        except OSError:
            self._stop_listening()
            raise
        self._accepting = {asyncio.create_task(self._accept(one)) for one in self._sockets}

    async def close(self) -> None:
        """Accept no more clients, and close the connections of those that are there."""
        for task in self._accepting:
            task.cancel()
        await asyncio.wait(self._accepting)
        self._stop_listening()
        for handler in list(self._handlers.values()):
            await handler.stop()

    def _stop_listening(self) -> None:
        for listening in self._sockets:
            listening.close()
        self._server.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                self._tell(error)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            await self._serve(accepted)
            # Otherwise a flood of connections would keep the others waiting.
            await asyncio.sleep(0)

    async def _serve(self, accepted: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader, self._connected)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
        except OSError:
            # The client has already gone.
            accepted.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = self._handle(reader, writer)
        task = asyncio.create_task(handler.run())
        self._handlers[task] = handler
        task.add_done_callback(self._handlers.pop)

    def _tell(self, error: OSError) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TELL_AGAIN_S:
            self._told_at = now
            log.error(
                "wyoming cannot accept clients on %s: %s; raise the limit of the service "
                "(LimitNOFILE, ulimit -n) (tried again every %g s)",
                self._uri,
                error.strerror or error,
                ACCEPT_RETRY_S,
            )
