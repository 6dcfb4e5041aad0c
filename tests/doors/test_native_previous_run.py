"""What a previous run left on the broker, as the values that are taken over."""

from __future__ import annotations

import json

import pytest

from stt_mqtt.config import Config, without_secrets
from stt_mqtt.core.settings import Overrides
from stt_mqtt.doors.native.previous_run import PreviousRun

MUTED = b'{"enabled":false,"language":null,"prompt":null}'
GERMAN = b'{"enabled":true,"language":"de","prompt":"Lampe"}'


def info_of(**config: object) -> bytes:
    return json.dumps({"config": without_secrets(Config.model_validate(config))}).encode()


def test_what_was_changed_over_the_wire_is_what_differs_from_the_configuration() -> None:
    previous = PreviousRun(Config())
    previous.note_device("kitchen", MUTED)
    previous.note_device("bath", GERMAN)
    assert previous.device("kitchen").overrides == Overrides(enabled=False)
    assert previous.device("bath").overrides == Overrides(language="de", prompt="Lampe")


def test_it_is_compared_with_the_configuration_of_that_run() -> None:
    """So a language that was only configured follows the file, whatever is in it now."""
    previous = PreviousRun(Config.model_validate({"device_defaults": {"language": "en"}}))
    previous.note_info(info_of(devices={"b*": {"language": "de"}, "bath": {"prompt": "Lampe"}}))
    previous.note_device("bath", GERMAN)
    previous.note_device("kitchen", GERMAN)
    assert previous.device("bath").overrides == Overrides()
    assert previous.device("kitchen").overrides == Overrides(language="de", prompt="Lampe")


def test_only_what_the_configuration_says_of_devices_has_to_be_understood() -> None:
    """`info` names every key, also those that have no effect beside others and were never set."""
    previous = PreviousRun(Config())
    rungs = [{"name": "quick", "model": "tiny.en"}]
    info = info_of(ladder={"rungs": rungs}, device_defaults={"language": "de"})
    previous.note_info(info.replace(b'"engine"', b'"of a later version": 5, "engine"'))
    previous.note_device("bath", GERMAN)
    assert previous.device("bath").overrides == Overrides(prompt="Lampe")


@pytest.mark.parametrize("info", [b"", b"[]", b'{"config":5}', b'{"config":{"newer":1}}'])
def test_without_that_configuration_the_present_one_is_taken(info: bytes) -> None:
    previous = PreviousRun(Config.model_validate({"device_defaults": {"language": "de"}}))
    previous.note_info(info)
    previous.note_device("bath", GERMAN)
    assert previous.device("bath").overrides == Overrides(prompt="Lampe")


@pytest.mark.parametrize("settings", [b"{}", b"\xff", b'{"enabled":"no"}', b"[" * 9000])
def test_settings_that_cannot_be_read_still_name_the_device(settings: bytes) -> None:
    previous = PreviousRun(Config())
    previous.note_device("kitchen", settings)
    assert [(one.name, one.overrides) for one in previous.devices()] == [("kitchen", Overrides())]


def test_a_state_names_a_device_and_takes_nothing_from_its_settings() -> None:
    previous = PreviousRun(Config())
    previous.note_device("kitchen", MUTED)
    previous.note_device("kitchen", None)
    previous.note_device("bath", None)
    previous.note_device("bath", MUTED)
    previous.note_device("attic", None)
    assert [(one.name, one.overrides) for one in previous.devices()] == [
        ("attic", None),
        ("bath", Overrides(enabled=False)),
        ("kitchen", Overrides(enabled=False)),
    ]


def test_who_was_heard_last_comes_last() -> None:
    previous = PreviousRun(Config())
    for name in ("kitchen", "bath", "attic", "loft", "shed", "barn"):
        previous.note_device(name, None)
    seen = {
        "bath": 20.0,
        "kitchen": 30,
        "attic": None,
        "cellar": 5.0,
        "hall": True,
        "loft": 10**400,
        "shed": -1,
        "barn": 1e300,
    }
    devices = {name: {"last_seen": at} for name, at in seen.items()}
    previous.note_health(json.dumps({"devices": {**devices, "odd": 5}}).encode())
    assert [(one.name, one.last_seen_ts) for one in previous.devices()] == [
        *((name, 0.0) for name in ("attic", "barn", "loft", "shed")),
        ("bath", 20.0),
        ("kitchen", 30.0),
    ]


@pytest.mark.parametrize("health", [b"", b"[]", b'{"devices":[]}', b'{"devices":{"a":1e999}}'])
def test_a_health_that_says_nothing_changes_nothing(health: bytes) -> None:
    previous = PreviousRun(Config())
    previous.note_device("kitchen", None)
    previous.note_health(health)
    assert previous.device("kitchen").last_seen_ts == 0.0


def test_the_devices_of_a_previous_run_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_mqtt.doors.native.previous_run.MAX_DEVICES", 2)
    previous = PreviousRun(Config())
    for name in ("a", "b", "c", "a"):
        previous.note_device(name, MUTED)
    assert [one.name for one in previous.devices()] == ["a", "b"]
