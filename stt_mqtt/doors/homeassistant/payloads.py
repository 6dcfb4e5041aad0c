"""The discovery messages of the service and its devices. Pure.

The keys are abbreviations of Home Assistant: `stat_t` is `state_topic`, and so on. The last part of
a unique id has no underscore, so no two devices can have the same unique id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeAlias

from stt_mqtt import __version__
from stt_mqtt.config.service import AUTO
from stt_mqtt.doors.homeassistant.names import ORIGIN, SERVICE_ID, object_id
from stt_mqtt.doors.native.messages import SatelliteInfo
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.types import DeviceState, OutcomeKind

DiscoveryConfig: TypeAlias = dict[str, object]
"""A discovery message, or its part for one component."""

MAX_STATE_CHARACTERS = 255
"""Longest state of an entity. With a longer one the entity becomes unknown."""
MISSED_HEALTH = 3
"""Number of missing health messages after which the health sensors become unknown."""
TEXT_KEPT_S = 365 * 24 * 3600
"""How long the last text is shown. Home Assistant restores only sensors that expire."""

_HEALTH_SENSORS: dict[str, DiscoveryConfig] = {
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
class ServiceFacts:
    """What the discovery messages need of the service. `rungs`: names, best first.

    `asks_names`: whether it takes the names of the home from Home Assistant. `has_fleet`: whether
    it belongs to a fleet. `has_model`: whether it transcribes itself.
    """

    topics: Topics
    rungs: tuple[str, ...]
    health_interval_s: float
    asks_names: bool = False
    has_fleet: bool = False
    has_model: bool = True


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device has published about itself."""

    has_availability: bool = False
    """Whether it has published on its availability topic."""
    satellite: SatelliteInfo = field(default_factory=SatelliteInfo)
    could_mute: bool = False
    """Whether a microphone switch was announced before. If it cannot mute now, it is removed."""

    def with_satellite(self, satellite: SatelliteInfo) -> DeviceFacts:
        """The facts with new satellite information."""
        could_mute = self.could_mute or satellite.can_mute
        return replace(self, satellite=satellite, could_mute=could_mute)


