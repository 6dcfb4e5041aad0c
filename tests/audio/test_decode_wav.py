"""WAV files as they are met: the walker, its clamps, and the sample types."""

from __future__ import annotations

import struct
from io import BytesIO
from wave import open as open_wave

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import chunk, container, fmt, is_tone, riff, s16, tone
from tests.thorough import examples

SOUND = s16(tone(seconds=0.1))
WAV = AudioFormat(Codec.WAV)


def decode_wav(data: bytes, max_s: float = 30.0) -> Decoded:
    return decode(EncodedAudio(None, data), max_s)


def hears_the_sound(data: bytes) -> bool:
    expected = np.frombuffer(SOUND, "<i2") / np.float32(32768)
    return np.array_equal(decode_wav(data).samples, expected)


def test_the_classic_44_byte_header() -> None:
    data = riff(fmt(), chunk(b"data", SOUND), size=36 + len(SOUND))
    assert data.index(SOUND) == 44
    assert hears_the_sound(data)


@pytest.mark.parametrize("size", [0, 1, 36 + len(SOUND) + 8, 0xFFFFFFFF])
def test_a_wrong_riff_size_does_not_matter(size: int) -> None:
    assert hears_the_sound(riff(fmt(), chunk(b"data", SOUND), size=size))


def test_a_60_byte_header_with_an_unknown_chunk() -> None:
    data = riff(fmt(), chunk(b"time", b"12345678"), chunk(b"data", SOUND))
    assert data.index(SOUND) == 60
    assert hears_the_sound(data)


@pytest.mark.parametrize("pad", [b"", b"\0", b"x"])
@pytest.mark.parametrize("name", [b"time", b"rpid", b"rprf", b"LIST"])
def test_chunks_of_odd_length_with_and_without_a_pad_byte(name: bytes, pad: bytes) -> None:
    odd = chunk(name, b"odd", pad=pad)
    assert hears_the_sound(riff(odd, fmt(), odd, chunk(b"data", SOUND)))


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_odd_chunks_in_a_row(pad: bytes) -> None:
    odd = chunk(b"rpid", b"kitchen", pad=pad) + chunk(b"rprf", b"1", pad=pad)
    assert hears_the_sound(riff(fmt(), odd, chunk(b"data", SOUND)))


