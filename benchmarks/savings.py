"""What the design saves: a naive speech server and this one, on the same minutes of a household.

Four rooms and one room in real time, each server with its own senders. The server has two cores,
the broker and the senders the others. What a server owes when the sound ends, it owes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import paho.mqtt.client as paho
import psutil

from benchmarks import harness, household, naive, report, scoring, speech
from benchmarks.harness import say, spread
from benchmarks.household import Room, Spoken
from benchmarks.report import Curve, Panel
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.satellite.events import FRAME_BYTES, FRAME_S
from tests.brokers import Broker, eventually
from tests.e2e.program import PROGRAM, Peer
from tools.processes import pinned

MINUTES, QUICK_MINUTES, QUICK_ROOMS = 10.0, 0.2, 2
NAIVE_MODEL, QUICK_MODEL = "base", "tiny.en"
"""The naive one needs no other model for a quick run."""
BEFORE, OURS = "before", "stt-mqtt"
HANGOVER_S = SatelliteConfig().vad.hangover_ms / 1000
TAIL_S = 0.2
"""What the satellite sends of the pause that ends an utterance."""
TOUCH_S = 0.05
"""A segment that shares so much with an utterance holds some of it."""
GRACE_S, QUICK_GRACE_S = 5.0, 2.5
"""After the last sound; then the run ends."""
SETTLED_S = 60.0
"""Memory that grows after this does so because of the work."""
LEAST_FREE = 0.2
"""Share of the machine's memory that is left free; a run that would take it is stopped."""
END_TIMEOUT_S = 20.0
BYTES_TOPIC = "$SYS/broker/bytes/received"
"""Everything that the broker was sent by all clients, once a second."""
SERIES_POINTS = 120
ORANGE, BLUE = "#d55e00", "#0072b2"

GOALS = (
    ("server CPU", ("cpu_s_per_s",), "{:.3f} cores", 0.95, 0.99),
    ("server memory, peak", ("peak_mb",), "{:.0f} MB", 0.60, 0.75),
    ("bytes on the wire", ("kb_per_s",), "{:.1f} kB/s", 0.95, 0.99),
    ("end of speech → text, median", ("latency_s", "p50"), "{:.2f} s", 0.90, 0.97),
)
"""A figure, where it stands, its unit, and what must and should be saved of it."""


class Listener(Peer):
    """Hears with QoS 0, so that it sends nothing but pings."""

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        for topic_filter in self._filters:
            client.subscribe(topic_filter, qos=0)

    def heard(self, ending: str) -> list[tuple[float, Mapping[str, Any]]]:
        """What came on topics with this ending: when, and the JSON."""
        return [
            (message.timestamp, json.loads(message.payload))
            for message in list(self.messages)
            if message.topic.endswith(ending)
        ]


# Who hears and who sends ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, the broker before it, and who listens there."""

    folder: Path
    broker: Broker
    broker_process: psutil.Process
    process: psutil.Process
    listener: Listener


Senders: TypeAlias = tuple[float, Mapping[str, psutil.Process]]
"""When the first sample was spoken (`time.monotonic`), and the programs that send."""


@dataclass(frozen=True, slots=True)
class Way:
    """A server and who sends to it; `waits`: from the end of each utterance to its text."""

    name: str
    server: Callable[[harness.Cores], AbstractContextManager[Server]]
    senders: Callable[[Server, Sequence[Room]], AbstractContextManager[Senders]]
    judge: Callable[[Listener, Sequence[Room], float, float], dict[str, Any]]


