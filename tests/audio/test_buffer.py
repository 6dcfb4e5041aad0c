from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap, estimated_seconds, whole
from stt_mqtt.audio.decode import decode
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import WHOLE_ONLY, AudioFormat, Codec, EncodedAudio
from tests.audio.synth import chunk, container, fmt, framed, is_tone, opus_packets, riff, s16, tone
from tests.thorough import examples

CAP = AudioCap(30.0, 2 * 1024 * 1024)
MONO = AudioFormat()
STUDIO = AudioFormat(Codec.PCM_S16LE, 48_000, 2)
ADPCM = AudioFormat(Codec.ADPCM_IMA)
OPUS = AudioFormat(Codec.OPUS, 48_000, 1)
CHUNKED = [codec for codec in Codec if codec not in WHOLE_ONLY]

SILK_20_MS = b"\x08"
CELT_2_5_MS = b"\xe0"
STREAMS = [Codec.FLAC, Codec.OGG, Codec.WEBM, Codec.WAV]


def fill(buffer: AudioBuffer, chunk: bytes) -> int:
    """Chunks until one is refused."""
    count = 0
    while buffer.append(chunk):
        count += 1
    return count


def test_pcm_comes_out_as_it_went_in() -> None:
    buffer = AudioBuffer(MONO, CAP)
    assert buffer.append(b"ab")
    assert buffer.append(b"cdef")
    assert buffer.close() == EncodedAudio(MONO, b"abcdef")


def test_a_sample_may_be_split_between_chunks() -> None:
    buffer = AudioBuffer(MONO, CAP)
    assert buffer.append(b"a")
    assert buffer.seconds == 0.0
    assert buffer.append(b"bc")
    assert buffer.seconds == 1 / 16_000
    assert buffer.nbytes == 3
    assert len(decode(buffer.close(), 30.0).samples) == 1


def test_of_pcm_over_the_cap_the_fitting_samples_are_kept() -> None:
    buffer = AudioBuffer(MONO, AudioCap(0.001, 2**20))
    assert buffer.append(b"a" * 31)
    assert not buffer.append(b"b" * 31)
    assert buffer.seconds == 0.001
    assert not buffer.append(b"c")
    assert buffer.close().data == b"a" * 31 + b"b"


def test_the_byte_cap_cuts_pcm_at_a_whole_sample() -> None:
    buffer = AudioBuffer(AudioFormat(Codec.PCM_F32LE, 8_000, 2), AudioCap(30.0, 21))
    assert not buffer.append(bytes(100))
    assert buffer.nbytes == 16


def test_exactly_the_cap_is_not_over_it() -> None:
    buffer = AudioBuffer(MONO, AudioCap(1.0, 2**20))
    assert buffer.append(bytes(32_000))
    assert buffer.seconds == 1.0
    assert buffer.append(b"")
    assert not buffer.append(b"a")


def test_a_flood_of_single_bytes_stays_at_the_cap() -> None:
    buffer = AudioBuffer(MONO, AudioCap(1.0, 2**20))
    assert fill(buffer, b"x") == 32_000
    for _ in range(1000):
        assert not buffer.append(b"x")
    assert buffer.nbytes == 32_000


def test_lost_pcm_chunks_are_as_long_as_the_last_good_one() -> None:
    buffer = AudioBuffer(MONO, CAP)
    buffer.append_loss(3)
    assert buffer.nbytes == 0
    buffer.append(b"ab")
    buffer.append(b"cdef")
    buffer.append(b"")
    buffer.append_loss(2)
    buffer.append(b"gh")
    assert buffer.close().data == b"abcdef" + bytes(8) + b"gh"


@pytest.mark.parametrize("codec", CHUNKED)
def test_a_loss_of_billions_of_chunks_stays_at_the_cap(codec: Codec) -> None:
    buffer = AudioBuffer(AudioFormat(codec, 48_000, 2), CAP)
    buffer.append(framed([SILK_20_MS]) * 4)
    buffer.append_loss(2**32)
    assert buffer.nbytes <= CAP.max_bytes
    assert buffer.seconds <= CAP.max_s
    buffer.append_loss(2**32)
    assert buffer.nbytes <= CAP.max_bytes


