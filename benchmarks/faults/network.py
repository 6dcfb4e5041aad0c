"""Faults of the broker and the network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.faults.house import BATH, Fault, Hits, House, Setup
from tools.brokers import OPENSSL, MosquittoOptions, sign
from tools.proxy import Alter, Duplicated, Swapped

KILLED_S = 5.0
FROZEN_S = 20.0
SLOW_S = 12.0
DELAY_S = 2.0
REFUSED_S = 5.0
SILENT_ROOM_S = 15.0
NOTICED_S = 120.0
"""Within this time a service must have noticed that its connection is dead."""
CLIENT_ID = "stt-mqtt"
NAME = "broker.house"


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
        "the name of the broker cannot be resolved, later it can",
        "network",
        lose_name,
        Hits.MQTT,
        says="cannot be reached: .*name",
        setup=WITH_NAME,
    ),
)
