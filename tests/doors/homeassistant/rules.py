"""What Home Assistant takes as device-based MQTT discovery, as data, and a checker.

Read from the sources of the versions below; what is listed is what all of them take. Where they
differ in something that concerns a message of ours, the strictest one counts:

- 2025.4.4 warns of a wrong unit and shows it; the others refuse the entity.
- 2025.4.4 and 2026.2.3 refuse a sensor of the category `config` when it is added; 2026.11.0 by
  its schema.
- 2025.4.4 and 2026.2.3 do not hand `qos` down from the device to its entities; 2026.11.0 does. So
  each entity has its own.
- 2026.11.0 has no `object_id` any more, the others no `message_expiry_interval`,
  `visible_by_default` and `child_devices`. None of them is listed.

Only what stt-mqtt uses or might use is listed: anything else is reported. That is stricter than
Home Assistant, which drops keys that it does not know without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

VERSIONS = ("2025.4.4", "2026.2.3", "2026.11.0")

OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]+")
"""Characters of the third level of `<prefix>/device/<object id>/config`."""
MAX_TOPIC_BYTES = 65_535

LONG_NAMES = {
    "avty": "availability",
    "avty_mode": "availability_mode",
    "cmd_t": "command_topic",
    "cmd_tpl": "command_template",
    "cmps": "components",
    "dev": "device",
    "dev_cla": "device_class",
    "en": "enabled_by_default",
    "ent_cat": "entity_category",
    "evt_typ": "event_types",
    "exp_aft": "expire_after",
    "frc_upd": "force_update",
    "ic": "icon",
    "json_attr_t": "json_attributes_topic",
    "json_attr_tpl": "json_attributes_template",
    "name": "name",
    "o": "origin",
    "ops": "options",
    "opt": "optimistic",
    "p": "platform",
    "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off",
    "pl_on": "payload_on",
    "qos": "qos",
    "ret": "retain",
    "stat_cla": "state_class",
    "stat_off": "state_off",
    "stat_on": "state_on",
    "stat_t": "state_topic",
    "sug_dsp_prc": "suggested_display_precision",
    "t": "topic",
    "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
}
DEVICE_LONG_NAMES = {
    "cu": "configuration_url",
    "hw": "hw_version",
    "ids": "identifiers",
    "mdl": "model",
    "mdl_id": "model_id",
    "mf": "manufacturer",
    "name": "name",
    "sa": "suggested_area",
    "sn": "serial_number",
    "sw": "sw_version",
    "via_device": "via_device",
}
ORIGIN_LONG_NAMES = {"name": "name", "sw": "sw_version", "url": "support_url"}

_TEXT, _FLAG, _COUNT = "text", "flag", "count"
_TOPIC_IN, _TOPIC_OUT, _TEMPLATE, _TEXTS = "filter", "topic", "template", "texts"

ENTITY = {
    "availability": "availability",
    "availability_mode": "mode",
    "device_class": "device class",
    "enabled_by_default": _FLAG,
    "entity_category": "category",
    "icon": "icon",
    "json_attributes_template": _TEMPLATE,
    "json_attributes_topic": _TOPIC_IN,
    "name": _TEXT,
    "payload_available": _TEXT,
    "payload_not_available": _TEXT,
    "platform": _TEXT,
    "qos": "qos",
    "state_topic": _TOPIC_IN,
    "unique_id": _TEXT,
    "value_template": _TEMPLATE,
}
_COMMAND = {"command_topic": _TOPIC_OUT, "optimistic": _FLAG, "retain": _FLAG}
_EXPIRY = {"expire_after": _COUNT, "force_update": _FLAG}
PLATFORMS: dict[str, dict[str, str]] = {
    "binary_sensor": ENTITY | _EXPIRY | {"payload_on": _TEXT, "payload_off": _TEXT},
    "event": ENTITY | {"event_types": _TEXTS},
    "select": ENTITY | _COMMAND | {"command_template": _TEMPLATE, "options": _TEXTS},
    "sensor": ENTITY
    | _EXPIRY
    | {
        "options": _TEXTS,
        "state_class": "state class",
        "suggested_display_precision": _COUNT,
        "unit_of_measurement": _TEXT,
    },
    "switch": ENTITY
    | _COMMAND
    | {
        "command_template": _TEMPLATE,
        "payload_on": _TEXT,
        "payload_off": _TEXT,
        "state_on": _TEXT,
        "state_off": _TEXT,
    },
}
REQUIRED = {
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},
    "select": {"command_topic", "options"},
    "sensor": {"state_topic"},
    "switch": {"command_topic"},
}
SHARED = {
    "availability", "availability_mode", "command_topic", "payload_available",
    "payload_not_available", "state_topic",
}  # fmt: skip
"""Options of the whole device that its entities take over where they have none of their own."""

UNITS: dict[str, dict[str, set[str | None]]] = {
    "binary_sensor": {"connectivity": {None}, "running": {None}, "problem": {None}},
    "event": {"button": {None}, "doorbell": {None}, "motion": {None}},
    "select": {},
    "sensor": {
        "data_size": {"bit", "B", "kB", "MB", "GB", "KiB", "MiB", "GiB"},
        "duration": {"d", "h", "min", "s", "ms", "μs"},
        "enum": {None},
        "timestamp": {None},
    },
    "switch": {"outlet": {None}, "switch": {None}},
}
"""Device classes of each platform, and the units that go with them."""
STATE_CLASSES = {"measurement", "measurement_angle", "total", "total_increasing"}
NO_STATE_CLASS = {"enum", "timestamp"}
CATEGORIES = {"config", "diagnostic"}
READ_ONLY = {"binary_sensor", "event", "sensor"}
"""Platforms whose entities cannot be of the category `config`."""
AVAILABILITY_MODES = {"all", "any", "latest"}

TEMPLATES = ImmutableSandboxedEnvironment()
"""Home Assistant's own filters are added where templates are rendered."""


