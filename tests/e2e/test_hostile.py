"""Hostile bytes on every door of the running program, while others speak to it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.mqtt.arrivals import MAX_INBOX_BYTES
from tools.attacks import ATTACKS, BLOCK, Assault, an_attacker, unanswered
from tools.brokers import (
    KEEPS_ALL,
    MOSQUITTO,
    Broker,
    EmbeddedProcess,
    Mosquitto,
    eventually,
    free_port,
    needs_mosquitto,
)
from tools.clients import (
    TEXT_TOPIC,
    WYOMING_AUDIO,
    Tally,
    one_client_a_door,
    speaking,
    wyoming_event,
)
from tools.processes import peak_rss
from tools.program import Peer, Service, await_online

WARM_S = 3.0
ATTACK_S = 5.0
SEND_TIMEOUT_S = 20.0
ANSWERED_WITHIN_S = 28.0
MAX_BUFFERED_MIB = 16
MODEL_BYTES = 40_000_000
"""Of memory that two transcriptions at once need."""
MAX_GROWTH_BYTES = MAX_INBOX_BYTES + (MAX_BUFFERED_MIB << 20) + MODEL_BYTES
"""Under all attacks at once. Only a busy machine lets the inbox fill up; they send more."""
FLOOD_BYTES = 400_000_000
MAX_FLOOD_GROWTH_BYTES = 20_000_000
CRASH_SIGNS = ("Traceback", "please report", "never retrieved", "Exception in")


class RunningService:
    """A running service with a Wyoming port."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.broker = broker
        self.port = free_port()
        self.peer = Peer(broker, "stt/bridge/#", TEXT_TOPIC)
        self.service = Service(
            folder,
            broker,
            wyoming={"listen": [f"tcp://127.0.0.1:{self.port}"]},
            service={"health_interval_s": 1},
            engine={"workers": 2},
            limits={"max_buffered_mib": MAX_BUFFERED_MIB},
        )
        self.process = psutil.Process(self.service.process.pid)

    def health(self) -> dict[str, Any]:
        """What the service says of itself by itself, from now on."""
        before = len(self.peer.payloads("stt/bridge/health"))
        return self.peer.json("stt/bridge/health", before + 1)[-1]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("running")
    broker = EmbeddedProcess(folder) if MOSQUITTO is None else Mosquitto(folder, KEEPS_ALL)
    broker.start()
    running = RunningService(folder, broker)
    try:
        await_online(running.service, running.peer)
        yield running
    finally:
        running.service.stop()
        running.peer.close()
        broker.stop()


def assert_all_right(heard: dict[str, Tally]) -> None:
    for door, one in heard.items():
        assert one.right == one.asked > 0, f"{door}: {one.wrong}"


@pytest.mark.parametrize(
    "beginning",
    [
        wyoming_event("audio-start", WYOMING_AUDIO)
        + b'{"type":"audio-chunk","payload_length":10000000000}\n',
        b'{"type":"describe","data_length":10000000000}\n',
        b'{"type":"',
    ],
    ids=["payload", "data", "line"],
)
def test_who_sends_without_end_fills_no_memory(running: RunningService, beginning: bytes) -> None:
    warm = running.process.memory_info().rss
    with (
        peak_rss(running.process) as peak,
        socket.create_connection(("127.0.0.1", running.port), SEND_TIMEOUT_S) as sock,
    ):
        sock.sendall(beginning)
        with suppress(ConnectionError):
            for _ in range(FLOOD_BYTES // len(BLOCK)):
                sock.sendall(BLOCK)
        growth = peak() - warm
    assert growth < MAX_FLOOD_GROWTH_BYTES
    eventually(lambda: running.health()["counters"]["errors"])


@needs_mosquitto  # The embedded broker loses messages of whom it cannot keep up with.
def test_hostile_bytes_cost_little_memory_and_nobody_else_a_word(running: RunningService) -> None:
    broker = running.broker
    clips = [(sample.text, sample.pcm()) for sample in SAMPLES]
    assault = Assault("test", ATTACK_S, tuple(ATTACKS))
    with one_client_a_door(broker, running.port) as clients:
        with speaking(clients, clips) as before:
            time.sleep(WARM_S)
        assert_all_right(before)
        warm = running.process.memory_info().rss
        with (
            an_attacker(assault, broker, running.port) as attacker,
            peak_rss(running.process) as peak,
        ):
            with speaking(clients, clips) as during:
                attacker.go_on()
                report = json.loads(attacker.line())
            attacker.go_on()
            sessions = unanswered(running.peer, assault.run, report, ANSWERED_WITHIN_S)
        with speaking(clients, clips) as after:
            time.sleep(1.0)

    counters = running.health()["counters"]
    if counters["dropped"]["inbox_full"] == 0:  # The machine kept up.
        assert_all_right(during)
    assert_all_right(after)
    assert all(did["steps"] for did in report.values())
    assert sum(did["bytes"] for did in report.values()) > MAX_GROWTH_BYTES
    assert peak() - warm < MAX_GROWTH_BYTES
    assert sessions["sessions"] > 1000
    assert (sessions["missing"], sessions["several"]) == (0, 0)

    for reason in ("bad_payload", "bad_frame", "bad_topic"):
        assert counters["dropped"][reason] > 0
    for code in ("payload_too_large", "bad_payload", "unsupported_format"):
        assert counters["errors"][code] > 0
    eventually(lambda: running.health()["buffered_bytes"] == 0)

    assert running.service.stop() == 0
    assert [sign for sign in CRASH_SIGNS if sign in running.service.log] == []
