"""Collects the encoded audio of one utterance, from chunks up to a cap or from one message."""

from __future__ import annotations

from contextlib import suppress
from math import inf

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.audio.file_store import FileStore, UnknownFileStore, WavStore
from stt_mqtt.audio.live_file import DEMUXERS, LiveFileStore
from stt_mqtt.audio.magic import is_file, refuse_foreign, sniff
from stt_mqtt.audio.packet_store import AdpcmStore, OpusStore
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.pcm_store import pcm_store
from stt_mqtt.audio.stores import AudioCap, Store
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

    ADPCM, Opus, FLAC, uncompressed WAV, Ogg with Opus or FLAC, and WebM with Opus can be decoded
    while they arrive. If that was done as a whole when the utterance ends, `close` returns PCM.
    Otherwise it returns the encoded audio, as if nothing was decoded.
    """

    __slots__ = ("_begun", "_cap", "_codec", "_store")

    def __init__(
        self, audio_format: AudioFormat, cap: AudioCap, decoders: Decoders = IN_THIS_PROCESS
    ) -> None:
        """`decoders`: who decodes what arrives."""
        self._codec = audio_format.codec
        self._cap = cap
        self._store = _store_for(audio_format, cap, decoders)
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

    def decode(self, to_s: float = inf) -> None:
        """Decode what has arrived, up to the first `to_s` seconds of the utterance.

        PCM needs no decoding, but no more of it is given by `take_decoded`. The work is bounded: at
        most 1 s of coded audio and 100 packets. The rest waits for the next call.
        """
        self._store.decode(to_s)

    def take_decoded(self) -> bytes:
        """The audio that was decoded since the last call: 16-bit little-endian mono at 16 kHz.

        Two channels are mixed. Lost chunks are silence. Empty if there is nothing new. Of files,
        uncompressed WAV, FLAC, Ogg with Opus or FLAC, and WebM with Opus can be heard.
        """
        return self._store.take_decoded()

    @property
    def seconds(self) -> float:
        """Length of the audio; 0.0 for containers, whose length is unknown before decoding."""
        return self._store.seconds

    @property
    def undecoded_s(self) -> float:
        """Length of the audio that `take_decoded` has not given, about.

        Mostly more calls of `decode` give it. It stays above 0 if that is not possible any more.
        """
        return self._store.undecoded_s

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.nbytes

    def snapshot(self) -> EncodedAudio:
        """The audio so far: what `close` would return, except for the last 30 ms.

        Does not change `nbytes`.
        """
        return self._store.snapshot()

    def close(self) -> EncodedAudio:
        """Return the audio. Nothing may be added afterwards."""
        return self._store.close()

    def _begin(self, chunk: bytes) -> None:
        """Choose the store by the first chunk that is not empty."""
        self._begun = bool(chunk)
        if self._codec not in PCM_TYPES:
            return
        if is_wav(chunk):
            self._store = WavStore(self._cap)
        elif is_file(chunk):
            self._store = UnknownFileStore(AudioFormat(), self._cap)


def _store_for(audio_format: AudioFormat, cap: AudioCap, decoders: Decoders) -> Store:
    """Make an empty store for the codec."""
    if audio_format.codec in PCM_TYPES:
        return pcm_store(audio_format, cap)
    if audio_format.codec is Codec.ADPCM_IMA:
        return AdpcmStore(audio_format, cap)
    if audio_format.codec is Codec.OPUS:
        return OpusStore(audio_format, cap, decoders)
    if audio_format.codec is Codec.WAV:
        return WavStore(cap)
    if audio_format.codec in DEMUXERS:
        return LiveFileStore(audio_format, cap, decoders)
    return FileStore(audio_format, cap)


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
