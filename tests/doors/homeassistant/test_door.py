"""The door to Home Assistant between a scripted broker and the real line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stt_mqtt.config import Config
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.homeassistant.door import (
    ANNOUNCED_AT_ONCE,
    ANNOUNCED_EVERY_S,
    COLLECT_S,
    MIN_BIRTH_INTERVAL_S,
    HomeAssistantDoor,
)
from stt_mqtt.doors.homeassistant.names import object_id
from stt_mqtt.doors.homeassistant.payloads import DeviceFacts, ServiceFacts, device_config
from stt_mqtt.doors.native.messages import SatelliteInfo
from stt_mqtt.doors.native.topics import DOOR as NATIVE
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import OverloadedError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.mqtt.routing import MqttDoor, Router
from stt_mqtt.rungs import Rung, RungStatus
from stt_mqtt.types import DeviceKey, UtteranceStart
from tests.doors.native.peers import native_door
from tests.doors.shares import Share
from tests.fakes import ONE_THREAD, FakeClock, FakePool, engine_facts, heard

SERVICE = "homeassistant/device/stt_mqtt_bridge/config"
KITCHEN = "homeassistant/device/stt_mqtt_kitchen/config"
RESPEAKER = SatelliteInfo("ReSpeaker Lite", "1.4", can_mute=True)


class Home:
    """The service with its native door, the door to Home Assistant, and what both publish."""

    def __init__(self, share: Ownership = EVERYTHING, **config: Any) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.published: list[Publication] = []
        self.service = SpeechService(Config.model_validate(config), engine_facts(), self.clock)
        self.service.attach_pool(self.pool, ONE_THREAD)
        publish = self.published.append
        self.door = HomeAssistantDoor(self.service, publish, self.clock.now, share)
        if self.service.config.homeassistant.enabled:
            self.service.add_observer(NATIVE, self.door)
        native_door(self.service, self.clock, self.published.append)
        doors: list[MqttDoor] = [self.door]
        self.lost = 0
        self.router = Router(doors, self._lose)

    def connects(self) -> Home:
        self.router.on_connected()
        self.published.clear()
        return self

    def says(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.router.route(topic).door.handle(Inbound(topic, payload, retain=retain))

    def speaks(self, *names: str) -> None:
        for name in names:
            self.service.single(DeviceKey(NATIVE, name), bytes(6400), UtteranceStart())
            self.pool.answer(self.service, heard())

    def waits(self, seconds: float = COLLECT_S) -> Home:
        """Time goes on."""
        self.clock.advance(seconds)
        if self.door.deadline is not None and self.door.deadline <= self.clock.now():
            self.door.tick()
        return self

    def announcements(self) -> list[Publication]:
        """What was published for Home Assistant since the last time."""
        mine = [item for item in self.published if "/device/" in item.topic]
        self.published.clear()
        return mine

    def topics(self) -> list[str]:
        return [item.topic for item in self.announcements()]

    def _lose(self) -> None:
        self.lost += 1


def availability(item: Publication) -> list[str]:
    return [entry["t"] for entry in json.loads(item.payload)["avty"]]


def retained(name: str, base: str = "stt") -> bytes:
    """What a previous run announced about a device."""
    return encode(
        device_config(ServiceFacts(Topics(base), ("default",), 30.0), name, DeviceFacts())
    )


def test_before_the_first_connection_devices_are_only_noted() -> None:
    home = Home()
    home.speaks("kitchen")
    home.door.availability_seen("kitchen")
    assert home.topics() == []
    home.router.on_connected()
    assert home.topics() == [SERVICE, KITCHEN]


def test_a_device_is_announced_once_when_it_becomes_known() -> None:
    home = Home().connects()
    home.speaks("kitchen", "kitchen")
    (announced,) = home.announcements()
    assert announced.topic == KITCHEN
    assert (announced.qos, announced.retain) == (1, True)
    assert json.loads(announced.payload)["dev"]["name"] == "kitchen"


def test_a_connection_announces_the_service_and_then_all_devices() -> None:
    home = Home().connects()
    home.speaks("kitchen", "a.b")
    home.announcements()
    home.router.on_connected()
    announced = home.announcements()
    assert [item.topic for item in announced] == [
        SERVICE, KITCHEN, f"homeassistant/device/{object_id('a.b')}/config",
    ]  # fmt: skip
    assert all(item.qos == 1 and item.retain for item in announced)


def test_telling_the_settings_again_is_no_news() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.announcements()
    home.service.registry.announce(NATIVE)
    assert home.topics() == []


@pytest.mark.parametrize("retain", [True, False])
def test_home_assistants_birth_announces_everything_again(retain: bool) -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.announcements()
    home.says("homeassistant/status", b"online", retain)
    assert home.topics() == [SERVICE, KITCHEN]


def test_births_that_follow_each_other_at_once_are_one() -> None:
    home = Home().connects()
    home.says("homeassistant/status", b"online")
    assert home.topics() == [SERVICE]
    home.clock.advance(MIN_BIRTH_INTERVAL_S - 0.1)
    home.says("homeassistant/status", b"online")
    assert home.topics() == []
    home.clock.advance(0.1)
    home.says("homeassistant/status", b"online")
    assert home.topics() == [SERVICE]


@pytest.mark.parametrize("payload", [b"offline", b"", b"ONLINE", b"\xff"])
def test_what_else_is_said_on_the_status_topic_announces_nothing(payload: bytes) -> None:
    home = Home().connects()
    home.says("homeassistant/status", payload)
    assert home.topics() == []


def test_a_forgotten_device_is_taken_back() -> None:
    home = Home(limits={"max_devices": 1}).connects()
    home.speaks("kitchen")
    home.announcements()
    home.speaks("hall")
    taken_back, announced = home.announcements()
    assert (taken_back.topic, taken_back.payload, taken_back.retain) == (KITCHEN, b"", True)
    assert announced.topic == "homeassistant/device/stt_mqtt_hall/config"
    home.router.on_connected()
    assert KITCHEN not in home.topics()


def test_a_devices_availability_is_listed_from_the_moment_it_speaks_there() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    (first,) = home.announcements()
    assert availability(first) == ["stt/bridge/state"]
    home.door.availability_seen("kitchen")
    home.door.availability_seen("kitchen")
    (second,) = home.waits().announcements()
    assert availability(second) == ["stt/bridge/state", "stt/kitchen/availability"]
    home.router.on_connected()
    assert availability(home.announcements()[1]) == availability(second)


def test_an_availability_that_came_before_the_device_was_known_counts() -> None:
    home = Home().connects()
    home.door.availability_seen("kitchen")
    assert home.topics() == []
    home.speaks("kitchen")
    (announced,) = home.announcements()
    assert availability(announced) == ["stt/bridge/state", "stt/kitchen/availability"]


def test_a_device_that_comes_back_is_remembered_to_speak() -> None:
    home = Home(limits={"max_devices": 1}).connects()
    home.speaks("kitchen")
    home.door.availability_seen("kitchen")
    home.door.satellite_seen("kitchen", RESPEAKER)
    home.speaks("hall", "kitchen")
    back = home.announcements()[-1]
    assert availability(back)[-1] == "stt/kitchen/availability"
    assert json.loads(back.payload)["dev"]["mdl"] == "ReSpeaker Lite"


def test_a_cleared_availability_topic_is_listed_no_more() -> None:
    home = Home().connects()
    home.door.availability_seen("hall")
    home.door.availability_cleared("hall")
    home.speaks("hall")
    home.door.availability_seen("hall")
    home.waits()
    home.door.availability_cleared("hall")
    home.waits()
    assert [availability(item) for item in home.announcements()] == [
        ["stt/bridge/state"],
        ["stt/bridge/state", "stt/hall/availability"],
        ["stt/bridge/state"],
    ]


def test_of_those_who_only_say_that_they_are_there_the_last_ones_are_remembered() -> None:
    home = Home(limits={"max_devices": 2}).connects()
    for name in ("a", "b", "a", "c"):
        home.door.availability_seen(name)
    home.speaks("a", "b")
    first, second = home.announcements()
    assert availability(first) == ["stt/bridge/state", "stt/a/availability"]
    assert availability(second) == ["stt/bridge/state"]


def test_who_announces_itself_is_announced_once_with_all_that_it_tells() -> None:
    home = Home().connects()
    home.door.availability_seen("kitchen")
    home.service.registry.register(DeviceKey(NATIVE, "kitchen"))
    home.waits(COLLECT_S / 2)
    home.door.satellite_seen("kitchen", RESPEAKER)
    assert home.topics() == []
    (announced,) = home.waits(COLLECT_S / 2).announcements()
    told = json.loads(announced.payload)
    assert availability(announced)[-1] == "stt/kitchen/availability"
    assert (told["dev"]["mdl"], told["dev"]["sw"]) == ("ReSpeaker Lite", "1.4")
    assert told["cmps"]["microphone"]["stat_t"] == "stt/kitchen/satellite/state"
    assert home.waits(60).topics() == []


def test_who_speaks_before_that_is_announced_at_once_and_before_its_state() -> None:
    home = Home().connects()
    home.door.availability_seen("kitchen")
    home.service.registry.register(DeviceKey(NATIVE, "kitchen"))
    home.published.clear()
    home.service.start(DeviceKey(NATIVE, "kitchen"), UtteranceStart())
    assert [item.topic for item in home.published] == [KITCHEN, "stt/kitchen/state"]
    assert home.waits().topics() == [KITCHEN]


def test_news_of_a_device_follow_each_other_with_a_pause_between() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.announcements()
    home.door.satellite_seen("kitchen", SatelliteInfo(version="1"))
    home.waits(COLLECT_S / 2)
    home.door.satellite_seen("kitchen", SatelliteInfo(version="2"))
    home.door.availability_seen("kitchen")
    (first,) = home.waits(COLLECT_S / 2).announcements()
    assert json.loads(first.payload)["dev"]["sw"] == "2"
    home.door.satellite_seen("kitchen", SatelliteInfo(version="3"))
    assert home.waits(COLLECT_S / 2).topics() == []
    assert home.waits(COLLECT_S / 2).topics() == [KITCHEN]


def test_a_satellite_that_tells_the_same_again_is_no_news() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.door.satellite_seen("kitchen", RESPEAKER)
    home.waits().announcements()
    home.door.satellite_seen("kitchen", RESPEAKER)
    assert home.waits().topics() == []


def test_the_microphone_of_a_satellite_that_clears_its_state_is_taken_back() -> None:
    home = Home().connects()
    home.door.satellite_seen("kitchen", RESPEAKER)
    home.speaks("kitchen")
    home.announcements()
    home.door.satellite_seen("kitchen", SatelliteInfo())
    (announced,) = home.waits().announcements()
    assert json.loads(announced.payload)["cmps"]["microphone"] == {"p": "switch"}


def test_a_device_that_leaves_while_its_news_wait_stays_away() -> None:
    home = Home().connects()
    home.door.satellite_seen("kitchen", RESPEAKER)
    home.service.registry.register(DeviceKey(NATIVE, "kitchen"))
    home.service.registry.forget(DeviceKey(NATIVE, "kitchen"))
    assert home.waits().topics() == [KITCHEN]
    assert home.door.deadline is None


def test_a_crowd_of_new_names_is_announced_a_few_at_a_time_and_not_if_it_has_gone() -> None:
    home = Home().connects()
    crowd = [f"new-{number}" for number in range(3 * ANNOUNCED_AT_ONCE)]
    home.speaks(*crowd)
    assert len(home.announcements()) == ANNOUNCED_AT_ONCE
    home.published.clear()
    home.clock.advance(COLLECT_S)
    home.door.tick()
    caught_up = round(COLLECT_S / ANNOUNCED_EVERY_S)
    assert len(home.announcements()) == min(caught_up, ANNOUNCED_AT_ONCE)
    assert home.door.deadline == pytest.approx(home.clock.now() + ANNOUNCED_EVERY_S)
    home.published.clear()
    for name in crowd:
        home.door.forget(DeviceKey(NATIVE, name))
    assert not any(message.payload for message in home.published)
    assert home.door.deadline is None


def test_a_birth_does_not_have_what_waits_announced_twice() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.door.availability_seen("kitchen")
    home.announcements()
    home.says("homeassistant/status", b"online")
    assert home.topics() == [SERVICE, KITCHEN]
    assert home.waits().topics() == []


def test_leftovers_of_unknown_devices_are_cleared_once() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.announcements()
    for name in ("kitchen", "attic", "a.b"):
        topic = f"homeassistant/device/{object_id(name)}/config"
        home.says(topic, retained(name), retain=True)
    home.says(SERVICE, retained("bridge"), retain=True)
    home.router.clean_up()
    cleared = home.announcements()
    assert [(item.topic, item.payload, item.retain) for item in cleared] == [
        (f"homeassistant/device/{object_id('a.b')}/config", b"", True),
        ("homeassistant/device/stt_mqtt_attic/config", b"", True),
    ]
    home.router.clean_up()
    assert home.announcements() == []


def test_a_device_that_is_deleted_in_home_assistant_is_forgotten_until_it_speaks_again() -> None:
    home = Home().connects()
    home.speaks("kitchen", "a.b")
    home.announcements()
    home.says(f"homeassistant/device/{object_id('a.b')}/config", b"")
    (cleared,) = home.announcements()
    assert (cleared.topic, cleared.payload) == (
        f"homeassistant/device/{object_id('a.b')}/config", b"",
    )  # fmt: skip
    home.says(cleared.topic, b"")
    assert [device.key.name for device in home.service.registry] == ["kitchen"]
    home.speaks("a.b")
    (announced,) = home.announcements()
    assert announced.topic == cleared.topic
    home.says(cleared.topic, b"")
    assert [device.key.name for device in home.service.registry] == ["kitchen"]


def test_our_own_clearing_that_comes_back_deletes_nobody() -> None:
    home = Home().connects()
    home.speaks("kitchen")
    home.service.registry.forget(DeviceKey("native", "kitchen"))
    home.speaks("kitchen")
    home.says(KITCHEN, b"")
    assert [device.key.name for device in home.service.registry] == ["kitchen"]
    home.says(KITCHEN, b"")
    assert list(home.service.registry) == []


@pytest.mark.parametrize("why", ["configured", "busy"])
def test_who_is_needed_is_not_forgotten_when_home_assistant_deletes_it(
    why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    home = Home(devices={"kitchen": {}} if why == "configured" else {}).connects()
    home.speaks("kitchen")
    if why == "busy":
        home.service.start(DeviceKey("native", "kitchen"), UtteranceStart(id="a"))
    home.says(KITCHEN, b"")
    assert [device.key.name for device in home.service.registry] == ["kitchen"]
    assert "deleted in Home Assistant, but not forgotten" in caplog.text
    home.announcements()
    home.clock.advance(COLLECT_S)
    home.door.tick()
    assert [item.topic for item in home.announcements()] == [KITCHEN]


def test_switched_off_it_takes_back_what_was_announced_and_nothing_else() -> None:
    home = Home(homeassistant={"enabled": False}).connects()
    assert home.router.subscriptions == ()
    home.speaks("kitchen")
    home.says(SERVICE, retained("bridge"), retain=True)
    home.says(KITCHEN, retained("kitchen"), retain=True)
    home.says("homeassistant/device/zigbee_attic/config", retained("attic"), retain=True)
    home.router.clean_up()
    cleared = {item.topic: item.payload for item in home.announcements()}
    assert cleared == {SERVICE: b"", KITCHEN: b""}


def test_an_announcement_that_is_not_ours_stays() -> None:
    home = Home().connects()
    for id, payload in {"zigbee_attic": retained("attic"), "stt_mqtt_attic": b""}.items():
        home.says(f"homeassistant/device/{id}/config", payload, retain=True)
    home.says("homeassistant/device/stt_mqtt_attic/config", retained("attic", "voice"), retain=True)
    home.router.clean_up()
    assert home.announcements() == []


def test_what_is_announced_meanwhile_is_no_leftover() -> None:
    home = Home().connects()
    home.says("homeassistant/device/stt_mqtt_attic/config", retained("attic"))
    home.router.clean_up()
    assert home.announcements() == []


def test_leftovers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_mqtt.doors.homeassistant.door.MAX_PREVIOUS_MESSAGES", 2)
    home = Home().connects()
    for name in ("a", "b", "c"):
        topic = f"homeassistant/device/stt_mqtt_{name}/config"
        home.says(topic, retained(name), retain=True)
    home.router.clean_up()
    assert len(home.announcements()) == 2


def test_nothing_is_announced_before_the_broker_was_there() -> None:
    home = Home()
    home.door.info_changed()
    home.door.satellite_seen("kitchen", RESPEAKER)
    home.service.registry.register(DeviceKey(NATIVE, "kitchen"))
    assert home.door.deadline is None
    assert home.waits().topics() == []


def test_the_service_is_announced_again_only_when_something_changed_about_it() -> None:
    home = Home().connects()
    home.router.on_connected()
    home.announcements()
    home.door.info_changed()
    home.service.rung_status = replace(home.service.rung_status, active="other", mode="default")
    home.door.info_changed()
    assert home.topics() == []
    rungs = (Rung("best", "base", 5, "int8"), Rung("fast", "tiny", 1, "int8"))
    home.service.rung_status = RungStatus(rungs, "auto", "best", "the start")
    home.door.info_changed()
    (announced,) = home.announcements()
    assert announced.topic == SERVICE
    assert json.loads(announced.payload)["cmps"]["rung"]["ops"] == ["auto", "best", "fast"]
    home.service.reconfigure(Config.model_validate({"service": {"health_interval_s": 300}}))
    home.door.info_changed()
    (announced,) = home.announcements()
    assert json.loads(announced.payload)["cmps"]["cpu"]["exp_aft"] == 900


def test_base_topic_and_discovery_prefix_come_from_the_configuration() -> None:
    home = Home(
        mqtt={"base_topic": "house/voice"}, homeassistant={"discovery_prefix": "ha/discovery"}
    ).connects()
    home.speaks("kitchen")
    (announced,) = home.announcements()
    assert announced.topic == "ha/discovery/device/stt_mqtt_kitchen/config"
    assert availability(announced) == ["house/voice/bridge/state"]
    assert home.router.subscriptions == ("ha/discovery/status", "ha/discovery/device/+/config")
    assert home.router.read_first == ("ha/discovery/device/+/config",)
    home.says("ha/discovery/status", b"online")
    assert len(home.announcements()) == 2


@pytest.mark.parametrize(
    ("topic", "owned"),
    [
        ("homeassistant/status", True),
        ("homeassistant/device/anything/config", True),
        ("homeassistant/device//config", False),
        ("homeassistant/device/a/b/config", False),
        ("homeassistant/device/a", False),
        ("homeassistant/status/a", False),
        ("homeassistant/sensor/a/config", False),
        ("stt/kitchen/audio", False),
    ],
)
def test_the_door_takes_its_topics_and_no_others(topic: str, owned: bool) -> None:
    home = Home()
    home.says(topic, b"{}")
    counted = home.service.metrics.dropped.get("bad_topic", 0)
    assert home.lost + counted == (0 if owned else 1)


def test_nothing_comes_of_a_message_that_was_dropped_or_is_of_others() -> None:
    home = Home().connects()
    home.router.route("homeassistant/status").topics.dropped(
        "homeassistant/status", OverloadedError("full")
    )
    home.says("homeassistant/sensor/a/config", b"{}")
    assert home.lost == 1
    assert home.announcements() == []
    topics = home.door.subscriptions
    assert not topics.is_audio("homeassistant/status")
    assert topics.is_large("homeassistant/device/a/config")
    assert not topics.is_large("homeassistant/status")


def test_a_device_of_another_door_is_not_announced() -> None:
    home = Home().connects()
    outlet = native_door(home.service, home.clock, lambda _publication: None)
    home.service.attach("hermes", outlet)
    home.service.single(DeviceKey("hermes", "satellite"), bytes(6400), UtteranceStart())
    home.pool.answer(home.service, heard())
    assert home.announcements() == []


def test_each_gateway_announces_its_devices_and_the_leader_the_service() -> None:
    share = Share({"kitchen"})
    home = Home(share).connects()
    home.speaks("kitchen", "bath")
    home.waits()
    assert home.topics() == ["homeassistant/device/stt_mqtt_kitchen/config"]
    home.door.info_changed()
    home.door.on_connected()
    assert home.topics() == ["homeassistant/device/stt_mqtt_kitchen/config"]
    share.names.add("bridge")
    home.door.info_changed()
    assert home.topics() == ["homeassistant/device/stt_mqtt_bridge/config"]


def test_who_gets_devices_announces_them_once() -> None:
    share = Share({"kitchen"})
    home = Home(share).connects()
    home.speaks("kitchen", "bath")
    home.door.ownership_changed()
    home.waits()
    home.announcements()
    share.names.add("bath")
    for _ in range(2):
        home.door.ownership_changed()
        home.waits()
    assert home.topics() == ["homeassistant/device/stt_mqtt_bath/config"]


def test_only_the_owner_clears_a_device_and_the_leader_what_the_previous_run_left() -> None:
    share = Share({"kitchen"})
    home = Home(share).connects()
    home.speaks("kitchen", "bath")
    home.announcements()
    for name in ("kitchen", "bath"):
        home.service.registry.forget(DeviceKey(NATIVE, name))
    assert home.topics() == ["homeassistant/device/stt_mqtt_kitchen/config"]
    home.says("homeassistant/device/stt_mqtt_old/config", retained("old"), retain=True)
    home.door.clean_up()
    assert home.topics() == []
    share.names.add("bridge")
    home.says("homeassistant/device/stt_mqtt_old/config", retained("old"), retain=True)
    home.door.clean_up()
    assert home.topics() == ["homeassistant/device/stt_mqtt_old/config"]
