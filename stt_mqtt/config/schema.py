"""The JSON schema of the configuration file, for editors."""

from __future__ import annotations

from typing import Any

from stt_mqtt.config.mqtt import BrokerMode
from stt_mqtt.config.root import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, object]:
    """JSON schema (draft 2020-12) of the file; it accepts what `read_config` accepts.

    The exceptions are matters of style, which an editor may well point at: a number where a text
    is asked for, `yes` and `no` for true and false.
    """
    schema = _plain(Config.model_json_schema())
    definitions, properties = schema["$defs"], schema["properties"]
    for section in properties.values():
        _allow_empty(section)
    entries = properties["devices"]["patternProperties"]
    for pattern in entries:
        entries[pattern] = {"anyOf": [entries[pattern], {"type": "null"}]}
    properties["devices"]["additionalProperties"] = False
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
    """A section or list with everything below it commented out reads as null."""
    if "$ref" in section:
        section["anyOf"] = [{"$ref": section.pop("$ref")}, {"type": "null"}]
    else:
        section["type"] = [section["type"], "null"]


def _allow_unquoted_numbers(definition: dict[str, Any]) -> None:
    """`protocol: 5` is a number for an editor."""
    numbers = [int(value) for value in definition.get("enum", []) if value.isdigit()]
    if numbers:
        definition["enum"] += numbers
        definition["type"] = [definition["type"], "integer"]
