"""wyoming-faster-whisper, where it is installed, and a client that speaks to it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import bench
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import eventually, free_port

NAME = "wyoming-faster-whisper"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 180.0
"""It hears one after the other: with many rooms the last one waits for all others."""
LIBRARIES = (NAME, "faster-whisper", "ctranslate2")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run it. `cores` None: on all; `threads` None: as many as it likes."""

    program: str
    model: Path
    cores: set[int] | None
    threads: int | None
    language: str = "en"


@contextmanager
def a_wyoming(folder: Path, options: Options) -> Iterator[tuple[psutil.Process, int]]:
    """The server on a free loopback port, with int8 and beam 5."""
    port = free_port()
    arguments = {
        "--uri": f"tcp://127.0.0.1:{port}",
        "--model": options.model,
        "--data-dir": folder,
        "--stt-library": "faster-whisper",
        "--compute-type": "int8",
        "--beam-size": 5,
        "--language": options.language,
    }
    if options.threads is not None:
        arguments["--cpu-threads"] = options.threads
    words = [str(word) for pair in arguments.items() for word in pair]
    log = folder / "wyoming.log"
    with log.open("wb") as output, bench.pinned(options.cores):
        process = subprocess.Popen(
            [options.program, *words], stdout=output, stderr=output, env=bench.plain_environment()
        )
    try:
        eventually(lambda: _listens(port, process), START_TIMEOUT_S)
        yield psutil.Process(process.pid), port
    except BaseException:
        bench.say(f"the last words of {NAME}: {log.read_text()[-bench.TAIL_CHARACTERS :]}")
        raise
    finally:
        bench.end(process)


def speak(port: int, clip: Clip, language: str = "en") -> tuple[str, float]:
    """One connection, one utterance, one transcript, as Home Assistant does it.

    Returns the text and the seconds from the end mark to it.
    """
    audio = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(_event("transcribe", {"language": language}) + _event("audio-start", audio))
        for chunk in clip.chunks:
            sock.sendall(_event("audio-chunk", audio, chunk))
        ended = time.perf_counter()
        sock.sendall(_event("audio-stop", {}))
        with sock.makefile("rb") as stream:
            while line := stream.readline():
                header = json.loads(line)
                data = stream.read(header.get("data_length") or 0)
                stream.read(header.get("payload_length") or 0)
                if header["type"] == "transcript":
                    latency_s = time.perf_counter() - ended
                    fields = {**header.get("data", {}), **json.loads(data or b"{}")}
                    return str(fields["text"]), latency_s
    raise ConnectionError(f"{NAME} closed the connection without a transcript")


def versions(program: str) -> dict[str, str]:
    """Versions of the server and its libraries, as far as its environment tells."""
    found = {}
    for name in LIBRARIES:
        pattern = f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info"
        for folder in Path(program).absolute().parent.parent.glob(pattern):
            found[name] = folder.name.removesuffix(".dist-info").rpartition("-")[2]
    return found


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"{NAME} ended"
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def _event(kind: str, data: Mapping[str, object], payload: bytes = b"") -> bytes:
    header: dict[str, object] = {"type": kind, "data": data}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload
