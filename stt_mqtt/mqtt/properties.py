"""MQTT 5 properties of publications and CONNECT, and the meaning of reason codes."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stt_mqtt.config import MqttConfig
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.reconnect import Cause

PACKET_OVERHEAD = 64 * 1024
"""Most bytes of the topic and properties of a message, beside its payload."""

# paho's class is untyped.
_properties: Callable[[int], Properties] = Properties

_BAD_CREDENTIALS = {0x86, 0x87, 0x8A, 0x8C}
_UNSUPPORTED_VERSION = 0x84
_SESSION_TAKEN_OVER = 0x8E


def publish_properties(publication: Publication, now: float) -> Properties | None:
    """MQTT 5 properties of a publication sent at `now`, on the clock of `expires_at`.

    The broker gets the remaining lifetime, because it may queue the message for an offline session.
    """
    if publication.correlation is None and publication.expires_at is None:
        return None
    properties = _properties(PacketTypes.PUBLISH)
    if publication.correlation is not None:
        properties.CorrelationData = publication.correlation
    if publication.expires_at is not None:
        properties.MessageExpiryInterval = max(ceil(publication.expires_at - now), 1)
    return properties


def connect_properties(config: MqttConfig) -> Properties:
    """MQTT 5 properties of CONNECT: no persistent session, and a maximum packet size."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = max_packet_bytes(config)
    return properties


def max_packet_bytes(config: MqttConfig) -> int:
    """Largest packet that is taken."""
    return config.max_payload_kib * 1024 + PACKET_OVERHEAD


def refusal(code: ReasonCode) -> Cause:
    """The cause behind a CONNACK that is not a success."""
    if code.value in _BAD_CREDENTIALS:
        return Cause.CREDENTIALS
    if code.value == _UNSUPPORTED_VERSION:
        return Cause.UNSUPPORTED
    return Cause.REFUSED


def loss(code: ReasonCode, said: bool) -> Cause:
    """The cause of a lost connection. `said`: whether `code` came from the broker."""
    return Cause.TAKEN_OVER if said and code.value == _SESSION_TAKEN_OVER else Cause.LOST
