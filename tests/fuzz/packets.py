"""What a broker sends: packets of MQTT."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from paho.mqtt.exception import MalformedPacket

from stt_mqtt.mqtt.receiver import decode_publish
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target


def _publish(data: bytes) -> None:
    """A PUBLISH packet behind its fixed header."""
    choices = Choices(data)
    v5, header = choices.flag(), 0x30 | choices.number(15)
    with suppress(MalformedPacket, IndexError):
        _, message = decode_publish(header, choices.rest(), v5)
        if message is not None:
            message.topic.encode()


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _packets() -> list[bytes]:
    topic = _text(b"stt/kitchen/audio/chunk")
    properties = (
        b"\x01\x01\x02\0\0\0\x07" + b"\x03" + _text(b"opus") + b"\x08" + _text(b"stt/kitchen/reply/a")
        + b"\x09" + _text(b"\1\2") + b"\x0b\x81\x01" + b"\x23\0\1" + b"\x26" + _text(b"seq") + _text(b"7")
    )  # fmt: skip
    v5 = topic + bytes([len(properties)]) + properties + b"payload"
    qos_1 = topic + b"\0\7" + bytes([len(properties)]) + properties + b"payload"
    return [v5 + b"\0\1", qos_1 + b"\2\1", topic + b"payload" + b"\0\0", topic + b"\0\7abc\2\0"]


TARGETS: tuple[Target, ...] = (
    Target("mqtt-publish", _publish, 120_000, seeds=_packets, max_bytes=400),
)

_ = Any
