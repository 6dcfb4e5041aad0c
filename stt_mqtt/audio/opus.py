"""Raw Opus packets, each after its 2-byte little-endian length; 0 is a lost packet."""

from __future__ import annotations

from collections.abc import Iterator

from stt_mqtt.audio.demux import Coding

OPUS_RATE = 48_000
"""Rate in Hz that durations are counted in; Opus always decodes to it."""

_LONGEST_PACKET = 5_760
_HEAD_BYTES = 19
_FIRST_LOSS = 960
_SILK_FRAMES = (480, 960, 1920, 2880)
_HYBRID_FRAMES = (480, 960)
_CELT_FRAMES = (120, 240, 480, 960)


def packet_samples(packet: bytes | memoryview) -> int:
    """Duration of a packet in samples at `OPUS_RATE`, from its first bytes; 0: malformed."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = _SILK_FRAMES[config % 4]
    elif config < 16:
        frame = _HYBRID_FRAMES[config % 2]
    else:
        frame = _CELT_FRAMES[config % 4]
    if code < 3:
        samples = frame * (1 if code == 0 else 2)
    else:
        samples = frame * (packet[1] & 0x3F) if len(packet) > 1 else 0
    return samples if samples <= _LONGEST_PACKET else 0


class PacketWalk:
    """Iterates over packets with their durations. A lost one gets that of the previous one."""

    def __init__(self, previous: int = _FIRST_LOSS) -> None:
        """`previous`: duration in samples that a lost packet gets before any other came."""
        self.previous = previous

    def packets(self, data: bytes) -> Iterator[tuple[memoryview, int]]:
        """Each packet and its duration in samples, up to the first malformed one."""
        view, at = memoryview(data), 0
        while at + 2 <= len(view):
            size = view[at] | view[at + 1] << 8
            packet = view[at + 2 : at + 2 + size]
            samples = packet_samples(packet) if size else self.previous
            if len(packet) < size or not samples:
                return
            self.previous = samples
            yield packet, samples
            at += 2 + size


def opus_coding(head: bytes) -> Coding | None:
    """The coding of a stream in a file by its header (RFC 7845). None: it is not supported."""
    known = len(head) >= _HEAD_BYTES and head[:8] == b"OpusHead" and not head[8] & 0xF0
    if not known or head[9] not in (1, 2) or head[18]:
        return None
    return Coding("opus", head, OPUS_RATE, channels=head[9], bits=32)
