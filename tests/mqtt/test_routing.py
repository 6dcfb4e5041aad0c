"""Doors that share one connection: which message is for which."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stt_mqtt.errors import OverloadedError
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.routing import AudioTopics, MqttDoor, RetainedTopics, Router, Subscriptions


@dataclass
class Door:
    """A door that remembers what it is told."""

    name: str
    told: list[str] = field(default_factory=list)

    @property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(
            (f"{self.name}/#",),
            AudioTopics(("/audio",)) if self.name == "one" else AudioTopics(),
            large_endings=("/whole",),
            dropped=lambda topic, _: self.told.append(f"dropped {topic}"),
            retained=RetainedTopics(
                (f"{self.name}/out",),
                lambda: self.told.append(f"{self.name} cleaned up"),
                bulk=(f"{self.name}/out",),
            ),
        )

    def handle(self, message: Inbound) -> None:
        self.told.append(message.topic)

    def on_connected(self) -> None:
        self.told.append(f"{self.name} connected")

    def on_disconnected(self) -> None:
        self.told.append(f"{self.name} disconnected")


class Listening(MqttDoor):
    """A door with nothing but filters."""

    subscriptions = Subscriptions(())

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.subscriptions = subscriptions
        self.heard: list[str] = []

    def handle(self, message: Inbound) -> None:
        self.heard.append(message.topic)


def test_each_message_goes_to_the_door_that_subscribed_to_it_and_no_other() -> None:
    lost: list[str] = []
    one, other = Door("one"), Door("other")
    router = Router([one, other], lambda: lost.append("lost"))
    for topic in ("one/a", "nobody/c"):
        router.route(topic).door.handle(Inbound(topic, b""))
    for topic in ("other/b", "nobody/c"):
        router.route(topic).topics.dropped(topic, OverloadedError(""))
    assert (one.told, other.told, lost) == (["one/a"], ["dropped other/b"], ["lost"])


@pytest.mark.parametrize(
    ("filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a.b", "axb", False),
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a//c", True),
        ("a/+/c", "a/b\n/c", True),
        ("a/+/c", "a/b/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b\n/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
    ],
)
def test_a_filter_matches_as_mqtt_has_it(filter: str, topic: str, matches: bool) -> None:
    door, lost = Listening(Subscriptions((filter,))), list[str]()
    route = Router([door], lambda: lost.append("lost")).route(topic)
    route.door.handle(Inbound(topic, b""))
    assert (door.heard, lost) == (([topic], []) if matches else ([], ["lost"]))


def test_doors_are_told_of_the_connection_in_order_and_clean_up_in_reverse() -> None:
    told: list[str] = []
    router = Router([Door("one", told), Door("other", told)], lambda: None)
    router.on_connected()
    router.clean_up()
    assert told == ["one connected", "other connected", "other cleaned up", "one cleaned up"]
    told.clear()
    router.on_disconnected()
    assert told == ["one disconnected", "other disconnected"]


def test_what_the_doors_listen_to_is_put_together() -> None:
    router = Router([Door("one"), Door("other"), Listening(Subscriptions(("x",)))], lambda: None)
    assert router.subscriptions == ("one/#", "other/#", "x")
    assert router.read_first == router.bulk == ("one/out", "other/out")


def test_audio_and_large_messages_are_known_by_the_end_of_their_topic() -> None:
    router = Router([Door("one"), Door("other")], lambda: None)
    topics = ("one/audio", "one/audio/stop", "other/audio", "one/whole", "nobody/whole")
    routes = [router.route(topic).topics for topic in topics]
    assert [one.is_audio(topic) for one, topic in zip(routes, topics, strict=True)] == [
        1, 0, 0, 0, 0,
    ]  # fmt: skip
    assert [one.is_large(topic) for one, topic in zip(routes, topics, strict=True)] == [
        0, 0, 0, 1, 0,
    ]  # fmt: skip
