"""What the design saves: a naive speech server and this one, on the same minutes of a household.

Four rooms and one room in real time. The server has two cores; the broker and the senders have the
others. A run ends with the sound. The work that a server has not done by then does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import psutil

from benchmarks import harness, household, naive, report, scoring, speech
from benchmarks.harness import Cores, Running, say, spread
from benchmarks.household import Room, Spoken
from benchmarks.report import Curve, Panel
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.satellite.segmenter import FRAME_BYTES, TAIL_S
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import eventually
from tools.processes import a_child, pinned
from tools.program import PROGRAM, Peer

MINUTES, QUICK_MINUTES, QUICK_ROOMS = 10.0, 0.2, 2
NAIVE_MODEL, QUICK_MODEL = "base", "tiny.en"
"""A quick run uses the model of stt-mqtt for both, so that it needs no other."""
BEFORE, OURS = "before", "stt-mqtt"
HANGOVER_S = SatelliteConfig().vad.hangover_ms / 1000
TOUCH_S = 0.05
"""A segment that shares so much time with an utterance holds some of it."""
GRACE_S, QUICK_GRACE_S = 5.0, 2.5
"""From the last sound to the end of the run."""
LEAST_FREE = 0.2
"""Share of the machine's memory that stays free; a run that would take it is stopped."""
BYTES_TOPIC = "$SYS/broker/bytes/received"
"""All bytes that the broker received, published once a second."""
TOPICS = ("stt/+/result", "stt/+/satellite/state", BYTES_TOPIC)
SERIES_POINTS = 120
ORANGE, BLUE = "#d55e00", "#0072b2"

Messages = Sequence[paho.MQTTMessage]


# Servers and senders ----------------------------------------------------------------------------


@contextmanager
def a_naive_server(cores: Cores, model: str) -> Iterator[Running]:
    """The naive server, ready, with a broker of its own; the peer hears its texts."""
    words = resolve(model, default_models_dir()).folder
    environment = harness.plain_environment()
    with (
        tempfile.TemporaryDirectory() as name,
        harness.a_broker(Path(name), cores.others) as (broker, broker_process),
        closing(Peer(broker, "naive/+/text", BYTES_TOPIC, qos=0)) as peer,
        a_child(naive.__name__, [broker.port, words], cores.program, environment) as child,
    ):
        yield Running(Path(name), broker, broker_process, peer, psutil.Process(child.process.pid))


def start_satellite(running: Running, device: str, stack: ExitStack) -> subprocess.Popen[bytes]:
    """`stt-mqtt satellite` with its defaults; its microphone is standard input."""
    address = {"HOST": running.broker.host, "PORT": str(running.broker.port)}
    environment = os.environ | {f"STT_MQTT__MQTT__{name}": text for name, text in address.items()}
    command = [str(PROGRAM), "satellite", "--device", device, "--stdin"]
    with (running.folder / f"{device}.log").open("wb") as log:
        process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
        )
    stack.callback(harness.end, process)
    return process


def speak(satellite: subprocess.Popen[bytes], frames: Iterable[bytes]) -> None:
    """Write audio to the microphone of a satellite."""
    assert satellite.stdin is not None
    with suppress(BrokenPipeError), satellite.stdin as microphone:
        for frame in frames:
            microphone.write(frame)


def in_real_time(pcm: bytes, size: int, began_s: float, over: Event) -> Iterator[bytes]:
    """Pieces of `size` bytes, each when its last sample is spoken, until `over` is set."""
    for at in range(0, len(pcm), size):
        due_s = began_s + (at + size) / 2 / SAMPLE_RATE
        if over.wait(max(due_s - time.monotonic(), 0.0)):
            return
        yield pcm[at : at + size]


# A run ------------------------------------------------------------------------------------------


