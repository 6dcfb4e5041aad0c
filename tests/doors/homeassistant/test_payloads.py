"""The discovery messages under Home Assistant's rules, and their templates on real messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stt_mqtt import __version__
from stt_mqtt.config import Config, FleetConfig
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.doors.homeassistant.names import SERVICE_ID, object_id
from stt_mqtt.doors.homeassistant.payloads import (
    DeviceFacts,
    ServiceFacts,
    device_config,
    service_config,
)
from stt_mqtt.doors.native import messages as native
from stt_mqtt.doors.native.messages import SatelliteInfo, parse_satellite, parse_switch
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import TooShortError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.satellite.control import SatelliteState, parse_command
from stt_mqtt.types import DeviceKey, EndReason, Outcome, OutcomeKind, Transcript, UtteranceStart
from tests.doors.homeassistant.rules import entities, problems
from tests.doors.native.peers import CALLBACKS, bridge_of
from tests.fakes import ONE_THREAD, FakeClock, FakePool, engine_facts, heard
from tests.fleets import WORKER, fleet_of, worker

FACTS = ServiceFacts(Topics("stt"), ("best", "fast"), 30.0)
SILENT = DeviceFacts()
SATELLITE = DeviceFacts(True).with_satellite(SatelliteInfo("ReSpeaker Lite", "1.4", can_mute=True))
names = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True).filter(lambda n: n != "bridge")
bases = st.from_regex(r"[A-Za-z0-9_.-]{1,20}(/[A-Za-z0-9_.-]{1,20}){0,2}", fullmatch=True)
rungs = st.lists(
    st.from_regex(r"[A-Za-z0-9_.-]{1,32}", fullmatch=True).filter(lambda n: n != "auto"),
    min_size=1,
    max_size=8,
    unique=True,
)


printable = st.text(max_size=80)
device_facts = st.builds(
    DeviceFacts,
    st.booleans(),
    st.builds(
        lambda **fields: parse_satellite(encode(fields)),
        model=printable,
        version=printable,
        muted=st.none() | st.booleans(),
    ),
    st.booleans(),
)


@given(names, bases, device_facts)
def test_every_satellite_keeps_home_assistants_rules(
    name: str, base: str, facts: DeviceFacts
) -> None:
    service = ServiceFacts(Topics(base), ("default",), 30.0)
    config = device_config(service, name, facts)
    assert problems(object_id(name), config) == []
    assert json.loads(encode(config)) == config
    assert all("{" not in item["state_topic"] for item in entities(config).values())


@given(bases, rungs, st.floats(1.0, 3600.0), st.tuples(*[st.booleans()] * 3))
def test_the_service_keeps_home_assistants_rules(
    base: str, rungs: list[str], interval_s: float, about: tuple[bool, bool, bool]
) -> None:
    config = service_config(ServiceFacts(Topics(base), tuple(rungs), interval_s, *about))
    assert problems(SERVICE_ID, config) == []
    assert json.loads(encode(config)) == config


@given(st.sets(st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True), max_size=20))
def test_no_two_devices_share_a_unique_id(devices: set[str]) -> None:
    configs = [device_config(FACTS, name, SATELLITE) for name in devices - {"bridge"}]
    configs.append(service_config(FACTS))
    ids = [item["unique_id"] for config in configs for item in entities(config).values()]
    assert len(ids) == len(set(ids))


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("a key nobody knows", lambda config: config.update(colour="red")),
    ("an abbreviation that is none", lambda config: config["cmps"]["text"].update(state_t="a")),
    ("no origin", lambda config: config.pop("o")),
    ("an origin without a name", lambda config: config["o"].pop("name")),
    ("an unknown key of the origin", lambda config: config["o"].update(support="x")),
    ("no device", lambda config: config.pop("dev")),
    ("no identifiers", lambda config: config["dev"].update(ids=[])),
    ("an unknown key of the device", lambda config: config["dev"].update(via="x")),
    ("a number for a name", lambda config: config["dev"].update(name=1)),
    ("no components", lambda config: config.pop("cmps")),
    ("no unique id", lambda config: config["cmps"]["text"].pop("uniq_id")),
    ("a unique id twice", lambda config: config["cmps"]["text"].update(
        uniq_id=config["cmps"]["state"]["uniq_id"])),
    ("no platform", lambda config: config["cmps"]["text"].pop("p")),
    ("no state topic", lambda config: config["cmps"]["text"].pop("stat_t")),
    ("no command topic", lambda config: config["cmps"]["enabled"].pop("cmd_t")),
    ("no event types", lambda config: config["cmps"]["utterance"].pop("evt_typ")),
    ("a wildcard", lambda config: config["cmps"]["text"].update(stat_t="stt/+/text")),
    ("a wildcard to write to", lambda config: config["cmps"]["enabled"].update(cmd_t="stt/#")),
    ("a topic that is too long", lambda config: config["cmps"]["text"].update(stat_t="a" * 65536)),
    ("a control character", lambda config: config["cmps"]["text"].update(stat_t="a\0")),
    ("a template that does not parse", lambda config: config["cmps"]["text"].update(
        val_tpl="{{ value")),
    ("an enum without options", lambda config: config["cmps"]["state"].pop("ops")),
    ("options without an enum", lambda config: config["cmps"]["state"].pop("dev_cla")),
    ("an enum that is measured", lambda config: config["cmps"]["state"].update(
        stat_cla="measurement")),
    ("a class that is none", lambda config: config["cmps"]["text"].update(dev_cla="speech")),
    ("a wrong unit", lambda config: config["cmps"]["text"].update(
        dev_cla="duration", unit_of_meas="MB")),
    ("an option twice", lambda config: config["cmps"]["state"].update(ops=["idle", "idle"])),
    ("a sensor that is configuration", lambda config: config["cmps"]["text"].update(
        ent_cat="config")),
    ("attributes from nowhere", lambda config: config["cmps"]["state"].update(
        json_attr_tpl="{{ value }}")),
    ("a switch whose states are not said", lambda config: config["cmps"]["microphone"].pop(
        "stat_on")),
    ("a switch whose payload is no state", lambda config: config["cmps"]["enabled"].update(
        pl_off="no")),
    ("a switch that goes with its room", lambda config: config["cmps"]["enabled"].pop("ent_cat")),
    ("a service that hands its quality down", lambda config: config.update(qos=1)),
    ("a removal of no platform", lambda config: config["cmps"].update(gone={"p": "sentence"})),
    ("a key of another platform", lambda config: config["cmps"]["utterance"].update(exp_aft=60)),
    ("availability without a topic", lambda config: config.update(avty=[{"topics": "a"}])),
    ("a mode that is none", lambda config: config.update(avty_mode="most")),
    ("a quality of service that is none", lambda config: config["cmps"]["text"].update(qos=3)),
    ("an icon that is none", lambda config: config["cmps"]["text"].update(ic="microphone")),
    ("a text for a flag", lambda config: config["cmps"]["enabled"].update(ret="yes")),
]  # fmt: skip


@pytest.mark.parametrize(("_what", "spoil"), BROKEN, ids=[what for what, _ in BROKEN])
def test_the_checker_finds(_what: str, spoil: Callable[[dict[str, Any]], object]) -> None:
    config: dict[str, Any] = device_config(FACTS, "kitchen", SATELLITE)
    assert problems("stt_mqtt_kitchen", config) == []
    spoil(config)
    assert problems("stt_mqtt_kitchen", config)


def test_the_checker_finds_a_dot_in_an_object_id() -> None:
    assert problems("stt_mqtt_a.b", device_config(FACTS, "a.b", SILENT))


def test_a_satellite_is_connected_through_the_service() -> None:
    satellite: dict[str, Any] = device_config(FACTS, "kitchen", SILENT)
    service: dict[str, Any] = service_config(FACTS)
    assert satellite["dev"]["via_device"] in service["dev"]["ids"]
    assert service["o"] == {"name": "stt-mqtt", "sw": __version__}


def test_a_new_version_of_the_service_changes_nothing_about_its_satellites() -> None:
    # Home Assistant would take their last text for expired until the next one.
    config = encode(device_config(FACTS, "kitchen", SILENT))
    assert json.loads(config)["o"] == {"name": "stt-mqtt"}
    assert __version__.encode() not in config


def test_a_satellites_own_availability_counts_only_where_it_speaks() -> None:
    def topics(config: dict[str, Any]) -> list[str]:
        assert config["avty_mode"] == "all"
        return [item["t"] for item in config["avty"]]

    assert topics(device_config(FACTS, "kitchen", SILENT)) == ["stt/bridge/state"]
    assert topics(device_config(FACTS, "kitchen", SATELLITE)) == [
        "stt/bridge/state",
        "stt/kitchen/availability",
    ]
    assert topics(service_config(FACTS)) == ["stt/bridge/state"]


def test_the_last_result_of_who_has_just_gone_still_arrives() -> None:
    event = entities(device_config(FACTS, "kitchen", SATELLITE))["utterance"]
    assert event["availability"] == [{"t": "stt/bridge/state"}]
    assert event["availability_mode"] == "all"


def test_the_last_text_is_restored_when_home_assistant_starts_whoever_is_away() -> None:
    # Home Assistant restores a sensor that expires and was available when it ended.
    text = entities(device_config(FACTS, "kitchen", SATELLITE))["text"]
    assert text["state_topic"] == "stt/kitchen/text"
    assert text["expire_after"] == 365 * 24 * 3600
    assert text["availability"] == []


def test_what_a_satellite_tells_of_itself_is_shown() -> None:
    shown: dict[str, Any] = device_config(FACTS, "kitchen", SATELLITE)
    assert (shown["dev"]["mdl"], shown["dev"]["sw"]) == ("ReSpeaker Lite", "1.4")
    silent: dict[str, Any] = device_config(FACTS, "kitchen", SILENT)
    assert (silent["dev"]["mdl"], "sw" in silent["dev"]) == ("Satellite", False)


def test_the_microphone_of_a_satellite_that_can_mute_it_is_a_switch() -> None:
    switch = entities(device_config(FACTS, "kitchen", SATELLITE))["microphone"]
    assert (switch["command_topic"], switch["retain"]) == ("stt/kitchen/satellite/set", True)
    assert parse_command(switch["payload_off"].encode(), retained=True).muted is True
    assert parse_command(switch["payload_on"].encode(), retained=True).muted is False
    assert switch["unique_id"] == "stt_mqtt_kitchen_microphone"
    assert [entry["t"] for entry in switch["availability"]] == [
        "stt/bridge/state",
        "stt/kitchen/availability",
    ]


@pytest.mark.parametrize("muted", [True, False])
def test_the_microphones_switch_follows_the_satellite(muted: bool) -> None:
    switch = entities(device_config(FACTS, "kitchen", SATELLITE))["microphone"]
    payload = SatelliteState("always", "flac", muted, False, not muted, None, 0).as_json()
    assert (
        rendered(switch["value_template"], payload) == switch["state_off" if muted else "state_on"]
    )
    assert rendered(switch["value_template"], b"") == ""


def test_a_microphone_that_is_told_of_no_more_is_taken_back() -> None:
    gone: dict[str, Any] = device_config(
        FACTS, "kitchen", SATELLITE.with_satellite(SatelliteInfo())
    )
    assert gone["cmps"]["microphone"] == {"p": "switch"}
    assert problems("stt_mqtt_kitchen", gone) == []
    never: dict[str, Any] = device_config(FACTS, "kitchen", SILENT.with_satellite(SatelliteInfo()))
    assert "microphone" not in never["cmps"]
    back: dict[str, Any] = device_config(
        FACTS,
        "kitchen",
        SATELLITE.with_satellite(SatelliteInfo()).with_satellite(SatelliteInfo(can_mute=True)),
    )
    assert entities(back)["microphone"]["name"] == "Microphone"


@pytest.mark.parametrize("name", ["enabled", "microphone"])
def test_what_makes_a_room_deaf_belongs_neither_to_its_area_nor_to_the_assistant(
    name: str,
) -> None:
    switch = entities(device_config(FACTS, "kitchen", SATELLITE))[name]
    assert switch["entity_category"] == "config"


def test_the_model_is_what_people_choose_and_keeps_its_ids() -> None:
    service = entities(service_config(FACTS))
    assert (service["rung"]["name"], service["active"]["name"]) == ("Model", "Active model")
    assert service["rung"]["unique_id"] == "stt_mqtt_bridge_rung"
    assert service["active"]["unique_id"] == "stt_mqtt_bridge_active"


def test_the_active_model_may_be_one_that_was_not_announced() -> None:
    active = entities(service_config(FACTS))["active"]
    assert "options" not in active
    assert "device_class" not in active


def test_the_connection_can_be_seen_while_it_is_gone() -> None:
    assert entities(service_config(FACTS))["connection"]["availability"] == []


def test_what_health_tells_is_unknown_after_three_messages_that_did_not_come() -> None:
    facts = ServiceFacts(Topics("stt"), ("default",), 7.5)
    expiries = {
        item["expire_after"]
        for item in entities(service_config(facts)).values()
        if item["state_topic"] == "stt/bridge/health"
    }
    assert expiries == {23}


def test_the_switch_has_a_topic_of_its_own_and_leaves_the_broker_nothing() -> None:
    switch = satellite("enabled")
    assert (switch["command_topic"], switch["retain"]) == ("stt/kitchen/enabled/set", False)
    assert (switch["payload_on"], switch["payload_off"]) == ("ON", "OFF")
    assert parse_switch(switch["payload_on"].encode()).enabled is True
    assert parse_switch(switch["payload_off"].encode()).enabled is False


# Templates, rendered as Home Assistant does -----------------------------------------------


def _timestamp_utc(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).isoformat()


def _combine(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return first | second


ENVIRONMENT = ImmutableSandboxedEnvironment()
ENVIRONMENT.filters["to_json"] = json.dumps
ENVIRONMENT.filters["combine"] = _combine
ENVIRONMENT.filters["timestamp_utc"] = _timestamp_utc


def rendered(template: str, payload: bytes) -> str:
    """What a template makes of a message."""
    variables: dict[str, Any] = {"value": payload.decode()}
    with suppress(ValueError):
        variables["value_json"] = json.loads(payload)
    return ENVIRONMENT.from_string(template).render(variables).strip()


def satellite(name: str) -> dict[str, Any]:
    """An entity of a satellite."""
    return entities(device_config(FACTS, "kitchen", SILENT))[name]


OUTCOMES = [
    Outcome(
        DeviceKey("native", "kitchen"), "a", 1_795_300_000.12, OutcomeKind.TRANSCRIPT,
        Transcript('Say "héllo"', "en", 0.9, 0.01), 1.0, EndReason.STOP, model="tiny.en",
        rung="fast", wait_s=0.0, infer_s=0.1, latency_s=0.1,
    ),
    Outcome(DeviceKey("native", "kitchen"), "b", 1.0, OutcomeKind.NO_SPEECH),
    Outcome(DeviceKey("native", "kitchen"), "c", 1.0, OutcomeKind.ABORTED),
    Outcome(
        DeviceKey("native", "kitchen"), None, 1.0, OutcomeKind.ERROR, error=TooShortError("20 ms")
    ),
]  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES, ids=[outcome.kind.value for outcome in OUTCOMES])
def test_every_result_becomes_an_event_with_all_its_keys(outcome: Outcome) -> None:
    event = satellite("utterance")
    result = native.result_fields(outcome)
    told = json.loads(rendered(event["value_template"], encode(result)))
    assert told.pop("event_type") == outcome.kind.value
    assert outcome.kind.value in event["event_types"]
    assert told == result
    assert event["event_types"] == ["transcript", "no_speech", "aborted", "error"]


def test_a_result_that_is_sent_again_is_no_second_event() -> None:
    # Home Assistant passes over what a template makes nothing of.
    event = satellite("utterance")
    for outcome in OUTCOMES:
        again = encode(native.result_fields(replace(outcome, repeated=True)))
        assert rendered(event["value_template"], again) == ""


def test_the_last_text_is_cut_where_home_assistant_would_give_up() -> None:
    template = satellite("text")["value_template"]
    assert rendered(template, "Häng 5 Bilder auf".encode()) == "Häng 5 Bilder auf"
    assert rendered(template, b"[1, 2]") == "[1, 2]"
    assert len(rendered(template, b"word" * 100)) == 255


@pytest.mark.parametrize(("enabled", "payload"), [(True, "payload_on"), (False, "payload_off")])
def test_the_switch_follows_the_settings(enabled: bool, payload: str) -> None:
    switch = satellite("enabled")
    told = encode(native.settings_fields(DeviceSettings(enabled, "en", None)))
    assert rendered(switch["value_template"], told) == switch[payload]


def test_a_forgotten_satellite_has_neither_a_state_nor_makes_home_assistant_complain() -> None:
    # What a template makes nothing of is ignored; the word None makes an entity unknown.
    assert rendered(satellite("enabled")["value_template"], b"") == ""
    assert rendered(satellite("state")["value_template"], b"") == "None"
    assert rendered(satellite("state")["value_template"], b"listening") == "listening"


class Service:
    """What a real service says on its own topics."""

    def __init__(self, fleet: FleetStatus | None = None) -> None:
        self.clock = FakeClock()
        pool = FakePool()
        config = Config(fleet=None if fleet is None else FleetConfig())
        self.service = SpeechService(config, engine_facts(), self.clock)
        self.service.attach_pool(pool, ONE_THREAD)
        self.published: list[Publication] = []
        self.service.attach("native", self)
        callbacks = replace(CALLBACKS, fleet=lambda: fleet)
        self.bridge = bridge_of(self.service, self.clock, self.published.append, callbacks)
        self.clock.advance(60)
        for _ in range(2):
            self.service.single(DeviceKey("native", "kitchen"), bytes(6400), UtteranceStart())
        pool.answer(self.service, heard())
        pool.answer(self.service, TooShortError("20 ms"))
        self.bridge.announce()

    def outcome(self, outcome: Outcome) -> None:
        """Nobody listens."""

    def states(self) -> dict[str, str]:
        """What the entities of the service show."""
        messages = {item.topic: item.payload for item in self.published}
        shown = {}
        facts = ServiceFacts(
            Topics("stt"),
            tuple(r.name for r in self.service.rung_status.rungs),
            30.0,
            has_fleet=self.service.config.fleet is not None,
            has_model=self.service.config.has_model,
        )
        for name, entity in entities(service_config(facts)).items():
            template = entity.get("value_template", "{{ value }}")
            shown[name] = rendered(template, messages[entity["state_topic"]])
        return shown


def test_the_services_entities_show_what_it_publishes() -> None:
    states = Service().states()
    assert states.pop("cpu") == "None"
    assert float(states.pop("memory")) > 1
    assert states == {
        "connection": "online",
        "rung": "auto",
        "active": "default",
        "started": datetime.fromtimestamp(1_795_000_000, UTC).isoformat(),
        "rtf": "0.08",
        "jobs": "0",
        "oldest": "0.0",
        "utterances": "2",
        "errors": "1",
    }


def test_the_number_of_workers_is_shown_with_their_names() -> None:
    service = Service(fleet_of(WORKER, worker("attic")))
    assert service.states()["workers"] == "2"
    sensor = entities(service_config(replace(FACTS, has_fleet=True)))["workers"]
    info = next(item.payload for item in service.published if item.topic == "stt/bridge/info")
    about = json.loads(rendered(sensor["json_attributes_template"], info))
    assert [one["name"] for one in about["workers"]] == ["cellar", "attic"]
    # A sensor of an earlier run of a service that left its fleet.
    assert rendered(sensor["value_template"], b'{"v":1}') == ""
    assert rendered(sensor["json_attributes_template"], b'{"v":1}') == "{}"


def test_a_gateway_has_no_model_to_choose_and_removes_that_of_another_role() -> None:
    config = service_config(replace(FACTS, has_fleet=True, has_model=False))
    assert problems(SERVICE_ID, config) == []
    components = config["cmps"]
    assert isinstance(components, dict)
    assert (components["rung"], components["active"]) == ({"p": "select"}, {"p": "sensor"})


def test_cpu_use_is_a_percentage_and_unknown_until_it_was_measured() -> None:
    template = entities(service_config(FACTS))["cpu"]["value_template"]
    assert rendered(template, b'{"load":{"cpu":0.1234,"rtf":null}}') == "12.3"
    assert rendered(template, b'{"load":{"cpu":0.0,"rtf":null}}') == "0.0"
    assert rendered(template, b'{"load":{"cpu":null,"rtf":null}}') == "None"


def test_before_the_first_inference_the_real_time_factor_is_unknown() -> None:
    template = entities(service_config(FACTS))["rtf"]["value_template"]
    assert rendered(template, b'{"load":{"cpu":0.1,"rtf":null}}') == "None"


def test_the_reason_for_the_rung_is_an_attribute() -> None:
    service = Service()
    info = next(item for item in service.published if item.topic == "stt/bridge/info")
    template = entities(service_config(FACTS))["active"]["json_attributes_template"]
    assert json.loads(rendered(template, info.payload)) == {
        "mode": "auto",
        "active": "default",
        "reason": "the only rung",
    }


def test_the_names_of_the_home_are_shown_if_they_come_from_home_assistant() -> None:
    assert "names" not in entities(service_config(FACTS))
    sensor = entities(service_config(replace(FACTS, asks_names=True)))["names"]
    phrases = {"sentences": 3, "names": {"home_assistant": "waiting: token_refused"}}
    info = json.dumps({"v": 1, "phrases": phrases}).encode()
    assert rendered(sensor["value_template"], info) == "waiting: token_refused"
    assert json.loads(rendered(sensor["json_attributes_template"], info)) == phrases
    assert rendered(sensor["value_template"], b'{"v":1}') == ""
    assert rendered(sensor["json_attributes_template"], b'{"v":1}') == "{}"


def test_the_select_asks_for_a_rung_as_the_service_wants_it() -> None:
    select = entities(service_config(FACTS))["rung"]
    assert select["options"] == ["auto", "best", "fast"]
    assert select["command_topic"] == "stt/bridge/request/rung"
    command = ENVIRONMENT.from_string(select["command_template"]).render(value="fast")
    assert json.loads(command) == {"rung": "fast"}
