"""MP4: what phones and browsers record, and what hostile hands make of it."""

from __future__ import annotations

import io
import struct
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio import media
from stt_mqtt.audio.decode import Decoding, decode
from stt_mqtt.audio.mp4 import read_mp4
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples
from tests.audio.mp4_forge import (
    FTYP,
    Forged,
    aac_frames,
    box,
    entry,
    esds,
    full,
    u32,
)
from tests.audio.synth import container, is_tone, s16, tone
from tests.audio.test_decode_media import EDITS, edited
from tests.thorough import examples

KINDS = {
    "m4a": ("ipod", "aac", 44_100, 2, ""),
    "m4a-8-khz": ("ipod", "aac", 8_000, 1, ""),
    "mp4": ("mp4", "aac", 16_000, 1, ""),
    "index-first": ("mp4", "aac", 48_000, 1, "faststart"),
    "quicktime": ("mov", "aac", 44_100, 2, ""),
    "3gp": ("3gp", "aac", 16_000, 1, ""),
    "alac": ("ipod", "alac", 44_100, 2, ""),
    "opus": ("mp4", "libopus", 48_000, 2, ""),
    "mp3": ("mp4", "libmp3lame", 44_100, 1, ""),
    "quicktime-mp3": ("mov", "libmp3lame", 44_100, 1, ""),
    "fragments": ("mp4", "aac", 48_000, 1, "frag_keyframe+empty_moov+default_base_moof"),
    "fragments-by-offset": ("mp4", "aac", 44_100, 2, "empty_moov"),
    "fragments-opus": ("mp4", "libopus", 48_000, 1, "empty_moov+default_base_moof"),
    "fragments-behind-index": ("mp4", "aac", 44_100, 1, "frag_custom"),
}
LONG = 40_000_000
FRAMES = aac_frames(container("adts", "aac", tone(seconds=0.5)))
MDAT = box(b"mdat", b"".join(FRAMES))


@cache
def sound(kind: str) -> bytes:
    """One second of 440 Hz."""
    name, codec, rate, channels, flags = KINDS[kind]
    return container(name, codec, tone(rate=rate), rate, channels, flags=flags)


def heard(data: bytes, max_s: float = 30.0) -> Samples:
    return decode(EncodedAudio(None, data), max_s).samples


def forged(**tables: Any) -> bytes:
    """A file of `FRAMES` in one chunk; tables can be replaced."""
    sizes = u32(0, len(FRAMES), *map(len, FRAMES))
    tables = {"sizes": sizes, "chunks": u32(1, 1, len(FRAMES), 1), **tables}
    if "offsets" not in tables:
        size = len(Forged(**tables, offsets=u32(1, 0)).file())
        tables["offsets"] = u32(1, size + 8)
    return Forged(**tables).file(MDAT)


@pytest.mark.parametrize("kind", KINDS)
def test_what_phones_and_browsers_record_is_decoded(kind: str) -> None:
    samples = heard(sound(kind))
    assert 16_000 <= len(samples) < 20_500
    assert is_tone(samples[1_000:16_000])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_beyond_the_limit_is_left_out_and_said(kind: str) -> None:
    found = decode(EncodedAudio(None, sound(kind)), 0.5)
    assert (len(found.samples), found.truncated) == (8_000, True)


