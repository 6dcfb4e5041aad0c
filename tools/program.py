"""The installed program as a process, and a plain MQTT client to talk to it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations, zip_longest
from pathlib import Path
from typing import IO, Any

import paho.mqtt.client as paho
import yaml
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tools.brokers import Broker, Mosquitto, eventually
from tools.clients import Address

PROGRAM = Path(sys.executable).parent / "stt-mqtt"
ONLINE_TIMEOUT_S = 60.0
PATIENT = {"max_queue_age_s": 120, "inference_timeout_s": 600}
"""`limits` of a service that gives nobody up because the machine is busy."""


class Peer:
    """A client that remembers what it receives; MQTT 5 where the broker speaks it.

    With `qos` 0 it sends no confirmations. No two filters may overlap: some brokers deliver what
    matches both of them twice.
    """

    def __init__(self, broker: Broker, *filters: str, qos: int = 1) -> None:
        for one, other in combinations(filters, 2):
            assert not overlap(one, other), f"{one} and {other} overlap"
        v5 = isinstance(broker, Mosquitto)
        protocol = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        self.messages: list[paho.MQTTMessage] = []
        self._filters = [(topic_filter, qos) for topic_filter in filters]
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.append(True)
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._subscribed: list[bool] = []
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        eventually(lambda: len(self._subscribed) == len(filters))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # Without them no cycle keeps its sockets until the garbage is collected.
        self._client.on_connect = self._client.on_subscribe = self._client.on_message = None

    def publish(
        self,
        topic: str,
        payload: bytes | str | None = None,
        retain: bool = False,
        **properties: Any,
    ) -> None:
        """Publish with QoS 1 and wait until the broker has it."""
        extra = Properties(PacketTypes.PUBLISH) if properties else None
        for name, value in properties.items():
            setattr(extra, name, value)
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=extra)
        info.wait_for_publish(60)

    def payloads(self, topic: str) -> list[bytes]:
        return [bytes(message.payload) for message in list(self.messages) if message.topic == topic]

    def results(self) -> list[tuple[float, dict[str, Any]]]:
        """Results of native devices so far, each with its time of `time.monotonic`."""
        return [
            (message.timestamp, json.loads(message.payload))
            for message in list(self.messages)
            if message.topic.endswith("/result")
        ]

    def json(self, topic: str, count: int = 1, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """The first `count` JSON messages on a topic, awaited."""
        eventually(lambda: len(self.payloads(topic)) >= count, timeout_s)
        return [json.loads(payload) for payload in self.payloads(topic)]

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        for topic_filter, qos in self._filters:
            client.subscribe(topic_filter, qos=qos)


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters."""
    for pair in zip_longest(one.split("/"), other.split("/")):
        if "#" in pair:
            return True
        if None in pair or (len(set(pair)) == 2 and "+" not in pair):
            return False
    return True


class Service:
    """`stt-mqtt run` as a process against a broker."""

    def __init__(self, folder: Path, server: Address, /, **config: Any) -> None:
        self.config_file = folder / "stt-mqtt.yaml"
        self.log_file = folder / "service.log"
        self._base = {"mqtt": {"host": server.host, "port": server.port}}
        self.configure(**config)
        self._log = self.log_file.open("ab")
        self.process = self.spawn(self._log)

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        return [str(PROGRAM), "run", "--config", str(self.config_file)]

    def spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the program."""
        return subprocess.Popen(self.arguments, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def configure(self, **config: Any) -> None:
        """Write the configuration file. Without free ports of their own these doors stay closed."""
        mqtt = {**self._base["mqtt"], **config.pop("mqtt", {})}
        wyoming = config.pop("wyoming", {"enabled": False})
        web = config.pop("web", {"enabled": False})
        doors = {"mqtt": mqtt, "wyoming": wyoming, "web": web}
        self.config_file.write_text(yaml.safe_dump({**config, **doors}))

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask the process to end; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.end(timeout_s)

    def end(self, timeout_s: float = 60.0) -> int:
        """Wait until the process has ended by itself."""
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()


@contextmanager
def running(
    folder: Path, broker: Broker, make: type[Service] = Service, /, **config: Any
) -> Iterator[tuple[Service, Peer]]:
    """An online service, and a peer that hears everything that it says.

    Its `limits` are `PATIENT`, unless `config` has others.
    """
    peer = Peer(
        broker,
        "stt/+/result",
        "stt/+/text",
        "stt/+/state",
        "stt/+/settings",
        "stt/+/reply/#",
        "stt/bridge/info",
        "stt/bridge/health",
        "stt/bridge/request/+",
        "stt/bridge/response/+",
    )
    service = make(folder, broker, **{"limits": PATIENT, **config})
    try:
        await_online(service, peer)
        yield service, peer
    finally:
        service.stop()
        peer.close()


def await_online(service: Service, peer: Peer) -> None:
    """Wait for the birth message; fail at once if the process ends."""

    def online() -> bool:
        assert service.process.poll() is None, service.log
        return b"online" in peer.payloads("stt/bridge/state")

    eventually(online, ONLINE_TIMEOUT_S)
