"""The processes that decode for the service: `python -m stt_mqtt.engine.isolated_process`.

The first one never sees any audio. It imports what is needed and forks a worker for each utterance,
so that a worker is ready within milliseconds and knows nothing of other utterances. Its standard
input is a socket of the service: a message with a descriptor asks for a worker that listens there,
one without says that a worker must go. When the socket closes, all of them end.

A worker cannot open any file or socket, nor start a process: it has no descriptor left for that.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

from stt_mqtt.audio.decoders import InThisProcess
from stt_mqtt.audio.demux import CodedPacket, Coding
from stt_mqtt.audio.streams import Heard, LiveDecoder
from stt_mqtt.engine import isolated_wire as wire
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

CPU_S = 10
"""CPU time of a worker, which decodes one utterance. 30 s of audio take 0.1 s, and the worst of the
files that are known 1 s."""

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 1, 4, 38
"""Numbers of prctl(2)."""
_PAGE_BYTES = resource.getpagesize()
_OPUS_SILENCE = b"\xf8\xff\xfe"
"""20 ms."""
_FILE = struct.pack(
    "<4sI8sIHHIIHH4sI1600s", b"RIFF", 1_636, b"WAVEfmt ", 16, 7, 1, 8_000, 8_000, 1, 8,
    b"data", 1_600, b"\xff" * 1_600,
)  # fmt: skip
"""200 ms of silence in a WAV file of mu-law, for which FFmpeg is needed."""


def main() -> None:
    """Fork workers until the service closes the socket. The argument is their memory in bytes."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _warm_up()
    workers = _Workers(int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, workers.reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What is there now is shared with the workers as long as nobody writes to it.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=0) as control:
        control.send(wire.HELLO)
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 8, 1)
            if not message:
                return
            number = int.from_bytes(message, "big")
            if descriptors:
                workers.fork(number, descriptors[0])
            else:
                workers.kill(number)


class _Workers:
    """The workers by the numbers that the service gave them."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._pids: dict[int, int] = {}

    def fork(self, number: int, descriptor: int) -> None:
        """Start a worker that listens to a descriptor, and close that.

        If the system has no room for one, the service sees that the socket is closed.
        """
        # No worker may end before it is known.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        with suppress(OSError):
            pid = os.fork()
            if not pid:
                _work(descriptor, self._memory_bytes)
            self._pids[number] = pid
        os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def kill(self, number: int) -> None:
        """End a worker, if it has not ended."""
        pid = self._pids.get(number)
        if pid is not None:
            # It may end, and be reaped, at any time.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def reap(self, _signal: int, _frame: FrameType | None) -> None:
        """Forget the workers that have ended."""
        for number, pid in list(self._pids.items()):
            # Another signal may interrupt this one, and reap them first.
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self._pids[number]


def _work(descriptor: int, memory_bytes: int) -> None:
    """Be a worker, to the end of the process."""
    status = 1
    try:
        _confine(descriptor, memory_bytes)
        with socket.socket(fileno=0) as sock:
            sock.sendall(wire.HELLO)
            _Worker(sock).serve()
        status = 0
    except EOFError:
        status = 0
    finally:
        os._exit(status)


def _confine(descriptor: int, memory_bytes: int) -> None:
    """Give up everything but one descriptor, which becomes 0, and set the limits."""
    parent = os.getppid()
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    _prctl(_SET_DUMPABLE, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(descriptor, 0)
    os.closerange(1, descriptor + 1)
    with open("/proc/self/statm", "rb") as statm:
        used = int(statm.read().split()[0]) * _PAGE_BYTES
    for limit, value in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if os.getppid() != parent:
        raise EOFError


def _prctl(number: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(number, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")


def _warm_up() -> None:
    """Decode silence: the first time imports modules, which a worker cannot."""
    decoders = InThisProcess()
    live = decoders.live(Coding("libopus", b"", 48_000, 1, bits=32))
    live.decode([CodedPacket(_OPUS_SILENCE, samples=960)] * 3)
    live.flush()
    silence = EncodedAudio(AudioFormat(Codec.PCM_S16LE, 48_000, 2), bytes(19_200))
    decoders.whole(silence, 1.0)
    decoders.whole(EncodedAudio(None, _FILE), 1.0)


class _Worker:
    """Answers the requests of one utterance."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoders = InThisProcess()
        self._stream: LiveDecoder | None = None

    def serve(self) -> None:
        """Answer until the service closes the socket. Raises EOFError then."""
        while True:
            header, body = wire.receive(self._sock, wire.MAX_REQUEST_BYTES)
            if header["do"] == "whole":
                self._whole(header, bytes(body))
            elif header["do"] == "begin":
                self._stream = self._decoders.live(wire.coding_of_request(header, bytes(body)))
            elif self._stream is not None:
                self._live(self._stream, header, bytes(body))

    def _whole(self, header: dict[str, Any], data: bytes) -> None:
        try:
            decoded = self._decoders.whole(wire.audio_of_request(header, data), header["max_s"])
        except UtteranceError as error:
            wire.send(self._sock, {"error": error.code, "message": str(error)})
            return
        found = {"truncated": decoded.truncated, "hint": decoded.hint}
        wire.send(self._sock, found, decoded.samples.tobytes())

    def _live(self, stream: LiveDecoder, header: dict[str, Any], data: bytes) -> None:
        if header["do"] == "flush":
            heard = stream.flush()
        else:
            heard = stream.decode(wire.packets_of_request(header, data), header["most"])
        wire.send(self._sock, _numbers(heard), heard.samples.tobytes())


def _numbers(heard: Heard) -> dict[str, Any]:
    return {
        "packets": heard.packets,
        "length": heard.length,
        "certain": heard.is_certain,
        "clipped": heard.clipped,
    }


if __name__ == "__main__":
    main()
    sys.exit(0)
