"""One connection to the WebSocket API of Home Assistant.

Nothing of what Home Assistant sends gets into a log or an error, only the codes of its errors.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from stt_mqtt.errors import AccessRefusedError, HomeAssistantError, is_old_tls

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Largest message. The states of 5,000 entities have about 5 MB."""

_ADVICE = (
    "make a long-lived access token on the page of an administrator's profile, under Security, and "
    "put it into phrases.home_assistant.token_file"
)
_CODE = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest times to wait for Home Assistant, in seconds."""

    connect_s: float = 15.0
    """For the connection and the login together."""
    request_s: float = 60.0
    """For each answer. A small machine that starts is slow."""
    heartbeat_s: float = 30.0
    """Time between two pings. Without an answer in half of it, the connection is lost."""


class HomeAssistantConnection:
    """An open connection, after the login. `changed` is set by each event that was subscribed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, timeouts: Timeouts) -> None:
        self.changed = asyncio.Event()
        self._socket = socket
        self._timeouts = timeouts
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._lost: HomeAssistantError | None = None
        self._reader = asyncio.create_task(self._read())

    async def request(self, command: str, **fields: object) -> Any:
        """Send a command and return its result.

        Raises `HomeAssistantError`, or `AccessRefusedError` if the user may not do it.
        """
        if self._lost is not None:
            raise self._lost
        self._last_id += 1
        id = self._last_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            async with asyncio.timeout(self._timeouts.request_s):
                await self._socket.send_json({"id": id, "type": command, **fields})
                return await answer
        except TimeoutError:
            raise HomeAssistantError(f"it does not answer {command}", "no_answer") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _lost() from error
        finally:
            del self._waiting[id]

    async def subscribe(self, event: str) -> None:
        """Have `changed` set by each event of this type."""
        await self.request("subscribe_events", event_type=event)

    async def wait_for_change(self, at_most_s: float) -> None:
        """Wait until `changed` is set. Raises `HomeAssistantError` if the connection ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self.changed.wait()
        if self._lost is not None:
            raise self._lost

    async def close(self) -> None:
        """Close the connection."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        await self._socket.close()

    async def _read(self) -> None:
        try:
            while True:
                self._handle(await _receive(self._socket))
        except HomeAssistantError as error:
            self._lost = error
            self.changed.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(error)

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "event":
            self.changed.set()
        elif kind == "result":
            answer = self._waiting.get(_id(message))
            if answer is None or answer.done():
                return
            if message.get("success") is True:
                answer.set_result(message.get("result"))
            else:
                answer.set_exception(_error(message))


@asynccontextmanager
async def connect(
    session: aiohttp.ClientSession, url: str, token: str, timeouts: Timeouts
) -> AsyncIterator[HomeAssistantConnection]:
    """Connect to the WebSocket at `url` and log in.

    Raises `HomeAssistantError`, or `AccessRefusedError` if the token is refused.
    """
    try:
        async with asyncio.timeout(timeouts.connect_s):
            socket = await session.ws_connect(
                url,
                heartbeat=timeouts.heartbeat_s,
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            )
            try:
                await _log_in(socket, token)
            except BaseException:
                await socket.close()
                raise
    except TimeoutError:
        raise HomeAssistantError("it does not answer", "no_answer") from None
    except aiohttp.WSServerHandshakeError as error:
        if error.status in {401, 403}:
            raise AccessRefusedError(
                f"it answers with status {error.status}; it may have banned this address, see "
                "ip_bans.yaml in its configuration",
                "banned",
            ) from error
        raise HomeAssistantError(f"it answers with status {error.status}", "error") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise HomeAssistantError(
            f"its certificate is not accepted: {_certificate_reason(error)}; check "
            "phrases.home_assistant.ca_file, and that url has the name in the certificate",
            "certificate",
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = _network_reason(error)
        raise HomeAssistantError(f"it cannot be reached: {reason}", "unreachable") from error
    connection = HomeAssistantConnection(socket, timeouts)
    try:
        yield connection
    finally:
        await connection.close()


async def _log_in(socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
    greeting = await _receive(socket)
    if greeting.get("type") != "auth_required":
        raise _something_else("it does not speak the WebSocket API of Home Assistant")
    await socket.send_json({"type": "auth", "access_token": token})
    answer = await _receive(socket)
    if answer.get("type") == "auth_invalid":
        raise AccessRefusedError(f"it refuses the access token; {_ADVICE}", "token_refused")
    if answer.get("type") != "auth_ok":
        raise _something_else("it does not speak the WebSocket API of Home Assistant")


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next message. Raises `HomeAssistantError`."""
    message = await socket.receive()
    if message.type is aiohttp.WSMsgType.TEXT:
        try:
            value = json.loads(message.data)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        raise _something_else("it sends something else than JSON objects")
    if message.type is aiohttp.WSMsgType.BINARY:
        raise _something_else("it sends something else than JSON objects")
    if socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        raise HomeAssistantError(f"a message has more than {MAX_MESSAGE_BYTES} bytes", "error")
    raise _lost()


def _lost() -> HomeAssistantError:
    return HomeAssistantError("the connection was lost", "connection_lost")


def _something_else(what: str) -> HomeAssistantError:
    return HomeAssistantError(what, "not_home_assistant")


def _id(message: dict[str, Any]) -> int:
    id = message.get("id")
    return id if isinstance(id, int) else 0


def _error(message: dict[str, Any]) -> HomeAssistantError:
    error = message.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if code == "unauthorized":
        return AccessRefusedError(
            f"the user of the access token is not an administrator; {_ADVICE}", "no_administrator"
        )
    shown = code if isinstance(code, str) and _CODE.fullmatch(code) else "without a code"
    return HomeAssistantError(f"it answers with an error: {shown}", "error")


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return getattr(cause, "verify_message", None) or type(cause).__name__


def _network_reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if is_old_tls(error):
        return "it speaks only versions of TLS before 1.2"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or type(error).__name__
