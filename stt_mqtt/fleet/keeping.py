"""Keeps a connection to one of the NATS servers of a fleet, and what the fleet has there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from random import SystemRandom
from typing import Any

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import ConfigError, FleetError
from stt_mqtt.fleet.client import RefusedError
from stt_mqtt.fleet.identity import read_identity
from stt_mqtt.fleet.link import REQUEST_TIMEOUT_S, Handler, Link, connect
from stt_mqtt.fleet.stores import Stores
from stt_mqtt.fleet.subjects import Subjects
from stt_mqtt.mqtt.reconnect import Cause, FailureLog
from stt_mqtt.nodes import Role

log = logging.getLogger(__name__)

DELAYS_S = (0.1, 0.5, 1.0, 2.0, 3.0)
"""Delays after rounds in which no server could be reached."""
REFUSED_DELAYS_S = (5.0, 10.0, 20.0, 30.0)
"""Delays after rounds in which a login was refused. It stays so until a person acts."""
JITTER_SHARE = 0.25
"""Largest share of a delay that jitter subtracts."""
SETUP_DELAY_S = 0.5
"""Time between two attempts to find or make what the fleet needs."""
CLOSE_S = 1.0
"""Longest time to close a connection that is lost."""
MAX_AGE_S = 60.0


def _ignore() -> None:
    """Nobody wants to know."""


class KeptConnection:
    """Connects for ever, one server after the other.

    It lives on the event loop. `node`: the name of this process. `max_age_s`: age at which the
    servers delete a job that nobody has finished, in seconds.
    """

    def __init__(
        self,
        config: FleetConfig,
        node: str,
        *,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self.on_ready: Callable[[], None] = _ignore
        """Called when all that the fleet needs is there, and again when it has been made anew."""
        self.on_lost: Callable[[], None] = _ignore
        """Called when the connection, or what the fleet needs, is lost."""
        self.failure: str | None = "not connected yet"
        """Why the fleet cannot be used, and what to do, without secrets. None: it can."""
        self._config = config
        self._node = node
        self._subjects = Subjects(config.name)
        self._max_age_s = max_age_s
        self._listeners: list[tuple[str, Handler]] = []
        self._link: Link | None = None
        self._stores: Stores | None = None
        self._doubt: asyncio.Future[None] | None = None
        """Done when something that the fleet needs turned out to be missing."""
        self._failures = FailureLog(None)
        self._jitter = SystemRandom()
        self._running: asyncio.Task[None] | None = None
        self._close_s = CLOSE_S

    @property
    def connected(self) -> bool:
        """Whether the fleet can be used: there is a connection, and what the fleet needs."""
        return self.failure is None

    async def open(self) -> None:
        """Begin to connect, in the background. Raises ConfigError if a key cannot be used."""
        read_identity(self._config)
        self._running = asyncio.create_task(self._run())

    async def close(self, timeout_s: float) -> None:
        """Send what waits, and close the connection.

        It takes at most `timeout_s`, and 2 s more during a login.
        """
        self._close_s = timeout_s
        if self._running is not None:
            self._running.cancel()
            # Not for ever: what nats-py awaits may lose a cancellation.
            await asyncio.wait({self._running}, timeout=timeout_s + REQUEST_TIMEOUT_S)
        self.failure = "closed"

    def _up(self) -> tuple[Link, Stores]:
        """The connection. Raises FleetError if the fleet cannot be used."""
        if self.failure is not None or self._link is None or self._stores is None:
            raise FleetError(self.failure or "not connected")
        return self._link, self._stores

    async def _listen(self, subject: str, handle: Handler) -> None:
        """Subscribe on each connection, also on the present one."""
        self._listeners.append((subject, handle))
        if self._link is not None:
            with suppress(FleetError):
                await self._link.subscribe(subject, handle)

    def _check(self) -> None:
        """Something that the fleet needs may be gone: look, and make it again."""
        if self._doubt is not None and not self._doubt.done():
            self._doubt.set_result(None)

    async def _prepare(self, stores: Stores) -> None:
        """What has to be done on a connection before `on_ready`. Raises FleetError."""

    def _dropped(self) -> None:
        """What ended together with the connection."""

    async def _run(self) -> None:
        servers = self._jitter.sample(self._config.servers, len(self._config.servers))
        failures = refusals = 0
        while True:
            causes = [await self._attempt(url) for url in servers]
            if Cause.LOST in causes:
                failures = refusals = 0
            if all(cause is Cause.CREDENTIALS for cause in causes):
                delay_s = REFUSED_DELAYS_S[min(refusals, len(REFUSED_DELAYS_S) - 1)]
                refusals += 1
            else:
                delay_s = DELAYS_S[min(failures, len(DELAYS_S) - 1)]
                failures += 1
            await asyncio.sleep(delay_s * (1.0 - JITTER_SHARE * self._jitter.random()))

    async def _attempt(self, url: str) -> Cause:
        """Connect to a server, and keep the connection to its end. Return why it ended."""
        try:
            link = await self._connect(url)
        except RefusedError as error:
            return self._failed(Cause.CREDENTIALS, str(error))
        except (FleetError, ConfigError) as error:
            return self._failed(Cause.UNREACHABLE, str(error))
        try:
            for subject, handle in self._listeners:
                await link.subscribe(subject, handle)
            self._link = link
            self._stores = Stores(link, self._config, self._max_age_s)
            ready_s = await self._keep(link, self._stores)
            cause = Cause.LOST if ready_s > 0 else Cause.UNREACHABLE
            return self._failed(cause, link.lost.result(), ready_s)
        except FleetError as error:
            return self._failed(Cause.UNREACHABLE, str(error))
        except Exception:
            log.exception("the connection to %s failed unexpectedly, please report this", url)
            return self._failed(Cause.UNREACHABLE, "internal error, see the log")
        finally:
            self._link = self._stores = None
            await link.close(self._close_s)

    async def _connect(self, url: str) -> Link:
        # Anew for each connection: a renewed certificate is used.
        identity = read_identity(self._config)
        name = f"stt-mqtt {self._config.role} {self._node}"
        connecting = asyncio.ensure_future(connect(url, identity, name, f"_INBOX_{self._node}"))
        try:
            # Not directly: before Python 3.12 what nats-py awaits may lose a cancellation.
            await asyncio.wait({connecting})
        except asyncio.CancelledError:
            connecting.cancel()
            await asyncio.wait({connecting})
            if not connecting.cancelled() and connecting.exception() is None:
                await connecting.result().close(self._close_s)
            raise
        return connecting.result()

    async def _keep(self, link: Link, stores: Stores) -> float:
        """Find or make what the fleet needs, until the connection is lost.

        Return for how many seconds it was there.
        """
        known = None
        ready_at: float | None = None
        find = stores.find if self._config.role is Role.WORKER else stores.make
        while not link.lost.done():
            self._doubt = asyncio.get_running_loop().create_future()
            try:
                made = await find()
                if made != known or self.failure is not None:
                    await self._prepare(stores)
                    known, self.failure = made, None
                    ready_at = ready_at or time.monotonic()
                    log.info("the fleet is ready on %s", link.server.address)
                    _call(self.on_ready)
            except FleetError as error:
                if not link.lost.done():
                    self._failed(Cause.UNREACHABLE, str(error))
            await asyncio.wait({link.lost}, timeout=SETUP_DELAY_S)
            if self.connected:
                ends: tuple[asyncio.Future[Any], ...] = (link.lost, self._doubt)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return 0.0 if ready_at is None else time.monotonic() - ready_at

    def _failed(self, cause: Cause, reason: str, lived_s: float = 0.0) -> Cause:
        """The fleet cannot be used: say so, and tell who uses it. Return the cause."""
        was_ready, self.failure = self.connected, reason
        message = self._failures.message_for(cause, reason, lived_s, time.monotonic())
        level = logging.ERROR if cause is Cause.CREDENTIALS else logging.WARNING
        log.log(logging.DEBUG if message is None else level, "fleet: %s", message or reason)
        if was_ready:
            self._dropped()
            _call(self.on_lost)
        return cause


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        log.exception(
            "a part of the fleet could not handle a change of its connection, please report this"
        )
