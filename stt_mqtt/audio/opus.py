"""Decodes raw Opus packets, each after its 2-byte little-endian length; 0 is a lost packet."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.audio.demux import Coding
from stt_mqtt.audio.media import DECODER_ERRORS, frame_to_planar
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import Planar

OPUS_RATE = 48_000
"""Rate in Hz that durations are counted in; Opus always decodes to it."""

_MAX_LOST = 60 * OPUS_RATE
"""Samples of lost and damaged packets at the start after which decoding stops."""
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


class OpusDecoder:
    """Decodes packets at `OPUS_RATE`. Lost and damaged ones become silence.

    Those before the first good packet are given together with it, up to a minute.
    """

    __slots__ = ("_channels", "_context", "_lost", "found")

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._context = AudioCodecContext.create("libopus", "r")
        self._context.sample_rate = OPUS_RATE
        self._context.layout = "mono" if channels == 1 else "stereo"
        self._lost = 0
        """Samples of lost and damaged packets before the first good one."""
        self.found = False
        """Whether a packet could be decoded."""

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing of the first minute could be decoded. Nothing will be from now on."""
        return not self.found and self._lost > _MAX_LOST

    def decode(self, packet: bytes, samples: int) -> Iterator[Planar]:
        """What can be given after this packet of `samples`; an empty packet was lost."""
        if self.is_hopeless:
            return
        planar = _decode_packet(self._context, packet) if packet else None
        if planar is None and not self.found:
            self._lost += samples
            return
        if not self.found:
            self.found = True
            yield from _silence(self._lost, self._channels)
        yield np.zeros((self._channels, samples), np.float32) if planar is None else planar


def opus_coding(head: bytes) -> Coding | None:
    """The coding of a stream in a file by its header (RFC 7845). None: it is not supported."""
    known = len(head) >= _HEAD_BYTES and head[:8] == b"OpusHead" and not head[8] & 0xF0
    if not known or head[9] not in (1, 2) or head[18]:
        return None
    return Coding("opus", head, OPUS_RATE, channels=head[9], bits=32)


def opus_pieces(data: bytes, channels: int) -> Iterator[Planar]:
    """Decode packets at `OPUS_RATE`.

    Raises CorruptAudioError if none of the first minute can be decoded.
    """
    decoder = OpusDecoder(channels)
    for packet, samples in PacketWalk().packets(data):
        yield from decoder.decode(bytes(packet), samples)
        if decoder.is_hopeless:
            break
    if not decoder.found:
        raise CorruptAudioError("no Opus packet could be decoded; is each behind its length?")


def _silence(samples: int, channels: int) -> Iterator[Planar]:
    """Silence in pieces of a second."""
    while samples:
        piece = min(samples, OPUS_RATE)
        yield np.zeros((channels, piece), np.float32)
        samples -= piece


def _decode_packet(decoder: AudioCodecContext, packet: bytes) -> Planar | None:
    try:
        frames = [frame_to_planar(frame) for frame in decoder.decode(av.Packet(packet))]
        return np.concatenate(frames, axis=1)
    except DECODER_ERRORS:
        return None
