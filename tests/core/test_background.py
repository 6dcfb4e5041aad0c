"""What nothing waits for."""

from __future__ import annotations

import asyncio
import socket

from stt_mqtt.core.background import hang_up

MUCH = 4_000_000
"""Bytes that no socket takes at once."""


async def _closed_with_a_rest(own: socket.socket) -> asyncio.StreamWriter:
    """A connection that was closed while something is yet to be sent."""
    _, writer = await asyncio.open_connection(sock=own)
    writer.write(bytes(MUCH))
    writer.transport.close()
    return writer


def test_a_connection_that_ended_after_it_had_sent_the_rest_can_be_hung_up() -> None:
    async def scenario() -> None:
        own, peer = socket.socketpair()
        with peer:
            peer.setblocking(False)
            writer = await _closed_with_a_rest(own)
            received = 0
            while received < MUCH:
                received += len(await asyncio.get_running_loop().sock_recv(peer, MUCH))
            await writer.wait_closed()
            hang_up(writer.transport)
            assert writer.transport.is_closing()

    asyncio.run(scenario())


def test_a_connection_whose_peer_reads_nothing_is_hung_up_at_once() -> None:
    async def scenario() -> None:
        own, peer = socket.socketpair()
        with peer:
            writer = await _closed_with_a_rest(own)
            hang_up(writer.transport)
            async with asyncio.timeout(10.0):
                await writer.wait_closed()

    asyncio.run(scenario())