def naive_way(model: str) -> Way:
    """The naive server with this model."""
    folder_of_model = resolve(model, default_models_dir()).folder

    @contextmanager
    def server(cores: harness.Cores) -> Iterator[Server]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            broker, broker_process = stack.enter_context(harness.a_broker(folder, cores.others))
            listener = Listener(broker, "naive/+/audio", "naive/+/text", BYTES_TOPIC)
            stack.callback(listener.close)
            command = [sys.executable, "-m", naive.__name__, "--port", str(broker.port)]
            log = folder / "naive.log"
            with log.open("wb") as errors, pinned(cores.program):
                process = subprocess.Popen(
                    [*command, "--model", str(folder_of_model)],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=harness.plain_environment(),
                )
            stack.callback(kill, process)
            assert process.stdout is not None
            with process.stdout as output:
                if not output.readline():
                    raise RuntimeError(f"the naive server did not start: {log.read_text()}")
            running = psutil.Process(process.pid)
            yield Server(folder, broker, broker_process, running, listener)

    @contextmanager
    def senders(server: Server, rooms: Sequence[Room]) -> Iterator[Senders]:
        files = {room.name: server.folder / f"{room.name}.wav" for room in rooms}
        for room in rooms:
            speech.write_wav(files[room.name], room.pcm)
        command = [sys.executable, "-m", naive.__name__, "--port", str(server.broker.port)]
        named = [f"{name}={file}" for name, file in files.items()]
        process = subprocess.Popen([*command, "--microphones", *named])
        try:
            heard = eventually(lambda: server.listener.heard("/audio"), harness.START_TIMEOUT_S)
            yield heard[0][0] - 1.0, {"microphones": psutil.Process(process.pid)}
        finally:
            kill(process)

    return Way(BEFORE, server, senders, judge_naive)


@contextmanager
def our_server(cores: harness.Cores) -> Iterator[Server]:
    """`stt-mqtt run` with its defaults."""
    filters = ("stt/+/result", "stt/+/audio/stop", "stt/+/satellite/state", BYTES_TOPIC)
    with harness.a_service(*filters, cores=cores, kind=Listener) as running:
        assert isinstance(running.peer, Listener)
        yield Server(
            running.folder, running.broker, running.broker_process, running.process, running.peer
        )


@contextmanager
def our_senders(server: Server, rooms: Sequence[Room]) -> Iterator[Senders]:
    """`stt-mqtt satellite` with its defaults for each room, a microphone on standard input."""
    environment = {
        **os.environ,
        "STT_MQTT__MQTT__HOST": server.broker.host,
        "STT_MQTT__MQTT__PORT": str(server.broker.port),
    }
    with ExitStack() as stack:
        satellites = []
        for room in rooms:
            log = stack.enter_context((server.folder / f"{room.name}.log").open("wb"))
            command = [str(PROGRAM), "satellite", "--device", room.name, "--stdin"]
            satellite = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
            )
            stack.callback(kill, satellite)
            satellites.append(satellite)
        for room in rooms:
            topic = f"stt/{room.name}/satellite/state"
            server.listener.json(topic, timeout_s=harness.START_TIMEOUT_S)
        began_s = time.monotonic()
        threads = [
            threading.Thread(target=speak, args=(satellite, room.pcm, began_s))
            for satellite, room in zip(satellites, rooms, strict=True)
        ]
        for thread in threads:
            thread.start()
        processes = [psutil.Process(satellite.pid) for satellite in satellites]
        yield began_s, {room.name: one for room, one in zip(rooms, processes, strict=True)}
        for thread, satellite in zip(threads, satellites, strict=True):
            thread.join()
            if satellite.wait(END_TIMEOUT_S) != 0:
                raise RuntimeError(f"a satellite ended with {satellite.returncode}")


def speak(process: subprocess.Popen[bytes], pcm: bytes, began_s: float) -> None:
    """Write sound to a satellite as a microphone would: a frame when its last sample is spoken."""
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as microphone:
        for number, at in enumerate(range(0, len(pcm), FRAME_BYTES), start=1):
            time.sleep(max(began_s + number * FRAME_S - time.monotonic(), 0.0))
            microphone.write(pcm[at : at + FRAME_BYTES])
            microphone.flush()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, at once."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()


