"""The names of the home on their way from the gateways to the phrase books of the workers.

They are told when they change and when a worker comes, as compressed JSON in one message. The
servers do not keep them.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.roster import Roster
from stt_mqtt.fleet.wire import WireError, decode_worker
from stt_mqtt.phrases.names import NO_NAMES, HomeNames, merged, names_from_json

log = logging.getLogger(__name__)

MAX_NAMES_BYTES = 512 * 1024
"""Largest message with names: half of what a NATS server allows unless it is configured."""
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_GATEWAYS = 64
"""Gateways whose names are known."""
TOGETHER_S = 0.2
"""Time in which several reasons to tell the names lead to one message."""


class NamesLink(Protocol):
    """The connection, for names."""

    async def say_names(self, data: bytes) -> None:
        """Tell all workers the names of this gateway. Raises `FleetError`."""


def encode_names(names: HomeNames) -> bytes:
    """The names as a message."""
    return zlib.compress(names.to_json())


def decode_names(data: bytes) -> HomeNames:
    """The names in a message. Raises WireError."""
    if len(data) > MAX_NAMES_BYTES:
        raise WireError(f"more than {MAX_NAMES_BYTES} bytes of names")
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(data, MAX_JSON_BYTES)
        if not unpacking.eof:
            raise WireError("the names are cut off or too long")
        return names_from_json(text)
    except zlib.error:
        raise WireError("the names are not compressed") from None
    except ValueError as error:
        raise WireError(str(error)) from None


class NamesTeller:
    """Tells workers the names that a gateway knows. `now`: monotonic seconds.

    Call `heard` with each heartbeat of a worker. Without workers or names it says nothing.
    """

    def __init__(self, link: NamesLink, now: Callable[[], float]) -> None:
        self._link = link
        self._now = now
        self._names = NO_NAMES
        self._untold = False
        """Whether a live worker may not know the names."""
        self._workers = Roster()
        self._telling: asyncio.Task[None] | None = None

    def set(self, names: HomeNames) -> None:
        """These are the names from now on."""
        if names != self._names:
            self._names, self._untold = names, True
            self._tell()

    def heard(self, data: bytes) -> None:
        """A worker told of itself."""
        with suppress(WireError):
            worker, now = decode_worker(data), self._now()
            self._workers.expire(now)
            known = {one.worker for one in self._workers.workers}
            self._workers.heard(worker, now)
            self._untold |= worker.worker not in known and self._names != NO_NAMES
            self._tell()

    def close(self) -> None:
        """Tell nothing any more."""
        if self._telling is not None:
            self._telling.cancel()

    def _tell(self) -> None:
        idle = self._telling is None or self._telling.done()
        if idle and self._untold and self._workers.workers:
            self._telling = asyncio.create_task(self._say())

    async def _say(self) -> None:
        await asyncio.sleep(TOGETHER_S)
        data = encode_names(self._names)
        self._untold = False
        if len(data) > MAX_NAMES_BYTES:
            log.warning(
                "the workers are not told the names of the home: compressed they have %d bytes and "
                "%d are possible; configure `phrases` at the workers",
                len(data),
                MAX_NAMES_BYTES,
            )
            return
        try:
            await self._link.say_names(data)
        except FleetError:
            # With the next heartbeat that comes, the servers are back.
            self._untold = True


class NamesHeard:
    """Joins the names that gateways tell. Calls `changed` with all of them when they differ.

    Gateways tell their names rarely, so silence says nothing. The names of one that is gone stay
    until `MAX_GATEWAYS` others have told theirs later.
    """

    def __init__(self, changed: Callable[[HomeNames], None]) -> None:
        self._changed = changed
        self._names: dict[str, HomeNames] = {}
        """By gateway. Who told last is the last."""

    def heard(self, gateway: str, data: bytes) -> None:
        """A gateway told its names."""
        try:
            names = decode_names(data)
        except WireError as error:
            log.warning("the names of gateway %s cannot be used: %s", gateway, error)
            return
        before = self._names.pop(gateway, None)
        self._names[gateway] = names
        if len(self._names) > MAX_GATEWAYS:
            del self._names[next(iter(self._names))]
        if names != before:
            self._changed(merged(*(self._names[name] for name in sorted(self._names))))