@pytest.mark.parametrize("kind", ["fragments", "fragments-opus", "index-first"])
def test_a_recording_that_was_cut_off_gives_what_is_there(kind: str) -> None:
    data = sound(kind)
    assert 8_000 < len(heard(data[: len(data) * 3 // 4])) < 16_500


@pytest.mark.parametrize("kind", ["m4a", "quicktime"])
def test_one_that_was_cut_off_before_its_index_is_corrupt(kind: str) -> None:
    with pytest.raises(CorruptAudioError, match="cut off"):
        heard(sound(kind)[: len(sound(kind)) // 2])


def test_the_picture_of_a_film_does_not_hide_its_sound() -> None:
    assert is_tone(heard(forged(handler=b"soun"))[2_000:])
    film = box(b"trak", full(b"tkhd", bytes(80)), box(b"mdia", full(b"hdlr", bytes(4), b"vide")))
    moov = box(b"moov", film, Forged().moov()[8:])
    with pytest.raises(CorruptAudioError, match="no sample"):
        heard(FTYP + moov)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_each_version_of_a_sound_description_is_read(version: int) -> None:
    assert is_tone(heard(forged(entries=entry(version=version)))[2_000:])
    inside = entry(version=version, parts=box(b"wave", box(b"frma", b"mp4a"), esds()))
    assert is_tone(heard(forged(entries=inside))[2_000:])


@pytest.mark.parametrize(
    ("flags", "extra"), [(0x80, b"\0\0"), (0x40, b"\3url"), (0x20, b"\0\0"), (0x40, b"")]
)
def test_optional_fields_of_a_stream_description_are_skipped(flags: int, extra: bytes) -> None:
    data = forged(entries=entry(parts=esds(flags=flags, extra=extra)))
    if extra:
        assert is_tone(heard(data)[2_000:])
    else:
        with pytest.raises(UnsupportedFormatError):
            heard(data)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"mp4a", esds(kind=0xA9)),
        (b"mp4a", b""),
        (b"mp4a", full(b"esds", b"\3")),
        (b"mp4a", full(b"esds", b"\3\x80\x80\x80\x80\x80")),
        (b"mp4a", full(b"esds")),
        (b"enca", esds()),
        (b"samr", b""),
        (b"alac", b""),
        (b"Opus", b""),
        (b"\xff\0\n\x80", b""),
    ],
)
def test_another_coding_is_unsupported_and_named(name: bytes, parts: bytes) -> None:
    with pytest.raises(
        UnsupportedFormatError, match="audio; send AAC, ALAC, Opus or MP3"
    ) as caught:
        heard(forged(entries=entry(name, parts=parts)))
    assert ascii(name.decode("latin-1")) in caught.value.detail


@pytest.mark.parametrize(("rate", "channels"), [(96_000, 1), (48_000, 6)])
def test_rates_and_channels_out_of_range_are_unsupported(rate: int, channels: int) -> None:
    with pytest.raises(UnsupportedFormatError):
        heard(container("ipod", "aac", tone(rate=rate), rate, channels))


@pytest.mark.parametrize(
    "data",
    [
        forged(handler=b"vide"),
        FTYP + box(b"moov", box(b"trak")),
        FTYP + box(b"moov", box(b"trak", box(b"mdia", full(b"hdlr", bytes(4), b"soun")))),
        forged(entries=b""),
        forged(sizes=b""),
        forged(chunks=b""),
        forged(chunks=u32(0)),
        forged(offsets=b""),
        forged(offsets=u32(1, 0xFFFFFFFF)),
        forged().replace(b"stsz", b"free"),
        forged().replace(b"stsc", b"free"),
        forged().replace(b"stsd", b"free"),
        FTYP + b"\0\0\0\1moov" + bytes(8),
        FTYP + b"\0\0\0\1moov",
    ],
)
def test_a_file_without_frames_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptAudioError):
        heard(data)


def test_what_is_missing_is_not_made_up() -> None:
    """Without data references the audio is in the file; a reference that is not there is none."""
    assert is_tone(heard(forged().replace(b"dref", b"free"))[2_000:])
    assert is_tone(heard(forged(reference=b""))[2_000:])


def test_a_box_may_reach_to_the_end_or_have_a_long_size() -> None:
    def in_front(size: bytes) -> bytes:
        """The frames before their index, in a box whose head is `size` and its name."""
        mdat = size[:4] + b"mdat" + size[4:] + b"".join(FRAMES)
        offset = u32(1, len(FTYP) + 4 + len(size))
        tables: dict[str, Any] = {"sizes": u32(0, len(FRAMES), *map(len, FRAMES))}
        moov = Forged(**tables, chunks=u32(1, 1, len(FRAMES), 1), offsets=offset).moov()
        return FTYP + mdat + b"\0\0\0\0" + moov[4:]

    length = sum(map(len, FRAMES))
    assert is_tone(heard(in_front(u32(8 + length)))[2_000:])
    assert is_tone(heard(in_front(u32(1, 0, 16 + length)))[2_000:])


def test_chunks_of_different_length_and_64_bit_offsets() -> None:
    sizes, half = u32(0, len(FRAMES), *map(len, FRAMES)), len(FRAMES) - 5
    tables: dict[str, Any] = {
        "sizes": sizes,
        "chunks": u32(2, 1, half, 1, 2, 5, 1),
        "offsets_name": b"co64",
    }
    size = len(Forged(**tables, offsets=u32(2, 0, 0, 0, 0)).file())
    first = size + 8
    second = first + sum(map(len, FRAMES[:half]))
    data = Forged(**tables, offsets=u32(2, 0, first, 0, second)).file(MDAT)
    assert [bytes(frame) for frame in read_mp4(data).frames] == FRAMES
    unsorted = u32(2, 5, half, 1, 2, 5, 1)
    data = Forged(**{**tables, "chunks": unsorted}, offsets=u32(2, 0, first, 0, second)).file(MDAT)
    assert [bytes(frame) for frame in read_mp4(data).frames][:5] == FRAMES[:5]


def frames_of(data: bytes) -> list[bytes]:
    return [bytes(frame) for frame in read_mp4(data).frames if frame]


def fragmented(
    head: bytes, run: bytes, defaults: bytes = u32(7, 1, 1024, 0, 0), version: int = 0
) -> bytes:
    moof = box(b"moof", full(b"mfhd", u32(1)), box(b"traf", head, run))
    file = Forged(extends=full(b"trex", defaults), track_version=version).file()
    return file + moof + MDAT


HEAD = full(b"tfhd", u32(7), flags=0x020000)


def run_of_all(fields: int, per_frame: tuple[int, int] = (0, 0), first: bool = False) -> bytes:
    """A run of all `FRAMES`, with other fields around the size of each."""
    before, behind = per_frame
    table = b"".join(u32(*[1] * before, len(frame), *[2] * behind) for frame in FRAMES)
    mark = u32(9) if first else b""
    flags = 0x201 | fields | 4 * first
    moof_size = 8 + 16 + 8 + len(HEAD) + 20 + len(mark) + len(table)
    return full(b"trun", u32(len(FRAMES), moof_size + 8), mark, table, flags=flags)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    "run",
    [
        run_of_all(0),
        run_of_all(0x100, (1, 0)),
        run_of_all(0xD00, (1, 2)),
        run_of_all(0, first=True),
    ],
)
def test_each_form_of_a_fragment_is_read(run: bytes, version: int) -> None:
    data = fragmented(HEAD, run, version=version)
    assert frames_of(data) == FRAMES


