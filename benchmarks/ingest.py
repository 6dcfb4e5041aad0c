"""What it costs to take audio in: 100 satellites, 6,250 messages of 512 bytes per second.

Native satellites speak utterances of three seconds and take them back (`abort`): nothing is
transcribed and everything must be counted. Rhasspy satellites stream silence. Then the memory of
devices that the service knows and of utterances that are open.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import load, report
from benchmarks.harness import Usage, a_service, await_count, rss_mb, say, spread, two_cores
from benchmarks.load import AUDIO_S, CHUNK_BYTES, CHUNK_S, CHUNKS
from tools import mqtt_frames
from tools.processes import a_child
from tools.program import Peer

RESULTS_FILTER = "stt/+/result"
SETTLE_S = 30.0
"""Longest wait for results after the last message."""
GIVEN_BACK_S = 27.0
"""After this the service has given back what it held: 20 s of rest after a 5 s timer."""
ROUND_PAUSE_S = 0.012


FULL = (
    ("native, QoS 0", "native", 100, 10, 0),
    ("native, QoS 1", "native", 100, 10, 1),
    ("Hermes, silence", "hermes", 30, 7, 0),
)
"""Title, door, satellites, utterances of each, QoS."""
QUICK = (("native, QoS 0", "native", 100, 1, 0),)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All loads, then the memory."""
    runs = [one_load(*each) for each in (QUICK if options.quick else FULL)]
    held = memory(100, 10, 0.0) if options.quick else memory(1000, 100, GIVEN_BACK_S)
    return {"runs": runs, "memory": held}


def one_load(title: str, door: str, satellites: int, utterances: int, qos: int) -> dict[str, Any]:
    """Send a load and account for all of it."""
    say(f"{title}: {satellites} satellites for {utterances * AUDIO_S:.0f} s")
    cores = two_cores()
    with a_service(RESULTS_FILTER, cores=cores) as running:
        words = ["--host", running.broker.host, "--port", running.broker.port, "--door", door]
        words += ["--satellites", satellites, "--utterances", utterances]
        with a_child(load.__name__, [*words, "--qos", qos], cores.others) as child:
            usage = Usage({"service": running.process, "broker": running.broker_process})
            started = time.monotonic()
            child.go_on()
            sent = json.loads(child.line())
            cpu = usage.read()
            wanted = satellites * utterances if door == "native" else 0
            await_count(lambda: count_results(running.peer), wanted, SETTLE_S)
            child.go_on()
            found = (
                account(running.peer.results(), satellites, utterances, started) if wanted else {}
            )
        health = running.health()
        dropped_chunks = sum(one["dropped_chunks"] for one in health["devices"].values())
        return {
            "title": title,
            "satellites": satellites,
            **sent,
            "cpu_s_per_s": cpu,
            **found,
            "service_dropped": health["counters"]["dropped"],
            "device_dropped_chunks": dropped_chunks,
            "broker_dropped": running.broker_dropped(),
        }


def count_results(peer: Peer) -> int:
    """How many results came so far."""
    return sum(message.topic.endswith("/result") for message in list(peer.messages))


def account(
    came: Sequence[tuple[float, Mapping[str, Any]]],
    satellites: int,
    utterances: int,
    started: float,
) -> dict[str, Any]:
    """What became of the utterances of a native load that began at `started`."""
    wanted = {f"sat-{n:04d}:{u}" for n in range(satellites) for u in range(utterances)}
    seen = Counter(result["id"] for _, result in came)
    whole = sum(abs((result["audio_s"] or 0.0) - AUDIO_S) < CHUNK_S / 2 for _, result in came)
    waits = [at - started - load.abort_due(result["id"]) for at, result in came]
    return {
        "utterances": len(wanted),
        "with_exactly_one_result": sum(seen[name] == 1 for name in wanted),
        "results": seen.total(),
        "outcomes": dict(Counter(result["outcome"] for _, result in came)),
        "with_all_audio": whole,
        "result_after_abort_s": spread(waits),
    }