@pytest.mark.parametrize("codec", [Codec.PCM_S16LE, Codec.PCM_F32LE])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_half_a_minute_of_any_pcm_fits_under_the_byte_cap(
    codec: Codec, rate: int, channels: int
) -> None:
    buffer = AudioBuffer(AudioFormat(codec, rate, channels), CAP)
    second = bytes(rate * channels * (2 if codec is Codec.PCM_S16LE else 4))
    held = 0
    for _ in range(30):
        assert buffer.append(second)
        held = max(held, buffer.nbytes)
    assert buffer.seconds == 30.0
    assert not buffer.append(second)
    assert held <= CAP.max_bytes
    decoded = decode(buffer.close(), 30.0)
    assert len(decoded.samples) == 480_000
    assert not decoded.truncated


def test_large_pcm_is_converted_without_seams() -> None:
    buffer = AudioBuffer(STUDIO, CAP)
    raw = s16(tone(seconds=3.0, rate=48_000), channels=2)
    for start in range(0, len(raw), 1001):
        assert buffer.append(raw[start : start + 1001])
    assert buffer.seconds == 3.0
    assert buffer.nbytes < 3 * 64_000 + 128 * 1024
    audio = buffer.close()
    assert audio.format == AudioFormat(Codec.PCM_S16LE, 16_000, 2)
    assert len(audio.data) == 3 * 64_000
    samples = decode(audio, 30.0).samples
    assert np.abs(samples - tone(seconds=3.0))[200:-200].max() < 1e-3


def test_a_large_message_of_large_pcm_is_converted_in_pieces() -> None:
    buffer = AudioBuffer(STUDIO, CAP)
    assert buffer.append(s16(tone(seconds=10.0, rate=48_000), channels=2))
    assert buffer.nbytes <= 10 * 64_000 + 128 * 1024
    assert is_tone(decode(buffer.close(), 30.0).samples)


def test_lost_chunks_of_large_pcm_are_silence() -> None:
    buffer = AudioBuffer(STUDIO, CAP)
    buffer.append_loss(5)
    assert buffer.seconds == 0.0
    buffer.append(s16(tone(seconds=1.0, rate=48_000), channels=2))
    buffer.append_loss(2)
    assert buffer.seconds == 3.0
    samples = decode(buffer.close(), 30.0).samples
    assert is_tone(samples[:16_000])
    assert not samples[16_200:].any()


@pytest.mark.parametrize("max_bytes", [0, 1, 7, 8, 100, 5_000])
def test_large_pcm_keeps_even_a_tiny_byte_cap(max_bytes: int) -> None:
    buffer = AudioBuffer(STUDIO, AudioCap(30.0, max_bytes))
    for _ in range(20):
        buffer.append(bytes(1_000))
        assert buffer.nbytes <= max_bytes
    assert len(buffer.close().data) <= max_bytes


def test_adpcm_blocks_get_their_length_in_front() -> None:
    buffer = AudioBuffer(ADPCM, CAP)
    assert buffer.append(b"\0\0\0\0\1\2")
    assert buffer.append(b"\0\0\0\0")
    assert buffer.seconds == 6 / 16_000
    assert buffer.nbytes == 18
    assert buffer.close().data == b"\6\0\0\0" + b"\0\0\0\0\1\2" + b"\4\0\0\0" + b"\0\0\0\0"


def test_a_damaged_adpcm_block_is_dropped_and_is_not_the_cap() -> None:
    buffer = AudioBuffer(ADPCM, CAP)
    assert buffer.append(b"\0\0\0")
    assert buffer.append(b"\0\0\x59\0" + bytes(10))
    assert buffer.nbytes == 0


def test_lost_adpcm_chunks_are_blocks_of_silence() -> None:
    buffer = AudioBuffer(ADPCM, CAP)
    buffer.append_loss(1)
    assert buffer.nbytes == 0
    buffer.append(b"\0\0\0\0" + bytes(12))
    buffer.append_loss(2)
    assert buffer.seconds == 75 / 16_000
    samples = decode(buffer.close(), 30.0).samples
    assert len(samples) == 75
    assert not samples.any()


def test_what_the_adpcm_cap_refused_leaves_no_hole() -> None:
    buffer = AudioBuffer(ADPCM, AudioCap(30.0, 100))
    assert buffer.append(bytes(60))
    assert not buffer.append(bytes(60))
    assert not buffer.append(bytes(4))
    assert buffer.nbytes == 64


