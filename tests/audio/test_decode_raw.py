"""Raw PCM, IMA ADPCM and Opus packets."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.adpcm import adpcm_pieces
from stt_mqtt.audio.decode import Decoding, decode
from stt_mqtt.errors import CorruptAudioError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import container, framed, is_tone, level_at, opus_packets, s16, tone
from tests.thorough import examples

SHIFTS = av.library_versions["libavcodec"] >= (62, 28)
S16 = AudioFormat()
F32 = AudioFormat(Codec.PCM_F32LE)
OPUS = AudioFormat(Codec.OPUS)


def samples_of(audio_format: AudioFormat, data: bytes) -> Samples:
    return decode(EncodedAudio(audio_format, data), 30.0).samples


def blocks(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def test_16_bit_samples_are_scaled_by_32768() -> None:
    found = samples_of(S16, struct.pack("<4h", 0, 16384, -32768, 32767))
    assert found.dtype == np.float32
    assert found.tolist() == [0.0, 0.5, -1.0, 32767 / 32768]


def test_an_incomplete_last_sample_is_dropped() -> None:
    assert len(samples_of(S16, bytes(5))) == 2
    assert len(samples_of(AudioFormat(Codec.PCM_F32LE, 16_000, 2), bytes(15))) == 1


def test_no_bytes_are_no_samples() -> None:
    assert len(samples_of(S16, b"")) == 0
    assert len(samples_of(AudioFormat(rate=48_000), b"")) == 0


def test_floats_that_are_no_numbers_become_silence_and_too_large_ones_full_scale() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 7.5, -3e38, 0.25], "<f4").tobytes()
    data += b"\x01\x00\xa0\x7f"  # a signalling NaN
    assert samples_of(F32, data).tolist() == [0, 0, 0, 1, -1, 0.25, 0]


def test_stereo_is_the_mean_of_both_sides() -> None:
    data = struct.pack("<4h", 16384, 0, -16384, 16384)
    assert samples_of(AudioFormat(channels=2), data).tolist() == [0.25, 0.0]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_is_brought_to_16_khz(rate: int, channels: int) -> None:
    found = samples_of(AudioFormat(rate=rate, channels=channels), s16(tone(rate=rate), channels))
    assert len(found) == 16_000
    assert is_tone(found)


def test_a_tone_above_hearing_at_48_khz_vanishes() -> None:
    found = samples_of(AudioFormat(rate=48_000), s16(tone(10_000, rate=48_000)))
    assert np.abs(found[500:-500]).max() < 1e-3


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_pcm_beyond_the_limit_is_left_out_and_said(rate: int) -> None:
    data = s16(tone(seconds=1.0, rate=rate))
    whole = decode(EncodedAudio(AudioFormat(rate=rate), data), 1.0)
    assert (len(whole.samples), whole.truncated) == (16_000, False)
    half = decode(EncodedAudio(AudioFormat(rate=rate), data), 0.5)
    assert (len(half.samples), half.truncated) == (8_000, True)


@pytest.mark.parametrize("channels", [1, 2])
def test_adpcm_equals_an_independent_decoder(channels: int) -> None:
    rate = 16_000
    loud = np.clip(2 * tone(300, 0.5, level=0.6) + tone(2_100, 0.5, level=0.4), -1, 1)
    loud[4_000:] *= np.linspace(1, 0, 4_000, dtype=np.float32)
    wav = container("wav", "adpcm_ima_wav", loud, rate, channels)
    block_size = int.from_bytes(wav[32:34], "little")
    at = wav.index(b"data")
    payload = wav[at + 8 : at + 8 + int.from_bytes(wav[at + 4 : at + 8], "little")]
    parts = [payload[i : i + block_size] for i in range(0, len(payload), block_size)]
    reference = decode(EncodedAudio(None, wav), 30.0).samples
    found = samples_of(AudioFormat(Codec.ADPCM_IMA, rate, channels), blocks(*parts))
    assert len(found) == len(reference) > 8_000
    # FFmpeg before 8.1 multiplies where the standard shifts; that may drift within a block.
    assert np.abs(found - reference).max() <= (0.0 if SHIFTS else 0.02)
    assert np.abs(found[1_000:8_000] - loud[1_000:]).mean() < 0.05


def test_adpcm_reads_the_low_half_of_a_byte_first() -> None:
    block = struct.pack("<hBB", 1000, 0, 0) + b"\x07"
    found = samples_of(AudioFormat(Codec.ADPCM_IMA), blocks(block))
    assert (found * 32768).tolist() == [1000, 1011, 1013]


def test_adpcm_stays_within_16_bits() -> None:
    up = struct.pack("<hBB", 32000, 88, 0) + b"\x77" * 4
    down = struct.pack("<hBB", -32000, 88, 0) + b"\xff" * 4
    found = samples_of(AudioFormat(Codec.ADPCM_IMA), blocks(up, down)) * 32768
    assert found[1:9].tolist() == [32767] * 8
    assert found[10:].tolist() == [-32768] * 8


def test_stereo_adpcm_takes_four_bytes_of_each_side_in_turn() -> None:
    left, right = struct.pack("<hBB", 8000, 0, 0), struct.pack("<hBB", -8000, 0, 0)
    block = left + right + (b"\x33" * 4 + b"\xbb" * 4) * 2 + b"odd"
    found = decode(
        EncodedAudio(AudioFormat(Codec.ADPCM_IMA, 16_000, 2), blocks(block)), 1.0
    ).samples
    assert len(found) == 17
    assert not found.any()


@pytest.mark.parametrize("bad", [b"", b"\0\0\0", struct.pack("<hBB", 0, 89, 0) + bytes(9)])
def test_a_damaged_adpcm_block_is_skipped(bad: bytes) -> None:
    good = struct.pack("<hBB", 5, 0, 0)
    found = samples_of(AudioFormat(Codec.ADPCM_IMA), blocks(good, bad, good))
    assert len(found) == 2
    with pytest.raises(CorruptAudioError):
        samples_of(AudioFormat(Codec.ADPCM_IMA), blocks(bad))


@pytest.mark.parametrize("size", [4, 100, 30_000])
def test_adpcm_beyond_the_limit_is_left_out_and_said(size: int) -> None:
    data = blocks(*[bytes(size)] * (20_000 // size))
    frames = (1 + 2 * (size - 4)) * (20_000 // size) if size < 30_000 else 0
    data = data or blocks(bytes(size))
    found = decode(EncodedAudio(AudioFormat(Codec.ADPCM_IMA, 8_000), data), 0.1)
    assert (len(found.samples), found.truncated) == (1_600, True)
    if frames:
        everything = decode(EncodedAudio(AudioFormat(Codec.ADPCM_IMA, 8_000), data), 10.0)
        assert (len(everything.samples), everything.truncated) == (2 * frames, False)


@pytest.mark.parametrize("frame_ms", ["2.5", "10", "20", "60"])
@pytest.mark.parametrize("channels", [1, 2])
def test_raw_opus_packets_are_decoded(frame_ms: str, channels: int) -> None:
    packets = opus_packets(tone(seconds=1.2, rate=48_000), channels, frame_ms)
    found = samples_of(AudioFormat(Codec.OPUS, 16_000, channels), framed(packets))
    assert len(found) == 19_200
    assert is_tone(found)


def test_a_lost_opus_packet_is_silence_of_the_length_of_the_one_before() -> None:
    packets = opus_packets(tone(seconds=0.5, rate=48_000), frame_ms="10")
    with_loss = [b"", *packets, b"", b""]
    found = samples_of(AudioFormat(Codec.OPUS), framed(with_loss))
    assert len(found) == 16 * (20 + 500 + 2 * 10)
    assert not found[:300].any()
    assert is_tone(found[1_000:8_000])


def test_an_opus_packet_that_does_not_decode_is_silence() -> None:
    packets = opus_packets(tone(seconds=0.5, rate=48_000))
    found = samples_of(AudioFormat(Codec.OPUS), framed([*packets, b"\xff\x41" + b"x" * 9]))
    assert len(found) == 16 * (500 + 20)


@pytest.mark.parametrize("data", [b"", b"\x01", framed([b"", b""]), framed([b"\xff\x41xx"]) * 3])
def test_opus_without_a_packet_that_decodes_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptAudioError):
        samples_of(AudioFormat(Codec.OPUS), data)


def test_opus_beyond_the_limit_is_left_out_and_said() -> None:
    data = framed(opus_packets(tone(seconds=1.0, rate=48_000)))
    found = decode(EncodedAudio(AudioFormat(Codec.OPUS), data), 0.5)
    assert (len(found.samples), found.truncated) == (8_000, True)
    assert level_at(found.samples, 440) > 0.4


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from([Codec.PCM_S16LE, Codec.PCM_F32LE, Codec.ADPCM_IMA, Codec.OPUS]),
    st.integers(8_000, 48_000),
    st.sampled_from([1, 2]),
    st.one_of(
        st.binary(max_size=2_000),
        st.lists(st.binary(max_size=100), max_size=20).map(framed),
        st.lists(st.binary(max_size=100), max_size=20).map(lambda parts: blocks(*parts)),
    ),
)
def test_any_bytes_give_audio_or_are_corrupt(
    codec: Codec, rate: int, channels: int, data: bytes
) -> None:
    try:
        found = decode(EncodedAudio(AudioFormat(codec, rate, channels), data), 0.1)
    except CorruptAudioError:
        assert codec in (Codec.ADPCM_IMA, Codec.OPUS)
        return
    assert found.samples.dtype == np.float32
    assert len(found.samples) <= 1_600
    assert np.isfinite(found.samples).all()
    assert not len(found.samples) or np.abs(found.samples).max() <= 1.0


def test_a_stream_of_lost_opus_packets_is_given_up() -> None:
    packets = opus_packets(tone(rate=48_000))
    found = samples_of(OPUS, framed([b""] * 100 + packets))
    assert not found[:31_000].any()
    assert is_tone(found[32_000:])
    with pytest.raises(CorruptAudioError):
        decode(EncodedAudio(OPUS, framed([b""] * 3_001 + packets)), 3_600.0)


def test_a_huge_adpcm_block_is_expanded_in_parts() -> None:
    for channels in (1, 2):
        block = bytes(4 * channels) + bytes(200_000)
        audio = EncodedAudio(AudioFormat(Codec.ADPCM_IMA, 16_000, channels), blocks(block))
        expanded = list(adpcm_pieces(audio.data, AudioFormat(Codec.ADPCM_IMA, 16_000, channels)))
        assert max(piece.shape[1] for piece in expanded) < 40_000
        assert sum(map(len, Decoding(audio))) == 1 + 400_000 // channels
