"""A Wyoming door on loopback, and clients of it: Home Assistant's ways, and hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event, async_read_event
from wyoming.info import Describe, Info

from stt_mqtt.config import Config
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.door import WyomingDoor
from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.types import Outcome, Utterance, Verdict
from tests.fakes import ONE_THREAD, FakeClock, FakePool, engine_facts, heard, nothing_heard
from tools.brokers import free_port

LOOPBACK = "127.0.0.1"
MONO = {"rate": 16000, "width": 2, "channels": 1}
CHUNK = b"\1\0" * 1600
PATIENCE_S = 60.0


class RecordingDoor(WyomingDoor):
    """A door that remembers the outcomes it was given."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.outcomes: list[Outcome] = []

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        super().outcome(outcome)


class Bench:
    """The speech service with fakes around it, behind an open door."""

    def __init__(
        self, listen: Sequence[str], bounds: Bounds | None, zeroconf: bool = False, **config: Any
    ) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        wyoming = {"listen": listen, "zeroconf": zeroconf, **config.pop("wyoming", {})}
        self.service = SpeechService(
            Config.model_validate({"wyoming": wyoming, **config}), engine_facts(), self.clock
        )
        self.glimpsed: Verdict = nothing_heard()
        """What the model finds in an utterance that is still open."""
        self.rearmed = 0
        self.ended = asyncio.Event()
        self.door = RecordingDoor(self.service, self._rearm, self.ended.set, bounds)

    def load(self) -> None:
        """The model is loaded."""
        self.service.attach_pool(self.pool, ONE_THREAD)

    async def utterance(self) -> Utterance:
        """The one that is being transcribed, as soon as there is one that has ended."""
        await until(self._has_ended)
        return self.pool.utterances[0]

    async def answer(self, verdict: Verdict | None = None) -> Utterance:
        """Answer what is being transcribed, as soon as there is something."""
        utterance = await self.utterance()
        self.pool.answer(self.service, verdict or heard())
        return utterance

    def _has_ended(self) -> bool:
        """Answer what is still open. Whether something that has ended is being transcribed."""
        while self.pool.submitted and self.pool.utterances[0].end is None:
            self.pool.answer(self.service, self.glimpsed)
        return bool(self.pool.submitted)

    def _rearm(self) -> None:
        self.rearmed += 1


class TcpBench(Bench):
    """The same on a port of loopback."""

    def __init__(self, bounds: Bounds | None = None, **config: Any) -> None:
        self.port = free_port()
        super().__init__([f"tcp://{LOOPBACK}:{self.port}"], bounds, **config)

    def client(self) -> AsyncTcpClient:
        """A client of the library, which gives up where it would wait for ever."""
        return AsyncTcpClient(LOOPBACK, self.port, PATIENCE_S, PATIENCE_S)

    async def dial(
        self, source: str = LOOPBACK
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, from an address of loopback."""
        return await asyncio.open_connection(LOOPBACK, self.port, local_addr=(source, 0))


@asynccontextmanager
async def opened(bench: Bench) -> AsyncIterator[None]:
    """The door of a bench, open."""
    await bench.door.open()
    try:
        yield
    finally:
        await bench.door.close()


def drive(bench: Bench, scenario: Callable[[], Awaitable[None]], loaded: bool = True) -> None:
    """Run a scenario against the open door. Whatever a task dies of fails the test."""
    failures: list[dict[str, Any]] = []

    async def perform() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        if loaded:
            bench.load()
        async with asyncio.timeout(PATIENCE_S), opened(bench):
            await scenario()
        assert bench.door.connections == 0

    asyncio.run(perform())
    assert not failures


async def until(predicate: Callable[[], object]) -> None:
    """Wait for what events on the loop will bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while not predicate():
            await _a_moment()


async def _a_moment() -> None:
    await asyncio.sleep(0.001)


async def read_all(client: AsyncTcpClient) -> list[Event]:
    """Everything that still comes, until the server hangs up."""
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
    return events


async def read_rest(reader: asyncio.StreamReader) -> list[Event]:
    """The same on a bare connection; a reset is an end, too."""
    events = []
    with suppress(ConnectionError):
        while (event := await asyncio.wait_for(async_read_event(reader), PATIENCE_S)) is not None:
            events.append(event)
    return events


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a bare connection."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def say(client: AsyncTcpClient, language: str | None = "en", chunks: int = 3) -> None:
    """An utterance up to its audio-stop, in Home Assistant's order."""
    await client.write_event(Transcribe(language=language).event())
    await client.write_event(AudioStart(**MONO).event())
    for _ in range(chunks):
        await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
    await client.write_event(AudioStop().event())


async def transcript_like_home_assistant(client: AsyncTcpClient) -> str | None:
    """Read until the transcript; everything else is ignored. None: the connection is lost."""
    while True:
        event = await client.read_event()
        if event is None:
            return None
        if Transcript.is_type(event.type):
            return Transcript.from_event(event).text


async def info_like_home_assistant(port: int, tries: int = 4) -> tuple[Info, int] | None:
    """The info and the try that got it: one second each, as Home Assistant does."""
    for number in range(1, tries + 1):
        try:
            async with AsyncTcpClient(LOOPBACK, port) as client, asyncio.timeout(1):
                await client.write_event(Describe().event())
                while True:
                    event = await client.read_event()
                    if event is None:
                        raise ConnectionError("closed unexpectedly")
                    if Info.is_type(event.type):
                        return Info.from_event(event), number
        except (TimeoutError, OSError):
            await asyncio.sleep(0.2)
    return None
