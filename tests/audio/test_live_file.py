"""FLAC, Ogg and WebM files, decoded while they arrive, against FFmpeg."""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.demux import CodedPacket, Coding, Demuxer
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.audio.flac import FlacDemuxer
from stt_mqtt.audio.ogg import OggDemuxer
from stt_mqtt.audio.opus import packet_samples
from stt_mqtt.audio.packets import FilePackets
from stt_mqtt.audio.webm import WebmDemuxer
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.synth import container, opus_packets, s16, tone
from tests.thorough import examples

CAP = AudioCap(30.0, 2 * 1024 * 1024)
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
        buffer.decode()
        found += buffer.take_decoded()
    return np.frombuffer(found, "<i2").astype(np.float32) / np.float32(32768)


def fed(codec: Codec, data: bytes, size: int = 500, cap: AudioCap = CAP) -> AudioBuffer:
    """A buffer that was fed in chunks, and has decoded all that it can."""
    buffer = AudioBuffer(AudioFormat(codec), cap)
    for at in range(0, len(data), size):
        assert buffer.append(data[at : at + size])
        buffer.decode()
    decode_the_rest(buffer)
    return buffer


def decode_the_rest(buffer: AudioBuffer) -> None:
    """Decode what waits. Of a file that was given up, there is always something."""
    for _ in range(50):
        if not buffer.undecoded_s:
            break
        buffer.decode()


def assert_as_ffmpeg(codec: Codec, data: bytes, size: int = 500) -> None:
    """The file was decoded as it arrived, and that is what FFmpeg decodes of the whole."""
    audio = fed(codec, data, size).close()
    assert audio.decoded
    assert audio.format is not None
    assert audio.format.codec in (Codec.PCM_S16LE, Codec.PCM_F32LE)
    early, late = decode(audio, 30.0), decode(EncodedAudio(AudioFormat(codec), data), 30.0)
    assert np.array_equal(early.samples, late.samples)
    assert early.hint == late.hint


def assert_left_to_ffmpeg(codec: Codec, data: bytes, size: int = 500) -> None:
    """The file is the result, as if nothing was decoded of it."""
    assert fed(codec, data, size).close() == EncodedAudio(AudioFormat(codec), data)


def assert_not_changed(codec: Codec, data: bytes) -> None:
    """The samples are those of FFmpeg, whether it decodes the file at the end or not."""
    try:
        late = decode(EncodedAudio(AudioFormat(codec), data), 30.0).samples
    except (CorruptAudioError, UnsupportedFormatError):
        assert_left_to_ffmpeg(codec, data)
    else:
        assert np.array_equal(decode(fed(codec, data).close(), 30.0).samples, late)


@cache
def noisy(
    codec: Codec, rate: int, channels: int, live: bool, seconds: float, name: str = "libopus"
) -> bytes:
    noise = np.random.default_rng(1).normal(0, 0.05, round(seconds * rate))
    sound = tone(300, seconds, rate) + noise.astype(np.float32)
    return container(str(codec), name, sound, rate, channels, live=live)


