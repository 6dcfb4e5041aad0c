"""FLAC, Ogg and WebM files, heard while they arrive."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.demux import Demuxer, OggDemuxer, WebmDemuxer
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.audio.flac import FlacDemuxer
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import container, opus_packets, s16, tone

CAP = AudioCap(30.0, 2 * 1024 * 1024)
PRE_SKIP = 104
"""Samples at 16 kHz before the sound, which FFmpeg skips."""
KINDS = [Codec.OGG, Codec.WEBM]


@cache
def a_file(codec: Codec, channels: int = 1, live: bool = True, name: str = "libopus") -> bytes:
    sound = tone(300, 1.5, 48_000) * np.linspace(0.1, 1, 72_000, dtype=np.float32)
    return container(str(codec), name, sound, 48_000, channels, live=live)


def opened(codec: Codec) -> AudioBuffer:
    return AudioBuffer(AudioFormat(codec), CAP)


def heard(buffer: AudioBuffer, data: bytes, sizes: list[int]) -> Samples:
    """What is heard of a file in chunks; the last size goes on to the end."""
    found, at, sizes = b"", 0, list(sizes)
    while at < len(data):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        assert buffer.append(data[at : at + size])
        at += size
        held = buffer.nbytes
        buffer.decode()
        found += buffer.take_decoded()
        assert buffer.nbytes == held
    return np.frombuffer(found, "<i2").astype(np.float32) / np.float32(32768)


@pytest.mark.parametrize("codec", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("live", [True, False])
def test_it_is_heard_as_it_will_be_decoded(codec: Codec, channels: int, live: bool) -> None:
    data, buffer = a_file(codec, channels, live), opened(codec)
    samples = heard(buffer, data, [400])
    audio = buffer.close()
    assert audio == EncodedAudio(AudioFormat(codec), data)
    end = decode(audio, 30.0).samples
    assert len(end) == 24_000
    both = min(len(end), len(samples) - PRE_SKIP)
    assert both > 23_900
    differences = np.abs(samples[PRE_SKIP : PRE_SKIP + both] - end[:both])
    assert differences[100:-100].max() < 1e-3


@pytest.mark.parametrize("codec", KINDS)
def test_it_is_heard_in_time(codec: Codec) -> None:
    data, buffer = a_file(codec), opened(codec)
    half = heard(buffer, data[: len(data) // 2], [100])
    # A page of the file holds a tenth of a second.
    assert len(half) > 10_000
    assert buffer.undecoded_s == 0.0
    assert buffer.seconds == 0.0


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(1, 4_000), min_size=1, max_size=30))
def test_it_does_not_matter_how_the_file_is_cut(codec: Codec, sizes: list[int]) -> None:
    data = a_file(codec)
    cut, whole = heard(opened(codec), data, sizes), heard(opened(codec), data, [len(data)])
    assert np.array_equal(cut[: len(whole)], whole)


@pytest.mark.parametrize("codec", KINDS)
def test_a_file_that_comes_at_once_is_heard_within_the_bounds(codec: Codec) -> None:
    buffer = opened(codec)
    buffer.append(a_file(codec))
    buffer.decode(0.5)
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(0.5, abs=0.03)
    for _ in range(3):
        buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(1.0, abs=0.05)
    assert buffer.undecoded_s == 0.0


@pytest.mark.parametrize(("codec", "name"), [(Codec.OGG, "vorbis"), (Codec.WEBM, "vorbis")])
def test_another_codec_is_not_heard(codec: Codec, name: str) -> None:
    data, buffer = a_file(codec, 2, True, name), opened(codec)
    assert heard(buffer, data, [500]).size == 0
    assert buffer.undecoded_s == 0.0
    assert len(decode(buffer.close(), 30.0).samples) > 20_000


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 30_000), st.binary(min_size=1, max_size=6)), max_size=6),
    st.integers(1, 3_000),
)
def test_a_damaged_file_harms_nobody(
    codec: Codec, damages: list[tuple[int, bytes]], size: int
) -> None:
    data = bytearray(a_file(codec))
    for place, damage in damages:
        at = place % len(data)
        data[at : at + len(damage)] = damage[: len(data) - at]
    samples = heard(opened(codec), bytes(data), [size])
    assert np.isfinite(samples).all()
    assert len(samples) <= 16_000 * 30


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.binary(max_size=300), max_size=10))
def test_any_bytes_are_taken(codec: Codec, chunks: list[bytes]) -> None:
    buffer = opened(codec)
    for chunk in [b"\x1aE\xdf\xa3\x80", *chunks]:
        assert buffer.append(chunk)
        buffer.decode()
        buffer.take_decoded()
    assert buffer.close().data == b"\x1aE\xdf\xa3\x80" + b"".join(chunks)


def test_a_file_that_is_not_meant_to_be_sent_in_chunks_is_kept_as_it_comes() -> None:
    buffer = opened(Codec.MP3)
    assert heard(buffer, b"abcdef", [2]).size == 0
    assert buffer.close() == EncodedAudio(AudioFormat(Codec.MP3), b"abcdef")


def page(sizes: list[int], body: bytes, flags: int = 0, serial: int = 7) -> bytes:
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, 0, 0, len(sizes))
    return head + bytes(sizes) + body


HEAD = b"OpusHead\x01\x01" + bytes(9)
FIRST = page([19], HEAD, 2)


def read_all(demuxer: Demuxer, data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while (packets := demuxer.read(bytearray(data))) is not None:
        found += packets
    return found


def test_a_packet_may_go_on_on_the_next_page() -> None:
    long = bytes(range(200)) * 3
    data = FIRST + page([9, 255, 255], b"OpusTags!" + long[:510]) + page([90], long[510:], 1)
    assert read_all(OggDemuxer(), data) == [long]


def test_a_packet_whose_beginning_or_end_is_lost_is_left_out() -> None:
    data = FIRST + page([255], bytes(255)) + page([3, 255], b"one" + bytes(255))
    data += page([4, 3], bytes(4) + b"two", 1)
    assert read_all(OggDemuxer(), data) == [b"one", bytes(259), b"two"]
    begun_before = page([4, 19], bytes(4) + HEAD, 1) + page([5], b"three")
    assert read_all(OggDemuxer(), begun_before) == [b"three"]


def test_pages_of_another_stream_are_skipped() -> None:
    data = FIRST + page([5], b"other", serial=8) + page([3], b"one")
    assert read_all(OggDemuxer(), data) == [b"one"]


@pytest.mark.parametrize(
    "data",
    [
        FIRST + b"x" * 40,
        FIRST + page([255] * 255, bytes(65_025)),
        page([19], b"OpusHead\x01\x03" + bytes(9)),
        page([19], b"OpusHead\x01\x01" + bytes(8) + b"\1"),
        page([10], b"OpusHead\x01\x01"),
        page([5], b"other"),
    ],
)
def test_an_ogg_file_that_is_not_understood_is_given_up(data: bytes) -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        read_all(OggDemuxer(), data)


def element(id: str, content: bytes) -> bytes:
    return bytes.fromhex(id) + struct.pack(">Q", len(content) | 1 << 56) + content


OPUS_TRACK = element("86", b"A_OPUS")
PACKET = b"\x08packet"
BLOCK = b"\x81\0\0\0" + PACKET


def test_blocks_are_found_alone_and_in_groups() -> None:
    unknown = bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7
    tracks = element("1654ae6b", element("ae", OPUS_TRACK + element("e1", element("9f", b"\2"))))
    data = unknown + element("ec", bytes(50)) + tracks + bytes.fromhex("1f43b675ff")
    data += element("a3", BLOCK) + element("a0", element("a1", BLOCK) + element("9b", b"\1"))
    demuxer = WebmDemuxer()
    assert read_all(demuxer, data) == [PACKET, PACKET]
    assert demuxer.channels == 2


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\x08\0\0\0\0",
        element("86", b"A_VORBIS"),
        OPUS_TRACK * 2,
        element("9f", b"\6"),
        element("a3", BLOCK),
        OPUS_TRACK + element("a3", b"\x81\0\0\x02" + PACKET),
        OPUS_TRACK + element("a3", b"\x81\0\0"),
        OPUS_TRACK + element("a3", bytes(20_000)),
    ],
)
def test_a_webm_file_that_is_not_understood_is_given_up(data: bytes) -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        read_all(WebmDemuxer(), data)


def test_packets_that_are_no_opus_are_left_out() -> None:
    buffer = opened(Codec.WEBM)
    good = opus_packets(tone(rate=48_000, seconds=0.2))
    buffer.append(OPUS_TRACK + element("a3", b"\x81\0\0\0\xfb"))
    for packet in good:
        buffer.append(element("a3", b"\x81\0\0\0" + packet))
    buffer.append(element("86", b"A_OPUS"))
    buffer.append(element("a3", b"\x81\0\0\0" + good[0]))
    buffer.decode()
    assert len(buffer.take_decoded()) == pytest.approx(2 * 3_200, abs=100)


def test_packets_before_a_place_that_is_not_understood_are_left_out() -> None:
    buffer = opened(Codec.OGG)
    packet = opus_packets(tone(rate=48_000, seconds=0.1))[0]
    buffer.append(FIRST + page([255, len(packet) - 255], packet) + b"x" * 40)
    buffer.decode()
    assert buffer.undecoded_s == 0.0
    buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 <= 0.02


def test_many_empty_elements_are_read_in_parts() -> None:
    buffer = opened(Codec.WEBM)
    packet = opus_packets(tone(rate=48_000, seconds=0.1))[0]
    buffer.append(OPUS_TRACK + b"\xec\x80" * 300 + element("a3", b"\x81\0\0\0" + packet))
    buffer.decode()
    assert buffer.take_decoded() == b""
    buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(0.02, abs=0.005)


# FLAC --------------------------------------------------------------------------------------------


@cache
def flac_chunks(rate: int = 16_000, channels: int = 1) -> list[bytes]:
    """Frames as a satellite sends them; the header is in the first chunk."""
    sound = tone(300, 1.5, rate) * np.linspace(0.1, 1, round(1.5 * rate), dtype=np.float32)
    data = container("flac", "flac", sound, rate, channels, live=True)
    return [data[at : at + 700] for at in range(0, len(data), 700)]


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [1, 50, 1_000, 4_000])
def test_flac_is_heard_as_it_will_be_decoded(rate: int, channels: int, size: int) -> None:
    data, buffer = b"".join(flac_chunks(rate, channels)), opened(Codec.FLAC)
    samples = heard(buffer, data, [size])
    end = decode(buffer.close(), 30.0).samples
    # The last frame is held back.
    assert 0.8 * len(end) < len(samples) < len(end)
    assert np.abs(samples - end[: len(samples)])[100:-100].max() < 1e-4


def test_flac_of_the_satellite_is_heard_a_frame_later() -> None:
    encoder, buffer, found = make_encoder(Codec.FLAC, 24), opened(Codec.FLAC), b""
    sound = s16(tone(seconds=2.0))
    for at in range(0, len(sound), 1_024):
        frames = encoder.push(sound[at : at + 1_024])
        if frames:
            buffer.append(frames)
            buffer.decode()
            found += buffer.take_decoded()
        assert len(found) >= at - 2 * 2 * 1_152
    assert found == sound[: len(found)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30_000), st.binary(min_size=1, max_size=6)), max_size=6),
    st.integers(1, 3_000),
)
def test_damaged_flac_harms_nobody(damages: list[tuple[int, bytes]], size: int) -> None:
    data = bytearray(b"".join(flac_chunks()))
    for place, damage in damages:
        at = place % len(data)
        data[at : at + len(damage)] = damage[: len(data) - at]
    assert len(heard(opened(Codec.FLAC), bytes(data), [size])) <= 16_000 * 30


def info(rate: int = 16_000, channels: int = 1) -> bytes:
    form = (rate << 12 | (channels - 1) << 9 | 15 << 4).to_bytes(4, "big")
    return struct.pack(">HH", 4_096, 4_096) + bytes(6) + form + bytes(20)


@pytest.mark.parametrize(
    "data",
    [
        b"flac" + bytes(100),
        b"fLaC\x80\0\0\x10" + bytes(100),
        b"fLaC\x80\0\0\x22" + info() + bytes(100),
        b"fLaC\x80\0\0\x22" + info(rate=96_000) + b"\xff\xf8",
        b"fLaC\x80\0\0\x22" + info(channels=6) + b"\xff\xf8",
        b"fLaC\x80\0\0\x22" + info() + b"\xff\xf8" + bytes(300_000),
    ],
)
def test_flac_that_is_not_understood_is_given_up(data: bytes) -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        read_all(FlacDemuxer(), data)


@pytest.mark.parametrize(
    "header",
    [
        "fff8050800",
        "fff83f0800",
        "fff835b800",
        "fff8350600",
        "fff8350900",
        "fff8350880",
        "fff83508ff",
        "fff8350800ff",
    ],
)
def test_what_only_looks_like_a_flac_header_does_not_end_a_frame(header: str) -> None:
    start = b"fLaC\x80\0\0\x22" + info() + b"\xff\xf8" + bytes(50)
    assert read_all(FlacDemuxer(), start + bytes.fromhex(header) + bytes(50)) == []


@pytest.mark.parametrize(
    "header", ["fff83508008e", "fff86508000fc5", "fff87d080aff0fbb80", "fff8350ac28000"]
)
def test_a_flac_header_ends_the_frame_before_it(header: str) -> None:
    start = b"fLaC\x80\0\0\x22" + info() + b"\xff\xf8" + bytes(50)
    found = bytes.fromhex(header)[:-1]
    ends = [start + found + bytes([crc]) + bytes(50) for crc in range(256)]
    frames = [frame for data in ends for frame in read_all(FlacDemuxer(), data)]
    assert frames == [b"\xff\xf8" + bytes(50)]
