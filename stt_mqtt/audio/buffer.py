"""Assembling one utterance from its chunks, within its caps."""

from __future__ import annotations

from stt_mqtt.audio.formats import sniff
from stt_mqtt.audio.stores import AudioCap, store_for
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

__all__ = ["AudioBuffer", "AudioCap", "whole"]


class AudioBuffer:
    """One open utterance."""

    __slots__ = ("_store",)

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._store = store_for(audio_format, cap)

    def append(self, chunk: bytes) -> bool:
        """Add a chunk; False: the cap was reached.

        Of PCM the part that fits is kept, a chunk of another codec is refused whole.
        """
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


def whole(data: bytes, default: AudioFormat) -> EncodedAudio:
    """An utterance that came in one message: a container, else raw in the `default` format."""
    codec = sniff(data)
    if codec is not None:
        return EncodedAudio(AudioFormat(codec), data)
    if default.codec is Codec.ADPCM_IMA:
        return EncodedAudio(default, len(data).to_bytes(4, "little") + data)
    return EncodedAudio(default, data)
