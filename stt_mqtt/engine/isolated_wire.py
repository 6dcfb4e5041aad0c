"""What the service and its decoder processes say to each other, over a socket pair.

A message is two lengths, a JSON object and bytes. The service believes neither: see `isolated`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

_LENGTHS = struct.Struct("!II")
MAX_HEADER_BYTES = 16 * 1024
"""Longest JSON object: 200 packets with three numbers each need less than 5 kB."""
MAX_REQUEST_BYTES = 72 * 1024 * 1024
"""Most bytes of audio in a request: more than the largest `limits.max_utterance_kib`."""
HELLO = b"!"
"""What a decoder process sends first, when it is ready."""


class NonsenseError(Exception):
    """A message that is not one."""


def send(sock: socket.socket, header: Mapping[str, Any], body: bytes | memoryview = b"") -> None:
    """Send a message. Raises OSError, TimeoutError among them."""
    text = json.dumps(header).encode()
    sock.sendall(b"".join([_LENGTHS.pack(len(text), len(body)), text, body]))


def receive(
    sock: socket.socket, most: int, ends_at: float | None = None
) -> tuple[dict[str, Any], bytearray]:
    """Receive a message with at most `most` bytes beside its object, until a monotonic time.

    Raises EOFError when the other side has closed, OSError, TimeoutError, and NonsenseError.
    """
    size, length = _LENGTHS.unpack(read(sock, _LENGTHS.size, ends_at))
    if size > MAX_HEADER_BYTES or length > most:
        raise NonsenseError("a message that is too long")
    try:
        header = json.loads(read(sock, size, ends_at))
    except (ValueError, RecursionError) as error:
        raise NonsenseError("a message without a JSON object") from error
    if not isinstance(header, dict):
        raise NonsenseError("a message without a JSON object")
    return header, read(sock, length, ends_at)


def read(sock: socket.socket, size: int, ends_at: float | None = None) -> bytearray:
    """Exactly `size` bytes. Raises as `receive`."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        if ends_at is not None:
            sock.settimeout(max(ends_at - time.monotonic(), 1e-6))
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def request_of_audio(audio: EncodedAudio, max_s: float) -> dict[str, Any]:
    """The header of a request to decode an utterance."""
    form = audio.format
    return {
        "do": "whole",
        "format": None if form is None else [form.codec.value, form.rate, form.channels],
        "decoded": audio.decoded,
        "max_s": max_s,
    }


def audio_of_request(header: Mapping[str, Any], data: bytes) -> EncodedAudio:
    """The utterance in a request. Its hint stays with the service."""
    form = header["format"]
    named = None if form is None else AudioFormat(Codec(form[0]), form[1], form[2])
    return EncodedAudio(named, data, decoded=header["decoded"])


def request_of_coding(coding: Coding) -> tuple[dict[str, Any], bytes]:
    """A request to begin with a stream. It has no answer."""
    fields = asdict(coding)
    return {"do": "begin", **fields, "extradata": ""}, coding.extradata


def coding_of_request(header: Mapping[str, Any], extradata: bytes) -> Coding:
    """The coding of the stream that begins."""
    return Coding(header["decoder"], extradata, header["rate"], header["channels"], header["bits"])


def request_of_packets(
    packets: Sequence[CodedPacket], most: int | None
) -> tuple[dict[str, Any], bytes]:
    """A request to decode packets of the stream."""
    sizes = [(len(packet.data), packet.discard, packet.samples) for packet in packets]
    header = {"do": "packets", "packets": sizes, "most": most}
    return header, b"".join(packet.data for packet in packets)


def packets_of_request(header: Mapping[str, Any], data: bytes) -> list[CodedPacket]:
    """The packets in a request."""
    packets, at = [], 0
    for size, discard, samples in header["packets"]:
        packets.append(CodedPacket(data[at : at + size], discard, samples))
        at += size
    return packets
