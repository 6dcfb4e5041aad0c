"""Keeping an utterance that comes as WAV: one file in many chunks, or a file in each."""

from __future__ import annotations

from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.stores import AudioCap, Store, store_for
from stt_mqtt.audio.wav import is_wav
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio


class WavStore:
    """A file that goes on from chunk to chunk, until a second header comes.

    From then on each chunk is a file of its own, as Rhasspy's satellites make them: its header is
    skipped, and a chunk without one is damaged and dropped.
    """

    __slots__ = ("_cap", "_next_is_begun", "_reader", "_store")

    def __init__(self, cap: AudioCap) -> None:
        self._cap = cap
        self._store: Store = store_for(AudioFormat(Codec.WAV), cap)
        self._reader: FrameReader | None = None
        self._next_is_begun = False

    def append(self, chunk: bytes) -> bool:
        """Add a chunk; False: the cap was reached."""
        if self._reader is None and not self._next_is_begun and self.nbytes and is_wav(chunk):
            self._begin_next_file()
        if self._reader is None:
            return self._store.append(chunk)
        pcm = self._reader.read(chunk)
        return pcm is None or self._store.append(pcm)

    def append_loss(self, chunks: int) -> None:
        """Fill in silence for lost chunks; nothing within one file."""
        self._store.append_loss(chunks)

    @property
    def seconds(self) -> float:
        """Length of the audio; 0.0 while it is one file."""
        return self._store.seconds

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.nbytes

    def close(self) -> EncodedAudio:
        """The utterance."""
        return self._store.close()

    def _begin_next_file(self) -> None:
        """What came before was a whole file, unless it is one that is not taken."""
        self._next_is_begun = True
        # The frame that fills the cap has to be seen to reach beyond it.
        reader = FrameReader(self._cap.max_s + 1)
        first = reader.read(self._store.close().data)
        if first is not None:
            self._reader = reader
            self._store = store_for(AudioFormat(), self._cap)
            self._store.append(first)
