"""One worker as the service sees it, and whether what it answers can be."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from stt_mqtt.audio.decode import Decoded
from stt_mqtt.audio.formats import MAX_RATE
from stt_mqtt.audio.streams import Heard
from stt_mqtt.engine import isolated_wire as wire
from stt_mqtt.errors import CorruptAudioError, UnsupportedFormatError, UtteranceError
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import Planar, Samples

MOST_HEARD_BYTES = 4 * 1024 * 1024
"""Most samples for one chunk: a second, and a frame of FLAC with 65,535 samples at 8 kHz."""
_MOST_DETAIL = 300
_ERRORS: Mapping[str, type[UtteranceError]] = {
    error.code: error for error in (CorruptAudioError, UnsupportedFormatError)
}


class Worker:
    """The socket of a worker. When it is closed, the worker ends, unless it hangs."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self.number = number
        self.asked_at = time.monotonic()
        self.has_said_hello = False

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._sock.close()

    def is_alive(self) -> bool:
        """Whether it has not ended while it waited."""
        with suppress(BlockingIOError):
            self.has_said_hello |= self._sock.recv(1, socket.MSG_DONTWAIT) == wire.HELLO
            return self.has_said_hello and bool(
                self._sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            )
        return True

    def has_begun(self) -> bool:
        """Whether it was ready for a request at any time. Call this when it has failed."""
        with suppress(OSError):
            self.has_said_hello |= self._sock.recv(1, socket.MSG_DONTWAIT) == wire.HELLO
        return self.has_said_hello

    def say(self, header: Mapping[str, Any], body: bytes, timeout_s: float) -> None:
        """Send a request. Raises OSError."""
        self._sock.settimeout(timeout_s)
        wire.send(self._sock, header, body)

    def ask(
        self, header: Mapping[str, Any], body: bytes, timeout_s: float, most: int
    ) -> tuple[dict[str, Any], bytearray]:
        """Send a request and receive its answer, which has at most `most` bytes.

        Raises OSError, EOFError and NonsenseError.
        """
        ends_at = time.monotonic() + timeout_s
        self.say(header, body, timeout_s)
        if not self.has_said_hello:
            if wire.read(self._sock, 1, ends_at) != wire.HELLO:
                raise wire.NonsenseError("no greeting")
            self.has_said_hello = True
        return wire.receive(self._sock, most, ends_at)


def decoded_in(answer: Mapping[str, Any], data: bytearray, hint: Hint | None) -> Decoded:
    """The audio in an answer. `hint`: what was known of it before.

    Raises CorruptAudioError and UnsupportedFormatError if the answer is that, and any exception
    if it is nonsense.
    """
    if "error" in answer:
        text = str(answer["message"])[:_MOST_DETAIL]
        raise _ERRORS[answer["error"]](text.encode("unicode_escape").decode())
    found = None if answer["hint"] is None else Hint(answer["hint"])
    samples = _samples(data)
    return Decoded(samples, answer["truncated"] is True, foremost([hint, found]))


def heard_in(answer: Mapping[str, Any], data: bytearray, sent: int, channels: int) -> Heard:
    """What an answer says that was decoded. Raises any exception if it is nonsense."""
    packets, length = int(answer["packets"]), int(answer["length"])
    if not 0 <= packets <= sent or not 0 <= length <= len(data) * MAX_RATE:
        raise wire.NonsenseError("numbers that cannot be")
    samples: Planar = _samples(data).reshape(channels, -1)
    return Heard(samples, packets, length, answer["certain"] is True, answer["clipped"] is True)


def _samples(data: bytearray) -> Samples:
    samples = np.frombuffer(data, np.float32)
    if not np.isfinite(samples).all():
        raise wire.NonsenseError("samples that are not finite")
    return samples.clip(-1, 1)