@pytest.mark.parametrize("codec", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("seconds", [0.05, 0.513])
@pytest.mark.parametrize("size", [1, 400, 100_000])
def test_opus_is_decoded_as_it_arrives(
    codec: Codec, channels: int, live: bool, seconds: float, size: int
) -> None:
    assert_as_ffmpeg(codec, noisy(codec, 48_000, channels, live, seconds), size)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("size", [7, 900, 1_000_000])
def test_flac_is_decoded_as_it_arrives(rate: int, channels: int, live: bool, size: int) -> None:
    assert_as_ffmpeg(Codec.FLAC, noisy(Codec.FLAC, rate, channels, live, 0.7, "flac"), size)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("size", [50, 900, 1_000_000])
def test_flac_in_ogg_is_decoded_as_it_arrives(
    rate: int, channels: int, live: bool, size: int
) -> None:
    assert_as_ffmpeg(Codec.OGG, noisy(Codec.OGG, rate, channels, live, 0.7, "flac"), size)


def test_frames_of_flac_in_ogg_may_be_longer_than_packets_of_opus() -> None:
    loud = np.random.default_rng(1).uniform(-1, 1, 48_000).astype(np.float32)
    data = container("ogg", "flac", loud, 48_000, 1, live=True)
    long = container("ogg", "flac", np.repeat(loud, 2), 48_000, 2, live=True)
    for file in (data, long):
        assert_as_ffmpeg(Codec.OGG, file)


@pytest.mark.parametrize("live", [True, False])
def test_flac_in_ogg_that_is_damaged_or_ends_anywhere_is_as_ffmpeg_decodes_it(live: bool) -> None:
    data = noisy(Codec.OGG, 48_000, 1, live, 0.72, "flac")
    for place in range(len(data) // 8, len(data), len(data) // 20):
        assert_not_changed(Codec.OGG, data[:place])
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        assert_not_changed(Codec.OGG, bytes(damaged))


def test_flac_may_be_short() -> None:
    assert_as_ffmpeg(Codec.FLAC, noisy(Codec.FLAC, 16_000, 1, True, 0.02, "flac"), 1)


@pytest.mark.parametrize("codec", KINDS)
def test_a_file_of_one_packet_is_as_ffmpeg_decodes_it(codec: Codec) -> None:
    assert_not_changed(codec, noisy(codec, 48_000, 1, True, 0.01))


@pytest.mark.parametrize("codec", [*KINDS, Codec.FLAC])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_ends_anywhere_is_as_ffmpeg_decodes_it(codec: Codec, share: float) -> None:
    name = "flac" if codec is Codec.FLAC else "libopus"
    for live in (True, False):
        data = noisy(codec, 48_000, 1, live, 0.513, name)
        for end in range(round(share * len(data)), len(data), 97)[:6]:
            part = data[:end]
            assert_not_changed(codec, part)


@pytest.mark.parametrize("codec", KINDS)
def test_a_snapshot_is_the_audio_so_far(codec: Codec) -> None:
    data = noisy(codec, 48_000, 1, True, 1.513)
    whole = decode(fed(codec, data).close(), 30.0).samples
    buffer, found = opened(codec), 0
    for at in range(0, len(data), 97):
        buffer.append(data[at : at + 97])
        buffer.decode()
        audio = buffer.snapshot()
        if audio.decoded:
            found += 1
            early = np.frombuffer(audio.data, np.float32)
            assert np.array_equal(early, whole[: len(early)])
    assert found


def test_a_snapshot_of_flac_has_all_frames_so_far() -> None:
    encoder, buffer = make_encoder(Codec.FLAC, 24), opened(Codec.FLAC)
    sound = s16(tone(seconds=1.0))
    for at in range(0, len(sound), 1_024):
        buffer.append(encoder.push(sound[at : at + 1_024]))
        buffer.decode()
        audio = buffer.snapshot()
        assert audio.decoded or at < 4 * 1_152
        assert sound.startswith(audio.data) or not audio.decoded
    buffer.append(encoder.finish())
    buffer.decode()
    assert buffer.close() == EncodedAudio(AudioFormat(), sound, decoded=True)


@pytest.mark.parametrize("codec", KINDS)
def test_clipping_is_noticed_as_ffmpeg_decodes_it(codec: Codec) -> None:
    square = np.sign(tone(200, 1.0, 48_000)) * np.float32(0.9999)
    data = container(str(codec), "libopus", square, 48_000, 1, live=True)
    assert_as_ffmpeg(codec, data)


@pytest.mark.parametrize("codec", [*KINDS, Codec.FLAC])
def test_decoded_audio_that_exceeds_the_byte_cap_is_given_up_but_heard(codec: Codec) -> None:
    name = "flac" if codec is Codec.FLAC else "libopus"
    data = noisy(codec, 48_000, 1, True, 1.513, name)
    cap = AudioCap(30.0, len(data) + 30_000)
    buffer, found = AudioBuffer(AudioFormat(codec), cap), b""
    for at in range(0, len(data), 500):
        assert buffer.append(data[at : at + 500])
        buffer.decode()
        assert buffer.nbytes <= cap.max_bytes
        found += buffer.take_decoded()
    assert len(found) > 40_000
    assert buffer.close() == EncodedAudio(AudioFormat(codec), data)


@pytest.mark.parametrize("codec", KINDS)
def test_a_file_of_which_a_chunk_was_lost_is_left_to_ffmpeg(codec: Codec) -> None:
    data, buffer = a_file(codec), opened(codec)
    buffer.append(data)
    buffer.append_loss(0)
    buffer.decode()
    buffer.append_loss(1)
    decode_the_rest(buffer)
    assert buffer.close() == EncodedAudio(AudioFormat(codec), data)


@pytest.mark.parametrize("codec", [*KINDS, Codec.FLAC])
def test_a_damaged_file_is_as_ffmpeg_decodes_it(codec: Codec) -> None:
    name = "flac" if codec is Codec.FLAC else "libopus"
    data = noisy(codec, 48_000, 1, True, 0.72, name)
    for place in range(len(data) // 8, len(data), len(data) // 25):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        assert_not_changed(codec, bytes(damaged))


@pytest.mark.parametrize("codec", KINDS)
def test_it_is_heard_in_time(codec: Codec) -> None:
    data, buffer = a_file(codec), opened(codec)
    half = heard(buffer, data[: len(data) // 2], [100])
    # A page of the file holds a tenth of a second.
    assert len(half) > 10_000
    assert buffer.undecoded_s == 0.0
    assert buffer.seconds == 0.0


@settings(max_examples=examples(20), deadline=None)
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
    assert buffer.close() == EncodedAudio(AudioFormat(codec), a_file(codec))
    buffer = opened(codec)
    buffer.append(a_file(codec))
    buffer.decode(0.5)
    buffer.take_decoded()
    for _ in range(3):
        buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(1.0, abs=0.05)
    assert buffer.undecoded_s == 0.0


@pytest.mark.parametrize("codec", [*KINDS, Codec.FLAC])
def test_what_is_not_read_of_a_file_counts_as_undecoded(codec: Codec) -> None:
    buffer = opened(codec)
    name = "flac" if codec is Codec.FLAC else "libopus"
    buffer.append(noisy(codec, 48_000, 1, True, 6.4, name))
    calls, heard_s = 0, 0.0
    while calls == 0 or buffer.undecoded_s:
        buffer.decode()
        new_s = len(buffer.take_decoded()) / 32_000
        assert 0 < new_s < 1.1
        calls, heard_s = calls + 1, heard_s + new_s
    assert heard_s == pytest.approx(6.4, abs=0.03)
    assert calls <= 7


@pytest.mark.parametrize("codec", [*KINDS, Codec.FLAC])
def test_a_part_that_will_be_read_with_the_next_chunk_is_not_waited_for(codec: Codec) -> None:
    name = "flac" if codec is Codec.FLAC else "libopus"
    data, buffer = noisy(codec, 48_000, 1, True, 0.513, name), opened(codec)
    for at in range(0, len(data), 97):
        buffer.append(data[at : at + 97])
        buffer.decode()
        assert buffer.undecoded_s == 0.0


def test_a_file_that_is_given_up_was_not_heard_to_its_end() -> None:
    data, buffer = a_file(Codec.OGG), opened(Codec.OGG)
    buffer.append(data[: len(data) // 2] + b"x" * 5_000)
    for _ in range(3):
        buffer.decode()
    assert buffer.undecoded_s > 0
    assert buffer.take_decoded()
    buffer.append(b"x")
    buffer.decode()
    assert buffer.undecoded_s > 0


@pytest.mark.parametrize(("codec", "name"), [(Codec.OGG, "vorbis"), (Codec.WEBM, "vorbis")])
def test_another_codec_is_not_heard(codec: Codec, name: str) -> None:
    data, buffer = a_file(codec, 2, True, name), opened(codec)
    assert heard(buffer, data, [500]).size == 0
    assert buffer.undecoded_s == 0.0
    assert len(decode(buffer.close(), 30.0).samples) > 20_000


@settings(max_examples=examples(20), deadline=None)
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


@settings(max_examples=examples(30), deadline=None)
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


def page(
    sizes: list[int],
    body: bytes,
    flags: int = 0,
    serial: int = 7,
    number: int = 0,
    granule: int = 0,
    version: int = 0,
) -> bytes:
    head = struct.pack("<BBqIIIB", version, flags, granule, serial, number, 0, len(sizes))
    data = b"OggS" + head + bytes(sizes) + body
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x104C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return data[:22] + struct.pack("<I", crc) + data[26:]


HEAD = b"OpusHead\x01\x01" + bytes(9)
FIRST = page([19], HEAD, 2)
TAGS = page([16], b"OpusTags" + bytes(8), number=1)


def read_all(demuxer: Demuxer, data: bytes) -> list[bytes]:
    found: list[CodedPacket] = []
    while (packets := demuxer.read(bytearray(data))) is not None:
        found += packets
    return [packet.data for packet in found]


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
        page([20], b"\x7fFLAC" + bytes(15)),
    ],
)
def test_an_ogg_file_that_is_not_understood_is_given_up(data: bytes) -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        read_all(OggDemuxer(), data)


def good_page(number: int, packets: list[bytes], granule: int, flags: int = 0) -> bytes:
    return page([len(each) for each in packets], b"".join(packets), flags, 7, number, granule)


VOICE = opus_packets(tone(rate=48_000, seconds=0.1))[0][:200]
"""A packet of 20 ms. It is cut, so it is no good sound."""


@pytest.mark.parametrize(
    ("rest", "is_certain"),
    [
        (good_page(2, [VOICE], 960), True),
        (good_page(2, [VOICE], 960) + good_page(3, [VOICE], 1_500, 4), True),
        (good_page(2, [VOICE], 961), False),
        (good_page(2, [VOICE], -1, 4), False),
        (good_page(3, [VOICE], 960), False),
        (good_page(2, [VOICE], 960, 1), False),
        (good_page(2, [VOICE], 960, 2), False),
        (good_page(2, [VOICE, b""], 960), False),
        (page([len(VOICE)], VOICE, 0, 7, 2, 960, version=1), False),
        (good_page(2, [VOICE], 960)[:-1] + b"\0", False),
        (good_page(2, [VOICE], 960, 4) + good_page(3, [VOICE], 1_920), False),
        (good_page(2, [VOICE], 960) + FIRST, False),
    ],
)
def test_it_is_known_whether_an_ogg_file_is_certain(rest: bytes, is_certain: bool) -> None:
    demuxer = OggDemuxer()
    read_all(demuxer, FIRST + TAGS + rest)
    assert demuxer.is_certain is is_certain


def test_an_ogg_file_without_tags_is_not_certain() -> None:
    demuxer = OggDemuxer()
    assert read_all(demuxer, FIRST + good_page(1, [VOICE], 960)) == [VOICE]
    assert not demuxer.is_certain


def test_samples_behind_the_end_of_an_ogg_file_are_discarded() -> None:
    demuxer, data = OggDemuxer(), bytearray(FIRST + TAGS)
    data += good_page(2, [VOICE], 960) + good_page(3, [VOICE, VOICE], 1_500, 4)
    packets = [packet for _ in range(4) for packet in demuxer.read(data) or []]
    assert [packet.discard for packet in packets] == [0, 420, 960]


def test_a_packet_that_goes_on_on_a_page_to_come_is_a_rest() -> None:
    demuxer, data = OggDemuxer(), bytearray(FIRST + TAGS + page([255], bytes(255), 0, 7, 2))
    read_all(demuxer, bytes(data))
    assert demuxer.has_rest(data)


def element(id: str, content: bytes) -> bytes:
    return bytes.fromhex(id) + struct.pack(">Q", len(content) | 1 << 56) + content


RATE = element("b5", struct.pack(">d", 48_000.0))


def track(
    head: bytes = HEAD, audio: bytes = RATE, codec: bytes = b"A_OPUS", more: bytes = b""
) -> bytes:
    parts = element("d7", b"\1") + element("86", codec) + element("63a2", head) + more
    return element("ae", parts + element("e1", audio))


def tracks(*entries: bytes) -> bytes:
    return element("1654ae6b", b"".join(entries))


EBML = element("1a45dfa3", b"")
UNKNOWN = b"\x01" + b"\xff" * 7
SEGMENT = bytes.fromhex("18538067") + UNKNOWN
CLUSTER = bytes.fromhex("1f43b675ff")
START = EBML + SEGMENT + tracks(track())
BLOCK = b"\x81\0\0\0" + VOICE


def group(*more: bytes) -> bytes:
    return element("a0", element("a1", BLOCK) + b"".join(more))


SIMPLE = element("a3", BLOCK)


def test_blocks_are_found_alone_and_in_groups() -> None:
    stereo = track(HEAD[:9] + b"\2" + HEAD[10:])
    data = EBML + SEGMENT + element("ec", bytes(50)) + tracks(stereo) + CLUSTER
    data += element("e7", b"\0") + SIMPLE + group(element("9b", b"\1"))
    demuxer = WebmDemuxer()
    assert read_all(demuxer, data) == [VOICE, VOICE]
    assert demuxer.coding is not None
    assert demuxer.coding.channels == 2
    assert demuxer.is_certain


PADDING = element("75a2", (1_000_000).to_bytes(3, "big"))


def closed(id: str, *content: bytes) -> bytes:
    return element(id, b"".join(content))


@pytest.mark.parametrize(
    ("data", "is_certain"),
    [
        (START + CLUSTER + SIMPLE + CLUSTER + SIMPLE + element("1c53bb6b", b""), True),
        (START + closed("1f43b675", SIMPLE) + closed("1f43b675", SIMPLE), True),
        (EBML + closed("18538067", tracks(track()), closed("1f43b675", SIMPLE)), True),
        (START + CLUSTER + SIMPLE + group(PADDING), True),
        (EBML + SEGMENT + tracks(track(audio=b"")) + CLUSTER + SIMPLE + group(), True),
        (EBML + SEGMENT + tracks(track(audio=b"")) + CLUSTER + SIMPLE + group(PADDING), False),
        (START + CLUSTER + group(PADDING), False),
        (START + CLUSTER + SIMPLE + group(element("75a2", b"\x80\0\0")), False),
        (START + CLUSTER + group(element("a1", BLOCK)), False),
        (START + CLUSTER + group(element("75a1", b"")), False),
        (START + CLUSTER + element("a3", b"\x82" + BLOCK[1:]), False),
        (START + CLUSTER + element("a3", b"\x81\0\0\0\xfb"), False),
        (START + SIMPLE, False),
        (START + CLUSTER + element("4242", b""), False),
        (START + closed("1f43b675", SIMPLE)[:11] + b"\0" + SIMPLE, False),
        (START + CLUSTER + EBML, False),
        (START[len(EBML) :] + CLUSTER + SIMPLE, False),
        (EBML + closed("18538067", tracks(track())) + SEGMENT + CLUSTER + SIMPLE, False),
        (EBML + closed("18538067", tracks(track())) + CLUSTER + SIMPLE, False),
        (EBML + element("18538067", tracks(track()) + CLUSTER + SIMPLE), False),
        (EBML + SEGMENT + tracks(track(more=element("6d80", b""))) + CLUSTER + SIMPLE, False),
        (EBML + SEGMENT + tracks(track(more=element("56aa", b"\xff\xff"))) + CLUSTER, False),
    ],
)
def test_it_is_known_whether_a_webm_file_is_certain(data: bytes, is_certain: bool) -> None:
    demuxer = WebmDemuxer()
    read_all(demuxer, data)
    assert demuxer.is_certain is is_certain


@pytest.mark.parametrize("rate", [struct.pack(">f", 48_000.0), struct.pack(">d", 48_000.0)])
def test_samples_of_a_webm_block_may_be_discarded(rate: bytes) -> None:
    start = EBML + SEGMENT + tracks(track(audio=element("b5", rate))) + CLUSTER
    demuxer, data = WebmDemuxer(), bytearray(start + SIMPLE + group(PADDING))
    packets = [packet for _ in range(6) for packet in demuxer.read(data) or []]
    assert packets == [CodedPacket(VOICE), CodedPacket(VOICE, 48)]
    assert demuxer.is_certain


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\x08\0\0\0\0",
        tracks(track(codec=b"A_VORBIS")),
        tracks(track(), track()),
        tracks(),
        tracks(track()) * 2,
        tracks(track(head=b"")),
        tracks(track(), b"\xae"),
        tracks(bytes.fromhex("aeff")),
        bytes.fromhex("1654ae6bff"),
        SIMPLE,
        START + element("a0", b""),
        START + element("a3", b"\x81\0\0\x02" + VOICE),
        START + element("a3", b"\x81\0\0"),
        START + element("a3", bytes(20_000)),
        START + CLUSTER + group(element("75a2", bytes(9))),
        tracks(track(more=element("56aa", bytes(9)))),
    ],
)
def test_a_webm_file_that_is_not_understood_is_given_up(data: bytes) -> None:
    with pytest.raises((CorruptAudioError, UnsupportedFormatError)):
        read_all(WebmDemuxer(), data)


def test_packets_that_are_no_opus_are_left_out() -> None:
    buffer = opened(Codec.WEBM)
    good = opus_packets(tone(rate=48_000, seconds=0.2))
    buffer.append(START + CLUSTER + element("a3", b"\x81\0\0\0\xfb"))
    for packet in good:
        buffer.append(element("a3", b"\x81\0\0\0" + packet))
    buffer.append(tracks(track()))
    buffer.append(element("a3", b"\x81\0\0\0" + good[0]))
    buffer.decode()
    assert len(buffer.take_decoded()) == pytest.approx(2 * 3_200, abs=100)
    assert buffer.close().format == AudioFormat(Codec.WEBM)


def test_packets_before_a_place_that_is_not_understood_are_left_out() -> None:
    buffer = opened(Codec.OGG)
    packet = opus_packets(tone(rate=48_000, seconds=0.1))[0]
    buffer.append(FIRST + page([255, len(packet) - 255], packet) + b"x" * 40)
    buffer.decode()
    buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 <= 0.02


def test_many_empty_elements_are_read_in_parts() -> None:
    buffer = opened(Codec.WEBM)
    packet = opus_packets(tone(rate=48_000, seconds=0.1))[0]
    buffer.append(START + b"\xec\x80" * 300 + element("a3", b"\x81\0\0\0" + packet))
    buffer.decode()
    assert buffer.take_decoded() == b""
    buffer.decode()
    assert len(buffer.take_decoded()) / 32_000 == pytest.approx(0.02, abs=0.005)


# The decoder -------------------------------------------------------------------------------------


def test_samples_are_discarded_unless_the_frame_is_shorter() -> None:
    packets = opus_packets(tone(rate=48_000, seconds=0.2))
    decoder = FilePackets(Coding("opus", HEAD, 48_000, 1, 32))
    lengths = [
        sum(piece.shape[1] for piece in decoder.decode(CodedPacket(packet, discard)))
        for packet, discard in zip(packets, [0, 100, 960, 961], strict=False)
    ]
    assert lengths == [960, 860, 0, 960]
    assert decoder.is_certain


def test_a_stream_that_differs_from_its_header_is_not_certain() -> None:
    frames = b"".join(flac_chunks())
    demuxer = FlacDemuxer()
    packet = CodedPacket(read_all(demuxer, frames)[0])
    assert demuxer.coding is not None
    decoder = FilePackets(Coding("flac", demuxer.coding.extradata, 8_000, 1, 16))
    assert decoder.decode(packet) == []
    assert not decoder.is_certain


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
    assert len(end) - 40 < len(samples) <= len(end)
    assert np.abs(samples - end[: len(samples)])[100:-100].max() < 1e-4


def test_flac_of_the_satellite_is_heard_frame_by_frame() -> None:
    encoder, buffer, found = make_encoder(Codec.FLAC, 24), opened(Codec.FLAC), b""
    sound = s16(tone(seconds=2.0))
    for at in range(0, len(sound), 1_024):
        frames = encoder.push(sound[at : at + 1_024])
        if frames:
            buffer.append(frames)
            buffer.decode()
            found += buffer.take_decoded()
        assert len(found) >= at - 2 * 1_152
    assert found == sound[: len(found)]


@settings(max_examples=examples(20), deadline=None)
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


def test_a_part_of_a_frame_that_has_its_crc_by_chance_does_not_hide_the_rest() -> None:
    data = b"".join(flac_chunks())
    first, second, *_ = read_all(FlacDemuxer(), data)
    at = data.index(first)
    part = first[:100]
    crc = 0
    for byte in part:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x18005 if crc & 0x8000 else 0)
    part += crc.to_bytes(2, "big")
    whole = part + first[102:]
    demuxer = FlacDemuxer()
    assert read_all(demuxer, data[:at] + part) == [part]
    assert demuxer.is_certain
    # Only what follows tells that the frame went on.
    assert read_all(demuxer, data[:at] + whole + second)[0] == whole
    assert not demuxer.is_certain


@pytest.mark.parametrize("frames_per_chunk", [1, 2, 3])
def test_flac_frames_of_silence_may_be_shorter_than_the_longest_header(
    frames_per_chunk: int,
) -> None:
    sound = np.concatenate([tone(seconds=0.3), np.zeros(8_000, np.float32), tone(seconds=0.3)])
    data, buffer = container("flac", "flac", sound, live=True), opened(Codec.FLAC)
    frames = read_all(FlacDemuxer(), data)
    assert min(len(frame) for frame in frames) < 16
    at = data.index(frames[0])
    buffer.append(data[:at])
    for number in range(0, len(frames), frames_per_chunk):
        buffer.append(b"".join(frames[number : number + frames_per_chunk]))
        buffer.decode()
        assert buffer.snapshot().decoded
    assert buffer.close() == EncodedAudio(AudioFormat(), s16(sound), decoded=True)


def test_flac_frames_that_are_missing_are_noticed() -> None:
    data = b"".join(flac_chunks())
    frames = read_all(FlacDemuxer(), data)
    demuxer = FlacDemuxer()
    read_all(demuxer, data.replace(frames[1], b""))
    assert not demuxer.is_certain


def test_two_bytes_before_a_header_are_no_certain_frame() -> None:
    frames = read_all(FlacDemuxer(), b"".join(flac_chunks()))
    start = b"fLaC\x80\0\0\x22" + info() + b"\xff\xf8"
    demuxer = FlacDemuxer()
    read_all(demuxer, start + frames[0] + frames[1])
    assert not demuxer.is_certain


def test_what_the_decoder_of_opus_holds_back_of_a_voice_is_not_lost() -> None:
    encoder = make_encoder(Codec.OPUS, 12)
    packets = [part for part in (encoder.push(s16(tone(seconds=0.5))), encoder.finish()) if part]
    data, at, voice = b"".join(packets), 0, list[bytes]()
    while at < len(data):
        voice.append(data[at + 2 : at + 2 + int.from_bytes(data[at : at + 2], "little")])
        at += 2 + len(voice[-1])
    assert all(packet[0] >> 3 < 12 for packet in voice)
    length = packet_samples(voice[0])
    pages = [good_page(2 + n, [packet], length * (n + 1)) for n, packet in enumerate(voice)]
    assert_as_ffmpeg(Codec.OGG, FIRST + TAGS + b"".join(pages))