def test_adpcm_ends_at_the_seconds_cap() -> None:
    buffer = AudioBuffer(ADPCM, AudioCap(0.5, 2**20))
    assert fill(buffer, bytes(254)) == 15
    assert buffer.seconds <= 0.5


@pytest.mark.parametrize(
    ("first", "ms"),
    [
        (b"\x00", 10.0),
        (b"\x08", 20.0),
        (b"\x18", 60.0),
        (b"\x60", 10.0),
        (b"\x68", 20.0),
        (b"\xe0", 2.5),
        (b"\xf8", 20.0),
        (b"\xf9", 40.0),
        (b"\xfa", 40.0),
        (b"\xfb\x06", 120.0),
        (b"\xe3\x30", 120.0),
    ],
)
def test_an_opus_packet_says_how_long_it_is(first: bytes, ms: float) -> None:
    buffer = AudioBuffer(OPUS, CAP)
    assert buffer.append(framed([first + b"x"]))
    assert buffer.seconds * 1000 == ms


@pytest.mark.parametrize("packet", [b"\xfb", b"\xfb\x00", b"\xfb\x07", b"\x1b\x3f"])
def test_an_impossible_opus_packet_ends_its_chunk(packet: bytes) -> None:
    buffer = AudioBuffer(OPUS, CAP)
    good = framed([SILK_20_MS + b"good"])
    assert buffer.append(good + framed([packet, b"\x08never seen"]))
    assert buffer.close().data == good


@pytest.mark.parametrize("rest", [b"\x01", b"\xff\xff", b"\x03\x00ab"])
def test_a_malformed_rest_of_an_opus_chunk_is_dropped(rest: bytes) -> None:
    buffer = AudioBuffer(OPUS, CAP)
    assert buffer.append(framed([SILK_20_MS]) + rest)
    assert buffer.append(rest)
    assert buffer.close().data == framed([SILK_20_MS])


def test_lost_opus_chunks_hold_as_many_packets_as_the_last_good_one() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    buffer.append_loss(7)
    assert buffer.nbytes == 0
    buffer.append(framed([SILK_20_MS, CELT_2_5_MS]))
    buffer.append_loss(2)
    assert buffer.close().data == framed([SILK_20_MS, CELT_2_5_MS, b"", b"", b"", b""])
    assert buffer.seconds * 1000 == 22.5 + 4 * 2.5


def test_an_empty_opus_packet_lasts_as_long_as_the_one_before() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    buffer.append(framed([b"", CELT_2_5_MS, b""]))
    assert buffer.seconds * 1000 == 25.0


def test_an_opus_flood_of_empty_packets_ends_at_the_seconds_cap() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    assert fill(buffer, framed([b""])) == 1500
    assert not buffer.append(framed([CELT_2_5_MS]))
    assert buffer.seconds == 30.0


def test_opus_ends_at_the_byte_cap() -> None:
    buffer = AudioBuffer(OPUS, AudioCap(30.0, 10))
    assert buffer.append(framed([SILK_20_MS + b"12345"]))
    assert not buffer.append(framed([SILK_20_MS]))
    assert buffer.nbytes == 8


@pytest.mark.parametrize("codec", STREAMS)
def test_a_container_is_kept_as_it_comes_up_to_the_byte_cap(codec: Codec) -> None:
    buffer = AudioBuffer(AudioFormat(codec), AudioCap(30.0, 10))
    assert buffer.append(b"12345")
    buffer.append_loss(3)
    assert not buffer.append(b"678901")
    assert not buffer.append(b"2")
    assert buffer.seconds == 0.0
    assert buffer.nbytes == 5
    assert buffer.close() == EncodedAudio(AudioFormat(codec), b"12345")


@settings(max_examples=examples(50), deadline=None)
@given(
    st.sampled_from(CHUNKED),
    st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    st.sampled_from([1, 2]),
    st.integers(0, 3_000),
    st.lists(st.one_of(st.binary(max_size=700), st.integers(0, 50)), max_size=30),
)
def test_whatever_comes_the_caps_hold_and_seconds_are_exact(
    codec: Codec, rate: int, channels: int, max_bytes: int, events: list[bytes | int]
) -> None:
    cap = AudioCap(0.05, max_bytes)
    buffer = AudioBuffer(AudioFormat(codec, rate, channels), cap)
    for event in events:
        if isinstance(event, int):
            buffer.append_loss(event)
        else:
            buffer.append(event)
        assert buffer.nbytes <= max_bytes
        assert buffer.seconds <= cap.max_s
    audio = buffer.close()
    assert len(audio.data) <= max_bytes
    if codec in (Codec.PCM_S16LE, Codec.PCM_F32LE):
        try:
            decoded = decode(audio, 1.0)
        except UnsupportedFormatError:
            # The bytes happen to begin as a file of a kind that is not taken.
            assert audio.format is None
            return
        assert abs(len(decoded.samples) - buffer.seconds * 16_000) <= 1


