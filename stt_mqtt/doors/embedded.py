"""An MQTT broker inside this process, MQTT 3.1.1 only."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from stt_mqtt.config import BrokerConfig, BrokerMode, MqttConfig, Protocol
from stt_mqtt.errors import BrokerError, MissingExtraError

START_TIMEOUT_S = 5.0
PACKET_OVERHEAD = 64 * 1024
SEGMENT_BYTES = 1024 * 1024
SEGMENTS = 4
"""Segments that are kept per filter. A client that is further behind misses messages."""

log = logging.getLogger(__name__)


class EmbeddedBroker:
    """The broker rumqttd, from the package iotcore. It runs until the process ends.

    `login`: user name and password that all clients need; None: no login is needed.
    """

    def __init__(
        self, config: BrokerConfig, login: tuple[str, str] | None, max_payload_bytes: int
    ) -> None:
        self._config = config
        self._login = login
        self._max_payload_bytes = max_payload_bytes

    def start(self) -> None:
        """Start the broker and wait until it listens.

        Raises BrokerError if the address is in use or unusable, MissingExtraError without iotcore.
        """
        try:
            from iotcore import IotCoreBroker
        except ImportError as error:
            raise MissingExtraError(error.name) from error
        address = self._address()
        # rumqttd logs every packet as an error.
        for name in ("rumqttd", "tracing.span"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._check_free(address)
        with _file_in_memory(self._toml(address)) as path:
            try:
                broker = IotCoreBroker(config_path=path)
                broker.start()
            except Exception as error:
                # The other lines quote the configuration, which has the password.
                reason = str(error).partition("\n")[0]
                raise BrokerError(f"the embedded broker does not start: {reason}") from None
            self._await_listening()
        if not _is_loopback(self._config.listen) and self._login is None:
            log.warning(
                "the embedded broker on %s admits everybody who can reach it: "
                "set mqtt.username and mqtt.password",
                address,
            )

    def _address(self) -> str:
        version = ipaddress.ip_address(self._config.listen).version
        host = f"[{self._config.listen}]" if version == 6 else self._config.listen
        return f"{host}:{self._config.port}"

    def _check_free(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in self._config.listen else socket.AF_INET
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self._config.listen, self._config.port))
        except OSError as error:
            raise BrokerError(
                f"the embedded broker cannot listen on {address}: {error.strerror}; choose "
                "another broker.port, or broker: external if that is your broker"
            ) from error

    def _toml(self, address: str) -> str:
        auth = ""
        if self._login is not None:
            user, password = self._login
            auth = f"auth = {{ {_quoted(user)} = {_quoted(password)} }}\n"
        return f"""id = 0
[router]
id = 0
max_connections = 1010
max_outgoing_packet_count = 200
max_segment_size = {SEGMENT_BYTES}
max_segment_count = {SEGMENTS}
[v4.1]
name = "v4"
listen = "{address}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {self._max_payload_bytes + PACKET_OVERHEAD}
max_inflight_count = 100
dynamic_filters = true
{auth}"""

    def _await_listening(self) -> None:
        host = connect_host(self._config.listen)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((host, self._config.port), 0.5):
                return
            time.sleep(0.01)
        raise BrokerError(f"the embedded broker does not answer on port {self._config.port}")


@contextmanager
def _file_in_memory(text: str) -> Iterator[str]:
    """The path of a file with a secret, which only this process can read and no disk keeps."""
    descriptor = os.memfd_create("broker")
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stt-mqtt-broker-"))
            # The broker tells the format from the ending of the name.
            path = Path(folder, "broker.toml")
            path.symlink_to(f"/proc/self/fd/{descriptor}")
        except OSError as error:
            raise BrokerError(
                "the embedded broker needs a temporary folder, which cannot be made: "
                f"{error.strerror or error}; make room, or name another folder in TMPDIR"
            ) from error
        yield str(path)


def reachable(mqtt: MqttConfig, broker: BrokerConfig) -> MqttConfig:
    """The connection settings `mqtt`, adapted if the embedded broker is used."""
    if broker.mode is not BrokerMode.EMBEDDED:
        return mqtt
    # rumqttd supports MQTT 3.1.1 only, without TLS.
    changes = {"protocol": Protocol.V311, "tls": None}
    address = {"host": connect_host(broker.listen), "port": broker.port}
    return mqtt.model_copy(update={**changes, **address})


def connect_host(listen: str) -> str:
    """The host by which this machine reaches a broker that listens on `listen`."""
    address = ipaddress.ip_address(listen)
    if not address.is_unspecified:
        return listen
    return "127.0.0.1" if address.version == 4 else "::1"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _quoted(text: str) -> str:
    """A TOML string. TOML escapes are those of JSON, and DEL must be escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
