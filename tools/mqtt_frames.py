"""MQTT 3.1.1 packets made in advance, for load that must cost less than what it measures."""

from __future__ import annotations

import socket
import struct

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 900
_ACCEPTED = b"\x20\x02\x00\x00"


def publish(topic: str | bytes, payload: bytes, packet_id: int | None = None) -> bytes:
    """PUBLISH, with QoS 1 if there is a packet id, else with QoS 0.

    A topic in bytes is sent as it is.
    """
    if packet_id is None:
        return _packet(0x30, _text(topic) + payload)
    return _packet(0x32, _text(topic) + struct.pack(">H", packet_id) + payload)


def subscribe(topic_filter: str, packet_id: int) -> bytes:
    """SUBSCRIBE with QoS 1."""
    return _packet(0x82, struct.pack(">H", packet_id) + _text(topic_filter) + b"\x01")


def open_connection(host: str, port: int, name: str) -> socket.socket:
    """Connect with a clean session. Raises ConnectionError if the broker does not accept it."""
    sock = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    header = _text("MQTT") + b"\x04\x02" + struct.pack(">H", KEEP_ALIVE_S)
    sock.sendall(_packet(0x10, header + _text(name)))
    answer = b""
    while len(answer) < len(_ACCEPTED) and (data := sock.recv(len(_ACCEPTED) - len(answer))):
        answer += data
    if answer != _ACCEPTED:
        sock.close()
        raise ConnectionError(f"the broker answers {answer!r} to {name}")
    sock.settimeout(SEND_TIMEOUT_S)
    return sock


def _packet(kind: int, body: bytes) -> bytes:
    header = bytearray([kind])
    length = len(body)
    while True:
        length, digit = divmod(length, 0x80)
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(data)) + data
