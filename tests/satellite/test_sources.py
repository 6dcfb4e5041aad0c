"""Frames from files and from what is piped in."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.pcm import scale
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.errors import ConfigError
from stt_mqtt.satellite import sources
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from stt_mqtt.satellite.sources import FileSource, StreamSource, cut, s16
from tests.audio.synth import chunk, container, fmt, is_tone, riff, tone

PCM = np.arange(1, 1001, dtype="<i2").tobytes()
"""Two frames and a bit, no sample like another."""


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def padded(pcm: bytes) -> bytes:
    """`pcm` up to the end of its last frame."""
    whole = pcm[: len(pcm) // 2 * 2]
    return whole + bytes(-len(whole) % FRAME_BYTES)


# Cutting ---------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=3 * FRAME_BYTES), max_size=6))
@settings(deadline=None)
def test_pieces_of_any_size_become_whole_frames(pieces: list[bytes]) -> None:
    frames = list(cut(pieces))
    assert all(len(frame) == FRAME_BYTES for frame in frames)
    assert b"".join(frames) == padded(b"".join(pieces))


def test_a_frame_comes_as_soon_as_it_is_whole() -> None:
    frames = cut(iter([PCM[:1000], b""]))
    assert next(frames) == PCM[:FRAME_BYTES]


def test_samples_beyond_full_scale_are_clipped() -> None:
    samples = np.array([-1.5, -1.0, 0.0, 1.0], np.float32)
    assert np.frombuffer(s16(samples), "<i2").tolist() == [-32768, -32768, 0, 32767]


# Files -----------------------------------------------------------------------------------------


def as_file(folder: Path, data: bytes) -> Path:
    path = folder / "speech.wav"
    path.write_bytes(data)
    return path


def from_file(path: Path) -> bytes:
    return b"".join(FileSource(path, real_time=False).frames())


@pytest.mark.parametrize("first", [-32768, 0, 32767 - 999])
def test_a_wav_file_comes_out_sample_by_sample_and_is_filled_up(tmp_path: Path, first: int) -> None:
    pcm = np.arange(first, first + 1000).astype("<i2").tobytes()
    assert from_file(as_file(tmp_path, wav_bytes(pcm, 16_000))) == padded(pcm)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_flac_file_of_any_rate_is_brought_to_that_of_the_frames(
    tmp_path: Path, rate: int, channels: int
) -> None:
    data = container("flac", "flac", tone(rate=rate), rate, channels)
    pcm = from_file(as_file(tmp_path, data))
    assert len(pcm) == len(padded(bytes(32_000)))
    assert is_tone(scale(np.frombuffer(pcm[:32_000], "<i2")))


def test_frames_of_a_file_come_when_a_microphone_would_give_them(tmp_path: Path) -> None:
    clock = Clock()
    path = as_file(tmp_path, wav_bytes(bytes(32_000), 16_000))
    times = [clock.now for _ in FileSource(path, True, clock, clock.sleep).frames()]
    assert times == pytest.approx([100 + FRAME_S * number for number in range(1, 35)])


def test_time_that_the_reader_takes_is_caught_up_with(tmp_path: Path) -> None:
    clock = Clock()
    path = as_file(tmp_path, wav_bytes(bytes(32_000), 16_000))
    times = []
    for number, _ in enumerate(FileSource(path, True, clock, clock.sleep).frames()):
        times.append(clock.now)
        clock.now += 0.1 if number == 3 else 0.01
    assert times[3] == pytest.approx(100.12)
    assert times[4] == pytest.approx(100.22)
    assert times[8:] == pytest.approx([100 + FRAME_S * number for number in range(9, 35)])


def test_as_fast_as_possible_never_sleeps(tmp_path: Path) -> None:
    clock = Clock()
    path = as_file(tmp_path, wav_bytes(bytes(32_000), 16_000))
    assert len(list(FileSource(path, False, clock, clock.sleep).frames())) == 34
    assert clock.slept == []


def test_a_closed_file_gives_no_further_frame(tmp_path: Path) -> None:
    source = FileSource(as_file(tmp_path, wav_bytes(PCM, 16_000)), real_time=False)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_a_file_that_is_too_long_is_cut_off_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_S", 0.06)
    path = as_file(tmp_path, wav_bytes(bytes(32_000), 16_000))
    assert len(from_file(path)) == 2 * FRAME_BYTES
    assert "is cut off" in caplog.text


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1024**2)
    with pytest.raises(ConfigError, match=r"speech\.wav: larger than 1 MiB"):
        FileSource(as_file(tmp_path, wav_bytes(bytes(1024**2), 16_000)), real_time=False)


@pytest.mark.parametrize("data", [b"", b"Dear diary, today", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_audio_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"speech\.wav: .*WAV"):
        FileSource(as_file(tmp_path, data), real_time=False)


def test_a_file_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.wav: No such file"):
        FileSource(tmp_path / "gone.wav", real_time=False)
    with pytest.raises(ConfigError, match="Is a directory"):
        FileSource(tmp_path, real_time=False)


def test_a_device_file_without_end_is_not_read_for_ever() -> None:
    with pytest.raises(ConfigError, match="/dev/zero"):
        FileSource(Path("/dev/zero"), real_time=False)


# What is piped in ------------------------------------------------------------------------------


@contextmanager
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Both ends of one, unbuffered."""
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb", 0) as reader, open(write_fd, "wb", 0) as writer:
        yield reader, writer


