"""What it costs to take audio in: 100 satellites, 6,250 messages of 512 bytes per second.

Each satellite speaks utterances of three seconds and takes them back (`abort`), so that nothing is
transcribed and everything must be counted. The service runs on two cores. Then its memory: for
devices that it knows, and for utterances that are open.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bench, frames, generator
from benchmarks.generator import AUDIO_S, CHUNK_S, CHUNKS_PER_UTTERANCE, SLOTS, Load
from tools.brokers import MOSQUITTO, Broker
from tools.program import Peer

FILTERS = ("stt/+/result", "stt/bridge/state", "stt/bridge/response/health_check")
BROKER_DROPS = "$SYS/broker/publish/messages/dropped"
SETTLE_S = 30.0
"""Longest wait for results after the last message."""
GIVEN_BACK_S = 27.0
"""After this the service has given back what it held: 20 s of rest after a 5 s timer."""
ROUND_PAUSE_S = 0.012
PROFILE_UTTERANCES = 5
PROFILE_HZ = 200
TOP = 15
PROFILE_TITLE = (
    "Where Python's time goes (py-spy; share of the samples in which a thread holds the "
    "interpreter's lock, the function itself):"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    satellites: int
    utterances: int
    devices: int
    open_utterances: int
    given_back_s: float


FULL = Plan(100, 10, 1000, 100, GIVEN_BACK_S)
QUICK = Plan(100, 1, 100, 10, 0.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """The processes of one run."""

    broker: Broker
    broker_process: psutil.Process
    service: psutil.Process
    peer: Peer
    other_cores: set[int] | None


@dataclass(slots=True)
class Generator:
    """The running load generator."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """Its next line; an error if it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with {self.process.wait(10)}")
        return line

    def nod(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def set_up(together: bool) -> Iterator[Bench]:
    """A broker and the service on two cores; the broker elsewhere, unless all are together."""
    two, others = bench.two_cores()
    if together:
        others = two
    with tempfile.TemporaryDirectory() as name, bench.a_broker(Path(name), others) as running:
        broker = running.broker
        with (
            bench.a_peer(broker, *FILTERS) as peer,
            bench.a_service(Path(name), broker, peer, two) as service,
        ):
            yield Bench(broker, running.process, service, peer, others)


@contextmanager
def a_generator(load: Load, setup: Bench) -> Iterator[Generator]:
    """The load generator, connected."""
    arguments = {
        "--host": setup.broker.host,
        "--port": setup.broker.port,
        "--satellites": load.satellites,
        "--utterances": load.utterances,
        "--qos": load.qos,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    with bench.pinned(setup.other_cores):
        process = subprocess.Popen(
            [sys.executable, "-m", generator.__name__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            running = Generator(process)
            running.line()
            yield running
        finally:
            process.kill()


def measure(load: Load, together: bool) -> dict[str, Any]:
    """Send the load and account for all of it."""
    where = "all on two cores" if together else "the service on two cores"
    bench.say(
        f"{load.satellites} satellites x {load.utterances} utterances, QoS {load.qos}, {where}"
    )
    with set_up(together) as setup, a_generator(load, setup) as load_generator:
        usage = bench.Usage({"service": setup.service, "broker": setup.broker_process})
        started = time.monotonic()
        load_generator.nod()
        sent = json.loads(load_generator.line())
        cpu = {**usage.read(), "generator": sent.pop("cpu_s_per_s")}
        wanted = load.satellites * load.utterances
        bench.await_count(lambda: len(setup.peer.messages) - 1, wanted, SETTLE_S)
        load_generator.nod()
        results = {**account(setup.peer, load, started), **losses(setup)}
    return {"together": together, "qos": load.qos, **sent, "cpu_s_per_s": cpu, **results}


def account(peer: Peer, load: Load, started: float) -> dict[str, Any]:
    """What became of the utterances."""
    wanted = {f"sat-{n:04d}:{u}" for n in range(load.satellites) for u in range(load.utterances)}
    seen: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    audio_s = 0.0
    whole = 0
    waits: list[float] = []
    for message in list(peer.messages):
        if message.topic.endswith("/result"):
            result = json.loads(message.payload)
            seen[result["id"]] += 1
            outcomes[result["outcome"]] += 1
            audio_s += result["audio_s"] or 0.0
            whole += abs((result["audio_s"] or 0.0) - AUDIO_S) < CHUNK_S / 2
            waits.append(message.timestamp - started - _abort_due(result["id"]))
    return {
        "utterances": len(wanted),
        "utterances_with_exactly_one_result": sum(seen[name] == 1 for name in wanted),
        "results": seen.total(),
        "outcomes": dict(outcomes),
        "utterances_with_all_audio": whole,
        "audio_s_sent": round(len(wanted) * AUDIO_S, 1),
        "audio_s_counted": round(audio_s, 1),
        "result_after_abort_s": {
            "p50": bench.percentile(waits, 0.5),
            "p95": bench.percentile(waits, 0.95),
            "max": bench.percentile(waits, 1.0),
        },
    }


def losses(setup: Bench) -> dict[str, Any]:
    """Every counter of the service and of the broker that says that something was dropped."""
    health = health_of(setup.peer)
    return {
        "service_dropped": health["counters"]["dropped"],
        "service_errors": health["counters"]["errors"],
        "device_dropped_chunks": sum(
            device["dropped_chunks"] for device in health["devices"].values()
        ),
        "broker_dropped": broker_drops(setup.broker),
    }


def health_of(peer: Peer) -> dict[str, Any]:
    """The health of the service, now."""
    topic = "stt/bridge/response/health_check"
    asked = len(peer.payloads(topic))
    peer.publish("stt/bridge/request/health_check")
    data: dict[str, Any] = peer.json(topic, asked + 1)[-1]["data"]
    return data


def broker_drops(broker: Broker) -> int | None:
    """Messages that Mosquitto dropped; None with another broker."""
    if MOSQUITTO is None:
        return None
    time.sleep(1.5)
    with bench.a_peer(broker, BROKER_DROPS) as peer:
        if not bench.await_count(lambda: len(peer.messages), 1, 3.0):
            return None
        return int(peer.messages[-1].payload)


def memory(plan: Plan) -> dict[str, Any]:
    """Resident memory of the service, step by step, in a fresh process."""
    bench.say(f"memory of {plan.devices} known devices and {plan.open_utterances} open utterances")
    with set_up(together=False) as setup:
        peer, broker = setup.peer, setup.broker
        with frames.open_connection(broker.host, broker.port, "crowd") as sock:

            def know(first: int, last: int) -> None:
                before = len(peer.messages)
                for number in range(first, last):
                    topic = f"stt/dev-{number:04d}/audio"
                    sock.sendall(frames.publish(f"{topic}/start", b"{}", 1))
                    sock.sendall(frames.publish(f"{topic}/abort", b"", 2))
                    time.sleep(0.001)
                wanted = before + last - first
                reached = bench.await_count(lambda: len(peer.messages), wanted, SETTLE_S)
                assert reached >= wanted, f"{wanted - reached} of the aborts were not answered"
                _settle(plan)

            know(0, 1)
            at_rest = setup.service.memory_info().rss
            know(1, 1 + plan.devices)
            with_devices = setup.service.memory_info().rss
            _open(sock, plan.open_utterances)
            audio = plan.open_utterances * CHUNKS_PER_UTTERANCE * generator.CHUNK_BYTES
            buffered = bench.await_count(lambda: health_of(peer)["buffered_bytes"], audio, 2.0)
            with_open = setup.service.memory_info().rss
    per_open = (with_open - with_devices) / plan.open_utterances
    return {
        "rss_at_rest_mb": round(at_rest / 1e6, 1),
        "devices": plan.devices,
        "rss_with_devices_mb": round(with_devices / 1e6, 1),
        "bytes_per_idle_device": round((with_devices - at_rest) / plan.devices),
        "open_utterances": plan.open_utterances,
        "rss_with_open_utterances_mb": round(with_open / 1e6, 1),
        "audio_bytes_per_open_utterance": audio // plan.open_utterances,
        "all_audio_buffered": buffered == audio,
        "bytes_per_open_utterance": round(per_open),
        "bytes_per_open_utterance_beside_audio": round(per_open - audio / plan.open_utterances),
    }


def profile(py_spy: str) -> dict[str, Any]:
    """Where the CPU time of the service goes, by function, under the load."""
    load = Load(FULL.satellites, PROFILE_UTTERANCES, 0)
    bench.say(f"profile under {load.utterances * AUDIO_S:.0f} s of load")
    with (
        tempfile.TemporaryDirectory() as folder,
        set_up(together=False) as setup,
        a_generator(load, setup) as load_generator,
    ):
        output = Path(folder) / "stacks"
        options = ["--pid", setup.service.pid, "--rate", PROFILE_HZ, "--format", "raw"]
        options += ["--duration", int(load.utterances * AUDIO_S) - 2, "--output", output]
        load_generator.nod()
        # Only what holds the interpreter's lock: py-spy takes many a wait for work. And it must
        # not stop the threads, which would wake those that rest.
        subprocess.run(
            [py_spy, "record", "--threads", "--gil", "--nonblocking", *map(str, options)],
            check=True,
            capture_output=True,
            timeout=120,
        )
        load_generator.line()
        load_generator.nod()
        return shares(output.read_text())


def shares(stacks: str) -> dict[str, Any]:
    """Shares of samples in py-spy's raw output, by thread and by the function that ran."""
    itself: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        thread, *calls = stack.split(";")
        if calls:
            name = thread.split(": ", 1)[-1].strip('"')
            threads[name] += int(samples)
            itself[f"{name}: {_function(calls[-1])}"] += int(samples)
    total = threads.total()

    def top(counter: Counter[str]) -> dict[str, float]:
        return {name: round(count / total, 3) for name, count in counter.most_common(TOP)}

    return {"samples": total, "threads": top(threads), "itself": top(itself)}


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    header = ["", *(_title(run) for run in data["runs"])]
    rows = {
        "messages per second": lambda run: f"{run['messages'] / run['seconds']:,.0f}",
        "seconds": lambda run: run["seconds"],
        "utterances": lambda run: run["utterances"],
        "with exactly one result": lambda run: run["utterances_with_exactly_one_result"],
        "with outcome aborted": lambda run: run["outcomes"].get("aborted", 0),
        "with all their audio": lambda run: run["utterances_with_all_audio"],
        "dropped by the service": lambda run: (
            sum(run["service_dropped"].values()) + run["device_dropped_chunks"]
        ),
        "dropped by the broker": lambda run: run["broker_dropped"],
        "CPU s/s, service": lambda run: run["cpu_s_per_s"]["service"],
        "CPU s/s, broker": lambda run: run["cpu_s_per_s"]["broker"],
        "CPU s/s, load generator": lambda run: run["cpu_s_per_s"]["generator"],
        "result after abort, p50 s": lambda run: run["result_after_abort_s"]["p50"],
        "result after abort, p95 s": lambda run: run["result_after_abort_s"]["p95"],
        "load generator late, p99 ms": lambda run: run["late_p99_ms"],
    }
    lines = [[name, *map(value, data["runs"])] for name, value in rows.items()]
    held = data["memory"]
    page = [
        "# Ingest",
        "",
        f"{data['satellites']} satellites, 62.5 messages of 512 bytes per second each, as "
        f"utterances of {AUDIO_S:g} s that end by `abort`. The service has two cores; broker and "
        "load generator have the others, or share its two (together).",
        "",
        *bench.table(header, lines),
        "",
        f"Resident memory: {held['rss_at_rest_mb']} MB at rest, {held['rss_with_devices_mb']} MB "
        f"with {held['devices']} known idle devices ({held['bytes_per_idle_device']} bytes each), "
        f"{held['rss_with_open_utterances_mb']} MB with {held['open_utterances']} open utterances "
        f"of {AUDIO_S:g} s ({held['bytes_per_open_utterance']} bytes each, "
        f"{held['audio_bytes_per_open_utterance']} of them audio).",
    ]
    if data["profile"]:
        page += ["", PROFILE_TITLE, ""]
        page += bench.table(
            ["thread: function", "share"],
            [[f"`{name}`", f"{share:.1%}"] for name, share in data["profile"]["itself"].items()],
        )
        spent = ", ".join(
            f"{name} {share:.0%}" for name, share in data["profile"]["threads"].items()
        )
        page += ["", f"By thread: {spent}."]
    return [*page, "", bench.describe(data["machine"])]


def complete(run: Mapping[str, Any]) -> bool:
    """Whether nothing was lost in a run."""
    counts = ("utterances_with_exactly_one_result", "results", "utterances_with_all_audio")
    return (
        all(run[count] == run["utterances"] for count in counts)
        and run["outcomes"] == {"aborted": run["utterances"]}
        and not any(run["service_dropped"].values())
        and not run["device_dropped_chunks"]
        and not run["broker_dropped"]
    )


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if anything got lost."""
    plan = QUICK if options.quick else FULL
    machine = {**bench.machine(), "broker": bench.broker_name()}
    runs = [measure(Load(plan.satellites, plan.utterances, 0), together=False)]
    if not options.quick:
        runs.append(measure(Load(plan.satellites, plan.utterances, 1), together=False))
        runs.append(measure(Load(plan.satellites, plan.utterances, 0), together=True))
    data = {
        "benchmark": "ingest",
        "quick": options.quick,
        "machine": machine,
        "satellites": plan.satellites,
        "runs": runs,
        "memory": memory(plan),
        "profile": profile(options.py_spy) if options.py_spy else None,
    }
    bench.finish("ingest", options, data, markdown(data))
    return 0 if all(map(complete, runs)) else 1


def _open(sock: Any, count: int) -> None:
    """Open utterances of all their audio, and leave them open."""
    topics = [f"stt/dev-{number:04d}/audio" for number in range(1, count + 1)]
    for topic in topics:
        sock.sendall(frames.publish(f"{topic}/start", b"{}"))
    chunks = b"".join(frames.publish(topic, bytes(generator.CHUNK_BYTES)) for topic in topics)
    for _ in range(CHUNKS_PER_UTTERANCE):
        sock.sendall(chunks)
        time.sleep(ROUND_PAUSE_S)


def _settle(plan: Plan) -> None:
    if plan.given_back_s:
        bench.say(f"{plan.given_back_s:g} s of rest, until the service gives memory back")
        time.sleep(plan.given_back_s)


def _abort_due(utterance: str) -> float:
    """When the abort of an utterance was due, in seconds after the start."""
    name, _, number = utterance.partition(":")
    slot = int(name.removeprefix("sat-")) % SLOTS
    last = (int(number) + 1) * CHUNKS_PER_UTTERANCE - 1
    return last * CHUNK_S + slot * CHUNK_S / SLOTS


def _function(call: str) -> str:
    """`name (file.py)` from py-spy's `name (path/file.py:12)`."""
    name, _, place = call.partition(" (")
    file = place.rstrip(")").rsplit(":", 1)[0].rsplit("/", 1)[-1]
    return f"{name} ({file})"


def _title(run: Mapping[str, Any]) -> str:
    return f"QoS {run['qos']}{', together' if run['together'] else ''}"


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument("--py-spy", help="the py-spy program, to see where the CPU time goes")
    sys.exit(main(arguments.parse_args()))
