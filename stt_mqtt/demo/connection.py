"""The MQTT client of the service, used from an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication, Will

CONNECT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0

Hear: TypeAlias = Callable[[Inbound, float], None]
"""Called on the event loop with a message and when it came in, in `time.monotonic` seconds."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is reached."""

    host: str
    port: int


class DemoConnection:
    """One client of the broker, made inside a running event loop; used once."""

    def __init__(
        self, broker: BrokerAddress, filters: tuple[str, ...], will: Will | None, hear: Hear
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._hear = hear
        self._client = MqttClient(
            ClientOptions(
                # The embedded broker speaks nothing newer.
                config=MqttConfig(protocol=Protocol.V311),
                host=broker.host,
                port=broker.port,
                will=will,
                subscriptions=filters,
            )
        )

    async def open(self) -> None:
        """Connect and subscribe. Raises `BrokerError` after `CONNECT_TIMEOUT_S`."""
        self._client.start(self)
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            raise BrokerError(
                f"the broker did not let a client in within {CONNECT_TIMEOUT_S:g} s"
            ) from None

    def publish(self, topic: str, payload: bytes = b"", retain: bool = False) -> None:
        """Send a message with QoS 1: start, chunks and stop must keep their order."""
        self._client.publish(Publication(topic, payload, retain=retain))

    async def close(self) -> None:
        """Send what is waiting, then disconnect; never raises."""
        await asyncio.to_thread(self._client.flush, CLOSE_TIMEOUT_S)
        await asyncio.to_thread(self._client.stop, CLOSE_TIMEOUT_S)

    # In the network thread -----------------------------------------------------------------

    def connected(self, protocol: str) -> None:  # noqa: ARG002
        """The broker accepted the connection."""
        self._call(self._connected.set)

    def disconnected(self, reason: str) -> None:
        """The connection is gone; the client comes back by itself."""

    def message(self, message: Inbound) -> None:
        """A message came in."""
        now = time.monotonic()
        self._call(lambda: self._hear(message, now))

    def _call(self, call: Callable[[], object]) -> None:
        # The event loop may have ended before the network thread.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)
