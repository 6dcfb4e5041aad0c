"""MP4 files: how their audio is coded, and where its frames lie.

Pure: nothing is opened and nothing is decoded. FFmpeg's own reader is not used for MP4. A message
of 1.6 kB whose tables claimed 40 million samples made it take 1.4 GB, and a file may tell it to
open other files and addresses. Here a table counts only as far as its bytes are there, a frame
has to lie within the file, and frames are looked up one by one, when they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Literal, TypeAlias

from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError

_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10
"""Flags of `tfhd`: which optional fields it has, in their order."""
_RUN_OFFSET, _RUN_FIRST_FLAGS = 0x1, 0x4
_RUN_FIELDS = (0x100, 0x200, 0x400, 0x800)
"""Flags of `trun`: which fields each frame has, 4 bytes each, the second one its size."""

_ENTRY_HEADER = 36
_VERSION_EXTRA = {1: 16, 2: 36}
"""Bytes that QuickTime's later sound descriptions have more than the first one."""
_IN_THIS_FILE = 1
_PARTS = (b"esds", b"alac", b"dOps", b"wave")
_STREAM, _DECODER, _SPECIFIC = 3, 4, 5
"""Descriptors within `esds`, each inside the one before."""
_STREAM_DEPENDENCE, _STREAM_URL, _STREAM_CLOCK = 0x80, 0x40, 0x20
_AAC = (0x40, 0x66, 0x67, 0x68)
_MP3 = (0x69, 0x6B)
_OPUS_HEAD_BYTES = 11
_NO_FRAME = memoryview(b"")
Decoder: TypeAlias = Literal["aac", "alac", "libopus", "mp3"]


@dataclass(frozen=True, slots=True)
class Mp4Audio:
    """The first audio track of a file: how it is coded, and its frames in order."""

    coding: Coding
    frames: Iterator[memoryview]


def read_mp4(data: bytes) -> Mp4Audio:
    """Where the audio of an MP4 file is; a file that was cut off has the frames that are there.

    An entry of the index without a frame gives an empty one, so that whoever reads it can give up.

    Raises CorruptAudioError for one without audio, UnsupportedFormatError for a coding that is not
    taken and for audio that lies in another file.
    """
    file = Box.file(data)
    moov = file.child(b"moov")
    if moov is None:
        raise CorruptAudioError("MP4 data without its index (moov); was the file cut off?")
    for track in moov.children(b"trak"):
        handler = track.child(b"mdia", b"hdlr")
        if handler is None or handler.raw(8, 4) != b"soun":
            continue
        table = track.child(b"mdia", b"minf", b"stbl")
        if table is not None:
            coding = coding_of(track, table)
            return Mp4Audio(coding, chain(_indexed(table), _fragmented(file, moov, track)))
    raise CorruptAudioError("MP4 data holds no audio track")


def _indexed(table: Box) -> Iterator[memoryview]:
    """Frames that the index of the file lists: chunks, with frames one behind the other."""
    sizes = _sizes(table)
    for start, count in zip(_chunk_offsets(table), _chunk_lengths(table), strict=False):
        at = start
        if not count:
            yield _NO_FRAME
        for _ in range(count):
            size = next(sizes, None)
            if size is None:
                return
            frame = table.view[at : at + size]
            if len(frame) < size:
                return
            yield frame
            at += size


