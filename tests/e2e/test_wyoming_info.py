"""Home Assistant gives a server one second to say what it is: also while it has no time."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import Broker, eventually, free_port
from tools.program import Peer, Service, await_online

INFO_TIMEOUT_S = 1.0
RETRY_WAIT_S = 2.0
TRIES = 4
"""All three as in Home Assistant 2026.2, `components/wyoming/data.py`."""
LOADED_SLOWLY = [
    {"name": "float32", "model": "tiny.en", "compute_type": "float32"},
    {"name": "int8", "model": "tiny.en", "compute_type": "int8"},
]
"""Each is loaded and measured before the service is online."""
FULL = 30
PCM = SAMPLES[-1].pcm()
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """What Home Assistant learned, at which try, and how long that one took."""

    info: Info
    tries: int
    seconds: float


async def home_assistant_asks(port: int) -> Told | None:
    """What Home Assistant does when the integration is set up."""
    for number in range(TRIES):
        started = time.monotonic()
        try:
            async with (
                AsyncTcpClient("127.0.0.1", port) as client,
                asyncio.timeout(INFO_TIMEOUT_S),
            ):
                await client.write_event(Describe().event())
                while (event := await client.read_event()) is not None:
                    if Info.is_type(event.type):
                        seconds = time.monotonic() - started
                        return Told(Info.from_event(event), number + 1, seconds)
        except (TimeoutError, OSError):
            pass
        await asyncio.sleep(RETRY_WAIT_S)
    return None


def ask(port: int) -> Info:
    """Home Assistant's question, answered at the first try."""
    told = asyncio.run(home_assistant_asks(port))
    assert told is not None
    assert told.tries == 1
    assert told.seconds < INFO_TIMEOUT_S
    return told.info


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
        eventually(lambda: accepts(port), 30)
        first = ask(port)
        assert "is ready" not in service.log
        asked = 1
        while b"online" not in peer.payloads("stt/bridge/state"):
            assert service.process.poll() is None, service.log
            assert ask(port).to_dict() == first.to_dict()
            asked += 1
            time.sleep(PAUSE_S)
        assert asked > 3
        (program,) = first.asr
        assert program.installed
        assert program.models[0].languages == ["en"]
        assert ask(port).to_dict() == first.to_dict()
    finally:
        service.stop()
        peer.close()


def test_info_comes_at_once_while_the_queue_is_full(tmp_path: Path, broker: Broker) -> None:
    port = free_port()
    peer = Peer(broker, "stt/+/result", "stt/bridge/#")
    service = Service(
        tmp_path,
        broker,
        wyoming={"listen": [f"tcp://127.0.0.1:{port}"]},
        engine={"workers": 1},
        limits={"max_queued": FULL, "max_queue_age_s": 60},
    )
    try:
        await_online(service, peer)
        for number in range(FULL + 10):
            peer.publish(f"stt/room-{number}/utterance", PCM)
        peer.publish("stt/bridge/request/health_check", b"{}")
        (health,) = peer.json("stt/bridge/response/health_check")
        assert health["data"]["queue"]["jobs"] > FULL / 2
        asked = 0
        while True:
            results = [message for message in list(peer.messages) if "result" in message.topic]
            ask(port)
            asked += 1
            time.sleep(PAUSE_S)
            if len(results) >= FULL + 10:
                break
        assert asked > 3
        overloaded = [message for message in results if b'"overloaded"' in message.payload]
        assert overloaded, "the queue was never full"
    finally:
        service.stop()
        peer.close()
