"""Clients that have said everything: who only closes their direction still gets their words."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe

from stt_mqtt.doors.wyoming.messages import encode
from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import OutcomeKind
from tests.doors.wyoming.peers import CHUNK, MONO, Bench, TcpBench, drive, hang_up, read_rest, until
from tests.fakes import heard

OPENING = encode(
    Transcribe(language="en").event(),
    AudioStart(**MONO).event(),
    AudioChunk(**MONO, audio=CHUNK).event(),
)
UTTERANCE = OPENING + encode(AudioStop().event())
STREAM = ["transcript-start", "transcript-chunk", "transcript", "transcript-stop"]

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class UnixBench(Bench):
    """A door on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s"
        super().__init__([f"unix://{self.path}"], None)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)


@pytest.fixture(params=["tcp", "unix"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> TcpBench | UnixBench:
    return TcpBench() if request.param == "tcp" else UnixBench(tmp_path)


async def piped(dial: Dial, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that says something and closes its direction, as `nc -N` does."""
    reader, writer = await dial()
    writer.write(text)
    writer.write_eof()
    await writer.drain()
    return reader, writer


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def break_off(writer: asyncio.StreamWriter) -> None:
    """End a connection as a killed program or a lost network does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await asyncio.sleep(0)


def test_who_closes_its_direction_after_the_stop_gets_its_words(
    bench: TcpBench | UnixBench,
) -> None:
    async def scenario() -> None:
        reader, writer = await piped(bench.dial, UTTERANCE)
        await bench.answer()
        assert kinds(await read_rest(reader)) == STREAM
        await until(lambda: bench.door.connections == 0)
        assert len(bench.service.registry) == 0
        await hang_up(writer)

    drive(bench, scenario)


def test_it_gets_the_answers_to_all_that_it_said() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, encode(Describe().event()) + UTTERANCE * 2)
        await bench.answer(heard("First."))
        await bench.answer(heard("Second."))
        events = await read_rest(reader)
        assert kinds(events) == ["info", *STREAM, *STREAM]
        assert [event.data["text"] for event in events if event.type == "transcript"] == [
            "First.",
            "Second.",
        ]
        await hang_up(writer)

    drive(bench, scenario)


def test_it_is_told_of_an_error_too() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, UTTERANCE)
        await bench.answer(InferenceFailedError("the model broke"))
        (event,) = await read_rest(reader)
        assert event.data["code"] == "inference_failed"
        await hang_up(writer)

    drive(bench, scenario)


def test_it_is_told_that_the_service_stops() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, UTTERANCE)
        await until(lambda: bench.service.scheduler.queue.jobs)
        bench.service.abandon()
        (event,) = await read_rest(reader)
        assert event.data["code"] == "shutting_down"
        await hang_up(writer)

    drive(bench, scenario, loaded=False)


@pytest.mark.parametrize("text", [OPENING, UTTERANCE + OPENING, UTTERANCE + b'{"type": "audio-st'])
def test_an_end_in_the_midst_of_something_takes_back_what_is_open_or_waits(text: bytes) -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, text)
        assert await read_rest(reader) == []
        await until(lambda: bench.door.connections == 0)
        assert bench.service.budget.used_bytes == 0
        await hang_up(writer)

    drive(bench, scenario, loaded=False)
    assert set(bench.service.metrics.outcomes) == {"aborted"}


def test_who_has_nothing_to_wait_for_is_not_kept() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, encode(Describe().event()))
        assert kinds(await read_rest(reader)) == ["info"]
        await hang_up(writer)

    drive(bench, scenario)


def test_breaking_off_takes_back_what_waits_and_ignores_what_is_being_transcribed() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        _, first = await bench.dial()
        first.write(UTTERANCE)
        await bench.utterance()
        _, second = await bench.dial()
        second.write(UTTERANCE)
        await until(lambda: bench.service.scheduler.queue.jobs == 1)
        await break_off(first)
        await break_off(second)
        await until(lambda: bench.door.connections == 0)
        assert bench.service.scheduler.queue.jobs == 0
        await bench.answer()
        assert len(bench.service.registry) == 0

    drive(bench, scenario)
    assert bench.service.metrics.outcomes == {"aborted": 1, "transcript": 1}


def test_who_breaks_off_after_having_closed_its_direction_is_noticed() -> None:
    bench = TcpBench(replace(Bounds(), gone_s=0.01))

    async def scenario() -> None:
        _, writer = await piped(bench.dial, UTTERANCE)
        await until(lambda: bench.service.scheduler.queue.jobs == 1)
        await break_off(writer)
        await until(lambda: bench.door.connections == 0)
        assert bench.service.scheduler.queue.jobs == 0

    drive(bench, scenario, loaded=False)


def test_hanging_up_on_a_unix_socket_takes_back_what_waits(tmp_path: Path) -> None:
    bench = UnixBench(tmp_path)

    async def scenario() -> None:
        _, writer = await bench.dial()
        writer.write(UTTERANCE)
        await until(lambda: bench.service.scheduler.queue.jobs == 1)
        await hang_up(writer)
        await until(lambda: bench.door.connections == 0)
        assert bench.service.scheduler.queue.jobs == 0

    drive(bench, scenario, loaded=False)


def test_hanging_up_over_tcp_after_the_stop_looks_like_listening_and_leaves_nothing_behind() -> (
    None
):
    bench = TcpBench()

    async def scenario() -> None:
        _, writer = await bench.dial()
        writer.write(UTTERANCE)
        await bench.utterance()
        await hang_up(writer)
        await bench.answer()
        await until(lambda: bench.door.connections == 0)
        assert len(bench.service.registry) == 0

    drive(bench, scenario)
    assert [outcome.kind for outcome in bench.door.outcomes] == [OutcomeKind.TRANSCRIPT]


def test_nobody_is_kept_for_ever() -> None:
    bench = TcpBench(replace(Bounds(), last_answers_s=0.05))

    async def scenario() -> None:
        reader, writer = await piped(bench.dial, UTTERANCE)
        assert await read_rest(reader) == []
        await until(lambda: bench.door.connections == 0)
        assert bench.service.scheduler.queue.jobs == 0
        await hang_up(writer)

    drive(bench, scenario, loaded=False)
