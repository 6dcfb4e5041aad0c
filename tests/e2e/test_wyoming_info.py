"""Home Assistant gives a server one second to say what it is: also while it has no time."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

from stt_mqtt.demo.samples import SAMPLES
from tests.e2e.waits import Stopwatch
from tools.brokers import PATIENCE_S, Broker, eventually, free_port
from tools.program import Peer, Service, await_online

INFO_TIMEOUT_S = 1.0
"""As in Home Assistant 2026.2, `components/wyoming/data.py`."""
LOADED_SLOWLY = [
    {"name": "float32", "model": "tiny.en", "compute_type": "float32"},
    {"name": "int8", "model": "tiny.en", "compute_type": "int8"},
]
"""Each is loaded and measured before the service is online."""
FULL = 6
PCM = SAMPLES[-1].pcm()
PAUSE_S = 0.05


async def asked(port: int) -> Info:
    """The answer to the question that Home Assistant asks when the integration is set up."""
    async with AsyncTcpClient("127.0.0.1", port) as client, asyncio.timeout(PATIENCE_S):
        await client.write_event(Describe().event())
        while (event := await client.read_event()) is not None:
            if Info.is_type(event.type):
                return Info.from_event(event)
    raise AssertionError("the connection was closed")


def ask(port: int, service: Service) -> Info:
    """The answer, which comes in time; a time without a core for them counts for nobody."""
    watch = Stopwatch(os.getpid(), service.process.pid)
    info = asyncio.run(asked(port))
    assert watch.seconds() < INFO_TIMEOUT_S
    return info


def accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def test_info_comes_at_once_while_the_models_load(tmp_path: Path, broker: Broker) -> None:
    port = free_port()
    peer = Peer(broker, "stt/bridge/state")
    listen = {"listen": [f"tcp://127.0.0.1:{port}"]}
    service = Service(tmp_path, broker, wyoming=listen, ladder={"rungs": LOADED_SLOWLY})
    try:
        eventually(lambda: accepts(port))
        first = ask(port, service)
        assert "is ready" not in service.log
        times = 1
        while b"online" not in peer.payloads("stt/bridge/state"):
            assert service.process.poll() is None, service.log
            assert ask(port, service).to_dict() == first.to_dict()
            times += 1
            time.sleep(PAUSE_S)
        assert times > 3
        (program,) = first.asr
        assert program.installed
        assert program.models[0].languages == ["en"]
        assert ask(port, service).to_dict() == first.to_dict()
    finally:
        service.stop()
        peer.close()


def test_info_comes_at_once_while_the_queue_is_full(tmp_path: Path, broker: Broker) -> None:
    port = free_port()
    peer = Peer(broker, "stt/+/result", "stt/bridge/state", "stt/bridge/response/+")
    service = Service(
        tmp_path,
        broker,
        wyoming={"listen": [f"tcp://127.0.0.1:{port}"]},
        engine={"workers": 1},
        limits={"max_queued": FULL, "max_queue_age_s": 60},
    )
    try:
        await_online(service, peer)
        for number in range(2 * FULL):
            peer.publish(f"stt/room-{number}/utterance", PCM)
        peer.publish("stt/bridge/request/health_check", b"{}")
        (health,) = peer.json("stt/bridge/response/health_check")
        assert health["data"]["queue"]["jobs"] > FULL / 2
        times = 0
        while True:
            results = [message for message in list(peer.messages) if "result" in message.topic]
            ask(port, service)
            times += 1
            time.sleep(PAUSE_S)
            if len(results) >= 2 * FULL:
                break
        assert times > 3
        overloaded = [message for message in results if b'"overloaded"' in message.payload]
        assert overloaded, "the queue was never full"
    finally:
        service.stop()
        peer.close()