# What is measured from outside ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """A program and its children at a moment (`time.monotonic`).

    `cpu_s`: since it began, of children that have ended, too. Memory: resident, of children their
    share, so that libraries do not count with each of them.
    """

    at_s: float
    cpu_s: float
    memory_mb: float
    threads: int


def take(process: psutil.Process) -> Sample:
    """Look at a program now."""
    at_s, program = time.monotonic(), process.exe()
    with process.oneshot():
        times, threads = process.cpu_times(), process.num_threads()
        memory = process.memory_info().rss
    used = sum(times[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            used += sum(child.cpu_times()[:4])
            # One that has not become another program yet still has all memory of its parent.
            if child.exe() != program:
                memory += child.memory_full_info().pss
    return Sample(at_s, used, memory / 1e6, threads)


def slope(samples: Sequence[Sample]) -> float | None:
    """Growth of the memory in MB per minute (least squares); None if it is too short."""
    if len(samples) < 3:
        return None
    minutes = [one.at_s / 60 for one in samples]
    return round(float(np.polyfit(minutes, [one.memory_mb for one in samples], 1)[0]), 2)


def listen(way: Way, rooms: Sequence[Room], grace_s: float) -> dict[str, Any]:
    """Have a server hear the rooms in real time."""
    seconds = max(room.seconds for room in rooms)
    say(f"{way.name}, {len(rooms)} room(s), {seconds / 60:.1f} minutes")
    cores = harness.two_cores()
    with pinned(cores.others), way.server(cores) as server:
        listener = server.listener
        eventually(lambda: listener.heard(BYTES_TOPIC))
        # What the server said at its start is not what the rooms cost.
        time.sleep(2.0)
        samples, stopped = [take(server.process)], None
        bytes_before = len(listener.heard(BYTES_TOPIC)) - 1
        with way.senders(server, rooms) as (began_s, senders):
            usage = harness.Usage({"broker": server.broker_process, **senders})
            while time.monotonic() < began_s + seconds + grace_s and stopped is None:
                time.sleep(0.99)
                stopped = _why_to_stop(server.process, samples[-1])
                with suppress(psutil.NoSuchProcess):
                    samples.append(take(server.process))
            used = usage.read()
            lasted_s = time.monotonic() - began_s
        received = listener.heard(BYTES_TOPIC)[bytes_before:]
        peak_mb = harness.peak_mb(server.process) if stopped != DIED else 0.0
        judged = way.judge(listener, rooms, began_s, lasted_s)
    first, last = samples[0], samples[-1]
    sent = int(str(received[-1][1])) - int(str(received[0][1]))
    step = max(len(samples) // SERIES_POINTS, 1)
    chosen = [*samples[:-1:step], last]
    settled_s = began_s + min(SETTLED_S, seconds / 3)
    return {
        "way": way.name,
        "rooms": len(rooms),
        "seconds": round(lasted_s, 1),
        "stopped_early": stopped,
        "cpu_s_per_s": round((last.cpu_s - first.cpu_s) / lasted_s, 4),
        "start_mb": round(first.memory_mb, 1),
        "peak_mb": round(max(peak_mb, *(one.memory_mb for one in samples)), 1),
        "growth_mb_per_minute": slope([one for one in samples if one.at_s >= settled_s]),
        "most_threads": max(one.threads for one in samples),
        "bytes": sent,
        "kb_per_s": round(sent / lasted_s / 1000, 3),
        "broker_cpu_s_per_s": used.pop("broker"),
        "sender_cpu_s_per_s": round(sum(used.values()) / len(used), 3),
        "series": {
            "at_s": [round(one.at_s - began_s, 1) for one in chosen],
            "cpu_s": [round(one.cpu_s - first.cpu_s, 2) for one in chosen],
            "memory_mb": [round(one.memory_mb, 1) for one in chosen],
        },
        **judged,
    }


DIED = "the server died"


def _why_to_stop(process: psutil.Process, last: Sample) -> str | None:
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        return DIED
    memory = psutil.virtual_memory()
    if memory.available < LEAST_FREE * memory.total:
        return f"the server held {last.memory_mb / 1000:.1f} GB, all that there was"
    return None


# From the end of speech to its text -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A text that came at `at_s` and holds what was said from `start_s` to `end_s`."""

    at_s: float
    start_s: float
    end_s: float
    text: str
    outcome: str = ""

    def touches(self, one: Spoken) -> bool:
        """Whether it holds some of an utterance."""
        shared = min(self.end_s, one.end_s) - max(self.start_s, one.start_s)
        return shared >= min(TOUCH_S, (one.end_s - one.start_s) / 2)


@dataclass(slots=True)
class Judged:
    """What came of several rooms."""

    waits: list[float | None] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def add(self, said: Sequence[Spoken], waits: Sequence[float | None], text: str, end_s: float) -> None:  # fmt: skip  # noqa: E501
        """Add a room: what was said before the end, and what came of it."""
        self.waits += waits
        self.least += [end_s - one.end_s for one in said]
        self.pairs.append((" ".join(one.text for one in said), text))

    def figures(self) -> dict[str, Any]:
        """What did not come within the run counts with the time until its end."""
        known = [low if w is None else w for w, low in zip(self.waits, self.least, strict=True)]
        return {
            "utterances": len(known),
            "within_the_run": sum(wait is not None for wait in self.waits),
            "latency_s": spread(known),
            "waits_s": sorted(round(wait, 3) for wait in self.waits if wait is not None),
            "wer": scoring.wer(self.pairs),
        }


