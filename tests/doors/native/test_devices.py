"""Which devices there are: by their own word, and by what a previous run left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stt_mqtt.config import Config, without_secrets
from stt_mqtt.core.settings import Overrides
from stt_mqtt.doors.native.devices import MAX_NAMES_LOGGED, PreviousRun
from stt_mqtt.doors.native.messages import SatelliteInfo
from stt_mqtt.errors import OverloadedError
from tests.doors.native.peers import Wire
from tests.fakes import FakeClock

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
    monkeypatch.setattr("stt_mqtt.doors.native.devices.MAX_DEVICES", 2)
    previous = PreviousRun(Config())
    for name in ("a", "b", "c", "a"):
        previous.note_device(name, MUTED)
    assert [one.name for one in previous.devices()] == ["a", "b"]


class Bench(Wire):
    """The native door; it hears itself what the devices say of themselves."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.present: list[str] = []
        self.door.devices.observer = self

    def availability_seen(self, name: str) -> None:
        self.present.append(name)

    def availability_cleared(self, name: str) -> None:
        self.present.append(f"not {name}")

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        self.present.append(f"{name}: {satellite}")

    def clean_up(self) -> None:
        """All that a previous run left was read."""
        retained = self.door.subscriptions.retained
        assert retained is not None
        retained.clean_up()

    @property
    def seen(self) -> dict[str, float]:
        """The known devices, and when they were heard last."""
        return {device.key.name: device.last_seen_ts for device in self.service.registry}

    @property
    def retained(self) -> dict[str, bytes]:
        """The last payload on each retained topic."""
        return {item.topic: item.payload for item in self.published if item.retain}

    @property
    def published_on(self) -> list[str]:
        return [publication.topic for publication in self.published]


def test_chunks_and_whole_utterances_are_known_by_their_topic() -> None:
    topics = Bench().door.subscriptions
    assert topics.is_audio("stt/kitchen/audio")
    assert not topics.is_audio("stt/kitchen/audio/stop")
    assert topics.is_large("stt/kitchen/utterance")
    assert not topics.is_large("stt/kitchen/set")


def test_requests_are_answered_and_messages_of_devices_reach_the_line() -> None:
    bench = Bench()
    bench.send("stt/bridge/request/devices", b"{}")
    bench.send("stt/kitchen/audio/start", b"{}")
    assert bench.published_on == [
        "stt/bridge/response/devices",
        "stt/kitchen/settings",
        "stt/kitchen/state",
    ]


def test_topics_that_mean_nothing_are_counted_but_not_the_services_own_state() -> None:
    bench = Bench()
    bench.send("stt/kitchen/nonsense")
    bench.send("stt/bridge/nonsense")
    bench.service.metrics.dropped["bad_topic"] -= 1
    for name in ("state", "info", "health", "response/health_check"):
        bench.send(f"stt/bridge/{name}", b"{}", retain=True)
    assert bench.service.metrics.dropped == {"bad_topic": 1}


def test_who_speaks_on_the_availability_topic_is_told_and_who_clears_it() -> None:
    bench = Bench()
    bench.send("stt/kitchen/availability", b"online", retain=True)
    bench.send("stt/kitchen/availability", b"offline")
    bench.send("stt/kitchen/availability", b"Online")
    bench.send("stt/kitchen/availability")
    assert bench.present == ["kitchen", "kitchen", "not kitchen"]


SAYS_WHAT_IT_IS = b'{"v":1,"version":"1.2","model":"ESP32-S3","muted":false,"listening":true}'


def test_what_a_satellite_tells_of_itself_is_told_on() -> None:
    bench = Bench()
    bench.send("stt/kitchen/satellite/state", SAYS_WHAT_IT_IS, retain=True)
    bench.send("stt/kitchen/satellite/state", b"", retain=False)
    assert bench.present == [
        f"kitchen: {SatelliteInfo('ESP32-S3', '1.2', can_mute=True)}",
        f"kitchen: {SatelliteInfo()}",
    ]


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize(
    ("topic", "payload"), [("availability", b"online"), ("satellite/state", SAYS_WHAT_IT_IS)]
)
def test_a_device_that_announces_itself_is_known_before_its_first_words(
    topic: str, payload: bytes, retain: bool
) -> None:
    bench = Bench()
    bench.send(f"stt/kitchen/{topic}", payload, retain=retain)
    assert bench.retained["stt/kitchen/state"] == b"idle"
    assert "stt/kitchen/settings" in bench.retained
    # What the broker kept says nothing about when it was heard.
    assert bench.seen == {"kitchen": 0.0 if retain else FakeClock().epoch()}


