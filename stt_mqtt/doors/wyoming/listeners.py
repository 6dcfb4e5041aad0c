"""The listeners of the Wyoming door: TCP ports, Unix sockets, and stdio."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from wyoming.server import AsyncEventHandler

from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.doors.wyoming.acceptor import Acceptor
from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.doors.wyoming.writer import Peer

log = logging.getLogger(__name__)

UNIX_PEER = "wyoming:unix"
STDIO_PEER = "wyoming:stdio"
UNKNOWN_PEER = "wyoming:unknown"
"""Name of a client without an address. No native device name has a colon."""
STDIN, STDOUT = 0, 1

_REMEDY = "free it, change wyoming.listen, or set wyoming.enabled: false"

Admit: TypeAlias = Callable[[Peer], AsyncEventHandler]


class SocketListener:
    """Listens on a TCP port or a Unix socket. `on_open` is called when it listens."""

    def __init__(
        self,
        address: ListenAddress,
        admit: Admit,
        bounds: Bounds,
        on_open: Callable[[ListenAddress], None],
    ) -> None:
        self._address = address
        self._admit = admit
        self._bounds = bounds
        self._on_open = on_open
        self._acceptor: Acceptor | None = None
        self._retrying: asyncio.Task[None] | None = None
        self._logged = ""

    @property
    def problem(self) -> str | None:
        """Why it does not listen, and what to do; None: it does, or has not tried yet."""
        if self._acceptor is not None or not self._logged:
            return None
        return f"cannot listen on {self._address.uri}: {self._logged}; {_REMEDY}"

    async def open(self) -> None:
        """Start to listen, now or as soon as the address is available. Does not raise."""
        if not await self._try():
            self._retrying = asyncio.create_task(self._retry())

    async def close(self) -> None:
        """Stop listening, and close open connections."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait({self._retrying})
        if self._acceptor is not None:
            await self._acceptor.close()
            self._acceptor = None
            if self._address.scheme is Scheme.UNIX:
                with suppress(FileNotFoundError):
                    os.unlink(self._address.path)

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.retry_s)
            if await self._try():
                return

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(self._bounds.bind_s):
                server = await self._bind()
            self._acceptor = Acceptor(server, self._handle, self._address.uri)
        except (OSError, UnicodeError) as error:
            self._log_failure(_reason(error))
            return False
        log.info("wyoming listens on %s", self._address.uri)
        self._on_open(self._address)
        return True

    async def _bind(self) -> asyncio.Server:
        loop, address = asyncio.get_running_loop(), self._address
        # Only its sockets are used.
        protocol = asyncio.Protocol
        if address.scheme is not Scheme.UNIX:
            return await loop.create_server(
                protocol, address.host, address.port, start_serving=False
            )
        await _remove_dead_socket(address.path)
        return await loop.create_unix_server(protocol, address.path, start_serving=False)

    def _handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncEventHandler:
        if self._address.scheme is Scheme.UNIX:
            name = UNIX_PEER
        else:
            name = peer_name(writer.get_extra_info("peername"))
        return self._admit(Peer(name, reader, writer, writer.transport.abort))

    def _log_failure(self, reason: str) -> None:
        level = logging.ERROR if reason != self._logged else logging.DEBUG
        self._logged = reason
        log.log(
            level,
            "wyoming cannot listen on %s: %s; %s (tried again every %g s)",
            self._address.uri,
            reason,
            _REMEDY,
            self._bounds.retry_s,
        )


def peer_name(peername: object) -> str:
    """The device name of a TCP client: its IP address. A mapped IPv6 address becomes IPv4.

    `peername`: as the socket gives it; None or empty if the client has already disconnected.
    """
    if not isinstance(peername, tuple) or not peername:
        return UNKNOWN_PEER
    host = str(peername[0]).partition("%")[0]
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return host


async def _remove_dead_socket(path: str) -> None:
    """Remove a socket file that no program listens on. Raises OSError for any other file."""
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


class StdioListener:
    """Serves the parent process over the pipes of stdin and stdout.

    `on_end` is called when the input has ended and all answers are sent.
    """

    def __init__(
        self,
        admit: Admit,
        on_end: Callable[[], None],
        pipes: tuple[int, int] = (STDIN, STDOUT),
    ) -> None:
        self._admit = admit
        self._on_end = on_end
        self._pipes = pipes
        self._serving: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why it does not serve, and what to do; None: it does, or has not tried yet."""

    async def open(self) -> None:
        """Start to serve in the background. Logs an error if that is not possible."""
        if not all(_is_pipe(fd) for fd in self._pipes):
            self.problem = (
                "cannot speak over stdio: standard input and output have to be pipes, "
                "sockets or a terminal; take stdio:// out of wyoming.listen"
            )
            log.error("wyoming %s", self.problem)
            return
        peer = await _connect(*self._pipes)
        self._serving = asyncio.create_task(self._serve(peer))

    async def close(self) -> None:
        """Wait until the client is closed."""
        if self._serving is not None:
            await asyncio.wait({self._serving})

    async def _serve(self, peer: Peer) -> None:
        await self._admit(peer).run()
        self._on_end()


class _Pipe(asyncio.StreamReaderProtocol):
    """One direction. The transport of a pipe must not be used after it is closed."""

    closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        super().connection_lost(exc)


async def _connect(input_fd: int, output_fd: int) -> Peer:
    """Join two pipes to one client. The file descriptors are duplicated."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    source = os.fdopen(os.dup(input_fd), "rb", buffering=0)
    sink = os.fdopen(os.dup(output_fd), "wb", buffering=0)
    incoming, read_protocol = await loop.connect_read_pipe(lambda: _Pipe(reader), source)
    outgoing, write_protocol = await loop.connect_write_pipe(
        lambda: _Pipe(asyncio.StreamReader()), sink
    )

    def hang_up() -> None:
        if not read_protocol.closed:
            incoming.close()
        if not write_protocol.closed:
            outgoing.abort()

    writer = asyncio.StreamWriter(outgoing, write_protocol, None, loop)
    return Peer(STDIO_PEER, reader, writer, hang_up, finishes=True)


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
