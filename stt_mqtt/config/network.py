"""The ways into the service: `mqtt:`, `broker:`, `hermes:`, `wyoming:` and `homeassistant:`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from stt_mqtt.config.section import Section

Port = Annotated[int, Field(ge=1, le=65535)]
BaseTopic = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=128)
]
HOST_FORM = "must be a name or an address alone, as in broker.lan, 192.168.1.5 or ::1"
MAX_LISTENERS = 8
_URI_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})"
_URI_PORT = (
    r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_URI_SOCKET = r"/[A-Za-z0-9_.@/+-]{1,100}"
"""Linux has no room for more than 107 bytes."""
Uri = Annotated[
    str,
    StringConstraints(pattern=rf"^(tcp://{_URI_HOST}:{_URI_PORT}|unix://{_URI_SOCKET}|stdio://)$"),
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"[^\s/@:?#,%\[\]]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_WITH_TLS = {"mqtts", "ssl", "tls"}
_IN_WEB_SOCKETS = {"ws", "wss"}


class Protocol(StrEnum):
    """MQTT version. `auto` tries 5 and falls back to 3.1.1."""

    AUTO = "auto"
    V5 = "5"
    V311 = "3.1.1"


class TlsConfig(Section):
    """TLS to the broker. An empty section `tls:` switches it on, too."""

    ca_file: str | None = None
    """PEM file with the certificate authority. null: the authorities of the system."""
    cert_file: str | None = None
    """PEM file with the client certificate."""
    key_file: str | None = None
    """PEM file with the key of the client certificate."""

    @model_validator(mode="after")
    def _key_belongs_to_certificate(self) -> TlsConfig:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file beside it")
        return self


class MqttConfig(Section):
    """Connection to the broker."""

    host: str = Field(default="localhost", min_length=1, max_length=253)
    """Name or address of the broker, without `mqtt://` and port. Not with `broker: embedded`."""
    port: Port | None = None
    """Port of the broker. null: 1883, or 8883 with TLS. Not with `broker: embedded`."""
    username: str | None = Field(default=None, min_length=1, max_length=256)
    """User name at the broker. An embedded broker demands it of its clients."""
    password: SecretStr | None = None
    """Password at the broker. Prefer `password_file` or the environment."""
    password_file: str | None = None
    """File whose first line is the password."""
    client_id: str | None = Field(default=None, min_length=1, max_length=128)
    """MQTT client identifier. null: `stt-mqtt-` and random letters."""
    base_topic: BaseTopic = "stt"
    """First part of all topics `stt/…`."""
    protocol: Protocol = Protocol.AUTO
    """MQTT version: `auto`, `5` or `3.1.1`."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """MQTT keep-alive: time without a message after which the connection is tested, in seconds."""
    max_payload_kib: int = Field(default=4096, ge=16, le=65536)
    """Largest message that the service accepts, in KiB."""
    tls: TlsConfig | None = None
    """TLS settings. `tls:` alone trusts the authorities of the system. null: no TLS."""
    takeover: bool = False
    """Start even if another service runs on the same base topic."""

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        problem = host_problem(host)
        if problem is not None:
            raise ValueError(problem)
        return host

    @model_validator(mode="after")
    def _one_password(self) -> MqttConfig:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    @property
    def effective_port(self) -> int:
        """The port that is used, with the default filled in."""
        if self.port is not None:
            return self.port
        return 1883 if self.tls is None else 8883


class BrokerMode(StrEnum):
    """Where the broker is."""

    EXTERNAL = "external"
    EMBEDDED = "embedded"


class BrokerConfig(Section):
    """Which broker to use. `broker: embedded` is short for `broker: {mode: embedded}`."""

    SHORT_FORM = "mode"

    mode: BrokerMode = BrokerMode.EXTERNAL
    """`external`: connect to `mqtt.host`. `embedded`: run a broker inside this process."""
    listen: str = Field(default="127.0.0.1", min_length=1, max_length=64)
    """Address that the embedded broker listens on. Only with `mode: embedded`."""
    port: Port = 1883
    """Port that the embedded broker listens on. Only with `mode: embedded`."""

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        try:
            ip_address(listen)
        except ValueError:
            raise ValueError("an IP address is needed, such as 127.0.0.1") from None
        return listen


class Scheme(StrEnum):
    """How Wyoming is spoken."""

    TCP = "tcp"
    UNIX = "unix"
    STDIO = "stdio"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where Wyoming is spoken: host and port of `tcp`, path of `unix`."""

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def uri(self) -> str:
        """The address as `wyoming.listen` has it."""
        if self.scheme is Scheme.TCP:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"tcp://{host}:{self.port}"
        return f"{self.scheme.value}://{self.path}"


class HermesConfig(Section):
    """Hermes, the protocol of Rhasspy 2.5 and Snips, on the same broker."""

    enabled: bool = True
    """`false`: the service neither subscribes to Hermes topics nor answers on them."""


class WyomingEndpointing(StrEnum):
    """Who notices that the speaker has finished."""

    CLIENT = "client"
    SERVER = "server"


class WyomingConfig(Section):
    """Wyoming, the voice protocol of Home Assistant."""

    enabled: bool = True
    """`false`: the service does not listen for Wyoming clients."""
    listen: tuple[Uri, ...] = Field(default=("tcp://127.0.0.1:10300",), max_length=MAX_LISTENERS)
    """Where to listen: `tcp://0.0.0.0:10300` for all networks, `unix:///path` or `stdio://`."""
    zeroconf: bool = True
    """Announce addresses that other machines can reach, so that Home Assistant finds them."""
    endpointing: WyomingEndpointing = WyomingEndpointing.CLIENT
    """Who ends an utterance: `client`, or `server` for Home Assistant 2026.11 and later."""

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        """Where to listen, taken apart."""
        return tuple(_address(uri) for uri in self.listen)


class HomeAssistantConfig(Section):
    """Home Assistant's MQTT discovery, on the same broker."""

    enabled: bool = True
    """`false`: the service announces no devices to Home Assistant."""
    discovery_prefix: BaseTopic = "homeassistant"
    """Must equal the discovery prefix in Home Assistant's MQTT settings."""


def _address(uri: str) -> ListenAddress:
    parts = urlsplit(uri)
    return ListenAddress(Scheme(parts.scheme), parts.hostname or "", parts.port or 0, parts.path)


def host_problem(text: str) -> str | None:
    """Why `text` is no host, and what to write instead; None: it is one.

    A login in it is never repeated.
    """
    if _is_host(text):
        return None
    scheme = _SCHEME.match(text)
    protocol = "" if scheme is None else scheme[1].lower()
    if protocol in _IN_WEB_SOCKETS:
        return f"{HOST_FORM}; MQTT over WebSockets is not spoken, only MQTT itself (mqtt.port)"
    rest = text if scheme is None else text[scheme.end() :]
    if "@" in rest:
        return f"{HOST_FORM}; the login belongs under mqtt.username and mqtt.password"
    host, port = _split(rest.partition("/")[0])
    if not _is_host(host):
        return HOST_FORM
    parts = [f"host: {host}"]
    if port is not None:
        parts.append(f"port: {port}")
    if protocol in _WITH_TLS:
        parts.append("tls: {}")
    return f"{HOST_FORM}; write {' and '.join(parts)}"


def _is_host(text: str) -> bool:
    if ":" in text:
        return _is_address(text)
    return text.isprintable() and _NAME.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str | None]:
    """Host and port of `text`, as far as they can be told apart."""
    if _is_address(text):
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    elif _PORT.fullmatch(port) is None:
        return text, None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port or None