def listen(way: str, model: str, rooms: Sequence[Room], grace_s: float) -> dict[str, Any]:
    """Have a server hear the rooms in real time; what it used, and what came of the speech."""
    seconds, cores = rooms[0].seconds, harness.two_cores()
    say(f"{way}, {len(rooms)} room(s), {seconds / 60:.1f} minutes")
    if way == BEFORE:
        server = a_naive_server(cores, model)
    else:
        server = harness.a_service(*TOPICS, cores=cores, qos=0)
    with pinned(cores.others), server as running, ExitStack() as stack:
        messages = running.peer.messages
        eventually(lambda: came(messages, BYTES_TOPIC))
        # What the server said at its start is not what the rooms cost.
        time.sleep(2.0)
        _, bytes_before = came(messages, BYTES_TOPIC)[-1]
        samples, stopped = [sample(running.process)], None
        pool, over = stack.enter_context(ThreadPoolExecutor(len(rooms))), Event()
        if way == BEFORE:
            piece, port = 2 * SAMPLE_RATE, running.broker.port
            senders = [partial(naive.send, port, room.name) for room in rooms]
        else:
            piece = FRAME_BYTES
            satellites = [start_satellite(running, room.name, stack) for room in rooms]
            for room in rooms:
                running.peer.json(f"stt/{room.name}/satellite/state")
            senders = [partial(speak, satellite) for satellite in satellites]
        stack.callback(over.set)
        began_s = time.monotonic()
        for send, room in zip(senders, rooms, strict=True):
            pool.submit(send, in_real_time(room.pcm, piece, began_s, over))
        while time.monotonic() < began_s + seconds + grace_s and stopped is None:
            time.sleep(0.99)
            with suppress(psutil.NoSuchProcess):
                samples.append(sample(running.process))
            stopped = why_to_stop(running.process)
        lasted_s = time.monotonic() - began_s
        sent = came(messages, BYTES_TOPIC)[-1][1] - bytes_before
        judged = judge(way, messages, rooms, began_s, lasted_s)
    at_s, cpu_s, memory_mb = np.array(samples).T
    at_s, cpu_s = at_s - began_s, cpu_s - cpu_s[0]
    step = max(len(samples) // SERIES_POINTS, 1)
    return {
        "way": way,
        "rooms": len(rooms),
        "seconds": round(lasted_s, 1),
        "stopped_early": stopped,
        "cpu_s_per_s": round(cpu_s[-1] / lasted_s, 4),
        "start_mb": round(memory_mb[0], 1),
        "peak_mb": round(memory_mb.max(), 1),
        "bytes": sent,
        "kb_per_s": round(sent / lasted_s / 1000, 3),
        **judged,
        "series": {
            "at_s": at_s[::step].round(1).tolist(),
            "cpu_s": cpu_s[::step].round(2).tolist(),
            "memory_mb": memory_mb[::step].round(1).tolist(),
        },
    }


def came(messages: Messages, ending: str) -> list[tuple[float, Any]]:
    """What came on topics with this ending: when (`time.monotonic`), and the JSON."""
    return [
        (message.timestamp, json.loads(message.payload))
        for message in list(messages)
        if message.topic.endswith(ending)
    ]


def sample(process: psutil.Process) -> tuple[float, float, float]:
    """Now (`time.monotonic`), CPU seconds so far, and resident memory in MB.

    Of the memory of children only their share counts, so that a library does not count with each.
    """
    at_s, program, size = time.monotonic(), process.exe(), process.memory_info().rss
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            # One that has not become another program yet still has all memory of its parent.
            if child.exe() != program:
                size += child.memory_full_info().pss
    return at_s, harness.cpu_s(process), size / 1e6


def why_to_stop(process: psutil.Process) -> str | None:
    """What ends a run before its time; None: nothing."""
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        return "the server died"
    memory = psutil.virtual_memory()
    return "no memory was left" if memory.available < LEAST_FREE * memory.total else None


# From the end of speech to its text -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A text that came at `at_s` and holds what was said from `start_s` to `end_s`."""

    at_s: float
    start_s: float
    end_s: float
    text: str

    def touches(self, one: Spoken) -> bool:
        """Whether it holds some of an utterance."""
        shared = min(self.end_s, one.end_s) - max(self.start_s, one.start_s)
        return shared >= min(TOUCH_S, (one.end_s - one.start_s) / 2)


def judge(
    way: str, messages: Messages, rooms: Sequence[Room], began_s: float, end_s: float
) -> dict[str, Any]:
    """Latency in seconds and words of what was said within the run, from the texts that came.

    An utterance without a text counts with the time from its end to the end of the run.
    """
    came_s: list[tuple[Spoken, float | None]] = []
    pairs, so_far, behind, outcomes = [], [], list[int](), Counter[str]()
    for room in rooms:
        said = [one for one in room.spoken if one.end_s < end_s]
        if way == BEFORE:
            texts = buffers(came(messages, f"/{room.name}/text"), began_s)
            text = longest(texts).text
            behind.append(int(min(end_s, room.seconds) - longest(texts).end_s))
            last = longest(t for t in texts if not any(s.start_s < t.end_s < s.end_s for s in said))
            so_far.append((words_of(s for s in said if s.end_s <= last.end_s), last.text))
        else:
            results = came(messages, f"stt/{room.name}/result")
            texts = segments(results, began_s)
            text = " ".join(one.text for one in texts if one.text)
            outcomes.update((one["error"] or {}).get("code", one["outcome"]) for _, one in results)
        came_s += [(one, text_came_s(way, one, texts)) for one in said]
        pairs.append((words_of(said), text))
    latencies = [(end_s if at_s is None else at_s) - one.end_s for one, at_s in came_s]
    return {
        "utterances": len(came_s),
        "within_the_run": sum(at_s is not None for _, at_s in came_s),
        "latency_s": spread(latencies),
        "wer": scoring.wer(pairs),
        "wer_so_far": scoring.wer(so_far),
        "behind_s": max(behind, default=None),
        "outcomes": dict(outcomes),
    }


def buffers(texts: Sequence[tuple[float, Mapping[str, Any]]], began_s: float) -> list[Text]:
    """The texts of the naive server for a room; a chunk is a second of it."""
    return [Text(at_s - began_s, 0.0, body["chunks"], body["text"]) for at_s, body in texts]


def segments(results: Sequence[tuple[float, Mapping[str, Any]]], began_s: float) -> list[Text]:
    """The results of one satellite, each with the place of its audio in the room.

    The end mark came `latency_s` before the result, and leaves `HANGOVER_S` after the last sound of
    speech; of that pause the first `TAIL_S` were sent.
    """
    found = []
    for at_s, body in results:
        end_s = at_s - began_s - (body["latency_s"] or 0.0) - HANGOVER_S + TAIL_S
        start_s = end_s - (body["audio_s"] or 0.0)
        found.append(Text(at_s - began_s, start_s, end_s, body["text"]))
    return found


def text_came_s(way: str, one: Spoken, texts: Sequence[Text]) -> float | None:
    """When an utterance had its text.

    With the first text of a buffer that holds all of it, or with the last segment that holds some.
    """
    if way == BEFORE:
        return min((text.at_s for text in texts if text.end_s >= one.end_s), default=None)
    return max((text.at_s for text in texts if text.touches(one)), default=None)


def longest(texts: Iterable[Text]) -> Text:
    """The text of the longest buffer; of none an empty one."""
    return max(texts, key=lambda text: text.end_s, default=Text(0.0, 0.0, 0.0, ""))


def words_of(said: Iterable[Spoken]) -> str:
    """What was said, as one text."""
    return " ".join(one.text for one in said)


# The benchmark ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways, with all rooms and with one."""
    if shutil.which("ffmpeg") is None:
        raise FileNotFoundError("the naive server needs FFmpeg (apt install ffmpeg)")
    if options.quick:
        minutes, model, grace_s = QUICK_MINUTES, QUICK_MODEL, QUICK_GRACE_S
        with tempfile.TemporaryDirectory() as folder:
            material = household.quick_material(Path(folder))
        rooms = household.make_household(*material, minutes)[:QUICK_ROOMS]
        sets = [rooms]
    else:
        minutes, model, grace_s = MINUTES, NAIVE_MODEL, GRACE_S
        rooms = household.make_household(speech.recordings(), speech.noises(), minutes)
        sets = [rooms, rooms[:1]]
    return {
        "minutes": minutes,
        "rooms": len(rooms),
        "utterances": sum(len(room.spoken) for room in rooms),
        "seed": household.SEED,
        "naive_model": model,
        "runs": [listen(way, model, some, grace_s) for some in sets for way in (BEFORE, OURS)],
    }


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances that stt-mqtt gave no result, and errors that were answered."""
    runs = [run for run in data["runs"] if run["way"] == OURS]
    missing = sum(run["utterances"] - run["within_the_run"] for run in runs)
    outcomes = {outcome for run in runs for outcome in run["outcomes"]}
    errors = sorted(outcomes - {"transcript", "no_speech"})
    return [f"{missing} utterances, {errors}"] if missing or errors else []


FIGURES = (
    ("CPU, cores", "{:.3f}", "cpu_s_per_s"),
    ("memory, peak, MB", "{:.0f}", "peak_mb"),
    ("bytes on the wire, kB/s", "{:.1f}", "kb_per_s"),
    ("end of speech → text, median, s", "{:.2f}", "p50"),
    ("95 %, s", "{:.2f}", "p95"),
    ("longest, s", "{:.2f}", "max"),
    ("memory at the start, MB", "{:.0f}", "start_mb"),
    ("utterances", "{}", "utterances"),
    ("with a text within the run", "{}", "within_the_run"),
    ("word error rate", "{:.1%}", "wer"),
    ("of the sound that is in a text", "{:.1%}", "wer_so_far"),
    ("sound in no text at the end, s", "{}", "behind_s"),
    ("stopped early", "{}", "stopped_early"),
)
"""Of a run: name, format and key."""
SAVED = ("cpu_s_per_s", "peak_mb", "kb_per_s", "p50", "p95")


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    runs = [run | run["latency_s"] for run in data["runs"]]
    columns, rows = [], [[name] for name, *_ in FIGURES]
    for before, ours in zip(runs[::2], runs[1::2], strict=True):
        columns += [f"{name}, {before['rooms']}" for name in (BEFORE, OURS, "saved")]
        for row, (_, form, key) in zip(rows, FIGURES, strict=True):
            is_saved = key in SAVED and before[key] and ours[key] is not None
            share = f"{1 - ours[key] / before[key]:.1%}" if is_saved else ""
            row += [report.number(form, before[key]), report.number(form, ours[key]), share]
    return [
        "# What the design saves",
        "",
        f"The same {data['minutes']:g} minutes of {data['rooms']} rooms, {data['utterances']} "
        f"utterances, heard in real time, one way after the other (seed {data['seed']}). The "
        "number in a heading is the number of rooms.",
        "",
        "**before**: the naive server. One second of base64 after the other, silence included; an "
        f"FFmpeg process and a thread for each; {data['naive_model']}, with all of the growing "
        "buffer transcribed again each second. It is stopped when the sound ends.",
        "",
        "**stt-mqtt**: `stt-mqtt run` and `stt-mqtt satellite` with their defaults.",
        "",
        *report.table(["", *columns], rows),
        "",
        "CPU: of the server and all its children, ended ones included. The naive server cannot use "
        "more than its two cores, and work that it has not done at the end is not in its CPU time. "
        "Memory: resident, once a second; of FFmpeg's processes their share. Bytes: what the "
        "broker received, so sound, marks, texts and confirmations.",
        "",
        "Latency: from the labelled end of an utterance to the arrival of its text at a client of "
        f"the broker. The satellite waits for {1000 * HANGOVER_S:.0f} ms of silence first. An "
        "utterance without a text within the run counts with the time to the end of the run; its "
        "latency is larger. Of the sound that is in a text: the longest buffer of the naive server "
        "that was transcribed and cuts no utterance in two.",
        "",
        "![CPU and memory over time](savings_time.png)",
    ]


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """CPU and memory over time."""
    columns = []
    for pair in zip(data["runs"][::2], data["runs"][1::2], strict=True):
        cpu, memory = [], []
        for run, colour in zip(pair, (ORANGE, BLUE), strict=True):
            series = run["series"]
            minutes = [at_s / 60 for at_s in series["at_s"]]
            cores = np.maximum(np.diff(series["cpu_s"]) / np.diff(series["at_s"]), 1e-3)
            cpu.append(Curve(minutes[:-1], cores.tolist(), colour, run["way"], "step"))
            memory.append(Curve(minutes, series["memory_mb"], colour))
        above = Panel("CPU in use, in cores", cpu, title=f"{pair[0]['rooms']} room(s)", log="y")
        columns.append([above, Panel("resident memory in MB", memory, "minutes", log="y")])
    report.plot(folder / "savings_time.png", "The server while it listens", columns)


if __name__ == "__main__":
    benchmark = report.Benchmark("savings", measure, page, lost, draw)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
