"""MP4 files: where the frames of their audio lie. Pure: nothing is opened, nothing is decoded.

FFmpeg's own reader is not used for them. A message of 1.6 kB whose tables claim 40 million samples
made it take 1.4 GB, and what it reads may tell it to open other files and addresses. Here a table
is worth the bytes that it has, a frame has to lie within the file, and frames are looked up one by
one, while they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat

from stt_mqtt.audio.mp4_boxes import Box, number
from stt_mqtt.audio.mp4_sound import Coding, coding_of
from stt_mqtt.errors import CorruptAudioError

_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10
"""Flags of `tfhd`: which optional fields it has, in their order."""
_RUN_OFFSET, _RUN_FIRST_FLAGS = 0x1, 0x4
_RUN_FIELDS = (0x100, 0x200, 0x400, 0x800)
"""Flags of `trun`: which fields each frame has, 4 bytes each, the second one its size."""


@dataclass(frozen=True, slots=True)
class Mp4Audio:
    """The first audio track of a file: how it is coded, and its frames in order."""

    coding: Coding
    frames: Iterator[memoryview]


def read_mp4(data: bytes) -> Mp4Audio:
    """Where the audio of an MP4 file is; a file that was cut off has the frames that are there.

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
        for _ in range(count):
            size = next(sizes, None)
            if size is None:
                return
            frame = table.view[at : at + size]
            if len(frame) < size:
                return
            if size:
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
            if size:
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
