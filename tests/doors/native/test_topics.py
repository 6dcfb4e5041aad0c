from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.native.topics import (
    BridgeNames,
    BridgeOutput,
    BridgeRequest,
    DeviceMessage,
    IllegalDevice,
    Topics,
    Verb,
)
from tools.program import overlap

TOPICS = Topics("stt")


@pytest.mark.parametrize("verb", list(Verb))
def test_every_topic_of_a_device_is_known(verb: Verb) -> None:
    assert TOPICS.parse(f"stt/kitchen.1-a_B/{verb.value}") == DeviceMessage("kitchen.1-a_B", verb)


def test_a_request_to_the_bridge_is_known() -> None:
    assert TOPICS.parse("stt/bridge/request/health_check") == BridgeRequest("health_check")


@pytest.mark.parametrize(
    "topic",
    [
        "stt", "stt/", "stt/kitchen", "stt/kitchen/audio/", "stt/kitchen/audio/begin",
        "stt/kitchen/audio/start/x", "stt/bridge/request/", "stt/bridge/request/a/b",
        "stt/bridge/response/devices", "stt/a b/words", "other/kitchen/audio",
        "sttx/kitchen/audio", "",
    ],
)  # fmt: skip
def test_other_topics_are_not(topic: str) -> None:
    assert TOPICS.parse(topic) is None


@pytest.mark.parametrize("name", ["", "küche", "living room", "x" * 65, "bridge"])
def test_a_name_that_is_not_allowed_is_known_as_such(name: str) -> None:
    assert TOPICS.parse(f"stt/{name}/audio/start") == IllegalDevice(name)


@pytest.mark.parametrize(
    ("topic", "sender"),
    [
        ("kitchen/audio", "kitchen"), ("kitchen/audio/start", "kitchen"),
        ("kitchen/enabled/set", "kitchen"), ("kitchen/availability", "kitchen"),
        ("kitchen/satellite/state", "kitchen"), ("kitchen/set", "kitchen"),
        ("kitchen/state", ""), ("kitchen/settings", ""), ("bridge/request/forget", ""),
        ("/audio", "/"), ("living room/audio", "/"), ("x" * 60_000 + "/audio", "/"),
    ],
)  # fmt: skip
def test_all_messages_of_a_device_have_it_as_their_sender(topic: str, sender: str) -> None:
    assert Topics("a/b").sender(f"a/b/{topic}") == sender


def test_the_names_of_the_home_are_read_first_and_followed() -> None:
    assert TOPICS.parse("stt/bridge/names") == BridgeNames()
    assert "stt/bridge/names" in TOPICS.read_first
    assert "stt/bridge/names" in TOPICS.subscriptions


@pytest.mark.parametrize("name", ["state", "info", "health", "response/health_check"])
def test_what_a_service_tells_of_itself_is_known(name: str) -> None:
    assert TOPICS.parse(f"stt/bridge/{name}") == BridgeOutput(name)


def test_what_is_read_first_is_read_on_by_other_filters_or_of_the_start_alone() -> None:
    start_alone = set(TOPICS.read_first) - set(TOPICS.subscriptions)
    assert start_alone == {
        "stt/+/state", "stt/+/settings", "stt/bridge/health", "stt/bridge/response/health_check",
    }  # fmt: skip
    assert "stt/#" not in {*TOPICS.read_first, *TOPICS.subscriptions}


def test_no_two_filters_overlap() -> None:
    assert not [pair for pair in combinations(TOPICS.subscriptions, 2) if overlap(*pair)]


def test_a_topic_of_60_kb_is_refused_before_it_is_remembered() -> None:
    assert TOPICS.parse("stt/kitchen/audio/" + "x" * 60_000) is None


def test_the_base_topic_may_have_several_parts() -> None:
    topics = Topics("home/voice")
    assert topics.parse("home/voice/bath/audio") == DeviceMessage("bath", Verb.CHUNK)
    assert topics.of_device("bath", "result") == "home/voice/bath/result"
    assert topics.of_bridge("state") == "home/voice/bridge/state"
    assert "home/voice/+/set" in topics.subscriptions


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("stt/kitchen/reply/1", True),
        ("stt/kitchen/reply/a/b", True),
        ("stt/kitchen/reply/", False),
        ("stt/kitchen/reply", False),
        ("stt/bedroom/reply/1", False),
        ("stt/kitchen/reply/+", False),
        ("stt/kitchen/reply/#", False),
        ("stt/kitchen/reply/a\0b", False),
        ("stt/kitchen/result", False),
        ("homeassistant/status", False),
        ("stt/kitchen/reply/" + "x" * 300, False),
    ],
)
def test_a_device_is_answered_on_its_own_reply_topics_only(topic: str, allowed: bool) -> None:
    assert TOPICS.is_reply("kitchen", topic) is allowed


@given(st.text())
def test_any_topic_can_be_looked_at(topic: str) -> None:
    route = TOPICS.parse("stt/" + topic)
    assert route is None or "/" not in getattr(route, "device", "")
