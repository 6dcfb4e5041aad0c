"""The configuration as everybody on the broker may see it."""

from __future__ import annotations

from typing import TypeAlias

from stt_mqtt.config.root import Config
from stt_mqtt.config.shapes import ROOT, Shape

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

PRIVATE = frozenset({"username", "password_file"})
"""Left out although no secret by type; people do write the password itself as the file."""


def without_secrets(config: Config) -> dict[str, JSON]:
    """`config` ready for JSON, without secrets and user name; devices have only what they name."""
    public = _section(config.model_dump(mode="json"), ROOT)
    # The satellite is another program; its command may hold what is nobody's business.
    del public["satellite"]
    public["devices"] = {
        name: entry.model_dump(mode="json", exclude_unset=True)
        for name, entry in config.devices.items()
    }
    return public


def _section(values: dict[str, JSON], section: Shape) -> dict[str, JSON]:
    kept: dict[str, JSON] = {}
    for key, value in values.items():
        shape = section.child(key)
        if shape is None or shape.secret or key in PRIVATE:
            continue
        kept[key] = _value(value, shape)
    return kept


def _value(value: JSON, shape: Shape) -> JSON:
    if isinstance(value, list) and shape.items is not None:
        return [_value(item, shape.items) for item in value]
    return _section(value, shape) if isinstance(value, dict) else value
