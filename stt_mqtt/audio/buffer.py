"""Collects the encoded audio of one utterance, from chunks up to a cap or from one message."""

from __future__ import annotations

from contextlib import suppress

from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.magic import is_file, refuse_foreign, sniff
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.stores import AudioCap, Store, store_for
from stt_mqtt.audio.wav import is_wav, parse_wav
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

__all__ = ["AudioBuffer", "AudioCap", "estimated_seconds", "whole"]

_FLAC_BYTES_PER_S = 32_000
_CODED_BYTES_PER_S = 8_000
"""Assumed bytes per second of compressed audio other than FLAC: 64 kbit/s."""


class AudioBuffer:
    """The audio of one open utterance.

    If PCM is expected but the first chunk begins a file, it is taken as that file.
    """

    __slots__ = ("_begun", "_cap", "_codec", "_store")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._codec = audio_format.codec
        self._cap = cap
        self._store: Store = store_for(audio_format, cap)
        self._begun = False

    def append(self, chunk: bytes) -> bool:
        """Add a chunk. Return False if the cap was reached.

        Of PCM the part that fits is kept. A chunk of another codec is dropped as a whole.
        """
        if not self._begun:
            self._begin(chunk)
        return self._store.append(chunk)

    def append_loss(self, chunks: int) -> None:
        """Add silence for lost chunks, each as long as the last good one, up to the cap.

        Does nothing before the first good chunk, and for containers.
        """
        self._store.append_loss(chunks)

    @property
    def seconds(self) -> float:
        """Length of the audio; 0.0 for containers, whose length is unknown before decoding."""
        return self._store.seconds

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.nbytes

    def close(self) -> EncodedAudio:
        """Return the audio. Nothing may be added afterwards."""
        return self._store.close()

    def _begin(self, chunk: bytes) -> None:
        """Choose the store by the first chunk that is not empty."""
        self._begun = bool(chunk)
        if self._codec is not Codec.WAV and self._codec not in PCM_TYPES:
            return
        if is_wav(chunk):
            self._store = _WavStore(self._cap)
        elif self._codec is not Codec.WAV and is_file(chunk):
            self._store = store_for(None, self._cap)


def whole(data: bytes, default: AudioFormat) -> EncodedAudio:
    """The audio of an utterance in one message: a container, else raw in the `default` format.

    Raises UnsupportedFormatError for a file of an unsupported kind.
    """
    codec = sniff(data)
    if codec is not None:
        return EncodedAudio(AudioFormat(codec), data)
    refuse_foreign(data)
    if default.codec is Codec.ADPCM_IMA:
        return EncodedAudio(default, len(data).to_bytes(4, "little") + data)
    return EncodedAudio(default, data)


def estimated_seconds(audio: EncodedAudio) -> float:
    """Length in seconds: exact for PCM and WAV, estimated for other formats."""
    codec = None if audio.format is None else audio.format.codec
    pcm: Pcm | None = None
    if audio.format is not None and audio.format.codec in PCM_TYPES:
        sample_type = PCM_TYPES[audio.format.codec]
        pcm = Pcm(audio.data, sample_type, audio.format.rate, audio.format.channels)
    elif codec is Codec.WAV:
        with suppress(UtteranceError):
            pcm = parse_wav(audio.data)
    if pcm is not None:
        return pcm.frames / pcm.rate
    bytes_per_s = _FLAC_BYTES_PER_S if codec is Codec.FLAC else _CODED_BYTES_PER_S
    return len(audio.data) / bytes_per_s


class _WavStore:
    """A WAV file in chunks, or a WAV file per chunk.

    After a second header, each chunk counts as a file, as the satellites of Rhasspy send them. Then
    headers are skipped, and chunks without one are dropped.
    """

    __slots__ = ("_cap", "_next_is_begun", "_reader", "_store")

    def __init__(self, cap: AudioCap) -> None:
        self._cap = cap
        self._store: Store = store_for(AudioFormat(Codec.WAV), cap)
        self._reader: FrameReader | None = None
        self._next_is_begun = False

    def append(self, chunk: bytes) -> bool:
        if self._reader is None and not self._next_is_begun and self.nbytes and is_wav(chunk):
            self._begin_next_file()
        if self._reader is None:
            return self._store.append(chunk)
        pcm = self._reader.read(chunk)
        return pcm is None or self._store.append(pcm)

    def append_loss(self, chunks: int) -> None:
        self._store.append_loss(chunks)

    @property
    def seconds(self) -> float:
        return self._store.seconds

    @property
    def nbytes(self) -> int:
        return self._store.nbytes

    def close(self) -> EncodedAudio:
        return self._store.close()

    def _begin_next_file(self) -> None:
        # The data so far is a whole file. Its format may be unsupported.
        self._next_is_begun = True
        # One second more, so that the frame that reaches the cap is seen to exceed it.
        reader = FrameReader(self._cap.max_s + 1)
        first = reader.read(self._store.close().data)
        if first is not None:
            self._reader = reader
            self._store = store_for(AudioFormat(), self._cap)
            self._store.append(first)