def _is_topic(value: object) -> bool:
    """Whether something is a topic, without wildcards: nothing of ours needs one."""
    return (
        isinstance(value, str)
        and 0 < len(value.encode()) <= MAX_TOPIC_BYTES
        and not any(character in "+#" or not character.isprintable() for character in value)
    )


def _parses(template: str) -> bool:
    try:
        TEMPLATES.parse(template)
    except jinja2.TemplateError:
        return False
    return True


JSON_TYPES: dict[str, Callable[[Any], bool]] = {
    _TEXT: lambda value: isinstance(value, str) and value != "",
    _FLAG: lambda value: isinstance(value, bool),
    _COUNT: lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    _TEXTS: lambda value: (
        isinstance(value, list)
        and value != []
        and all(isinstance(item, str) and item for item in value)
        and len(set(value)) == len(value)
    ),
    _TOPIC_IN: _is_topic,
    _TOPIC_OUT: _is_topic,
    _TEMPLATE: lambda value: isinstance(value, str) and _parses(value),
    "category": lambda value: value in CATEGORIES,
    "icon": lambda value: bool(re.fullmatch("mdi:[a-z0-9-]+", str(value))),
    "mode": lambda value: value in AVAILABILITY_MODES,
    "qos": lambda value: value in (0, 1, 2) and not isinstance(value, bool),
    "state class": lambda value: value in STATE_CLASSES,
    "device class": lambda value: isinstance(value, str),
    "availability": lambda value: isinstance(value, list),
}


def problems(object_id: str, config: object) -> list[str]:
    """Why Home Assistant would refuse or misunderstand a message; empty: it would not."""
    return list(_problems(object_id, config))


