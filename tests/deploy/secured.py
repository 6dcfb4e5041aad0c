"""A real Mosquitto with the very files of deploy/mosquitto, and users as its scripts make them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.deploy.files import DEPLOY
from tools.brokers import MOSQUITTO, await_port, end_mosquitto, free_port

FILES = DEPLOY / "mosquitto"
ORACLE = "oracle"
"""A user that only the tests have. It may read and write everything."""
ANSWER_S = 60.0


def run_script(name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script of deploy/mosquitto."""
    paths = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return subprocess.run(
        ["sh", str(FILES / name), *arguments],
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
        env={**os.environ, "PATH": paths},
    )


def owner() -> str:
    """Who runs Mosquitto in the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


def here(text: str, folder: Path, port: int, tls_port: int) -> str:
    """The configuration with the paths and ports of a test."""
    for before, after in {
        "/mosquitto/broker/": f"{folder}/broker/",
        "/mosquitto/data/": f"{folder}/data/",
        "/mosquitto/config/": f"{folder}/config/",
        "listener 8883\n": f"listener {tls_port} 127.0.0.1\n",
        "listener 1883\n": f"listener {port} 127.0.0.1\n",
    }.items():
        text = text.replace(before, after)
    return text


class SecuredBroker:
    """The broker of deploy/compose.yaml.

    `by_hand`: users with names that the script does not make. Their password is their name.
    """

    host = "localhost"

    def __init__(self, folder: Path, users: Collection[str], by_hand: Collection[str] = ()) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.folder = folder
        self._broker = folder / "broker"
        self.ca = self._broker / "ca.pem"
        run_script("install.sh", str(self._broker), owner(), "localhost")
        passwords = str(self._broker / "passwords")
        self.passwords = {
            user: run_script("add-user.sh", user, passwords).stdout.strip() for user in users
        }
        if by_hand:
            self.passwords |= {name: name for name in by_hand}
            odd = folder / "odd"
            odd.write_text("".join(f"{name}:{name}\n" for name in by_hand))
            subprocess.run(["mosquitto_passwd", "-U", str(odd)], check=True, timeout=60)
            with (self._broker / "passwords").open("a") as file:
                file.write(odd.read_text())
        if ORACLE in users:
            with (self._broker / "acl").open("a") as file:
                file.write(f"\nuser {ORACLE}\ntopic readwrite #\ntopic readwrite $SYS/#\n")
        self._write_configuration()
        self._process: subprocess.Popen[bytes] | None = None

    def password_file(self, user: str) -> Path:
        """A file with the password, as a program needs it."""
        path = self.folder / f"password-{user}"
        path.write_text(f"{self.passwords[user]}\n")
        path.chmod(0o600)
        return path

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert MOSQUITTO is not None
        log = self.folder / "broker.log"
        command = [MOSQUITTO, "-c", str(self.folder / "config" / "mosquitto.conf")]
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        await_port(self.tls_port, self._process, log)
        await_port(self.port, self._process, log)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            end_mosquitto(self._process)
            self._process = None

    def _write_configuration(self) -> None:
        (self.folder / "data").mkdir()
        target = self.folder / "config"
        shutil.copytree(FILES, target)
        for file in (target / "mosquitto.conf", target / "conf.d" / "stt-mqtt.conf"):
            file.write_text(here(file.read_text(), self.folder, self.port, self.tls_port))
        if os.geteuid() == 0:
            # Otherwise it becomes the user mosquitto, who cannot read the test's folder.
            with (target / "mosquitto.conf").open("a") as main:
                main.write("user root\n")


@contextmanager
def secured_broker(
    folder: Path, users: Collection[str], by_hand: Collection[str] = ()
) -> Iterator[SecuredBroker]:
    """The broker, running."""
    broker = SecuredBroker(folder, users, by_hand)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class RefusedError(Exception):
    """The broker does not take the connection."""


class Person:
    """A client of the secured broker, over TLS, in MQTT 5, with the login of a user.

    `will`: the topic of a last will. Raises `RefusedError`.
    """

    def __init__(
        self,
        broker: SecuredBroker,
        user: str,
        *,
        password: str | None = None,
        will: str | None = None,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._connected: ReasonCode | None = None
        self._refusals: dict[int, bool] = {}
        """By message id, whether the broker refused a publication."""
        self._subscribed: set[int] = set()
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.tls_set_context(tls or ssl.create_default_context(cafile=str(broker.ca)))
        client.username_pw_set(user, broker.passwords[user] if password is None else password)
        if will is not None:
            client.will_set(will, b"gone", qos=1)
        client.max_inflight_messages_set(0)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect(broker.host, broker.tls_port)
        client.loop_start()
        self._client = client
        try:
            self._await(lambda: self._connected is not None)
        except AssertionError:
            self.close()
            raise
        if self._connected is not None and self._connected.is_failure:
            self.close()
            raise RefusedError(str(self._connected))

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
        client = self._client
        # Without them no cycle keeps the socket until the garbage is collected.
        client.on_connect = client.on_publish = client.on_subscribe = client.on_message = None

    def vanish(self) -> None:
        """Break the connection without a farewell."""
        sock = self._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def await_heard(self, topic: str, times: int = 1) -> None:
        """Wait for messages."""
        self._await(lambda: self.times(topic) >= times)

    def times(self, topic: str) -> int:
        """How many messages came on a topic."""
        return sum(heard == topic for heard, _ in list(self.heard))

    def publish(
        self, payloads: dict[str, bytes], retain: bool = False, reply_to: str | None = None
    ) -> set[str]:
        """Publish all with QoS 1; the topics that the broker did not refuse."""
        extra = Properties(PacketTypes.PUBLISH)
        if reply_to is not None:
            extra.ResponseTopic = reply_to
        sent = {
            topic: self._client.publish(topic, payload, 1, retain, extra).mid
            for topic, payload in payloads.items()
        }
        self._await(lambda: self._refusals.keys() >= set(sent.values()))
        return {topic for topic, mid in sent.items() if not self._refusals[mid]}

    def subscribe(self, *filters: str) -> None:
        """Subscribe with QoS 0. What the broker has for this client by now has been heard."""
        mid = self._client.subscribe([(one, 0) for one in filters])[1]
        self._await(lambda: mid in self._subscribed)

    def hears(self) -> set[str]:
        """The topics that were heard, when everything has come that the broker has sent by now."""
        # The answer to a subscription comes behind all messages.
        self.subscribe("stt/nobody/nothing")
        return {topic for topic, _ in self.heard}

    def _on_connect(self, _client: object, _data: object, _flags: object, code: ReasonCode,
                    _properties: object) -> None:  # fmt: skip
        with self._changed:
            self._connected = code
            self._changed.notify_all()

    def _on_publish(self, _client: object, _data: object, mid: int, code: ReasonCode,
                    _properties: object) -> None:  # fmt: skip
        with self._changed:
            self._refusals[mid] = code.is_failure
            self._changed.notify_all()

    def _on_subscribe(self, _client: object, _data: object, mid: int, _codes: object,
                      _properties: object) -> None:  # fmt: skip
        with self._changed:
            self._subscribed.add(mid)
            self._changed.notify_all()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.heard.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()

    def _await(self, predicate: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, ANSWER_S), "no answer of the broker"
