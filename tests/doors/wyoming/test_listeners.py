"""Where Wyoming is served: Unix sockets, stdio, and ports that are taken."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncUnixClient
from wyoming.event import Event, async_read_event
from wyoming.ping import Ping

from stt_mqtt.doors.wyoming.listeners import StdioListener, peer_name
from stt_mqtt.doors.wyoming.messages import encode
from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.types import EndReason
from tests.doors.wyoming.peers import (
    CHUNK,
    LOOPBACK,
    MONO,
    PATIENCE_S,
    Bench,
    TcpBench,
    drive,
    info_like_home_assistant,
    say,
    transcript_like_home_assistant,
    until,
)

SHORT = replace(Bounds(), retry_s=0.01)


def is_unix_served(bench: Bench, path: Path) -> Callable[[], Awaitable[None]]:
    async def scenario() -> None:
        await until(path.exists)
        async with AsyncUnixClient(path, PATIENCE_S, PATIENCE_S) as client:
            await say(client)
            assert (await bench.answer()).key.name == "wyoming:unix"
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    return scenario


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "stt.sock"
    bench = Bench([f"unix://{path}"], None)
    drive(bench, is_unix_served(bench, path))
    assert not path.exists()


def test_a_socket_that_a_dead_program_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stt.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bench = Bench([f"unix://{path}"], None)
    drive(bench, is_unix_served(bench, path))


@pytest.mark.parametrize("live", [True, False], ids=["socket", "file"])
def test_what_somebody_else_uses_is_left_alone(
    live: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "stt.sock"
    with socket.socket(socket.AF_UNIX) as other:
        if live:
            other.bind(str(path))
            other.listen(100)
        else:
            path.write_text("precious")
        inode = path.stat().st_ino

        async def scenario() -> None:
            await until(lambda: "cannot listen" in caplog.text)

        drive(Bench([f"unix://{path}"], SHORT), scenario)
        assert path.stat().st_ino == inode
    reason = "another program listens there" if live else "a file that is no socket is there"
    assert f"cannot listen on unix://{path}: {reason}" in caplog.text


def test_a_port_that_is_taken_is_an_error_once_and_tried_again_until_it_is_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "stt_mqtt")
    bench = TcpBench(SHORT)
    other = socket.socket()
    other.bind((LOOPBACK, bench.port))
    other.listen()

    async def scenario() -> None:
        await until(lambda: caplog.text.count("cannot listen") >= 3)
        other.close()
        await until(lambda: "wyoming listens on" in caplog.text)
        assert await info_like_home_assistant(bench.port) is not None

    drive(bench, scenario)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    (message,) = errors
    assert "in use" in message
    assert "wyoming.listen" in message
    assert "wyoming.enabled: false" in message


@pytest.mark.parametrize("host", ["192.0.2.77", "no-such-host.invalid", "a..b"])
def test_an_address_that_is_not_ours_is_an_error_that_stops_nobody_else(
    host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "stt.sock"
    bench = Bench([f"tcp://{host}:10300", f"unix://{path}"], None)
    drive(bench, is_unix_served(bench, path))
    assert f"cannot listen on tcp://{host}:10300" in caplog.text


def test_a_system_without_file_descriptors_is_told_once_and_clients_are_served_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = TcpBench()
    refusals = [OSError(errno.EMFILE, "Too many open files")] * 3
    accept = asyncio.selector_events.BaseSelectorEventLoop.sock_accept

    async def refuse(
        loop: asyncio.selector_events.BaseSelectorEventLoop, listening: socket.socket
    ) -> tuple[socket.socket, object]:
        if refusals:
            raise refusals.pop()
        return await accept(loop, listening)

    async def scenario() -> None:
        assert await info_like_home_assistant(bench.port) is not None

    monkeypatch.setattr("stt_mqtt.doors.wyoming.acceptor.ACCEPT_RETRY_S", 0.0)
    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_accept", refuse)
    drive(bench, scenario)
    assert refusals == []
    (message,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert f"cannot accept clients on tcp://{LOOPBACK}:{bench.port}: Too many open" in message
    assert "LimitNOFILE" in message


def test_an_address_is_served_when_the_system_has_a_file_descriptor_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stt_mqtt")
    bench = TcpBench(SHORT)
    refusals = [OSError(errno.EMFILE, "Too many open files")] * 2
    duplicate = os.dup

    def refuse(descriptor: int) -> int:
        if refusals:
            raise refusals.pop()
        return duplicate(descriptor)

    async def scenario() -> None:
        await until(lambda: "wyoming listens on" in caplog.text)
        assert await info_like_home_assistant(bench.port) is not None

    monkeypatch.setattr(os, "dup", refuse)
    drive(bench, scenario)
    assert refusals == []
    (message,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert f"cannot listen on tcp://{LOOPBACK}:{bench.port}: Too many open files" in message


@dataclass
class Pipes:
    """The ends of two pipes: what the door reads and writes, and what its client does."""

    bench: Bench
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.input, self.keyboard = os.pipe()
        self.screen, self.output = os.pipe()

    async def open(self) -> tuple[StdioListener, asyncio.StreamReader]:
        loop = asyncio.get_running_loop()
        stdio = StdioListener(self.bench.door.admit, self.ended.set, (self.input, self.output))
        await stdio.open()
        os.close(self.input)
        os.close(self.output)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self.screen, "rb")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        return stdio, reader

    def type(self, *events: Event) -> None:
        os.write(self.keyboard, encode(*events))

    def leave(self) -> None:
        os.close(self.keyboard)


def test_standard_input_is_answered_to_the_last_word_before_its_end_is_reported() -> None:
    bench = Bench([], None)

    async def scenario() -> None:
        pipes = Pipes(bench)
        stdio, reader = await pipes.open()
        pipes.type(Ping("a").event())
        event = await async_read_event(reader)
        assert event is not None
        assert event.type == "pong"
        pipes.type(AudioStart(**MONO).event(), AudioChunk(**MONO, audio=CHUNK).event())
        pipes.type(AudioStop().event(), AudioChunk(**MONO, audio=CHUNK).event())
        pipes.leave()
        first = await bench.answer()
        assert (first.key.name, first.end) == ("wyoming:stdio", EndReason.STOP)
        # What has no audio-stop ends with the input.
        assert (await bench.utterance()).end is EndReason.DISCONNECT
        assert not pipes.ended.is_set()
        await bench.answer()
        told = [event.type async for event in _events(reader)]
        assert told.count("transcript") == 2
        await pipes.ended.wait()
        await stdio.close()

    drive(bench, scenario)


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    while (event := await async_read_event(reader)) is not None:
        yield event


def test_a_silent_client_on_standard_input_neither_times_out_nor_makes_room() -> None:
    bench = TcpBench(replace(Bounds(), idle_s=0.05, connections=2))

    async def scenario() -> None:
        pipes = Pipes(bench)
        stdio, reader = await pipes.open()
        for _ in range(4):
            stranger, writer = await bench.dial()
            # It is sent away by the time limit, or for the next one.
            assert await stranger.read() == b""
            writer.close()
        assert not pipes.ended.is_set()
        pipes.type(Ping("still there").event())
        event = await async_read_event(reader)
        assert event is not None
        assert event.type == "pong"
        pipes.leave()
        await pipes.ended.wait()
        await stdio.close()

    drive(bench, scenario)


def test_an_error_ends_standard_input_and_output() -> None:
    bench = Bench([], replace(Bounds(), linger_s=0.01))

    async def scenario() -> None:
        pipes = Pipes(bench)
        stdio, reader = await pipes.open()
        os.write(pipes.keyboard, b"nonsense\n")
        told = [event.data["code"] async for event in _events(reader)]
        assert told == ["bad_payload"]
        await pipes.ended.wait()
        await stdio.close()
        pipes.leave()

    drive(bench, scenario)


def test_a_closing_door_ends_standard_input() -> None:
    bench = Bench([], replace(Bounds(), linger_s=0.01))

    async def scenario() -> None:
        pipes = Pipes(bench)
        stdio, _ = await pipes.open()
        await bench.door.close()
        await stdio.close()
        assert pipes.ended.is_set()
        pipes.leave()

    drive(bench, scenario)


def test_what_is_no_pipe_is_an_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench([], None)

    with (tmp_path / "file").open("wb") as file, Path(os.devnull).open("rb") as null:
        fds = null.fileno(), file.fileno()

        async def scenario() -> None:
            stdio = StdioListener(bench.door.admit, pytest.fail, fds)
            await stdio.open()
            await stdio.close()

        drive(bench, scenario)
    assert "have to be pipes" in caplog.text


PROGRAM = """
import asyncio
from tests.doors.wyoming.peers import Bench

async def main():
    bench = Bench(["stdio://"], None)
    bench.load()
    await bench.door.open()
    await bench.answer()
    await bench.ended.wait()
    await bench.door.close()

asyncio.run(main())
"""


def test_a_program_on_stdio_answers_what_is_piped_into_it_and_ends(
    pytestconfig: pytest.Config,
) -> None:
    said = encode(
        AudioStart(**MONO).event(), AudioChunk(**MONO, audio=CHUNK).event(), AudioStop().event()
    )
    process = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM],
        input=said,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=pytestconfig.rootpath,
    )
    assert process.stderr == b""
    assert process.returncode == 0
    assert b"Turn on the light." in process.stdout


@pytest.mark.parametrize(
    ("peername", "name"),
    [
        (("192.168.1.5", 40000), "192.168.1.5"),
        (("::ffff:192.168.1.5", 40000, 0, 0), "192.168.1.5"),
        (("fd00::2", 40000, 0, 0), "fd00::2"),
        (("fe80::1%eth0", 40000, 0, 2), "fe80::1"),
        (None, "wyoming:unknown"),
        ((), "wyoming:unknown"),
    ],
)
def test_clients_are_known_by_their_address(peername: object, name: str) -> None:
    assert peer_name(peername) == name
