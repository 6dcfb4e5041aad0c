"""Stores a FLAC, Ogg or WebM file, and decodes it while it arrives.

The file is kept until the end. If all of it was decoded by then without any doubt, the decoded
audio is the result; else the file is, and is decoded as a whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from math import ceil
from types import MappingProxyType

from stt_mqtt.audio.decoders import Decoders
from stt_mqtt.audio.demux import CodedPacket, Coding, Demuxer
from stt_mqtt.audio.file_store import FileStore
from stt_mqtt.audio.flac import FlacDemuxer
from stt_mqtt.audio.ogg import OggDemuxer
from stt_mqtt.audio.pcm_store import Kept
from stt_mqtt.audio.stores import AudioCap
from stt_mqtt.audio.streams import Heard
from stt_mqtt.audio.webm import WebmDemuxer
from stt_mqtt.errors import CorruptAudioError, UtteranceError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

DEMUXERS: Mapping[Codec, Callable[[], Demuxer]] = MappingProxyType(
    {Codec.FLAC: FlacDemuxer, Codec.OGG: OggDemuxer, Codec.WEBM: WebmDemuxer}
)

_MOST_STEPS = 200
"""Most packets, pages and elements that are read for one chunk."""
_MOST_WAITING = 400
"""Packets that wait after which no more are read: a second of the shortest ones of Opus. Beside
short ones, a page of Ogg may hold 255 that are empty."""
_MOST_S = 1.0
"""Length of audio after which decoding stops until the next chunk."""
_UNREAD_S = 0.25
"""Length that counts as undecoded for what is not read yet: its own one is not known."""


class LiveFileStore(FileStore):
    """A file, as it comes, and what was decoded of it.

    When there is a doubt whether FFmpeg would decode the file in the same way, the decoded audio is
    only heard.
    """

    __slots__ = (
        "_coding", "_decoded_s", "_decoders", "_demuxer", "_is_certain", "_is_read", "_packet_s",
        "_packets", "_track",
    )  # fmt: skip

    def __init__(self, audio_format: AudioFormat, cap: AudioCap, decoders: Decoders) -> None:
        super().__init__(audio_format, cap)
        self._decoders = decoders
        self._demuxer: Demuxer | None = DEMUXERS[audio_format.codec]()
        """None: the file holds something else, and is not heard any more."""
        self._is_read = True
        """Whether all that had arrived at the last call of `decode` was read."""
        self._coding: Coding | None = None
        self._packets: deque[CodedPacket] = deque()
        """Packets that wait to be decoded."""
        self._packet_s = 0.02
        """Length of the last packets."""
        self._track: _Track | None = None
        self._decoded_s = 0.0
        self._is_certain = True
        """Whether the decoded audio can be the result. If not, only what is new of it is held."""

    def append_loss(self, chunks: int) -> None:
        """Note that chunks are missing: silence cannot be written into a container."""
        self._is_certain &= not chunks

    def decode(self, to_s: float) -> None:
        """Read and decode what has arrived, as far as it is within the bounds."""
        until_s = min(to_s, self._decoded_s + _MOST_S)
        self._is_read = False
        for _ in range(_MOST_STEPS):
            is_enough = self._decoded_s + self._waiting_s >= until_s
            if is_enough or len(self._packets) >= _MOST_WAITING:
                break
            if not self._read():
                self._is_read = True
                break
        if self._packets and self._decoded_s < until_s:
            self._decode_until(until_s)
        self._note_doubts()

    def take_decoded(self) -> bytes:
        """What is new, as 16-bit mono at `SAMPLE_RATE`."""
        if self._track is None:
            return b""
        new = self._track.decoded.take_decoded()
        if not self._is_certain:
            self._track.decoded.forget_taken()
        return new

    @property
    def undecoded_s(self) -> float:
        """Length of what waits, about; more than 0 if anything of a file that is heard is missing.

        It is so to the end of a file that was heard at first, and is given up.
        """
        if self._demuxer is None:
            is_missing = self._decoded_s > 0
        else:
            is_missing = not self._is_read and self._demuxer.has_rest(self._data)
        return self._waiting_s + (_UNREAD_S if is_missing else 0.0)

    @property
    def _waiting_s(self) -> float:
        """Length of the packets that wait, if they are as long as the last one."""
        return len(self._packets) * self._packet_s

    @property
    def nbytes(self) -> int:
        """Bytes held, encoded and decoded."""
        return len(self._data) + (0 if self._track is None else self._track.decoded.nbytes)

    def snapshot(self) -> EncodedAudio:
        """The decoded audio, or the file if it was not decoded as a whole."""
        demuxer, track = self._demuxer, self._track
        is_whole = self._is_certain and demuxer is not None and not demuxer.has_rest(self._data)
        if track is None or not is_whole or self._packets or not self._decoded_s:
            return super().snapshot()
        return replace(track.decoded.snapshot(), decoded=True)

    def close(self) -> EncodedAudio:
        """The same, with the last milliseconds."""
        if self._track is not None:
            try:
                self._track.finish()
            except CorruptAudioError:
                self._give_up()
            self._note_doubts()
        return self.snapshot()

    def _note_doubts(self) -> None:
        """Give up the decoded audio for the file if it may differ or is too large."""
        demuxer, track = self._demuxer, self._track
        if demuxer is None or not demuxer.is_certain or self.nbytes > self._max_bytes:
            self._is_certain = False
        if track is not None:
            self._is_certain &= track.is_certain
            if not self._is_certain:
                track.decoded.forget_taken()

    def _read(self) -> bool:
        """Read one page, element or frame. Return whether there was one."""
        if self._demuxer is None:
            return False
        try:
            packets = self._demuxer.read(self._data)
        except UtteranceError:
            self._demuxer = None
            return False
        self._coding = self._demuxer.coding
        self._packets += packets or ()
        return packets is not None

    def _decode_until(self, until_s: float) -> None:
        """Decode the packets that wait, up to a place in the audio."""
        try:
            if self._track is None:
                assert self._coding is not None, "a demuxer knows it before the first packet"
                self._track = _Track(self._coding, self._decoders)
            self._decode_packets(self._track, until_s - self._decoded_s)
        except Exception as error:
            # The decoder may have seen a part of the packets.
            self._give_up()
            if not isinstance(error, CorruptAudioError):
                raise

    def _decode_packets(self, track: _Track, most_s: float) -> None:
        heard = track.decode(list(islice(self._packets, _MOST_STEPS)), most_s)
        for _ in range(heard.packets):
            self._packets.popleft()
        if heard.length:
            self._packet_s = heard.length / track.rate / heard.packets
            self._decoded_s += heard.length / track.rate

    def _give_up(self) -> None:
        """Leave the file to be decoded at the end: its decoder is gone."""
        self._demuxer = self._track = None
        self._packets.clear()


class _Track:
    """The decoder of a file, and what it has decoded."""

    def __init__(self, coding: Coding, decoders: Decoders) -> None:
        self.rate = coding.rate
        self.is_certain = True
        self._decoder = decoders.live(coding)
        # Rounding changes some texts, so only what has 16 bits by itself is kept with 16 bits.
        is_exact = coding.rate == SAMPLE_RATE and coding.bits <= 16
        self.decoded = Kept(coding.channels, Codec.PCM_S16LE if is_exact else Codec.PCM_F32LE)

    def decode(self, packets: list[CodedPacket], most_s: float) -> Heard:
        """Decode packets until they have given so many seconds."""
        return self._keep(self._decoder.decode(packets, ceil(most_s * self.rate)))

    def finish(self) -> None:
        """Add what stayed in the decoder and the resampler. Nothing may be decoded afterwards."""
        self._keep(self._decoder.flush())

    def _keep(self, heard: Heard) -> Heard:
        self.is_certain = heard.is_certain
        self.decoded.clipped = heard.clipped
        self.decoded.keep(heard.samples)
        return heard
