"""What a connection is made of, and who listens to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stt_mqtt.config import MqttConfig
from stt_mqtt.mqtt.messages import Inbound, Will


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
    bulk: frozenset[str] = frozenset()
    """Topic filters that are subscribed with QoS 0 instead.

    Of QoS 1 a broker keeps only so many messages for a client and drops the rest (Mosquitto 1,000).
    """
    now: Callable[[], float] = time.monotonic
    """The clock of `Publication.expires_at`, in seconds."""

    @property
    def address(self) -> str:
        """Host and port as people write them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ClientListener(Protocol):
    """Hears what happens, in the network thread: nothing here may block.

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
