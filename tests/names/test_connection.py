from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from stt_mqtt.errors import AccessRefusedError, HomeAssistantError
from stt_mqtt.names import connection as module
from stt_mqtt.names.connection import Timeouts, connect
from tests.names.server import TOKEN, home_assistant

PATIENT = Timeouts(connect_s=30.0, request_s=30.0)
Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


async def attempt(url: str, timeouts: Timeouts = PATIENT, token: str = TOKEN) -> None:
    """Connect, log in and ask once."""
    async with (
        aiohttp.ClientSession() as session,
        connect(session, url, token, timeouts) as connection,
    ):
        await connection.request("get_config")


def error_of(handler: Handler, timeouts: Timeouts = PATIENT) -> HomeAssistantError:
    """What an attempt with a server of this behaviour raises."""

    async def websocket(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await handler(socket)
        return socket

    async def scenario() -> HomeAssistantError:
        application = web.Application()
        application.router.add_get("/", websocket)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        with pytest.raises(HomeAssistantError) as caught:
            await attempt(f"http://{host}:{port}/", timeouts)
        await runner.cleanup()
        return caught.value

    return asyncio.run(scenario())


async def logged_in(socket: web.WebSocketResponse) -> None:
    await socket.send_json({"type": "auth_required"})
    await socket.receive()
    await socket.send_json({"type": "auth_ok"})
    await socket.receive()


def test_an_answer_is_the_result_of_its_command() -> None:
    async def scenario() -> None:
        async with (
            home_assistant() as home,
            aiohttp.ClientSession() as session,
            connect(session, home.url, TOKEN, PATIENT) as connection,
        ):
            config, floors = await asyncio.gather(
                connection.request("get_config"),
                connection.request("config/floor_registry/list"),
            )
            assert (config["state"], len(floors)) == ("RUNNING", 2)

    asyncio.run(scenario())


def test_a_greeting_of_something_else_is_reported() -> None:
    async def other(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "hello"})
        await socket.receive()

    assert str(error_of(other)) == "it does not speak the WebSocket API of Home Assistant"


def test_an_unknown_answer_to_the_login_is_reported() -> None:
    async def other(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "auth_required"})
        await socket.receive()
        await socket.send_json({"type": "welcome"})
        await socket.receive()

    assert str(error_of(other)) == "it does not speak the WebSocket API of Home Assistant"


@pytest.mark.parametrize("status", [401, 403])
def test_a_banned_address_is_an_access_problem(status: int) -> None:
    async def scenario() -> None:
        async def banned(_: web.Request) -> web.Response:
            return web.Response(status=status)

        application = web.Application()
        application.router.add_get("/", banned)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        with pytest.raises(AccessRefusedError, match=r"may have banned this address"):
            await attempt(f"http://{host}:{port}/")
        await runner.cleanup()

    asyncio.run(scenario())


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    assert str(error_of(silent, Timeouts(connect_s=0.2))) == "it does not answer"


def test_a_closed_port_is_reported_in_words_of_the_system() -> None:
    with pytest.raises(HomeAssistantError, match=r"it cannot be reached: .*127\.0\.0\.1"):
        asyncio.run(attempt("http://127.0.0.1:1/"))


def test_an_unknown_host_is_reported() -> None:
    with pytest.raises(HomeAssistantError, match="it cannot be reached: "):
        asyncio.run(attempt("http://no-such-host.invalid/"))


def test_a_connection_without_an_answer_to_a_ping_is_lost() -> None:
    async def hanging(socket: web.WebSocketResponse) -> None:
        await logged_in(socket)
        while not socket.closed:
            await socket.receive()

    timeouts = Timeouts(connect_s=30.0, request_s=30.0, heartbeat_s=0.2)
    assert str(error_of(hanging, timeouts)) == "the connection was lost"


def test_binary_messages_are_not_taken() -> None:
    async def binary(socket: web.WebSocketResponse) -> None:
        await logged_in(socket)
        await socket.send_bytes(b"{}")
        await socket.receive()

    assert str(error_of(binary)) == "it sends something else than JSON objects"


def test_a_message_that_is_too_large_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 1000)

    async def large(socket: web.WebSocketResponse) -> None:
        await logged_in(socket)
        await socket.send_str("x" * 2000)
        await socket.receive()

    assert str(error_of(large)) == "a message has more than 1000 bytes"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ('{"code": "not_found", "message": "Kitchen"}', "not_found"),
        ('{"code": "Kitchen light"}', "without a code"),
        ('{"code": 5}', "without a code"),
        ('"Kitchen"', "without a code"),
        ("null", "without a code"),
    ],
)
def test_of_an_error_only_the_code_is_told(error: str, shown: str) -> None:
    async def failing(socket: web.WebSocketResponse) -> None:
        await logged_in(socket)
        await socket.send_str(f'{{"id": 1, "type": "result", "success": false, "error": {error}}}')
        await socket.receive()

    assert str(error_of(failing)) == f"it answers with an error: {shown}"


def test_a_lost_connection_ends_every_wait_and_every_later_question() -> None:
    async def scenario() -> None:
        async with home_assistant() as home, aiohttp.ClientSession() as session:
            home.silent = {"get_config", "get_states"}
            async with connect(session, home.url, TOKEN, PATIENT) as connection:
                waits = [
                    asyncio.create_task(connection.request("get_config")),
                    asyncio.create_task(connection.request("get_states")),
                    asyncio.create_task(connection.wait_for_change(30.0)),
                ]
                await asyncio.wait_for(home.commanded("get_states"), 30)
                await home.stop()
                ended = await asyncio.gather(*waits, return_exceptions=True)
                assert [str(error) for error in ended] == ["the connection was lost"] * 3
                with pytest.raises(HomeAssistantError, match="the connection was lost"):
                    await connection.request("get_config")

    asyncio.run(scenario())
