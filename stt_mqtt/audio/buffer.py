"""Assembling one utterance from its chunks, within its caps."""

from __future__ import annotations

from stt_mqtt.audio.magic import is_file, refuse_foreign, sniff
from stt_mqtt.audio.pcm import PCM_TYPES
from stt_mqtt.audio.stores import AudioCap, Store, file_store, store_for
from stt_mqtt.audio.wav import is_wav
from stt_mqtt.audio.wav_store import WavStore
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

__all__ = ["AudioBuffer", "AudioCap", "whole"]


class AudioBuffer:
    """One open utterance.

    Where PCM is expected the first chunk is believed instead, if it begins a file.
    """

    __slots__ = ("_begun", "_cap", "_codec", "_store")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._codec = audio_format.codec
        self._cap = cap
        self._store: Store = store_for(audio_format, cap)
        self._begun = False

    def append(self, chunk: bytes) -> bool:
        """Add a chunk; False: the cap was reached.

        Of PCM the part that fits is kept, a chunk of another codec is refused whole.
        """
        if not self._begun:
            self._begin(chunk)
        return self._store.append(chunk)

    def append_loss(self, chunks: int) -> None:
        """Fill in silence for lost chunks, each as long as the last good one, up to the cap.

        Nothing happens before the first good chunk, and in containers.
        """
        self._store.append_loss(chunks)

    @property
    def seconds(self) -> float:
        """Length of the audio; 0.0 for containers, whose length is not known yet."""
        return self._store.seconds

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.nbytes

    def close(self) -> EncodedAudio:
        """The utterance. Nothing may be added afterwards."""
        return self._store.close()

    def _begin(self, chunk: bytes) -> None:
        """Look at the first chunk that is not empty."""
        self._begun = bool(chunk)
        if self._codec is not Codec.WAV and self._codec not in PCM_TYPES:
            return
        if is_wav(chunk):
            self._store = WavStore(self._cap)
        elif self._codec is not Codec.WAV and is_file(chunk):
            self._store = file_store(self._cap)


def whole(data: bytes, default: AudioFormat) -> EncodedAudio:
    """An utterance that came in one message: a container, else raw in the `default` format.

    Raises UnsupportedFormatError for a file of a kind that is not taken.
    """
    codec = sniff(data)
    if codec is not None:
        return EncodedAudio(AudioFormat(codec), data)
    refuse_foreign(data)
    if default.codec is Codec.ADPCM_IMA:
        return EncodedAudio(default, len(data).to_bytes(4, "little") + data)
    return EncodedAudio(default, data)
