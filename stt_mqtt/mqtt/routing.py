"""Doors on one MQTT connection, and which door a message is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from stt_mqtt.mqtt.messages import Inbound


def _always(_topic: str) -> bool:
    return True


def _ignore(_topic: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class AudioTopics:
    """Topics of audio chunks: many messages, which are dropped silently when too many come."""

    endings: tuple[str, ...] = ()
    """How these topics end."""
    wants_audio: Callable[[str], bool] = _always
    """Whether a chunk on this topic would be used, given all messages handled so far.

    Called from the network thread.
    """


@dataclass(frozen=True, slots=True)
class RetainedTopics:
    """What a previous run left on the broker. It is read at the start, before any input."""

    filters: tuple[str, ...]
    clean_up: Callable[[], None]
    """Called once all of it was read: clear what belongs to nobody any more."""
    bulk: tuple[str, ...] = ()
    """Filters of the door with so many retained messages that QoS 1 would lose some."""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The topics of a door. The filters of two doors must not overlap."""

    filters: tuple[str, ...]
    """Topic filters of the input."""
    audio: AudioTopics = AudioTopics()
    large_endings: tuple[str, ...] = ()
    """How topics of large messages end. They are not urgent."""
    dropped: Callable[[str], None] = _ignore
    """Called with the topic of a message, not a chunk, that was dropped because too many came."""
    retained: RetainedTopics | None = None

    def is_audio(self, topic: str) -> bool:
        """Whether a message on this topic is an audio chunk."""
        return topic.endswith(self.audio.endings)

    def is_large(self, topic: str) -> bool:
        """Whether messages on this topic are large."""
        return topic.endswith(self.large_endings)


class MqttDoor(Protocol):
    """A door on MQTT. Its methods are called on the event loop."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Its topics. They never change."""

    def handle(self, message: Inbound) -> None:
        """Act on a message on one of its topics. Never raises for what a device sends."""

    def on_connected(self) -> None:
        """The broker accepted the connection, for the first time or again.

        A door that has nothing to say then inherits this.
        """
        return


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go whose topic matches `pattern`."""

    door: MqttDoor
    topics: Subscriptions
    pattern: re.Pattern[str]


class Router:
    """Knows which door each topic belongs to. `lost` is called for messages of no door."""

    def __init__(self, doors: Sequence[MqttDoor], lost: Callable[[], None]) -> None:
        self._destinations = [_destination(door) for door in doors]
        self._nowhere = _destination(_NoDoor(lost))
        all_of_them = [one.topics for one in self._destinations]
        self._retained = [one.retained for one in all_of_them if one.retained is not None]
        self.subscriptions = _joined(one.filters for one in all_of_them)
        self.read_first = _joined(one.filters for one in self._retained)
        self.bulk = _joined(one.bulk for one in self._retained)

    def route(self, topic: str) -> Destination:
        """Where a message on `topic` goes; from any thread."""
        for destination in self._destinations:
            if destination.pattern.fullmatch(topic):
                return destination
        return self._nowhere

    def on_connected(self) -> None:
        """Tell all doors of a connection, in order."""
        for destination in self._destinations:
            destination.door.on_connected()

    def clean_up(self) -> None:
        """Have all doors clear what a previous run left, in reverse order."""
        for retained in reversed(self._retained):
            retained.clean_up()


class _NoDoor(MqttDoor):
    """Takes the messages of no door."""

    subscriptions = Subscriptions(())

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def handle(self, message: Inbound) -> None:  # noqa: ARG002
        self._lost()


def _joined(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(chain.from_iterable(several))


def _destination(door: MqttDoor) -> Destination:
    topics = door.subscriptions
    filters = topics.filters + (() if topics.retained is None else topics.retained.filters)
    pattern = re.compile("|".join(map(_matching, filters)), re.DOTALL)
    return Destination(door, topics, pattern)


def _matching(filter: str) -> str:
    """A regular expression for the topics that an MQTT filter matches."""
    exact = re.escape(filter).replace(r"\+", "[^/]*")
    return exact.replace(r"/\#", "(?:/.*)?").replace(r"\#", ".*")