def test_fragments_of_another_track_are_left_out() -> None:
    data = fragmented(HEAD.replace(u32(7), u32(8)), run_of_all(0))
    assert frames_of(data) == []
    headless = fragmented(b"", run_of_all(0))
    assert frames_of(headless) == []
    unnamed = fragmented(HEAD, run_of_all(0)).replace(b"tkhd", b"free")
    assert frames_of(unnamed) == []


@pytest.mark.parametrize(
    ("head", "defaults"),
    [
        (full(b"tfhd", u32(7), flags=0), u32(7, 1, 1024, 4, 0)),
        (full(b"tfhd", u32(7, 4), flags=0x10), u32(8, 1, 1024, 9, 0)),
        (full(b"tfhd", u32(7, 1, 1024, 4), flags=0x1A), u32(7, 1, 1024, 9, 0)),
    ],
)
def test_a_run_without_sizes_has_the_size_that_was_said_before(
    head: bytes, defaults: bytes
) -> None:
    data = fragmented(head, full(b"trun", u32(3)), defaults)
    start = data.index(b"moof") - 4
    assert frames_of(data) == [data[start + 4 * n : start + 4 * n + 4] for n in range(3)]


def test_a_fragment_may_say_where_its_frames_are_in_the_file() -> None:
    head = full(b"tfhd", struct.pack(">IQ", 7, 2), flags=1)
    run = full(b"trun", struct.pack(">Iii", 2, 2, 0), flags=0x1)
    data = fragmented(head, run, u32(7, 1, 1024, 4, 0))
    assert frames_of(data) == [data[4:8], data[8:12]]
    before = full(b"trun", struct.pack(">Ii", 2, -3), flags=0x1)
    assert frames_of(fragmented(head, before, u32(7, 1, 1024, 4, 0))) == []


def test_frames_without_bytes_are_empty() -> None:
    run = full(b"trun", u32(3, 0, 4, 0), flags=0x200)
    assert [len(frame) for frame in read_mp4(fragmented(HEAD, run)).frames] == [0, 0, 4, 0]
    data = forged(sizes=u32(0, 3, 0, len(FRAMES[0]), 0))
    assert [bytes(frame) for frame in read_mp4(data).frames] == [b"", FRAMES[0], b""]


@pytest.mark.parametrize(
    "index",
    [
        forged(sizes=u32(0, 9_000) + bytes(36_000), chunks=u32(1, 1, 9_000, 1)),
        forged(offsets=u32(9_000) + bytes(36_000), chunks=u32(1, 1, 0, 1)),
        fragmented(HEAD, full(b"trun", u32(9_000) + bytes(36_000), flags=0x200)),
        forged() + box(b"moof") * 9_000,
    ],
    ids=["sizes", "chunks", "runs", "fragments"],
)
def test_an_index_of_nothing_is_given_up_before_its_end(index: bytes) -> None:
    frames = read_mp4(index).frames
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media, "read_mp4", lambda data: replace(read_mp4(data), frames=frames))
        with suppress(CorruptAudioError):
            heard(index)
    assert sum(1 for _ in frames) > 7_000


