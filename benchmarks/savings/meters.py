"""What is measured from outside: a process with its children, the broker's counter, a listener."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import paho.mqtt.client as paho
import psutil

from benchmarks import bench
from tools.brokers import Broker
from tools.program import Peer

INTERVAL_S = 1.0
RECEIVED = "$SYS/broker/bytes/received"
"""Everything that the broker was sent, by all clients, since it began; once a second."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A program at one moment. `at_s`: `time.monotonic`; memory in MB: resident, of children their
    share, so that libraries do not count with each of them.

    `cpu_s`: of it and all its children since it began, those that have ended included.
    `machine_s`: what all programs of this machine have used of the cores it may use.
    """

    at_s: float
    cpu_s: float
    machine_s: float
    own_mb: float
    children_mb: float
    threads: int
    children: int

    @property
    def memory_mb(self) -> float:
        """Of the program and its children together."""
        return self.own_mb + self.children_mb


def take(process: psutil.Process, cores: set[int] | None) -> Sample:
    """Look at a program and its children now."""
    at_s = time.monotonic()
    program = process.exe()
    with process.oneshot():
        used, threads = _used_s(process), process.num_threads()
        own_mb = process.memory_info().rss / 1e6
    children = process.children(recursive=True)
    children_mb = 0.0
    for child in children:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            used += _used_s(child)
            # One that has not become another program yet still has all memory of its parent.
            if child.exe() != program:
                children_mb += child.memory_full_info().pss / 1e6
    return Sample(at_s, used, _busy_s(cores), own_mb, children_mb, threads, len(children))


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _busy_s(cores: set[int] | None) -> float:
    per_core = psutil.cpu_times(percpu=True)
    chosen = range(len(per_core)) if cores is None else cores
    return float(
        sum(per_core[core].user + per_core[core].nice + per_core[core].system for core in chosen)
    )


@contextmanager
def a_meter(process: psutil.Process, cores: set[int] | None) -> Iterator[list[Sample]]:
    """Inside, the program is looked at every `INTERVAL_S`, and once more at the end."""
    samples = [take(process, cores)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL_S - (time.monotonic() - samples[0].at_s) % INTERVAL_S):
            with suppress(psutil.NoSuchProcess):
                samples.append(take(process, cores))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
        with suppress(psutil.NoSuchProcess):
            samples.append(take(process, cores))


@dataclass(frozen=True, slots=True)
class Heard:
    """A message. `at_s`: `time.monotonic` when it came."""

    at_s: float
    topic: str
    payload: bytes


class Listener(Peer):
    """Hears with QoS 0, so that it sends nothing but a ping of two bytes each minute."""

    def heard(self, ending: str) -> list[Heard]:
        """What came on topics with this ending so far, in the order of arrival."""
        return [
            Heard(message.timestamp, message.topic, bytes(message.payload))
            for message in list(self.messages)
            if message.topic.endswith(ending)
        ]

    def bytes_received(self) -> list[tuple[float, int]]:
        """The broker's counter: when it was told, and how much it was."""
        return [(heard.at_s, int(heard.payload)) for heard in self.heard(RECEIVED)]

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        for topic_filter in self._filters:
            client.subscribe(topic_filter, qos=0)


@contextmanager
def a_listener(broker: Broker, *filters: str) -> Iterator[Listener]:
    """A client that hears these topics and the broker's counter."""
    listener = Listener(broker, *filters, RECEIVED)
    try:
        yield listener
    finally:
        listener.close()


@dataclass(frozen=True, slots=True)
class Metered:
    """A program from the beginning of the sound to the end of the run."""

    began_s: float
    seconds: float
    samples: Sequence[Sample]
    received: Sequence[tuple[float, int]]
    """The broker's counter, from before anybody connected who speaks."""
    peak_mb: float = field(default=0.0)
    """Of the program alone, as the kernel remembers it, its start included."""

    @property
    def during(self) -> list[Sample]:
        """Samples of the time that counts, the last one before it first."""
        before = [one for one in self.samples if one.at_s <= self.began_s]
        after = [
            one for one in self.samples if self.began_s < one.at_s <= self.began_s + self.seconds
        ]
        return before[-1:] + after

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the program and its children."""
        samples = self.during
        return samples[-1].cpu_s - samples[0].cpu_s

    @property
    def others_s(self) -> float:
        """CPU seconds that other programs took of the cores of the server."""
        samples = self.during
        return max(samples[-1].machine_s - samples[0].machine_s - self.cpu_s, 0.0)

    @property
    def highest_mb(self) -> float:
        """Most memory, resident: of any sample, or what the kernel remembers."""
        return max(self.peak_mb, *(one.memory_mb for one in self.during))

    @property
    def sent_bytes(self) -> int:
        """What the broker was sent."""
        return self.received[-1][1] - self.received[0][1] if self.received else 0

    def growth_mb_per_minute(self, from_s: float) -> float | None:
        """Slope of the memory (least squares) from `from_s` on; None: too short."""
        points = [
            (one.at_s / 60, one.memory_mb)
            for one in self.during
            if one.at_s >= self.began_s + from_s
        ]
        return slope(points)


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Of the straight line with the least squares; None where there is none."""
    if len({x for x, _ in points}) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * y for x, y in points) / spread


def peak_mb(process: psutil.Process) -> float:
    """The most memory of a process alone that was ever resident."""
    return bench.mb(bench.peak_bytes(process))