def service_config(service: ServiceFacts) -> DiscoveryConfig:
    """The discovery message of the service."""
    bridge = service.topics.of_bridge
    components: dict[str, DiscoveryConfig] = {
        "connection": {
            "p": "binary_sensor",
            "name": "Connection",
            "dev_cla": "connectivity",
            "ent_cat": "diagnostic",
            "stat_t": bridge("state"),
            "pl_on": "online",
            "pl_off": "offline",
            # Always available, because it shows whether the service is online.
            **_availability([]),
        },
        "rung": {
            "p": "select",
            "name": "Model",
            "ent_cat": "config",
            "ic": "mdi:stairs",
            "ops": [AUTO, *service.rungs],
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
    if not service.has_model:
        # Another role may have announced them.
        components |= {"rung": {"p": "select"}, "active": {"p": "sensor"}}
    if service.asks_names:
        components["names"] = {
            "p": "sensor",
            "name": "Names of the home",
            "ent_cat": "diagnostic",
            "ic": "mdi:tag-multiple",
            "stat_t": bridge("info"),
            # Without a phrase book, the sensor may still be there from an earlier run.
            "val_tpl": "{% if value_json.phrases is defined %}"
            "{{ value_json.phrases.names.home_assistant }}{% endif %}",
            "json_attr_t": bridge("info"),
            "json_attr_tpl": "{{ value_json.phrases | default({}) | to_json }}",
        }
    if service.has_fleet:
        components["workers"] = {
            "p": "sensor",
            "name": "Workers",
            "ent_cat": "diagnostic",
            "stat_cla": "measurement",
            "ic": "mdi:server-network",
            "stat_t": bridge("info"),
            # Without a fleet, the sensor may still be there from an earlier run.
            "val_tpl": "{% if value_json.fleet is defined %}"
            "{{ value_json.fleet.workers | count }}{% endif %}",
            "json_attr_t": bridge("info"),
            "json_attr_tpl": "{{ value_json.fleet | default({}) | to_json }}",
        }
    for name, sensor in _HEALTH_SENSORS.items():
        components[name] = {
            "p": "sensor",
            "ent_cat": "diagnostic",
            "stat_cla": "measurement",
            "stat_t": bridge("health"),
            "exp_aft": ceil(MISSED_HEALTH * service.health_interval_s),
            **sensor,
        }
    device: DiscoveryConfig = {
        "ids": [SERVICE_ID],
        "name": "stt-mqtt",
        "mf": "stt-mqtt",
        "mdl": "Speech to text",
        "sw": __version__,
    }
    origin: DiscoveryConfig = {"name": ORIGIN, "sw": __version__}
    return _config(SERVICE_ID, device, origin, components, [bridge("state")])


def device_config(service: ServiceFacts, device: str, facts: DeviceFacts) -> DiscoveryConfig:
    """The discovery message of a device.

    Its availability topic is listed only if the device has published there. Otherwise all its
    entities would stay unavailable.
    """

    def topic(name: str) -> str:
        return service.topics.of_device(device, name)

    bridge_state = service.topics.of_bridge("state")
    components: dict[str, DiscoveryConfig] = {
        "utterance": {
            "p": "event",
            "name": "Utterance",
            "ic": "mdi:microphone-message",
            "stat_t": topic("result"),
            "evt_typ": [kind.value for kind in OutcomeKind],
            # A repeated result must not trigger again. Home Assistant ignores an empty value.
            "val_tpl": "{% if not value_json.repeated | default(false) %}"
            "{{ value_json | combine({'event_type': value_json.outcome}) | to_json }}{% endif %}",
            # Not the availability of the device: its last result arrives after it went offline.
            **_availability([bridge_state]),
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
            # Always available, because an unavailable sensor is not restored after a restart.
            **_availability([]),
            "qos": 1,
        },
        "state": {
            "p": "sensor",
            "name": "State",
            "ic": "mdi:ear-hearing",
            "dev_cla": "enum",
            "ops": [state.value for state in DeviceState],
            "stat_t": topic("state"),
            # The payload is empty when the device is removed.
            "val_tpl": "{{ value or 'None' }}",
        },
        "enabled": {
            "p": "switch",
            "name": "Enabled",
            # A configuration entity is not switched with its area or by voice.
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
    satellite = facts.satellite
    if satellite.can_mute:
        components["microphone"] = {
            "p": "switch",
            "name": "Microphone",
            "ent_cat": "config",
            "ic": "mdi:microphone-settings",
            "cmd_t": topic("satellite/set"),
            "pl_on": '{"muted":false}',
            "pl_off": '{"muted":true}',
            # The satellite does not store the setting, so the broker must.
            "ret": True,
            "stat_t": topic("satellite/state"),
            "stat_on": "ON",
            "stat_off": "OFF",
            "val_tpl": "{% if value_json is defined %}"
            "{{ 'OFF' if value_json.muted else 'ON' }}{% endif %}",
            "qos": 1,
        }
    elif facts.could_mute:
        components["microphone"] = {"p": "switch"}
    id = object_id(device)
    device_info: DiscoveryConfig = {
        "ids": [id],
        "name": device,
        "mf": "stt-mqtt",
        "mdl": satellite.model or "Satellite",
        "via_device": SERVICE_ID,
        **({} if satellite.version is None else {"sw": satellite.version}),
    }
    availability = [bridge_state]
    if facts.has_availability:
        availability.append(topic("availability"))
    # Without our version: after any change Home Assistant lets the last text expire.
    return _config(id, device_info, {"name": ORIGIN}, components, availability)


def _config(
    id: str,
    device: DiscoveryConfig,
    origin: DiscoveryConfig,
    components: dict[str, DiscoveryConfig],
    availability: Iterable[str],
) -> DiscoveryConfig:
    return {
        "dev": device,
        "o": origin,
        **_availability(availability),
        "avty_mode": "all",
        "cmps": {
            name: _identified(component, f"{id}_{name}") for name, component in components.items()
        },
    }


def _availability(topics: Iterable[str]) -> DiscoveryConfig:
    """Availability by these topics. In a component it overrides that of the device."""
    return {"avty": [{"t": topic} for topic in topics]}


def _identified(component: DiscoveryConfig, unique_id: str) -> DiscoveryConfig:
    """A component with its unique id. A component with only a platform is a removal."""
    return component if component.keys() == {"p"} else {**component, "uniq_id": unique_id}
