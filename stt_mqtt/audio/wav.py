"""A tolerant reader of WAV files: the sizes in their headers are only hints."""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np

from stt_mqtt.audio.formats import check_range
from stt_mqtt.audio.pcm import Pcm, SampleType
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import Codec

_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FIRST_CHUNK = 12
_MAX_CHUNKS = 64
"""Most chunks up to the samples. Writers make fewer than 20."""
_SIZE_ELSEWHERE = 0xFFFFFFFF

_SAMPLE_TYPES = {
    (_INTEGER, 1): SampleType.U8,
    (_INTEGER, 2): SampleType.S16,
    (_INTEGER, 3): SampleType.S24,
    (_INTEGER, 4): SampleType.S32,
    (_FLOAT, 4): SampleType.F32,
    (_FLOAT, 8): SampleType.F64,
}
_Form: TypeAlias = tuple[SampleType, int, int]
"""Sample type, rate and channels."""


class WavReader:
    """Reads a WAV file that arrives. What was read before is not read again."""

    def __init__(self) -> None:
        self._walk = _Walk()
        self._form: _Form | None = None

    def read(self, data: bytes | bytearray) -> Pcm | None:
        """The samples of the file so far, found by walking its chunks; None: they are compressed.

        They are not copied, so a bytearray cannot be changed until the result is gone.

        Raises CorruptAudioError without a format and samples behind it, UnsupportedFormatError
        for a rate, channel count or sample width that is not taken.
        """
        fmt, body = self._walk.format_and_samples(data)
        if self._form is None:
            self._form = _form_of(fmt, body)
        return None if self._form is None else Pcm(body, *self._form)


def parse_wav(data: bytes | bytearray) -> Pcm | None:
    """The samples of a WAV file. See `WavReader.read`."""
    return WavReader().read(data)


def bare_wav(data: bytes) -> bytes:
    """The same WAV file with its format and samples alone.

    Raises CorruptAudioError without a format and samples behind it.
    """
    return _riff(*_Walk().format_and_samples(data))


def is_wav(data: bytes | bytearray) -> bool:
    """Whether a WAV header begins here; RF64 is the form for files over 4 GiB."""
    return data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE"


def wav_bytes(pcm: bytes, rate: int) -> bytes:
    """A WAV file of mono pcm_s16le samples at `rate` Hz, with the classic 44-byte header."""
    return _riff(struct.pack("<HHIIHH", _INTEGER, 1, rate, 2 * rate, 2, 16), pcm)


def _riff(fmt: bytes | memoryview, samples: bytes | memoryview) -> bytes:
    form = struct.pack("<4sI", b"fmt ", len(fmt)) + bytes(fmt) + bytes(len(fmt) % 2)
    body = form + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


class _Walk:
    """The way along the chunks of a WAV file. Sizes are clamped to what follows.

    It goes on at the last chunk that has begun.
    """

    def __init__(self) -> None:
        self._at = _FIRST_CHUNK
        self._left = _MAX_CHUNKS
        self._fmt = slice(0, 0)
        """Where the format is."""

    def format_and_samples(self, data: bytes | bytearray) -> tuple[memoryview, memoryview]:
        """The format, and the samples so far, of the same file as before.

        Raises CorruptAudioError if they are not there.
        """
        view = memoryview(data)
        limit = len(data) if is_wav(data) else 0
        while self._left and self._at + 8 <= limit:
            start = self._at + 8
            name = data[self._at : self._at + 4]
            size = int.from_bytes(data[self._at + 4 : start], "little")
            end = start + size
            if name == b"data" and size in (0, _SIZE_ELSEWHERE):
                # A writer that could not seek back, or RF64: all that follows is meant.
                end = len(data)
            fmt, body = view[self._fmt], view[start:end]
            if name == b"data" and len(fmt) >= 16 and len(body):
                return fmt, body
            following = end + _padding(data, end) if size % 2 else end
            if following + 8 > len(data):
                break
            if name == b"fmt ":
                self._fmt = slice(start, end)
            self._at = following
            self._left -= 1
        raise CorruptAudioError("WAV data holds no format with samples behind it")


def _padding(data: bytes | bytearray, end: int) -> int:
    """Bytes from the `end` of a chunk of odd length to the next one: not all writers pad."""
    for padding in (1, 0):
        if data[end + padding : end + padding + 4] in (b"fmt ", b"data"):
            return padding
    return 1 if data[end : end + 1] == b"\0" else 0


def _form_of(fmt: memoryview, body: memoryview) -> _Form | None:
    """The form of the samples. None: they are compressed."""
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        tag = int.from_bytes(fmt[24:26], "little")
    check_range(Codec.WAV, rate, channels)
    if tag not in (_INTEGER, _FLOAT):
        return None
    # 12 or 20 bits stand left-justified in the next whole byte.
    width = -(-bits // 8)
    sample_type = _SAMPLE_TYPES.get((tag, width))
    if sample_type is None:
        raise UnsupportedFormatError(f"WAV samples have {bits} bits; send 16-bit integers")
    if sample_type is SampleType.S24 and block == 4 * channels:
        sample_type = _of_24_bits_in_32(body)
    return sample_type, rate, channels


def _of_24_bits_in_32(body: memoryview) -> SampleType:
    """Which bytes of each 4 hold the samples: the low ones as in ALSA, or the standard high ones.

    High ones leave the lowest byte empty, and the highest is more than a repeated sign.
    """
    words = np.frombuffer(body[: len(body) // 4 * 4], np.uint8).reshape(-1, 4)
    if words[:, 0].any():
        return SampleType.S24_LOW
    signs = words[:, 2] >> 7
    repeats = words[:, 3] == signs * 0xFF
    return SampleType.S24_LOW if (repeats | (words[:, 3] == 0)).all() else SampleType.S32
