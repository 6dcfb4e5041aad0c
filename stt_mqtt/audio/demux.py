"""Takes Opus packets out of Ogg (RFC 3533, RFC 7845) and WebM (RFC 9559) files that arrive.

FFmpeg reads a file only as a whole. These readers are for listening: the file is decoded by FFmpeg
at its end. They read one page or element at a time, and give up on what they do not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stt_mqtt.audio.opus import OPUS_RATE, packet_decoder
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import Planar

_MAX_PACKET_BYTES = 16_384
"""Longest packet. Opus has at most 7,662 bytes in 120 ms of two channels."""

_PAGE_HEADER = 27
_CONTINUED = 1

_SEGMENT, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0
_TRACKS, _TRACK_ENTRY, _AUDIO = 0x1654AE6B, 0xAE, 0xE1
_ENTERED = frozenset({_SEGMENT, _CLUSTER, _BLOCK_GROUP, _TRACKS, _TRACK_ENTRY, _AUDIO})
"""Elements whose content is read as if it stood outside. So their size does not matter."""
_CODEC_ID, _CHANNELS, _SIMPLE_BLOCK, _BLOCK = 0x86, 0x9F, 0xA3, 0xA1
_LACING = 0x06


class Demuxer(Protocol):
    """Reads a file that grows."""

    def decoder(self) -> tuple[int, Callable[[bytes], list[Planar]]]:
        """The rate in Hz and a decoder of the packets. Known when there is a packet."""
        ...

    def read(self, data: bytearray) -> list[bytes] | None:
        """Read one more page or element; return the packets that end in it.

        `data` is the whole file so far. None: the next page or element has not arrived as a whole.
        Raises CorruptAudioError or UnsupportedFormatError.
        """
        ...


class OggDemuxer:
    """Reads the first logical stream of an Ogg file."""

    def __init__(self) -> None:
        self.channels = 0
        """1 or 2. 0: the header has not arrived."""
        self._at = 0
        self._serial: bytes | None = None
        self._begun: bytes | None = None
        """The packet that continues on the next page. None: its beginning is missing."""

    def decoder(self) -> tuple[int, Callable[[bytes], list[Planar]]]:
        """See `Demuxer`."""
        return OPUS_RATE, packet_decoder(self.channels)

    def read(self, data: bytearray) -> list[bytes] | None:
        """See `Demuxer`."""
        at = self._at
        if len(data) < at + _PAGE_HEADER:
            return None
        if data[at : at + 4] != b"OggS":
            raise CorruptAudioError("no Ogg page begins where the last one ended")
        start = at + _PAGE_HEADER + data[at + 26]
        sizes = bytes(data[at + _PAGE_HEADER : start])
        if len(data) < start + sum(sizes):
            return None
        self._at = start + sum(sizes)
        serial = bytes(data[at + 14 : at + 18])
        self._serial = self._serial or serial
        if serial != self._serial:
            return []
        if not data[at + 5] & _CONTINUED:
            self._begun = b""
        return self._audio(self._packets(bytes(data[start : self._at]), sizes))

    def _packets(self, body: bytes, sizes: bytes) -> list[bytes]:
        """The packets that end in a page. A size below 255 ends a packet."""
        found: list[bytes] = []
        at = 0
        for size in sizes:
            if self._begun is not None:
                self._begun += body[at : at + size]
                if len(self._begun) > _MAX_PACKET_BYTES:
                    raise CorruptAudioError("an Ogg packet is too long for Opus")
            at += size
            if size < 255:
                found += [] if self._begun is None else [self._begun]
                self._begun = b""
        return found

    def _audio(self, packets: list[bytes]) -> list[bytes]:
        """The packets without the two headers."""
        if packets and not self.channels:
            head = packets.pop(0)
            if head[:8] != b"OpusHead" or len(head) < 19 or head[18] or head[9] not in (1, 2):
                raise UnsupportedFormatError("an Ogg stream that is not Opus of 1 or 2 channels")
            self.channels = head[9]
        return [packet for packet in packets if not packet.startswith(b"OpusTags")]


class WebmDemuxer:
    """Reads the blocks of a WebM file with one Opus track."""

    def __init__(self) -> None:
        self.channels = 1
        self._at = 0
        self._is_opus = False

    def decoder(self) -> tuple[int, Callable[[bytes], list[Planar]]]:
        """See `Demuxer`."""
        return OPUS_RATE, packet_decoder(self.channels)

    def read(self, data: bytearray) -> list[bytes] | None:
        """See `Demuxer`."""
        id_bytes = _length(data, self._at, longest=4)
        size_at = self._at + id_bytes
        size_bytes = _length(data, size_at, longest=8) if id_bytes else 0
        if not size_bytes:
            return None
        element = int.from_bytes(data[self._at : size_at], "big")
        start = size_at + size_bytes
        if element in _ENTERED:
            self._at = start
            return []
        mask = (1 << 7 * size_bytes) - 1
        size = int.from_bytes(data[size_at:start], "big") & mask
        if element not in {_CODEC_ID, _CHANNELS, _SIMPLE_BLOCK, _BLOCK}:
            # The content may arrive later. An unknown size is beyond every file.
            self._at = start + size
            return []
        if size > _MAX_PACKET_BYTES:
            raise CorruptAudioError("a WebM block is too long for Opus")
        if len(data) < start + size:
            return None
        self._at = start + size
        return self._content(element, bytes(data[start : self._at]))

    def _content(self, element: int, content: bytes) -> list[bytes]:
        if element == _CODEC_ID:
            if content.rstrip(b"\0") != b"A_OPUS" or self._is_opus:
                raise UnsupportedFormatError("a WebM file that is not a single track of Opus")
            self._is_opus = True
            return []
        if element == _CHANNELS:
            if content not in (b"\1", b"\2"):
                raise UnsupportedFormatError("a WebM track must have 1 or 2 channels")
            self.channels = content[0]
            return []
        # Behind the number of the track come 2 bytes of time and the flags.
        flags_at = _length(bytearray(content), 0, longest=8) + 2
        if not self._is_opus or len(content) <= flags_at or content[flags_at] & _LACING:
            raise CorruptAudioError("a WebM block that does not hold one packet of Opus")
        return [content[flags_at + 1 :]]


def _length(data: bytearray, at: int, longest: int) -> int:
    """Bytes of the number of EBML that begins here; 0: it has not arrived as a whole."""
    if at >= len(data):
        return 0
    length = 9 - data[at].bit_length()
    if length > longest:
        raise CorruptAudioError("a number in a WebM file is too long")
    return length if at + length <= len(data) else 0
