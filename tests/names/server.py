"""A small Home Assistant: its WebSocket API as far as the names need it.

The answers in `data` are those of Home Assistant 2026.2.3, shortened. The form of the messages
follows its `components/websocket_api`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from tools.brokers import Certificates

DATA = Path(__file__).parent / "data"
TOKEN = "a-long-lived-token"
VERSION = "2026.2.3"
COMMANDS = {
    "get_config": "config",
    "get_states": "states",
    "homeassistant/expose_entity/list": "exposed",
    "config/area_registry/list": "areas",
    "config/floor_registry/list": "floors",
    "config/device_registry/list": "devices",
}


def recorded(name: str) -> Any:
    """A result that a real Home Assistant gave."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


class FakeHomeAssistant:
    """Answers from its attributes, which tests change, on a port that stays the same."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.token = TOKEN
        self.is_admin = True
        self.config: Any = recorded("get_config")
        self.states: Any = recorded("states")
        self.exposed: Any = recorded("exposed")
        self.areas: Any = recorded("areas")
        self.floors: Any = recorded("floors")
        self.devices: Any = recorded("devices")
        self.entries: Any = recorded("entries")
        self.raw: dict[str, str] = {}
        """Text that is sent in place of the answer to a command."""
        self.silent: set[str] = set()
        """Commands that are never answered."""
        self.logins = 0
        self.refusals = 0
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        """Every command, as it came."""
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._subscribers: dict[web.WebSocketResponse, dict[int, str]] = {}

    @property
    def url(self) -> str:
        return f"{self.address}/api/websocket"

    @property
    def address(self) -> str:
        """The address that a browser needs."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/api/websocket", self._websocket)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls
        )
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        for socket in list(self._subscribers):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def fire(self, event: str, data: Any = None) -> None:
        """Send an event to those who subscribed to it."""
        for socket, subscriptions in self._subscribers.items():
            for id, wanted in subscriptions.items():
                if wanted == event:
                    fired = {"event_type": event, "data": data or {}, "origin": "LOCAL"}
                    await socket.send_json({"id": id, "type": "event", "event": fired})

    async def commanded(self, command: str) -> None:
        """Wait until the command has come."""
        while await self.asked.get() != command:
            pass

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "auth_required", "ha_version": VERSION})
        login = json.loads(await socket.receive_str())
        if login != {"type": "auth", "access_token": self.token}:
            self.refusals += 1
            message = "Invalid access token or password"
            await socket.send_json({"type": "auth_invalid", "message": message})
            await socket.close()
            return socket
        self.logins += 1
        await socket.send_json({"type": "auth_ok", "ha_version": VERSION})
        self._subscribers[socket] = {}
        try:
            while (received := await socket.receive()).type is WSMsgType.TEXT:
                await self._command(socket, json.loads(received.data))
        finally:
            del self._subscribers[socket]
        return socket

    async def _command(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        command = message["type"]
        self.asked.put_nowait(command)
        if command in self.silent:
            return
        if command in self.raw:
            with suppress(ConnectionError):
                await socket.send_str(self.raw[command])
            return
        answer: dict[str, Any] = {"id": message["id"], "type": "result", "success": True}
        if command == "subscribe_events":
            self._subscribers[socket][message["id"]] = message["event_type"]
            answer["result"] = None
        elif command == "config/entity_registry/get_entries":
            answer["result"] = {id: self.entries.get(id) for id in message["entity_ids"]}
        elif command == "homeassistant/expose_entity/list" and not self.is_admin:
            error = {"code": "unauthorized", "message": "Unauthorized"}
            answer |= {"success": False, "error": error}
        elif command in COMMANDS:
            answer["result"] = deepcopy(getattr(self, COMMANDS[command]))
        else:
            error = {"code": "unknown_command", "message": "Unknown command."}
            answer |= {"success": False, "error": error}
        await socket.send_json(answer)


@asynccontextmanager
async def home_assistant(
    certificates: Certificates | None = None,
) -> AsyncIterator[FakeHomeAssistant]:
    """A running Home Assistant, with TLS if there are certificates."""
    tls = None
    if certificates is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates.server, certificates.server_key)
    home = FakeHomeAssistant(tls)
    await home.start()
    try:
        yield home
    finally:
        await home.stop()
