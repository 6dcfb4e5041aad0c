"""Decodes packets with FFmpeg: those of files that arrive, and raw ones of Opus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.opus import OPUS_RATE, PacketWalk
from stt_mqtt.audio.pcm import scale
from stt_mqtt.audio.streams import PacketDecoder
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import Planar

DECODER_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
)
"""Exceptions of PyAV for invalid bytes: errors of FFmpeg, and of Python for odd values."""

DECODER_OPTIONS = {"threads": "1", "max_samples": "480000"}
"""One thread. `max_samples`: longest frame in samples per channel, 10 s at 48 kHz; that of FLAC has
65,535 at most."""

_MAX_LOST = 60 * OPUS_RATE
"""Samples of lost and damaged packets at the start after which decoding stops."""


def packet_decoder(coding: Coding) -> PacketDecoder:
    """The decoder of a stream."""
    return OpusPackets(coding.channels) if coding.decoder == "libopus" else FilePackets(coding)


def frame_to_planar(frame: av.AudioFrame) -> Planar:
    """The samples of a decoded frame at its rate."""
    channels = len(frame.layout.channels)
    samples = scale(frame.to_ndarray())
    if frame.format.is_planar:
        return samples.reshape(channels, -1)
    return np.ascontiguousarray(samples.reshape(-1, channels).T)


class FilePackets:
    """Decodes the packets of one file, as FFmpeg would. See `PacketDecoder`."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._context = AudioCodecContext.create(coding.decoder, "r")
        self._context.extradata = coding.extradata
        # By default, FFmpeg hides some damage.
        self._context.options = DECODER_OPTIONS | {"err_detect": "crccheck+explode"}
        self.is_certain = True

    def decode(self, packet: CodedPacket) -> list[Planar]:
        """The samples of a packet. The decoder leaves out those before the beginning."""
        pieces = self._decode(av.Packet(packet.data))
        if packet.discard and pieces:
            kept = pieces[-1].shape[1] - packet.discard
            # FFmpeg ignores a number that is larger than the frame.
            pieces[-1] = pieces[-1][:, : kept if kept >= 0 else None]
        return pieces

    def flush(self) -> list[Planar]:
        """See `PacketDecoder`."""
        return self._decode(None)

    def _decode(self, packet: av.Packet[Any] | None) -> list[Planar]:
        pieces: list[Planar] = []
        try:
            for frame in self._context.decode(packet):
                planar = frame_to_planar(frame)
                if (frame.sample_rate, len(planar)) == (self._coding.rate, self._coding.channels):
                    pieces.append(planar)
                else:
                    self.is_certain = False
        except DECODER_ERRORS:
            self.is_certain = False
        return pieces


class OpusPackets:
    """Decodes raw packets at `OPUS_RATE`. Lost and damaged ones become silence.

    Those before the first good packet are given together with it, up to a minute.
    """

    is_certain = True

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

    def decode(self, packet: CodedPacket) -> Iterator[Planar]:
        """What can be given after this packet."""
        if self.is_hopeless:
            return
        planar = self._decode(packet.data) if packet.data else None
        if planar is None and not self.found:
            self._lost += packet.samples
            return
        if not self.found:
            self.found = True
            yield from _silence(self._lost, self._channels)
        if planar is None:
            yield np.zeros((self._channels, packet.samples), np.float32)
        else:
            yield planar

    def flush(self) -> list[Planar]:
        """Nothing: a packet gives all its samples at once."""
        return []

    def _decode(self, data: bytes) -> Planar | None:
        try:
            frames = [frame_to_planar(frame) for frame in self._context.decode(av.Packet(data))]
            return np.concatenate(frames, axis=1)
        except DECODER_ERRORS:
            return None


def opus_pieces(data: bytes, channels: int) -> Iterator[Planar]:
    """Decode packets, each after its 2-byte little-endian length, at `OPUS_RATE`.

    Raises CorruptAudioError if none of the first minute can be decoded.
    """
    decoder = OpusPackets(channels)
    for packet, samples in PacketWalk().packets(data):
        yield from decoder.decode(CodedPacket(bytes(packet), samples=samples))
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
