"""Stores blocks of ADPCM and packets of Opus, and decodes them as they arrive.

The encoded bytes are kept until the end. If all of them were decoded by then, the decoded audio is
the result; else they are, and are decoded from their beginning. So there is no seam between both.
What is decoded is only heard if both together are too large.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from stt_mqtt.audio.adpcm import block_frames
from stt_mqtt.audio.decoders import Decoders
from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.opus import OPUS_RATE, PacketWalk
from stt_mqtt.audio.pcm_store import Kept
from stt_mqtt.audio.stores import AudioCap, EncodedBytes
from stt_mqtt.audio.streams import AdpcmBlocks, LiveDecoder, StreamDecoder
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

_MOST_PACKETS = 100
"""Most packets or blocks that are decoded for one chunk."""
_MOST_S = 1.0
"""Length of audio after which decoding stops until the next chunk."""
_MOST_BLOCK_FRAMES = 16_000
"""Longest ADPCM block that is decoded as it arrives, in samples per channel."""


class _Packets(EncodedBytes, ABC):
    """Encoded packets, and what was decoded of them."""

    __slots__ = ("_at", "_decoded", "_decoded_samples", "_decoder", "_found", "_is_kept", "_rate")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap, rate: int) -> None:
        """`rate` that the packets are decoded to, in Hz."""
        super().__init__(audio_format, cap)
        self._rate = rate
        self._decoder: LiveDecoder | None = None
        """None: nothing has arrived, or nothing more will be decoded before the end."""
        # Decoders give 16 bits. Resampled samples stay floats: rounding changes some texts.
        codec = Codec.PCM_S16LE if rate == SAMPLE_RATE else Codec.PCM_F32LE
        self._decoded: Kept | None = Kept(audio_format.channels, codec)
        """None: nothing more is heard, and the audio will be decoded at the end."""
        self._is_kept = True
        """Whether the decoded audio can be the result. If not, only what is new of it is held."""
        self._decoded_samples = 0
        """Length of the packets before `_at`."""
        self._at = 0
        """Where the bytes begin that were not decoded."""
        self._found = False
        """Whether any packet could be decoded."""

    @abstractmethod
    def _make_decoder(self) -> LiveDecoder:
        """The decoder of the packets."""

    @abstractmethod
    def _next(self) -> CodedPacket | None:
        """The packet at `_at`, with its length. Moves behind it. None: it is too long."""

    def decode(self, to_s: float) -> None:
        """Decode what has arrived, as far as it is within the bounds."""
        if self._decoded is None:
            return
        packets: list[CodedPacket] = []
        until = min(to_s * self._rate, self._decoded_samples + _MOST_S * self._rate)
        for _ in range(_MOST_PACKETS):
            if self._at == len(self._data) or self._decoded_samples >= until:
                break
            packet = self._next()
            if packet is None:
                self._give_up()
                return
            self._decoded_samples += packet.samples
            packets.append(packet)
        if packets:
            self._decode(self._decoded, packets)
        if self.nbytes > self._max_bytes:
            self._is_kept = False
            self._decoded.forget_taken()

    def _decode(self, decoded: Kept, packets: list[CodedPacket]) -> None:
        try:
            if self._decoder is None:
                self._decoder = self._make_decoder()
            heard = self._decoder.decode(packets)
        except Exception as error:
            self._decoded_samples -= sum(packet.samples for packet in packets)
            self._give_up()
            if isinstance(error, CorruptAudioError):
                return
            raise
        self._found |= heard.length > 0
        decoded.clipped = heard.clipped
        decoded.keep(heard.samples)

    def _give_up(self) -> None:
        """Hear nothing more, and leave the audio to be decoded at the end."""
        self._decoded = self._decoder = None

    def take_decoded(self) -> bytes:
        """What is new, as 16-bit mono at `SAMPLE_RATE`."""
        if self._decoded is None:
            return b""
        new = self._decoded.take_decoded()
        if not self._is_kept:
            self._decoded.forget_taken()
        return new

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Length of the audio."""

    @property
    def undecoded_s(self) -> float:
        """Length of the audio behind what was decoded."""
        return self.seconds - self._decoded_samples / self._rate

    @property
    def nbytes(self) -> int:
        """Bytes held, encoded and decoded."""
        return len(self._data) + (0 if self._decoded is None else self._decoded.nbytes)

    def snapshot(self) -> EncodedAudio:
        """The decoded audio, or the encoded one if it was not decoded as a whole."""
        is_whole = self._is_kept and self._found and self._at == len(self._data)
        if self._decoded is None or not is_whole:
            return super().snapshot()
        return replace(self._decoded.snapshot(), decoded=True)

    def close(self) -> EncodedAudio:
        """The same, with the last milliseconds."""
        if self._decoded is not None and self._decoder is not None and self._is_kept:
            try:
                self._decoded.keep(self._decoder.flush().samples)
            except CorruptAudioError:
                self._give_up()
        return self.snapshot()


