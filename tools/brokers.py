"""Real brokers for the tests: Mosquitto where it is installed, else the embedded one."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import SystemRandom
from typing import Protocol, TypeVar

import pytest

T = TypeVar("T")

MOSQUITTO = shutil.which(
    "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
)
OPENSSL = shutil.which("openssl")

needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="needs Mosquitto (apt install mosquitto), which is not installed"
)

PATIENCE_S = 60.0
"""How long a test waits for what has to happen. Only a failing test waits so long."""


def eventually(predicate: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
    """The first true value of `predicate`, asked again until `timeout_s` have passed."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s} s: last answer {value!r}")
        time.sleep(0.005)


def never(predicate: Callable[[], object], within_s: float) -> None:
    """Fails as soon as `predicate` becomes true within `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = predicate()
        assert not value, f"happened: {value!r}"
        time.sleep(0.02)


def _own_ports() -> Iterator[int]:
    """Ports that no other process of this test run takes, nor the system for a client."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(11_000 + worker, 32_000, workers)
    start = SystemRandom().randrange(len(ports))
    return cycle([*ports[start:], *ports[:start]])


_PORTS = _own_ports()


def free_port() -> int:
    """A loopback TCP port that nobody listens on, and nobody will before the test does."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def describe_broker() -> str:
    """The line in pytest's header."""
    if MOSQUITTO is None:
        return (
            "MQTT broker: the embedded one (iotcore); Mosquitto is not installed, "
            "tests that need it are skipped"
        )
    version = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False)
    return f"MQTT broker: {version.stdout.splitlines()[0]} ({MOSQUITTO})"


class Broker(Protocol):
    """A broker process on a loopback port."""

    host: str
    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, a server certificate for localhost and a client certificate."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@dataclass(frozen=True)
class MosquittoOptions:
    """What a test may ask of Mosquitto; `lines` go to its configuration as they are."""

    users: dict[str, str] = field(default_factory=dict)
    anonymous: bool = False
    """Whether clients without a user are accepted although there are users."""
    acl: str | None = None
    certificates: Certificates | None = None
    client_certificate: bool = False
    max_packet_size: int | None = None
    lines: tuple[str, ...] = ()


KEEPS_ALL = MosquittoOptions(lines=("max_queued_messages 0",))
"""Otherwise it drops what comes faster than a program on a busy machine can take it."""


class Mosquitto:
    """A Mosquitto process. After `stop`, `start` brings it back on the same port."""

    host = "localhost"

    def __init__(self, folder: Path, options: MosquittoOptions | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options or MosquittoOptions()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        config = self._folder / f"mosquitto-{self.port}.conf"
        config.write_text("\n".join(self._config()) + "\n")
        log = self._folder / f"mosquitto-{self.port}.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", str(config)], stdout=output, stderr=output
            )
        await_port(self.port, self._process, log)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        """Terminate it; clients see the connection close."""
        if self._process is not None:
            end_mosquitto(self._process)
            self._process = None

    def kill(self) -> None:
        """Kill it: nobody hears a farewell."""
        self.process.kill()
        self.process.wait()
        self._process = None

    def reload(self, options: MosquittoOptions) -> None:
        """Have it read the files of `options`: passwords, rights and certificates."""
        self._options = options
        self._config()
        self.process.send_signal(signal.SIGHUP)

    def _config(self) -> list[str]:
        options = self._options
        lines = [f"listener {self.port} 127.0.0.1", *options.lines]
        if os.geteuid() == 0:
            # Otherwise it becomes the user mosquitto, who cannot read the test's folder.
            lines.insert(0, "user root")
        if options.users:
            path = self._folder / f"passwords-{self.port}"
            path.write_text("".join(_password_line(*login) for login in options.users.items()))
            path.chmod(0o600)
            anonymous = str(options.anonymous).lower()
            lines += [f"allow_anonymous {anonymous}", f"password_file {path}"]
        else:
            lines.append("allow_anonymous true")
        if options.acl is not None:
            path = self._folder / f"acl-{self.port}"
            path.write_text(options.acl)
            path.chmod(0o600)
            lines.append(f"acl_file {path}")
        if options.max_packet_size is not None:
            lines.append(f"max_packet_size {options.max_packet_size}")
        if options.certificates is not None:
            lines += [
                f"cafile {options.certificates.ca}",
                f"certfile {options.certificates.server}",
                f"keyfile {options.certificates.server_key}",
                f"require_certificate {str(options.client_certificate).lower()}",
            ]
        return lines