BOMBS = {
    "frames of one size": forged(sizes=u32(1, LONG), chunks=u32(1, 1, LONG, 1)),
    "frames without size": forged(sizes=u32(0, LONG), chunks=u32(1, 1, LONG, 1)),
    "frames in a table": forged(sizes=u32(0, LONG, 1, 1, 1), chunks=u32(1, 1, LONG, 1)),
    "chunks": forged(offsets=u32(LONG, 8)),
    "runs of chunks": forged(chunks=u32(LONG, 1, 0, 1, LONG, 1, 1)),
    "fragments": fragmented(HEAD, full(b"trun", u32(LONG)), u32(7, 1, 1024, 1, 0)),
    "fragments without size": fragmented(HEAD, full(b"trun", u32(LONG))),
    "fragments in a table": fragmented(HEAD, full(b"trun", u32(LONG, 1, 1), flags=0x200)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_tables_that_claim_millions_of_frames_cost_nothing(bomb: str) -> None:
    data = BOMBS[bomb]
    assert len(data) < 5_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(read_mp4(data).frames, 10_000)) <= len(data)
        with suppress(CorruptAudioError):
            heard(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_frames_are_looked_up_while_they_are_wanted() -> None:
    data = container("ipod", "aac", tone(seconds=61.0))
    assert [round(len(piece) / 16_000) for piece in Decoding(EncodedAudio(None, data))] == [
        30,
        30,
        1,
    ]


@pytest.mark.parametrize("kind", [b"alis", b"url "])
def test_a_file_that_points_to_another_file_is_refused_unopened(
    tmp_path: Path, kind: bytes
) -> None:
    """The control is FFmpeg's own reader with references switched on: it follows this one."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(s16(tone())[: 2 * 8_000])
    data = pointing_to(secret, kind)
    with pytest.raises(UnsupportedFormatError, match="another file"):
        heard(data)
    if kind == b"alis":
        options = {"enable_drefs": "1", "use_absolute_path": "1"}
        with av.open(io.BytesIO(data), "r", format="mov", options=options) as leaking:
            (frame, *_) = leaking.decode(audio=0)
            assert np.count_nonzero(frame.to_ndarray()) > 100


def pointing_to(target: Path, kind: bytes) -> bytes:
    """PCM in MP4 whose samples are said to lie in `target`."""
    if kind == b"url ":
        reference = full(kind, b"file://" + str(target).encode() + b"\0")
    else:
        path = str(target).encode()
        volume = bytes([4]) + b"disk".ljust(27, b"\0")
        name = bytes([len(target.name)]) + target.name.encode().ljust(63, b"\0")
        alias = (
            bytes(4) + b"\0\0\0\2" + bytes(2) + volume + bytes(12) + name[:64] + bytes(16)
            + struct.pack(">HH", 0xFFFF, 0xFFFF) + bytes(16)
            + struct.pack(">HH", 2, len(path)) + path + b"\0" * (len(path) % 2)
            + struct.pack(">HH", 0xFFFF, 0)
        )  # fmt: skip
        reference = full(kind, alias)
    return Forged(
        entries=entry(b"sowt", parts=b""),
        sizes=u32(2, 8_000),
        chunks=u32(1, 1, 8_000, 1),
        offsets=u32(1, 0),
        reference=reference,
    ).file(box(b"mdat", bytes(64)))


@settings(max_examples=examples(130), deadline=None)
@given(st.sampled_from(sorted(KINDS)), EDITS, st.integers(0, 3_000))
def test_damaged_files_give_audio_or_one_of_two_errors(
    kind: str, edits: list[tuple[int, int, bytes]], missing: int
) -> None:
    data = edited(sound(kind), edits, missing)
    try:
        found = decode(EncodedAudio(AudioFormat(Codec.MP4), data), 2.0)
    except (CorruptAudioError, UnsupportedFormatError):
        return
    assert len(found.samples) <= 32_000
    assert np.isfinite(found.samples).all()


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2_000), st.integers(0, 2**32))
def test_any_number_anywhere_in_the_index_harms_nobody(
    junk: bytes, place: int, number: int
) -> None:
    data = bytearray(forged() + junk)
    at = place % (len(data) - 4)
    data[at : at + 4] = struct.pack(">I", number & 0xFFFFFFFF)
    try:
        found = decode(EncodedAudio(AudioFormat(Codec.MP4), bytes(data)), 2.0)
    except (CorruptAudioError, UnsupportedFormatError):
        return
    assert len(found.samples) <= 32_000
