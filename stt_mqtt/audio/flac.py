"""Divides a FLAC stream that arrives into its frames (RFC 9639)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import av
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.audio.formats import check_range
from stt_mqtt.audio.media import DECODER_ERRORS, frame_to_planar
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import AudioFormat, Codec, Planar

_BLOCK_HEADER = 4
_LAST_BLOCK = 0x80
_STREAMINFO_BYTES = 34
_LONGEST_HEADER = 16
_MAX_FRAME_BYTES = 256 * 1024
"""Longest frame: 65,535 uncompressed samples of 16 bits and two channels."""
_SYNC = (b"\xff\xf8", b"\xff\xf9")
"""Frames of one size, and of several ones."""


class FlacDemuxer:
    """Finds frames by the header of the next one, so the last one so far is held back."""

    def __init__(self) -> None:
        self._at = 0
        """Where the next block of metadata, or the frame, begins."""
        self._search = 0
        """Where to look for the end of the frame; 0: still in the metadata."""
        self._streaminfo = b""
        self._format = AudioFormat(Codec.FLAC)

    def decoder(self) -> tuple[int, Callable[[bytes], list[Planar]]]:
        """See `Demuxer`."""
        context = AudioCodecContext.create("flac", "r")
        context.extradata = self._streaminfo

        def decode(frame: bytes) -> list[Planar]:
            with suppress(*DECODER_ERRORS):
                return [frame_to_planar(each) for each in context.decode(av.Packet(frame))]
            return []

        return self._format.rate, decode

    def read(self, data: bytearray) -> list[bytes] | None:
        """See `Demuxer`."""
        if not self._search:
            return self._read_metadata(data)
        sync = bytes(data[self._at : self._at + 2])
        found = data.find(sync, self._search)
        if found < 0:
            self._search = max(self._search, len(data) - 1)
        if max(found, self._search) - self._at > _MAX_FRAME_BYTES:
            raise CorruptAudioError("a FLAC frame has no end")
        if found < 0 or len(data) < found + _LONGEST_HEADER:
            return None
        self._search = found + 2
        if not _is_header(bytes(data[found : found + _LONGEST_HEADER])):
            return []
        frame, self._at = bytes(data[self._at : found]), found
        return [frame]

    def _read_metadata(self, data: bytearray) -> list[bytes] | None:
        """Read the magic, or one block of metadata."""
        if not self._at:
            if len(data) < 4:
                return None
            if data[:4] != b"fLaC":
                raise CorruptAudioError("the file does not begin as FLAC")
            self._at = 4
        start = self._at + _BLOCK_HEADER
        end = start + int.from_bytes(data[self._at + 1 : start], "big")
        # The beginning of the first frame is needed, too.
        if len(data) < start or len(data) < end + 2:
            return None
        kind = data[self._at]
        if not self._streaminfo:
            self._streaminfo = bytes(data[start:end])
            self._format = _format_of(self._streaminfo)
        self._at = end
        if kind & _LAST_BLOCK:
            if bytes(data[end : end + 2]) not in _SYNC:
                raise CorruptAudioError("no FLAC frame is behind the metadata")
            self._search = end + 2
        return []


def _format_of(streaminfo: bytes) -> AudioFormat:
    if len(streaminfo) != _STREAMINFO_BYTES:
        raise CorruptAudioError("FLAC metadata does not begin with STREAMINFO")
    bits = int.from_bytes(streaminfo[10:14], "big")
    return check_range(Codec.FLAC, bits >> 12, (bits >> 9 & 7) + 1)


def _is_header(data: bytes) -> bool:
    """Whether a frame header begins here, by its fields and its CRC."""
    block_size, rate = data[2] >> 4, data[2] & 15
    channels, sample_size = data[3] >> 4, data[3] >> 1 & 7
    if not block_size or rate == 15 or channels > 10 or sample_size == 3 or data[3] & 1:
        return False
    # The number of the frame is coded as in UTF-8, in up to 7 bytes.
    ones = 8 - (data[4] ^ 0xFF).bit_length()
    if ones in (1, 8):
        return False
    end = 4 + max(ones, 1)
    end += {6: 1, 7: 2}.get(block_size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return _crc8(data[:end]) == data[end]


def _crc8(data: bytes) -> int:
    """CRC with the polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    return crc
