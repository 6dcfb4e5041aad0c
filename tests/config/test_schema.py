from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.config import Config, json_schema, read_config
from stt_mqtt.errors import ConfigError
from tests.config.problems import NO_ENVIRONMENT
from tests.config.schema_check import accepts

SHIPPED = Path(__file__).parents[2] / "config" / "stt-mqtt.schema.json"


def test_the_shipped_schema_is_fresh() -> None:
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == json_schema()


def test_it_names_its_dialect_and_describes_every_key() -> None:
    schema: Any = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(Config.model_fields)
    objects = [schema, *schema["$defs"].values()]
    for described in objects:
        for key, value in described.get("properties", {}).items():
            text = value.get("description") or _referred(schema, value)["description"]
            assert text, key
            assert "\n" not in text


def _referred(schema: Any, value: Any) -> Any:
    option = value["anyOf"][0] if "anyOf" in value else value
    return schema["$defs"][option["$ref"].removeprefix("#/$defs/")]


GOOD: list[Any] = [
    {},
    {"broker": "embedded"},
    {"broker": {"mode": "embedded", "port": 1884}},
    {"mqtt": None, "devices": None, "log": None},
    {"mqtt": {"protocol": 5, "tls": {}, "port": None, "username": "u", "password": "x"}},
    {"mqtt": {"protocol": "3.1.1", "tls": None}},
    {"devices": {"kit*": {"rate": 8000}, "cellar": None}},
    {"gate": {"floor_dbfs": -50, "enabled": False}},
    {"device_defaults": {"languages": ["en", "pt-BR"], "hotwords": []}},
    {"devices": {"a": {"languages": None}}},
    {"ladder": {"rungs": None}},
    {"phrases": {"builtin": True, "names": {"drink": ["tea"], "shop": None}}},
    {"ladder": {"rung": "a", "rungs": [{"name": "a", "model": "b", "beam_size": 1}]}},
]
BAD: list[Any] = [
    [],
    {"hots": 1},
    {"broker": "inside"},
    {"mqtt": {"hots": "a"}},
    {"mqtt": {"port": 0}},
    {"mqtt": {"protocol": 4}},
    {"mqtt": {"host": ""}},
    {"mqtt": {"base_topic": "a/#"}},
    {"devices": {"a b": {}}},
    {"devices": {"a": {"rate": 5}}},
    {"devices": {"a": {"codec": "pcm"}}},
    {"devices": {"a": {"codec": "mp3"}}},
    {"device_defaults": {"codec": "mp4"}},
    {"device_defaults": {"prompt": "x" * 1001}},
    {"log": 5},
    {"phrases": {"names": {"a b": ["c"]}}},
    {"phrases": {"names": {"a": "c"}}},
    {"phrases": {"home_assistant": {"url": "homeassistant.local"}}},
    {"device_defaults": {"languages": "en"}},
    {"device_defaults": {"languages": ["english"]}},
    {"device_defaults": {"hotwords": [""]}},
    {"device_defaults": {"hotwords": ["a"] * 65}},
    {"ladder": {"rungs": [{"name": "a"}]}},
    {"ladder": {"rungs": [{"name": "a b", "model": "c"}]}},
    {"ladder": {"rungs": [None]}},
]


@pytest.mark.parametrize("value", GOOD)
def test_schema_and_reader_accept_the_same(value: Any) -> None:
    assert accepts(json_schema(), value)
    read_config(json.dumps(value), "f", NO_ENVIRONMENT)


@pytest.mark.parametrize("value", BAD)
def test_schema_and_reader_refuse_the_same(value: Any) -> None:
    assert not accepts(json_schema(), value)
    with pytest.raises(ConfigError):
        read_config(json.dumps(value), "f", NO_ENVIRONMENT)
