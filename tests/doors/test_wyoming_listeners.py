"""Where Wyoming is spoken: Unix sockets, stdio, ports that are taken, names on the network."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncUnixClient
from wyoming.event import Event, async_read_event
from wyoming.ping import Ping

from stt_mqtt.config import WyomingConfig
from stt_mqtt.doors.wyoming import announce
from stt_mqtt.doors.wyoming.announce import Announcement, Announcer, install_name
from stt_mqtt.doors.wyoming.bounds import Bounds
from stt_mqtt.doors.wyoming.door import open_zeroconf
from stt_mqtt.doors.wyoming.outgoing import encode
from stt_mqtt.doors.wyoming.stdio import Stdio
from stt_mqtt.types import EndReason
from tests.doors.wyoming_peers import (
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


@dataclass
class Pipes:
    """The ends of two pipes: what the door reads and writes, and what its client does."""

    bench: Bench
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.input, self.keyboard = os.pipe()
        self.screen, self.output = os.pipe()

    async def open(self) -> tuple[Stdio, asyncio.StreamReader]:
        loop = asyncio.get_running_loop()
        stdio = Stdio(self.bench.door._guests, self.ended.set, (self.input, self.output))
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
            stdio = Stdio(bench.door._guests, pytest.fail, fds)
            await stdio.open()
            await stdio.close()

        drive(bench, scenario)
    assert "have to be pipes" in caplog.text


PROGRAM = """
import asyncio
from tests.doors.wyoming_peers import Bench

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


@dataclass
class FakeResponder:
    """A network that takes every name, or none."""

    error: Exception | None = None
    registered: list[Announcement] = field(default_factory=list)
    closed: int = 0

    async def register(self, announcement: Announcement) -> None:
        if self.error is not None:
            raise self.error
        self.registered.append(announcement)

    async def close(self) -> None:
        self.closed += 1


def announced(uri: str, responder: FakeResponder) -> list[Announcement]:
    """What is told to the network about an address."""

    async def scenario() -> None:
        announcer = Announcer("machine", lambda: responder)
        announcer.announce(WyomingConfig(listen=(uri,)).addresses[0])
        await until(lambda: not announcer._tasks)
        await announcer.close()
        await announcer.close()

    asyncio.run(scenario())
    return responder.registered


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1:10300",
        "tcp://[::1]:10300",
        "tcp://localhost:10300",
        "unix:///x",
        "stdio://",
    ],
)
def test_what_only_this_machine_can_reach_is_not_announced(uri: str) -> None:
    responder = FakeResponder()
    assert announced(uri, responder) == []
    assert responder.closed == 0


def test_an_address_of_the_network_is_announced_and_taken_back() -> None:
    responder = FakeResponder()
    (announcement,) = announced("tcp://192.0.2.7:10300", responder)
    assert announcement.addresses == [bytes([192, 0, 2, 7])]
    assert announcement.port == 10300
    assert announcement.name == install_name("machine", 10300)
    assert responder.closed == 1


def test_all_interfaces_are_announced_by_the_address_of_the_default_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ipaddress.ip_address("192.168.1.5")
    monkeypatch.setattr(announce, "_outgoing", lambda _: own)
    (announcement,) = announced("tcp://0.0.0.0:10300", FakeResponder())
    assert announcement.addresses == [own.packed]


@pytest.mark.parametrize("family", [4, 6])
def test_the_address_of_the_default_route_is_one_of_ours(family: int) -> None:
    unspecified = ipaddress.ip_address("0.0.0.0" if family == 4 else "::")
    try:
        own = announce._outgoing(unspecified)
    except OSError:
        return  # A machine without a network of this kind announces nothing.
    assert own.version == family
    assert not own.is_unspecified


def test_a_failing_announcement_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    announced("tcp://192.0.2.7:10300", FakeResponder(OSError("no network")))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "wyoming.zeroconf: false" in record.getMessage()


