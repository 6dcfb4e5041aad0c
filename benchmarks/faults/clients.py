"""Faults of other clients: satellites, subscribers, a second service, Home Assistant."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from benchmarks.faults.house import BATH, KITCHEN, Fault, Hits, House
from benchmarks.faults.network import GUARDED, NOTICED_S
from benchmarks.faults.rooms import NativeRoom
from stt_mqtt.demo.samples import SAMPLES
from tools import mqtt_frames
from tools.brokers import eventually
from tools.program import Peer, Service
from tools.proxy import Proxy
from tools.satellite import SatelliteProcess, scene

SATELLITE_AWAY_S = 10.0
SHARED = "another client uses the identifier"
SECOND_S = 20.0
"""How long a second satellite of the same name stays."""
SUBSCRIBER_S = 12.0
HOME_ASSISTANT_AWAY_S = 5.0
DISCOVERED_S = 10.0
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection."""


def cut_off_satellite(house: House) -> None:
    """`stt-mqtt satellite` goes on recording while its network is away."""
    said = SAMPLES[:5]
    with (
        closing(Proxy(house.broker.port)) as line,
        closing(Peer(house.broker, "stt/porch/result")) as peer,
    ):
        file = str(scene(house.folder, said))
        program = SatelliteProcess(house.folder, line, "porch", "--file", file)
        peer.json("stt/porch/result")
        line.cut(refuse=True)
        time.sleep(SATELLITE_AWAY_S)
        line.accept()
        lines = program.end(120)
        results = [json.loads(payload) for payload in peer.payloads("stt/porch/result")]
    answered = [one["id"] for one in results if not one["repeated"] and not one["incomplete"]]
    late_s = max(one["age_s"] for one in results)
    house.check(program.process.returncode == 0, f"the satellite: {program.log[-200:]}")
    house.check(len(lines) == len(said), f"{len(lines)} of {len(said)} lines")
    house.check(len(answered) == len(set(answered)), f"answered twice: {sorted(answered)}")
    house.note(f"{len(said)} said, {len(answered)} answered, the latest after {late_s:.0f} s")


def second_service(house: House) -> None:
    """Somebody starts another service with the same client identifier."""
    folder = house.folder / "second"
    folder.mkdir()
    second = Service(folder, house.service_line, mqtt=house.config["mqtt"])
    house.await_log(SHARED, NOTICED_S)
    second.stop()


def second_satellite(house: House) -> None:
    """A second satellite speaks as the kitchen."""
    room = NativeRoom("twin", house.broker, house.recordings[1:], house.ledger, KITCHEN)
    room.start()
    house.endure(SECOND_S)
    room.stop()
    room.join()


@contextmanager
def _subscribed(house: House) -> Iterator[socket.socket]:
    """A connection that has subscribed to everything."""
    with mqtt_frames.open_connection("127.0.0.1", house.broker.port, "subscriber") as sock:
        sock.sendall(mqtt_frames.subscribe("stt/#", 1))
        yield sock


def slow_subscriber(house: House) -> None:
    """A client subscribes to everything, and neither reads nor acknowledges."""
    with _subscribed(house):
        house.endure(SUBSCRIBER_S)


def raising_subscriber(house: House) -> None:
    """A client breaks its connection at every message, and comes back."""
    over, breaks = threading.Event(), 0
    timer = threading.Timer(SUBSCRIBER_S, over.set)
    timer.start()
    while not over.is_set():
        with suppress(OSError), _subscribed(house) as sock:
            sock.recv(65536)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            breaks += 1
    house.note(f"it came {breaks} times")


def restart_home_assistant(house: House) -> None:
    """Home Assistant says goodbye, comes back and asks for the discovery."""
    house.witness.publish("homeassistant/status", "offline")
    house.endure(HOME_ASSISTANT_AWAY_S)
    before = len(house.witness.messages)
    rooms = (BATH, KITCHEN)
    house.witness.publish("homeassistant/status", "online")
    asked = time.monotonic()

    def told() -> bool:
        topics = {message.topic for message in house.witness.messages[before:]}
        return {f"homeassistant/device/stt_mqtt_{room}/config" for room in rooms} <= topics

    eventually(told, DISCOVERED_S)
    house.note(f"all rooms announced again after {time.monotonic() - asked:.1f} s")


FAULTS: tuple[Fault, ...] = (
    Fault(
        f"`stt-mqtt satellite` without a network for {SATELLITE_AWAY_S:g} s",
        "network",
        cut_off_satellite,
        Hits.NOBODY,
    ),
    Fault(
        "two satellites with one name",
        "clients",
        second_satellite,
        Hits.KITCHEN,
        says="two satellites use the name kitchen",
    ),
    Fault(
        "a subscriber that neither reads nor acknowledges",
        "clients",
        slow_subscriber,
        Hits.NOBODY,
    ),
    Fault(
        "a subscriber that breaks its connection at every message",
        "clients",
        raising_subscriber,
        Hits.NOBODY,
    ),
    Fault("Home Assistant restarted", "clients", restart_home_assistant, Hits.NOBODY),
    Fault(
        "two services with one client identifier",
        "clients",
        second_service,
        Hits.MQTT,
        says=SHARED,
        setup=GUARDED,
        rivals=True,
    ),
)