def judge_naive(
    listener: Listener, rooms: Sequence[Room], began_s: float, end_s: float
) -> dict[str, Any]:
    """An utterance has its text with the first one of a buffer that holds all of it."""
    judged, so_far, behind = Judged(), [], {}
    for room in rooms:
        texts = [
            Told(at - began_s, 0.0, float(body["chunks"]), body["text"])
            for at, body in listener.heard(f"/{room.name}/text")
        ]
        said = [one for one in room.spoken if one.end_s < end_s]
        judged.add(said, naive_waits(said, texts), last_text(texts), end_s)
        whole = [one for one in texts if not any(s.start_s < one.end_s < s.end_s for s in said)]
        heard_s = max((one.end_s for one in whole), default=0.0)
        so_far.append((" ".join(s.text for s in said if s.end_s <= heard_s), last_text(whole)))
        held_s = max((one.end_s for one in texts), default=0.0)
        behind[room.name] = round(max(math.floor(min(end_s, room.seconds)) - held_s, 0.0), 1)
    return {**judged.figures(), "wer_so_far": scoring.wer(so_far), "behind_s": behind}


def naive_waits(said: Sequence[Spoken], texts: Sequence[Told]) -> list[float | None]:
    """From the end of each utterance to the first text of a buffer that holds all of it."""
    return [
        next((text.at_s - one.end_s for text in texts if text.end_s >= one.end_s), None)
        for one in said
    ]


def last_text(texts: Sequence[Told]) -> str:
    """The text of the longest buffer."""
    return max(texts, key=lambda text: text.end_s).text if texts else ""


def judge_ours(
    listener: Listener, rooms: Sequence[Room], began_s: float, end_s: float
) -> dict[str, Any]:
    """An utterance has its text with the last result that holds some of it."""
    judged, outcomes, strays = Judged(), Counter[str](), Counter[str]()
    for room in rooms:
        stops = listener.heard(f"stt/{room.name}/audio/stop")
        found = segments(listener.heard(f"stt/{room.name}/result"), stops, began_s)
        said = [one for one in room.spoken if one.end_s < end_s]
        text = " ".join(one.text for one in found if one.text)
        judged.add(said, segment_waits(said, found), text, end_s)
        outcomes.update(one.outcome for one in found)
        alone = [one for one in found if not any(one.touches(s) for s in room.spoken)]
        strays.update({"segments": len(alone), "with words": sum(bool(s.text) for s in alone)})
    return {**judged.figures(), "outcomes": dict(outcomes), "without_speech": dict(strays)}


def segments(
    results: Sequence[tuple[float, Mapping[str, Any]]],
    stops: Sequence[tuple[float, Mapping[str, Any]]],
    began_s: float,
) -> list[Told]:
    """The results of one satellite, each with the place of its audio in the room.

    An end mark leaves `HANGOVER_S` after the last sound of speech; of that pause the first `TAIL_S`
    were sent.
    """
    ended = {stop.get("id"): at_s for at_s, stop in stops}
    found = []
    for at_s, body in results:
        # One that the service ended by itself has no end mark; its result is the next best.
        stop_s = ended.get(body["id"], at_s - (body["latency_s"] or 0.0)) - began_s
        end_s = stop_s - HANGOVER_S + TAIL_S
        outcome = body["error"]["code"] if body["error"] else body["outcome"]
        start_s = end_s - (body["audio_s"] or 0.0)
        found.append(Told(at_s - began_s, start_s, end_s, body["text"], outcome))
    return found


def segment_waits(said: Sequence[Spoken], found: Sequence[Told]) -> list[float | None]:
    """From the end of each utterance to the last result with some of it."""
    came = [[told.at_s for told in found if told.touches(one)] for one in said]
    return [max(at) - one.end_s if at else None for one, at in zip(said, came, strict=True)]


