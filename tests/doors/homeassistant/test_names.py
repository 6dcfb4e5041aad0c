from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.homeassistant.names import MAX_CONFIG_BYTES, SERVICE_ID, is_ours, object_id
from stt_mqtt.doors.homeassistant.payloads import DeviceFacts, ServiceFacts, device_config
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.json import encode

STATE = "stt/bridge/state"
names = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True).filter(lambda n: n != "bridge")


def announced(name: str = "attic", base: str = "stt") -> bytes:
    service = ServiceFacts(Topics(base), ("default",), 30.0)
    return encode(device_config(service, name, DeviceFacts()))


def test_an_object_id_is_the_name_behind_a_prefix() -> None:
    assert object_id("kitchen") == "stt_mqtt_kitchen"
    assert object_id("kids-room_2") == "stt_mqtt_kids-room_2"
    assert SERVICE_ID == "stt_mqtt_bridge"


def test_dots_become_underscores_with_eight_digits_of_the_names_hash_behind_them() -> None:
    digest = sha256(b"ground.kitchen.1").hexdigest()[:8]
    assert object_id("ground.kitchen.1") == f"stt_mqtt_ground_kitchen_1-{digest}"
    assert object_id("a.b") != object_id("a_b")
    assert object_id("a.b_c") != object_id("a_b.c")


@given(names)
def test_what_is_announced_under_any_legal_name_is_known_as_ours(name: str) -> None:
    assert is_ours(object_id(name), announced(name), STATE)


NOT_OURS = {
    "of another program": ("zigbee_attic", announced()),
    "without a name": ("stt_mqtt_", announced()),
    "with a name that is too long": ("stt_mqtt_" + "a" * 74, announced()),
    "with a dot": ("stt_mqtt_a.b", announced("a.b")),
    "with a line break": ("stt_mqtt_attic\n", announced()),
    "of a service with another base topic": ("stt_mqtt_attic", announced(base="voice")),
    "of another origin": ("stt_mqtt_attic", announced().replace(b'"stt-mqtt"', b'"other"')),
    "without availability": ("stt_mqtt_attic", b'{"o":{"name":"stt-mqtt"}}'),
    "not JSON": ("stt_mqtt_attic", b"{"),
    "not UTF-8": ("stt_mqtt_attic", b"\xff"),
    "not an object": ("stt_mqtt_attic", b"[]"),
    "nested too deep": ("stt_mqtt_attic", b"[" * 60_000),
    "too long": ("stt_mqtt_attic", announced() + b" " * MAX_CONFIG_BYTES),
    "empty": ("stt_mqtt_attic", b""),
}


@pytest.mark.parametrize(("id", "config"), NOT_OURS.values(), ids=NOT_OURS)
def test_an_announcement_that_is_not_ours_is_known_as_such(id: str, config: bytes) -> None:
    assert not is_ours(id, config, STATE)