def _sizes(table: Box) -> Iterator[int]:
    """Bytes of each frame."""
    box = table.child(b"stsz")
    if box is None:
        return iter(())
    common, count = box.number(4), box.number(8)
    if common:
        return repeat(common, count)
    return (box.number(12 + 4 * index) for index in range(min(count, box.room(12) // 4)))


def _chunk_offsets(table: Box) -> Iterator[int]:
    for name, width in ((b"stco", 4), (b"co64", 8)):
        box = table.child(name)
        if box is not None:
            for index in range(min(box.number(4), box.room(8) // width)):
                yield box.number(8 + width * index, width)


def _chunk_lengths(table: Box) -> Iterator[int]:
    """Frames in each chunk, without an end: the table says from which chunk on there are others."""
    box = table.child(b"stsc")
    if box is None:
        return
    runs = min(box.number(4), box.room(8) // 12)
    for index in range(runs):
        first, frames = box.number(8 + 12 * index), box.number(12 + 12 * index)
        if index + 1 == runs:
            yield from repeat(frames)
        yield from repeat(frames, max(box.number(20 + 12 * index) - first, 0))


def _fragmented(file: Box, moov: Box, track: Box) -> Iterator[memoryview]:
    """Frames in fragments, as browsers record: each has a small index of its own."""
    header = track.child(b"tkhd")
    wanted = 0 if header is None else header.number(20 if header.number(0, 1) else 12)
    default = 0
    for extension in moov.children(b"mvex"):
        for box in extension.children(b"trex"):
            if box.number(4) == wanted:
                default = box.number(16)
    for fragment in file.children(b"moof"):
        yield _NO_FRAME
        for part in fragment.children(b"traf"):
            head = part.child(b"tfhd")
            if head is not None and head.number(4) == wanted:
                yield from _runs(fragment, part, head, default)


def _runs(fragment: Box, part: Box, head: Box, default: int) -> Iterator[memoryview]:
    """Frames of one fragment. `default`: their size where nothing else is said."""
    flags, at, base = head.number(1, 3), 8, fragment.start
    if flags & _BASE_OFFSET:
        base, at = head.number(at, 8), at + 8
    at += 4 * bool(flags & _DESCRIPTION) + 4 * bool(flags & _DURATION)
    if flags & _SIZE:
        default = head.number(at)
    place = base
    for run in part.children(b"trun"):
        flags, at = run.number(1, 3), 8
        if flags & _RUN_OFFSET:
            place, at = base + run.signed(at), at + 4
        at += 4 * bool(flags & _RUN_FIRST_FLAGS)
        for size in _run_sizes(run, flags, at, default):
            frame = run.view[place : place + size] if place >= 0 else run.view[:0]
            if len(frame) < size:
                return
            yield frame
            place += size


def _run_sizes(run: Box, flags: int, at: int, default: int) -> Iterator[int]:
    """Bytes of each frame of a run, whose fields begin at `at`."""
    count = run.number(4)
    step = 4 * sum(bool(flags & field) for field in _RUN_FIELDS)
    if step:
        count = min(count, run.room(at) // step)
    if not flags & _RUN_FIELDS[1]:
        return repeat(default, count if default else 0)
    at += 4 * bool(flags & _RUN_FIELDS[0])
    return (number(run.view, run.body + at + step * index, 4) for index in range(count))


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
    parts = {box.name: box for box in entry.children(at=at) if box.name in _PARTS}
    wave = parts.get(b"wave")
    if wave is not None:
        parts |= {box.name: box for box in wave.children() if box.name in _PARTS}
    coding = _coding(entry.name, parts)
    if coding is None:
        name = ascii(entry.name.decode("latin-1"))
        raise UnsupportedFormatError(f"mp4 with {name} audio; send AAC, ALAC, Opus or MP3")
    return coding


def _is_in_this_file(track: Box, reference: int) -> bool:
    references = track.child(b"mdia", b"minf", b"dinf", b"dref")
    if references is None:
        return True
    found = next(islice(references.children(at=8), max(reference - 1, 0), None), None)
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


def number(view: memoryview, at: int, width: int) -> int:
    """Big-endian number of `width` bytes; of bytes that are missing, something smaller."""
    return int.from_bytes(view[at : at + width], "big")


@dataclass(frozen=True, slots=True)
class Box:
    """A box within a file. `start`, `body` and `end` are places in `view`, the file."""

    view: memoryview
    name: bytes
    start: int
    body: int
    end: int

    @classmethod
    def file(cls, data: bytes) -> Box:
        """A whole file, as if it were a box around all of them."""
        return cls(memoryview(data), b"", 0, 0, len(data))

    def number(self, at: int, width: int = 4) -> int:
        """Number at a place of the content."""
        return number(self.view, self.body + at, width)

    def signed(self, at: int) -> int:
        """The same for 4 bytes with a sign."""
        return int.from_bytes(self.raw(at, 4), "big", signed=True)

    def raw(self, at: int, count: int) -> bytes:
        """Bytes at a place of the content, fewer where it ends."""
        return bytes(self.view[self.body + at : min(self.body + at + count, self.end)])

    def room(self, at: int) -> int:
        """Bytes of the content from a place on."""
        return max(self.end - self.body - at, 0)

    def children(self, name: bytes | None = None, at: int = 0) -> Iterator[Box]:
        """The boxes inside from a place of the content on: all, or those with a name.

        One that claims more than there is ends with the box around it.
        """
        start = self.body + at
        while start + 8 <= self.end:
            size, body = number(self.view, start, 4), start + 8
            if size == 1:
                size, body = number(self.view, body, 8), body + 8
            elif size == 0:
                size = self.end - start
            if size < body - start:
                return
            found = bytes(self.view[start + 4 : start + 8])
            if name is None or found == name:
                yield Box(self.view, found, start, min(body, self.end), min(start + size, self.end))
            start += size

    def child(self, *path: bytes) -> Box | None:
        """The first box of a name, in the first of another name, and so on."""
        box: Box | None = self
        for name in path:
            box = None if box is None else next(box.children(name), None)
        return box
