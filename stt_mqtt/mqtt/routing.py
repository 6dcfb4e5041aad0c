"""The interface of a door on MQTT, and the router that finds the door of a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.messages import Inbound


def _always(_topic: str) -> bool:
    return True


def _ignore(_topic: str, _error: UtteranceError) -> None:
    return None


@dataclass(frozen=True, slots=True)
class AudioTopics:
    """Topics of audio chunks. When the inbox is full, chunks are dropped without an answer."""

    endings: tuple[str, ...] = ()
    """The endings of these topics."""
    wants_audio: Callable[[str], bool] = _always
    """Whether a chunk on this topic would be used, given the messages handled so far.

    Called from the network thread.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Senders:
    """Whose the messages are. When many wait, senders take turns; each keeps its order.

    Both functions may be called from any thread.
    """

    sender: Callable[[str], str] = lambda _topic: ""
    """Who sends on a topic. By default all messages of a door are of one sender."""
    is_favoured: Callable[[str], bool] = _always
    """Whether a crowd of others must not delay a sender."""


@dataclass(frozen=True, slots=True)
class RetainedTopics:
    """Retained messages of the previous run. They are read at the start, before any input."""

    filters: tuple[str, ...]
    clean_up: Callable[[], None]
    """Called when all of it has been read. Clears what is no longer needed."""
    bulk: tuple[str, ...] = ()
    """Filters with so many retained messages that QoS 1 would lose some."""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The topics of a door. The filters of two doors must not overlap."""

    filters: tuple[str, ...]
    """Topic filters of the input."""
    audio: AudioTopics = AudioTopics()
    senders: Senders = field(default_factory=Senders)
    large_endings: tuple[str, ...] = ()
    """Endings of the topics of large messages. They are not urgent."""
    dropped: Callable[[str, UtteranceError], None] = _ignore
    """Called with the topic of a message that was dropped before `handle`, and why.

    Not for a chunk that the full inbox dropped.
    """
    retained: RetainedTopics | None = None

    def is_audio(self, topic: str) -> bool:
        """Whether a message on this topic is an audio chunk."""
        return topic.endswith(self.audio.endings)

    def is_large(self, topic: str) -> bool:
        """Whether messages on this topic may be large."""
        return topic.endswith(self.large_endings)


class MqttDoor(Protocol):
    """A door on MQTT. Its methods are called on the event loop."""

    @property
    def subscriptions(self) -> Subscriptions:
        """The topics of the door. They never change."""

    def handle(self, message: Inbound) -> None:
        """Handle a message on one of its topics. Must not raise for any input."""

    def on_connected(self) -> None:
        """The client has connected or reconnected. Does nothing by default."""
        return

    def on_disconnected(self) -> None:
        """The client has lost its connection. Does nothing by default."""
        return


@dataclass(frozen=True, slots=True)
class Destination:
    """The door for messages with a topic that matches `pattern`."""

    door: MqttDoor
    topics: Subscriptions
    pattern: re.Pattern[str]


class Router:
    """Finds the door of each topic. `lost` is called for messages without a door."""

    def __init__(self, doors: Sequence[MqttDoor], lost: Callable[[], None]) -> None:
        self._destinations = [_destination(door) for door in doors]
        self._nowhere = _destination(_NoDoor(lost))
        all_of_them = [one.topics for one in self._destinations]
        self._retained = [one.retained for one in all_of_them if one.retained is not None]
        self.subscriptions = _joined(one.filters for one in all_of_them)
        self.read_first = _joined(one.filters for one in self._retained)
        self.bulk = _joined(one.bulk for one in self._retained)

    def route(self, topic: str) -> Destination:
        """The destination of a message on `topic`. May be called from any thread."""
        for destination in self._destinations:
            if destination.pattern.fullmatch(topic):
                return destination
        return self._nowhere

    def on_connected(self) -> None:
        """Call `on_connected` of all doors, in order."""
        for destination in self._destinations:
            destination.door.on_connected()

    def on_disconnected(self) -> None:
        """Call `on_disconnected` of all doors, in order."""
        for destination in self._destinations:
            destination.door.on_disconnected()

    def clean_up(self) -> None:
        """Call `clean_up` of all doors, in reverse order."""
        for retained in reversed(self._retained):
            retained.clean_up()


class _NoDoor(MqttDoor):
    """The destination of messages without a door."""

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
