"""Packets of a file that arrives, and their decoder.

FFmpeg reads a file only as a whole. So the demuxers of FLAC, Ogg and WebM are written here. They
read one frame, page or element at a time. What they give to the decoder of FFmpeg is what its own
demuxers give, or they say that they are not certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import av
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.audio.media import DECODER_ERRORS, frame_to_planar
from stt_mqtt.types import Planar

MAX_PACKET_BYTES = 16_384
"""Longest packet of Opus in a file. Opus has at most 7,662 bytes in 120 ms of two channels."""


@dataclass(frozen=True, slots=True)
class Coding:
    """What a decoder must know. `decoder` is its name in FFmpeg; `bits` are those of a sample."""

    decoder: Literal["flac", "opus"]
    extradata: bytes
    rate: int
    channels: int
    bits: int


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A packet. `discard`: samples at its end that are not part of the audio."""

    data: bytes
    discard: int = 0


class Demuxer(Protocol):
    """Reads a file that grows."""

    coding: Coding | None
    """Known when there is a packet."""
    is_certain: bool
    """Whether FFmpeg would read the same packets. If not, they are good enough to listen to."""

    def read(self, data: bytearray) -> list[CodedPacket] | None:
        """Read one more frame, page or element; return the packets that end in it.

        `data` is the whole file so far. None: the next one has not arrived as a whole.
        Raises CorruptAudioError or UnsupportedFormatError.
        """
        ...

    def has_rest(self, data: bytearray) -> bool:
        """Whether the file so far ends with a part of a packet or element."""
        ...


class PacketDecoder:
    """Decodes the packets of one file, as FFmpeg would."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._context = make_context(coding)
        self.is_certain = True
        """Whether all packets were decoded without an error."""

    def decode(self, packet: CodedPacket) -> list[Planar]:
        """The samples of a packet. The decoder leaves out those before the beginning."""
        pieces = self._decode(av.Packet(packet.data))
        if packet.discard and pieces:
            kept = pieces[-1].shape[1] - packet.discard
            # FFmpeg ignores a number that is larger than the frame.
            pieces[-1] = pieces[-1][:, : kept if kept >= 0 else None]
        return pieces

    def flush(self) -> list[Planar]:
        """The samples that the decoder holds back. Nothing may be decoded afterwards."""
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


def make_context(coding: Coding) -> AudioCodecContext:
    """A decoder that raises an error for damaged packets. By default, FFmpeg hides some."""
    context = AudioCodecContext.create(coding.decoder, "r")
    context.extradata = coding.extradata
    context.options = {"err_detect": "crccheck+explode"}
    return context
