"""Reads events from an untrusted client.

The reader of the `wyoming` package reads as many bytes as a header claims. This one checks every
length before it reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wyoming.event import Event

from stt_mqtt.errors import BadPayloadError, OverloadedError, PayloadTooLargeError

_READ_BYTES = 64 * 1024
_SMALL_BYTES = 64 * 1024
TURN_CHUNKS, TURN_BYTES = 64, 32 * 1024
"""Most chunks and bytes of audio in the turn of a client. Any other event ends it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a client in bytes and in seconds."""

    header_bytes: int = 64 * 1024
    """Largest header. The reference client needs less than 200; others include the data."""
    data_bytes: int = 64 * 1024
    """Largest data part. `transcribe` may have lists of names."""
    payload_bytes: int = 1024 * 1024
    """Largest payload. An utterance of 30 s in one chunk has 0.96 MB."""
    large_payloads_bytes: int = 16 * 1024 * 1024
    """Most bytes of payloads over 64 KiB being read, in all connections together."""
    event_s: float = 10.0
    """Longest time from the first byte of an event to its last."""
    idle_s: float = 60.0
    """How long an idle client may be silent."""
    outgoing_bytes: int = 256 * 1024
    """Most bytes of answers that a client has not read yet."""
    write_s: float = 10.0
    """How long a client may take to read its answers."""
    linger_s: float = 1.0
    """How long a client may take to close after an error."""
    last_answers_s: float = 300.0
    """How long to wait for answers after a client closed its sending direction."""
    gone_s: float = 0.5
    """How often to check whether such a client has disconnected."""
    fresh_s: float = 1.0
    """How long a new client may take to speak before others may have its place."""
    refused: int = 64
    """Most refused clients, and most of those that made room for others, that are waited for until
    they have read why."""
    connections: int = 256
    bind_s: float = 5.0
    """Timeout of binding an address."""
    retry_s: float = 10.0
    """Pause before an address is tried again."""
    close_s: float = 2.0
    """How long the last answers may take when the service stops."""


class PayloadBudget:
    """Bounds the memory for large payloads of all connections together, in bytes."""

    def __init__(self, total_bytes: int) -> None:
        self._free_bytes = total_bytes

    @contextmanager
    def reserve(self, nbytes: int) -> Iterator[None]:
        """Reserve memory for a payload while it is read. Raises `OverloadedError`."""
        counted = nbytes if nbytes > _SMALL_BYTES else 0
        if counted > self._free_bytes:
            raise OverloadedError("too many large chunks arrive at once; send smaller ones")
        self._free_bytes -= counted
        try:
            yield
        finally:
            self._free_bytes += counted


class Turn:
    """What a client may send before the others have their turn.

    With one event per turn, a room with chunks of 32 ms falls behind beside many clients that send
    a whole command in an event.
    """

    def __init__(self) -> None:
        self._chunks = 0
        self._bytes = 0

    def ends_with(self, event: Event) -> bool:
        """Whether the turn ends with this event. Then the next one begins."""
        self._chunks += 1
        self._bytes += len(event.payload or b"")
        ends = event.type != "audio-chunk"
        ends = ends or self._chunks >= TURN_CHUNKS or self._bytes >= TURN_BYTES
        if ends:
            self._chunks = self._bytes = 0
        return ends


class EventReader:
    """Reads the events of one client.

    `idle_since`: since when the client is idle, on the clock of the event loop; None: it is not.
    """

    def __init__(
        self,
        stream: asyncio.StreamReader,
        bounds: Bounds,
        budget: PayloadBudget,
        idle_since: Callable[[], float | None],
    ) -> None:
        self._stream = stream
        self._bounds = bounds
        self._budget = budget
        self._idle_since = idle_since
        self._buffer = bytearray()
        """Bytes that were read and not parsed yet."""
        self.finished = False
        """Whether the client closed its sending direction after a complete event."""

    async def next(self) -> Event | None:
        """The next event; None if the client has disconnected or was silent for too long.

        Raises `BadPayloadError`, `PayloadTooLargeError` or `OverloadedError`. After that nothing
        more can be read.
        """
        if not self._buffer and not await self._wait():
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
        """Read and drop input until the client disconnects."""
        self._buffer.clear()
        while await self._read(_READ_BYTES):
            self._buffer.clear()

    async def _wait(self) -> bool:
        """Wait for the first bytes of an event. Return False if none will arrive."""
        now = asyncio.get_running_loop().time
        idle_s = self._bounds.idle_s
        while True:
            since = self._idle_since()
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
        with self._budget.reserve(payload_bytes):
            return Event(kind, data, await self._take(payload_bytes))

    async def _line(self) -> bytes:
        """The bytes before the next newline."""
        cap, searched = self._bounds.header_bytes, 0
        while (end := self._buffer.find(b"\n", searched, cap + 1)) < 0:
            searched = len(self._buffer)
            if searched > cap:
                raise PayloadTooLargeError(f"no newline within {cap} bytes: this is not Wyoming")
            await self._read_more(cap + 1 - searched)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _take(self, nbytes: int) -> bytes:
        while len(self._buffer) < nbytes:
            await self._read_more(nbytes - len(self._buffer))
        taken = bytes(self._buffer[:nbytes])
        del self._buffer[:nbytes]
        return taken

    async def _read_more(self, wanted_bytes: int) -> None:
        """Read at most `wanted_bytes` more. Raises EOFError at the end of the input."""
        if not await self._read(min(wanted_bytes, _READ_BYTES)):
            raise EOFError

    async def _read(self, limit_bytes: int) -> bytes | None:
        """Read into the buffer. Empty at the end of the input, None if the connection broke."""
        try:
            read = await self._stream.read(limit_bytes)
        except OSError:
            return None
        self._buffer += read
        return read


def _parse_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise BadPayloadError(f"{what}: this is not JSON") from None
    if not isinstance(value, dict):
        raise BadPayloadError(f"{what}: a JSON object is needed")
    return value


def _length(header: dict[str, Any], name: str, cap: int) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadPayloadError(f"header: {name} has to be a whole number from 0")
    if value > cap:
        raise PayloadTooLargeError(f"header: {name} may be {cap} bytes at most")
    return value
