from __future__ import annotations

import re
from pathlib import Path

import yaml

from stt_mqtt.config import Config, json_schema, read_config
from tests.config.problems import NO_ENVIRONMENT
from tests.config.schema_check import accepts

TEXT = (Path(__file__).parents[2] / "config" / "stt-mqtt.yaml").read_text(encoding="utf-8")
COMMENTED_OUT = re.compile(r"^( *)#(?=[^ \n])", re.MULTILINE)
"""A key that waits to be used has no space after its #; prose has."""
UNCOMMENTED = COMMENTED_OUT.sub(r"\1", TEXT)


def without(*beginnings: str) -> Config:
    """The example with every key in use, but for the lines that begin like this."""
    lines = UNCOMMENTED.splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(beginnings)]
    assert len(lines) - len(kept) == len(beginnings)
    return read_config("".join(kept), "f", NO_ENVIRONMENT)


def test_the_example_is_short_and_names_its_schema_in_the_first_line() -> None:
    lines = TEXT.splitlines()
    assert lines[0] == "# yaml-language-server: $schema=./stt-mqtt.schema.json"
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 100


def test_the_example_as_shipped_is_the_default_configuration() -> None:
    assert read_config(TEXT, "f", NO_ENVIRONMENT) == Config()


def test_every_commented_out_key_is_valid_for_the_reader_and_for_editors() -> None:
    assert accepts(json_schema(), yaml.safe_load(UNCOMMENTED))
    config = without("broker: embedded", "languages: [en, de]")
    assert config.device("kids_room").enabled is False
    assert config.mqtt.tls is not None
    assert config.device_defaults.language == "en"
    assert len(COMMENTED_OUT.findall(TEXT)) > 15


def test_the_keys_of_which_only_one_can_be_used_are_valid_without_the_other() -> None:
    config = without("host: home", "port:", "tls:", "ca_file:", "language: en")
    assert config.broker.mode == "embedded"
    assert config.device_defaults.languages == ("en", "de")
