"""One connection to one NATS server: from the login to its end. It is never mended.

nats-py could reconnect by itself. It would keep what was to be sent meanwhile, and would close for
ever after some answers of a server. So each connection has a client of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.client import QuietClient, explained, quieten_nats
from stt_mqtt.fleet.identity import Identity

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
LOGIN_TIMEOUT_S = 15.0
"""Longest time for the connection, TLS and login together."""
REQUEST_TIMEOUT_S = 2.0
"""Longest time to wait for an answer of JetStream. A server answers in milliseconds."""
PING_INTERVAL_S = 1
"""Time between two pings."""
MAX_UNANSWERED_PINGS = 3
"""Most pings without an answer. At the next one, the connection is lost.

So a server that falls silent is noticed after 3 to 4 s: a command has 10 s by default
(`limits.max_queue_age_s`), of which another server and a worker still need some. A server or a
network may stand still for 3 s. If this process stands still, it pings only once in that time, and
reads the answers before it counts. A ping waits behind what is being sent: a network that takes
more than 3 s for `MAX_SENDING_BYTES` is too slow.
"""
MAX_PENDING_MESSAGES = 1024
MAX_PENDING_BYTES = 32 * 1024 * 1024
"""Most that waits in a subscription for the event loop. What comes then is dropped."""
MAX_SENDING_BYTES = 2 * 1024 * 1024
"""Bytes that wait for the socket before those who publish have to wait."""


Handler = Callable[[Msg], bytes | None]
"""Handles a message. What it returns is the answer; None: there is none."""


class NoAnswerError(FleetError):
    """A request had no answer in time."""


class NobodyAnswersError(NoAnswerError):
    """The server says that there is nobody for a request."""


class ApiError(FleetError):
    """JetStream refuses a request. `code`: its code of the error."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


@dataclass(frozen=True, slots=True)
class Server:
    """The name and version of the server, and the most bytes of a message with its headers."""

    address: str
    version: tuple[int, int]
    max_payload: int


class Link:
    """A connection after the login. `lost` is done when it has ended, and says why.

    `refused`: what the server last said that this process may not do.
    """

    def __init__(self, client: QuietClient, address: str) -> None:
        self.server = _server(client, address)
        self.lost = client.lost
        self._client = client

    @property
    def refused(self) -> str | None:
        """The right that this process turned out to lack, as the server says it."""
        return self._client.refused

    def inbox(self) -> str:
        """A subject for answers that nobody else has."""
        return self._client.new_inbox()

    async def subscribe(self, subject: str, handle: Handler) -> Subscription:
        """Have `handle` called with each message. Raises FleetError."""

        async def receive(message: Msg) -> None:
            try:
                answer = handle(message)
            except Exception:
                log.exception("a message of the fleet could not be handled, please report this")
                return
            if answer is not None and message.reply:
                with suppress(FleetError):
                    await self.publish(message.reply, answer)

        try:
            return await self._client.subscribe(
                subject,
                cb=receive,
                pending_msgs_limit=MAX_PENDING_MESSAGES,
                pending_bytes_limit=MAX_PENDING_BYTES,
            )
        except (errors.Error, OSError) as error:
            raise FleetError(f"subscribing failed: {error}") from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, at once and at the server."""
        with suppress(errors.Error, OSError):
            await subscription.unsubscribe()

    async def drain(self, subscription: Subscription) -> None:
        """End a subscription after what the server has already sent."""
        with suppress(errors.Error, OSError):
            await subscription.drain()  # type: ignore[no-untyped-call]

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send a message. Nobody says whether it arrived. Raises FleetError."""
        try:
            await self._client.publish(subject, data, reply, headers)
        except (errors.Error, OSError) as error:
            raise FleetError(f"publishing failed: {error}") from error

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        timeout_s: float = REQUEST_TIMEOUT_S,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Send a message and return its answer. Raises FleetError."""
        asking = asyncio.ensure_future(
            self._client.request(subject, data, timeout_s, headers=headers)
        )
        asking.add_done_callback(_take_exception)
        try:
            ends: tuple[asyncio.Future[Any], ...] = (asking, self.lost)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise FleetError(self.lost.result())
            return asking.result().data
        except errors.NoRespondersError:
            raise NobodyAnswersError(f"nobody answers on {self.server.address}") from None
        except errors.TimeoutError:
            raise NobodyAnswersError(
                f"no answer from {self.server.address} in {timeout_s:g} s"
            ) from None
        except (errors.Error, OSError) as error:
            raise FleetError(f"a request failed: {error}") from error
        finally:
            asking.cancel()

    async def api(self, subject: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream. `subject` comes after `$JS.API.`. Raises ApiError, FleetError."""
        data = b"" if fields is None else json.dumps(fields).encode()
        return answer_of(await self.request(f"$JS.API.{subject}", data))

    async def close(self, timeout_s: float) -> None:
        """Send what waits, and close. After that time, what still waits is dropped."""
        await self._client.close_within(timeout_s)


async def connect(url: str, identity: Identity, name: str, inbox_prefix: str) -> Link:
    """Connect to a server and log in. `name`: of this client.

    Raises FleetError, and RefusedError if the login is refused, whose messages have no secrets.
    """
    address = urlsplit(url).netloc
    client = QuietClient(address, identity)
    quieten_nats()
    try:
        async with asyncio.timeout(LOGIN_TIMEOUT_S):
            await client.connect(
                [url],
                name=name,
                inbox_prefix=inbox_prefix,
                tls=identity.tls,
                signature_cb=client.sign if identity.key is not None else None,
                user_jwt_cb=_jwt_of(identity),
                error_cb=client.note,
                closed_cb=client.end,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=MAX_UNANSWERED_PINGS,
                pending_size=MAX_SENDING_BYTES,
                # Without a bound: a ping that waits for room in it would notice nothing.
                flusher_queue_size=0,
                flush_timeout=REQUEST_TIMEOUT_S,
            )
        client.watch()
        return Link(client, address)
    except Exception as error:
        await client.close_within(REQUEST_TIMEOUT_S)
        cause = client.cause if isinstance(error, errors.NoServersError) else error
        raise explained(cause or error, address, identity) from error
    except asyncio.CancelledError:
        await client.close_within(REQUEST_TIMEOUT_S)
        raise


def answer_of(data: bytes) -> dict[str, Any]:
    """The answer of JetStream. Raises ApiError if it is a refusal, FleetError if it is none."""
    try:
        answer = json.loads(data)
        error = answer.get("error")
        if error is None:
            return dict(answer)
        raise ApiError(int(error.get("err_code", 0)), str(error["description"])[:200])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise FleetError("JetStream sent an answer that is none") from None


def _jwt_of(identity: Identity) -> Callable[[], bytearray] | None:
    jwt = identity.jwt
    return None if jwt is None else lambda: bytearray(jwt.encode())


def _server(client: QuietClient, address: str) -> Server:
    major, minor = (*str(client.greeting.get("version", "")).split("."), "", "")[:2]
    version = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
    return Server(address, version, client.max_payload)


def _take_exception(asking: asyncio.Future[Msg]) -> None:
    if not asking.cancelled():
        asking.exception()
