"""What benchmarks start and how they measure it: brokers, services, other programs, CPU, memory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from stt_mqtt.engine.resources import usable_cores
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import (
    MOSQUITTO,
    Broker,
    EmbeddedProcess,
    Mosquitto,
    MosquittoOptions,
    await_port,
    free_port,
)
from tools.processes import pinned
from tools.program import PROGRAM, Peer, Service, await_online

HEALTH_TOPIC = "stt/bridge/response/health_check"
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
TAIL_CHARACTERS = 2000
END_TIMEOUT_S = 10.0
TRANSCRIBE_TIMEOUT_S = 3600.0
FILES_OF_A_PROCESS = 20
_STARTED = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress to standard error."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores of the measured program, and of everybody else; None: any."""

    program: set[int] | None = None
    others: set[int] | None = None


def two_cores() -> Cores:
    """Two cores for the measured program and the rest for the others, as far as there are more."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores()
    cores = sorted(os.sched_getaffinity(0))
    return Cores(set(cores[:2]), set(cores[2:]) or None)


@dataclass(frozen=True, slots=True)
class Running:
    """A broker, the service behind it, and a client that remembers what both say."""

    folder: Path
    broker: Broker
    broker_process: psutil.Process
    peer: Peer
    process: psutil.Process

    @property
    def log(self) -> str:
        """What the service has logged."""
        return (self.folder / "service.log").read_text()

    def health(self) -> dict[str, Any]:
        """The health of the service, now."""
        asked = len(self.peer.payloads(HEALTH_TOPIC))
        self.peer.publish("stt/bridge/request/health_check")
        data: dict[str, Any] = self.peer.json(HEALTH_TOPIC, asked + 1)[-1]["data"]
        return data

    def broker_dropped(self) -> int | None:
        """Messages that Mosquitto has dropped; None with another broker."""
        if MOSQUITTO is None:
            return None
        time.sleep(1.5)
        with closing(Peer(self.broker, DROPPED_TOPIC)) as peer:
            told = await_count(lambda: len(peer.messages), 1, 3.0)
            return int(peer.messages[-1].payload) if told else None


@contextmanager
def a_broker(
    folder: Path, cores: set[int] | None = None, lines: tuple[str, ...] = ()
) -> Iterator[tuple[Broker, psutil.Process]]:
    """Mosquitto on a free loopback port; without it the embedded broker."""
    broker: Broker
    if MOSQUITTO is None:
        say("Mosquitto is not installed: the embedded broker takes its place")
        broker = EmbeddedProcess(folder)
    else:
        broker = Mosquitto(folder, MosquittoOptions(lines=("sys_interval 1", *lines)))
    before = set(psutil.Process().children())
    with pinned(cores):
        broker.start()
    try:
        (process,) = set(psutil.Process().children()) - before
        yield broker, process
    finally:
        broker.stop()


@contextmanager
def a_service(
    *filters: str,
    cores: Cores | None = None,
    qos: int = 1,
    lines: tuple[str, ...] = (),
    **config: Any,
) -> Iterator[Running]:
    """`stt-mqtt run`, online, with a broker of its own; the peer also hears `filters`.

    `lines`: of Mosquitto's configuration.
    """
    cores = cores or Cores()
    filters = ("stt/bridge/state", HEALTH_TOPIC, *filters)
    with (
        tempfile.TemporaryDirectory() as name,
        a_broker(Path(name), cores.others, lines) as (broker, broker_process),
        closing(Peer(broker, *filters, qos=qos)) as peer,
    ):
        with pinned(cores.program):
            service = Service(Path(name), broker, **config)
        try:
            await_online(service, peer)
            process = psutil.Process(service.process.pid)
            yield Running(Path(name), broker, broker_process, peer, process)
        except BaseException:
            say(f"the end of the service's log: {service.log[-TAIL_CHARACTERS:]}")
            raise
        finally:
            service.stop()


def transcribed(files: Sequence[Path], *options: str) -> dict[Path, str]:
    """The text that `stt-mqtt transcribe` hears in each file."""
    return {file: str(row["text"]) for file, row in transcripts(files, *options).items()}


def transcripts(files: Sequence[Path], *options: str) -> dict[Path, dict[str, Any]]:
    """What `stt-mqtt transcribe` says of each file; a process for each core shares many."""
    count = min(int(usable_cores()), 1 + len(files) // FILES_OF_A_PROCESS)

    def some(number: int) -> dict[Path, dict[str, Any]]:
        done = subprocess.run(
            [str(PROGRAM), "transcribe", "--json", *options, *map(str, files[number::count])],
            capture_output=True,
            text=True,
            timeout=TRANSCRIBE_TIMEOUT_S,
            check=False,
        )
        rows = list(map(json.loads, done.stdout.splitlines()))
        if len(rows) != len(files[number::count]):
            raise RuntimeError(f"transcribe ended with {done.returncode}: {done.stderr}")
        return {Path(row["file"]): row for row in rows}

    with ThreadPoolExecutor(count) as pool:
        return {file: row for part in pool.map(some, range(count)) for file, row in part.items()}


# wyoming-faster-whisper -------------------------------------------------------------------------

PEER = "wyoming-faster-whisper"
PEER_LIBRARIES = (PEER, "faster-whisper", "ctranslate2")


@contextmanager
def a_wyoming_server(
    program: str, model: Path, cores: set[int] | None, threads: int, language: str = "en"
) -> Iterator[tuple[psutil.Process, int]]:
    """wyoming-faster-whisper on a free loopback port, with int8 and beam 5; process and port."""
    port = free_port()
    words = [program, "--uri", f"tcp://127.0.0.1:{port}", "--model", str(model)]
    words += ["--stt-library", "faster-whisper", "--compute-type", "int8", "--beam-size", "5"]
    words += ["--language", language, "--cpu-threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "wyoming.log"
        words += ["--data-dir", folder]
        with log.open("wb") as out, pinned(cores):
            process = subprocess.Popen(words, stdout=out, stderr=out, env=plain_environment())
        try:
            await_port(port, process, log)
            yield psutil.Process(process.pid), port
        except BaseException:
            say(f"the end of the log of {PEER}: {log.read_text()[-TAIL_CHARACTERS:]}")
            raise
        finally:
            end(process)


def peer_versions(program: str | None) -> dict[str, str]:
    """Versions of wyoming-faster-whisper and its libraries, as far as its environment tells."""
    where = (
        Path(program).absolute().parent.parent.glob("lib/python*/site-packages") if program else []
    )
    installed = importlib.metadata.distributions(path=[str(folder) for folder in where])
    found = {one.name: one.version for one in installed}
    return {name: found[name] for name in PEER_LIBRARIES if name in found}


def plain_environment() -> dict[str, str]:
    """The environment of programs of others: without what `stt_mqtt` sets for itself."""
    kept = {name: text for name, text in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    return {**kept, "HF_HUB_OFFLINE": "1"}


def end(process: subprocess.Popen[bytes]) -> None:
    """Have a process end, by force if it does not within some seconds."""
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# Meters -----------------------------------------------------------------------------------------


class Usage:
    """CPU seconds of processes, their children included, from the making of this to `read`."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self.started = time.monotonic()
        self._before = {name: (one, cpu_s(one)) for name, one in processes.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds per second, by the name of the process."""
        elapsed_s = time.monotonic() - self.started
        return {
            name: round((cpu_s(one) - before_s) / elapsed_s, 4)
            for name, (one, before_s) in self._before.items()
        }


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process and its descendants, ended ones included, have used so far."""
    used = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return float(used)


def peak_mb(process: psutil.Process) -> float:
    """The highest resident memory so far in MB, as the kernel remembers it."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


def rss_mb(process: psutil.Process) -> float:
    """Resident memory in MB."""
    return round(process.memory_info().rss / 1e6, 1)


def await_count(count: Callable[[], int], wanted: int, timeout_s: float) -> int:
    """Wait until `count` reaches `wanted`, at most `timeout_s`; return what it reached."""
    deadline = time.monotonic() + timeout_s
    while count() < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return count()


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of all values do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 4)


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Median, 95th percentile and maximum."""
    return {name: percentile(values, at) for name, at in (("p50", 0.5), ("p95", 0.95), ("max", 1))}


def seconds_of(pcm: bytes) -> float:
    """Length of 16-bit mono at `SAMPLE_RATE`."""
    return len(pcm) / 2 / SAMPLE_RATE
