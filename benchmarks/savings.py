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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import psutil

from benchmarks import harness, household, naive, report, scoring, speech
from benchmarks.harness import say, spread
from benchmarks.household import Room, Spoken
from benchmarks.report import Curve, Panel
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from tools.brokers import Broker, eventually
from tools.processes import pinned
from tools.program import PROGRAM, Peer

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


def naive_server(stack: ExitStack, cores: harness.Cores, model: str) -> Server:
    """The naive server behind a broker of its own."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    broker, broker_process = stack.enter_context(harness.a_broker(folder, cores.others))
    listener = Listener(broker, "naive/+/audio", "naive/+/text", BYTES_TOPIC)
    stack.callback(listener.close)
    files = resolve(model, default_models_dir()).folder
    with pinned(cores.program):
        process = _naive(broker, "--model", files, stdout=subprocess.PIPE)
    stack.callback(kill, process)
    assert process.stdout is not None
    with process.stdout as output:
        if not output.readline():
            raise RuntimeError("the naive server did not start")
    return Server(folder, broker, broker_process, psutil.Process(process.pid), listener)


def naive_senders(
    stack: ExitStack, server: Server, rooms: Sequence[Room]
) -> tuple[float, dict[str, psutil.Process]]:
    """Microphones that send every second; when the first sample was spoken, and the program."""
    files = {room.name: server.folder / f"{room.name}.wav" for room in rooms}
    for room in rooms:
        speech.write_wav(files[room.name], room.pcm)
    named = [f"{name}={file}" for name, file in files.items()]
    process = _naive(server.broker, "--microphones", *named)
    stack.callback(kill, process)
    heard = eventually(lambda: server.listener.heard("/audio"), harness.START_TIMEOUT_S)
    return heard[0][0] - 1.0, {"microphones": psutil.Process(process.pid)}


def _naive(broker: Broker, *words: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", naive.__name__, "--port", str(broker.port), *map(str, words)]
    return subprocess.Popen(command, env=harness.plain_environment(), **options)


def our_server(stack: ExitStack, cores: harness.Cores) -> Server:
    """`stt-mqtt run` with its defaults."""
    filters = ("stt/+/result", "stt/+/audio/stop", "stt/+/satellite/state", BYTES_TOPIC)
    running = stack.enter_context(harness.a_service(*filters, cores=cores, kind=Listener))
    assert isinstance(running.peer, Listener)
    return Server(
        running.folder, running.broker, running.broker_process, running.process, running.peer
    )


def our_senders(
    stack: ExitStack, server: Server, rooms: Sequence[Room]
) -> tuple[float, dict[str, psutil.Process]]:
    """`stt-mqtt satellite` with its defaults for each room, a microphone on standard input."""
    address = {"HOST": server.broker.host, "PORT": str(server.broker.port)}
    environment = os.environ | {f"STT_MQTT__MQTT__{name}": text for name, text in address.items()}
    satellites: list[subprocess.Popen[bytes]] = []
    for room in rooms:
        log = stack.enter_context((server.folder / f"{room.name}.log").open("wb"))
        command = [str(PROGRAM), "satellite", "--device", room.name, "--stdin"]
        satellites.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
            )
        )
        stack.callback(kill, satellites[-1])
    for room in rooms:
        topic = f"stt/{room.name}/satellite/state"
        server.listener.json(topic, timeout_s=harness.START_TIMEOUT_S)
    began_s = time.monotonic()
    for satellite, room in zip(satellites, rooms, strict=True):
        thread = threading.Thread(target=speak, args=(satellite, room.pcm, began_s))
        thread.start()
        stack.callback(thread.join)
    return began_s, {
        room.name: psutil.Process(one.pid) for room, one in zip(rooms, satellites, strict=True)
    }


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
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
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


def listen(way: str, model: str, rooms: Sequence[Room], grace_s: float) -> dict[str, Any]:
    """Have a server hear the rooms in real time."""
    seconds = max(room.seconds for room in rooms)
    say(f"{way}, {len(rooms)} room(s), {seconds / 60:.1f} minutes")
    cores = harness.two_cores()
    with pinned(cores.others), ExitStack() as stack:
        is_naive = way == BEFORE
        server = naive_server(stack, cores, model) if is_naive else our_server(stack, cores)
        received = eventually(lambda: server.listener.heard(BYTES_TOPIC))
        # What the server said at its start is not what the rooms cost.
        time.sleep(2.0)
        before = len(server.listener.heard(BYTES_TOPIC)) - 1
        samples, stopped = [take(server.process)], None
        send, judge = (naive_senders, judge_naive) if is_naive else (our_senders, judge_ours)
        with ExitStack() as sending:
            began_s, senders = send(sending, server, rooms)
            usage = harness.Usage({"broker": server.broker_process, **senders})
            while time.monotonic() < began_s + seconds + grace_s and stopped is None:
                time.sleep(0.99)
                with suppress(psutil.NoSuchProcess):
                    samples.append(take(server.process))
                stopped = _why_to_stop(server.process, samples[-1])
            used, lasted_s = usage.read(), time.monotonic() - began_s
        received = server.listener.heard(BYTES_TOPIC)[before:]
        judged = judge(server.listener, rooms, began_s, lasted_s)
    first, last = samples[0], samples[-1]
    sent = int(str(received[-1][1])) - int(str(received[0][1]))
    chosen = [*samples[: -1 : max(len(samples) // SERIES_POINTS, 1)], last]
    settled_s = began_s + min(SETTLED_S, seconds / 3)
    return {
        "way": way,
        "rooms": len(rooms),
        "seconds": round(lasted_s, 1),
        "stopped_early": stopped,
        "cpu_s_per_s": round((last.cpu_s - first.cpu_s) / lasted_s, 4),
        "start_mb": round(first.memory_mb, 1),
        "peak_mb": round(max(one.memory_mb for one in samples), 1),
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


def _why_to_stop(process: psutil.Process, last: Sample) -> str | None:
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        return "the server died"
    memory = psutil.virtual_memory()
    if memory.available < LEAST_FREE * memory.total:
        return f"the server held {last.memory_mb / 1000:.1f} GB, all that there was"
    return None


# From the end of speech to its text -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
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


def came_of(
    rooms: Sequence[tuple[Sequence[Spoken], Sequence[float | None], str]], end_s: float
) -> dict[str, Any]:
    """Figures of what was said in each room, its waits and its text.

    What did not come within the run counts with the time until its end.
    """
    waits = [
        (wait, end_s - one.end_s)
        for said, some, _ in rooms
        for one, wait in zip(said, some, strict=True)
    ]
    pairs = [(" ".join(one.text for one in said), text) for said, _, text in rooms]
    return {
        "utterances": len(waits),
        "within_the_run": sum(wait is not None for wait, _ in waits),
        "latency_s": spread([least if wait is None else wait for wait, least in waits]),
        "wer": scoring.wer(pairs),
    }


def judge_naive(
    listener: Listener, rooms: Sequence[Room], began_s: float, end_s: float
) -> dict[str, Any]:
    """An utterance has its text with the first one of a buffer that holds all of it."""
    judged, so_far, behind = [], [], {}
    for room in rooms:
        texts = [
            Text(at - began_s, 0.0, float(body["chunks"]), body["text"])
            for at, body in listener.heard(f"/{room.name}/text")
        ]
        said = [one for one in room.spoken if one.end_s < end_s]
        judged.append((said, naive_waits(said, texts), last_text(texts)))
        whole = [one for one in texts if not any(s.start_s < one.end_s < s.end_s for s in said)]
        heard_s = max((one.end_s for one in whole), default=0.0)
        so_far.append((" ".join(s.text for s in said if s.end_s <= heard_s), last_text(whole)))
        held_s = max((one.end_s for one in texts), default=0.0)
        behind[room.name] = round(max(math.floor(min(end_s, room.seconds)) - held_s, 0.0), 1)
    return {**came_of(judged, end_s), "wer_so_far": scoring.wer(so_far), "behind_s": behind}


def naive_waits(said: Sequence[Spoken], texts: Sequence[Text]) -> list[float | None]:
    """From the end of each utterance to the first text of a buffer that holds all of it."""
    return [
        next((text.at_s - one.end_s for text in texts if text.end_s >= one.end_s), None)
        for one in said
    ]


def last_text(texts: Sequence[Text]) -> str:
    """The text of the longest buffer."""
    return max(texts, key=lambda text: text.end_s).text if texts else ""


def judge_ours(
    listener: Listener, rooms: Sequence[Room], began_s: float, end_s: float
) -> dict[str, Any]:
    """An utterance has its text with the last result that holds some of it."""
    judged, outcomes, strays = [], Counter[str](), Counter[str]()
    for room in rooms:
        stops = listener.heard(f"stt/{room.name}/audio/stop")
        found = segments(listener.heard(f"stt/{room.name}/result"), stops, began_s)
        said = [one for one in room.spoken if one.end_s < end_s]
        text = " ".join(one.text for one in found if one.text)
        judged.append((said, segment_waits(said, found), text))
        outcomes.update(one.outcome for one in found)
        alone = [one for one in found if not any(one.touches(s) for s in room.spoken)]
        strays.update({"segments": len(alone), "with words": sum(bool(s.text) for s in alone)})
    return {**came_of(judged, end_s), "outcomes": dict(outcomes), "without_speech": dict(strays)}


def segments(
    results: Sequence[tuple[float, Mapping[str, Any]]],
    stops: Sequence[tuple[float, Mapping[str, Any]]],
    began_s: float,
) -> list[Text]:
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
        found.append(Text(at_s - began_s, start_s, end_s, body["text"], outcome))
    return found


def segment_waits(said: Sequence[Spoken], found: Sequence[Text]) -> list[float | None]:
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
    with tempfile.TemporaryDirectory() as folder:
        if options.quick:
            material = household.quick_material(Path(folder))
        else:
            material = speech.recordings(), speech.noises()
        rooms = household.make_household(*material, minutes)
    rooms = rooms[: QUICK_ROOMS if options.quick else None]
    sets = [rooms] if options.quick else [rooms, rooms[:1]]
    grace_s = QUICK_GRACE_S if options.quick else GRACE_S
    runs = [listen(way, model, some, grace_s) for some in sets for way in (BEFORE, OURS)]
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


FIGURES: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "CPU, cores": lambda run: f"{run['cpu_s_per_s']:.3f}",
    "MB at first": lambda run: f"{run['start_mb']:.0f}",
    "MB at most": lambda run: f"{run['peak_mb']:.0f}",
    "MB per minute, settled": lambda run: run["growth_mb_per_minute"],
    "threads": lambda run: run["most_threads"],
    "MB sent": lambda run: f"{run['bytes'] / 1e6:.2f}",
    "CPU of the broker, cores": lambda run: f"{run['broker_cpu_s_per_s']:.3f}",
    "CPU of a sender, cores": lambda run: f"{run['sender_cpu_s_per_s']:.3f}",
    "end of speech → text, median s": lambda run: run["latency_s"]["p50"],
    "95 % s": lambda run: run["latency_s"]["p95"],
    "longest s": lambda run: run["latency_s"]["max"],
    "with a text within the run": lambda run: f"{run['within_the_run']} of {run['utterances']}",
    "word error rate": lambda run: report.number("{:.1%}", run["wer"]),
    "of what it had heard": lambda run: report.number("{:.1%}", run.get("wer_so_far")),
    "sound in no text at the end": lambda run: report.counts(run.get("behind_s", {})),
    "outcomes": lambda run: report.counts(run.get("outcomes", {})),
    "sent without speech": lambda run: report.counts(run.get("without_speech", {})),
    "stopped early": lambda run: run["stopped_early"],
}


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
    figures = [[name, *map(value, data["runs"])] for name, value in FIGURES.items()]
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
        *report.table(["", *(f"{run['way']}, {run['rooms']}" for run in data["runs"])], figures),
        "",
        "CPU: of the server and all its children, ended ones included. Memory: resident, once a "
        "second; of FFmpeg's processes their share. Sent: what the broker received, so sound, "
        "marks, texts and confirmations. Latency: from the labelled end of an utterance to the "
        "arrival of its text at a client of the broker; the satellite waits for "
        f"{1000 * HANGOVER_S:.0f} ms of silence first. What it had heard: the longest buffer that "
        "was transcribed and cuts no utterance in two.",
        "",
        "![CPU and memory over time](savings_time.png)",
    ]


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """CPU and memory over time."""
    columns = []
    for rooms in dict.fromkeys(run["rooms"] for run in data["runs"]):
        cpu, memory = [], []
        for run in (run for run in data["runs"] if run["rooms"] == rooms):
            series, colour = run["series"], ORANGE if run["way"] == BEFORE else BLUE
            minutes = [at_s / 60 for at_s in series["at_s"]]
            steps = zip(pairwise(series["at_s"]), pairwise(series["cpu_s"]), strict=True)
            rates = [
                max((later - used) / (end_s - at_s), 1e-3) for (at_s, end_s), (used, later) in steps
            ]
            cpu.append(Curve(minutes[:-1], rates, colour, run["way"], "step"))
            memory.append(Curve(minutes, series["memory_mb"], colour))
        above = Panel("CPU in use, in cores", cpu, title=f"{rooms} room(s)", log="y")
        columns.append([above, Panel("resident memory in MB", memory, "minutes", log="y")])
    report.plot(folder / "savings_time.png", "The server while it listens", columns)


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument(
        "--minutes", type=float, default=MINUTES, help="of each room (default: %(default)g)"
    )
    sys.exit(report.run(report.Benchmark("savings", measure, page, lost, draw), arguments))