@pytest.mark.parametrize(
    ("topic", "payload"),
    [("availability", b"offline"), ("availability", b""), ("satellite/state", b" ")],
)
def test_a_device_that_goes_or_clears_what_it_said_is_not_made_known(
    topic: str, payload: bytes
) -> None:
    bench = Bench()
    bench.send(f"stt/kitchen/{topic}", payload)
    assert bench.seen == {}
    assert bench.published == []


def test_nobody_is_forgotten_for_a_device_that_only_announces_itself() -> None:
    bench = Bench(limits={"max_devices": 1})
    bench.send("stt/kitchen/satellite/state", SAYS_WHAT_IT_IS)
    bench.send("stt/hall/satellite/state", SAYS_WHAT_IT_IS)
    bench.send("stt/hall/availability", b"online")
    assert list(bench.seen) == ["kitchen"]


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"1", b" " * 20_000])
def test_a_satellite_state_that_cannot_be_read_is_answered_and_makes_nobody_known(
    payload: bytes,
) -> None:
    bench = Bench()
    bench.send("stt/kitchen/satellite/state", payload)
    (answer,) = bench.published
    assert answer.topic == "stt/kitchen/result"
    assert b'"bad_payload"' in answer.payload
    assert bench.present == []


def test_what_a_satellite_said_of_itself_is_cleared_with_it_unless_it_is_there() -> None:
    bench = Bench()
    for name in ("kitchen", "hall"):
        bench.send(f"stt/{name}/satellite/state", SAYS_WHAT_IT_IS)
    bench.send("stt/hall/availability", b"online")
    for device in bench.service.registry:
        bench.service.registry.forget(device.key)
    assert bench.retained["stt/kitchen/satellite/state"] == b""
    assert "stt/hall/satellite/state" not in bench.retained


def test_a_dropped_message_is_answered_overloaded() -> None:
    bench = Bench()
    bench.door.subscriptions.dropped("stt/kitchen/utterance", OverloadedError("full"))
    bench.door.subscriptions.dropped("stt/bridge/request/devices", OverloadedError("full"))
    results = [item for item in bench.published if item.topic == "stt/kitchen/result"]
    assert len(results) == 1
    assert b'"overloaded"' in results[0].payload


def test_after_connecting_configured_satellites_are_told_and_online_comes_last() -> None:
    bench = Bench(devices={"kitchen": {}, "192.168.1.20": {}, "2001:db8::1": {}, "kids_*": {}})
    bench.door.on_connected()
    assert bench.published_on[:2] == ["stt/kitchen/settings", "stt/kitchen/state"]
    assert bench.published[-1].topic == "stt/bridge/state"
    assert bench.published[-1].payload == b"online"
    assert not any("192.168" in topic or "2001" in topic for topic in bench.published_on)


def test_the_devices_of_a_previous_run_are_taken_over_before_they_speak() -> None:
    bench = Bench(devices={"hall": {"language": "en"}})
    bench.send("stt/kitchen/settings", MUTED, retain=True)
    bench.send("stt/kitchen/state", b"listening", retain=True)
    bench.send("stt/hall/settings", MUTED, retain=True)
    bench.send("stt/bridge/health", b'{"devices":{"kitchen":{"last_seen":17}}}', retain=True)
    bench.send("stt/live/settings", MUTED)
    assert bench.published == []
    bench.door.restore_devices()
    assert bench.published == []
    bench.door.on_connected()
    assert bench.retained["stt/kitchen/state"] == b"idle"
    assert b'"enabled":false' in bench.retained["stt/kitchen/settings"]
    assert b'"enabled":false' in bench.retained["stt/hall/settings"]
    assert bench.seen == {"kitchen": 17.0, "hall": FakeClock().epoch()}
    bench.send("stt/kitchen/utterance", bytes(6400))
    assert b'"disabled"' in bench.published[-1].payload


def test_what_a_previous_run_left_and_comes_late_is_taken_over_too() -> None:
    bench = Bench()
    bench.door.restore_devices()
    bench.door.on_connected()
    bench.published.clear()
    bench.send("stt/kitchen/settings", MUTED, retain=True)
    bench.clean_up()
    assert bench.published_on == ["stt/kitchen/settings", "stt/kitchen/state"]
    bench.send("stt/attic/settings", MUTED, retain=True)
    bench.clean_up()
    bench.door.restore_devices()
    assert list(bench.seen) == ["kitchen"]


