"""What the benchmarks share: options, a broker, the service on chosen cores, meters, results."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from stt_mqtt.engine.resources import usable_cores
from tools.brokers import MOSQUITTO, Broker, EmbeddedProcess, Mosquitto, MosquittoOptions
from tools.program import Peer, Service, await_online

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("ctranslate2", "faster-whisper", "numpy", "paho-mqtt")
TAIL_CHARACTERS = 2000
END_TIMEOUT_S = 10.0
_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker process for one benchmark."""

    broker: Broker
    process: psutil.Process


@dataclass(slots=True)
class Usage:
    """CPU seconds of processes between the making of this and `read`."""

    processes: Mapping[str, psutil.Process]
    started: float = field(default_factory=time.monotonic)
    before: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.before = {name: cpu_s(process) for name, process in self.processes.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds per second, by the name of the process."""
        elapsed_s = time.monotonic() - self.started
        return {
            name: round((cpu_s(process) - self.before[name]) / elapsed_s, 3)
            for name, process in self.processes.items()
        }


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used so far, without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def tree_cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process and its living descendants have used so far."""
    return cpu_s(process) + sum(cpu_s(child) for child in process.children(recursive=True))


def peak_bytes(process: psutil.Process) -> int:
    """The most memory that was ever resident, as the kernel remembers it (to about a MB)."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def mb(size: int) -> float:
    """Bytes in MB."""
    return round(size / 1e6, 1)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    made.add_argument(
        "--results",
        type=Path,
        help="folder for the result files (default: benchmarks/results; none with --quick)",
    )
    return made


def say(text: str) -> None:
    """One line of progress on standard error."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def finish(
    name: str, options: argparse.Namespace, data: Mapping[str, Any], markdown: Sequence[str]
) -> None:
    """Print the Markdown, and write it and the JSON to the folder that was asked for."""
    heading, *rest = markdown
    note = ["", "**A quick run: it shows that the benchmark works, not what it measures.**"]
    text = "\n".join([heading, *(note if options.quick else []), *rest]) + "\n"
    print(text)
    folder: Path | None = options.results or (None if options.quick else RESULTS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
        (folder / f"{name}.md").write_text(text)


def words(text: str) -> list[str]:
    """The words of a text. How a model writes them depends on the machine and on its load."""
    return re.findall(r"[\w']+", text.lower())


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (header, rule, *rows)]


def machine(running: RunningBroker | None = None) -> dict[str, object]:
    """The machine in general terms, and how busy it was before the benchmark."""
    described: dict[str, object] = {
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores_usable": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_average_1min_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    if running is not None:
        described["broker"] = broker_name()
    return described


def describe(machine: Mapping[str, object]) -> str:
    """The machine in one line of Markdown."""
    return (
        f"Machine: {machine['architecture']}, {machine['cores_usable']:g} usable cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {machine[name]}" for name in LIBRARIES)
        + (f", {machine['broker']}" if "broker" in machine else "")
        + f"; load average before: {machine['load_average_1min_before']}."
    )


def broker_name() -> str:
    """Name and version of the broker that `a_broker` starts."""
    if MOSQUITTO is None:
        return f"embedded broker (iotcore {importlib.metadata.version('iotcore')})"
    text = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    words = text.split("\n", 1)[0].split()
    return f"Mosquitto {words[2]}"


@contextmanager
def a_broker(folder: Path, cores: set[int] | None = None) -> Iterator[RunningBroker]:
    """Mosquitto on a free loopback port, else the embedded broker with a line saying so."""
    broker: Broker
    if MOSQUITTO is None:
        say("Mosquitto is not installed: the embedded broker takes its place")
        broker = EmbeddedProcess(folder)
    else:
        broker = Mosquitto(folder, MosquittoOptions(lines=("sys_interval 1",)))
    others = set(psutil.Process().children())
    with pinned(cores):
        broker.start()
    try:
        (process,) = set(psutil.Process().children()) - others
        yield RunningBroker(broker, process)
    finally:
        broker.stop()


@contextmanager
def a_service(
    folder: Path, broker: Broker, peer: Peer, cores: set[int] | None = None, /, **config: Any
) -> Iterator[psutil.Process]:
    """`stt-mqtt run`, online; `peer` listens to `stt/bridge/state`."""
    with pinned(cores):
        service = Service(folder, broker, **config)
    try:
        await_online(service, peer)
        yield psutil.Process(service.process.pid)
    except BaseException:
        say(f"the last words of the service: {service.log[-TAIL_CHARACTERS:]}")
        raise
    finally:
        service.stop()


@contextmanager
def a_peer(broker: Broker, *filters: str) -> Iterator[Peer]:
    """A client that remembers what it hears."""
    peer = Peer(broker, *filters)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def pinned(cores: set[int] | None) -> Iterator[None]:
    """Processes started inside may run on `cores` only; None: where this one may."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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


def two_cores() -> tuple[set[int] | None, set[int] | None]:
    """Two cores for the service and the rest for the others; None where there are too few."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[:2]), set(cores[2:]) or None


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
