"""Follows the names of Home Assistant, and keeps them on disk."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from stt_mqtt.errors import AccessRefusedError, ConfigError, HomeAssistantError
from stt_mqtt.names.answers import (
    Answers,
    attributes_in,
    devices_in,
    entries_in,
    exposed_entities,
    names_in,
)
from stt_mqtt.names.connection import HomeAssistantConnection, Timeouts, connect
from stt_mqtt.names.store import NamesStore
from stt_mqtt.phrases.names import NO_NAMES, HomeNames

EVENTS = (
    "entity_registry_updated",
    "area_registry_updated",
    "floor_registry_updated",
    "device_registry_updated",
)
"""Events after which names may differ. A changed exposure of a registered entity is the first."""
JITTER_SHARE = 0.25
"""Largest share of a delay that jitter subtracts."""
STEADY_S = 10.0
"""After a connection that lasted this long, the delays begin anew."""
REPEAT_LOG_S = 3600.0
RUNNING = "RUNNING"
CONNECTING, STARTING, STOPPING = "connecting", "starting", "stopping"
"""Reasons why the names may be old, beside those of errors."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """When what happens, in seconds."""

    settle_s: float = 2.0
    """From the first event to the question for the names: changes often come together."""
    refresh_s: float = 600.0
    """Time without an event after which the names are asked for anyway.

    Nothing tells that an entity outside the registry was exposed or hidden.
    """
    starting_s: float = 5.0
    """Time between two questions whether Home Assistant has started."""
    refused_s: float = 300.0
    """Delay of the next attempt after a refused token."""
    first_delay_s: float = 1.0
    """Delay of the next attempt after the first other failure. It doubles with each one."""
    longest_delay_s: float = 60.0
    timeouts: Timeouts = field(default_factory=Timeouts)

    def delay_after(self, failures: int, jitter: float) -> float:
        """Seconds until the next attempt, after so many failures. `jitter` is from 0 to 1."""
        delay_s: float = min(
            self.first_delay_s * 2.0 ** min(failures - 1, 16), self.longest_delay_s
        )
        return delay_s * (1.0 - JITTER_SHARE * jitter)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why following ended, for people and for programs. `needs_person`: waiting does not help."""

    sentence: str
    reason: str
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class NamesStatus:
    """How up to date the names are. `age_s`: since Home Assistant gave them; None: not yet.

    `waiting`: why there is no connection, a stable word. None: there is one.
    """

    waiting: str | None
    entities: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class HomeAssistantAccess:
    """How to reach Home Assistant.

    `url`: of the WebSocket. `token` is called for each attempt; it raises `ConfigError`. `tls`: the
    accepted certificates; None: those that the system trusts.
    """

    url: str
    token: Callable[[], str]
    tls: ssl.SSLContext | None = None


