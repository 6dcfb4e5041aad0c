"""Publications, CONNECT and reason codes in terms of MQTT 5."""

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
"""Bytes that topic and properties of a message may take beside its payload."""

# paho's class is untyped.
_properties: Callable[[int], Properties] = Properties

_BAD_CREDENTIALS = {0x86, 0x87, 0x8A, 0x8C}
_UNSUPPORTED_VERSION = 0x84
_SESSION_TAKEN_OVER = 0x8E


def publish_properties(publication: Publication, now: float) -> Properties | None:
    """MQTT 5 properties of a publication that is sent `now`, on the clock of `expires_at`.

    What expires does so at the broker, too, which may keep it for a session that is away.
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
    """MQTT 5 properties of CONNECT: nothing outlives the connection, no oversized packet."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = config.max_payload_kib * 1024 + PACKET_OVERHEAD
    return properties


def refusal(code: ReasonCode) -> Cause:
    """What a CONNACK other than success means for the next attempt."""
    if code.value in _BAD_CREDENTIALS:
        return Cause.CREDENTIALS
    if code.value == _UNSUPPORTED_VERSION:
        return Cause.UNSUPPORTED
    return Cause.REFUSED


def loss(code: ReasonCode, said: bool) -> Cause:
    """What the end of a connection means; `said`: the broker gave the reason `code`."""
    return Cause.TAKEN_OVER if said and code.value == _SESSION_TAKEN_OVER else Cause.LOST
