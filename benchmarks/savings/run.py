"""One way of listening to some rooms in real time, measured from outside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from benchmarks import bench
from benchmarks.savings.household import Room
from benchmarks.savings.meters import Listener, Metered, Sample, a_listener, a_meter, peak_mb
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import Broker, eventually

GRACE_S, QUICK_GRACE_S = 5.0, 2.5
"""After the last sound; then the run ends, whatever is still owed."""
SETTLE_S = 60.0
"""Memory that grows after this does so because of the work."""
LEAST_FREE = 0.2
"""Share of the machine's memory that is left free; a run that would take it is stopped."""
SERIES_STEP_S = 5.0

Rooms: TypeAlias = Sequence[Room]


@dataclass(frozen=True, slots=True)
class Stage:
    """A broker, who listens there, and the cores: of the server, and of everybody else."""

    folder: Path
    running: bench.RunningBroker
    listener: Listener
    server_cores: set[int] | None
    other_cores: set[int] | None

    @property
    def broker(self) -> Broker:
        """Where to connect."""
        return self.running.broker


Speakers: TypeAlias = tuple[float, Mapping[str, psutil.Process]]
"""When the first sample was spoken (`time.monotonic`), and the programs that send."""


@dataclass(frozen=True, slots=True)
class Way:
    """A server, who sends to it, and what to make of what it says."""

    name: str
    filters: tuple[str, ...]
    server: Callable[[Stage], AbstractContextManager[psutil.Process]]
    speakers: Callable[[Stage, Rooms], AbstractContextManager[Speakers]]
    judged: Callable[[Listener, Rooms, float, Metered], dict[str, Any]]


def measure(way: Way, rooms: Rooms, quick: bool = False) -> dict[str, Any]:
    """Have the server hear the rooms in real time. What it owes then, it owes."""
    server_cores, other_cores = bench.two_cores()
    grace_s = QUICK_GRACE_S if quick else GRACE_S
    seconds = max(len(room.samples) for room in rooms) / SAMPLE_RATE
    bench.say(f"{way.name}, {len(rooms)} room(s), {seconds / 60:.1f} minutes")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(bench.pinned(other_cores))
        running = stack.enter_context(bench.a_broker(folder, other_cores))
        listener = stack.enter_context(a_listener(running.broker, *way.filters))
        stage = Stage(folder, running, listener, server_cores, other_cores)
        process = stack.enter_context(way.server(stage))
        eventually(listener.bytes_received)
        # What the server said at its start is not what the rooms cost.
        time.sleep(2.0)
        before = len(listener.bytes_received()) - 1
        with (
            a_meter(process, server_cores) as samples,
            way.speakers(stage, rooms) as (began_s, senders),
        ):
            usage = bench.Usage({"broker": running.process, **senders})
            stopped = _await_the_end(began_s + seconds + grace_s, process, samples)
            used = usage.read()
            metered = Metered(
                began_s,
                time.monotonic() - began_s,
                samples,
                listener.bytes_received()[before:],
                peak_mb(process),
            )
        judged = way.judged(listener, rooms, began_s, metered)
    return {
        "way": way.name,
        "rooms": len(rooms),
        "seconds": round(metered.seconds, 1),
        "audio_s": round(seconds, 1),
        "stopped_early": stopped,
        **_figures(metered),
        "broker_cpu_s_per_s": used.pop("broker"),
        "sender_cpu_s_per_s": round(sum(used.values()) / len(used), 3),
        **judged,
    }


def _await_the_end(end_s: float, process: psutil.Process, samples: Sequence[Sample]) -> str | None:
    """Wait; why the run ended before its time, if it did."""
    while (left_s := end_s - time.monotonic()) > 0:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return "the server died"
        memory = psutil.virtual_memory()
        if memory.available < LEAST_FREE * memory.total:
            return f"the server held {samples[-1].memory_mb / 1000:.1f} GB, all that there was"
        time.sleep(min(left_s, 0.5))
    return None


def _figures(metered: Metered) -> dict[str, Any]:
    """What does not depend on the way."""
    samples = metered.during
    first, last = samples[0], samples[-1]
    settled_s = min(SETTLE_S, metered.seconds / 3)
    growth = metered.growth_mb_per_minute(settled_s)
    step_s = SERIES_STEP_S if metered.seconds > 100 else 1.0
    chosen = [
        one
        for number, one in enumerate(samples)
        if number in {0, len(samples) - 1}
        or (one.at_s - metered.began_s) // step_s
        != (samples[number - 1].at_s - metered.began_s) // step_s
    ]
    counter = metered.received[0][1] if metered.received else 0
    return {
        "cpu_s": round(metered.cpu_s, 2),
        "cpu_s_per_s": round(metered.cpu_s / metered.seconds, 4),
        "others_cpu_s_per_s": round(metered.others_s / metered.seconds, 3),
        "memory": {
            "at_the_start_mb": round(first.memory_mb, 1),
            "at_the_end_mb": round(last.memory_mb, 1),
            "peak_mb": round(metered.highest_mb, 1),
            "growth_mb_per_minute": None if growth is None else round(growth, 2),
        },
        "most_threads": max(one.threads for one in samples),
        "most_children": max(one.children for one in samples),
        "bytes": metered.sent_bytes,
        "kb_per_s": round(metered.sent_bytes / metered.seconds / 1000, 3),
        "series": {
            "at_s": [round(max(one.at_s - metered.began_s, 0.0), 1) for one in chosen],
            "cpu_s": [round(one.cpu_s - first.cpu_s, 2) for one in chosen],
            "memory_mb": [round(one.memory_mb, 1) for one in chosen],
            "threads": [one.threads for one in chosen],
            "bytes": [
                max((size for at_s, size in metered.received if at_s <= one.at_s), default=counter)
                - counter
                for one in chosen
            ],
        },
    }