# The benchmark ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways, with all rooms and with one."""
    if shutil.which("ffmpeg") is None:
        raise FileNotFoundError("the naive server needs FFmpeg (apt install ffmpeg)")
    minutes = QUICK_MINUTES if options.quick else options.minutes
    model = QUICK_MODEL if options.quick else NAIVE_MODEL
    ways = (naive_way(model), Way(OURS, our_server, our_senders, judge_ours))
    with tempfile.TemporaryDirectory() as folder:
        if options.quick:
            material = household.quick_material(Path(folder))
        else:
            material = speech.recordings(), speech.noises()
        rooms = household.make_household(*material, minutes)
    rooms = rooms[: QUICK_ROOMS if options.quick else None]
    sets = [rooms] if options.quick else [rooms, rooms[:1]]
    grace_s = QUICK_GRACE_S if options.quick else GRACE_S
    runs = [listen(way, some, grace_s) for some in sets for way in ways]
    return {
        "minutes": minutes,
        "rooms": len(rooms),
        "utterances": sum(len(room.spoken) for room in rooms),
        "seed": household.SEED,
        "naive_model": model,
        "runs": runs,
        "goals": judge_goals(runs),
    }


def judge_goals(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is saved of each figure, for each number of rooms."""
    judged = []
    for rooms in dict.fromkeys(run["rooms"] for run in runs):
        pair = {run["way"]: run for run in runs if run["rooms"] == rooms}
        late = pair[BEFORE]["utterances"] - pair[BEFORE]["within_the_run"]
        for figure, keys, unit, must, aim in GOALS:
            before, ours = (_figure(pair[way], keys) for way in (BEFORE, OURS))
            saved = 1 - ours / before if before and ours is not None else None
            reached = [saved is not None and saved >= limit for limit in (aim, must)]
            judged.append(
                {
                    "figure": figure,
                    "unit": unit,
                    "rooms": rooms,
                    "before": before,
                    "ours": ours,
                    "saved": saved,
                    "reached": "aim" if reached[0] else "must" if reached[1] else "no",
                    "at_least": keys[0] == "latency_s" and 2 * late >= pair[BEFORE]["utterances"],
                }
            )
    return judged


def _figure(run: Mapping[str, Any], keys: Sequence[str]) -> float | None:
    found: Any = run
    for key in keys:
        found = found[key]
    return None if found is None else float(found)


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances that stt-mqtt gave no result, and errors that were answered."""
    found = []
    for run in data["runs"]:
        if run["way"] == OURS:
            missing = run["utterances"] - run["within_the_run"]
            errors = {
                k: n for k, n in run["outcomes"].items() if k not in ("transcript", "no_speech")
            }
            found += [f"{missing} utterances, {errors}"] if missing or errors else []
    return found


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['way']}, " + ("one room" if run["rooms"] == 1 else f"{run['rooms']} rooms")


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    goals = [
        [
            f"{goal['figure']}, {goal['rooms']} room(s)",
            ("≥ " if goal["at_least"] else "") + report.number(goal["unit"], goal["before"]),
            report.number(goal["unit"], goal["ours"]),
            report.number("{:.1%}", goal["saved"]),
            *(f"{limit:.0%}" for limit in GOALS[number % len(GOALS)][3:]),
            goal["reached"],
        ]
        for number, goal in enumerate(data["goals"])
    ]
    servers = [
        [
            _name(run),
            f"{run['cpu_s_per_s']:.3f}",
            f"{run['start_mb']:.0f}",
            f"{run['peak_mb']:.0f}",
            report.number("{:+.1f}", run["growth_mb_per_minute"]),
            run["most_threads"],
            f"{run['bytes'] / 1e6:.2f}",
            f"{run['broker_cpu_s_per_s']:.3f}",
            f"{run['sender_cpu_s_per_s']:.3f}",
        ]
        for run in data["runs"]
    ]
    texts = [
        [
            _name(run),
            *(report.number("{:.2f}", run["latency_s"][at]) for at in ("p50", "p95", "max")),
            f"{run['within_the_run']} of {run['utterances']}",
            report.number("{:.2%}", run["wer"]),
            report.number("{:.2%}", run.get("wer_so_far")),
        ]
        for run in data["runs"]
    ]
    notes = []
    for run in data["runs"]:
        told = f"stopped after {run['seconds']:.0f} s: {run['stopped_early']}. "
        text = told if run["stopped_early"] else ""
        if run["way"] == BEFORE:
            text += f"Seconds of sound in no text at the end: {report.counts(run['behind_s'])}."
        else:
            text += f"Outcomes: {report.counts(run['outcomes'])}. Utterances without speech: "
            text += f"{report.counts(run['without_speech'])}."
        notes.append(f"- {_name(run)}: {text}")
    return [
        "# What the design saves",
        "",
        f"The same {data['minutes']:g} minutes of {data['rooms']} rooms, {data['utterances']} "
        f"utterances, heard in real time, one way after the other (seed {data['seed']}).",
        "",
        "**before**: the naive server. One second of base64 after the other, silence included; an "
        f"FFmpeg process and a thread for each; {data['naive_model']}, with all of the growing "
        "buffer transcribed again each second. It is stopped when the sound ends.",
        "",
        "**stt-mqtt**: `stt-mqtt run` and `stt-mqtt satellite` with their defaults.",
        "",
        *report.table(["", "before", "stt-mqtt", "saved", "must", "aim", "reached"], goals),
        "",
        "The naive server cannot use more than its two cores, and what it still owes at the end is "
        "not in its CPU time. An utterance without a text within the run counts with the time "
        "until its end; where ≥ stands, the true median is larger.",
        "",
        "![CPU and memory over time](savings_time.png)",
        "",
        "## The server",
        "",
        *report.table(["", "cores", "MB at first", "MB at most", "MB per minute", "threads",
                       "MB sent", "cores, broker", "cores, per sender"], servers),
        "",
        *notes,
        "",
        "CPU time: of the server and all its children, ended ones included. Memory: resident, once "
        "a second; of FFmpeg's processes their share. Bytes: what the broker received, so sound, "
        "marks, texts and confirmations.",
        "",
        "## From the end of speech to the text",
        "",
        *report.table(["seconds", "median", "95 %", "longest", "within the run", "WER",
                       "WER of what it had heard"], texts),
        "",
        "From the labelled end of an utterance to the arrival of its text at a client of the "
        f"broker. The satellite waits for {1000 * HANGOVER_S:.0f} ms of silence first. What it had "
        "heard: the longest buffer that was transcribed and cuts no utterance in two.",
        "",
        "![share of utterances that have their text after so many seconds](savings_latency.png)",
    ]  # fmt: skip


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """CPU and memory over time, and how long texts take."""
    columns = []
    for rooms in dict.fromkeys(run["rooms"] for run in data["runs"]):
        cpu, memory = [], []
        for run in (run for run in data["runs"] if run["rooms"] == rooms):
            series, colour = run["series"], ORANGE if run["way"] == BEFORE else BLUE
            minutes = [at_s / 60 for at_s in series["at_s"]]
            rates = [
                max((later - used) / (end_s - at_s), 1e-3)
                for (at_s, end_s), (used, later) in zip(
                    pairwise(series["at_s"]), pairwise(series["cpu_s"]), strict=True
                )
            ]
            cpu.append(Curve(minutes[:-1], rates, colour, run["way"], "step"))
            memory.append(Curve(minutes, series["memory_mb"], colour))
        title = "one room" if rooms == 1 else f"{rooms} rooms"
        above = Panel("CPU in use, in cores", cpu, title=title, log="y")
        columns.append([above, Panel("resident memory in MB", memory, "minutes", log="y")])
    report.plot(folder / "savings_time.png", "The server while it listens", columns)
    curves = [
        Curve(
            run["waits_s"],
            [100 * (n + 1) / run["utterances"] for n in range(len(run["waits_s"]))],
            ORANGE if run["way"] == BEFORE else BLUE,
            _name(run),
            "-" if run["rooms"] > 1 else "--",
        )
        for run in data["runs"]
        if run["waits_s"]
    ]
    panel = Panel(
        "utterances with a text, in %", curves, "seconds after the end of speech", log="x"
    )
    report.plot(folder / "savings_latency.png", "From the end of speech to the text", [[panel]])


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument(
        "--minutes", type=float, default=MINUTES, help="of each room (default: %(default)g)"
    )
    sys.exit(report.run(report.Benchmark("savings", measure, page, lost, draw), arguments))
