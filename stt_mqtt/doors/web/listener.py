"""Accepts the connections of the web door, and bounds their number and their patience."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler

from stt_mqtt.config import WebConfig
from stt_mqtt.core.background import hang_up
from stt_mqtt.doors.web.places import Places, address_of

log = logging.getLogger(__name__)

BACKLOG = 128
"""Connections that the system holds until they are accepted."""
ACCEPT_RETRY_S = 1.0
"""Pause after the system refused a new connection, mostly for want of file descriptors."""


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Bounds of connections. Times in seconds."""

    connections: int = 512
    """Most at once. Each costs about 10 kB."""
    of_one_address: int = 256
    """Most of one address. Behind a proxy all clients have the same one."""
    handshake_s: float = 10.0
    """Time for the TLS handshake."""
    first_request_s: float = 10.0
    """Time until the headers of the first request have arrived."""
    keep_alive_s: float = 20.0
    """Time between an answer and the headers of the next request."""
    stuck_s: float = 60.0
    """How long a client may leave data unread. Slow networks need some time for a large file."""
    check_s: float = 5.0
    """How often that is checked."""
    line_bytes: int = 4096
    """Longest request line, and longest header."""
    headers: int = 64
    """Most headers of a request."""
    retry_s: float = 30.0
    """Time between attempts to listen on an address that is not available."""


_NOT_OURS = (HttpProcessingError, ConnectionError, asyncio.InvalidStateError)


class Connection(web.RequestHandler):
    """One connection of a client. `lost` is set when it has ended."""

    def __init__(self, server: web.Server, bounds: ConnectionBounds) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=bounds.keep_alive_s,
            lingering_time=1.0,
            max_line_size=bounds.line_bytes,
            max_field_size=bounds.line_bytes,
            max_headers=bounds.headers,
            # A small body could unpack to a huge one.
            auto_decompress=False,
        )
        self.has_request = False
        self.lost = asyncio.Event()

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Log a defect. For a bad request or a lost connection, the client is to blame.

        aiohttp cancels its own future when a request is still being answered at the end, and then
        cannot set its result.
        """
        error = kwargs.get("exc_info")
        if not isinstance(error, _NOT_OURS):
            super().log_exception(*args, **kwargs)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""
        super().connection_lost(exc)
        self.lost.set()


@web.middleware
async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note that the headers of a request have arrived on this connection."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.has_request = True
    return await handler(request)


class WebListener:
    """Accepts connections on the address of the web door, and gives them to `server`.

    `tls`: the certificate for HTTPS; None: no encryption.
    """

    def __init__(
        self, listening: socket.socket, tls: ssl.SSLContext | None, bounds: ConnectionBounds
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._tls = tls
        self._bounds = bounds
        self._places = Places(bounds.connections, bounds.of_one_address)
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def open(self, server: web.Server) -> None:
        """Start to accept connections."""
        self._accepting = asyncio.create_task(self._accept_all(server))

    async def close(self) -> None:
        """Accept no more connections. Those that are open stay open."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        self._listening.close()

    async def hang_up(self) -> None:
        """Close all connections that are still open."""
        for task in list(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _accept_all(self, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peername = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("web: a connection was not accepted: %s", error.strerror)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            task = asyncio.create_task(self._serve(server, accepted, address_of(peername)))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            # Otherwise a flood of connections would keep the others waiting.
            await asyncio.sleep(0)

    async def _serve(self, server: web.Server, accepted: socket.socket, address: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not self._places.take(address, accepted, task.cancel):
            accepted.close()
            return
        try:
            await self._serve_admitted(server, accepted)
        finally:
            self._places.leave(accepted)

    async def _serve_admitted(self, server: web.Server, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, connection = await loop.connect_accepted_socket(
                lambda: Connection(server, self._bounds),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self._bounds.handshake_s,
            )
        except OSError:
            # The TLS handshake failed: a scanner, or a browser that does not trust the certificate.
            accepted.close()
            return
        try:
            await self._watch(connection, transport.get_write_buffer_size)
        finally:
            hang_up(transport)

    async def _watch(self, connection: Connection, unread_bytes: Callable[[], int]) -> None:
        """Wait until the connection ends. Return earlier if the client lets the service wait."""
        bounds = self._bounds
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(bounds.first_request_s):
                await connection.lost.wait()
        if not connection.has_request:
            return
        moving_at = loop.time()
        while not connection.lost.is_set():
            if not unread_bytes():
                moving_at = loop.time()
            elif loop.time() - moving_at > bounds.stuck_s:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(bounds.check_s):
                    await connection.lost.wait()


def listening_socket(config: WebConfig) -> socket.socket:
    """A socket that listens on the configured address. Raises OSError."""
    address = ip_address(config.host)
    return socket.create_server(
        (config.host, config.port),
        family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
        backlog=BACKLOG,
        dualstack_ipv6=address.version == 6 and address.is_unspecified,
    )