def memory(devices: int, open_utterances: int, given_back_s: float) -> dict[str, Any]:
    """Resident memory of a fresh service: at rest, with devices, with open utterances."""
    say(f"memory of {devices} known devices and {open_utterances} open utterances")
    with (
        a_service(RESULTS_FILTER, cores=two_cores()) as running,
        mqtt_frames.open_connection(running.broker.host, running.broker.port, "crowd") as sock,
    ):
        peer = running.peer

        def know(first: int, last: int) -> int:
            """Have devices speak and take it back; then the resident memory in bytes."""
            for number in range(first, last):
                topic = f"stt/dev-{number:04d}/audio"
                sock.sendall(mqtt_frames.publish(f"{topic}/start", b"{}", 1))
                sock.sendall(mqtt_frames.publish(f"{topic}/abort", b"", 2))
                time.sleep(0.001)
            reached = await_count(lambda: count_results(peer), last, SETTLE_S)
            assert reached >= last, f"{last - reached} of the aborts were not answered"
            time.sleep(given_back_s)
            return int(running.process.memory_info().rss)

        at_rest = know(0, 1)
        with_devices = know(1, 1 + devices)
        topics = [f"stt/dev-{number:04d}/audio" for number in range(1, open_utterances + 1)]
        for topic in topics:
            sock.sendall(mqtt_frames.publish(f"{topic}/start", b"{}"))
        chunks = b"".join(mqtt_frames.publish(topic, bytes(CHUNK_BYTES)) for topic in topics)
        for _ in range(CHUNKS):
            sock.sendall(chunks)
            time.sleep(ROUND_PAUSE_S)
        audio = CHUNKS * CHUNK_BYTES
        wanted = audio * open_utterances
        buffered = await_count(lambda: running.health()["buffered_bytes"], wanted, 5.0)
        with_open = rss_mb(running.process)
    return {
        "rss_at_rest_mb": round(at_rest / 1e6, 1),
        "devices": devices,
        "rss_with_devices_mb": round(with_devices / 1e6, 1),
        "bytes_per_idle_device": round((with_devices - at_rest) / devices),
        "open_utterances": open_utterances,
        "rss_with_open_utterances_mb": with_open,
        "audio_bytes_per_open_utterance": audio,
        "all_audio_buffered": buffered == wanted,
        "bytes_per_open_utterance": round((with_open * 1e6 - with_devices) / open_utterances),
    }


def lost(data: Mapping[str, Any]) -> list[str]:
    """Runs in which something got lost, and audio that was not buffered."""
    found = [] if data["memory"]["all_audio_buffered"] else ["audio of open utterances"]
    for run in data["runs"]:
        wanted = run.get("utterances", 0)
        counts = [
            run.get(key, 0) for key in ("with_exactly_one_result", "results", "with_all_audio")
        ]
        counts.append(run.get("outcomes", {}).get("aborted", 0))
        dropped = [*run["service_dropped"].values(), run["device_dropped_chunks"]]
        if set(counts) != {wanted} or any([*dropped, run["broker_dropped"]]):
            found.append(run["title"])
    return found


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = []
    for run in data["runs"]:
        cpu, wait = run["cpu_s_per_s"], run.get("result_after_abort_s", {})
        rows.append(
            [
                run["title"],
                f"{run['chunks'] / run['seconds']:,.0f}",
                f"{run['with_exactly_one_result']} of {run['utterances']}" if wait else None,
                sum(run["service_dropped"].values()) + run["device_dropped_chunks"],
                run["broker_dropped"],
                f"{cpu['service']:.3f}",
                f"{1e6 * cpu['service'] * run['seconds'] / run['chunks']:.0f}",
                f"{cpu['broker']:.3f}",
                wait.get("p50"),
                wait.get("p95"),
                run["late_p99_ms"],
            ]
        )
    header = ["load", "chunks/s", "one result", "dropped", "by the broker", "CPU s/s",
              "µs per chunk", "broker", "median s", "95 % s", "late ms"]  # fmt: skip
    held = data["memory"]
    return [
        "# Ingest",
        "",
        f"Satellites that send a chunk of {CHUNK_BYTES} bytes every {1000 * CHUNK_S:g} ms. Native "
        f"ones speak utterances of {AUDIO_S:g} s that end by `abort`; Hermes ones stream silence "
        "as WAV that nobody waits for. The service has two cores; broker and load have the "
        "others, or share its two if there are no others. "
        "Dropped: messages and chunks, by the service and by the broker. CPU: of the service, also "
        "for each chunk, and of the broker. Median and 95 %: from the abort to the result. Late: "
        "99 % of the load was sent with less delay.",
        "",
        *report.table(header, rows),
        "",
        f"Resident memory: {held['rss_at_rest_mb']} MB at rest; {held['rss_with_devices_mb']} MB "
        f"with {held['devices']} known idle devices ({held['bytes_per_idle_device']} bytes each); "
        f"{held['rss_with_open_utterances_mb']} MB with {held['open_utterances']} open utterances "
        f"of {AUDIO_S:g} s ({held['bytes_per_open_utterance']} bytes each, "
        f"{held['audio_bytes_per_open_utterance']} of them audio).",
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("ingest", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
