"""A connection whose server stands still, stops reading or dies, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stt_mqtt.fleet.identity import Identity
from stt_mqtt.fleet.link import MAX_SENDING_BYTES, Link, connect
from tests.virtual_time import run_in_virtual_time

WRITE_BUFFER_BYTES = 64 * 1024
"""Bytes in a socket from which on who sends has to wait, as in asyncio."""
PIECE_BYTES = MAX_SENDING_BYTES // 2 - 50
HANGS_S = 60.0
"""Virtual time after which something hangs."""


class Wire(asyncio.Transport):
    """The socket of a client, and a server behind it that answers pings."""

    def __init__(self, protocol: asyncio.StreamReaderProtocol) -> None:
        super().__init__()
        self.read = bytearray()
        """What the server has read."""
        self.closed = False
        self._protocol = protocol
        self._unread = bytearray()
        self._stands_still = False
        self._is_full = False
        self._closing = False

    def stand_still(self) -> None:
        """The server reads nothing any more. It agrees to no end either."""
        self._stands_still = True

    def go_on(self) -> None:
        self._stands_still = False
        if self._is_full:
            self._is_full = False
            self._protocol.resume_writing()
        data, self._unread = bytes(self._unread), bytearray()
        self.write(data)

    def say(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._protocol.data_received, data)

    def end(self) -> None:
        """The server ends its half."""
        self._protocol.eof_received()

    def reset(self) -> None:
        """The server is killed with bytes that it has not read."""
        self._lose(ConnectionResetError("reset by peer"))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed or self._closing:
            return
        if self._stands_still:
            self._unread += data
            if len(self._unread) > WRITE_BUFFER_BYTES and not self._is_full:
                self._is_full = True
                self._protocol.pause_writing()
            return
        self.read += data
        for _ in range(bytes(data).count(b"PING\r\n")):
            self.say(b"PONG\r\n")

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        if not self._stands_still:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)


Scenario = Callable[[Link, Wire], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Play a scenario with a connection after its login."""
    wires: list[Wire] = []

    async def open_connection(
        limit: int, **_: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(limit)
        protocol = asyncio.StreamReaderProtocol(reader)
        wires.append(Wire(protocol))
        protocol.connection_made(wires[0])
        wires[0].say(b'INFO {"version":"2.12.0","max_payload":1048576,"headers":true}\r\n')
        writer = asyncio.StreamWriter(wires[0], protocol, reader, asyncio.get_running_loop())
        return reader, writer

    async def play(scenario: Scenario) -> None:
        link = await connect("nats://server:4222", Identity(), "hall", "_INBOX_hall")
        try:
            async with asyncio.timeout(HANGS_S):
                await scenario(link, wires[0])
        finally:
            wires[0].abort()
            await link.close(1.0)

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    return lambda scenario: run_in_virtual_time(play(scenario))


def now() -> float:
    return asyncio.get_running_loop().time()


async def until_lost(link: Link) -> str:
    """Why the connection was lost. Nothing of it goes on."""
    await asyncio.wait({link.lost})
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == 1
    return link.lost.result()


async def send_more_than_it_takes(link: Link, wire: Wire) -> None:
    """A job is half sent, and another message waits behind it."""
    wire.stand_still()
    await link.publish("stt.home.job", bytes(150_000))
    await asyncio.sleep(0.1)
    await link.publish("stt.home.worker.cellar", b"alive")


async def fill(link: Link, wire: Wire) -> None:
    """After this, who publishes has to wait."""
    wire.stand_still()
    for _ in range(3):
        await link.publish("stt.home.job", bytes(PIECE_BYTES))
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("after_ping_s", [0.01, 0.5, 0.99])
def test_a_server_that_falls_silent_is_noticed_after_three_to_four_seconds(
    run: Run, after_ping_s: float
) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await asyncio.sleep(20 + after_ping_s)
        wire.stand_still()
        silent_since = now()
        await asyncio.wait({link.lost})
        assert 3.0 < now() - silent_since < 4.0
        assert await until_lost(link) == "the connection to server:4222 was lost: stale connection"
        assert wire.closed

    run(scenario)


@pytest.mark.parametrize("after_ping_s", [0.01, 0.5, 0.99])
def test_a_server_that_stands_still_for_three_seconds_keeps_its_connections(
    run: Run, after_ping_s: float
) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await asyncio.sleep(after_ping_s)
        for _ in range(3):
            wire.stand_still()
            await asyncio.sleep(3.0)
            wire.go_on()
            await asyncio.sleep(1.0)
        assert not link.lost.done()

    run(scenario)


@pytest.mark.parametrize(
    "event",
    [
        lambda _: None,
        Wire.reset,
        Wire.end,
        lambda wire: wire.say(b"-ERR 'Slow Consumer'\r\n"),
        lambda wire: wire.say(b"-ERR 'Stale Connection'\r\n"),
        lambda wire: wire.say(b"nonsense\r\n"),
        lambda wire: wire.say(b"INFO {nonsense\r\n"),
    ],
    ids=["silence", "reset", "end", "refusal", "stale", "no command", "no JSON"],
)
def test_a_connection_is_lost_although_the_server_has_not_taken_what_was_sent(
    run: Run, event: Callable[[Wire], None]
) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await send_more_than_it_takes(link, wire)
        event(wire)
        await until_lost(link)
        assert wire.closed

    run(scenario)


def test_a_server_that_dies_while_it_is_taken_for_silent_is_lost_all_the_same(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await send_more_than_it_takes(link, wire)
        await asyncio.sleep(5)
        wire.reset()
        await until_lost(link)

    run(scenario)


def test_a_request_ends_with_the_connection_although_it_was_not_sent(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await send_more_than_it_takes(link, wire)
        asking = asyncio.create_task(link.request("stt.home.job", timeout_s=50.0))
        await asyncio.sleep(0.1)
        wire.end()
        await asyncio.wait({asking})
        assert "was lost" in str(asking.exception())
        assert now() < 1.0

    run(scenario)


def test_a_silent_server_is_noticed_however_many_wait_to_send(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await fill(link, wire)
        messages = [link.publish("stt.home.job", bytes(100)) for _ in range(1100)]
        sending = [asyncio.create_task(message) for message in messages]
        await asyncio.wait({link.lost})
        await asyncio.wait(sending)
        await until_lost(link)

    run(scenario)


def test_a_connection_that_is_closed_sends_what_waits(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await link.publish("stt.home.job", b"the last word")
        await link.close(1.0)
        assert b"the last word" in wire.read
        assert wire.closed
        await until_lost(link)

    run(scenario)


def test_a_connection_can_be_closed_although_the_server_takes_nothing(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await send_more_than_it_takes(link, wire)
        began = now()
        await link.close(1.0)
        assert now() - began <= 1.0
        assert wire.closed
        await until_lost(link)

    run(scenario)


def test_who_waits_until_the_server_takes_more_can_be_cancelled(run: Run) -> None:
    async def scenario(link: Link, wire: Wire) -> None:
        await fill(link, wire)
        sending = asyncio.create_task(link.publish("stt.home.job", bytes(100)))
        await asyncio.sleep(0.1)
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await link.publish("stt.home.job", bytes(100))

    run(scenario)
