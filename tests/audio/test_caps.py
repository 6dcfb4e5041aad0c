"""What bounds the work on hostile files: each cap is reached here."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import av
import numpy as np
import pytest

from stt_mqtt.audio import media, packets
from stt_mqtt.audio.bare import bare_file
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.flac import _CRC_16, _crc8
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError, UtteranceError
from stt_mqtt.types import Codec, EncodedAudio, Samples
from tests.audio.mp4_forge import Forged, box, entry, u32
from tests.audio.synth import chunk, container, is_tone, opus_packets, riff, tone

HEAD = b"OpusHead\1\1" + struct.pack("<HIHB", 0, 48_000, 0, 0)
FILL = 6_000
"""Repetitions, with which a cap is passed several times."""


def heard(data: bytes) -> Samples:
    return decode(EncodedAudio(None, data), 30.0).samples


# FLAC --------------------------------------------------------------------------------------------


def flac(*blocks: bytes, frames: bytes = b"", info_bytes: int = 34) -> bytes:
    form = (16_000 << 12 | 15 << 4).to_bytes(4, "big")
    info = (struct.pack(">HH", 16, 65_535) + bytes(6) + form + bytes(20))[:info_bytes]
    all_blocks = [b"\0" + len(info).to_bytes(3, "big") + info, *blocks]
    all_blocks[-1] = bytes([all_blocks[-1][0] | 0x80]) + all_blocks[-1][1:]
    return b"fLaC" + b"".join(all_blocks) + frames


def flac_frame(samples: int) -> bytes:
    """A frame in which all samples are the same."""
    head = b"\xff\xf8\x70\x08\0" + struct.pack(">H", samples - 1)
    frame = head + bytes([_crc8(head)]) + b"\0\0\1"
    crc = 0
    for byte in frame:
        crc = (crc << 8 & 0xFF00) ^ _CRC_16[crc >> 8 ^ byte]
    return frame + crc.to_bytes(2, "big")


def test_ffmpeg_gets_flac_without_its_metadata() -> None:
    comments = b"\4" + (9).to_bytes(3, "big") + b"something"
    frames = flac_frame(4_096) * 2
    bare, _ = bare_file(flac(comments, comments, frames=frames), Codec.FLAC)
    assert bare == flac(frames=frames)


def test_the_blocks_of_metadata_are_counted() -> None:
    with pytest.raises(CorruptAudioError, match="too many blocks"):
        heard(flac(*[b"\1\0\0\0"] * 1_000))


@pytest.mark.parametrize("data", [b"fLaC", flac()[:20], flac(info_bytes=30)])
def test_flac_that_ends_in_its_metadata_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptAudioError):
        heard(data)


def test_flac_without_a_header_is_decoded_as_before() -> None:
    frames = container("flac", "flac", tone())[-2_000:]
    with pytest.raises(CorruptAudioError):
        decode(EncodedAudio(None, b"fLaC" + frames), 1.0)
    assert bare_file(frames, Codec.FLAC) == (frames, Codec.FLAC)


def test_a_stream_of_tiny_frames_is_given_up() -> None:
    assert len(heard(flac(frames=flac_frame(1) * FILL))) < 2_000


def test_a_stream_of_short_frames_as_satellites_send_is_not() -> None:
    assert len(heard(flac(frames=flac_frame(160) * 3_000))) == 480_000


# Ogg ---------------------------------------------------------------------------------------------


def page(serial: int, number: int, flags: int, *parts: bytes) -> bytes:
    sizes = b"".join(b"\xff" * (len(part) // 255) + bytes([len(part) % 255]) for part in parts)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, number, 0, len(sizes))
    data = bytearray(head + sizes + b"".join(parts))
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    crc = zlib.crc32(data.translate(mirrored), 0xFFFFFFFF) ^ 0xFFFFFFFF
    data[22:26] = crc.to_bytes(4, "big").translate(mirrored)
    return bytes(data)


def tags(count: int, vendor: bytes = b"") -> bytes:
    return b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", count)


def ogg(comments: bytes, serial: int = 1) -> bytes:
    sound = opus_packets(tone(rate=48_000))
    pages = [page(serial, 2 + n, 0, part) for n, part in enumerate(sound)]
    return page(serial, 0, 2, HEAD) + page(serial, 1, 0, comments) + b"".join(pages)


def test_of_an_ogg_file_ffmpeg_gets_the_first_audio_stream_alone() -> None:
    other = [page(2, n, 2 * (not n), b"fishead" + bytes(50)) for n in range(3)]
    mine = ogg(tags(0))
    bare, codec = bare_file(other[0] + mine + other[1] + ogg(tags(0), 3), Codec.OGG)
    assert (bare, codec) == (mine, Codec.OGG)
    assert is_tone(heard(bare))


@pytest.mark.parametrize("comments", [tags(1_001), tags(2**32 - 1), tags(0, b"x" * 201)])
def test_the_comments_of_an_ogg_file_are_counted(comments: bytes) -> None:
    with pytest.raises(CorruptAudioError, match="too many comments"):
        heard(ogg(comments))


def test_the_comments_of_all_headers_are_counted_together() -> None:
    with pytest.raises(CorruptAudioError, match="too many comments"):
        heard(ogg(tags(501)) + page(1, 90, 2, HEAD) + page(1, 91, 0, tags(500)))


def test_flac_in_ogg_reaches_ffmpeg_as_flac() -> None:
    data = container("ogg", "flac", tone(rate=22_050), 22_050)
    bare, codec = bare_file(data, Codec.OGG)
    assert codec is Codec.FLAC
    assert bare.startswith(b"fLaC\x80\0\0\x22")
    assert is_tone(heard(data))


def test_an_ogg_file_of_something_else_is_unsupported() -> None:
    with pytest.raises(UnsupportedFormatError, match="Opus, Vorbis or FLAC"):
        heard(page(1, 0, 2, b"Speex   " + bytes(72)))
    with pytest.raises(CorruptAudioError, match="no beginning"):
        heard(b"OggS" + bytes(10))
    with pytest.raises(CorruptAudioError, match="no beginning"):
        heard(page(1, 0, 0, b"OpusHead" + bytes(72))[:28] + bytes(80))


# WebM --------------------------------------------------------------------------------------------


def element(name: str, body: bytes) -> bytes:
    return bytes.fromhex(name) + (1 << 56 | len(body)).to_bytes(8, "big") + body


EBML = element("1a45dfa3", element("4282", b"webm"))
SEGMENT = bytes.fromhex("1853806701ffffffffffffff")
CLUSTER = bytes.fromhex("1f43b67501ffffffffffffff") + element("e7", b"\0")


def track(codec: bytes = b"A_OPUS", bits: int = 0, extra: bytes = b"") -> bytes:
    audio = element("b5", struct.pack(">d", 48_000.0)) + element("9f", b"\1")
    audio += element("6264", bytes([bits])) if bits else b""
    private = element("63a2", HEAD) if codec == b"A_OPUS" else b""
    parts = [element("d7", b"\1"), element("73c5", b"\1"), element("83", b"\2")]
    parts += [element("86", codec), private, element("e1", audio), extra]
    return element("ae", b"".join(parts))


def webm(*before: bytes, blocks: bytes = b"", tracks: bytes | None = None) -> bytes:
    described = element("1654ae6b", track() if tracks is None else tracks)
    return EBML + SEGMENT + b"".join(before) + described + CLUSTER + blocks


def block(packet: bytes, discard_ns: int = 0) -> bytes:
    inner = element("a1", b"\x81\0\0\0" + packet)
    return element("a0", inner + element("75a2", discard_ns.to_bytes(4, "big")))


SOUND = b"".join(element("a3", b"\x81\0\0\x80" + part) for part in opus_packets(tone(rate=48_000)))


def test_ffmpeg_gets_webm_without_its_metadata() -> None:
    tag = element("1254c367", element("7373", element("67c8", bytes(20))))
    data = webm(tag, element("ec", bytes(5)), blocks=SOUND)
    assert bare_file(data, Codec.WEBM) == (webm(blocks=SOUND), Codec.WEBM)
    assert is_tone(heard(data))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (webm(*[element("ec", b"")] * 1_000), "too many elements"),
        (webm(tracks=track() * 800), "too long a header"),
        (EBML + SEGMENT + element("1654ae6b", track()), "no cluster"),
        (EBML + SEGMENT + bytes.fromhex("1654ae6b01ffffffffffffff"), "no cluster"),
    ],
)
def test_the_header_of_a_webm_file_is_bounded(data: bytes, complaint: str) -> None:
    with pytest.raises(CorruptAudioError, match=complaint):
        heard(data)


def test_compressed_tracks_are_unsupported() -> None:
    with pytest.raises(UnsupportedFormatError, match="compressed or encrypted"):
        heard(webm(tracks=track(extra=element("6d80", b"")), blocks=SOUND))


def test_a_file_has_sixteen_tracks_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    plain = media._packets

    def watched(container: av.container.InputContainer, stream: av.AudioStream) -> object:
        counts.append(len(container.streams))
        return plain(container, stream)

    monkeypatch.setattr(media, "_packets", watched)
    for number in (16, 17):
        ids = [element("d7", bytes([n + 1])) for n in range(number)]
        tracks = b"".join(track().replace(element("d7", b"\1"), found) for found in ids)
        assert is_tone(heard(webm(tracks=tracks, blocks=SOUND)))
    assert counts == [16, 16]


def test_a_stream_whose_packets_give_nearly_nothing_is_given_up() -> None:
    packet = opus_packets(tone(rate=48_000))[5]
    almost_all = block(packet, 20_000_000 - 20_900)
    assert len(heard(webm(blocks=almost_all * FILL))) < 1_000


def test_a_stream_of_single_samples_is_given_up() -> None:
    tracks = track(b"A_PCM/FLOAT/IEEE", bits=32)
    found = heard(webm(tracks=tracks, blocks=element("a3", b"\x81\0\0\x80" + bytes(4)) * FILL))
    assert len(found) < 1_000


def test_a_frame_has_ten_seconds_at_most() -> None:
    tracks = track(b"A_PCM/FLOAT/IEEE", bits=32)

    def of(samples: int) -> bytes:
        return webm(tracks=tracks, blocks=element("a3", b"\x81\0\0\x80" + bytes(4 * samples)))

    assert len(heard(of(470_000))) > 150_000
    with pytest.raises(CorruptAudioError):
        heard(of(480_001))


def test_streams_that_are_not_heard_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    second = track().replace(element("d7", b"\1"), element("d7", b"\2"))
    other = SOUND.replace(b"\x81\0\0\x80", b"\x82\0\0\x80")
    given: list[int] = []
    plain = media._decoded

    def watched(context: object, stream: Iterator[av.Packet[av.AudioStream]]) -> object:
        watched_packets = list(stream)
        given.extend(p.stream_index for p in watched_packets if p.size)
        return plain(context, watched_packets)  # type: ignore[arg-type]

    monkeypatch.setattr(media, "_decoded", watched)
    assert is_tone(heard(webm(tracks=track() + second, blocks=SOUND + other)))
    assert set(given) == {0}


# The others --------------------------------------------------------------------------------------


def test_more_than_four_id3_tags_are_corrupt() -> None:
    sound, tag = container("mp3", "libmp3lame", tone(rate=44_100), 44_100), b"ID3\3\0" + bytes(5)
    assert is_tone(heard(tag * 3 + sound))
    with pytest.raises(CorruptAudioError, match="too many ID3 tags"):
        heard(tag * 4 + sound)


def test_ffmpeg_gets_wav_without_its_lists() -> None:
    mulaw = chunk(b"fmt ", struct.pack("<HHIIHH", 7, 1, 8_000, 8_000, 1, 8))
    samples = chunk(b"data", b"\xff" * 8_000)
    lists = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"name"))
    bare, _ = bare_file(riff(mulaw, lists, samples, lists), Codec.WAV)
    assert bare == riff(mulaw, samples, size=len(bare) - 8)
    assert len(heard(bare)) == 16_000


def test_adpcm_of_tiny_blocks_is_given_up() -> None:
    head = struct.pack("<HHIIHHHH", 0x11, 1, 16_000, 8_110, 5, 4, 2, 3)
    assert len(heard(riff(chunk(b"fmt ", head), chunk(b"data", bytes(5 * FILL))))) < 3_000


def test_alac_that_claims_a_huge_frame_is_corrupt() -> None:
    samples = 4_096 * 4_096
    cookie = struct.pack(">IBBBBBBHIII", samples, 0, 32, 40, 10, 14, 2, 255, 0, 0, 48_000)
    bits = f"0010000{0:012b}1000{samples:032b}".ljust(512, "0")
    frame = int(bits, 2).to_bytes(64, "big")
    described = entry(b"alac", parts=box(b"alac", bytes(4), cookie))
    forged = Forged(entries=described, sizes=u32(64, 10), chunks=u32(1, 1, 10, 1))
    forged.offsets = u32(1, 0)
    forged.offsets = u32(1, len(forged.file()) + 8)
    data = forged.file(box(b"mdat", frame * 10))
    with pytest.raises(CorruptAudioError, match="no sample"):
        heard(data)


def test_decoders_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packets.DECODER_OPTIONS["threads"] == "1"
    opened: list[int] = []
    plain = media._decoded

    def watched(context: av.AudioCodecContext, stream: object) -> object:
        opened.append(context.thread_count)
        yield from plain(context, stream)  # type: ignore[arg-type]
        opened.append(context.thread_count)

    monkeypatch.setattr(media, "_decoded", watched)
    heard(container("flac", "flac", tone()))
    assert opened[-1] == 1


def test_no_file_or_address_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    options = media._CONTAINER_OPTIONS
    assert options["protocol_whitelist"] == "none"
    monkeypatch.setitem(media._DEMUXERS, Codec.FLAC, ("concat", frozenset({"flac"})))
    with pytest.raises(UtteranceError):
        decode(EncodedAudio(None, flac(frames=flac_frame(4_096))), 1.0)
    assert np.isfinite(heard(container("mp3", "libmp3lame", tone(rate=44_100), 44_100))).all()