def piped(parts: list[bytes]) -> bytes:
    """What becomes of `parts` that arrive one by one; a read never gets more than one."""
    with pipe() as (reader, writer):
        todo = iter(parts)

        class Stream(StreamSource):
            def _reads(self) -> Iterator[bytes]:
                for part in todo:
                    writer.write(part)
                    yield os.read(reader.fileno(), len(part))

        return b"".join(Stream(reader).frames())


def in_parts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 959, 4096])
@pytest.mark.parametrize("extra", [b"", b"\x01"])
def test_samples_come_out_however_they_arrive(size: int, extra: bytes) -> None:
    assert piped(in_parts(PCM + extra, size)) == padded(PCM)


def test_nothing_at_all_is_no_recording() -> None:
    with pytest.raises(ConfigError, match="nothing came in; look at what arecord"):
        piped([])


@pytest.mark.parametrize("pcm", [b"\x01", b"\x01\x02", b"RI", b"\0" * 11])
def test_a_stream_shorter_than_any_header_is_samples(pcm: bytes) -> None:
    assert piped(in_parts(pcm, 1)) == padded(pcm)


ARECORDS = fmt() + chunk(b"data", PCM, size=0x80000000)
FFMPEGS = fmt() + chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf59.27.100\0") + chunk(
    b"data", PCM, size=0xFFFFFFFF
)  # fmt: skip
EXTENSIBLE = fmt(tag=0xFFFE, extra=b"\x16\0\x10\0\x04\0\0\0\x01\0" + bytes(14)) + chunk(
    b"data", PCM, size=0
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 13, 100, 4096])
@pytest.mark.parametrize("chunks", [ARECORDS, FFMPEGS, EXTENSIBLE], ids=["arecord", "ffmpeg", "x"])
def test_a_wav_header_before_the_samples_is_passed_over(chunks: bytes, size: int) -> None:
    assert piped(in_parts(riff(chunks), size)) == padded(PCM)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (riff(fmt(rate=8_000, bits=8), chunk(b"data", PCM)), "8 bits, 8000 Hz, mono"),
        (riff(fmt(channels=2), chunk(b"data", PCM)), "16 bits, 16000 Hz, stereo"),
        (riff(fmt(tag=3, bits=32), chunk(b"data", PCM)), "32 bits"),
        (riff(fmt(rate=96_000), chunk(b"data", PCM)), "96000 Hz"),
        (riff(fmt(tag=0x11, bits=4), chunk(b"data", PCM)), "compressed WAV"),
        (riff(fmt()), "without samples"),
        (riff(chunk(b"LIST", bytes(70_000)), fmt()), "without samples"),
        (b"fLaC" + bytes(100), "flac came in"),
        (b"OggS" + bytes(100), "ogg came in"),
        (b"FORM\0\0\0\0AIFF" + bytes(100), "AIFF file came in"),
    ],
)
def test_what_is_no_pcm_as_wanted_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"--stdin: .*{problem}"):
        piped(in_parts(data, 4096))


def test_what_to_pipe_in_is_told() -> None:
    with pytest.raises(ConfigError, match="arecord -f S16_LE -r 16000 -c 1 -t raw"):
        piped([riff(fmt(rate=44_100), chunk(b"data", PCM))])


def test_a_terminal_is_no_recording() -> None:
    ends = pty.openpty()
    try:
        with (
            open(ends[1], "rb", 0, closefd=False) as terminal,
            pytest.raises(ConfigError, match="nothing is piped in"),
        ):
            next(StreamSource(terminal).frames())
    finally:
        for end in ends:
            os.close(end)


def test_a_stream_ends_with_its_writer() -> None:
    with pipe() as (reader, writer):
        writer.write(PCM)
        writer.close()
        assert b"".join(StreamSource(reader).frames()) == padded(PCM)


def test_a_regular_file_can_be_piped_in(tmp_path: Path) -> None:
    path = as_file(tmp_path, wav_bytes(PCM, 16_000))
    with path.open("rb") as file:
        assert b"".join(StreamSource(file).frames()) == padded(PCM)


def test_a_read_that_waits_ends_when_the_source_is_closed() -> None:
    with pipe() as (reader, writer):
        source = StreamSource(reader)
        found: SimpleQueue[bytes | None] = SimpleQueue()

        def read() -> None:
            for frame in source.frames():
                found.put(frame)
            found.put(None)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        writer.write(PCM)
        assert [found.get(timeout=60) for _ in range(2)] == in_parts(PCM, FRAME_BYTES)[:2]
        source.close()
        source.close()
        assert found.get(timeout=60) == padded(PCM)[2 * FRAME_BYTES :]
        assert found.get(timeout=60) is None
        thread.join()


def test_audio_of_another_program_comes_in_by_standard_input() -> None:
    code = (
        "import sys\n"
        "from stt_mqtt.satellite.sources import StreamSource\n"
        "for frame in StreamSource(sys.stdin.buffer).frames():\n"
        "    sys.stdout.buffer.write(frame)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=PCM, capture_output=True, check=True, timeout=60
    )
    assert done.stdout == padded(PCM)
