"""The discovery messages. Pure functions from what the service is to JSON objects.

Keys are Home Assistant's abbreviations: `stat_t` is `state_topic`, and so on. The last part of a
unique id has no underscore, so that no two devices can make the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeAlias

from stt_mqtt import __version__
from stt_mqtt.config.ladder import AUTO
from stt_mqtt.doors.homeassistant.names import SERVICE_ID, object_id
from stt_mqtt.doors.native.presence import SatelliteInfo
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.types import DeviceState, OutcomeKind

Json: TypeAlias = dict[str, object]

ORIGIN = "stt-mqtt"
MAX_STATE_CHARACTERS = 255
"""Longest state of an entity; a longer one would make it unknown."""
MISSED_HEALTH = 3
"""Health messages that fail to come before what they told counts as unknown."""
TEXT_KEPT_S = 365 * 24 * 3600
"""How long the last text stays. Home Assistant restores only what expires at some time."""

_HEALTH_SENSORS: dict[str, Json] = {
    "cpu": {
        "name": "CPU usage",
        "val_tpl": "{{ None if value_json.load.cpu is none else "
        "(value_json.load.cpu * 100) | round(1) }}",
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


@dataclass(frozen=True, slots=True)
class About:
    """What a satellite tells of itself. `has_availability`: on its availability topic.

    `could_mute`: it said once that it can. When it does not any more, that has to be taken back.
    """

    has_availability: bool = False
    satellite: SatelliteInfo = field(default_factory=SatelliteInfo)
    could_mute: bool = False

    def as_told(self, satellite: SatelliteInfo) -> About:
        """The same satellite after it told what it is."""
        could_mute = self.could_mute or satellite.can_mute
        return replace(self, satellite=satellite, could_mute=could_mute)


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
            # It tells of the absence instead of being absent.
            **_available_with([]),
        },
        "rung": {
            "p": "select",
            "name": "Model",
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
            "name": "Active model",
            "ent_cat": "diagnostic",
            "ic": "mdi:stairs-box",
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
    origin: Json = {"name": ORIGIN, "sw": __version__}
    return _config(SERVICE_ID, device, origin, components, [bridge("state")])


def device_config(facts: Facts, device: str, about: About) -> Json:
    """The message about one satellite, with what it tells of itself.

    A listed topic on which nobody ever spoke would make all entities unavailable for ever.
    """

    def topic(name: str) -> str:
        return facts.topics.of_device(device, name)

    bridge_state = facts.topics.of_bridge("state")
    components: dict[str, Json] = {
        "utterance": {
            "p": "event",
            "name": "Utterance",
            "ic": "mdi:microphone-message",
            "stat_t": topic("result"),
            "evt_typ": [kind.value for kind in OutcomeKind],
            # What is sent again has been obeyed. Home Assistant passes over what is empty.
            "val_tpl": "{% if not value_json.repeated | default(false) %}"
            "{{ value_json | combine({'event_type': value_json.outcome}) | to_json }}{% endif %}",
            # The result of who has just gone is obeyed, too.
            **_available_with([bridge_state]),
            "qos": 1,
        },
        "text": {
            "p": "sensor",
            "name": "Last text",
            "ic": "mdi:text",
            "stat_t": topic("text"),
            "val_tpl": f"{{{{ value[:{MAX_STATE_CHARACTERS}] }}}}",
            "json_attr_t": topic("result"),
            "exp_aft": TEXT_KEPT_S,
            # It was said, whoever is away now. What is unavailable at the end is not restored.
            **_available_with([]),
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
            # Configuration, so that it is not switched with the room, nor by voice.
            "ent_cat": "config",
            "ic": "mdi:microphone",
            "cmd_t": topic("enabled/set"),
            "pl_on": "ON",
            "pl_off": "OFF",
            "ret": False,
            "stat_t": topic("settings"),
            "val_tpl": "{% if value_json is defined %}"
            "{{ 'ON' if value_json.enabled else 'OFF' }}{% endif %}",
            "qos": 1,
        },
    }
    satellite = about.satellite
    if satellite.can_mute:
        components["microphone"] = {
            "p": "switch",
            "name": "Microphone",
            "ent_cat": "config",
            "ic": "mdi:microphone-settings",
            "cmd_t": topic("satellite/set"),
            "pl_on": '{"muted":false}',
            "pl_off": '{"muted":true}',
            # The satellite forgets it, the broker does not.
            "ret": True,
            "stat_t": topic("satellite/state"),
            "stat_on": "ON",
            "stat_off": "OFF",
            "val_tpl": "{% if value_json is defined %}"
            "{{ 'OFF' if value_json.muted else 'ON' }}{% endif %}",
            "qos": 1,
        }
    elif about.could_mute:
        components["microphone"] = {"p": "switch"}
    id = object_id(device)
    device_info: Json = {
        "ids": [id],
        "name": device,
        "mf": "stt-mqtt",
        "mdl": satellite.model or "Satellite",
        "via_device": SERVICE_ID,
    }
    if satellite.version is not None:
        device_info["sw"] = satellite.version
    availability = [bridge_state]
    if about.has_availability:
        availability.append(topic("availability"))
    # Without a version: whatever changes has Home Assistant take the last text for expired.
    return _config(id, device_info, {"name": ORIGIN}, components, availability)


def _config(
    id: str,
    device: Json,
    origin: Json,
    components: dict[str, Json],
    availability: Iterable[str],
) -> Json:
    return {
        "dev": device,
        "o": origin,
        **_available_with(availability),
        "avty_mode": "all",
        "cmps": {
            name: _identified(component, f"{id}_{name}") for name, component in components.items()
        },
    }


def _available_with(topics: Iterable[str]) -> Json:
    """Availability by these topics; of a component, instead of the whole device's."""
    return {"avty": [{"t": topic} for topic in topics]}


def _identified(component: Json, unique_id: str) -> Json:
    """A component with its unique id; one that is nothing but a platform is taken back."""
    return component if component.keys() == {"p"} else {**component, "uniq_id": unique_id}
