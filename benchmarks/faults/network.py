"""Faults of broker, network, clients and Home Assistant."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.faults.house import BATH, KITCHEN, Fault, Hits, House, Setup
from benchmarks.faults.rooms import NativeRoom
from stt_mqtt.demo.samples import SAMPLES
from tools import mqtt_frames
from tools.brokers import OPENSSL, MosquittoOptions, eventually, sign
from tools.program import Peer, Service
from tools.proxy import Alter, Duplicated, Proxy, Swapped
from tools.satellite import SatelliteProcess, scene

KILLED_S = 5.0
FROZEN_S = 20.0
SLOW_S = 15.0
DELAY_S = 2.0
REFUSED_S = 5.0
SATELLITE_AWAY_S = 10.0
SILENT_ROOM_S = 15.0
NOTICED_S = 120.0
"""Within this time a service must have noticed that its connection is dead."""
SECOND_S = 20.0
"""How long a second service, or a second satellite of the same name, stays."""
SUBSCRIBER_S = 12.0
HOME_ASSISTANT_AWAY_S = 5.0
DISCOVERED_S = 10.0
CLIENT_ID = "stt-mqtt"
NAME = "broker.house"
SHORT_OF_ROOM = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection."""


def _openssl_missing() -> str | None:
    return None if OPENSSL else "needs the openssl command"


WITH_USER = MosquittoOptions(users={"stt": "right"}, anonymous=True)
"""Only the service has to tell who it is."""
LOGIN = {"client_id": CLIENT_ID, "username": "stt", "password": "right"}
GUARDED = Setup(config={"mqtt": LOGIN}, broker=WITH_USER, tls=True, missing=_openssl_missing)


# The broker -------------------------------------------------------------------------------------


def kill_broker(house: House) -> None:
    """The broker is killed in mid-utterance and started again."""
    house.await_speech(BATH)
    house.broker.kill()
    house.endure(KILLED_S)
    house.broker.start()


def freeze_broker(house: House) -> None:
    """The broker stands still."""
    house.await_speech(BATH)
    os.kill(house.broker.process.pid, signal.SIGSTOP)
    house.endure(FROZEN_S)
    os.kill(house.broker.process.pid, signal.SIGCONT)


def change_password(house: House) -> None:
    """The broker gets another password for the service, and later the right one again."""
    house.broker.reload(replace(house.broker_options, users={"stt": "other"}))
    house.service_line.cut()
    house.await_log("refuses the connection", NOTICED_S)
    house.endure(REFUSED_S)
    house.broker.reload(house.broker_options)


def expire_certificate(house: House) -> None:
    """The certificate of the broker expires, and is replaced later."""
    sign(house.folder, "server", days=-1)
    house.broker.reload(house.broker_options)
    house.service_line.cut()
    house.await_log("certificate has expired", NOTICED_S)
    house.endure(REFUSED_S)
    sign(house.folder, "server")
    house.broker.reload(house.broker_options)


# The network ------------------------------------------------------------------------------------


def silence_service(house: House) -> None:
    """The network swallows what service and broker send until the service has noticed."""
    house.await_speech(BATH)
    house.service_line.silence()
    house.await_log("the connection to .* broke", NOTICED_S)
    house.service_line.accept()


def silence_room(house: House) -> None:
    """The network swallows what a room and the broker send each other."""
    house.await_speech(BATH)
    house.bath_line.silence()
    house.endure(SILENT_ROOM_S)
    house.bath_line.accept()


def one_byte_at_a_time(house: House) -> None:
    """Every byte between service and broker is a packet of its own."""
    house.service_line.piece_bytes = 1
    house.endure(SLOW_S)
    house.service_line.piece_bytes = None


def delay(house: House) -> None:
    """Every byte between service and broker arrives later, in both directions."""
    house.service_line.delay_s = DELAY_S
    house.endure(SLOW_S)
    house.service_line.delay_s = 0.0


def duplicate(house: House) -> None:
    """Every QoS 1 message between service and broker arrives twice."""
    _alter(house, Duplicated)


