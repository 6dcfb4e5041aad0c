"""The discovery messages. Pure functions from what the service is to JSON objects.

Keys are Home Assistant's abbreviations: `stat_t` is `state_topic`, and so on. The last part of a
unique id has no underscore, so that no two devices can make the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from stt_mqtt import __version__
from stt_mqtt.config.ladder import AUTO
from stt_mqtt.doors.homeassistant.names import SERVICE_ID, object_id
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.types import DeviceState, OutcomeKind

Json: TypeAlias = dict[str, object]

ORIGIN = "stt-mqtt"
MAX_STATE_CHARACTERS = 255
"""Longest state of an entity; a longer one would make it unknown."""
MISSED_HEALTH = 3
"""Health messages that fail to come before what they told counts as unknown."""

_HEALTH_SENSORS: dict[str, Json] = {
    "cpu": {
        "name": "CPU usage",
        "val_tpl": "{{ (value_json.load.cpu * 100) | round(1) }}",
        "unit_of_meas": "%",
        "ic": "mdi:cpu-64-bit",
    },
    "rtf": {
        "name": "Real-time factor",
        "val_tpl": "{{ value_json.load.rtf }}",
        "sug_dsp_prc": 3,
        "ic": "mdi:speedometer",
    },
    "jobs": {
        "name": "Waiting utterances",
        "val_tpl": "{{ value_json.queue.jobs }}",
        "ic": "mdi:tray-full",
    },
    "oldest": {
        "name": "Longest wait",
        "val_tpl": "{{ value_json.queue.oldest_s }}",
        "dev_cla": "duration",
        "unit_of_meas": "s",
    },
    "memory": {
        "name": "Memory",
        "val_tpl": "{{ value_json.rss_mb }}",
        "dev_cla": "data_size",
        "unit_of_meas": "MB",
    },
    "utterances": {
        "name": "Utterances",
        "val_tpl": "{{ value_json.counters.outcomes.values() | sum }}",
        "stat_cla": "total_increasing",
        "ic": "mdi:counter",
    },
    "errors": {
        "name": "Errors",
        "val_tpl": "{{ value_json.counters.outcomes.error | default(0) }}",
        "stat_cla": "total_increasing",
        "ic": "mdi:alert-circle-outline",
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the messages tell of the service. `rungs`: names, best first."""

    topics: Topics
    rungs: tuple[str, ...]
    health_interval_s: float


def service_config(facts: Facts) -> Json:
    """The message about the service."""
    bridge = facts.topics.of_bridge
    components: dict[str, Json] = {
        "connection": {
            "p": "binary_sensor",
            "name": "Connection",
            "dev_cla": "connectivity",
            "ent_cat": "diagnostic",
            "stat_t": bridge("state"),
            "pl_on": "online",
            "pl_off": "offline",
            # Of its own, and empty: it tells of the absence instead of being absent.
            "avty": [],
        },
        "rung": {
            "p": "select",
            "name": "Rung",
            "ent_cat": "config",
            "ic": "mdi:stairs",
            "ops": [AUTO, *facts.rungs],
            "cmd_t": bridge("request/rung"),
            "cmd_tpl": '{"rung":"{{ value }}"}',
            "stat_t": bridge("info"),
            "val_tpl": "{{ value_json.rung.mode }}",
            "qos": 1,
        },
        "active": {
            "p": "sensor",
            "name": "Active rung",
            "ent_cat": "diagnostic",
            "ic": "mdi:stairs-box",
            "dev_cla": "enum",
            "ops": list(facts.rungs),
            "stat_t": bridge("info"),
            "val_tpl": "{{ value_json.rung.active }}",
            "json_attr_t": bridge("info"),
            "json_attr_tpl": "{{ value_json.rung | to_json }}",
        },
        "started": {
            "p": "sensor",
            "name": "Started",
            "ent_cat": "diagnostic",
            "dev_cla": "timestamp",
            "stat_t": bridge("info"),
            "val_tpl": "{{ value_json.started | timestamp_utc }}",
        },
    }
    for name, sensor in _HEALTH_SENSORS.items():
        components[name] = {
            "p": "sensor",
            "ent_cat": "diagnostic",
            "stat_cla": "measurement",
            "stat_t": bridge("health"),
            "exp_aft": ceil(MISSED_HEALTH * facts.health_interval_s),
            **sensor,
        }
    device: Json = {
        "ids": [SERVICE_ID],
        "name": "stt-mqtt",
        "mf": "stt-mqtt",
        "mdl": "Speech to text",
        "sw": __version__,
    }
    return _config(SERVICE_ID, device, components, [bridge("state")])


def device_config(facts: Facts, device: str, has_availability: bool) -> Json:
    """The message about one satellite; `has_availability`: it speaks on its availability topic.

    A listed topic on which nobody ever spoke would make all entities unavailable for ever.
    """

    def topic(name: str) -> str:
        return facts.topics.of_device(device, name)

    components: dict[str, Json] = {
        "utterance": {
            "p": "event",
            "name": "Utterance",
            "ic": "mdi:microphone-message",
            "stat_t": topic("result"),
            "evt_typ": [kind.value for kind in OutcomeKind],
            "val_tpl": "{{ value_json | combine({'event_type': value_json.outcome}) | to_json }}",
            "qos": 1,
        },
        "text": {
            "p": "sensor",
            "name": "Last text",
            "ic": "mdi:text",
            "stat_t": topic("text"),
            "val_tpl": f"{{{{ value[:{MAX_STATE_CHARACTERS}] }}}}",
            "json_attr_t": topic("result"),
            "qos": 1,
        },
        "state": {
            "p": "sensor",
            "name": "State",
            "ic": "mdi:ear-hearing",
            "dev_cla": "enum",
            "ops": [state.value for state in DeviceState],
            "stat_t": topic("state"),
            # Empty when the device is forgotten.
            "val_tpl": "{{ value or 'None' }}",
        },
        "enabled": {
            "p": "switch",
            "name": "Enabled",
            "ic": "mdi:microphone",
            "cmd_t": topic("set"),
            "pl_on": '{"enabled":true}',
            "pl_off": '{"enabled":false}',
            "ret": True,
            "stat_t": topic("settings"),
            "stat_on": "ON",
            "stat_off": "OFF",
            "val_tpl": "{% if value_json is defined %}"
            "{{ 'ON' if value_json.enabled else 'OFF' }}{% endif %}",
            "qos": 1,
        },
    }
    id = object_id(device)
    about: Json = {
        "ids": [id],
        "name": device,
        "mf": "stt-mqtt",
        "mdl": "Satellite",
        "via_device": SERVICE_ID,
    }
    availability = [facts.topics.of_bridge("state")]
    if has_availability:
        availability.append(topic("availability"))
    return _config(id, about, components, availability)


def _config(
    id: str, device: Json, components: dict[str, Json], availability: Iterable[str]
) -> Json:
    return {
        "dev": device,
        "o": {"name": ORIGIN, "sw": __version__},
        "avty": [{"t": topic} for topic in availability],
        "avty_mode": "all",
        "cmps": {
            name: {**component, "uniq_id": f"{id}_{name}"} for name, component in components.items()
        },
    }
