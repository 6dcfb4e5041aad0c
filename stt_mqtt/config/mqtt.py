"""`mqtt:` and `broker:`: how the service reaches its broker, or runs one inside."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from stt_mqtt.config.base import Section
from stt_mqtt.config.hosts import host_problem

Port = Annotated[int, Field(ge=1, le=65535)]
BaseTopic = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=128)
]


class Protocol(StrEnum):
    """MQTT version to speak; `auto` tries 5 and falls back to 3.1.1."""

    AUTO = "auto"
    V5 = "5"
    V311 = "3.1.1"


class TlsConfig(Section):
    """TLS to the broker. The presence of the section switches it on, also when it is empty."""

    ca_file: str | None = None
    """PEM file with the certificate authority; null: the system's authorities."""
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
    """Name or address of the broker, without scheme and port. Not with `broker: embedded`."""
    port: Port | None = None
    """Port of the broker; null: 1883, or 8883 with TLS. Not with `broker: embedded`."""
    username: str | None = Field(default=None, min_length=1, max_length=256)
    """User name at the broker, also asked of others by the embedded one."""
    password: SecretStr | None = None
    """Password at the broker. Better in `password_file` or in the environment."""
    password_file: str | None = None
    """File whose first line is the password."""
    client_id: str | None = Field(default=None, min_length=1, max_length=128)
    """Client identifier; null: `stt-mqtt-` and random letters."""
    base_topic: BaseTopic = "stt"
    """First part of every native topic."""
    protocol: Protocol = Protocol.AUTO
    """MQTT version: `auto`, `5` or `3.1.1`."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """Seconds of silence after which the connection is tested."""
    max_payload_kib: int = Field(default=4096, ge=16, le=65536)
    """Largest message that is accepted, in KiB."""
    tls: TlsConfig | None = None
    """TLS settings; `tls:` alone trusts the authorities of the system, null: no TLS."""
    takeover: bool = False
    """Serve although another service is live on the same base topic."""

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
    """The broker itself; `broker: embedded` is short for `broker: {mode: embedded}`."""

    mode: BrokerMode = BrokerMode.EXTERNAL
    """`external`: connect to `mqtt.host`. `embedded`: run one inside this process."""
    listen: str = Field(default="127.0.0.1", min_length=1, max_length=64)
    """Address that the embedded broker listens on; only with `mode: embedded`."""
    port: Port = 1883
    """Port that the embedded broker listens on; only with `mode: embedded`."""

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        try:
            ip_address(listen)
        except ValueError:
            raise ValueError("an IP address is needed, such as 127.0.0.1") from None
        return listen

    @model_validator(mode="before")
    @classmethod
    def _accept_short_form(cls, value: object) -> object:
        return {"mode": value} if isinstance(value, str) else value
