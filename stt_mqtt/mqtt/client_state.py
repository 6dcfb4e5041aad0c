"""What outlives one connection."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.wakeup import Wakeup


@dataclass(slots=True)
class ClientState:
    """The only things that the network thread shares with others, and keeps over connections."""

    client_id: str
    outbox: Outbox = field(default_factory=Outbox)
    wakeup: Wakeup = field(default_factory=Wakeup)
    stopping: threading.Event = field(default_factory=threading.Event)
    stop_by: float = 0.0
    filters: frozenset[str] = frozenset()
    """Wanted subscriptions; replaced, never changed."""
    bulk: frozenset[str] = frozenset()
    """Those that are subscribed with QoS 0."""
    undecodable: int = 0
    looks_asked: int = 0
    """Calls of `MqttClient.look`."""
    looks_done: int = 0
    """Of which of them it is known that nothing waits any more that had come in before it."""