def test_without_the_extra_the_log_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stt_mqtt")
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    monkeypatch.delitem(sys.modules, "stt_mqtt.doors.wyoming.responder", raising=False)

    async def scenario() -> None:
        announcer = Announcer("machine", open_zeroconf)
        announcer.announce(WyomingConfig(listen=("tcp://192.0.2.7:10300",)).addresses[0])
        await until(lambda: not announcer._tasks)
        await announcer.close()

    asyncio.run(scenario())
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "pip install 'stt-mqtt[zeroconf]'" in record.getMessage()


def test_an_end_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(FakeResponder):
        async def close(self) -> None:
            raise OSError("no network any more")

    announced("tcp://192.0.2.7:10300", Stuck())
    (record,) = caplog.records
    assert "no network any more" in record.getMessage()


def test_zeroconf_is_told_the_service_with_a_host_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, Any]] = []

    class Zeroconf:
        """As `zeroconf.asyncio.AsyncZeroconf`."""

        async def async_register_service(self, info: dict[str, Any]) -> Awaitable[None]:
            told.append(("register", info))
            return asyncio.sleep(0)

        async def async_unregister_all_services(self) -> None:
            told.append(("unregister", None))

        async def async_close(self) -> None:
            told.append(("close", None))

    module = ModuleType("zeroconf.asyncio")
    module.__dict__["AsyncZeroconf"] = Zeroconf
    module.__dict__["AsyncServiceInfo"] = lambda *names, **rest: {"names": names, **rest}
    monkeypatch.setitem(sys.modules, "zeroconf", ModuleType("zeroconf"))
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", module)
    monkeypatch.delitem(sys.modules, "stt_mqtt.doors.wyoming.responder", raising=False)

    async def scenario() -> None:
        responder = open_zeroconf()
        await responder.register(Announcement("stt-mqtt-0", [b"\xc0\0\2\7"], 10300))
        await responder.close()

    asyncio.run(scenario())
    sys.modules.pop("stt_mqtt.doors.wyoming.responder")
    assert [what for what, _ in told] == ["register", "unregister", "close"]
    assert told[0][1] == {
        "names": ("_wyoming._tcp.local.", "stt-mqtt-0._wyoming._tcp.local."),
        "addresses": [b"\xc0\0\2\7"],
        "port": 10300,
        "server": "stt-mqtt-0.local.",
    }


def test_the_end_does_not_wait_for_an_announcement_that_hangs() -> None:
    class Hanging(FakeResponder):
        async def register(self, announcement: Announcement) -> None:
            self.registered.append(announcement)
            await asyncio.Event().wait()

    async def scenario() -> None:
        responder = Hanging()
        announcer = Announcer("machine", lambda: responder)
        announcer.announce(WyomingConfig(listen=("tcp://192.0.2.7:10300",)).addresses[0])
        await until(lambda: responder.registered)
        await announcer.close()
        assert responder.closed == 1

    asyncio.run(scenario())


def test_the_name_is_the_installs_own_and_stays() -> None:
    assert install_name("a", 10300) == install_name("a", 10300)
    assert len({install_name(m, p) for m in "ab" for p in (10300, 10301)}) == 4
    prefix, _, digits = install_name("a", 10300).rpartition("-")
    assert prefix == "stt-mqtt"
    assert len(digits) == 8
    assert int(digits, 16) >= 0


def test_a_door_announces_what_it_listens_on_unless_it_is_told_not_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced_ports: list[int] = []
    monkeypatch.setattr(
        Announcer, "announce", lambda _, address: announced_ports.append(address.port)
    )

    async def scenario() -> None:
        await until(lambda: True)

    for zeroconf in (True, False):
        bench = TcpBench(zeroconf=zeroconf)
        drive(bench, scenario)
        assert announced_ports == [bench.port] * zeroconf
        announced_ports.clear()


def test_the_machine_is_known_by_its_id_or_else_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "_MACHINE_ID", tmp_path / "machine-id")
    assert announce.machine_id() == socket.gethostname()
    (tmp_path / "machine-id").write_text("0123abcd\n")
    assert announce.machine_id() == "0123abcd"
