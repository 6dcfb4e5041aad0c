"""What MPEG audio looks like without a container: ID3 tags, MP3 frames, ADTS frames."""

from __future__ import annotations

_MAX_TAGS = 4
_ID3_HEADER_BYTES = 10
_ID3_FOOTER = 0x10

_MP3_KBIT = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ADTS_RATES = 13
_ADTS_HEADER_BYTES = 7


def id3_bytes(data: bytes) -> int:
    """Length of the ID3v2 tags that stand first; more than `data` where that ends within one."""
    at = 0
    for _ in range(_MAX_TAGS):
        size = _id3_tag_bytes(data[at : at + _ID3_HEADER_BYTES])
        if not size:
            break
        at += size
    return at


def has_mp3_frames(data: bytes, at: int = 0) -> bool:
    """Whether two MPEG layer III frames follow each other at `at` without a gap.

    One header is 11 bits of sync and would be found in loud PCM; the second one at exactly
    the computed place with the same version, layer and rate practically never is.
    """
    first = _mp3_frame(data[at : at + 4])
    if first is None:
        return False
    length, kind = first
    second = _mp3_frame(data[at + length : at + length + 4])
    return second is not None and second[1] == kind


def has_adts_frames(data: bytes, at: int = 0) -> bool:
    """Whether two frames of raw AAC follow each other at `at`, by the same two proofs."""
    first = _adts_frame(data[at : at + _ADTS_HEADER_BYTES])
    if first is None:
        return False
    length, kind = first
    second = _adts_frame(data[at + length : at + length + _ADTS_HEADER_BYTES])
    return second is not None and second[1] == kind


def _id3_tag_bytes(header: bytes) -> int:
    """Length of the tag with this header: version 2 to 4, no unknown flag, 7-bit sizes; else 0."""
    if len(header) < _ID3_HEADER_BYTES or header[:3] != b"ID3" or not 2 <= header[3] <= 4:
        return 0
    if header[5] & 0x0F or any(byte > 0x7F for byte in header[6:]):
        return 0
    size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    footer = _ID3_HEADER_BYTES if header[5] & _ID3_FOOTER else 0
    return _ID3_HEADER_BYTES + size + footer


def _mp3_frame(header: bytes) -> tuple[int, tuple[int, int]] | None:
    """Length in bytes and (version, rate) of the layer III frame that `header` opens."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    bitrate_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate_index in (0, 15) or rate_index == 3 or header[3] & 3 == 2:
        return None
    rate = _MP3_HZ[version][rate_index]
    samples_per_8_bits = 144 if version == 3 else 72
    bits_per_s = _MP3_KBIT[version][bitrate_index - 1] * 1000
    return samples_per_8_bits * bits_per_s // rate + (header[2] >> 1 & 1), (version, rate)


def _adts_frame(header: bytes) -> tuple[int, tuple[int, int]] | None:
    """Length in bytes and what stays the same in all frames of the stream."""
    if len(header) < _ADTS_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[2] >> 2 & 15 >= _ADTS_RATES or length <= _ADTS_HEADER_BYTES:
        return None
    # Version and checksum; profile, rate and channels.
    return length, (header[1], (header[2] & 0xFD) << 2 | header[3] >> 6)
