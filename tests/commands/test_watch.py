from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import publish
from rich.console import Console

from stt_mqtt.cli import main
from stt_mqtt.commands.overview import Overview
from stt_mqtt.commands.watch import WatchListener, view
from stt_mqtt.demo.satellite import BrokerAddress, DemoConnection
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Inbound
from tools.brokers import (
    Broker,
    Mosquitto,
    MosquittoOptions,
    eventually,
    free_port,
    needs_mosquitto,
)

COMMAND = (sys.executable, "-m", "stt_mqtt", "watch")
EVIL = "[bold red]stop[/] \x1b[2J"
PASSWORD = "correct horse"


def payload(text: str) -> bytes:
    return json.dumps({"outcome": "transcript", "text": text, "latency_s": 0.25}).encode()


def connected_listener() -> WatchListener:
    listener = WatchListener(Overview(Topics("stt")))
    listener.connected("5")
    return listener


def shown(listener: WatchListener, height: int = 40) -> str:
    output = io.StringIO()
    console = Console(file=output, width=120, markup=False, highlight=False)
    console.print(view(listener, time.monotonic(), height))
    return output.getvalue()


def test_markup_in_a_text_is_shown_and_not_obeyed() -> None:
    listener = connected_listener()
    listener.message(Inbound("stt/kitchen/result", payload(EVIL)))
    assert "[bold red]stop[/] \\x1b[2J" in shown(listener)
    assert "\x1b" not in shown(listener)


def test_the_header_tells_of_the_service() -> None:
    listener = connected_listener()
    assert "service unknown" in shown(listener)
    listener.message(Inbound("stt/bridge/info", b'{"version":"0.1.0","models":["tiny.en"]}'))
    health = b'{"queue":{"jobs":2},"load":{"cpu":0.25},"rss_mb":231.4}'
    listener.message(Inbound("stt/bridge/health", health))
    listener.message(Inbound("stt/bridge/state", b"online"))
    header = shown(listener).splitlines()[0]
    for part in ("service online", "0.1.0", "tiny.en", "queue 2", "cpu 25%", "memory 231 MB"):
        assert part in header
    listener.message(Inbound("stt/bridge/state", b"offline"))
    assert shown(listener).splitlines()[0].strip() == "service offline"


@pytest.mark.parametrize(
    ("workers", "words"), [([], "no workers"), ([{}], "1 worker "), ([{}, {}], "2 workers")]
)
def test_the_header_counts_the_workers_of_a_fleet(workers: list[object], words: str) -> None:
    listener = connected_listener()
    listener.message(Inbound("stt/bridge/state", b"online"))
    assert "worker" not in shown(listener)
    listener.message(
        Inbound("stt/bridge/info", json.dumps({"fleet": {"workers": workers}}).encode())
    )
    assert words in shown(listener).splitlines()[0]


def test_a_lost_connection_shows_in_the_header_until_it_is_back() -> None:
    listener = connected_listener()
    listener.disconnected("the broker went\naway")
    assert shown(listener).startswith("no broker  the broker went away")
    listener.connected("5")
    assert "no broker" not in shown(listener)


def test_a_small_screen_shows_the_latest_and_counts_the_others() -> None:
    listener = connected_listener()
    for number in range(30):
        listener.message(Inbound(f"stt/room-{number:02}/result", payload("x")))
    text = shown(listener, height=12)
    assert len(text.splitlines()) <= 12
    assert "room-29" in text
    assert "room-00" not in text
    assert "and 24 more" in text


class Output:
    """What a process writes into a pipe or terminal, collected without blocking."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._seen = b""

    def has(self, text: str) -> bool:
        """Whether `text` has been written; the terminal of a process that ended raises OSError."""
        try:
            while piece := os.read(self._descriptor, 65536):
                self._seen += piece
        except OSError:
            pass
        return text.encode() in self._seen

    def await_text(self, text: str) -> None:
        eventually(lambda: self.has(text) or None)


@contextmanager
def watch(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Output, Output]]:
    """The command without a terminal: process, standard output, standard error."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process, Output(process.stdout.fileno()), Output(process.stderr.fileno())
        finally:
            process.kill()


def at(broker: Broker) -> tuple[str, ...]:
    return ("--host", broker.host, "--port", str(broker.port))


