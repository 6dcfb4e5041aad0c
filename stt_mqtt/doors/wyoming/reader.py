"""One event after the other from a client that may send anything.

The library reads as much as a header claims; here everything is capped before it is read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from wyoming.event import Event

from stt_mqtt.doors.wyoming.bounds import Bounds
from stt_mqtt.errors import BadPayloadError, OverloadedError, PayloadTooLargeError

Json: TypeAlias = dict[str, Any]

_READ_BYTES = 64 * 1024
_SMALL_BYTES = 64 * 1024


class ByteStream(Protocol):
    """Where bytes come from: an `asyncio.StreamReader`."""

    async def read(self, n: int = -1, /) -> bytes:
        """Up to `n` bytes, at least one; none at the end."""


class Reserve:
    """Memory for the large payloads of all connections together, in bytes."""

    def __init__(self, total_bytes: int) -> None:
        self._free_bytes = total_bytes

    @contextmanager
    def hold(self, nbytes: int) -> Iterator[None]:
        """Keep room for a payload while it is read. Raises `OverloadedError`."""
        counted = nbytes if nbytes > _SMALL_BYTES else 0
        if counted > self._free_bytes:
            raise OverloadedError("too many large chunks arrive at once; send smaller ones")
        self._free_bytes -= counted
        try:
            yield
        finally:
            self._free_bytes += counted


class EventReader:
    """Reads the events of one client.

    `quiet_since` says since when, in the event loop's seconds, the client has nothing open and
    nothing unanswered; None while it has.
    """

    def __init__(
        self,
        stream: ByteStream,
        bounds: Bounds,
        reserve: Reserve,
        quiet_since: Callable[[], float | None],
    ) -> None:
        self._stream = stream
        self._bounds = bounds
        self._reserve = reserve
        self._quiet_since = quiet_since
        self._held = bytearray()
        """What was read and belongs to no event yet."""
        self.finished = False
        """Whether the client has closed its direction, behind a whole event."""

    async def next(self) -> Event | None:
        """The next event; None: the client has left, or was silent for too long.

        Raises `BadPayloadError`, `PayloadTooLargeError` and `OverloadedError`; nothing can be
        read after that.
        """
        if not self._held and not await self._wait():
            return None
        try:
            async with asyncio.timeout(self._bounds.event_s):
                return await self._event()
        except EOFError:
            return None
        except TimeoutError:
            raise BadPayloadError(
                f"an event has to be complete within {self._bounds.event_s:g} s"
            ) from None

    async def discard(self) -> None:
        """Read whatever still comes, until the client leaves."""
        self._held.clear()
        while await self._fill(_READ_BYTES):
            self._held.clear()

    async def _wait(self) -> bool:
        """Wait for the first bytes of an event; False: none will come."""
        now = asyncio.get_running_loop().time
        idle_s = self._bounds.idle_s
        while True:
            since = self._quiet_since()
            left_s = idle_s if since is None else since + idle_s - now()
            if left_s <= 0:
                return False
            try:
                async with asyncio.timeout(left_s):
                    read = await self._read(min(_READ_BYTES, self._bounds.header_bytes + 1))
            except TimeoutError:
                continue
            self.finished = read == b""
            return bool(read)

    async def _event(self) -> Event:
        header = _parse_object(await self._line(), "header")
        kind = header.get("type")
        if not isinstance(kind, str):
            raise BadPayloadError("header: type has to be a string")
        data = header.get("data")
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise BadPayloadError("header: data has to be an object")
        data_bytes = _length(header, "data_length", self._bounds.data_bytes)
        payload_bytes = _length(header, "payload_length", self._bounds.payload_bytes)
        if data_bytes:
            data.update(_parse_object(await self._take(data_bytes), "data"))
        if not payload_bytes:
            return Event(kind, data)
        with self._reserve.hold(payload_bytes):
            return Event(kind, data, await self._take(payload_bytes))

    async def _line(self) -> bytes:
        """The bytes before the next newline."""
        cap, searched = self._bounds.header_bytes, 0
        while (end := self._held.find(b"\n", searched, cap + 1)) < 0:
            searched = len(self._held)
            if searched > cap:
                raise PayloadTooLargeError(f"no newline within {cap} bytes: this is not Wyoming")
            await self._more(cap + 1 - searched)
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    async def _take(self, nbytes: int) -> bytes:
        while len(self._held) < nbytes:
            await self._more(nbytes - len(self._held))
        taken = bytes(self._held[:nbytes])
        del self._held[:nbytes]
        return taken

    async def _more(self, wanted_bytes: int) -> None:
        """Read some of what is missing. Raises EOFError."""
        if not await self._fill(min(wanted_bytes, _READ_BYTES)):
            raise EOFError

    async def _fill(self, limit_bytes: int) -> bool:
        return bool(await self._read(limit_bytes))

    async def _read(self, limit_bytes: int) -> bytes | None:
        """Read a piece; nothing at the end, None where the connection broke."""
        try:
            read = await self._stream.read(limit_bytes)
        except OSError:
            return None
        self._held += read
        return read


def _parse_object(text: bytes, what: str) -> Json:
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise BadPayloadError(f"{what}: this is not JSON") from None
    if not isinstance(value, dict):
        raise BadPayloadError(f"{what}: a JSON object is needed")
    return value


def _length(header: Json, name: str, cap: int) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadPayloadError(f"header: {name} has to be a whole number from 0")
    if value > cap:
        raise PayloadTooLargeError(f"header: {name} may be {cap} bytes at most")
    return value
