"""How the audio of an MP4 track is coded, from its sample description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stt_mqtt.audio.mp4_boxes import Box
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError

_ENTRY_HEADER = 36
_VERSION_EXTRA = {1: 16, 2: 36}
"""Bytes that QuickTime's later sound descriptions have more than the first one."""
_IN_THIS_FILE = 1

_STREAM, _DECODER, _SPECIFIC = 3, 4, 5
"""Descriptors within `esds`, each inside the one before."""
_STREAM_DEPENDENCE, _STREAM_URL, _STREAM_CLOCK = 0x80, 0x40, 0x20
_AAC = (0x40, 0x66, 0x67, 0x68)
_MP3 = (0x69, 0x6B)
_OPUS_HEAD_BYTES = 11

Decoder: TypeAlias = Literal["aac", "alac", "libopus", "mp3"]


@dataclass(frozen=True, slots=True)
class Coding:
    """FFmpeg's name of a decoder, and what it has to know of the stream."""

    decoder: Decoder
    extradata: bytes


def coding_of(track: Box, table: Box) -> Coding:
    """How a track with this sample table is coded.

    Raises CorruptAudioError and UnsupportedFormatError.
    """
    descriptions = table.child(b"stsd")
    entry = None if descriptions is None else next(descriptions.children(at=8), None)
    if entry is None:
        raise CorruptAudioError("MP4 data does not say how its audio is coded")
    if not _is_in_this_file(track, entry.number(6, 2)):
        raise UnsupportedFormatError("this MP4 file points to audio in another file")
    at = _ENTRY_HEADER - 8 + _VERSION_EXTRA.get(entry.number(8, 2), 0)
    parts = {box.name: box for box in entry.children(at=at)}
    wave = parts.get(b"wave")
    if wave is not None:
        parts.update((box.name, box) for box in wave.children())
    coding = _coding(entry.name, parts)
    if coding is None:
        name = ascii(entry.name.decode("latin-1"))
        raise UnsupportedFormatError(f"mp4 with {name} audio; send AAC, ALAC, Opus or MP3")
    return coding


def _is_in_this_file(track: Box, reference: int) -> bool:
    references = track.child(b"mdia", b"minf", b"dinf", b"dref")
    if references is None:
        return True
    targets = list(references.children(at=8))
    found = targets[reference - 1] if 1 <= reference <= len(targets) else None
    return found is None or bool(found.number(3, 1) & _IN_THIS_FILE)


def _coding(name: bytes, parts: dict[bytes, Box]) -> Coding | None:
    if name == b"mp4a" and b"esds" in parts:
        return _elementary(parts[b"esds"])
    if name == b"alac" and b"alac" in parts:
        box = parts[b"alac"]
        return Coding("alac", bytes(box.view[box.start : box.end]))
    if name == b"Opus" and b"dOps" in parts:
        return Coding("libopus", _opus_head(parts[b"dOps"]))
    return Coding("mp3", b"") if name == b".mp3" else None


def _elementary(esds: Box) -> Coding | None:
    stream = _descriptor(esds.raw(4, esds.room(4)), _STREAM)
    flags = stream[2] if len(stream) > 2 else 0
    at = 3 + 2 * bool(flags & _STREAM_DEPENDENCE)
    if flags & _STREAM_URL and at < len(stream):
        at += 1 + stream[at]
    at += 2 * bool(flags & _STREAM_CLOCK)
    decoder = _descriptor(stream[at:], _DECODER)
    if not decoder:
        return None
    if decoder[0] in _AAC:
        return Coding("aac", _descriptor(decoder[13:], _SPECIFIC))
    return Coding("mp3", b"") if decoder[0] in _MP3 else None


def _descriptor(data: bytes, tag: int) -> bytes:
    """Content of the descriptor that stands first, if it has the tag. Lengths have 7-bit bytes."""
    if data[:1] != bytes([tag]):
        return b""
    size = 0
    for at, byte in enumerate(data[1:5], start=2):
        size = size << 7 | byte & 0x7F
        if byte < 0x80:
            return data[at : at + size]
    return b""


def _opus_head(box: Box) -> bytes:
    """The header of Ogg/Opus from that of MP4: the same fields, the other way round."""
    head = box.raw(0, _OPUS_HEAD_BYTES)
    return b"OpusHead\1" + head[1:2] + head[3:1:-1] + head[7:3:-1] + head[9:7:-1] + head[10:11]
