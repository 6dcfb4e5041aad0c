"""Containers through PyAV, from memory: FLAC, Ogg, WebM, MP3 and compressed WAV.

The demuxer is always named: FFmpeg never guesses, so no format that opens other files or
addresses can be reached from the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import av
from av.container import InputContainer

from stt_mqtt.audio.formats import check_range
from stt_mqtt.audio.pcm import mean, scale
from stt_mqtt.audio.sink import Decoded, Sink
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import Codec, Samples

DECODER_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
)
"""What PyAV may raise on hostile bytes: FFmpeg's errors, and Python's for odd values."""

_DEMUXERS = {
    Codec.WAV: ("wav", frozenset({"adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"})),
    Codec.FLAC: ("flac", frozenset({"flac"})),
    Codec.OGG: ("ogg", frozenset({"opus", "vorbis", "flac"})),
    Codec.WEBM: ("matroska", frozenset({"opus", "vorbis", "pcm_f32le", "pcm_s16le"})),
    Codec.MP3: ("mp3", frozenset({"mp3", "mp3float"})),
}
_MAX_BARREN_PACKETS = 1_000
"""Packets without a sample after which a stream is given up: they cost time, not memory."""


def decode_media(data: bytes, codec: Codec, max_s: float) -> Decoded:
    """The first audio stream of a container; what is damaged is left out.

    Raises CorruptAudioError when nothing decodes, UnsupportedFormatError for a codec, rate or
    channel count that is not taken.
    """
    demuxer, _ = _DEMUXERS[codec]
    try:
        with av.open(
            BytesIO(data), mode="r", format=demuxer, metadata_errors="replace"
        ) as container:
            return _decode_stream(container, codec, max_s)
    except DECODER_ERRORS as error:
        raise CorruptAudioError(f"{codec} audio could not be read") from error


def frame_to_mono(frame: av.AudioFrame) -> Samples:
    """Samples of a decoded frame at its own rate, mean of its channels."""
    channels = len(frame.layout.channels)
    samples = scale(frame.to_ndarray()).reshape(
        (channels, -1) if frame.format.is_planar else (-1, channels)
    )
    return mean(samples, axis=0 if frame.format.is_planar else 1)


def _decode_stream(container: InputContainer, codec: Codec, max_s: float) -> Decoded:
    if not container.streams.audio:
        raise CorruptAudioError(f"{codec} data holds no audio stream")
    stream = container.streams.audio[0]
    _, accepted = _DEMUXERS[codec]
    context = stream.codec_context
    if context is None or context.name not in accepted:
        name = "unknown" if context is None else context.name
        known = ", ".join(sorted(accepted))
        raise UnsupportedFormatError(f"{codec} with {name} audio; send {known}")
    sink: Sink | None = None
    rate = 0
    for frame in _frames(container, stream):
        if sink is None:
            rate = check_range(codec, frame.sample_rate, len(frame.layout.channels)).rate
            sink = Sink(rate, max_s)
        if frame.sample_rate != rate or not sink.push(frame_to_mono(frame)):
            break
    if sink is None:
        raise CorruptAudioError(f"{codec} data holds no sample that could be decoded")
    return sink.finish()


def _frames(container: InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames that decode, until the data or the patience with packets that give none ends."""
    barren = 0
    for packet in _packets(container, stream):
        frames: list[av.AudioFrame] = []
        with suppress(*DECODER_ERRORS):
            frames = stream.codec_context.decode(packet)
        yield from frames
        barren = 0 if frames else barren + 1
        if barren > _MAX_BARREN_PACKETS:
            return


def _packets(
    container: InputContainer, stream: av.AudioStream
) -> Iterator[av.Packet[av.AudioStream]]:
    with suppress(*DECODER_ERRORS):
        yield from container.demux(stream)
