"""Decoders of one stream of packets, which is decoded while it arrives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stt_mqtt.audio.adpcm import decode_block
from stt_mqtt.audio.conditioner import Clipping
from stt_mqtt.audio.demux import CodedPacket
from stt_mqtt.audio.resample import Resampler, joined
from stt_mqtt.types import Planar


@dataclass(frozen=True, slots=True)
class Heard:
    """What some packets gave.

    `samples`: at `SAMPLE_RATE`; the last few milliseconds stay in the decoder. `packets`: how many
    were decoded. `length`: what they gave, in samples per channel at the rate of the stream.
    `is_certain`: whether all packets so far were decoded without an error. `clipped`: whether so
    much of the audio so far is clipped that recognition suffers.
    """

    samples: Planar
    packets: int
    length: int
    is_certain: bool
    clipped: bool


class LiveDecoder(Protocol):
    """Decodes the packets of one stream, in order.

    The methods raise CorruptAudioError if the decoder is gone. Then nothing more may be decoded.
    """

    def decode(self, packets: Sequence[CodedPacket], most: int | None = None) -> Heard:
        """Decode packets, until they have given `most` samples per channel at their own rate."""
        ...

    def flush(self) -> Heard:
        """What the decoder holds back. Nothing may be decoded afterwards."""
        ...


class PacketDecoder(Protocol):
    """Decodes one packet after the other, at the rate of the stream."""

    is_certain: bool
    """Whether all packets were decoded without an error."""

    def decode(self, packet: CodedPacket) -> Iterable[Planar]:
        """The samples that can be given after this packet."""
        ...

    def flush(self) -> Iterable[Planar]:
        """The samples that the decoder holds back. Nothing may be decoded afterwards."""
        ...


class StreamDecoder:
    """Decodes and resamples in this process. See `LiveDecoder`."""

    def __init__(self, packets: PacketDecoder, rate: int, channels: int) -> None:
        """`rate` and `channels` of the stream."""
        self._packets = packets
        self._resampler = Resampler(rate, channels)
        self._clipping = Clipping()
        self._nothing = np.empty((channels, 0), np.float32)

    def decode(self, packets: Sequence[CodedPacket], most: int | None = None) -> Heard:
        """See `LiveDecoder`."""
        pieces, length, count = [self._nothing], 0, 0
        for packet in packets:
            if most is not None and length >= most:
                break
            for piece in self._packets.decode(packet):
                pieces.append(piece)
                length += piece.shape[1]
            count += 1
        return self._heard(self._resampled(pieces), count, length)

    def flush(self) -> Heard:
        """See `LiveDecoder`."""
        pieces = [self._nothing, *self._packets.flush()]
        samples = [self._resampled(pieces), self._resampler.flush()]
        return self._heard(joined(samples), 0, sum(piece.shape[1] for piece in pieces))

    def _resampled(self, pieces: list[Planar]) -> Planar:
        for piece in pieces:
            self._clipping.push(piece)
        return self._resampler.push(joined(pieces))

    def _heard(self, samples: Planar, packets: int, length: int) -> Heard:
        certain, clipped = self._packets.is_certain, self._clipping.found
        return Heard(samples, packets, length, certain, clipped)


class AdpcmBlocks:
    """Decodes blocks of ADPCM. See `PacketDecoder`."""

    is_certain = True

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def decode(self, packet: CodedPacket) -> list[Planar]:
        """See `PacketDecoder`."""
        return [decode_block(packet.data, self._channels)]

    def flush(self) -> list[Planar]:
        """Nothing: a block is decoded by itself."""
        return []
