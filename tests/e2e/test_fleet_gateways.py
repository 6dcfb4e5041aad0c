"""Two gateways as processes, with a real broker, a real NATS server and a simulated worker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tools.brokers import Broker, eventually, needs_mosquitto
from tools.nats_servers import NatsServer, a_nats_server, needs_nats
from tools.program import PATIENT, Peer, Service

pytestmark = [needs_mosquitto, needs_nats]

ROOMS = [f"room{number}" for number in range(10)]
CHUNK = bytes(3200)


class House:
    """Gateways that share rooms, and a client that speaks in all of them."""

    def __init__(self, folder: Path, broker: Broker, nats: NatsServer, stack: ExitStack) -> None:
        self._folder = folder
        self._broker = broker
        self._nats = nats
        self._stack = stack
        self.peer = Peer(
            broker, "stt/+/result", "stt/bridge/fleet", "stt/bridge/state", "stt/bridge/info"
        )
        stack.callback(self.peer.close)

    def gateway(self, node: str) -> Service:
        folder = self._folder / node
        folder.mkdir(exist_ok=True)
        fleet = {"role": "gateway", "node": node, "servers": [self._nats.url]}
        homeassistant = {"enabled": False}
        service = Service(
            folder, self._broker, fleet=fleet, limits=PATIENT, homeassistant=homeassistant
        )
        self._stack.callback(service.stop)
        return service

    def worker(self) -> None:
        command = [sys.executable, "-m", "tools.simulated_worker", "--servers", self._nats.url]
        process = subprocess.Popen(
            [*command, "--name", "w1", "--cost-s", "0.05", "--threads", "4"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        assert process.stdout.readline() == "ready\n"

    @property
    def ring(self) -> dict[str, Any]:
        messages = [json.loads(payload) for payload in self.peer.payloads("stt/bridge/fleet")]
        rings = [message for message in messages if "gateways" in message]
        return rings[-1] if rings else {}

    def await_ring(self, *names: str) -> None:
        eventually(lambda: (self.ring.get("gateways"), self.ring.get("leaving")) == ([*names], []))

    def start(self, said: str) -> None:
        for room in ROOMS:
            start = json.dumps({"id": f"{room}-{said}", "framing": "seq32"})
            self.peer.publish(f"stt/{room}/audio/start", start)

    def stop(self, said: str) -> None:
        for room in ROOMS:
            for number in range(5):
                chunk = number.to_bytes(4, "little") + CHUNK
                self.peer.publish(f"stt/{room}/audio", chunk)
            self.peer.publish(f"stt/{room}/audio/stop", json.dumps({"id": f"{room}-{said}"}))

    def answers(self, said: str) -> list[dict[str, Any]]:
        results = [result for _, result in self.peer.results()]
        return [one for one in results if one["id"] and one["id"].endswith(f"-{said}")]

    def await_answers(self, said: str) -> set[str]:
        """Exactly one transcript for each room. Return the gateways that had them."""
        eventually(lambda: len(self.answers(said)) >= len(ROOMS))
        answers = self.answers(said)
        assert sorted(one["device"] for one in answers) == ROOMS
        assert {one["outcome"] for one in answers} == {"transcript"}
        # The simulated worker says whose job it did.
        return {one["text"].split()[1].split(".")[0].lower() for one in answers}


@contextmanager
def a_house(folder: Path, broker: Broker) -> Iterator[House]:
    with ExitStack() as stack:
        nats = stack.enter_context(a_nats_server(folder))
        yield House(folder, broker, nats, stack)


def online_since(house: House, count: int) -> Callable[[], bool]:
    return lambda: house.peer.payloads("stt/bridge/state")[count:][-1:] == [b"online"]


def test_gateways_share_the_rooms_and_lose_nothing_when_one_joins_stops_or_is_killed(
    tmp_path: Path, broker: Broker
) -> None:
    with a_house(tmp_path, broker) as house:
        attic = house.gateway("attic")
        house.await_ring("attic")
        house.worker()
        house.start("alone")
        cellar = house.gateway("cellar")
        house.await_ring("attic", "cellar")
        # What is open stays where it is; what begins now begins at its owner.
        house.stop("alone")
        assert house.await_answers("alone") == {"attic"}
        house.start("shared")
        house.stop("shared")
        assert house.await_answers("shared") == {"attic", "cellar"}
        assert len({info["instance"] for info in house.peer.json("stt/bridge/info")}) == 1
        twin = house.gateway("cellar")
        assert twin.end() == 78
        assert "another gateway of the fleet home has the name cellar" in twin.log

        house.start("going")
        attic.process.send_signal(signal.SIGTERM)
        eventually(lambda: house.ring.get("gateways") == ["cellar"])
        house.stop("going")
        assert house.await_answers("going") == {"attic", "cellar"}
        assert attic.end() == 0
        house.await_ring("cellar")
        assert house.peer.payloads("stt/bridge/state")[-1] == b"online"

        attic = house.gateway("attic")
        house.await_ring("attic", "cellar")
        said = len(house.peer.payloads("stt/bridge/state"))
        cellar.process.kill()
        house.await_ring("attic")
        eventually(online_since(house, said))
        house.start("left")
        house.stop("left")
        assert house.await_answers("left") == {"attic"}
        assert attic.stop() == 0
        assert house.peer.payloads("stt/bridge/state")[-1] == b"offline"
