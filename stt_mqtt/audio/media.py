"""Decodes containers in memory with PyAV: FLAC, Ogg, WebM, MP4, MP3 and compressed WAV.

The demuxer is always named, so FFmpeg never selects a format that opens other files or addresses.
The MP4 demuxer of FFmpeg could do that, so `read_mp4` parses MP4, and FFmpeg only decodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer

from stt_mqtt.audio.formats import check_range
from stt_mqtt.audio.mp4 import read_mp4
from stt_mqtt.audio.pcm import scale
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, Planar

DECODER_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
)
"""Exceptions of PyAV for invalid bytes: errors of FFmpeg, and of Python for odd values."""

_DEMUXERS = {
    Codec.WAV: ("wav", frozenset({"adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"})),
    Codec.FLAC: ("flac", frozenset({"flac"})),
    Codec.OGG: ("ogg", frozenset({"opus", "vorbis", "flac"})),
    Codec.WEBM: ("matroska", frozenset({"opus", "vorbis", "pcm_f32le", "pcm_s16le"})),
    Codec.MP3: ("mp3", frozenset({"mp3", "mp3float"})),
}
_MAX_BARREN_PACKETS = 1_000
"""Packets without a sample after which decoding stops, to bound the time."""


def media_pieces(data: bytes, codec: Codec) -> Iterator[tuple[int, Planar]]:
    """Decode the first audio stream of a container. Damaged parts are skipped.

    Each piece comes with its rate in Hz, the same for all.

    Raises CorruptAudioError when nothing decodes, UnsupportedFormatError for a codec, rate or
    channel count that is not taken.
    """
    try:
        if codec is Codec.MP4:
            yield from _of_one_form(_mp4_frames(data), codec)
        else:
            yield from _of_one_form(_container_frames(data, codec), codec)
    except DECODER_ERRORS as error:
        raise CorruptAudioError(f"{codec} audio could not be read") from error


def frame_to_planar(frame: av.AudioFrame) -> Planar:
    """The samples of a decoded frame at its rate."""
    channels = len(frame.layout.channels)
    samples = scale(frame.to_ndarray())
    if frame.format.is_planar:
        return samples.reshape(channels, -1)
    return np.ascontiguousarray(samples.reshape(-1, channels).T)


def _of_one_form(frames: Iterator[av.AudioFrame], codec: Codec) -> Iterator[tuple[int, Planar]]:
    """The samples of the frames, until the rate or the number of channels changes."""
    form: AudioFormat | None = None
    for frame in frames:
        channels = len(frame.layout.channels)
        if form is None:
            form = check_range(codec, frame.sample_rate, channels)
        if (frame.sample_rate, channels) != (form.rate, form.channels):
            break
        yield form.rate, frame_to_planar(frame)
    if form is None:
        raise CorruptAudioError(f"{codec} data holds no sample that could be decoded")


def _mp4_frames(data: bytes) -> Iterator[av.AudioFrame]:
    audio = read_mp4(data)
    context = AudioCodecContext.create(audio.coding.decoder, "r")
    context.extradata = audio.coding.extradata
    return _decoded(context, (av.Packet(bytes(frame)) for frame in audio.frames))


def _container_frames(data: bytes, codec: Codec) -> Iterator[av.AudioFrame]:
    demuxer, accepted = _DEMUXERS[codec]
    with av.open(BytesIO(data), mode="r", format=demuxer, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise CorruptAudioError(f"{codec} data holds no audio stream")
        stream = container.streams.audio[0]
        context = stream.codec_context
        if context is None or context.name not in accepted:
            name = "unknown" if context is None else context.name
            known = ", ".join(sorted(accepted))
            raise UnsupportedFormatError(f"{codec} with {name} audio; send {known}")
        yield from _decoded(context, _packets(container, stream))


def _decoded(
    context: AudioCodecContext, packets: Iterable[av.Packet[Any]]
) -> Iterator[av.AudioFrame]:
    """Decoded frames. Stops after `_MAX_BARREN_PACKETS` packets without a frame."""
    barren = 0
    for packet in packets:
        frames: list[av.AudioFrame] = []
        with suppress(*DECODER_ERRORS):
            frames = context.decode(packet)
        yield from frames
        barren = 0 if frames else barren + 1
        if barren > _MAX_BARREN_PACKETS:
            return


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[av.Packet[av.AudioStream]]:
    with suppress(*DECODER_ERRORS):
        yield from container.demux(stream)
