"""Packets of a file that arrives.

FFmpeg reads a file only as a whole. So the demuxers of FLAC, Ogg and WebM are written here. They
read one frame, page or element at a time. What they give to the decoder of FFmpeg is what its own
demuxers give, or they say that they are not certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

MAX_PACKET_BYTES = 16_384
"""Longest packet of Opus in a file. Opus has at most 7,662 bytes in 120 ms of two channels."""


@dataclass(frozen=True, slots=True)
class Coding:
    """What a decoder must know. `decoder` is its name in FFmpeg; `bits` are those of a sample.

    `libopus` decodes raw packets, `opus` those of a file.
    """

    decoder: Literal["flac", "libopus", "opus"]
    extradata: bytes
    rate: int
    channels: int
    bits: int


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A packet. `discard`: samples at its end that are not part of the audio.

    `samples`: length of a raw packet of Opus. If it has no data, it was lost.
    """

    data: bytes
    discard: int = 0
    samples: int = 0


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