@pytest.mark.parametrize("size", [len(SOUND) + 512, 0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_data_size_that_claims_more_than_follows_is_clamped(size: int) -> None:
    assert hears_the_sound(riff(fmt(), chunk(b"data", SOUND, size)))


def test_what_stands_behind_the_data_is_not_heard() -> None:
    assert hears_the_sound(riff(fmt(), chunk(b"data", SOUND), chunk(b"LIST", b"INFO" * 50)))


def test_a_format_behind_other_chunks_and_an_empty_data_chunk() -> None:
    assert hears_the_sound(
        riff(chunk(b"JUNK", bytes(28)), fmt(), chunk(b"fact", bytes(4)), chunk(b"data", SOUND))
    )


def test_the_subformat_of_an_extensible_header() -> None:
    guid = b"\x01\0" + bytes.fromhex("000000001000800000aa00389b71")
    extra = struct.pack("<HHI", 22, 16, 4) + guid
    assert hears_the_sound(riff(fmt(tag=0xFFFE, extra=extra), chunk(b"data", SOUND)))


def test_an_extensible_header_without_its_extension_is_unreadable() -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        decode_wav(riff(fmt(tag=0xFFFE), chunk(b"data", SOUND)))


@pytest.mark.parametrize(
    ("tag", "bits", "values", "expected"),
    [
        (1, 8, np.array([128, 0, 192], "u1"), [0.0, -1.0, 0.5]),
        (1, 16, np.array([0, -32768, 16384], "<i2"), [0.0, -1.0, 0.5]),
        (1, 12, np.array([0, -32768, 16384], "<i2"), [0.0, -1.0, 0.5]),
        (1, 32, np.array([0, -(2**31), 2**30], "<i4"), [0.0, -1.0, 0.5]),
        (3, 32, np.array([np.nan, -9.0, 0.5], "<f4"), [0.0, -1.0, 0.5]),
        (3, 64, np.array([np.inf, -1e300, 0.5], "<f8"), [0.0, -1.0, 0.5]),
    ],
)
def test_every_sample_type(
    tag: int, bits: int, values: npt.NDArray[np.generic], expected: list[float]
) -> None:
    data = riff(fmt(tag=tag, bits=bits), chunk(b"data", values.tobytes() + b"\0"[: bits == 16]))
    assert decode_wav(data).samples.tolist() == expected


def test_24_bit_samples() -> None:
    data = riff(fmt(bits=24), chunk(b"data", bytes.fromhex("000000 000080 000040 010000 ffff")))
    assert decode_wav(data).samples.tolist() == [0.0, -1.0, 0.5, 2**-23]


def fmt_24_in_32(channels: int = 1, rate: int = 16_000, extra: bytes = b"", tag: int = 1) -> bytes:
    """The header that `arecord -f S24_LE` writes: 24 bits, and blocks of 4 bytes per channel."""
    block = 4 * channels
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, 24)
    return chunk(b"fmt ", head + extra)


LOW_24 = np.array([0, -(2**23), 2**22, 1, -1, 2**23 - 1], "<i4")


@pytest.mark.parametrize("top", ["sign", "zero", "junk"])
def test_arecord_s24_le_has_its_24_bits_in_the_low_bytes(top: str) -> None:
    data = LOW_24.copy()
    if top != "sign":
        data.view("u1").reshape(-1, 4)[:, 3] = 0 if top == "zero" else range(90, 96)
    found = decode_wav(riff(fmt_24_in_32(), chunk(b"data", data.tobytes() + b"odd"))).samples
    assert found.tolist() == [0.0, -1.0, 0.5, 2**-23, -(2**-23), 1 - 2**-23]


@pytest.mark.parametrize("top", ["sign", "zero"])
def test_24_bits_from_a_16_bit_microphone_are_still_the_low_ones(top: str) -> None:
    data = LOW_24[:3].copy()
    if top == "zero":
        data &= 0xFFFFFF
    found = decode_wav(riff(fmt_24_in_32(), chunk(b"data", data.tobytes()))).samples
    assert found.tolist() == [0.0, -1.0, 0.5]


def test_24_bits_in_the_high_bytes_as_the_standard_has_it() -> None:
    data = (LOW_24 << 8).tobytes()
    found = decode_wav(riff(fmt_24_in_32(), chunk(b"data", data))).samples
    assert found.tolist() == [0.0, -1.0, 0.5, 2**-23, -(2**-23), 1 - 2**-23]


@pytest.mark.parametrize("valid_bits", [20, 24, 32])
def test_an_extensible_header_has_its_valid_bits_in_the_high_ones(valid_bits: int) -> None:
    guid = b"\x01\0" + bytes.fromhex("000000001000800000aa00389b71")
    extra = struct.pack("<HHI", 22, valid_bits, 4) + guid
    header = fmt(tag=0xFFFE, bits=32, extra=extra)
    data = np.array([0, -(2**31), 2**30], "<i4").tobytes()
    assert decode_wav(riff(header, chunk(b"data", data))).samples.tolist() == [0.0, -1.0, 0.5]


def test_an_extensible_header_may_have_24_bits_in_blocks_of_4_bytes() -> None:
    guid = b"\x01\0" + bytes.fromhex("000000001000800000aa00389b71")
    header = fmt_24_in_32(tag=0xFFFE, extra=struct.pack("<HHI", 22, 24, 4) + guid)
    found = decode_wav(riff(header, chunk(b"data", LOW_24.tobytes()))).samples
    assert found.tolist()[:3] == [0.0, -1.0, 0.5]


def test_stereo_of_48_khz_from_arecord_s24_le() -> None:
    data = np.repeat((tone(rate=48_000) * (2**23 - 1)).astype("<i4"), 2).tobytes()
    found = decode_wav(riff(fmt_24_in_32(2, 48_000), chunk(b"data", data))).samples
    assert len(found) == 16_000
    assert is_tone(found)


@pytest.mark.parametrize("block", [0, 1, 3, 6, 0xFFFF])
def test_blocks_that_fit_no_word_of_4_bytes_are_not_believed(block: int) -> None:
    head = struct.pack("<HHIIHH", 1, 1, 16_000, 48_000, block, 24)
    packed = bytes.fromhex("000000 000080 000040")
    data = riff(chunk(b"fmt ", head), chunk(b"data", packed))
    assert decode_wav(data).samples.tolist() == [0.0, -1.0, 0.5]


def test_the_form_for_files_over_4_gib() -> None:
    sizes = chunk(b"ds64", bytes(28))
    file = riff(sizes, fmt(), chunk(b"data", SOUND, 0xFFFFFFFF), size=0xFFFFFFFF)
    assert hears_the_sound(b"RF64" + file[4:])


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_stereo_of_any_rate_in_24_bits(rate: int) -> None:
    wide = np.repeat((tone(rate=rate) * (2**31 - 1)).astype("<i4"), 2)
    packed = wide.view("u1").reshape(-1, 4)[:, 1:].tobytes()
    data = riff(fmt(channels=2, rate=rate, bits=24), chunk(b"data", packed))
    found = decode_wav(data).samples
    assert len(found) == 16_000
    assert is_tone(found)


@pytest.mark.parametrize(
    "header",
    [
        fmt(channels=0),
        fmt(channels=3),
        fmt(channels=65_535),
        fmt(rate=0),
        fmt(rate=7_999),
        fmt(rate=96_000),
        fmt(rate=0xFFFFFFFF),
        fmt(bits=0),
        fmt(bits=40),
        fmt(tag=3, bits=16),
    ],
)
def test_a_format_that_is_not_taken_is_unsupported(header: bytes) -> None:
    with pytest.raises(UnsupportedFormatError):
        decode_wav(riff(header, chunk(b"data", SOUND)))


@pytest.mark.parametrize(
    "data",
    [
        riff(),
        riff(fmt()),
        riff(fmt(), chunk(b"data", b"")),
        riff(chunk(b"data", SOUND), fmt()),
        riff(chunk(b"fmt ", bytes(14)), chunk(b"data", SOUND)),
        riff(fmt(), chunk(b"LIST", b"", 0xFFFFFFF0), chunk(b"data", SOUND)),
        riff(fmt(), chunk(b"JUNK", b"") * 2_000, chunk(b"data", SOUND)),
        riff(fmt(), b"dat"),
    ],
)
def test_a_wav_without_samples_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptAudioError):
        decode_wav(data)


