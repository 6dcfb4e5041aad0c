"""Wyoming with whoever started the program, over its standard input and output."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable

from stt_mqtt.doors.wyoming.addresses import STDIO_PEER
from stt_mqtt.doors.wyoming.guests import Connections
from stt_mqtt.doors.wyoming.outgoing import Peer

log = logging.getLogger(__name__)

STDIN, STDOUT = 0, 1


class Stdio:
    """Serves one client over two pipes. `ended` is told when it has said everything."""

    def __init__(
        self,
        guests: Connections,
        ended: Callable[[], None],
        pipes: tuple[int, int] = (STDIN, STDOUT),
    ) -> None:
        self._guests = guests
        self._ended = ended
        self._pipes = pipes
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Serve in the background; what cannot be served over is an error in the log."""
        if not all(_is_pipe(fd) for fd in self._pipes):
            log.error(
                "wyoming cannot speak over stdio: standard input and output have to be pipes, "
                "sockets or a terminal; take stdio:// out of wyoming.listen"
            )
            return
        peer = await _connect(*self._pipes)
        self._serving = asyncio.create_task(self._serve(peer))

    async def give_up(self) -> None:
        """Nothing: standard input is there or not."""

    async def close(self) -> None:
        """Wait for the end of a client that was sent away."""
        if self._serving is not None:
            await asyncio.wait({self._serving})

    async def _serve(self, peer: Peer) -> None:
        await self._guests.admit(peer).run()
        self._ended()


class _Pipe(asyncio.StreamReaderProtocol):
    """One direction. A pipe's transport must not be touched again once it is closed."""

    closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        super().connection_lost(exc)


async def _connect(input_fd: int, output_fd: int) -> Peer:
    """The two pipes as one client. They are duplicated, so the originals stay open."""
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