def test_a_retained_set_does_not_undo_what_was_in_force_before_the_restart() -> None:
    bench = Bench()
    bench.send("stt/kitchen/settings", b'{"enabled":true,"language":null}', retain=True)
    bench.send("stt/attic/state", b"idle", retain=True)
    bench.door.restore_devices()
    bench.door.on_connected()
    for name in ("kitchen", "attic"):
        bench.send(f"stt/{name}/set", b'{"enabled":false}', retain=True)
    assert b'"enabled":true' in bench.retained["stt/kitchen/settings"]
    assert b'"enabled":false' in bench.retained["stt/attic/settings"]


def test_who_was_forgotten_right_after_the_start_stays_forgotten() -> None:
    bench = Bench()
    bench.send("stt/kitchen/settings", MUTED, retain=True)
    bench.door.restore_devices()
    bench.door.on_connected()
    bench.send("stt/bridge/request/forget", b'{"device":"kitchen"}')
    bench.clean_up()
    assert bench.seen == {}


def test_what_is_no_state_of_ours_makes_no_device() -> None:
    bench = Bench()
    bench.send("stt/lamp/state", b"ON", retain=True)
    bench.door.restore_devices()
    assert bench.seen == {}


def test_who_is_said_to_be_offline_was_not_heard() -> None:
    bench = Bench()
    bench.send("stt/kitchen/settings", MUTED, retain=True)
    bench.send("stt/bridge/health", b'{"devices":{"kitchen":{"last_seen":17}}}', retain=True)
    bench.door.restore_devices()
    bench.send("stt/kitchen/availability", b"offline", retain=True)
    assert bench.seen == {"kitchen": 17.0}


def test_what_was_changed_since_the_start_is_not_taken_back() -> None:
    bench = Bench()
    bench.send("stt/kitchen/enabled/set", b"ON")
    bench.send("stt/kitchen/settings", MUTED, retain=True)
    bench.clean_up()
    assert b'"enabled":true' in bench.retained["stt/kitchen/settings"]


def test_of_more_devices_than_places_those_heard_last_are_taken_over() -> None:
    bench = Bench(limits={"max_devices": 3}, devices={"hall": {}})
    for name in ("first", "second", "third"):
        bench.send(f"stt/{name}/settings", MUTED, retain=True)
    seen = b'{"devices":{"first":{"last_seen":3},"second":{"last_seen":2},"third":{"last_seen":1}}}'
    bench.send("stt/bridge/health", seen, retain=True)
    bench.door.restore_devices()
    assert list(bench.seen) == ["second", "first"]
    assert bench.retained == {
        "stt/third/state": b"", "stt/third/settings": b"",
    }  # fmt: skip
    bench.door.on_connected()
    assert list(bench.seen) == ["second", "first", "hall"]


def test_a_name_that_is_not_allowed_is_said_once_with_the_rule(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    for _ in range(3):
        bench.send("stt/living room/audio", bytes(320))
        bench.send("stt/Küche/utterance", bytes(320))
        bench.send("stt/bridge/audio", bytes(320))
    assert bench.service.metrics.dropped == {"bad_name": 9}
    assert bench.published == []
    assert caplog.messages == [
        "what comes from a device called 'living room' is dropped: 1 to 64 of A-Z a-z 0-9 _ . - "
        "are taken; give it another name",
        "what comes from a device called 'Küche' is dropped: 1 to 64 of A-Z a-z 0-9 _ . - "
        "are taken; give it another name",
        "what comes from a device called 'bridge' is dropped: it is the name of the service "
        "itself; give it another name",
    ]


def test_names_that_are_not_allowed_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    for number in range(2 * MAX_NAMES_LOGGED):
        bench.send(f"stt/room {number}/audio", bytes(320))
    assert len(caplog.messages) == MAX_NAMES_LOGGED
    assert bench.service.metrics.dropped == {"bad_name": 2 * MAX_NAMES_LOGGED}


def test_a_crowd_must_not_delay_regulars_and_the_service_itself() -> None:
    wire = Wire(devices={"kitchen": {}})
    senders = wire.door.subscriptions.senders
    wire.service.scheduler.queue.regulars.heard(("native", "bath"), 0.0)
    wire.service.scheduler.queue.regulars.heard(("wyoming", "study"), 0.0)
    favoured = [name for name in ("kitchen", "bath", "study", "") if senders.is_favoured(name)]
    assert favoured == ["kitchen", "bath", ""]
