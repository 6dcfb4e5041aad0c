from __future__ import annotations

from dataclasses import dataclass, field

from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.router import Router


@dataclass
class Door:
    """A door that remembers what it is told."""

    name: str
    told: list[str] = field(default_factory=list)
    chunk_endings: tuple[str, ...] = ()
    bulky_endings: tuple[str, ...] = ()

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (f"{self.name}/#",)

    @property
    def bulk(self) -> tuple[str, ...]:
        return self.read_first

    @property
    def read_first(self) -> tuple[str, ...]:
        return (f"{self.name}/out",)

    def awaits(self, topic: str) -> bool:
        return True

    def owns(self, topic: str) -> bool:
        return topic.startswith(self.name + "/")

    def handle(self, message: Inbound) -> None:
        self.told.append(message.topic)

    def shed(self, topic: str) -> None:
        self.told.append(f"shed {topic}")

    def connected(self) -> None:
        self.told.append(f"{self.name} connected")

    def clean_up(self) -> None:
        self.told.append(f"{self.name} cleaned up")


def test_each_message_goes_to_the_door_that_owns_its_topic_and_no_other() -> None:
    lost: list[str] = []
    one, other = Door("one"), Door("other")
    router = Router([one, other], lambda: lost.append("lost"))
    router.handle(Inbound("one/a", b""))
    router.shed("other/b")
    router.shed("nobody/c")
    router.handle(Inbound("nobody/c", b""))
    assert (one.told, other.told, lost) == (["one/a"], ["shed other/b"], ["lost"])


def test_doors_are_told_of_the_connection_in_order_and_clean_up_in_reverse() -> None:
    told: list[str] = []
    router = Router([Door("one", told), Door("other", told)], lambda: None)
    router.connected()
    router.clean_up()
    assert told == ["one connected", "other connected", "other cleaned up", "one cleaned up"]


def test_what_the_doors_listen_to_is_put_together() -> None:
    one = Door("one", chunk_endings=("/frame",))
    other = Door("other", chunk_endings=("/audio",), bulky_endings=("/whole",))
    router = Router([one, other], lambda: None)
    assert router.subscriptions == ("one/#", "other/#")
    assert router.read_first == router.bulk == ("one/out", "other/out")
    assert [router.chunk_door(f"x/{end}") for end in ("frame", "audio", "whole")] == [
        one,
        other,
        None,
    ]
    assert [router.is_bulky(f"x/{end}") for end in ("frame", "audio", "whole")] == [0, 0, 1]
