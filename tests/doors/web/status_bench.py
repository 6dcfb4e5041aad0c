"""The status page of a service with fakes around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.web.door import Secrets, WebDoor
from tests.doors.native.peers import Wire
from tests.doors.web.parts import web_parts
from tools.brokers import free_port

PATIENCE_S = 30.0
MAX_LINE_BYTES = 2**24
"""Longest snapshot that a test reads."""


class StatusBench(Wire):
    """A service with its native door, and the parts of its pages."""

    def __init__(self, *, show_text: bool = False, **config: Any) -> None:
        super().__init__(web={"port": free_port(), "show_text": show_text}, **config)
        self.doors = [DoorFacts("MQTT", "localhost:1883")]
        self.drops: dict[str, int] = {}
        self.parts = web_parts(
            self,
            doors=lambda: self.doors,
            phrases=lambda: self.phrases,
            transport_drops=lambda: self.drops,
            fleet=lambda: self.fleet,
        )

    def says(self, text: str = "Turn on the light.", device: str = "kitchen") -> None:
        """A device has a whole utterance transcribed."""
        self.send(f"stt/{device}/utterance", bytes(32_000))
        self.answer(text)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the pages; gives their address."""
        self.web = WebDoor(self.parts, Secrets())
        await self.web.open()
        try:
            yield self.service.config.web.url
        finally:
            await self.web.close()


class Reader:
    """A browser that follows the events."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    async def snapshot(self) -> dict[str, Any]:
        """The next snapshot. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                if line.startswith(b"data: "):
                    found = json.loads(line.removeprefix(b"data: "))
                    assert isinstance(found, dict)
                    return found
        raise EOFError

    async def until(self, is_right: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first snapshot that is right."""
        while not is_right(found := await self.snapshot()):
            pass
        return found

    async def to_the_end(self) -> None:
        """Read until the stream ends. Raises EOFError."""
        while True:
            await self.snapshot()


def last_outcome(snapshot: dict[str, Any]) -> str | None:
    """The last outcome of the first room."""
    last = snapshot["rooms"][0]["last"] if snapshot["rooms"] else None
    return None if last is None else str(last["outcome"])


async def until(predicate: Callable[[], object]) -> None:
    """Wait until `predicate` is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not predicate():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(url: str, machine: int = 1) -> AsyncIterator[Reader]:
    """Open the stream of events, from the address 127.0.0.<machine>."""
    connector = TCPConnector(local_addr=(f"127.0.0.{machine}", 0))
    async with (
        ClientSession(
            connector=connector, timeout=ClientTimeout(None), read_bufsize=MAX_LINE_BYTES
        ) as session,
        session.get(f"{url}events") as response,
    ):
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Reader(aiter(response.content))
