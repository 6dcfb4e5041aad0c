"""What the doors tell of themselves, for the status page."""

from __future__ import annotations

from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.hermes.door import DOOR as HERMES
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.wyoming.door import WyomingDoor
from stt_mqtt.mqtt.client import MqttClient


def door_facts(
    service: SpeechService, client: MqttClient, native: NativeDoor, wyoming: WyomingDoor | None
) -> list[DoorFacts]:
    """All doors, those that are off included."""
    config = service.config
    sites = {device.key.name for device in service.registry if device.key.door == HERMES}
    return [
        DoorFacts(
            "MQTT",
            f"{client.address}, topics {config.mqtt.base_topic}/…",
            problem=_broker_problem(client),
            clients=tuple(
                name for name in native.devices.online if not native.direct.is_connected(name)
            ),
        ),
        DoorFacts(
            "Wyoming",
            ", ".join(address.uri for address in config.wyoming.addresses),
            on=wyoming is not None,
            problem=None if wyoming is None else wyoming.problem,
            clients=None if wyoming is None else tuple(wyoming.clients),
        ),
        DoorFacts(
            "Hermes",
            "the broker, topics hermes/…",
            on=config.hermes.enabled,
            clients=tuple(sorted(sites)) if config.hermes.enabled else None,
        ),
        DoorFacts(
            "Home Assistant",
            f"the broker, topics {config.homeassistant.discovery_prefix}/…",
            on=config.homeassistant.enabled,
        ),
    ]


def _broker_problem(client: MqttClient) -> str | None:
    if client.connected:
        return None
    reason = client.failure or "not connected yet"
    return f"{reason}. Check that the broker runs and that mqtt.host and mqtt.port are right."
