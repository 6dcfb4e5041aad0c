"""Whole files, as a message or a file on disk has them. FFmpeg decodes most of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from stt_mqtt.audio.buffer import estimated_seconds, whole
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.magic import foreign_kind
from stt_mqtt.audio.mp4 import read_mp4
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio
from tests.fuzz.audio_seeds import all_seeds, seeds
from tests.fuzz.target import How, Target

MAX_S = 30.0
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_PAGE_HEADER = 27
_MOST_FRAMES = 100_000


def check_decoding(audio: EncodedAudio) -> None:
    """Decode as the pipeline does. Only the errors of an utterance may come."""
    with suppress(UtteranceError):
        decoded = decode(audio, MAX_S)
        assert decoded.samples.dtype == np.float32
        assert len(decoded.samples) <= MAX_S * SAMPLE_RATE
        assert np.isfinite(decoded.samples).all()


def _decodes(codec: Codec) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        check_decoding(EncodedAudio(AudioFormat(codec), data))

    return run


def _ogg(data: bytes) -> None:
    """Half of the cases get right checksums. FFmpeg does not look into pages with wrong ones."""
    if sum(data[-4:]) % 2:
        data = with_checksums(data)
    check_decoding(EncodedAudio(AudioFormat(Codec.OGG), data))


def with_checksums(data: bytes) -> bytes:
    """The same Ogg file with the right checksum in each of its pages."""
    fixed, at = bytearray(data), 0
    while (at := fixed.find(b"OggS", at)) >= 0 and at + _PAGE_HEADER <= len(fixed):
        start = at + _PAGE_HEADER + fixed[at + 26]
        end = start + sum(fixed[at + _PAGE_HEADER : start])
        fixed[at + 22 : at + 26] = bytes(4)
        crc = zlib.crc32(bytes(fixed[at:end]).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        # The polynomial of zlib, but with the bits in the other order, and without its inversions.
        fixed[at + 22 : at + 26] = crc.to_bytes(4, "little").translate(_REVERSED)[::-1]
        at = max(end, at + 4)
    return bytes(fixed)


def _single(data: bytes) -> None:
    """A message of unknown kind on `stt/<device>/utterance`."""
    foreign_kind(data)
    with suppress(UtteranceError):
        audio = whole(data, AudioFormat())
        assert estimated_seconds(audio) >= 0
        check_decoding(audio)
        check_decoding(EncodedAudio(None, data))


def _wav_walker(data: bytes) -> None:
    with suppress(UtteranceError):
        pcm = parse_wav(data)
        if pcm is not None:
            pcm.planar(0, pcm.frames)


def _mp4_boxes(data: bytes) -> None:
    """The frames that the index names. They lie within the file, but may overlap."""
    with suppress(UtteranceError):
        for number, frame in enumerate(read_mp4(data).frames):
            assert len(frame) <= len(data)
            if number > _MOST_FRAMES:
                break


TARGETS = (
    Target("wav", _decodes(Codec.WAV), 20_000, How.MUTATED, lambda: list(seeds("wav"))),
    Target("wav-walker", _wav_walker, 120_000, seeds=lambda: list(seeds("wav"))),
    Target("flac", _decodes(Codec.FLAC), 20_000, How.MUTATED, lambda: list(seeds("flac"))),
    Target("ogg", _ogg, 25_000, How.MUTATED, lambda: list(seeds("ogg")), 4096),
    Target("webm", _decodes(Codec.WEBM), 15_000, How.MUTATED, lambda: list(seeds("webm")), 4400),
    Target("mp4", _decodes(Codec.MP4), 20_000, How.MUTATED, lambda: list(seeds("mp4")), 4096),
    Target("mp4-boxes", _mp4_boxes, 80_000, seeds=lambda: list(seeds("mp4")), max_bytes=2560),
    Target("mp3", _decodes(Codec.MP3), 12_000, How.MUTATED, lambda: list(seeds("mp3")), 4096),
    Target("any-file", _single, 8_000, How.MUTATED, all_seeds, 4096),
)
