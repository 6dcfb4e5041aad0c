"""Takes the packets of Opus or FLAC out of an Ogg file that arrives (RFC 3533, 7845, 9639)."""

from __future__ import annotations

import struct
import zlib

from stt_mqtt.audio.demux import MAX_PACKET_BYTES, CodedPacket, Coding
from stt_mqtt.audio.flac import FRAME_STARTS, MAX_FRAME_BYTES, flac_coding, is_frame
from stt_mqtt.audio.opus import opus_coding, packet_samples
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError

_HEADER = struct.Struct("<4sBBqIIIB")
_CRC_AT = slice(22, 26)
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_FLAC = b"\x7fFLAC"
_STREAMINFO = slice(17, 17 + 34)
"""Where it is in the first packet of FLAC."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reversed order."""


class OggDemuxer:
    """Reads the first logical stream of an Ogg file."""

    def __init__(self) -> None:
        self.coding: Coding | None = None
        self.is_certain = True
        self._at = 0
        self._serial = 0
        self._pages = 0
        self._has_ended = False
        """Whether the last page has been read."""
        self._begun: bytes | None = None
        """The packet that continues on the next page. None: its beginning is missing."""
        self._has_tags = False
        self._samples = 0
        """Length of all packets of Opus."""
        self._is_flac = False
        self._frames = 0
        """Number of frames of FLAC."""

    def read(self, data: bytearray) -> list[CodedPacket] | None:
        """See `Demuxer`."""
        at = self._at
        if len(data) < at + _HEADER.size:
            return None
        magic, version, flags, granule, serial, number, crc, segments = _HEADER.unpack_from(
            data, at
        )
        if magic != b"OggS":
            raise CorruptAudioError("no Ogg page begins where the last one ended")
        start = at + _HEADER.size + segments
        sizes = bytes(data[at + _HEADER.size : start])
        if len(data) < start + sum(sizes):
            return None
        page = data[at : start + sum(sizes)]
        self._at += len(page)
        if not self._pages:
            self._serial = serial
        if serial != self._serial:
            self.is_certain = False
            return []
        expected = (_CONTINUED if self._begun else 0) | (0 if self._pages else _FIRST)
        if (version, flags & ~_LAST, number) != (0, expected, self._pages):
            self.is_certain = False
        if self._has_ended or crc != _crc(page):
            self.is_certain = False
        self._pages += 1
        self._has_ended = bool(flags & _LAST)
        if not flags & _CONTINUED:
            self._begun = b""
        packets = self._packets(bytes(page[start - at :]), sizes)
        if packets and self.coding is None:
            self._begin(packets.pop(0))
        if self._is_flac:
            return self._flac_frames(packets)
        return self._trimmed(self._audio(packets), granule)

    def has_rest(self, data: bytearray) -> bool:
        """See `Demuxer`."""
        return self._at < len(data) or bool(self._begun)

    def _packets(self, body: bytes, sizes: bytes) -> list[bytes]:
        """The packets that end in a page. A size below 255 ends a packet."""
        most = MAX_FRAME_BYTES if self._is_flac else MAX_PACKET_BYTES
        found: list[bytes] = []
        at = 0
        for size in sizes:
            if self._begun is not None:
                self._begun += body[at : at + size]
                if len(self._begun) > most:
                    raise CorruptAudioError("an Ogg packet is too long for its codec")
            at += size
            if size < 255:
                found += [] if self._begun is None else [self._begun]
                self._begun = b""
        return found

    def _begin(self, head: bytes) -> None:
        """Read the first packet."""
        self._is_flac = head.startswith(_FLAC)
        self.coding = flac_coding(head[_STREAMINFO]) if self._is_flac else opus_coding(head)
        if self.coding is None:
            raise UnsupportedFormatError("an Ogg stream that is not Opus of 1 or 2 channels")

    def _flac_frames(self, packets: list[bytes]) -> list[CodedPacket]:
        """The packets that are frames, not metadata."""
        frames = [packet for packet in packets if packet.startswith(FRAME_STARTS)]
        for frame in frames:
            self.is_certain &= is_frame(frame, self._frames)
            self._frames += 1
        return [CodedPacket(frame) for frame in frames]

    def _audio(self, packets: list[bytes]) -> list[bytes]:
        """The packets of Opus without the tags."""
        if packets and not self._has_tags:
            self._has_tags = packets[0].startswith(b"OpusTags")
            self.is_certain &= self._has_tags
            return packets[1:] if self._has_tags else packets
        return packets

    def _trimmed(self, packets: list[bytes], granule: int) -> list[CodedPacket]:
        """The packets of a page. `granule`: the length of the audio up to its end."""
        found: list[CodedPacket] = []
        for packet in packets:
            samples = packet_samples(packet)
            self.is_certain &= samples > 0
            self._samples += samples
            discard = min(max(self._samples - granule, 0), samples) if self._has_ended else 0
            found.append(CodedPacket(packet, discard))
        if packets and (granule < 0 or (granule != self._samples and not self._has_ended)):
            self.is_certain = False
        return found


def _crc(page: bytearray) -> int:
    """CRC of a page: the polynomial of zlib, with the bits in the other order."""
    cleared = page.translate(_REVERSED)
    cleared[_CRC_AT] = bytes(4)
    crc = zlib.crc32(cleared, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")