class NamesClient:
    """Calls `on_names` with the names of the home whenever they differ from the last ones.

    Calls `on_status` when `status.waiting` differs. Runs on the event loop. No name is ever logged.
    """

    def __init__(
        self,
        access: HomeAssistantAccess,
        store: NamesStore,
        on_names: Callable[[HomeNames], None],
        on_status: Callable[[], None],
        timing: Timing | None = None,
    ) -> None:
        self._access = access
        self._store = store
        self._on_names = on_names
        self._on_status = on_status
        self._timing = timing or Timing()
        self._names = NO_NAMES
        self._waiting: str | None = CONNECTING
        self._refreshed_at: float | None = None
        self._logged: tuple[str, float] | None = None
        self._dropped = 0

    @property
    def status(self) -> NamesStatus:
        """How up to date the names are."""
        age_s = None if self._refreshed_at is None else time.monotonic() - self._refreshed_at
        return NamesStatus(self._waiting, len(self._names.entities), age_s)

    def load(self) -> HomeNames:
        """The names of the last run. Call this before `run`; `on_names` is not called."""
        self._names = self._store.load() or NO_NAMES
        return self._names

    async def run(self) -> None:
        """Follow the names until cancelled. Does not raise."""
        now = asyncio.get_running_loop().time
        failures = 0
        connector = aiohttp.TCPConnector(ssl=self._access.tls or True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                started_at = now()
                needs_person = False
                try:
                    await self._follow(session)
                except Exception as error:
                    failure = _explained(error)
                    needs_person = failure.needs_person
                    self._log_failure(failure.sentence)
                    self._set_waiting(failure.reason)
                steady = now() - started_at >= STEADY_S
                failures = 1 if steady else failures + 1
                delay_s = self._timing.delay_after(failures, random.random())  # noqa: S311
                await asyncio.sleep(self._timing.refused_s if needs_person else delay_s)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        """Follow over one connection. Ends with an exception."""
        token = await asyncio.to_thread(self._access.token)
        async with connect(session, self._access.url, token, self._timing.timeouts) as connection:
            while await _state_of(connection) != RUNNING:
                # The registries may be incomplete, and names would vanish for a moment.
                self._set_waiting(STARTING)
                await connection.wait_for_change(self._timing.starting_s)
            for event in EVENTS:
                await connection.subscribe(event)
            while True:
                connection.changed.clear()
                await self._refresh(connection)
                await connection.wait_for_change(self._timing.refresh_s)
                await asyncio.sleep(self._timing.settle_s)

    async def _refresh(self, connection: HomeAssistantConnection) -> None:
        """Ask for everything, and take it if it differs."""
        ask = connection.request
        exposed = exposed_entities(await ask("homeassistant/expose_entity/list"))
        answers = Answers(
            entries_in(await ask("config/entity_registry/get_entries", entity_ids=exposed)),
            attributes_in(await ask("get_states"), exposed),
            devices_in(await ask("config/device_registry/list")),
            areas=await ask("config/area_registry/list"),
            floors=await ask("config/floor_registry/list"),
        )
        if await _state_of(connection) != RUNNING:
            raise HomeAssistantError("it stops", STOPPING)
        names, dropped = await asyncio.to_thread(names_in, answers, exposed)
        self._refreshed_at = time.monotonic()
        if self._waiting is not None:
            self._log_success(names)
        if dropped > self._dropped:
            log.warning("%d names of Home Assistant are left out: too many or too long", dropped)
        self._dropped = dropped
        if names != self._names:
            await asyncio.to_thread(self._store.save, names)
            self._names = names
            self._call(partial(self._on_names, names))
        self._set_waiting(None)

    def _set_waiting(self, reason: str | None) -> None:
        if reason != self._waiting:
            self._waiting = reason
            self._call(self._on_status)

    def _call(self, receiver: Callable[[], None]) -> None:
        try:
            receiver()
        except Exception as error:
            # Its text may hold names.
            log.error(  # noqa: TRY400
                "new names could not be used: %s, please report this", type(error).__name__
            )

    def _log_success(self, names: HomeNames) -> None:
        log.info(
            "Home Assistant at %s: %d entities, %d areas and %d floors have names",
            self._access.url,
            len(names.entities),
            len(names.areas),
            len(names.floors),
        )
        self._logged = None

    def _log_failure(self, reason: str) -> None:
        """Log a reason when it is new, then every hour."""
        now = time.monotonic()
        if self._logged is not None:
            logged, at = self._logged
            if reason == logged and now - at < REPEAT_LOG_S:
                return
        self._logged = (reason, now)
        log.warning("no names from Home Assistant at %s: %s", self._access.url, reason)


async def _state_of(connection: HomeAssistantConnection) -> object:
    """The state of Home Assistant, such as `STARTING` and `RUNNING`."""
    config = await connection.request("get_config")
    return config.get("state") if isinstance(config, dict) else None


def _explained(error: Exception) -> _Failure:
    if isinstance(error, HomeAssistantError):
        return _Failure(str(error), error.reason, isinstance(error, AccessRefusedError))
    if isinstance(error, ConfigError):
        return _Failure(str(error), "token_unreadable", needs_person=True)
    # The text of any other error may hold names.
    return _Failure(f"{type(error).__name__}, please report this", "defect")