def entities(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entities of a message with long names and with what they take from the device."""
    whole = _long(config, LONG_NAMES)
    shared = {key: value for key, value in whole.items() if key in SHARED}
    return {
        name: shared | _long(component, LONG_NAMES)
        for name, component in whole["components"].items()
        if not is_removal(component)
    }


def is_removal(component: Mapping[str, Any]) -> bool:
    """Whether a component is nothing but a platform: it is taken back, if it was there."""
    return component.keys() == {"p"}


def _problems(object_id: str, config: object) -> Iterator[str]:
    if not OBJECT_ID.fullmatch(object_id):
        yield f"object id {object_id!r} has characters that are not allowed"
    if not isinstance(config, dict):
        yield "the message is no object"
        return
    whole = _long(config, LONG_NAMES)
    yield from _unknown("message", whole, {"device", "origin", "components"} | SHARED)
    for key in ("device", "origin", "components"):
        if not isinstance(whole.get(key), dict):
            yield f"{key} is missing"
            return
    device = _long(whole["device"], DEVICE_LONG_NAMES)
    yield from _unknown("device", device, set(DEVICE_LONG_NAMES.values()))
    if not JSON_TYPES[_TEXTS](device.get("identifiers")):
        yield "the device has no identifiers"
    yield from _texts("device", device, required={"name"})
    origin = _long(whole["origin"], ORIGIN_LONG_NAMES)
    yield from _unknown("origin", origin, set(ORIGIN_LONG_NAMES.values()))
    yield from _texts("origin", origin, required={"name"})
    unique_ids = [item.get("unique_id") for item in entities(config).values()]
    if len(set(unique_ids)) < len(unique_ids):
        yield "two entities have one unique id"
    for name, component in whole["components"].items():
        if is_removal(component) and component["p"] not in PLATFORMS:
            yield f"{name}: no platform is called {component['p']!r}"
    for name, entity in entities(config).items():
        if not name or " " in name:
            yield f"component {name!r}: no name for a component"
        for problem in _entity_problems(entity):
            yield f"{name}: {problem}"


def _entity_problems(entity: dict[str, Any]) -> Iterator[str]:
    platform = entity.get("platform")
    if platform not in PLATFORMS:
        yield f"no platform is called {platform!r}"
        return
    allowed = PLATFORMS[platform]
    yield from _unknown(platform, entity, set(allowed))
    for key in {"unique_id", "name", *REQUIRED[platform]} - set(entity):
        yield f"{key} is missing"
    for key in set(entity) & set(allowed):
        if not JSON_TYPES[allowed[key]](entity[key]):
            yield f"{key} is not a {allowed[key]}: {entity[key]!r}"
    yield from _availability_problems(entity.get("availability", []))
    if platform in READ_ONLY and entity.get("entity_category") == "config":
        yield "what cannot be set is no configuration"
    if platform not in READ_ONLY and entity.get("entity_category") != "config":
        # Whatever else can be set is switched with its area, and exposed to the assistants.
        yield "what can be set is configuration"
    yield from _class_problems(platform, entity)


def _class_problems(platform: str, entity: dict[str, Any]) -> Iterator[str]:
    device_class, unit = entity.get("device_class"), entity.get("unit_of_measurement")
    state_class = entity.get("state_class")
    if device_class is not None:
        units = UNITS[platform].get(device_class)
        if units is None:
            yield f"no {platform} has the class {device_class!r}"
        elif unit not in units:
            yield f"{device_class} has no unit {unit!r}"
        if device_class in NO_STATE_CLASS and state_class is not None:
            yield f"{device_class} has no state class"
    if platform == "sensor" and ("options" in entity) != (device_class == "enum"):
        yield "options and the class enum come together"
    if "json_attributes_template" in entity and "json_attributes_topic" not in entity:
        yield "attributes have a template and no topic"
    if platform == "switch" and "payload_on" in entity and "state_topic" in entity:
        for state, payload in (("state_on", "payload_on"), ("state_off", "payload_off")):
            # Without a word about it, the states are the payloads.
            if f"'{entity.get(state, entity[payload])}'" not in entity.get("value_template", ""):
                yield f"the template never makes the state of {payload}"


def _availability_problems(items: object) -> Iterator[str]:
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not _is_topic(_long(item, LONG_NAMES).get("topic")):
            yield f"availability has no topic: {item!r}"


def _texts(where: str, values: Mapping[str, Any], required: set[str]) -> Iterator[str]:
    for key in required - set(values):
        yield f"{where}: {key} is missing"
    for key, value in values.items():
        if key != "identifiers" and not JSON_TYPES[_TEXT](value):
            yield f"{where}: {key} is not a text: {value!r}"


def _unknown(where: str, values: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    for key in set(values) - known:
        yield f"{where}: {key} is not known"


def _long(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}
