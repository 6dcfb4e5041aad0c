from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from stt_mqtt.config import WebConfig
from stt_mqtt.doors.web.door import Bounds, Secrets, WebDoor
from stt_mqtt.doors.web.listener import Connection, ConnectionBounds, listening_socket
from tests.doors.native.peers import Wire
from tests.doors.web.parts import web_parts
from tests.doors.web.peers import Site, running
from tests.fuzz.web import BrowserTransport
from tests.virtual_time import run_in_virtual_time
from tools.brokers import free_port

REQUEST = b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE_S = 60.0


async def is_served(site: Site, address: str = "127.0.0.1") -> bool:
    """Whether a new connection from an address is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=(address, 0))
    writer.write(REQUEST)
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read(4) == b"HTTP"
        except ConnectionError:
            return False
        finally:
            writer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.1"])
def test_an_address_that_is_not_available_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            bounds = Bounds(ConnectionBounds(retry_s=0.01))
            site = Site(bounds=bounds, web={"host": host, "port": port, "ingress": True})
            await site.door.open()
        assert f"cannot be served on {host} port {port}" in caplog.text
        assert "choose another web.port" in caplog.text
        listening = asyncio.Event()

        def listen(config: WebConfig) -> socket.socket:
            listening.set()
            return socket.create_server(("127.0.0.1", config.port))

        # The address appears later, as that of a network that comes up.
        monkeypatch.setattr("stt_mqtt.doors.web.door.listening_socket", listen)
        async with asyncio.timeout(PATIENCE_S):
            await listening.wait()
        assert await is_served(site)
        await site.door.close()
        await site.door.close()

    with caplog.at_level(logging.INFO, logger="stt_mqtt"):
        asyncio.run(scenario())


def test_while_its_address_is_not_available_the_door_can_be_closed() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            site = Site(web={"port": other.getsockname()[1]})
            await site.door.open()
            await site.door.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_is_served_and_all_networks_include_ipv4(host: str) -> None:
    with listening_socket(WebConfig(host=host, port=free_port(), ingress=True)) as listening:
        port = listening.getsockname()[1]
        socket.create_connection(("::1", port), PATIENCE_S).close()
        if host == "::":
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()


def test_connections_over_the_limit_are_closed_and_another_address_still_gets_a_place() -> None:
    async def scenario() -> None:
        bounds = ConnectionBounds(connections=3, of_one_address=3)
        site = Site(bounds=Bounds(connections=bounds))
        async with running(site):
            held = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(3)]
            assert not await is_served(site)
            assert await is_served(site, "127.0.0.2")
            # It got the place of the newest one.
            assert await held[2][0].read() == b""
            for _, writer in held[:2]:
                writer.write(REQUEST)
            for reader, _ in held[:2]:
                assert await reader.read(4) == b"HTTP"
            for _, writer in held:
                writer.close()
            await until_served(site)

    asyncio.run(scenario())


async def until_served(site: Site) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await is_served(site):
            pass


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async def scenario() -> None:
        bounds = ConnectionBounds(
            connections=1, first_request_s=0.1, keep_alive_s=60, stuck_s=0.3, check_s=0.05
        )
        site = Site(bounds=Bounds(connections=bounds))
        async with running(site):
            greedy = socket.socket()
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            greedy.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(greedy, ("127.0.0.1", site.port))
            # Far more answers than the buffers of the system hold.
            request = REQUEST.replace(b"/login", b"/assets/login.css")
            await asyncio.wait_for(loop.sock_sendall(greedy, request * 20_000), None)
            await until_served(site)
            greedy.close()

    asyncio.run(scenario())


def test_pipelined_requests_behind_a_slow_answer_cost_no_memory() -> None:
    """What is not read stays in the buffers of the system, and the client has to wait."""
    header = b"X-%d: " + b"a" * 3000 + b"\r\n"
    request = REQUEST[:-2] + b"".join(header % number for number in range(20)) + b"\r\n"
    much = 48 * 1024 * 1024

    async def send_many(writer: asyncio.StreamWriter) -> None:
        for _ in range(much // len(request)):
            writer.write(request)
            await asyncio.wait_for(writer.drain(), 1.0)

    async def scenario() -> None:
        site = Site()
        async with running(site):
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(REQUEST.replace(b"/login", b"/events"))
            try:
                with pytest.raises(TimeoutError):
                    await send_many(writer)
            finally:
                writer.close()

    asyncio.run(scenario())


def test_when_the_system_refuses_a_connection_the_next_ones_are_still_accepted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        accept, refusals = loop.sock_accept, [OSError(24, "Too many open files")]

        async def refuse_once(listening: socket.socket) -> tuple[socket.socket, object]:
            if refusals:
                raise refusals.pop()
            return await accept(listening)

        monkeypatch.setattr(loop, "sock_accept", refuse_once)
        monkeypatch.setattr("stt_mqtt.doors.web.listener.ACCEPT_RETRY_S", 0.0)
        site = Site()
        async with running(site):
            assert await is_served(site)

    asyncio.run(scenario())
    assert "a connection was not accepted: Too many open files" in caplog.text


def test_closing_the_door_ends_connections_that_wait_and_may_be_repeated() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(REQUEST)
            assert await reader.read(4) == b"HTTP"
            await site.door.close()
            await reader.read()
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", site.port)

    asyncio.run(scenario())


def test_a_door_that_was_never_opened_can_be_closed() -> None:
    async def scenario() -> None:
        await Site().door.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(4))
def test_a_browser_that_leaves_while_the_door_closes_is_no_defect(
    caplog: pytest.LogCaptureFixture, steps: int
) -> None:
    async def scenario() -> None:
        door = WebDoor(web_parts(Wire()), Secrets("right"))
        await door._runner.setup()
        assert door._runner.server is not None
        browser = BrowserTransport(is_deaf=False)
        browser.connect(Connection(door._runner.server, ConnectionBounds()))
        browser.say(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\ntoken=x")
        for _ in range(steps):
            await asyncio.sleep(0)
        browser.close()
        await door.close()

    run_in_virtual_time(scenario())
    assert "Unhandled exception" not in caplog.text
