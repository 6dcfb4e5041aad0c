"""Doors on one MQTT connection, and which door a message is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from stt_mqtt.mqtt.messages import Inbound


@dataclass(frozen=True, slots=True)
class AudioTopics:
    """Topics of audio chunks: many messages, which are dropped silently when too many come."""

    endings: tuple[str, ...]
    """How these topics end."""
    wants_audio: Callable[[str], bool] | None = None
    """Whether a chunk on this topic would be used, given all messages handled so far.

    Called from the network thread. None: always.
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
    audio: AudioTopics | None = None
    large_endings: tuple[str, ...] = ()
    """How topics of large messages end. They are not urgent."""
    dropped: Callable[[str], None] | None = None
    """Called with the topic of a message, not a chunk, that was dropped because too many came."""
    retained: RetainedTopics | None = None


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
class _Route:
    door: MqttDoor
    subscriptions: Subscriptions
    pattern: re.Pattern[str]
    """Matches the topics that a filter of the door matches."""


class Router:
    """Knows which door each topic belongs to. `lost` is called for messages of no door."""

    def __init__(self, doors: Sequence[MqttDoor], lost: Callable[[], None]) -> None:
        self._lost = lost
        all_of_them = [door.subscriptions for door in doors]
        self._routes = [
            _Route(door, one, _pattern(one)) for door, one in zip(doors, all_of_them, strict=True)
        ]
        retained = [one.retained for one in all_of_them if one.retained is not None]
        self._retained = retained
        self.subscriptions = _joined(one.filters for one in all_of_them)
        self.read_first = _joined(one.filters for one in retained)
        self.bulk = _joined(one.bulk for one in retained)

    def audio_of(self, topic: str) -> AudioTopics | None:
        """The audio topics that `topic` is one of; from any thread."""
        route = self._route(topic)
        audio = None if route is None else route.subscriptions.audio
        return audio if audio is not None and topic.endswith(audio.endings) else None

    def is_large(self, topic: str) -> bool:
        """Whether large messages come on this topic; from any thread."""
        route = self._route(topic)
        return route is not None and topic.endswith(route.subscriptions.large_endings)

    def handle(self, message: Inbound) -> None:
        """Give a message to its door."""
        route = self._route(message.topic)
        if route is None:
            self._lost()
        else:
            route.door.handle(message)

    def dropped(self, topic: str) -> None:
        """Tell its door of a message that was dropped."""
        route = self._route(topic)
        if route is not None and route.subscriptions.dropped is not None:
            route.subscriptions.dropped(topic)

    def on_connected(self) -> None:
        """Tell all doors of a connection, in order."""
        for route in self._routes:
            route.door.on_connected()

    def clean_up(self) -> None:
        """Have all doors clear what a previous run left, in reverse order."""
        for retained in reversed(self._retained):
            retained.clean_up()

    def _route(self, topic: str) -> _Route | None:
        for route in self._routes:
            if route.pattern.fullmatch(topic):
                return route
        return None


def _joined(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(chain.from_iterable(several))


def _pattern(subscriptions: Subscriptions) -> re.Pattern[str]:
    retained = subscriptions.retained
    filters = subscriptions.filters + (() if retained is None else retained.filters)
    return re.compile("|".join(map(_matching, filters)), re.DOTALL)


def _matching(filter: str) -> str:
    """A regular expression for the topics that an MQTT filter matches."""
    exact = re.escape(filter).replace(r"\+", "[^/]*")
    return exact.replace(r"/\#", "(?:/.*)?").replace(r"\#", ".*")
