"""A microphone as the source of frames, through PortAudio."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import numpy as np

from stt_mqtt.audio.pcm import scale
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.errors import EXIT_TEMPORARY, ConfigError, MissingExtraError, SttMqttError
from stt_mqtt.satellite.segmenter import FRAME_S
from stt_mqtt.satellite.sources import cut, s16
from stt_mqtt.types import SAMPLE_RATE

MAX_BLOCKS = 100
"""Most blocks of one frame that wait, 3 s. The oldest is dropped first."""
VANISHED_AFTER_S = 2.0
"""A microphone without audio for this long counts as gone."""

log = logging.getLogger(__name__)


class MicrophoneError(SttMqttError):
    """The microphone cannot be opened or was removed. It may come back."""

    exit_code: ClassVar[int] = EXIT_TEMPORARY


@dataclass(frozen=True, slots=True)
class Microphone:
    """An audio input device. `rate`: its default rate in Hz."""

    name: str
    channels: int
    rate: int
    default: bool
    index: int
    """Its index in PortAudio, valid until a device is added or removed."""


class MicrophoneSource:
    """An open microphone. Only one may be open. It is read once, by one thread."""

    def __init__(
        self,
        name: str | None,
        portaudio: Any = None,
        vanished_after_s: float = VANISHED_AFTER_S,
    ) -> None:
        """Opens the microphone of this name or part of a name; None: the default one.

        `portaudio`: the module sounddevice, or what is like it. Raises ConfigError for a name
        that several microphones have, MicrophoneError if there is none, or it cannot be opened
        now, MissingExtraError without sounddevice.
        """
        portaudio = _portaudio() if portaudio is None else portaudio
        microphone = choose(_microphones(portaudio), name)
        self.name = microphone.name
        self._vanished_after_s = vanished_after_s
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self.overflows = 0
        """How often audio was lost since the start because it was not read in time."""
        self._told = 0
        try:
            self._rate = _usable_rate(portaudio, microphone)
            self._stream = portaudio.RawInputStream(
                samplerate=self._rate,
                blocksize=round(self._rate * FRAME_S),
                device=microphone.index,
                channels=1,
                dtype="int16",
                callback=self._take,
            )
            self._stream.start()
        except portaudio.PortAudioError as error:
            raise MicrophoneError(
                f"microphone {self.name!r} cannot be opened, "
                f"perhaps another program has it: {error}"
            ) from error
        log.info("microphone %r at %d Hz", self.name, self._rate)

    def frames(self) -> Iterator[bytes]:
        """Frames of `FRAME_BYTES` in real time, until it is closed.

        Raises MicrophoneError if the microphone gives no more audio.
        """
        yield from cut(self._pieces())

    def close(self) -> None:
        """Have `frames` end at once, and release the microphone. Thread-safe."""
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            self._blocks.put(None)
            self._stream.abort()
            self._stream.close()

    def _take(self, block: Any, _samples: int, _time: object, status: Any) -> None:
        """Called by PortAudio in its own thread, which must not block."""
        if status.input_overflow:
            self.overflows += 1
        if self._blocks.qsize() >= MAX_BLOCKS:
            self.overflows += 1
            with suppress(Empty):
                self._blocks.get_nowait()
        self._blocks.put(bytes(block))

    def _pieces(self) -> Iterator[bytes]:
        resampler = Resampler(self._rate) if self._rate != SAMPLE_RATE else None
        while True:
            try:
                block = self._blocks.get(timeout=self._vanished_after_s)
            except Empty:
                raise MicrophoneError(
                    f"microphone {self.name!r} gives no audio any more; was it unplugged?"
                ) from None
            if block is None or self._closed.is_set():
                return
            if self.overflows > 10 * self._told:
                self._told = self.overflows
                log.warning("audio was lost %d times: this machine is too busy", self._told)
            if resampler is None:
                yield block
            else:
                (mono,) = resampler.push(scale(np.frombuffer(block, "<i2"))[np.newaxis])
                yield s16(mono)


def list_microphones(portaudio: Any = None) -> list[Microphone]:
    """All current microphones. None may be open.

    `portaudio`: the module sounddevice, or what is like it. Raises MissingExtraError without it.
    """
    return _microphones(_portaudio() if portaudio is None else portaudio)


def choose(microphones: list[Microphone], name: str | None) -> Microphone:
    """Find a microphone by name or part of a name, ignoring case. None: the default one.

    Raises MicrophoneError if there is none, ConfigError if there are several. Both list all
    microphones.
    """
    if name is None:
        found = [one for one in microphones if one.default] or microphones[:1]
    else:
        wanted = name.casefold()
        found = [one for one in microphones if wanted in one.name.casefold()]
        found = [one for one in found if wanted == one.name.casefold()] or found
    # The same microphone may be listed several times, once per audio API.
    if len({one.name for one in found}) == 1:
        return found[0]
    if not microphones:
        raise MicrophoneError(
            "There is no microphone. Is it plugged in, and is this user in the group audio?"
        )
    known = ", ".join(repr(one.name) for one in found or microphones)
    if not found:
        raise MicrophoneError(f"{name!r} is the name of no microphone that is there now: {known}")
    raise ConfigError([f"{name!r} fits several microphones; name one of {known}"])


def _portaudio() -> Any:
    """The module sounddevice, with an updated list of devices."""
    known = "sounddevice" in sys.modules
    try:
        library = import_module("sounddevice")
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name, extra="satellite") from error
    except OSError as error:
        raise ConfigError(
            ["PortAudio is not installed; on Debian and its like: apt install libportaudio2"]
        ) from error
    if known:
        # PortAudio lists devices only when it is initialized.
        with suppress(library.PortAudioError):
            library._terminate()
        try:
            library._initialize()
        except library.PortAudioError as error:
            raise MicrophoneError(f"PortAudio does not start: {error}") from error
    return library


def _microphones(portaudio: Any) -> list[Microphone]:
    try:
        default = portaudio.query_devices(kind="input")["index"]
    except portaudio.PortAudioError:
        default = None
    try:
        devices = portaudio.query_devices()
    except portaudio.PortAudioError as error:
        raise MicrophoneError(f"PortAudio does not tell what is there: {error}") from error
    return [
        Microphone(
            name=device["name"],
            channels=device["max_input_channels"],
            rate=round(device["default_samplerate"]),
            default=device["index"] == default,
            index=device["index"],
        )
        for device in devices
        if device["max_input_channels"] > 0
    ]


def _usable_rate(portaudio: Any, microphone: Microphone) -> int:
    try:
        portaudio.check_input_settings(
            device=microphone.index, channels=1, dtype="int16", samplerate=SAMPLE_RATE
        )
    except portaudio.PortAudioError:
        return microphone.rate
    return SAMPLE_RATE
