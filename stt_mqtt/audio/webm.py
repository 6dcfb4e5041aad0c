"""Takes the packets of Opus out of a WebM file that arrives (RFC 9559, RFC 8794).

`bare_webm` leaves the metadata out of a file that is decoded as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from stt_mqtt.audio.demux import MAX_PACKET_BYTES, CodedPacket, Coding
from stt_mqtt.audio.opus import OPUS_RATE, opus_coding, packet_samples
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TRACKS, _TRACK, _AUDIO = 0x1654AE6B, 0xAE, 0xE1
_NUMBER, _CODEC_ID, _CODEC_PRIVATE, _CODEC_DELAY = 0xD7, 0x86, 0x63A2, 0x56AA
_ENCODINGS, _RATE = 0x6D80, 0xB5
_SIMPLE_BLOCK, _GROUP, _BLOCK, _DISCARD_PADDING = 0xA3, 0xA0, 0xA1, 0x75A2
_VOID, _CRC = 0xEC, 0xBF
_SEEK_HEAD, _INFO, _TAGS, _CUES = 0x114D9B74, 0x1549A966, 0x1254C367, 0x1C53BB6B
_TIMESTAMP, _POSITION, _PREVIOUS_SIZE = 0xE7, 0xA7, 0xAB
_DURATION, _REFERENCE = 0x9B, 0xFB

_LEVEL = {
    _EBML: 0,
    _SEGMENT: 0,
    **dict.fromkeys([_SEEK_HEAD, _INFO, _TRACKS, _TAGS, _CUES, _CLUSTER], 1),
    **dict.fromkeys([_TIMESTAMP, _POSITION, _PREVIOUS_SIZE, _SIMPLE_BLOCK, _GROUP], 2),
}
"""Number of elements around an element: the segment, and the cluster."""
_READ = frozenset({_TRACKS, _SIMPLE_BLOCK, _GROUP})
"""Elements whose content is needed."""
_IN_GROUP = frozenset({_BLOCK, _DURATION, _REFERENCE, _DISCARD_PADDING, _VOID, _CRC})
_LACING = 0x06
_NS = 1_000_000_000
_ENDLESS_SEGMENT = b"\x18\x53\x80\x67\x01" + b"\xff" * 7
_MOST_OPEN = 8
"""Most segments and clusters that are open. A file has one of each. If it is damaged, the end of
one may be missed."""
_MOST_ELEMENTS = 32
"""Most elements in the description of a track, or in a group. Writers make fewer than 20."""
_MAX_HEADER_ELEMENTS = 1_000
_MAX_HEADER_BYTES = 64 * 1024
"""Most bytes of an element before the first cluster: room for a thousand tracks."""


class WebmDemuxer:
    """Reads the blocks of a WebM file with one Opus track."""

    def __init__(self) -> None:
        self.coding: Coding | None = None
        self.is_certain = True
        self._at = 0
        self._ends: list[int | None] = []
        """Where the open segment and cluster end. None: it is not known."""
        self._had_segment = False
        self._track = b""
        """Number of the track, as it is coded in a block."""
        self._rate = 0.0
        self._has_packets = False

    def read(self, data: bytearray) -> list[CodedPacket] | None:
        """See `Demuxer`."""
        found = _header(data, self._at)
        if found is None:
            return None
        element, start, size = found
        if element in (_SEGMENT, _CLUSTER):
            self._check(element, None if size is None else start + size)
            if len(self._ends) == _MOST_OPEN:
                raise CorruptAudioError("too many WebM elements are inside each other")
            self._ends.append(None if size is None else start + size)
            self._at = start
            return []
        if size is None:
            raise CorruptAudioError("a WebM element must have a size")
        end = start + size
        if element in _READ:
            if size > MAX_PACKET_BYTES:
                raise CorruptAudioError("a WebM block is too long for Opus")
            if len(data) < end:
                return None
        self._check(element, end)
        # The content of other elements may arrive later.
        self._at = end
        if element not in _READ:
            return []
        content = data[start:end]
        if element == _TRACKS:
            self._read_tracks(content)
            return []
        return [self._group(content) if element == _GROUP else self._packet(content)]

    def has_rest(self, data: bytearray) -> bool:
        """See `Demuxer`."""
        return self._at != len(data)

    def _check(self, element: int, end: int | None) -> None:
        """Note whether an element that ends there may stand where it stands."""
        while self._ends and self._ends[-1] == self._at:
            self._ends.pop()
        level = _LEVEL.get(element)
        if level == 1 and len(self._ends) == 2 and self._ends[-1] is None:
            self._ends.pop()
        around = self._ends[-1] if self._ends else None
        if around is not None and (end is None or end > around):
            self.is_certain = False
        if element not in (_VOID, _CRC) and level != len(self._ends):
            self.is_certain = False
        if (element == _EBML) != (self._at == 0):
            self.is_certain = False
        if element == _SEGMENT:
            self.is_certain &= not self._had_segment
            self._had_segment = True

    def _read_tracks(self, tracks: bytearray) -> None:
        entries = [content for element, content in _few(tracks) if element == _TRACK]
        if len(entries) != 1 or self.coding is not None:
            raise UnsupportedFormatError("a WebM file that has not exactly one track")
        track = dict(_few(entries[0]))
        if bytes(track.get(_CODEC_ID, b"")).rstrip(b"\0") != b"A_OPUS":
            raise UnsupportedFormatError("a WebM file that is not Opus")
        head = bytes(track.get(_CODEC_PRIVATE, b""))
        self.coding = opus_coding(head)
        if self.coding is None:
            raise UnsupportedFormatError("a WebM track must be Opus of 1 or 2 channels")
        number = _integer(track.get(_NUMBER, b""))
        self._track = bytes([0x80 | number]) if 0 < number < 127 else b""
        self._rate = _float(dict(_few(track.get(_AUDIO, b""))).get(_RATE, b""))
        delay = _samples(_integer(track.get(_CODEC_DELAY, b"")))
        # FFmpeg skips the delay of the track. If there is none, it skips that of the codec.
        if delay not in (0, int.from_bytes(head[10:12], "little")) or _ENCODINGS in track:
            self.is_certain = False

    def _group(self, content: bytearray) -> CodedPacket:
        group = _few(content)
        parts = dict(group)
        if len(parts) < len(group) or not parts.keys() <= _IN_GROUP:
            self.is_certain = False
        discard = _samples(_integer(parts.get(_DISCARD_PADDING, b""), signed=True))
        # FFmpeg ignores it for the first packet, and counts it in samples of the track.
        if discard and (discard < 0 or self._rate != OPUS_RATE or not self._has_packets):
            self.is_certain = False
        return self._packet(parts.get(_BLOCK, bytearray()), max(discard, 0))

    def _packet(self, block: bytes | bytearray, discard: int = 0) -> CodedPacket:
        # Behind the number of the track come 2 bytes of time and the flags.
        flags_at = _length(block, 0, longest=8) + 2
        if self.coding is None or len(block) <= flags_at or block[flags_at] & _LACING:
            raise CorruptAudioError("a WebM block that does not hold one packet of Opus")
        packet = bytes(block[flags_at + 1 :])
        if not packet_samples(packet) or block[: flags_at - 2] != self._track:
            self.is_certain = False
        self._has_packets = True
        return CodedPacket(packet, discard)


def bare_webm(data: bytes) -> bytes:
    """The same file with nothing before its first cluster but what describes its tracks.

    Raises CorruptAudioError, and UnsupportedFormatError for compressed or encrypted tracks: a
    block of 1 kB could become 10 MB.
    """
    kept, at = {_EBML: b"", _SEGMENT: b"", _INFO: b"", _TRACKS: b""}, 0
    for _ in range(_MAX_HEADER_ELEMENTS):
        element, start, size = _header(data, at) or (0, 0, None)
        if element == _CLUSTER:
            return b"".join(kept.values()) + data[at:]
        if element == _SEGMENT:
            kept[_SEGMENT], at = _ENDLESS_SEGMENT, start
            continue
        if size is None:
            raise CorruptAudioError("webm data holds no cluster")
        if element in kept and not kept[element]:
            if size > _MAX_HEADER_BYTES:
                raise CorruptAudioError("webm data with too long a header")
            kept[element] = data[at : start + size]
        if element == _TRACKS:
            _refuse_encodings(data[start : start + size])
        at = start + size
    raise CorruptAudioError("webm data with too many elements before its first cluster")


def _refuse_encodings(tracks: bytes) -> None:
    for element, track in _elements(tracks):
        if element == _TRACK and any(inner == _ENCODINGS for inner, _ in _elements(track)):
            raise UnsupportedFormatError("webm with a compressed or encrypted track")


def _few(data: bytes | bytearray) -> list[tuple[int, bytes | bytearray]]:
    """The same as `_elements`. Raises CorruptAudioError for more than `_MOST_ELEMENTS`, too."""
    found = list(islice(_elements(data), _MOST_ELEMENTS + 1))
    if len(found) > _MOST_ELEMENTS:
        raise CorruptAudioError("a WebM element holds too many others")
    return found


def _elements(data: bytes | bytearray) -> Iterator[tuple[int, bytes | bytearray]]:
    """The elements in the content of another one.

    Raises CorruptAudioError if they do not fill it.
    """
    at = 0
    while at < len(data):
        element, start, size = _header(data, at) or (0, 0, None)
        if size is None or start + size > len(data):
            raise CorruptAudioError("a WebM element is longer than the one around it")
        at = start + size
        yield element, data[start:at]


def _header(data: bytes | bytearray, at: int) -> tuple[int, int, int | None] | None:
    """Identifier of the element that begins here, start and size of its content.

    Size None: unknown. None: the header has not arrived as a whole.
    """
    id_bytes = _length(data, at, longest=4)
    size_at = at + id_bytes
    size_bytes = _length(data, size_at, longest=8) if id_bytes else 0
    if not size_bytes:
        return None
    start = size_at + size_bytes
    mask = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(data[size_at:start], "big") & mask
    return int.from_bytes(data[at:size_at], "big"), start, None if size == mask else size


def _length(data: bytes | bytearray, at: int, longest: int) -> int:
    """Bytes of the number of EBML that begins here; 0: it has not arrived as a whole."""
    if at >= len(data):
        return 0
    length = 9 - data[at].bit_length()
    if length > longest:
        raise CorruptAudioError("a number in a WebM file is too long")
    return length if at + length <= len(data) else 0


def _integer(content: bytes | bytearray, signed: bool = False) -> int:
    """A number of up to 8 bytes. Raises CorruptAudioError for a longer one."""
    if len(content) > 8:
        raise CorruptAudioError("a number in a WebM file is too long")
    return int.from_bytes(content, "big", signed=signed)


def _float(content: bytes | bytearray) -> float:
    """A number of 4 or 8 bytes. 0.0: there is none."""
    if len(content) not in (4, 8):
        return 0.0
    return float(struct.unpack(">f" if len(content) == 4 else ">d", content)[0])


def _samples(ns: int) -> int:
    """Samples of Opus in so many nanoseconds."""
    rounded = (abs(ns) * OPUS_RATE + _NS // 2) // _NS
    return rounded if ns >= 0 else -rounded
