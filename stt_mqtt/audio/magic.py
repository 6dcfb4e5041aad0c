"""Detects the kind of a file by its first bytes: a supported container, another file, or neither.

Raw PCM has no magic number, so it may begin with any bytes. A file is recognised only by at least
four unlikely bytes. If a format has fewer, more of its header must match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from stt_mqtt.audio.wav import is_wav
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import Codec

TAKEN = "WAV, FLAC, Ogg, WebM, MP4 or MP3"
"""The supported containers, for messages."""

_MP4_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof")
_PICTURE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")

_MAGICS = (
    (b"caff\0\1\0\0", "a CAF file"),
    (b"#!AMR", "an AMR file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "a WMA (ASF) file"),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "a Wave64 file"),
    (b".RMF\0\0\0", "a RealAudio file"),
    (b".ra\xfd\0", "a RealAudio file"),
    (b"MAC \x96\x0f", "a Monkey's Audio file"),
    (b"MThd\0\0\0\6", "a MIDI file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\7", "a RAR archive"),
)

_ZIP_METHODS = (0, 8, 9, 12, 14, 93, 95)
_FIRST_JPEG_MARKER, _LAST_JPEG_MARKER = 0xFFC0, 0xFFFE
_AU_MAX_HEADER_BYTES = 64 * 1024
_AU_ENCODINGS = 27
_TEXT_BYTES = 256
_MIN_TEXT_LETTERS = 8
"""Different ones."""
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"

_MAX_TAGS = 4
_ID3_HEADER_BYTES = 10
_ID3_FOOTER = 0x10
_MP3_KBIT = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_HEADER_BYTES = 4
_ADTS_RATES = 13
_ADTS_HEADER_BYTES = 7
_PROOFS = 3
_Kind: TypeAlias = tuple[int, int]
"""Header fields that are the same in all frames of a stream."""
_ReadHeader: TypeAlias = Callable[[bytes], tuple[int, _Kind] | None]


def sniff(data: bytes) -> Codec | None:
    """The container of `data` by its first bytes. None: not a supported one.

    After an ID3 tag the following bytes decide. If they are unknown, it is MP3.
    """
    start = id3_bytes(data)
    codec = _container(data, start)
    if codec is None and start and foreign_kind(data) is None:
        return Codec.MP3
    return codec


def foreign_kind(data: bytes) -> str | None:
    """The kind of `data` with an article, such as "a PNG", if it is an unsupported file."""
    data = data[id3_bytes(data) :]
    for magic, kind in _MAGICS:
        if data.startswith(magic):
            return kind
    return _by_header(data)


def is_file(data: bytes) -> bool:
    """Whether `data` begins like a file of any known kind."""
    return sniff(data) is not None or foreign_kind(data) is not None


def refuse_foreign(data: bytes) -> None:
    """Raise UnsupportedFormatError if `data` is an unsupported file."""
    kind = foreign_kind(data)
    if kind is not None:
        raise UnsupportedFormatError(f"this is {kind}; send {TAKEN}")


def _container(data: bytes, at: int) -> Codec | None:
    magic = data[at : at + 4]
    if is_wav(data[at : at + 12]):
        return Codec.WAV
    if magic == b"fLaC":
        return Codec.FLAC
    if magic == b"OggS":
        return Codec.OGG
    if magic == b"\x1a\x45\xdf\xa3":
        return Codec.WEBM
    if _is_mp4(data, at):
        return Codec.MP4
    return Codec.MP3 if has_mp3_frames(data, at) else None


def _is_mp4(data: bytes, at: int) -> bool:
    name = data[at + 4 : at + 8]
    if name not in _MP4_FIRST_BOXES or data[at] or int.from_bytes(data[at : at + 4], "big") < 8:
        return False
    return data[at + 8 : at + 12] not in _PICTURE_BRANDS


def _by_header(data: bytes) -> str | None:
    """Kinds that need more than a comparison of the first bytes."""
    for fits, kind in _HEADERS:
        if fits(data):
            return kind
    form = data[8:12].strip()
    if data[:4] == b"RIFF" and form != b"WAVE" and form.isalnum():
        return f"a RIFF file of the kind {form.decode()}"
    return None


def _is_aiff(data: bytes) -> bool:
    return data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC")


def _is_big_endian_wav(data: bytes) -> bool:
    return data[:4] == b"RIFX" and data[8:12] == b"WAVE"


def _is_wavpack(data: bytes) -> bool:
    return data[:4] == b"wvpk" and data[9:10] == b"\4"


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) == _little(data[2:6])


def _is_picture_in_mp4(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _PICTURE_BRANDS


def _is_au(data: bytes) -> bool:
    header = int.from_bytes(data[4:8], "big")
    encoding = int.from_bytes(data[12:16], "big")
    return (
        data[:4] == b".snd"
        and 24 <= header <= _AU_MAX_HEADER_BYTES
        and 1 <= encoding <= _AU_ENCODINGS
    )


def _is_jpeg(data: bytes) -> bool:
    """Start of image, then a name that cameras write, or three segments end to end."""
    if data[:3] != b"\xff\xd8\xff":
        return False
    if data[6:10] in (b"JFIF", b"Exif"):
        return True
    at = 2
    for _ in range(3):
        marker = int.from_bytes(data[at : at + 2], "big")
        if not _FIRST_JPEG_MARKER <= marker <= _LAST_JPEG_MARKER:
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def _is_gzip(data: bytes) -> bool:
    """Deflate, no reserved flag, and usual values for compression level and system."""
    if len(data) < 18 or data[:3] != b"\x1f\x8b\x08":
        return False
    flags, strength, system = data[3], data[8], data[9]
    return not flags & 0xE0 and strength in (0, 2, 4) and (system <= 13 or system == 0xFF)


def _is_zip(data: bytes) -> bool:
    if data[:4] == b"PK\5\6":
        return data[4:12] == bytes(8)
    return data[:4] == b"PK\3\4" and data[5:6] == b"\0" and _little(data[8:10]) in _ZIP_METHODS


def _is_text(data: bytes) -> bool:
    """Only printable ASCII; as PCM that would be a signal far above the middle all the time."""
    head = data[:_TEXT_BYTES]
    return len(set(head)) >= _MIN_TEXT_LETTERS and not head.translate(None, _PRINTABLE)


def _little(number: bytes) -> int:
    return int.from_bytes(number, "little")


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
    """Whether MPEG layer III frames follow each other at `at` without a gap.

    One header is 11 bits of sync and would be found in loud PCM; the second one at exactly
    the computed place with the same version, layer and rate hardly ever is. A third one has to
    fit, too, where the data reaches so far.
    """
    return _has_frames(data, at, _MP3_HEADER_BYTES, _mp3_frame)


def has_adts_frames(data: bytes, at: int = 0) -> bool:
    """Whether frames of raw AAC follow each other at `at`, by the same proofs."""
    return _has_frames(data, at, _ADTS_HEADER_BYTES, _adts_frame)


def _has_frames(data: bytes, at: int, header_bytes: int, read: _ReadHeader) -> bool:
    kind: _Kind | None = None
    for number in range(_PROOFS):
        header = data[at : at + header_bytes]
        if number == _PROOFS - 1 and len(header) < header_bytes:
            break
        frame = read(header)
        if frame is None or kind not in (None, frame[1]):
            return False
        at, kind = at + frame[0], frame[1]
    return True


def _id3_tag_bytes(header: bytes) -> int:
    """Length of the tag with this header: version 2 to 4, no unknown flag, 7-bit sizes; else 0."""
    if len(header) < _ID3_HEADER_BYTES or header[:3] != b"ID3" or not 2 <= header[3] <= 4:
        return 0
    if header[5] & 0x0F or any(byte > 0x7F for byte in header[6:]):
        return 0
    size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    footer = _ID3_HEADER_BYTES if header[5] & _ID3_FOOTER else 0
    return _ID3_HEADER_BYTES + size + footer


def _mp3_frame(header: bytes) -> tuple[int, _Kind] | None:
    """Length in bytes and (version, rate) of the layer III frame that `header` opens."""
    if len(header) < _MP3_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    bitrate_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate_index in (0, 15) or rate_index == 3 or header[3] & 3 == 2:
        return None
    rate = _MP3_HZ[version][rate_index]
    samples_per_8_bits = 144 if version == 3 else 72
    bits_per_s = _MP3_KBIT[version][bitrate_index - 1] * 1000
    return samples_per_8_bits * bits_per_s // rate + (header[2] >> 1 & 1), (version, rate)


def _adts_frame(header: bytes) -> tuple[int, _Kind] | None:
    """Length in bytes and what stays the same in all frames of the stream."""
    if len(header) < _ADTS_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[2] >> 2 & 15 >= _ADTS_RATES or length <= _ADTS_HEADER_BYTES:
        return None
    # Version and checksum; profile, rate and channels.
    return length, (header[1], (header[2] & 0xFD) << 2 | header[3] >> 6)


_HEADERS = (
    (_is_aiff, "an AIFF file"),
    (_is_big_endian_wav, "a big-endian WAV file"),
    (_is_picture_in_mp4, "a HEIC or AVIF image"),
    (has_adts_frames, "raw AAC (ADTS)"),
    (_is_au, "an AU file"),
    (_is_wavpack, "a WavPack file"),
    (_is_bmp, "a BMP image"),
    (_is_jpeg, "a JPEG image"),
    (_is_gzip, "a gzip archive"),
    (_is_zip, "a ZIP archive"),
    (_is_text, "text, perhaps Base64"),
)
