"""The messages and options of the MQTT transport."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from stt_mqtt.config import MqttConfig

MAX_USER_PROPERTIES = 16
"""Most MQTT 5 user properties that are read from one message. The rest is ignored."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from the broker. Fields of MQTT 5 are None or empty under 3.1.1."""

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

    `expires_at`: time on the clock `ClientOptions.now`. If the message is not sent by then, it is
    dropped and counted. With MQTT 5 the broker drops it then, too.
    `connection`: number of the only connection that it may be sent on, see `MqttClient.connection`.
    On any other it is dropped and not counted, because the caller sends it again.
    `receipt`: called in the network thread; it must not block. With QoS 1 it is called when the
    broker acknowledges or refuses the message, with QoS 0 when it is written to the socket.
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
        """Whether it waits for the next connection if there is none."""
        return self.connection is None and (self.qos > 0 or self.expires_at is not None)


Publish: TypeAlias = Callable[[Publication], None]


@dataclass(frozen=True, slots=True)
class Will:
    """The last will: the broker publishes it (QoS 1, retained) when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """The answer of the broker to a subscription or a publication.

    `topic`: the filter or the topic. `refusal`: the broker's reason; None: it accepts. Only MQTT 5
    has refusals of publications. `is_subscription`: else it is a publication.
    """

    topic: str
    refusal: str | None
    is_subscription: bool


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where and how to connect. `host` and `port` override those in `config`."""

    config: MqttConfig
    host: str
    port: int
    will: Will | None = None
    password: str | None = field(default=None, repr=False)
    subscriptions: tuple[str, ...] = ()
    """Topic filters, subscribed with QoS 1 on every connection."""
    now: Callable[[], float] = time.monotonic
    """The clock of `Publication.expires_at`, in seconds."""
    answered: Callable[[BrokerAnswer], None] | None = None
    """Called in the network thread for each answer of the broker; it must not block or raise.

    None: refusals are logged.
    """

    @property
    def address(self) -> str:
        """Host and port as text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ClientListener(Protocol):
    """Callbacks of the client, in the network thread. They must not block.

    Exceptions that they raise are logged and ignored.
    """

    def connected(self, protocol: str) -> None:
        """The client is connected with `protocol` (`5` or `3.1.1`).

        The subscriptions are queued: what is published now reaches the broker after them.
        """

    def disconnected(self, reason: str) -> None:
        """The connection was lost. Not called after `stop`."""

    def message(self, message: Inbound) -> None:
        """A message was received."""

    def too_large(self, topic: str) -> None:  # noqa: ARG002
        """A message on `topic` was dropped while it was read. By default nothing is done."""
        return
