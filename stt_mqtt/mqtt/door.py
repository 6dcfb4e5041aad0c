"""What the transport asks of a door that lives on the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from stt_mqtt.mqtt.messages import Inbound, Publication

Publish: TypeAlias = Callable[[Publication], None]


class MqttDoor(Protocol):
    """A door on MQTT. Only the endings and `awaits` are used outside the event loop."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters of its input; no two filters of all doors may overlap."""

    @property
    def read_first(self) -> tuple[str, ...]:
        """Filters of what is read at the start, before any input, until `clean_up`."""

    @property
    def bulk(self) -> tuple[str, ...]:
        """Those of all filters behind which so much may be retained that QoS 1 would lose it."""

    @property
    def chunk_endings(self) -> tuple[str, ...]:
        """How topics end on which chunks come: many, and dropped without a word when too many."""

    @property
    def bulky_endings(self) -> tuple[str, ...]:
        """How other topics end on which large messages come: they are not urgent."""

    def awaits(self, topic: str) -> bool:
        """Whether a chunk on this topic would be listened to, as far as everything that came
        before it was handled. Called from the network thread.
        """

    def owns(self, topic: str) -> bool:
        """Whether a topic is for this door."""

    def handle(self, message: Inbound) -> None:
        """Act on a message on one of its topics. Never raises for what a device sends."""

    def shed(self, topic: str) -> None:
        """A message on one of its topics, not a chunk, was dropped: more came than can be taken."""

    def connected(self) -> None:
        """The broker accepted the connection, for the first time or again."""

    def clean_up(self) -> None:
        """All that was left retained has been read: clear what is of nobody any more."""
