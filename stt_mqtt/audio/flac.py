"""Divides a FLAC stream that arrives into its frames (RFC 9639)."""

from __future__ import annotations

from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.formats import check_range
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import Codec

_BLOCK_HEADER = 4
_LAST_BLOCK = 0x80
_STREAMINFO_BYTES = 34
_LONGEST_HEADER = 16
MAX_FRAME_BYTES = 256 * 1024
"""Longest frame: 65,535 uncompressed samples of 16 bits and two channels."""
_ONE_SIZE, _SEVERAL_SIZES = FRAME_STARTS = (b"\xff\xf8", b"\xff\xf9")
"""What frames begin with. Those of one size have their number in the header."""


def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    """The CRC of each byte."""
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_8 = _crc_table(0x107, 8)
"""x^8 + x^2 + x + 1."""
_CRC_16 = _crc_table(0x18005, 16)
"""x^16 + x^15 + x^2 + 1."""


class FlacDemuxer:
    """Finds the end of a frame by the header of the next one, or by the CRC at its end.

    Satellites send whole frames, so a frame is mostly found as soon as it is there. However the
    file is cut, hardly any byte is searched or added to a CRC twice.
    """

    def __init__(self) -> None:
        self.coding: Coding | None = None
        self.is_certain = True
        self._at = 0
        """Where the next block of metadata, or the frame, begins."""
        self._search = 0
        """Where to look for the end of the frame; 0: still in the metadata."""
        self._checked = 0
        """Where the bytes begin that are not part of `_crc`, the CRC of the frame so far."""
        self._crc = 0
        self._next = 0
        """Number that the frame must have."""
        self._doubtful: tuple[int, int] | None = None
        """Where the last frame began and where the search for its end stopped, if only its CRC says
        that it is whole. None: it is certain."""
        self._was_taken_back = False
        """Whether the frame was taken too early. Then only the next header ends it. Otherwise, each
        chunk could give all of it once more."""

    def read(self, data: bytearray) -> list[CodedPacket] | None:
        """See `Demuxer`."""
        if not self._search:
            return self._read_metadata(data)
        if self._doubtful and len(data) >= self._at + _LONGEST_HEADER:
            self._confirm(data, self._doubtful)
        found = data.find(bytes(data[self._at : self._at + 2]), self._search)
        self._search = max(self._search, len(data) - 1) if found < 0 else found
        if self._search - self._at > MAX_FRAME_BYTES:
            raise CorruptAudioError("a FLAC frame has no end")
        if found < 0:
            return self._last_frame(data)
        # Frames of silence are shorter than the longest header.
        is_header = _number(bytes(data[found : found + _LONGEST_HEADER])) is not None
        if not is_header and len(data) < found + _LONGEST_HEADER:
            return self._last_frame(data)
        self._search = found + 2
        return self._frame(data, found) if is_header else []

    def has_rest(self, data: bytearray) -> bool:
        """See `Demuxer`."""
        return self._at < len(data)

    def _last_frame(self, data: bytearray) -> list[CodedPacket] | None:
        """The frame at the end of the file so far, if it is whole."""
        if self._was_taken_back or self._checked == len(data):
            return None
        for byte in data[max(self._checked, self._at) :]:
            self._crc = (self._crc << 8 & 0xFF00) ^ _CRC_16[self._crc >> 8 ^ byte]
        self._checked = len(data)
        if self._crc or self._at == len(data):
            return None
        self._doubtful = self._at, self._search
        return self._frame(data, len(data))

    def _confirm(self, data: bytearray, doubtful: tuple[int, int]) -> None:
        """Take a frame back that ended too early. A part of one has the CRC by chance, too."""
        if _number(bytes(data[self._at : self._at + _LONGEST_HEADER])) is None:
            self._at, self._search = doubtful
            self._was_taken_back = True
            self.is_certain = False
        self._doubtful = None

    def _frame(self, data: bytearray, end: int) -> list[CodedPacket]:
        """Take the frame that ends there."""
        frame = bytes(data[self._at : end])
        if not is_frame(frame, self._next):
            self.is_certain = False
        self._next += 1
        self._at, self._search, self._checked, self._crc = end, end + 2, end, 0
        self._was_taken_back = False
        return [CodedPacket(frame)]

    def _read_metadata(self, data: bytearray) -> list[CodedPacket] | None:
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
        if self.coding is None:
            self.coding = flac_coding(bytes(data[start:end]))
        self._at = end
        if kind & _LAST_BLOCK:
            if bytes(data[end : end + 2]) not in FRAME_STARTS:
                raise CorruptAudioError("no FLAC frame is behind the metadata")
            self._search = end + 2
        return []


def is_frame(frame: bytes, number: int) -> bool:
    """Whether a frame begins as the one with this number, where all have one size."""
    return frame.startswith(_ONE_SIZE) and _number(frame) == number


def flac_coding(streaminfo: bytes) -> Coding:
    """The coding of a stream by the first block of its metadata.

    Raises CorruptAudioError, UnsupportedFormatError for a rate or channel count that is not taken.
    """
    if len(streaminfo) != _STREAMINFO_BYTES:
        raise CorruptAudioError("FLAC metadata does not begin with STREAMINFO")
    fields = int.from_bytes(streaminfo[10:14], "big")
    form = check_range(Codec.FLAC, fields >> 12, (fields >> 9 & 7) + 1)
    return Coding("flac", streaminfo, form.rate, form.channels, bits=(fields >> 4 & 31) + 1)


def _number(data: bytes) -> int | None:
    """The number in the frame header that begins here. None: it is none, by its fields and CRC."""
    if len(data) < 6:
        return None
    block_size, rate = data[2] >> 4, data[2] & 15
    channels, sample_size = data[3] >> 4, data[3] >> 1 & 7
    if not block_size or rate == 15 or channels > 10 or sample_size == 3 or data[3] & 1:
        return None
    # The number is coded as in UTF-8, in up to 7 bytes.
    ones = 8 - (data[4] ^ 0xFF).bit_length()
    if ones in (1, 8):
        return None
    behind = 4 + max(ones, 1)
    number = data[4] & 0x7F >> ones
    for byte in data[5:behind]:
        number = number << 6 | byte & 0x3F
    end = behind + {6: 1, 7: 2}.get(block_size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return number if end < len(data) and _crc8(data[:end]) == data[end] else None


def _crc8(data: bytes) -> int:
    """CRC of a header."""
    crc = 0
    for byte in data:
        crc = _CRC_8[crc ^ byte]
    return crc
