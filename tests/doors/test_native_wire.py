from __future__ import annotations

from typing import NoReturn

from stt_mqtt.config import Config
from stt_mqtt.doors.mqtt.messages import Inbound, Publication
from stt_mqtt.doors.native.bridge import Bridge, BridgeContext
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.doors.native.wire import NativeWire
from stt_mqtt.service.line import Line
from tests.fakes import ONE_THREAD, FakeClock, FakePool, engine_facts


class Bench:
    """The native wire on a line with fakes around it; it hears itself who is present."""

    def __init__(self, **config: object) -> None:
        clock = FakeClock()
        self.published: list[Publication] = []
        self.present: list[str] = []
        self.line = Line(Config.model_validate(config), engine_facts(), clock)
        self.line.serve(FakePool(), ONE_THREAD)
        topics = Topics("stt")
        door = NativeDoor(self.line, topics, self.published.append)
        context = BridgeContext(self.line, clock, self._never, dict, self._never)
        self.bridge = Bridge(context, topics, self.published.append)
        self.wire = NativeWire(self.line, topics, door, self.bridge)
        self.wire.presence = self

    def availability_seen(self, name: str) -> None:
        self.present.append(name)

    def availability_cleared(self, name: str) -> None:
        self.present.append(f"not {name}")

    def send(self, topic: str, payload: bytes = b"", retain: bool = False) -> None:
        self.wire.handle(Inbound(topic, payload, retain=retain))

    @property
    def topics(self) -> list[str]:
        return [publication.topic for publication in self.published]

    def _never(self, *_: object) -> NoReturn:
        raise AssertionError


def test_only_what_is_under_the_base_topic_is_owned() -> None:
    wire = Bench().wire
    assert wire.owns("stt/kitchen/audio")
    assert not wire.owns("stting/kitchen/audio")
    assert not wire.owns("hermes/asr/toggleOn")


def test_chunks_and_whole_utterances_are_known_by_the_end_of_their_topic() -> None:
    wire = Bench().wire
    assert "stt/kitchen/audio".endswith(wire.chunk_endings)
    assert not "stt/kitchen/audio/stop".endswith(wire.chunk_endings)
    assert "stt/kitchen/utterance".endswith(wire.bulky_endings)


def test_requests_are_answered_and_messages_of_devices_reach_the_line() -> None:
    bench = Bench()
    bench.send("stt/bridge/request/devices", b"{}")
    bench.send("stt/kitchen/audio/start", b"{}")
    assert bench.topics == [
        "stt/bridge/response/devices",
        "stt/kitchen/settings",
        "stt/kitchen/state",
    ]


def test_topics_that_mean_nothing_are_counted_but_not_the_services_own_state() -> None:
    bench = Bench()
    bench.send("stt/kitchen/nonsense")
    bench.send("stt/bridge/state", b"online", retain=True)
    assert bench.line.metrics.dropped == {"bad_topic": 1}


def test_who_speaks_on_the_availability_topic_is_told_and_who_clears_it() -> None:
    bench = Bench()
    bench.send("stt/kitchen/availability", b"online", retain=True)
    bench.send("stt/kitchen/availability", b"offline")
    bench.send("stt/kitchen/availability", b"Online")
    bench.send("stt/kitchen/availability")
    assert bench.present == ["kitchen", "kitchen", "not kitchen"]


def test_a_dropped_message_is_answered_overloaded() -> None:
    bench = Bench()
    bench.wire.shed("stt/kitchen/utterance")
    bench.wire.shed("stt/bridge/request/devices")
    results = [item for item in bench.published if item.topic == "stt/kitchen/result"]
    assert len(results) == 1
    assert b'"overloaded"' in results[0].payload


def test_after_connecting_configured_satellites_are_told_and_online_comes_last() -> None:
    bench = Bench(devices={"kitchen": {}, "192.168.1.20": {}, "2001:db8::1": {}, "kids_*": {}})
    bench.wire.connected()
    assert bench.topics[:2] == ["stt/kitchen/settings", "stt/kitchen/state"]
    assert bench.published[-1].topic == "stt/bridge/state"
    assert bench.published[-1].payload == b"online"
    assert not any("192.168" in topic or "2001" in topic for topic in bench.topics)


def test_what_a_previous_run_left_about_unknown_devices_is_cleared() -> None:
    bench = Bench()
    bench.send("stt/kitchen/audio/start", b"{}")
    for name in ("kitchen", "attic"):
        bench.send(f"stt/{name}/state", b"idle", retain=True)
    bench.published.clear()
    bench.wire.clean_up()
    assert [(item.topic, item.payload, item.retain) for item in bench.published] == [
        ("stt/attic/state", b"", True),
        ("stt/attic/settings", b"", True),
    ]
