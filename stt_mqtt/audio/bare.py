"""Files without their metadata, as FFmpeg gets them.

FFmpeg keeps tags in a list that it searches for each new one: a message of 4 MB with 200,000 tags
keeps it busy for minutes, and each track that a WebM file claims takes 8 kB. So everything that is
not needed to decode the first audio stream is left out here. Pure: nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stt_mqtt.audio.wav import bare_wav
from stt_mqtt.audio.webm import bare_webm
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import Codec

__all__ = ["bare_file"]

_FLAC = b"fLaC"
_LAST_BLOCK = 0x80
_STREAMINFO_BYTES = 34
_MAX_BLOCKS = 1_000
"""Most blocks of metadata in a FLAC file. Writers make fewer than 20."""

_PAGE = b"OggS"
_PAGE_TYPE = 5
_FIRST_PAGE = 0x02
_SERIAL = slice(14, 18)
_SEGMENTS_AT = 26
_OGG_FLAC = b"\x7fFLAC"
_OGG_HEADS = (b"OpusHead", b"\1vorbis", _OGG_FLAC)
"""What the first packet of a stream begins with."""
_OGG_STREAMINFO = slice(17, 17 + _STREAMINFO_BYTES)
_FLAC_FRAMES = (b"\xff\xf8", b"\xff\xf9")
_OGG_COMMENTS = re.compile(rb"OpusTags|\x03vorbis")
_MAX_COMMENTS = 1_000
_MAX_VENDOR_BYTES = 200
"""Longest name of the writer. With it, the number of comments is in the first 255 bytes of their
packet, which are never divided between pages."""


def bare_file(data: bytes, codec: Codec) -> tuple[bytes, Codec]:
    """The audio of a file, and the container in which it is now.

    Raises CorruptAudioError or UnsupportedFormatError.
    """
    if codec is Codec.FLAC:
        return _bare_flac(data), codec
    if codec is Codec.OGG:
        return _bare_ogg(data)
    if codec is Codec.WEBM:
        return bare_webm(data), codec
    if codec is Codec.WAV:
        return bare_wav(data), codec
    if data.startswith(b"ID3"):
        raise CorruptAudioError(f"{codec} data with too many ID3 tags")
    return data, codec


def _bare_flac(data: bytes) -> bytes:
    """A FLAC file with the first of its blocks of metadata alone."""
    if not data.startswith(_FLAC):
        # Frames alone have no metadata.
        return data
    at, first = len(_FLAC), b""
    for _ in range(_MAX_BLOCKS):
        start = at + 4
        end = start + int.from_bytes(data[at + 1 : start], "big")
        if len(data) < end or start > len(data):
            raise CorruptAudioError("flac data ends within its metadata")
        first = first or data[start:end]
        if data[at] & _LAST_BLOCK:
            return _flac_file(first, data[end:])
        at = end
    raise CorruptAudioError("flac data with too many blocks of metadata")


def _flac_file(streaminfo: bytes, frames: bytes) -> bytes:
    if len(streaminfo) != _STREAMINFO_BYTES:
        raise CorruptAudioError("flac metadata does not begin with STREAMINFO")
    return b"".join([_FLAC, bytes([_LAST_BLOCK, 0, 0, _STREAMINFO_BYTES]), streaminfo, frames])


def _bare_ogg(data: bytes) -> tuple[bytes, Codec]:
    """The first audio stream of an Ogg file. One of FLAC becomes a FLAC file."""
    pages = [_PAGE + part for part in data.split(_PAGE)[1:] if len(part) > _SEGMENTS_AT - 4]
    heads = (page for page in pages if _body(page).startswith(_OGG_HEADS))
    first = next(heads, None)
    if first is None and not any(page[_PAGE_TYPE] & _FIRST_PAGE for page in pages):
        raise CorruptAudioError("ogg data holds no beginning of a stream")
    if first is None:
        raise UnsupportedFormatError("ogg without Opus, Vorbis or FLAC; send one of them")
    # A stream may begin again under the same number, with new comments, but not under another one.
    pages = [page for page in pages if page[_SERIAL] == first[_SERIAL]]
    if _body(first).startswith(_OGG_FLAC):
        return _flac_of(pages), Codec.FLAC
    stream = b"".join(pages[pages.index(first) :])
    _check_comments(stream)
    return stream, Codec.OGG


def _body(page: bytes) -> bytes:
    return page[_SEGMENTS_AT + 1 + page[_SEGMENTS_AT] :]


def _check_comments(stream: bytes) -> None:
    """Refuse an Ogg stream with so many comments that FFmpeg would be busy with them."""
    comments = 0
    for found in _OGG_COMMENTS.finditer(stream):
        at = found.end() + 4
        vendor = int.from_bytes(stream[found.end() : at], "little")
        comments += int.from_bytes(stream[at + vendor : at + vendor + 4], "little")
        if vendor > _MAX_VENDOR_BYTES or comments > _MAX_COMMENTS:
            raise CorruptAudioError("ogg data with too many comments")


def _flac_of(pages: Sequence[bytes]) -> bytes:
    """The FLAC file that lies in the pages of an Ogg stream."""
    packets = _packets(pages)
    streaminfo = next(packets, b"")[_OGG_STREAMINFO]
    return _flac_file(streaminfo, b"".join(p for p in packets if p.startswith(_FLAC_FRAMES)))


def _packets(pages: Sequence[bytes]) -> Iterator[bytes]:
    packet = bytearray()
    for page in pages:
        at = _SEGMENTS_AT + 1 + page[_SEGMENTS_AT]
        for size in page[_SEGMENTS_AT + 1 : at]:
            packet += page[at : at + size]
            at += size
            if size < 255:
                yield bytes(packet)
                packet.clear()
