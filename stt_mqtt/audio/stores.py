"""What stores an open utterance: the protocol, the cap, and the base of stores of encoded bytes.

Chunks arrive on the event loop, thousands per second, so the work per chunk is small and bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.types import AudioFormat, EncodedAudio


@dataclass(frozen=True, slots=True)
class AudioCap:
    """The cap of one utterance: seconds of audio, and bytes in memory."""

    max_s: float
    max_bytes: int


class Store(Protocol):
    """Stores an utterance. `AudioBuffer` documents the members."""

    def append(self, chunk: bytes) -> bool: ...  # noqa: D102

    def append_loss(self, chunks: int) -> None: ...  # noqa: D102

    def decode(self, to_s: float) -> None: ...  # noqa: D102

    def take_decoded(self) -> bytes: ...  # noqa: D102

    @property
    def seconds(self) -> float: ...  # noqa: D102

    @property
    def undecoded_s(self) -> float: ...  # noqa: D102

    @property
    def nbytes(self) -> int: ...  # noqa: D102

    def snapshot(self) -> EncodedAudio: ...  # noqa: D102

    def close(self) -> EncodedAudio: ...  # noqa: D102


def within(frames: int, to_s: float, rate: int) -> int:
    """How many of the frames belong to the first `to_s` seconds, which may be infinite."""
    return frames if to_s * rate >= frames else int(to_s * rate)


class EncodedBytes:
    """Base of the stores that keep bytes unchanged."""

    __slots__ = ("_data", "_format", "_full", "_max_bytes")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._format = audio_format
        self._max_bytes = cap.max_bytes
        self._data = bytearray()
        self._full = False

    @property
    def undecoded_s(self) -> float:
        """Nothing waits for `decode`."""
        return 0.0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._data)

    def snapshot(self) -> EncodedAudio:
        """The audio so far."""
        return EncodedAudio(self._format, bytes(self._data))

    def close(self) -> EncodedAudio:
        """The audio."""
        return self.snapshot()

    def _admit(self, size: int, within_length: bool) -> bool:
        """Whether `size` more bytes fit. After a refusal nothing fits, so that there is no gap."""
        self._full = self._full or not within_length or len(self._data) + size > self._max_bytes
        return not self._full
