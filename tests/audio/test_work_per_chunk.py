"""Work and state per chunk of a hostile file: neither grows with what came before."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio import stores, wav
from stt_mqtt.audio.buffer import AudioBuffer, AudioCap
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.decoders import IN_THIS_PROCESS
from stt_mqtt.audio.flac import _CRC_16, FlacDemuxer, _crc8
from stt_mqtt.audio.live_file import LiveFileStore
from stt_mqtt.audio.wav import WavReader, parse_wav
from stt_mqtt.audio.webm import WebmDemuxer
from stt_mqtt.errors import CorruptAudioError, UtteranceError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import chunk, fmt, opus_packets, riff, s16, tone
from tests.audio.test_live_file import (
    CLUSTER,
    FIRST,
    SIMPLE,
    START,
    TAGS,
    VOICE,
    element,
    flac_chunks,
    group,
    info,
    page,
    read_all,
    track,
    tracks,
)
from tests.thorough import examples

CAP = AudioCap(30.0, 2 * 1024 * 1024)
VOID = b"\xec\x80"


class Counted(bytearray):
    """The bytes of a file. Counts those that are looked at."""

    looked_at = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        Counted.looked_at += len(found) if isinstance(found, bytearray) else 1
        return found

    def find(self, part: Any, start: Any = 0, end: Any = None, /) -> int:
        found = super().find(part, start)
        Counted.looked_at += max((len(self) if found < 0 else found) - start, 0)
        return found


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "bytearray", Counted, raising=False)


def hear(buffer: AudioBuffer, data: bytes) -> int:
    """Feed a chunk. Return how many bytes of the file were looked at."""
    before = Counted.looked_at
    assert buffer.append(data)
    buffer.decode()
    buffer.take_decoded()
    return Counted.looked_at - before


# FLAC --------------------------------------------------------------------------------------------


def crc_16(data: bytes) -> bytes:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ _CRC_16[crc >> 8 ^ byte]
    return crc.to_bytes(2, "big")


def with_crc(data: bytes) -> bytes:
    return data + crc_16(data)


def header(number: int) -> bytes:
    head = b"\xff\xf8\x35\x08" + bytes([number])
    return head + bytes([_crc8(head)])


FLAC_START = b"fLaC\x80\0\0\x22" + info()
NO_HEADER = bytes(range(1, 17))


def test_a_flac_frame_that_seems_to_end_with_each_chunk_is_not_read_again() -> None:
    buffer, frame = AudioBuffer(AudioFormat(Codec.FLAC), CAP), b"\xff\xf8" + b"\1" * 20_000
    hear(buffer, FLAC_START + with_crc(frame))
    # The CRC of all that came before is 0.
    assert max(hear(buffer, with_crc(NO_HEADER)) for _ in range(50)) < 200


def test_a_flac_frame_that_was_taken_back_ends_at_the_next_header() -> None:
    demuxer, first = FlacDemuxer(), with_crc(header(0) + b"\1" * 50)
    more = with_crc(NO_HEADER)
    assert read_all(demuxer, FLAC_START + first) == [first]
    assert read_all(demuxer, FLAC_START + first + more) == []
    assert read_all(demuxer, FLAC_START + first + 2 * more) == []
    second = with_crc(header(1) + b"\1" * 50)
    frames = read_all(demuxer, FLAC_START + first + 2 * more + second)
    assert frames == [first + 2 * more, second]
    assert not demuxer.is_certain


def test_a_flac_header_ends_a_frame_as_soon_as_it_is_whole() -> None:
    first = header(0) + b"\1" * 50
    assert read_all(FlacDemuxer(), FLAC_START + with_crc(first + header(1))) == [first]


def test_a_flac_frame_that_was_taken_back_does_not_end_at_what_only_looks_like_a_header() -> None:
    demuxer, first = FlacDemuxer(), header(0) + b"\1" * 50
    early = with_crc(first + header(1)[:-1])
    assert read_all(demuxer, FLAC_START + early) == [early]
    assert read_all(demuxer, FLAC_START + early + NO_HEADER) == []
    second = with_crc(header(1) + b"\1" * 50)
    assert read_all(demuxer, FLAC_START + early + NO_HEADER + second) == [early + NO_HEADER, second]


def test_a_flac_frame_may_be_shorter_than_its_header_would_be() -> None:
    short = bytes.fromhex("fff865080011")
    assert read_all(FlacDemuxer(), FLAC_START + short + header(1) + bytes(50)) == [short]


@settings(max_examples=examples(20), deadline=None)
@given(st.sets(st.integers(1, 20_000)), st.sampled_from([8_000, 16_000, 44_100]))
def test_flac_frames_are_the_same_and_read_once_however_the_file_is_cut(
    places: set[int], rate: int
) -> None:
    data = b"".join(flac_chunks(rate))
    ends = sorted({place for place in places if place < len(data)} | {len(data)})
    arrived, demuxer, frames = Counted(), FlacDemuxer(), list[bytes]()
    before, at = Counted.looked_at, 0
    for end in ends:
        arrived += data[at:end]
        at = end
        while (packets := demuxer.read(arrived)) is not None:
            frames += [packet.data for packet in packets]
    assert frames == read_all(FlacDemuxer(), data)
    assert demuxer.is_certain
    # Each byte is searched, added to a CRC, and taken.
    assert Counted.looked_at - before < 3 * len(data) + 100 * (len(ends) + len(frames))


# WAV ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [fmt() + 1_100 * chunk(b"junk", b"x"), 50 * chunk(b"junk", b"")])
def test_the_chunks_of_a_wav_file_are_read_once(chunks: bytes) -> None:
    buffer = AudioBuffer(AudioFormat(Codec.WAV), CAP)
    hear(buffer, riff(chunks))
    assert max(hear(buffer, b"\1") for _ in range(50)) < 100


def test_a_long_format_of_a_wav_file_is_not_copied_for_each_chunk() -> None:
    buffer = AudioBuffer(AudioFormat(Codec.WAV), CAP)
    hear(buffer, riff(chunk(b"fmt ", bytes(200_000), 2_000_000)))
    # Now there is room for more.
    hear(buffer, b"\1")
    tracemalloc.start()
    hear(buffer, b"\1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_the_place_of_24_bits_in_32_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    plain = wav._of_24_bits_in_32

    def watched(body: memoryview) -> object:
        lengths.append(len(body))
        return plain(body)

    monkeypatch.setattr(wav, "_of_24_bits_in_32", watched)
    head = struct.pack("<HHIIHH", 1, 1, 16_000, 64_000, 4, 24)
    sound = (tone(seconds=0.2) * (2**23 - 1)).astype("<i4").tobytes()
    buffer, heard = AudioBuffer(AudioFormat(Codec.WAV), CAP), b""
    data = riff(chunk(b"fmt ", head), chunk(b"data", sound, 0))
    for at in range(0, len(data), 400):
        assert buffer.append(data[at : at + 400])
        heard += buffer.take_decoded()
    assert len(lengths) == 1
    assert (
        np.abs(np.frombuffer(heard, "<i2") - np.frombuffer(s16(tone(seconds=0.2)), "<i2")).max() < 2
    )


@pytest.mark.parametrize("count", [62, 63])
def test_the_samples_of_a_wav_file_are_behind_few_chunks(count: int) -> None:
    data = riff(fmt(), count * chunk(b"JUNK", b""), chunk(b"data", s16(tone(seconds=0.1))))
    if count == 62:
        assert len(decode(EncodedAudio(None, data), 1.0).samples) == 1_600
    else:
        with pytest.raises(CorruptAudioError):
            decode(EncodedAudio(None, data), 1.0)


def found(reader: WavReader | None, data: bytes) -> tuple[object, ...]:
    """What is read of a file."""
    try:
        pcm = parse_wav(data) if reader is None else reader.read(data)
    except UtteranceError as error:
        return (type(error),)
    return () if pcm is None else (bytes(pcm.data), pcm.sample_type, pcm.rate, pcm.channels)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([fmt(), fmt(rate=8_000), fmt(tag=6), fmt(bits=40), fmt()[:-2]]),
            st.builds(
                chunk,
                st.sampled_from([b"data", b"LIST", b"fmt "]),
                st.binary(max_size=12),
                st.sampled_from([None, 0, 3, 30, 0xFFFFFFFF]),
                st.sampled_from([b"", b"\0", b"x"]),
            ),
        ),
        max_size=8,
    ),
    st.sets(st.integers(1, 400)),
)
def test_a_wav_file_that_arrives_is_read_as_what_is_there_of_it(
    chunks: list[bytes], ends: set[int]
) -> None:
    data, reader = riff(*chunks), WavReader()
    for end in sorted({*ends, len(data)}):
        assert found(reader, data[:end]) == found(None, data[:end])


# Ogg and WebM ------------------------------------------------------------------------------------


def test_few_packets_wait_even_if_they_are_empty() -> None:
    store = LiveFileStore(AudioFormat(Codec.OGG), CAP, IN_THIS_PROCESS)
    packet = opus_packets(tone(rate=48_000, seconds=0.1))[0]
    sizes = [255] * (len(packet) // 255) + [len(packet) % 255] + [0] * 200
    # All but one sample is discarded, so that a packet seems to be short.
    store.append(FIRST + TAGS + page(sizes, packet, 4, number=2, granule=1))
    store.decode(30.0)
    store.append(page([0] * 255, b"") * 300)
    for _ in range(20):
        store.decode(30.0)
        assert len(store._packets) < 1_000


def test_packets_of_the_shortest_length_are_all_heard() -> None:
    packets = opus_packets(tone(rate=48_000, seconds=4.0), frame_ms="2.5")
    buffer, heard = AudioBuffer(AudioFormat(Codec.OGG), CAP), 0
    buffer.append(FIRST + TAGS)
    for number, at in enumerate(range(0, len(packets), 100)):
        some = packets[at : at + 100]
        sizes = [len(packet) for packet in some]
        buffer.append(page(sizes, b"".join(some), 0, 7, 2 + number, 120 * (at + 100)))
    for _ in range(10):
        buffer.decode()
        heard += len(buffer.take_decoded())
    assert heard / 32_000 == pytest.approx(4.0, abs=0.05)


NESTED = bytes.fromhex("1f43b67582")


def test_webm_clusters_inside_each_other_are_given_up() -> None:
    demuxer = WebmDemuxer()
    with pytest.raises(CorruptAudioError):
        read_all(demuxer, START + NESTED * 1_000)
    assert len(demuxer._ends) < 10


def test_a_webm_file_whose_ends_of_clusters_are_missed_is_heard() -> None:
    demuxer = WebmDemuxer()
    assert read_all(demuxer, START + (NESTED + SIMPLE) * 5) == [VOICE] * 5
    assert not demuxer.is_certain


@pytest.mark.parametrize(
    "data",
    [
        START + CLUSTER + group(VOID * 32),
        tracks(track(), VOID * 32),
        tracks(track(more=VOID * 32)),
        tracks(track(audio=VOID * 33)),
    ],
)
def test_webm_elements_that_hold_many_others_are_given_up(data: bytes) -> None:
    with pytest.raises(CorruptAudioError):
        read_all(WebmDemuxer(), data)


def test_a_webm_group_may_hold_some_more_than_a_block() -> None:
    data = START + CLUSTER + group(VOID * 31) + element("a3", b"\x81\0\0\0" + VOICE)
    assert read_all(WebmDemuxer(), data) == [VOICE, VOICE]
