"""Stores files that arrive in chunks."""

from __future__ import annotations

from contextlib import suppress
from math import inf

from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.live_pcm import LivePcm, plain
from stt_mqtt.audio.pcm_store import PlainPcm
from stt_mqtt.audio.stores import AudioCap, EncodedBytes, Store, within
from stt_mqtt.audio.wav import WavReader, is_wav, parse_wav
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio


class FileStore(EncodedBytes):
    """A file, as it comes; its length is known when it is decoded."""

    __slots__ = ()

    seconds = 0.0

    def append(self, chunk: bytes) -> bool:
        """Keep the chunk."""
        if not self._admit(len(chunk), within_length=True):
            return False
        self._data += chunk
        return True

    def append_loss(self, chunks: int) -> None:
        """Nothing: silence cannot be written into a container."""

    def decode(self, to_s: float) -> None:
        """Nothing: it is decoded at the end."""

    def take_decoded(self) -> bytes:
        """Nothing."""
        return b""


class UnknownFileStore(FileStore):
    """A file of a kind that was not declared."""

    __slots__ = ()

    def snapshot(self) -> EncodedAudio:
        """The audio so far."""
        return EncodedAudio(None, bytes(self._data))


class _WavFile(FileStore):
    """A WAV file. If its samples are not compressed, they are converted while they arrive.

    The file is kept until the end. If all of it was converted by then, that is the result.
    """

    __slots__ = ("_live", "_reader", "_to_s", "_untaken_s")

    def __init__(self, cap: AudioCap) -> None:
        super().__init__(AudioFormat(Codec.WAV), cap)
        self._reader = WavReader()
        self._live: LivePcm | None = None
        self._to_s = inf
        self._untaken_s = 0.0

    @property
    def file(self) -> bytes:
        """The file so far."""
        return bytes(self._data)

    @property
    def undecoded_s(self) -> float:
        """Length of the audio that was not taken."""
        return self._untaken_s

    @property
    def nbytes(self) -> int:
        """Bytes held, of the file and converted."""
        return len(self._data) + (0 if self._live is None else self._live.nbytes)

    def decode(self, to_s: float) -> None:
        """Let the first `to_s` seconds be taken."""
        self._to_s = to_s

    def take_decoded(self) -> bytes:
        """The whole frames that are new and may be taken."""
        with suppress(UtteranceError):
            pcm = self._reader.read(self._data)
            if pcm is not None:
                if self._live is None:
                    self._live = LivePcm(pcm)
                new = self._live.convert(pcm, within(pcm.frames, self._to_s, pcm.rate))
                if self.nbytes > self._max_bytes:
                    self._live.give_up()
                self._untaken_s = (pcm.frames - self._live.frames) / pcm.rate
                return new
        return b""

    def snapshot(self) -> EncodedAudio:
        """The converted audio, or the file if it was not converted as a whole."""
        return self._result(is_last=False)

    def close(self) -> EncodedAudio:
        """The same, with the last milliseconds."""
        return self._result(is_last=True)

    def _result(self, is_last: bool) -> EncodedAudio:
        found: EncodedAudio | None = None
        with suppress(UtteranceError):
            # All samples may say another form than the first ones.
            pcm = parse_wav(self._data)
            if pcm is not None:
                found = plain(pcm)
                if found is None and self._live is not None:
                    if is_last:
                        self._live.finish(pcm)
                    found = self._live.result(pcm)
        return super().snapshot() if found is None else found


class WavStore:
    """A WAV file in chunks, or a WAV file per chunk.

    After a second header, each chunk counts as a file, as the satellites of Rhasspy send them. Then
    headers are skipped, and chunks without one are dropped.
    """

    __slots__ = ("_cap", "_next_is_begun", "_reader", "_store", "_taken")

    def __init__(self, cap: AudioCap) -> None:
        self._cap = cap
        self._store: Store = _WavFile(cap)
        self._reader: FrameReader | None = None
        self._next_is_begun = False
        self._taken = 0
        """Bytes that were taken of the first file."""

    def append(self, chunk: bytes) -> bool:
        """Keep a chunk of the first file, or the samples of a file."""
        if self._reader is None and not self._next_is_begun and self.nbytes and is_wav(chunk):
            self._begin_next_file()
        if self._reader is None:
            return self._store.append(chunk)
        pcm = self._reader.read(chunk)
        return pcm is None or self._store.append(pcm)

    def append_loss(self, chunks: int) -> None:
        """Append silence if each chunk is a file."""
        self._store.append_loss(chunks)

    def decode(self, to_s: float) -> None:
        """Let the first `to_s` seconds be taken. It needs no decoding."""
        self._store.decode(to_s)

    def take_decoded(self) -> bytes:
        """The new whole frames."""
        new = self._store.take_decoded()
        if self._reader is None:
            self._taken += len(new)
        return new

    @property
    def seconds(self) -> float:
        """Length of the audio if each chunk is a file, else 0.0."""
        return self._store.seconds

    @property
    def undecoded_s(self) -> float:
        """Length of the audio that was not taken."""
        return self._store.undecoded_s

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.nbytes

    def snapshot(self) -> EncodedAudio:
        """The audio so far."""
        return self._store.snapshot()

    def close(self) -> EncodedAudio:
        """The audio."""
        return self._store.close()

    def _begin_next_file(self) -> None:
        # The data so far is a whole file. Its format may be unsupported.
        assert isinstance(self._store, _WavFile), "it is the first one"
        self._next_is_begun = True
        # One second more, so that the frame that reaches the cap is seen to exceed it.
        reader = FrameReader(self._cap.max_s + 1)
        first = reader.read(self._store.file)
        if first is not None:
            self._reader = reader
            self._store = store = PlainPcm(AudioFormat(), self._cap)
            store.append(first)
            store.taken = min(self._taken, store.nbytes)
