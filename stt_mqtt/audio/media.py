"""Decodes containers in memory with PyAV: FLAC, Ogg, WebM, MP4, MP3 and compressed WAV.

The demuxer is always named, so FFmpeg never selects a format that opens other files or addresses.
The MP4 demuxer of FFmpeg could do that, so `read_mp4` parses MP4, and FFmpeg only decodes. The
others get the file without its metadata (`bare`), and cannot seek in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from stt_mqtt.audio.bare import bare_file
from stt_mqtt.audio.formats import check_range
from stt_mqtt.audio.mp4 import read_mp4
from stt_mqtt.audio.packets import DECODER_ERRORS, DECODER_OPTIONS, frame_to_planar
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, Planar

_DEMUXERS = {
    Codec.WAV: ("wav", frozenset({"adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"})),
    Codec.FLAC: ("flac", frozenset({"flac"})),
    Codec.OGG: ("ogg", frozenset({"opus", "vorbis", "flac"})),
    Codec.WEBM: ("matroska", frozenset({"opus", "vorbis", "pcm_f32le", "pcm_s16le"})),
    Codec.MP3: ("mp3", frozenset({"mp3", "mp3float"})),
}
_CONTAINER_OPTIONS = {
    "protocol_whitelist": "none",
    "max_streams": "16",
    "probesize": "65536",
    "formatprobesize": "2048",
    "analyzeduration": "1000000",
    "max_probe_packets": "100",
}
"""No address may be opened. A file may have 16 streams. To learn what a stream is, FFmpeg reads at
most 64 KiB, 100 packets and 1 s (in µs) of it."""
_FREE_STEPS = 1_000
_STEPS_PER_S = 400
"""Most packets and frames, to bound the time: some without any sample, and those that a second of
audio may have. The shortest frame of Opus has 2.5 ms."""


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
            yield from _of_one_form(_container_frames(*bare_file(data, codec)), codec)
    except DECODER_ERRORS as error:
        raise CorruptAudioError(f"{codec} audio could not be read") from error


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
    context.options = DECODER_OPTIONS
    return _decoded(context, (av.Packet(bytes(frame)) for frame in audio.frames))


def _container_frames(data: bytes, codec: Codec) -> Iterator[av.AudioFrame]:
    demuxer, accepted = _DEMUXERS[codec]
    names = ",".join(sorted(accepted))
    options = _CONTAINER_OPTIONS | {"format_whitelist": demuxer, "codec_whitelist": names}
    with av.open(
        _Reader(data), "r", demuxer, container_options=options, metadata_errors="replace"
    ) as container:
        if not container.streams.audio:
            raise CorruptAudioError(f"{codec} data holds no audio stream")
        stream = container.streams.audio[0]
        context = stream.codec_context
        if context is None or context.name not in accepted:
            name = "unknown" if context is None else context.name
            raise UnsupportedFormatError(f"{codec} with {name} audio; send {names}")
        for other in container.streams:
            other.discard = Discard.default if other is stream else Discard.all
        context.options = DECODER_OPTIONS
        yield from _decoded(context, _packets(container, stream))


class _Reader:
    """A file that FFmpeg can only read from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self.read = BytesIO(data).read


def _decoded(
    context: AudioCodecContext, packets: Iterable[av.Packet[Any]]
) -> Iterator[av.AudioFrame]:
    """Decoded frames. Stops after too many packets or frames for the length of the audio."""
    steps = float(_FREE_STEPS)
    for packet in packets:
        frames: list[av.AudioFrame] = []
        if packet.size or packet.stream is not None:
            with suppress(*DECODER_ERRORS):
                frames = context.decode(packet)
        for frame in frames:
            steps += _STEPS_PER_S * frame.samples / frame.sample_rate - 1
            yield frame
        steps -= 1
        if steps < 0:
            return


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[av.Packet[av.AudioStream]]:
    with suppress(*DECODER_ERRORS):
        yield from container.demux(stream)
