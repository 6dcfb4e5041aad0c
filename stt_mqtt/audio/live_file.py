"""Stores a FLAC, Ogg or WebM file, and listens to it while it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from stt_mqtt.audio.demux import Demuxer, OggDemuxer, WebmDemuxer
from stt_mqtt.audio.file_store import FileStore
from stt_mqtt.audio.flac import FlacDemuxer
from stt_mqtt.audio.pcm import s16le
from stt_mqtt.audio.resample import Resampler, joined
from stt_mqtt.audio.stores import AudioCap
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import AudioFormat, Codec, Planar

DEMUXERS: Mapping[Codec, Callable[[], Demuxer]] = MappingProxyType(
    {Codec.FLAC: FlacDemuxer, Codec.OGG: OggDemuxer, Codec.WEBM: WebmDemuxer}
)

_MOST_STEPS = 200
"""Most packets, pages and elements that are read for one chunk."""
_MOST_S = 1.0
"""Length of audio after which decoding stops until the next chunk."""


class LiveFileStore(FileStore):
    """A file, as it comes. What is decoded of it is only heard: it is decoded again at the end.

    The demuxers of FFmpeg skip and trim some samples, and the text depends on them.
    """

    __slots__ = ("_decoder", "_demuxer", "_heard", "_heard_s", "_packet_s", "_packets")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap)
        self._demuxer: Demuxer | None = DEMUXERS[audio_format.codec]()
        """None: the file holds something else, and is not heard any more."""
        self._packets: deque[bytes] = deque()
        """Packets that wait for `decode`: those of one page at most."""
        self._packet_s = 0.02
        """Length of the last packet."""
        self._decoder: _MonoDecoder | None = None
        self._heard_s = 0.0
        self._heard = bytearray()

    def decode(self, to_s: float) -> None:
        """Read and decode what has arrived, as far as it is within the bounds."""
        pieces: list[Planar] = []
        until_s = min(to_s, self._heard_s + _MOST_S)
        for _ in range(_MOST_STEPS):
            if not self._packets:
                if not self._read():
                    break
            elif self._heard_s >= until_s:
                break
            else:
                pieces += self._decode_next()
        if pieces and self._decoder is not None:
            self._heard += s16le(self._decoder.resampler.push(joined(pieces)))

    def take_decoded(self) -> bytes:
        """What is new, as 16-bit mono at `SAMPLE_RATE`."""
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    @property
    def undecoded_s(self) -> float:
        """Length of the packets that are known to wait, if they are as long as the last one."""
        return len(self._packets) * self._packet_s

    def _read(self) -> bool:
        """Read one page, element or frame. Return whether there was one."""
        if self._demuxer is None:
            return False
        try:
            packets = self._demuxer.read(self._data)
            if packets and self._decoder is None:
                self._decoder = _MonoDecoder(self._demuxer)
        except UtteranceError:
            self._demuxer = None
            return False
        self._packets += packets or ()
        return packets is not None

    def _decode_next(self) -> list[Planar]:
        """Decode one packet."""
        packet, decoder = self._packets.popleft(), self._decoder
        pieces = [] if decoder is None else decoder.decode(packet)
        if decoder is not None and pieces:
            self._packet_s = sum(piece.shape[1] for piece in pieces) / decoder.rate
            self._heard_s += self._packet_s
        return pieces


class _MonoDecoder:
    """Decodes the packets of a demuxer, and mixes their channels."""

    def __init__(self, demuxer: Demuxer) -> None:
        self.rate, self._decode = demuxer.decoder()
        self.resampler = Resampler(self.rate)

    def decode(self, packet: bytes) -> list[Planar]:
        """The samples of a packet at `rate`, one channel."""
        return [piece.mean(axis=0, keepdims=True) for piece in self._decode(packet)]