def test_real_opus_packets_survive_the_buffer() -> None:
    buffer = AudioBuffer(OPUS, CAP)
    for packet in opus_packets(tone(rate=48_000)):
        assert buffer.append(framed([packet]))
    assert buffer.seconds == 1.0
    assert is_tone(decode(buffer.close(), 30.0).samples)


def wave(pcm: bytes, rate: int = 16_000) -> bytes:
    """A file of its own, with the 60-byte header of Rhasspy's satellites."""
    header = riff(fmt(rate=rate), chunk(b"time", b"12345678"), chunk(b"data", pcm))
    assert len(header) == 60 + len(pcm)
    return header


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("declared", [MONO, STUDIO, AudioFormat(Codec.WAV)])
def test_a_wav_file_in_each_chunk_is_one_utterance_without_the_headers(
    declared: AudioFormat,
) -> None:
    buffer = AudioBuffer(declared, CAP)
    sound = s16(tone(seconds=1.0))
    for piece in cut(sound, 1_024):
        assert buffer.append(wave(piece))
    assert buffer.seconds == 1.0
    assert buffer.nbytes == len(sound)
    assert buffer.close() == EncodedAudio(MONO, sound)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_the_header_in_each_chunk_says_its_rate(rate: int) -> None:
    buffer = AudioBuffer(MONO, CAP)
    for piece in cut(s16(tone(rate=rate)), 2 * (rate // 20)):
        assert buffer.append(wave(piece, rate))
    samples = decode(buffer.close(), 30.0).samples
    assert 15_800 < len(samples) <= 16_000
    assert is_tone(samples)


@pytest.mark.parametrize("declared", [MONO, AudioFormat(Codec.WAV)])
@pytest.mark.parametrize("size", [44, 500, 1_024])
def test_a_wav_stream_whose_first_chunk_alone_has_the_header(
    declared: AudioFormat, size: int
) -> None:
    """The header is believed: a device may be said to speak at another rate."""
    data = riff(fmt(rate=8_000), chunk(b"data", s16(tone(rate=8_000)), 0))
    buffer = AudioBuffer(declared, CAP)
    for piece in cut(data, size):
        assert buffer.append(piece)
    samples = decode(buffer.close(), 30.0).samples
    assert len(samples) == 16_000
    assert is_tone(samples)


def test_a_wav_stream_may_begin_with_half_a_header() -> None:
    data = riff(fmt(), chunk(b"data", s16(tone()), 0))
    buffer = AudioBuffer(AudioFormat(Codec.WAV), CAP)
    for piece in cut(data, 10):
        assert buffer.append(piece)
    assert is_tone(decode(buffer.close(), 30.0).samples)


def test_a_damaged_file_among_the_chunks_is_dropped() -> None:
    buffer = AudioBuffer(MONO, CAP)
    first, second = b"ab" * 400, b"cd" * 400
    for part in (wave(first), wave(second), b"no header", wave(b""), wave(first)[:30]):
        assert buffer.append(part)
    assert buffer.close().data == first + second


def test_lost_chunks_among_wav_files_are_silence() -> None:
    buffer = AudioBuffer(MONO, CAP)
    buffer.append_loss(1)
    buffer.append(wave(b"ab" * 400))
    buffer.append_loss(1)
    assert buffer.seconds == 0.0
    buffer.append(wave(b"cd" * 400))
    buffer.append_loss(2)
    assert buffer.close().data == b"ab" * 400 + b"cd" * 400 + bytes(1600)


def test_wav_files_end_at_the_caps() -> None:
    frame = wave(s16(tone(seconds=0.1)))
    buffer = AudioBuffer(MONO, AudioCap(1.0, 2**20))
    assert fill(buffer, frame) == 10
    assert buffer.seconds == 1.0
    buffer = AudioBuffer(MONO, AudioCap(30.0, 10_000))
    fill(buffer, frame)
    assert buffer.nbytes == 10_000
    buffer = AudioBuffer(MONO, AudioCap(0.05, 2**20))
    assert fill(buffer, frame) <= 1
    assert buffer.seconds <= 0.05


def test_wav_files_of_a_kind_that_is_not_taken_are_answered_so() -> None:
    frame = riff(fmt(channels=6), chunk(b"data", bytes(1_200)))
    buffer = AudioBuffer(MONO, CAP)
    for _ in range(3):
        assert buffer.append(frame)
    with pytest.raises(UnsupportedFormatError, match="channels is 6"):
        decode(buffer.close(), 30.0)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [("ogg", "libopus", 48_000), ("webm", "libopus", 48_000), ("flac", "flac", 16_000),
     ("ipod", "aac", 44_100), ("mp3", "libmp3lame", 16_000)],
)  # fmt: skip
def test_a_file_where_pcm_was_expected_is_decoded_as_what_it_is(
    kind: str, codec: str, rate: int
) -> None:
    buffer = AudioBuffer(MONO, CAP)
    assert buffer.append(b"")
    for piece in cut(container(kind, codec, tone(rate=rate), rate), 4_000):
        assert buffer.append(piece)
    assert buffer.seconds == 0.0
    assert is_tone(decode(buffer.close(), 30.0).samples[1_000:16_000])


def test_a_file_of_another_kind_where_pcm_was_expected_is_answered_so() -> None:
    buffer = AudioBuffer(MONO, CAP)
    for piece in cut(container("aiff", "pcm_s16be", tone()), 4_000):
        assert buffer.append(piece)
    with pytest.raises(UnsupportedFormatError, match="AIFF"):
        decode(buffer.close(), 30.0)


def test_a_file_where_pcm_was_expected_ends_at_the_byte_cap() -> None:
    buffer = AudioBuffer(MONO, AudioCap(30.0, 20_000))
    assert buffer.append(container("flac", "flac", np.zeros(1_600, np.float32)))
    assert not buffer.append(bytes(20_000))
    assert buffer.nbytes < 20_000


def test_only_the_first_chunk_of_pcm_can_begin_a_file() -> None:
    buffer = AudioBuffer(MONO, CAP)
    flac = container("flac", "flac", tone())
    assert buffer.append(b"ab")
    assert buffer.append(flac)
    assert buffer.close() == EncodedAudio(MONO, b"ab" + flac)


def test_a_whole_message_of_another_kind_is_refused() -> None:
    with pytest.raises(UnsupportedFormatError, match="AIFF"):
        whole(container("aiff", "pcm_s16be", tone()), MONO)


def test_a_whole_message_is_known_by_its_container() -> None:
    flac = container("flac", "flac", tone())
    assert whole(flac, ADPCM) == EncodedAudio(AudioFormat(Codec.FLAC), flac)


def test_a_whole_message_without_a_container_is_in_the_device_format() -> None:
    assert whole(b"\0\0", STUDIO) == EncodedAudio(STUDIO, b"\0\0")


def test_a_whole_adpcm_message_is_one_block() -> None:
    block = struct.pack("<hBB", 100, 0, 0) + bytes(8)
    assert len(decode(whole(block, ADPCM), 30.0).samples) == 17


WAV_HEADER = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16)


@pytest.mark.parametrize(
    ("audio", "seconds"),
    [
        (EncodedAudio(AudioFormat(Codec.PCM_S16LE, 16_000, 2), bytes(64_000)), 1.0),
        (EncodedAudio(AudioFormat(Codec.PCM_F32LE, 8_000, 1), bytes(64_000)), 2.0),
        (EncodedAudio(AudioFormat(Codec.WAV), WAV_HEADER + b"data\0\0\0\0" + bytes(192_000)), 1.0),
        (EncodedAudio(AudioFormat(Codec.WAV), b"RIFF" + bytes(7_996)), 1.0),
        (EncodedAudio(AudioFormat(Codec.FLAC), bytes(64_000)), 2.0),
        (EncodedAudio(AudioFormat(Codec.OGG), bytes(16_000)), 2.0),
        (EncodedAudio(None, bytes(8_000)), 1.0),
    ],
)
def test_pcm_is_measured_and_coded_audio_guessed(audio: EncodedAudio, seconds: float) -> None:
    assert estimated_seconds(audio) == pytest.approx(seconds)
