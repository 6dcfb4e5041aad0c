"""Exports the configuration: without secrets for the broker, and as JSON schema for editors."""

from __future__ import annotations

from typing import Any, TypeAlias

from stt_mqtt.config.network import BrokerMode
from stt_mqtt.config.root import ROOT, Config
from stt_mqtt.config.section import KeyType

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

PRIVATE = frozenset({"username", "password_file", "token_file", "names"})
"""Keys that are left out: people write the password into them, or they say what a home has."""


def without_secrets(config: Config) -> dict[str, JSON]:
    """Convert `config` for JSON, without secrets, user name, and defaults of devices."""
    public = _section(config.model_dump(mode="json"), ROOT)
    # The section is for another program, and its command may be private.
    del public["satellite"]
    public["devices"] = {
        name: entry.model_dump(mode="json", exclude_unset=True)
        for name, entry in config.devices.items()
    }
    return public


def _section(values: dict[str, JSON], section: KeyType) -> dict[str, JSON]:
    kept: dict[str, JSON] = {}
    for key, value in values.items():
        key_type = section.child(key)
        if key_type is None or key_type.secret or key in PRIVATE:
            continue
        kept[key] = _value(value, key_type)
    return kept


def _value(value: JSON, key_type: KeyType) -> JSON:
    if isinstance(value, list) and key_type.items is not None:
        return [_value(item, key_type.items) for item in value]
    return _section(value, key_type) if isinstance(value, dict) else value


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, object]:
    """The JSON schema (draft 2020-12) of the file. It accepts what `read_config` accepts.

    The exceptions are matters of style that an editor may report: a number instead of a text, and
    `yes` and `no` for true and false.
    """
    schema = _plain(Config.model_json_schema())
    definitions, properties = schema["$defs"], schema["properties"]
    for section in properties.values():
        if "anyOf" not in section:
            _allow_empty(section)
    _allow_empty_entries(properties["devices"])
    _allow_empty_entries(definitions["PhrasesConfig"]["properties"]["names"])
    properties["broker"]["anyOf"].append({"enum": [mode.value for mode in BrokerMode]})
    for definition in definitions.values():
        _allow_unquoted_numbers(definition)
        for value in definition.get("properties", {}).values():
            if value.get("type") == "array":
                _allow_empty(value)
    return {
        "$schema": DIALECT,
        "title": "Configuration of stt-mqtt",
        **schema,
    }


def _plain(node: Any) -> Any:
    """A copy without generated titles, with every description on one line."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value) for key, value in node.items() if key != "title"}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(plain["description"].split())
    return plain


def _allow_empty(section: dict[str, Any]) -> None:
    """Allow null, the value of a section or list whose content is commented out."""
    if "$ref" in section:
        section["anyOf"] = [{"$ref": section.pop("$ref")}, {"type": "null"}]
    else:
        section["type"] = [section["type"], "null"]


def _allow_empty_entries(section: dict[str, Any]) -> None:
    """Allow null below free names, and no other names than the pattern allows."""
    for entry in section["patternProperties"].values():
        _allow_empty(entry)
    section["additionalProperties"] = False


def _allow_unquoted_numbers(definition: dict[str, Any]) -> None:
    """Allow `protocol: 5`, which is a number in YAML."""
    numbers = [int(value) for value in definition.get("enum", []) if value.isdigit()]
    if numbers:
        definition["enum"] += numbers
        definition["type"] = [definition["type"], "integer"]
