"""What a file is by its first bytes, and that real speech is none."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.buffer import whole
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.magic import foreign_kind, is_file, sniff
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tests.audio.synth import container, fmt, is_tone, riff, s16, tone
from tests.thorough import examples

SPEECH = os.environ.get("STT_MQTT_SPEECH")
SOUND = tone(seconds=0.5)
PCM = s16(SOUND)


def sound(kind: str, codec: str, rate: int = 16_000) -> bytes:
    return container(kind, codec, tone(seconds=0.5, rate=rate), rate)


def picture(codec: str) -> bytes:
    """The file of one small picture."""
    out = io.BytesIO()
    with av.open(out, "w", format="gif" if codec == "gif" else "image2pipe") as muxer:
        stream = muxer.add_stream(codec, rate=1)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = 16
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "bmp": "bgr24"}.get(codec, "rgb24")
        pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
        muxer.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        muxer.mux(stream.encode(None))
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", PCM)
    return out.getvalue()


def empty_archive() -> bytes:
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    return out.getvalue()


def id3(size: int = 20, footer: bool = False) -> bytes:
    """A tag with nothing in it."""
    return b"ID3\x04\0" + bytes([0x10 * footer, 0, 0, 0, size]) + bytes(size + 10 * footer)


FOREIGN = {
    "AIFF": sound("aiff", "pcm_s16be"),
    "CAF": sound("caf", "pcm_s16be"),
    "AU": sound("au", "pcm_s16be"),
    "WMA": sound("asf", "pcm_s16le"),
    "Wave64": sound("w64", "pcm_s16le"),
    "WavPack": sound("wv", "wavpack"),
    "AAC (ADTS)": sound("adts", "aac"),
    "AMR": b"#!AMR\n" + bytes(300),
    "big-endian WAV": b"RIFX" + bytes(4) + b"WAVEfmt " + bytes(60),
    "kind AVI": b"RIFF" + bytes(4) + b"AVI LIST" + bytes(60),
    "MIDI": b"MThd\0\0\0\6\0\1\0\2" + bytes(60),
    "PNG": picture("png"),
    "JPEG": picture("mjpeg"),
    "a JPEG": b"\xff\xd8\xff\xe1\x20\0Exif\0\0" + bytes(60),
    "JPEG image": b"\xff\xd8" + b"\xff\xdb\0\4\0\0" * 3,
    "GIF": picture("gif"),
    "BMP": picture("bmp"),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(60),
    "gzip": gzip.compress(PCM),
    "ZIP archive": archive(),
    "ZIP": empty_archive(),
    "text": base64.b64encode(sound("wav", "pcm_s16le")),
    "text, perhaps": b'{"audio": "UklGRi4AAABXQVZF", "rate": 16000}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_refused_by_its_name(kind: str) -> None:
    data = FOREIGN[kind]
    assert sniff(data) is None
    with pytest.raises(UnsupportedFormatError, match="send WAV, FLAC, Ogg") as caught:
        whole(data, AudioFormat())
    assert kind in caught.value.detail
    with pytest.raises(UnsupportedFormatError):
        decode(EncodedAudio(None, data), 1.0)


@pytest.mark.parametrize("kind", FOREIGN)
def test_pcm_that_begins_like_another_kind_by_chance_is_pcm(kind: str) -> None:
    """Two or three bytes prove nothing, loud audio has any of them."""
    for size in (2, 3):
        data = FOREIGN[kind][:size] + PCM[size:]
        assert not is_file(data)
        assert whole(data, AudioFormat()) == EncodedAudio(AudioFormat(), data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\xff" + PCM,  # reserved flags
        b"\x1f\x8b\x08\0\0\0\0\0\x07\3" + PCM,  # a strength that nobody writes
        b"\x1f\x8b\x08",
        b"PK\3\4" + PCM[::-1],
        b"PK\5\6" + PCM[1::2],
        b"\xff\xd8\xff\xdb\0\x10" + bytes(40),  # no marker where the segment ends
        b"\xff\xd8\xff\xdb\0\4\0\0\xff\xdb\0\4\0\0\0\0",  # none behind the second one
        b"\xff\xd8\xff",
        b".snd" + PCM[::-1],
        b"BM" + bytes(40),
        b"wvpk" + bytes(40),
        b"RIFF" + bytes(40),
        b"FORM" + bytes(40),
        b"\0\0\0\4ftypM4A " + PCM,  # a box smaller than its head
        b"\x20\0\0\0ftypM4A " + PCM,  # one of half a gigabyte
        b"\xff\xf1\x50\x80" + bytes(40),  # one ADTS header
        b"A" * 300,  # one letter is no text
        b"abcdef",
    ],
)
def test_a_header_that_only_resembles_another_kind_is_pcm(data: bytes) -> None:
    assert not is_file(data)


@pytest.mark.parametrize(
    "second", [b"\xff\xf1\x50\x80\x01\x7f\xfc", b"\xff\xf1\x5c\x80\x01\x7f\xfc"]
)
def test_two_matching_frames_make_raw_aac(second: bytes) -> None:
    first = b"\xff\xf1\x50\x80\x01\x7f\xfc"
    assert (foreign_kind(first + bytes(4) + second) == "raw AAC (ADTS)") is (second == first)


@pytest.mark.parametrize("tag", [id3(), id3(footer=True), id3() + id3(100)])
@pytest.mark.parametrize(
    ("kind", "codec", "expected"),
    [
        ("flac", "flac", Codec.FLAC),
        ("wav", "pcm_s16le", Codec.WAV),
        ("mp3", "libmp3lame", Codec.MP3),
        ("ipod", "aac", Codec.MP4),
    ],
)
def test_what_stands_behind_an_id3_tag_decides(
    tag: bytes, kind: str, codec: str, expected: Codec
) -> None:
    data = tag + sound(kind, codec)
    assert sniff(data) is expected
    assert is_tone(decode(EncodedAudio(None, data), 30.0).samples)


def test_raw_aac_behind_an_id3_tag_is_refused_by_its_name() -> None:
    data = id3() + FOREIGN["AAC (ADTS)"]
    assert sniff(data) is None
    assert foreign_kind(data) == "raw AAC (ADTS)"


@pytest.mark.parametrize("rest", [b"", b"\0" * 500])
def test_an_id3_tag_with_nothing_known_behind_it_is_mp3(rest: bytes) -> None:
    assert sniff(id3() + rest) is Codec.MP3


def test_no_more_than_a_few_tags_are_looked_behind() -> None:
    assert sniff(id3() * 5 + sound("flac", "flac")) is Codec.MP3


@pytest.mark.skipif(SPEECH is None, reason="STT_MQTT_SPEECH names no speech data")
def test_no_piece_of_real_speech_looks_like_a_file() -> None:
    folder = Path(SPEECH or "")
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[::10]
    random = np.random.default_rng(1)
    looked_at = 0
    for line in lines:
        audio = EncodedAudio(None, (folder / json.loads(line)["path"]).read_bytes())
        samples = decode(audio, 30.0).samples
        pcm = (samples * 32767).astype("<i2").tobytes()
        for at in random.integers(0, max(len(pcm) - 4_000, 1), 50):
            assert not is_file(pcm[at : at + 4_000])
            looked_at += 1
    assert looked_at > 1_000


@settings(max_examples=examples(170))
@given(st.binary(max_size=4))
def test_four_bytes_alone_never_make_a_file_of_another_kind(head: bytes) -> None:
    assert foreign_kind(head + PCM[len(head) :]) is None


@pytest.mark.parametrize(
    ("kind", "codec", "expected"),
    [
        ("wav", "pcm_s16le", Codec.WAV),
        ("flac", "flac", Codec.FLAC),
        ("ogg", "libopus", Codec.OGG),
        ("webm", "libopus", Codec.WEBM),
        ("mp3", "libmp3lame", Codec.MP3),
        ("ipod", "aac", Codec.MP4),
        ("mov", "aac", Codec.MP4),
        ("3gp", "aac", Codec.MP4),
    ],
)
def test_a_container_is_known_by_its_first_bytes(kind: str, codec: str, expected: Codec) -> None:
    assert sniff(container(kind, codec, tone(seconds=0.2, rate=48_000), 48_000)) is expected


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_mp3_without_a_tag_is_known_by_two_frames(rate: int) -> None:
    tagged = container("mp3", "libmp3lame", tone(seconds=0.5, rate=rate), rate)
    size = 10 + (tagged[8] << 7 | tagged[9])
    assert tagged[:3] == b"ID3"
    assert sniff(tagged[size:]) is Codec.MP3
    assert sniff(tagged[size : size + 100]) is None


def test_one_mp3_header_in_raw_audio_is_not_mp3() -> None:
    assert sniff(b"\xff\xfb\x90\x64" + s16(tone())) is None


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfb\xf0\x64",  # bitrate that does not exist
        b"\xff\xfb\x00\x64",  # free bitrate
        b"\xff\xfb\x9c\x64",  # rate that does not exist
        b"\xff\xeb\x90\x64",  # version that does not exist
        b"\xff\xfb\x90\x66",  # emphasis that does not exist
        b"\xff\xfd\x90\x64",  # layer II
        b"\xff",
    ],
)
def test_an_impossible_mp3_header_is_not_mp3(header: bytes) -> None:
    assert sniff((header + bytes(413)) * 3) is None


def test_a_third_mp3_frame_has_to_fit_where_the_data_reaches_it() -> None:
    frame = b"\xff\xfb\x90\x64" + bytes(413)
    assert sniff(frame * 2) is Codec.MP3
    assert sniff(frame * 2 + b"\xff\xfb\x90") is Codec.MP3
    assert sniff(frame * 3) is Codec.MP3
    assert sniff(frame * 2 + PCM) is None


def test_a_second_mp3_frame_of_another_kind_is_not_mp3() -> None:
    assert sniff(b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64") is Codec.MP3
    assert sniff(b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x94\x64") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF\0\0\0\0AVI ",
        b"RIFX\0\0\0\0WAVE",
        b"ID3",
        b"ID3\x09\0\0\0\0\0\0",
        b"ID3\x04\0\0\xff\0\0\0",
        b"ID3\x04\0\x0f\0\0\0\0",
        b"OggT",
    ],
)
def test_what_only_resembles_a_container_is_raw(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=64))
def test_pcm_is_never_taken_for_a_container(tail: bytes) -> None:
    assert sniff(s16(tone(seconds=0.1)) + tail) is None


def test_a_wav_header_is_found_whatever_its_size_says() -> None:
    assert sniff(riff(fmt(), size=0xFFFFFFFF)) is Codec.WAV
