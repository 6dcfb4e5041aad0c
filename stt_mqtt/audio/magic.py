"""What a file is, by its first bytes: a container that is taken, one that is not, or neither.

Raw PCM has no magic, so any bytes may begin it. Whatever is told from it here shows at least four
unlikely bytes; where a format has fewer, more of its header has to fit.
"""

from __future__ import annotations

from stt_mqtt.audio.mpeg import has_adts_frames, has_mp3_frames, id3_bytes
from stt_mqtt.audio.wav import is_wav
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import Codec

TAKEN = "WAV, FLAC, Ogg, WebM, MP4 or MP3"
"""The containers that are taken, for messages."""

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
_AU_MAX_HEADER_BYTES = 64 * 1024
_AU_ENCODINGS = 27
_TEXT_BYTES = 256
_MIN_TEXT_LETTERS = 8
"""Different ones."""
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def sniff(data: bytes) -> Codec | None:
    """Container of `data` by its first bytes; None: none that is taken.

    What stands behind an ID3 tag decides; MP3 where nothing is known there.
    """
    start = id3_bytes(data)
    codec = _container(data, start)
    if codec is None and start and foreign_kind(data) is None:
        return Codec.MP3
    return codec


def foreign_kind(data: bytes) -> str | None:
    """What `data` is, with its article, if it is a file of a kind that is not taken."""
    data = data[id3_bytes(data) :]
    for magic, kind in _MAGICS:
        if data.startswith(magic):
            return kind
    return _by_header(data)


def is_file(data: bytes) -> bool:
    """Whether `data` begins a file of any known kind."""
    return sniff(data) is not None or foreign_kind(data) is not None


def refuse_foreign(data: bytes) -> None:
    """Raise UnsupportedFormatError if `data` is a file of a kind that is not taken."""
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
    """Kinds that take more than one glance."""
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
    """Start of image, a segment, and the next marker where that segment says it ends."""
    if data[:3] != b"\xff\xd8\xff" or len(data) < 6:
        return False
    following = 4 + int.from_bytes(data[4:6], "big")
    return data[following : following + 1] == b"\xff" and data[3] >= 0xC0


def _is_gzip(data: bytes) -> bool:
    """Deflate, no reserved flag, and values for strength and system that somebody writes."""
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
