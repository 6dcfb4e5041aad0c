"""Microphones: found by name, opened as they are, lost without a sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stt_mqtt.audio.pcm import scale
from stt_mqtt.errors import ConfigError, MissingExtraError
from stt_mqtt.satellite.microphone import (
    MAX_BLOCKS,
    Microphone,
    MicrophoneError,
    MicrophoneSource,
    list_microphones,
)
from stt_mqtt.satellite.segmenter import FRAME_BYTES
from tests.audio.synth import is_tone, s16, tone

needs_portaudio = pytest.mark.skipif(
    find_library("portaudio") is None, reason="needs the library libportaudio2"
)

RAMP = np.arange(1, 16_001, dtype="<i2").tobytes()
"""One second, no sample like another."""
SPEAKER = ("Speaker", 0)
BUILT_IN = ("HDA Intel PCH: ALC257 Analog (hw:0,0)", 2)
USB = ("USB PnP Sound Device: Audio (hw:1,0)", 1)
USB_CAMERA = ("USB Camera: Audio (hw:2,0)", 1)


class PortAudioError(Exception):
    """What sounddevice raises."""


@dataclass
class Status:
    input_overflow: bool = False


@dataclass
class Stream:
    """An input stream that the test speaks into."""

    samplerate: int
    blocksize: int
    device: int
    channels: int
    dtype: str
    callback: Callable[[Any, int, object, Status], None]
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.calls.append("start")

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")

    def speak(self, pcm: bytes, status: Status | None = None) -> None:
        """`pcm` in blocks, in memory that is used again, as that of PortAudio is."""
        size = 2 * self.blocksize
        for at in range(0, len(pcm), size):
            memory = bytearray(pcm[at : at + size])
            self.callback(memoryview(memory), len(memory) // 2, None, status or Status())
            memory[:] = bytes(len(memory))


class SoundDevice:
    """As much of the module sounddevice as is used, with devices of our own."""

    PortAudioError = PortAudioError

    def __init__(self, *devices: tuple[str, int], default: int | None = None) -> None:
        self.devices = devices
        self.default = default
        self.rates = {16_000, 44_100}
        self.busy = False
        self.broken = False
        self.streams: list[Stream] = []

    def query_devices(self, kind: str | None = None) -> Any:
        known = [
            {
                "name": name,
                "index": index,
                "max_input_channels": channels,
                "default_samplerate": 44_100.0,
            }
            for index, (name, channels) in enumerate(self.devices)
        ]
        if self.broken:
            raise PortAudioError("PortAudio not initialized")
        if kind is None:
            return known
        if self.default is None:
            raise PortAudioError("Error querying device -1")
        return known[self.default]

    def _terminate(self) -> None:
        if self.broken:
            raise PortAudioError("PortAudio not initialized")

    def _initialize(self) -> None:
        if self.broken:
            raise PortAudioError("Host error")

    def check_input_settings(self, device: int, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def RawInputStream(self, **settings: Any) -> Stream:  # noqa: N802
        if self.busy:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self.streams.append(Stream(**settings))
        return self.streams[-1]


def opened(library: SoundDevice, name: str | None = None) -> tuple[MicrophoneSource, Stream]:
    """A microphone that is given up as soon as nothing more waits."""
    source = MicrophoneSource(name, library, vanished_after_s=0)
    return source, library.streams[-1]


def taken(source: MicrophoneSource) -> bytes:
    """The whole frames that came until the microphone was given up."""
    frames: list[bytes] = []
    with suppress(MicrophoneError):
        for frame in source.frames():
            assert len(frame) == FRAME_BYTES
            frames.append(frame)
    return b"".join(frames)


# Which one -------------------------------------------------------------------------------------


def test_devices_that_only_play_are_no_microphones() -> None:
    found = list_microphones(SoundDevice(SPEAKER, BUILT_IN, USB, default=2))
    assert found == [
        Microphone(BUILT_IN[0], channels=2, rate=44_100, default=False, index=1),
        Microphone(USB[0], channels=1, rate=44_100, default=True, index=2),
    ]


def test_without_a_default_none_is_marked() -> None:
    assert not any(one.default for one in list_microphones(SoundDevice(BUILT_IN, USB)))


@pytest.mark.parametrize(
    ("name", "device"), [("usb pnp", 2), ("ALC257", 1), (USB[0].upper(), 2), (None, 1)]
)
def test_a_microphone_is_known_by_a_part_of_its_name(name: str | None, device: int) -> None:
    library = SoundDevice(SPEAKER, BUILT_IN, USB, default=1)
    assert opened(library, name)[1].device == device


def test_the_first_one_serves_where_there_is_no_default() -> None:
    assert opened(SoundDevice(SPEAKER, USB, BUILT_IN))[1].device == 1


def test_a_whole_name_is_not_ambiguous_for_being_a_part_of_another() -> None:
    assert opened(SoundDevice(("pulse monitor", 2), ("pulse", 2)), "Pulse")[1].device == 1


def test_one_microphone_with_two_drivers_is_one() -> None:
    assert opened(SoundDevice(USB, USB), "usb")[1].device == 0


def test_a_name_of_several_microphones_is_refused_with_their_names() -> None:
    with pytest.raises(ConfigError, match="'usb' fits several") as refused:
        opened(SoundDevice(BUILT_IN, USB, USB_CAMERA), "usb")
    assert USB[0] in str(refused.value)
    assert USB_CAMERA[0] in str(refused.value)
    assert BUILT_IN[0] not in str(refused.value)


def test_a_name_that_no_microphone_has_now_is_told_with_those_there_are() -> None:
    with pytest.raises(MicrophoneError, match="'Jabra' is the name of no microphone") as refused:
        opened(SoundDevice(SPEAKER, BUILT_IN, USB), "Jabra")
    assert BUILT_IN[0] in str(refused.value)
    assert USB[0] in str(refused.value)
    assert SPEAKER[0] not in str(refused.value)


@pytest.mark.parametrize("name", [None, "usb"])
def test_a_machine_without_a_microphone_is_told_so(name: str | None) -> None:
    with pytest.raises(MicrophoneError, match=r"There is no microphone\. Is it plugged in"):
        opened(SoundDevice(SPEAKER), name)


# What it gives ---------------------------------------------------------------------------------


def test_a_microphone_is_opened_for_mono_frames_at_16_khz() -> None:
    _, stream = opened(SoundDevice(USB))
    assert (stream.samplerate, stream.blocksize) == (16_000, FRAME_BYTES // 2)
    assert (stream.channels, stream.dtype, stream.calls) == (1, "int16", ["start"])


def test_what_is_spoken_comes_out() -> None:
    source, stream = opened(SoundDevice(USB))
    stream.speak(RAMP)
    assert taken(source) == RAMP[: len(RAMP) // FRAME_BYTES * FRAME_BYTES]
    assert source.overflows == 0


def test_a_microphone_that_cannot_do_16_khz_is_resampled() -> None:
    library = SoundDevice(USB)
    library.rates = {44_100}
    source, stream = opened(library)
    assert (stream.samplerate, stream.blocksize) == (44_100, 1323)
    stream.speak(s16(tone(rate=44_100)))
    pcm = taken(source)
    assert 31_000 < len(pcm) <= 32_000
    assert is_tone(scale(np.frombuffer(pcm, "<i2")))


def test_of_what_nobody_takes_the_oldest_is_dropped_and_counted() -> None:
    source, stream = opened(SoundDevice(USB))
    blocks = [bytes([number]) * FRAME_BYTES for number in range(MAX_BLOCKS + 3)]
    stream.speak(b"".join(blocks))
    assert source.overflows == 3
    assert taken(source) == b"".join(blocks[3:])


def test_what_the_driver_lost_is_counted_too() -> None:
    source, stream = opened(SoundDevice(USB))
    stream.speak(RAMP[:FRAME_BYTES], Status(input_overflow=True))
    assert source.overflows == 1


def test_a_microphone_that_vanishes_is_told_by_name() -> None:
    source, stream = opened(SoundDevice(USB))
    stream.speak(RAMP[:FRAME_BYTES])
    frames = source.frames()
    assert next(frames) == RAMP[:FRAME_BYTES]
    with pytest.raises(MicrophoneError, match=r"'USB PnP .*' gives no audio any more") as lost:
        next(frames)
    assert lost.value.exit_code == 75
    source.close()


def test_a_microphone_that_another_program_has_is_told_by_name() -> None:
    library = SoundDevice(USB)
    library.busy = True
    with pytest.raises(MicrophoneError, match=r"'USB PnP .*' cannot be opened.*Device unavailable"):
        opened(library)


def test_what_portaudio_cannot_tell_is_no_defect_of_the_program() -> None:
    library = SoundDevice(USB)
    library.broken = True
    with pytest.raises(MicrophoneError, match="does not tell what is there: PortAudio not init"):
        opened(library)


def test_a_portaudio_that_does_not_start_again_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = SoundDevice(USB)
    library.broken = True
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    with pytest.raises(MicrophoneError, match="PortAudio does not start: Host error"):
        MicrophoneSource(None)
    library.broken = False
    assert MicrophoneSource(None).name == USB[0]


@pytest.mark.parametrize("waiting", [0, 5, MAX_BLOCKS + 5])
def test_a_closed_microphone_gives_no_further_frame_and_is_free(waiting: int) -> None:
    source, stream = opened(SoundDevice(USB))
    frames = source.frames()
    stream.speak(bytes((1 + waiting) * FRAME_BYTES))
    next(frames)
    source.close()
    source.close()
    stream.speak(RAMP)
    assert list(frames) == []
    assert stream.calls == ["start", "abort", "close"]


# What is not installed -------------------------------------------------------------------------


def without(tmp_path: Path, module: str) -> str:
    """The error of `list_microphones` where importing sounddevice does what `module` says."""
    (tmp_path / "sounddevice.py").write_text(module)
    code = (
        "from stt_mqtt.errors import SttMqttError\n"
        "from stt_mqtt.satellite.microphone import list_microphones\n"
        "try:\n    list_microphones()\n"
        "except SttMqttError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_without_sounddevice_the_extra_is_named(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'sounddevice'\", name='sounddevice')"
    expected = MissingExtraError("sounddevice", extra="satellite")
    assert without(tmp_path, missing) == f"MissingExtraError {expected}"


def test_without_portaudio_its_package_is_named(tmp_path: Path) -> None:
    told = without(tmp_path, "raise OSError('PortAudio library not found')")
    assert told.startswith("ConfigError PortAudio is not installed")
    assert told.endswith("apt install libportaudio2")


# A real PortAudio ------------------------------------------------------------------------------

ALSA = """
pcm.virtual_microphone {{
    type file
    slave.pcm {{ type null }}
    file "/dev/null"
    infile "{fifo}"
    format "raw"
}}
pcm.default {{ type null }}
"""
"""A device of ALSA that gives what is written into a pipe, as fast as it is written."""

HEAR = """
import json, os, sys
from stt_mqtt.satellite.microphone import MicrophoneError, MicrophoneSource, list_microphones