def swap(house: House) -> None:
    """Neighbouring messages of different topics between service and broker change places."""
    _alter(house, Swapped)


def _alter(house: House, alter: Callable[[], Alter]) -> None:
    house.service_line.alter = alter
    house.endure(SLOW_S)
    house.service_line.alter = None


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


def _private_mounts_missing() -> str | None:
    unshare = shutil.which("unshare")
    if unshare is None:
        return "needs unshare (util-linux)"
    done = subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "needs the right to make a private mount namespace"


def _hosts(folder: Path, name: str = "") -> None:
    """Write in place: a file of another inode would not be the one that is mounted."""
    (folder / "hosts").write_text(f"127.0.0.1 localhost {name}\n")


def _with_hosts_of_its_own(folder: Path) -> Sequence[str]:
    """The service sees the hosts file of the house, and a name server that does not exist."""
    _hosts(folder, NAME)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
    mounts = [f"mount --bind {folder / name} /etc/{name}" for name in ("hosts", "resolv.conf")]
    return ("unshare", "--mount", "sh", "-ec", f'{"; ".join(mounts)}; exec "$@"', "sh")


WITH_NAME = Setup(
    config={"mqtt": {"host": NAME}},
    launcher=_with_hosts_of_its_own,
    missing=cache(_private_mounts_missing),
)


def lose_name(house: House) -> None:
    """The name of the broker cannot be resolved for a while, and the connection breaks."""
    _hosts(house.folder)
    house.service_line.cut()
    house.await_log("cannot be reached: .*name", NOTICED_S)
    house.endure(REFUSED_S)
    _hosts(house.folder, NAME)


# Other clients ----------------------------------------------------------------------------------


def second_service(house: House) -> None:
    """Somebody starts another service with the same client identifier."""
    folder = house.folder / "second"
    folder.mkdir()
    second = Service(folder, house.service_line, mqtt=house.config["mqtt"])
    house.endure(SECOND_S)
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
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SHORT_OF_ROOM)
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


BROKE = "the connection to .* broke"
FAULTS: tuple[Fault, ...] = (
    Fault(
        f"broker killed in mid-utterance, started again after {KILLED_S:g} s",
        "broker",
        kill_broker,
        Hits.MQTT,
        says=BROKE,
    ),
    Fault(
        f"broker frozen (SIGSTOP) for {FROZEN_S:g} s in mid-utterance",
        "broker",
        freeze_broker,
        Hits.MQTT,
    ),
    Fault(
        "half-open: the network swallows all bytes of the service until it notices",
        "network",
        silence_service,
        Hits.MQTT,
        says=BROKE,
    ),
    Fault(
        f"half-open: the network swallows all bytes of one room for {SILENT_ROOM_S:g} s",
        "network",
        silence_room,
        Hits.ROOM,
    ),
    Fault(
        "one byte at a time between service and broker",
        "network",
        one_byte_at_a_time,
        Hits.MQTT,
        spares=True,
    ),
    Fault(
        f"{DELAY_S:g} s of delay both ways between service and broker",
        "network",
        delay,
        Hits.MQTT,
        spares=True,
    ),
    Fault(
        "all QoS 1 messages twice between service and broker",
        "network",
        duplicate,
        Hits.MQTT,
        spares=True,
        quick=True,
    ),
    Fault(
        "neighbouring messages of different topics swapped between service and broker",
        "network",
        swap,
        Hits.MQTT,
    ),
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
        says="another client uses the identifier",
        setup=GUARDED,
        rivals=True,
    ),
    Fault(
        "wrong password, later the right one",
        "broker",
        change_password,
        Hits.MQTT,
        says="refuses the connection.*check mqtt.username",
        setup=GUARDED,
    ),
    Fault(
        "certificate of the broker expired, later replaced",
        "broker",
        expire_certificate,
        Hits.MQTT,
        says="certificate has expired",
        setup=GUARDED,
    ),
    Fault(
        "the name of the broker cannot be resolved, later it can",
        "network",
        lose_name,
        Hits.MQTT,
        says="cannot be reached: .*name",
        setup=WITH_NAME,
    ),
)
