"""What docs/home-assistant.md shows is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stt_mqtt.config import read_config
from stt_mqtt.doors.homeassistant.payloads import (
    DeviceFacts,
    ServiceFacts,
    device_config,
    service_config,
)
from stt_mqtt.doors.native.messages import SatelliteInfo
from stt_mqtt.doors.native.topics import Topics
from tests.doors.homeassistant.rules import entities

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "home-assistant.md").read_text(encoding="utf-8")


def blocks(file: str) -> list[str]:
    """The code blocks behind `<!-- file: … -->`."""
    return re.findall(rf"<!-- file: {re.escape(file)} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_configurations_are_valid() -> None:
    broker, wyoming = (read_config(text, "page", {}) for text in blocks("stt-mqtt.yaml"))
    assert broker.mqtt.username == "stt"
    assert [address.port for address in wyoming.wyoming.addresses] == [10300]


def test_the_automation_is_valid_and_its_templates_parse() -> None:
    (text,) = blocks("automation.yaml")
    automation = yaml.safe_load(text)
    assert set(automation) == {"alias", "mode", "triggers", "actions"}
    assert automation["triggers"] == [{"trigger": "mqtt", "topic": "hermes/asr/textCaptured"}]
    templates = re.findall(r"\{\{.*?\}\}(?![,}])", text, re.DOTALL)
    assert len(templates) == 4
    environment = ImmutableSandboxedEnvironment()
    environment.filters["to_json"] = str
    for template in templates:
        environment.from_string(template)


def test_every_entity_of_a_satellite_is_on_the_page() -> None:
    service = ServiceFacts(Topics("stt"), ("default",), 30.0)
    facts = DeviceFacts(satellite=SatelliteInfo(can_mute=True))
    for entity in entities(device_config(service, "kitchen", facts)).values():
        assert f"| {entity['platform']} *{entity['name']}* |" in PAGE


@pytest.mark.parametrize("name", ["connection", "rung", "active", "names", "workers"])
def test_the_entities_of_the_service_that_are_named_exist(name: str) -> None:
    facts = ServiceFacts(Topics("stt"), ("default",), 30.0, asks_names=True, has_fleet=True)
    entity = entities(service_config(facts))[name]
    platform = entity["platform"].replace("_", " ")
    assert f"| {platform} *{entity['name']}* |" in PAGE


def test_the_blueprints_are_called_as_on_the_page() -> None:
    folder = ROOT / "addon" / "blueprints" / "automation" / "stt_mqtt"
    for path in folder.glob("*.yaml"):
        (name,) = re.findall(r"^  name: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert f"*{name}*" in PAGE