fifo, pcm = sys.argv[1], bytes.fromhex(sys.stdin.read())
writer = os.open(fifo, os.O_RDWR)
names = [microphone.name for microphone in list_microphones()]
source = MicrophoneSource("Virtual", vanished_after_s=1)
os.write(writer, pcm)
heard, lost = bytearray(), None
try:
    for frame in source.frames():
        heard += frame
except MicrophoneError as error:
    lost = str(error)
os.close(writer)  # the driver reads without end: only so it comes back and can be closed
source.close()
writer = os.open(fifo, os.O_RDWR)
with open(os.environ["ALSA_CONFIG_PATH"], "a") as alsa:
    alsa.write("pcm.plugged_in_later { type null }")
later = MicrophoneSource("later")
later.close()
print(json.dumps({"names": names, "heard": heard.hex(), "lost": lost, "later": later.name}))
"""


@needs_portaudio
def test_a_device_of_alsa_is_heard_and_lost_and_one_plugged_in_later_is_found(
    tmp_path: Path,
) -> None:
    fifo, alsa = tmp_path / "fifo", tmp_path / "asound.conf"
    os.mkfifo(fifo)
    alsa.write_text(ALSA.format(fifo=fifo))
    done = subprocess.run(
        [sys.executable, "-c", HEAR, str(fifo)],
        input=RAMP.hex(),
        env={**os.environ, "ALSA_CONFIG_PATH": str(alsa)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["names"] == ["virtual_microphone", "default"]
    heard = bytes.fromhex(found["heard"])
    assert len(heard) >= len(RAMP) // FRAME_BYTES * FRAME_BYTES
    assert heard[: len(RAMP)] == RAMP[: len(heard)]
    assert "'virtual_microphone' gives no audio any more" in found["lost"]
    assert found["later"] == "plugged_in_later"
