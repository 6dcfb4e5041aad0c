"""Raw Opus packets, each behind a 2-byte little-endian length; length 0 is a lost packet."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.audio.media import DECODER_ERRORS, frame_to_planar
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import Planar

OPUS_RATE = 48_000
"""Rate in Hz that durations are counted in; Opus always decodes to it."""

_MAX_LOST = 60 * OPUS_RATE
"""Samples of lost and damaged packets after which a stream that gave nothing is given up."""
_LONGEST_PACKET = 5_760
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
    """Walks framed packets and knows the duration of each, also of a lost one."""

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


def opus_pieces(data: bytes, channels: int) -> Iterator[Planar]:
    """Framed packets at `OPUS_RATE`; those that are lost or do not decode become silence.

    Raises CorruptAudioError when none of the first minute decodes.
    """
    decoder = AudioCodecContext.create("libopus", "r")
    decoder.sample_rate = OPUS_RATE
    decoder.layout = "mono" if channels == 1 else "stereo"
    lost, decoded = 0, False
    for packet, samples in PacketWalk().packets(data):
        planar = _decode_packet(decoder, bytes(packet)) if packet else None
        decoded = decoded or planar is not None
        if not decoded:
            lost += samples
            if lost > _MAX_LOST:
                break
            continue
        yield from _silence(lost, channels)
        lost = 0
        yield np.zeros((channels, samples), np.float32) if planar is None else planar
    if not decoded:
        raise CorruptAudioError("no Opus packet could be decoded; is each behind its length?")


def _silence(samples: int, channels: int) -> Iterator[Planar]:
    """So much silence, in pieces of a second."""
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
