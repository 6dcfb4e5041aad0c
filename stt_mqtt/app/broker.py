"""How the service introduces itself to the broker."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_hex

from stt_mqtt.config import Config
from stt_mqtt.core.clock import Clock
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.native.topics import OFFLINE, Topics
from stt_mqtt.mqtt.messages import ClientOptions, Will


def instance_id(config: Config) -> str:
    """A random id. The gateways of a fleet have the same one, because they are one service."""
    if config.fleet is None:
        return token_hex(8)
    return sha256(f"{config.mqtt.base_topic}\0{config.fleet.name}".encode()).hexdigest()[:16]


def client_options(config: Config, password: str | None, clock: Clock) -> ClientOptions:
    """Where and how to connect, with the last will that the service is offline."""
    mqtt = reachable(config.mqtt, config.broker)
    return ClientOptions(
        config=mqtt,
        host=mqtt.host,
        port=mqtt.effective_port,
        will=Will(Topics(mqtt.base_topic).of_bridge("state"), OFFLINE),
        password=password,
        now=clock.now,
    )
