"""MP4 files by hand, for what no program would write."""

from __future__ import annotations

import struct
from dataclasses import dataclass


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(name: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with a version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


FTYP = box(b"ftyp", b"M4A \0\0\0\0M4A mp42isom")
AAC_16_KHZ_MONO = b"\x14\x08"
HERE = full(b"url ", flags=1)


def descriptor(tag: int, body: bytes) -> bytes:
    return bytes([tag, 0x80, 0x80, 0x80, len(body)]) + body


def esds(kind: int = 0x40, flags: int = 0, extra: bytes = b"") -> bytes:
    specific = descriptor(5, AAC_16_KHZ_MONO)
    decoder = descriptor(4, bytes([kind, 0x15]) + bytes(11) + specific)
    return full(b"esds", descriptor(3, b"\0\1" + bytes([flags]) + extra + decoder))


def entry(name: bytes = b"mp4a", version: int = 0, parts: bytes | None = None) -> bytes:
    """A sound description; the first data reference."""
    head = bytes(6) + b"\0\1" + struct.pack(">HHIHHHHI", version, 0, 0, 1, 16, 0, 0, 16_000 << 16)
    more = bytes({0: 0, 1: 16, 2: 36}[version])
    return box(name, head, more, esds() if parts is None else parts)


@dataclass
class Forged:
    """A file with one track, whose tables say what they are told to."""

    entries: bytes = entry()
    sizes: bytes = u32(0, 0)
    chunks: bytes = u32(0)
    offsets: bytes = u32(0)
    offsets_name: bytes = b"stco"
    reference: bytes = HERE
    handler: bytes = b"soun"
    track_version: int = 0
    extends: bytes = b""

    def moov(self) -> bytes:
        table = box(
            b"stbl",
            full(b"stsd", u32(1), self.entries),
            full(b"stts", u32(1, 1 << 16, 1)),
            full(b"stsc", self.chunks),
            full(b"stsz", self.sizes),
            full(self.offsets_name, self.offsets),
        )
        dates = u32(0, 0) if self.track_version == 0 else bytes(16)
        media = box(
            b"mdia",
            full(b"mdhd", u32(0, 0, 16_000, 16_000, 0)),
            full(b"hdlr", bytes(4), self.handler, bytes(13)),
            box(
                b"minf",
                full(b"smhd", bytes(4)),
                box(b"dinf", full(b"dref", u32(1), self.reference)),
                table,
            ),
        )
        header = full(b"tkhd", dates, u32(7), bytes(68), version=self.track_version, flags=7)
        extends = box(b"mvex", self.extends) if self.extends else b""
        movie = full(b"mvhd", u32(0, 0, 1_000, 1_000), bytes(80))
        return box(b"moov", movie, box(b"trak", header, media), extends)

    def file(self, *more: bytes) -> bytes:
        return FTYP + self.moov() + b"".join(more)


def aac_frames(adts: bytes) -> list[bytes]:
    """The frames of raw AAC without their headers of 7 bytes."""
    frames, at = [], 0
    while at + 7 <= len(adts):
        length = (adts[at + 3] & 3) << 11 | adts[at + 4] << 3 | adts[at + 5] >> 5
        frames.append(adts[at + 7 : at + length])
        at += length
    return frames