def end_mosquitto(process: subprocess.Popen[bytes]) -> None:
    """Terminate Mosquitto and wait for its end.

    It forgets a signal that comes after it listens and before its main loop. So the signal is sent
    again every second, for a minute at most.
    """
    for _ in range(60):
        process.terminate()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
        return
    raise TimeoutError(f"Mosquitto, process {process.pid}, does not end")


_EMBEDDED = """
import sys
from stt_mqtt.config import BrokerConfig
from stt_mqtt.doors.embedded import EmbeddedBroker
login = tuple(sys.argv[2:4]) if len(sys.argv) > 3 else None
EmbeddedBroker(BrokerConfig(mode="embedded", port=int(sys.argv[1])), login, 4 << 20).start()
sys.stdin.read()
"""


class EmbeddedProcess:
    """The embedded broker in a process of its own, which ends with the test."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        self.port = free_port()
        self.log = folder / f"embedded-{self.port}.log"
        self._login = login or ()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _EMBEDDED, str(self.port), *self._login],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        await_port(self.port, self._process, self.log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None


class FakeServer:
    """Accepts connections and lets `behave` play a broker's part; counts CONNECT packets."""

    host = "127.0.0.1"

    def __init__(self, behave: Callable[[socket.socket, bytes], None]) -> None:
        self.connects: list[bytes] = []
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)

    def protocol_levels(self) -> list[int]:
        """Byte of the protocol version in each CONNECT: 4 is 3.1.1, 5 is 5."""
        return [packet[packet.index(b"MQTT") + 4] for packet in self.connects]

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, suppress(OSError):
                sock.settimeout(60)
                connect = sock.recv(65536)
                if connect:
                    self.connects.append(connect)
                    self._behave(sock, connect)


def only_old_tls(certificates: Certificates) -> Callable[[socket.socket, bytes], None]:
    """A `FakeServer` that refuses a greeting for speaking no TLS before 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    def behave(sock: socket.socket, greeting: bytes) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(greeting)
        with suppress(ssl.SSLError):
            server.do_handshake()
        sock.sendall(outgoing.read())
        sock.recv(1)

    return behave


def make_certificates(folder: Path) -> Certificates:
    """Make a certificate authority and what it signed, with the openssl command."""
    extensions = folder / "localhost.ext"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=stt-mqtt-test-ca -keyout ca.key -out ca.pem",
    )
    for name, subject in (("server", "localhost"), ("client", "kitchen")):
        _openssl(
            folder,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
            f"-subj /CN={subject} -keyout {name}.key -out {name}.csr",
        )
        sign(folder, name)
    return Certificates(
        folder / "ca.pem",
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
    )


def sign(folder: Path, name: str, days: int = 2) -> None:
    """Sign a certificate of `make_certificates` anew. With less than 0 days it has expired."""
    _openssl(
        folder,
        f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} "
        f"-extfile localhost.ext -out {name}.pem",
    )


def _openssl(folder: Path, arguments: str) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *arguments.split()], cwd=folder, check=True, capture_output=True)


def _password_line(user: str, password: str) -> str:
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    texts = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7$101${'$'.join(texts)}\n"


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program listens on a loopback port; fail at once if it ends."""

    def listening() -> bool:
        assert process.poll() is None, f"the program ended:\n{log.read_text()}"
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5):
                return True
        except OSError:
            return False

    eventually(listening)
