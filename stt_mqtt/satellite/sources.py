"""Audio sources beside the microphone: a file, and standard input.

A source is read once, by one thread. Any thread may close it, more than once.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.audio.magic import foreign_kind, sniff
from stt_mqtt.audio.pcm import Pcm, SampleType
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import ConfigError, CorruptAudioError, UtteranceError
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from stt_mqtt.types import SAMPLE_RATE, Codec, EncodedAudio, Samples

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_FILE_S = 2 * 3600.0
"""Longest file. Two hours take 460 MB when decoded. The rest is cut off."""
ARECORD = "arecord -f S16_LE -r 16000 -c 1 -t raw"
"""A command that writes audio in the right format."""

_READ_BYTES = 4096
_PATIENCE_MS = 100
"""How long a read waits before it checks whether the source was closed."""
_HEAD_BYTES = 12
"""Bytes needed to tell a container from samples."""
_MAX_HEADER_BYTES = 64 * 1024
_FRAME_SAMPLES = FRAME_BYTES // 2

log = logging.getLogger(__name__)


class AudioSource(Protocol):
    """A source of frames."""

    def frames(self) -> Iterator[bytes]:
        """Yield frames as they arrive. Blocks. Raises `SttMqttError`."""

    def close(self) -> None:
        """Have `frames` end soon. Thread-safe."""


OpenSource: TypeAlias = Callable[[], AudioSource]
"""Opens the source, and opens a lost microphone again. Raises `SttMqttError`."""


class FileSource:
    """A WAV or FLAC file, or another that the service decodes."""

    def __init__(
        self,
        path: Path,
        real_time: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Reads and decodes the file. `real_time`: yield frames at the pace of a microphone.

        Raises ConfigError if the file cannot be read or is not audio.
        """
        found = _decode_file(path)
        if found.truncated:
            log.warning("%s is cut off after %g hours", path, MAX_FILE_S / 3600)
        self._samples = found.samples
        self._real_time = real_time
        self._clock = clock
        self._sleep = sleep
        self._closed = threading.Event()

    def frames(self) -> Iterator[bytes]:
        """Frames of `FRAME_BYTES` until the file ends. The last one is padded with silence."""
        began_at = self._clock()
        for number, frame in enumerate(cut(self._pieces()), start=1):
            # Relative to the beginning, so that errors do not add up.
            wait_s = began_at + number * FRAME_S - self._clock()
            if self._real_time and wait_s > 0:
                self._sleep(wait_s)
            if self._closed.is_set():
                return
            yield frame

    def close(self) -> None:
        """Have `frames` end, within a frame."""
        self._closed.set()

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self._samples), _FRAME_SAMPLES):
            yield s16(self._samples[start : start + _FRAME_SAMPLES])


class StreamSource:
    """Piped 16-bit little-endian mono PCM at `SAMPLE_RATE`, with or without a WAV header."""

    def __init__(self, stream: BinaryIO) -> None:
        """`stream` must have a file descriptor and be unread."""
        self._fd = stream.fileno()
        self._closed = threading.Event()

    def frames(self) -> Iterator[bytes]:
        """Frames of `FRAME_BYTES` as they arrive. The last one is padded with silence.

        Raises ConfigError for a terminal and for audio of another format.
        """
        if os.isatty(self._fd):
            raise ConfigError(
                [f"--stdin: nothing is piped in; pipe PCM into it, as {ARECORD} gives it"]
            )
        yield from cut(self._pieces())

    def close(self) -> None:
        """Have `frames` end soon, even while it waits for audio."""
        self._closed.set()

    def _pieces(self) -> Iterator[bytes]:
        head, samples = b"", None
        for piece in self._reads():
            if samples is None:
                head += piece
                samples = _behind_header(head)
                if samples is not None:
                    yield samples
            else:
                yield piece
        if samples is None and not self._closed.is_set():
            if not head:
                raise ConfigError([f"--stdin: nothing came in; look at what {ARECORD} says"])
            if sniff(head) is not None:
                raise ConfigError(["--stdin: a WAV header without samples came in"])
            yield head

    def _reads(self) -> Iterator[bytes]:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._closed.is_set():
            if not poll.poll(_PATIENCE_MS):
                continue
            piece = os.read(self._fd, _READ_BYTES)
            if not piece:
                return
            yield piece


def cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split 16-bit samples in pieces of any size into frames of `FRAME_BYTES`.

    The last frame is padded with silence. Half a sample at the end is dropped.
    """
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= FRAME_BYTES:
            yield bytes(pending[:FRAME_BYTES])
            del pending[:FRAME_BYTES]
    rest = bytes(pending[: len(pending) // 2 * 2])
    if rest:
        yield rest.ljust(FRAME_BYTES, b"\0")


def s16(samples: Samples) -> bytes:
    """Convert samples to 16-bit little-endian PCM. Samples from 16-bit PCM are unchanged."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def _decode_file(path: Path) -> Decoded:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES // 1024**2} MiB"])
            data = file.read(size)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or type(error).__name__}"]) from error
    try:
        return decode(EncodedAudio(None, data), MAX_FILE_S)
    except UtteranceError as error:
        raise ConfigError([f"{path}: {error.detail}"]) from error


def _behind_header(head: bytes) -> bytes | None:
    """The samples in `head`, the beginning of a stream. None: more bytes are needed.

    Raises ConfigError if it is neither PCM nor a WAV file in the required format.
    """
    if len(head) < _HEAD_BYTES:
        return None
    container = sniff(head)
    if container is None:
        kind = foreign_kind(head)
        if kind is not None:
            raise ConfigError([f"--stdin: {kind} came in; send PCM, as {ARECORD} does"])
        return head
    if container is not Codec.WAV:
        raise ConfigError([f"--stdin: {container} came in; send PCM, as {ARECORD} does"])
    try:
        pcm = parse_wav(head)
    except CorruptAudioError:
        if len(head) < _MAX_HEADER_BYTES:
            return None
        raise ConfigError(["--stdin: a WAV header without samples came in"]) from None
    except UtteranceError as error:
        raise ConfigError([f"--stdin: {error.detail}"]) from error
    if pcm is None:
        raise ConfigError([f"--stdin: compressed WAV came in; send PCM, as {ARECORD} does"])
    return _as_wanted(pcm)


def _as_wanted(pcm: Pcm) -> bytes:
    if (pcm.sample_type, pcm.rate, pcm.channels) != (SampleType.S16, SAMPLE_RATE, 1):
        channels = "mono" if pcm.channels == 1 else "stereo"
        found = f"{pcm.sample_type.width * 8} bits, {pcm.rate} Hz, {channels}"
        raise ConfigError([f"--stdin: WAV with {found} came in; send PCM, as {ARECORD} does"])
    return bytes(pcm.data)