def send(broker: Broker, topic: str, data: bytes, retain: bool = False) -> None:
    publish.single(topic, data, qos=1, retain=retain, hostname=broker.host, port=broker.port)


def test_without_a_terminal_each_result_is_one_line_and_ctrl_c_ends_with_0(broker: Broker) -> None:
    with watch(*at(broker)) as (process, out, err):
        err.await_text("connected")
        send(broker, "stt/kitchen/result", b"{nonsense")
        send(broker, "stt/kitchen/result", payload("Lights on."))
        send(broker, "stt/bedroom/result", payload(EVIL))
        out.await_text("kitchen: Lights on.  [0.25 s]\n")
        out.await_text("bedroom: [bold red]stop[/] \\x1b[2J  [0.25 s]\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert not err.has("Traceback")


def test_it_leaves_nothing_behind_on_the_broker(broker: Broker) -> None:
    with watch(*at(broker)) as (process, _, err):
        err.await_text("connected")
        process.kill()
        process.wait(60)
    left = []

    async def listen() -> None:
        told = asyncio.Event()

        def hear(message: Inbound, _now: float) -> None:
            left.append(message.topic)
            if message.topic == "stt/end":
                told.set()

        connection = DemoConnection(BrokerAddress(broker.host, broker.port), ("#",), None, hear)
        await connection.open()
        connection.publish("stt/end")
        await asyncio.wait_for(told.wait(), 60)
        await connection.close()

    asyncio.run(listen())
    assert left == ["stt/end"]


def test_on_a_terminal_there_is_a_table_and_ctrl_c_ends_with_0(broker: Broker) -> None:
    send(broker, "stt/bridge/state", b"online", retain=True)
    send(broker, "stt/bedroom/state", b"listening", retain=True)
    terminal, other_end = pty.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, *at(broker)],
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "20"},
        ) as process:
            try:
                screen = Output(terminal)
                screen.await_text("service online")
                screen.await_text("listening")
                send(broker, "stt/kitchen/result", payload(EVIL))
                screen.await_text("[bold red]stop[/] \\x1b[2J")
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
                assert not screen.has("Traceback")
            finally:
                process.kill()
    finally:
        os.close(terminal)
        os.close(other_end)


def test_a_broker_that_is_not_there_is_said() -> None:
    with watch("--port", str(free_port())) as (process, _, err):
        err.await_text("Connection refused; trying again in")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@needs_mosquitto
def test_refused_credentials_are_said_and_those_of_the_configuration_are_used(
    mosquitto: Callable[[MosquittoOptions], Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(MosquittoOptions(users={"reader": PASSWORD}))
    config = tmp_path / "stt-mqtt.yaml"
    lines = f"mqtt:\n  host: {broker.host}\n  port: {broker.port}\n  client_id: the-service\n"
    config.write_text(f"{lines}  username: reader\n  password: wrong\n")
    with watch("-c", str(config)) as (_, _, err):
        err.await_text("check mqtt.username")
    config.write_text(f"{lines}  username: reader\n  password: {PASSWORD}\n")
    with watch("-c", str(config)) as (_, out, err), watch("-c", str(config)) as (_, other, second):
        err.await_text("connected")
        second.await_text("connected")
        publish.single(
            "stt/kitchen/result",
            payload("Lights on."),
            hostname=broker.host,
            port=broker.port,
            auth={"username": "reader", "password": PASSWORD},
        )
        out.await_text("kitchen: Lights on.")
        other.await_text("kitchen: Lights on.")
        assert not err.has("broke")


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "²", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    process = subprocess.run([*COMMAND, f"--port={port}"], capture_output=True, check=False)
    assert process.returncode == 2
    assert b"is not a port" in process.stderr


def test_without_the_server_packages_it_works() -> None:
    heavy = ("av", "ctranslate2", "faster_whisper", "iotcore", "tokenizers", "huggingface_hub")
    script = f"import sys, stt_mqtt.commands.watch; print(set({heavy}) & set(sys.modules))"
    output = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert output.strip() == "set()"


def test_a_host_that_is_a_uri_is_refused_with_what_to_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["watch", "--host", "mqtt://nas.lan:1884"]) == 78
    assert "--host: must be a name" in (said := capsys.readouterr().err)
    assert "write host: nas.lan and port: 1884" in said
