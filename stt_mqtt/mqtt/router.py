"""Which door a message is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from stt_mqtt.mqtt.door import MqttDoor
from stt_mqtt.mqtt.messages import Inbound


class Router:
    """Several doors on one connection. `lost` is told of messages that belong to none."""

    def __init__(self, doors: Sequence[MqttDoor], lost: Callable[[], None]) -> None:
        self._doors = tuple(doors)
        self._lost = lost
        self.subscriptions = self._all(door.subscriptions for door in doors)
        self.read_first = self._all(door.read_first for door in doors)
        self.bulk = self._all(door.bulk for door in doors)
        self._bulky_endings = self._all(door.bulky_endings for door in doors)

    def chunk_door(self, topic: str) -> MqttDoor | None:
        """The door that takes the chunks on this topic, if such come there; from any thread."""
        for door in self._doors:
            if topic.endswith(door.chunk_endings):
                return door
        return None

    def is_bulky(self, topic: str) -> bool:
        """Whether something large comes on this topic; from any thread."""
        return topic.endswith(self._bulky_endings)

    def handle(self, message: Inbound) -> None:
        """Give a message to its door."""
        door = self._door_of(message.topic)
        if door is None:
            self._lost()
        else:
            door.handle(message)

    def shed(self, topic: str) -> None:
        """Tell its door of a message that was dropped."""
        door = self._door_of(topic)
        if door is not None:
            door.shed(topic)

    def connected(self) -> None:
        """Tell all doors of a connection."""
        for door in self._doors:
            door.connected()

    def clean_up(self) -> None:
        """Have all doors clear what they left retained, who speaks first last of all."""
        for door in reversed(self._doors):
            door.clean_up()

    def _door_of(self, topic: str) -> MqttDoor | None:
        for door in self._doors:
            if door.owns(topic):
                return door
        return None

    @staticmethod
    def _all(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(chain.from_iterable(several))