class AdpcmStore(_Packets):
    """Blocks, each behind a 4-byte little-endian length; damaged ones are dropped."""

    __slots__ = ("_frames", "_last", "_max_frames")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap, audio_format.rate)
        self._max_frames = int(cap.max_s * audio_format.rate)
        self._frames = 0
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        """Keep a block."""
        frames = block_frames(chunk, self._format.channels)
        if not frames:
            return True
        if not self._admit(4 + len(chunk), self._frames + frames <= self._max_frames):
            return False
        self._data += len(chunk).to_bytes(4, "little")
        self._data += chunk
        self._frames += frames
        self._last = len(chunk)
        return True

    def append_loss(self, chunks: int) -> None:
        """Append blocks of silence."""
        if not self._last:
            return
        # A block of zeros is silence: predictor 0, and the smallest step rounds to no change.
        block = self._last.to_bytes(4, "little") + bytes(self._last)
        frames = block_frames(block[4:], self._format.channels)
        count = min(
            chunks,
            (self._max_frames - self._frames) // frames,
            (self._max_bytes - len(self._data)) // len(block),
        )
        self._data += block * count
        self._frames += frames * count

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._frames / self._format.rate

    def _make_decoder(self) -> LiveDecoder:
        blocks = AdpcmBlocks(self._format.channels)
        return StreamDecoder(blocks, self._rate, self._format.channels)

    def _next(self) -> CodedPacket | None:
        start = self._at + 4
        end = start + int.from_bytes(self._data[self._at : start], "little")
        block = bytes(self._data[start:end])
        frames = block_frames(block, self._format.channels)
        if frames > _MOST_BLOCK_FRAMES:
            return None
        self._at = end
        return CodedPacket(block, samples=frames)


class OpusStore(_Packets):
    """Packets, each behind a 2-byte little-endian length, as they come."""

    __slots__ = ("_decoders", "_last_packets", "_max_samples", "_samples", "_undecoded", "_walk")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap, decoders: Decoders) -> None:
        super().__init__(audio_format, cap, OPUS_RATE)
        self._max_samples = int(cap.max_s * OPUS_RATE)
        self._walk = PacketWalk()
        self._samples = 0
        self._last_packets = 0
        self._decoders = decoders
        self._undecoded = PacketWalk()
        """Follows `_at`."""

    def append(self, chunk: bytes) -> bool:
        """Keep the packets of a chunk."""
        size = samples = packets = 0
        for packet, duration in self._walk.packets(chunk):
            size += 2 + len(packet)
            samples += duration
            packets += 1
        if not packets:
            return True
        if not self._admit(size, self._samples + samples <= self._max_samples):
            return False
        self._data += chunk[:size]
        self._samples += samples
        self._last_packets = packets
        return True

    def append_loss(self, chunks: int) -> None:
        """Append lost packets."""
        duration = self._walk.previous
        count = min(
            chunks * self._last_packets,
            (self._max_samples - self._samples) // duration,
            (self._max_bytes - len(self._data)) // 2,
        )
        self._data += bytes(2 * count)
        self._samples += duration * count

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._samples / OPUS_RATE

    def _make_decoder(self) -> LiveDecoder:
        channels = self._format.channels
        return self._decoders.live(Coding("libopus", b"", OPUS_RATE, channels, bits=32))

    def _next(self) -> CodedPacket:
        end = self._at + 2 + (self._data[self._at] | self._data[self._at + 1] << 8)
        packet, samples = next(self._undecoded.packets(bytes(self._data[self._at : end])))
        self._at = end
        return CodedPacket(bytes(packet), samples=samples)
