"""What travels through the MQTT transport, and what a client is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from stt_mqtt.config import MqttConfig

MAX_USER_PROPERTIES = 16
"""MQTT 5 user properties of one message that are read; the rest is ignored."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from the broker. What only MQTT 5 has is None or empty under 3.1.1."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Publication:
    """A message for the broker. `correlation` is sent with MQTT 5 only.

    `expires_at`: seconds of `ClientOptions.now`. What is not sent by then is dropped and counted;
    with MQTT 5 the broker drops it then, too.
    `connection`: number of the only connection that it may be sent on, see `MqttClient.connection`.
    With another one, or none, it is dropped and not counted: the caller sends it anew.
    `receipt`: called in the network thread, where it must not block. With QoS 1 once the broker has
    answered (a refusal is an answer, and logged), with QoS 0 once it was written to the socket.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    correlation: bytes | None = None
    expires_at: float | None = None
    connection: int | None = None
    receipt: Callable[[], None] | None = None

    @property
    def may_wait(self) -> bool:
        """Whether it waits for the next connection when there is none."""
        return self.connection is None and (self.qos > 0 or self.expires_at is not None)


Publish: TypeAlias = Callable[[Publication], None]


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes (QoS 1, retained) when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where and how to connect. `host` and `port` win over those in `config`."""

    config: MqttConfig
    host: str
    port: int
    will: Will | None = None
    password: str | None = field(default=None, repr=False)
    subscriptions: tuple[str, ...] = ()
    """Topic filters, subscribed with QoS 1 on every connection."""
    now: Callable[[], float] = time.monotonic
    """The clock of `Publication.expires_at`, in seconds."""

    @property
    def address(self) -> str:
        """Host and port as people write them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ClientListener(Protocol):
    """Told what happens, in the network thread: nothing here may block.

    What these methods raise is logged and otherwise ignored.
    """

    def connected(self, protocol: str) -> None:
        """Connected in `protocol` (`5` or `3.1.1`) and the subscriptions are on their way.

        What is published from here on reaches the broker after them.
        """

    def disconnected(self, reason: str) -> None:
        """A connection that `connected` announced is gone, other than by `stop`."""

    def message(self, message: Inbound) -> None:
        """A message came in."""