def test_a_wav_by_name_without_its_header_is_corrupt() -> None:
    with pytest.raises(CorruptAudioError):
        decode(EncodedAudio(WAV, bytes(100)), 1.0)


def test_a_truncated_wav_gives_what_is_there() -> None:
    data = riff(fmt(), chunk(b"data", SOUND))
    assert len(decode_wav(data[: 44 + 401]).samples) == 200


def test_a_wav_beyond_the_limit_is_left_out_and_said() -> None:
    found = decode_wav(riff(fmt(), chunk(b"data", SOUND)), max_s=0.05)
    assert (len(found.samples), found.truncated) == (800, True)


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "pcm_alaw", "pcm_mulaw"])
def test_compressed_wav(codec: str) -> None:
    assert is_tone(decode_wav(container("wav", codec, tone())).samples)


def test_another_compression_is_unsupported() -> None:
    with pytest.raises(UnsupportedFormatError, match="adpcm_ms"):
        decode_wav(container("wav", "adpcm_ms", tone()))


@pytest.mark.parametrize("pcm", [b"", SOUND])
def test_what_is_written_is_the_classic_form(pcm: bytes) -> None:
    data = wav_bytes(pcm, 22_050)
    assert len(data) == 44 + len(pcm)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with open_wave(BytesIO(data)) as audio:
        assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (22_050, 1, 2)
        assert audio.readframes(10**6) == pcm


def test_what_is_written_is_read_again() -> None:
    assert hears_the_sound(wav_bytes(SOUND, 16_000))


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=300),
)
def test_any_header_gives_audio_or_one_of_two_errors(
    tag: int, channels: int, rate: int, bits: int, body: bytes
) -> None:
    head = struct.pack("<HHIIHH", tag, channels, rate, 1, 1, bits)
    try:
        found = decode_wav(riff(chunk(b"fmt ", head), chunk(b"data", body)), 0.1)
    except (CorruptAudioError, UnsupportedFormatError):
        return
    assert len(found.samples) <= 1_600


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"fmt ", b"data", b"LIST"]),
            st.binary(max_size=60),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=6,
    )
)
def test_any_chunks_give_audio_or_one_of_two_errors(chunks: list[tuple[bytes, bytes, int]]) -> None:
    data = riff(*(chunk(name, body, size) for name, body, size in chunks))
    try:
        decode_wav(data, 0.1)
    except (CorruptAudioError, UnsupportedFormatError):
        return
