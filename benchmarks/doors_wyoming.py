"""wyoming-bench against this service and wyoming-faster-whisper, in turns on the same cores."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil

from benchmarks import bench, speech, wyoming
from benchmarks.doors_rig import a_rig
from benchmarks.programs import THREADS
from benchmarks.speech import Clip
from stt_mqtt.engine.models import ResolvedModel

NAME = "wyoming-bench"
OURS = "stt-mqtt"
CLIP_S = (1.5, 8.0)
TIMEOUT_S = 600.0
WARM_UPS = 1
_BLOCK = re.compile(r"^Server: (?P<server>.*)$")
_MODE = re.compile(r"^\[(?P<mode>\w+)\] ok=(?P<ok>\d+) fail=(?P<failed>\d+)$")
_ROW = re.compile(r"^  (?P<name>Total|TTFT|RTF) \(\w+\)(?P<values>(\s+[\d.]+)+)$")
_ACCURACY = re.compile(r"WER=(?P<wer>[\d.]+)%.*SAR=(?P<sar>[\d.]+)%")
_COLUMNS = ("min", "mean", "median", "p95", "max")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of others."""

    server: str
    client: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How many clips, how often."""

    clips: int
    turns: int


def measure(programs: Programs, model: ResolvedModel, plan: Plan) -> dict[str, Any]:
    """Both servers loaded, one at work at a time."""
    clips = choose(speech.recordings(), plan.clips)
    cores, others = bench.two_cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        corpus = write_corpus(clips, folder / "corpus")
        rig = stack.enter_context(a_rig())
        options = wyoming.Options(programs.server, model.folder, cores, THREADS)
        process, port = stack.enter_context(wyoming.a_wyoming(folder, options))
        servers = {OURS: (rig.service, rig.wyoming_port), wyoming.NAME: (process, port)}
        runs = []
        for turn in range(plan.turns):
            order = list(servers) if turn % 2 == 0 else list(reversed(servers))
            for name in order:
                bench.say(f"{NAME}, turn {turn + 1}: {name}")
                command = [programs.client, "stt", f"127.0.0.1:{servers[name][1]}"]
                command += ["--corpus", str(corpus), "--rounds", "1", "--warmup", str(WARM_UPS)]
                with bench.pinned(others):
                    run = ask(command, servers[name][0])
                runs.append({"server": name, "turn": turn + 1, **run})
    return {
        "versions": {**wyoming.versions(programs.server), NAME: version(programs.client)},
        "model": model.name,
        "clips": len(clips),
        "audio_s": round(sum(clip.seconds for clip in clips), 1),
        "turns": plan.turns,
        "runs": runs,
    }


def choose(clips: Sequence[Clip], count: int) -> list[Clip]:
    """So many clips of usual length, from all over the list."""
    usual = [clip for clip in clips if CLIP_S[0] <= clip.seconds <= CLIP_S[1]]
    wanted = min(count, len(usual))
    return [usual[number * len(usual) // wanted] for number in range(wanted)]


def write_corpus(clips: Sequence[Clip], folder: Path) -> Path:
    """The clips and their texts as wyoming-bench wants them."""
    folder.mkdir()
    for number, clip in enumerate(clips):
        shutil.copy(clip.file, folder / f"clip_{number:02d}.wav")
        (folder / f"clip_{number:02d}.txt").write_text(clip.text + "\n")
    return folder


def ask(command: Sequence[str], server: psutil.Process) -> dict[str, Any]:
    """One run of wyoming-bench, and the CPU time that the server used in it."""
    before = bench.tree_cpu_s(server)
    done = subprocess.run(
        command,
        env=bench.plain_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{NAME} ended with {done.returncode}: {done.stdout}{done.stderr}")
    used = bench.tree_cpu_s(server) - before
    modes = parse(done.stdout)
    asked = utterances(modes, done.stdout)
    return {
        "modes": modes,
        "utterances": asked,
        "cpu_s_per_utterance": round(used / asked, 4),
        "output": done.stdout,
    }


def parse(output: str) -> dict[str, dict[str, Any]]:
    """What wyoming-bench found out about one server, by mode. Times are milliseconds."""
    modes: dict[str, dict[str, Any]] = {}
    mode: dict[str, Any] = {}
    report = output[output.index("\nServer: ") : output.index("\nSummary")]
    for line in report.splitlines():
        if found := _MODE.match(line):
            mode = modes[found["mode"]] = {"ok": int(found["ok"]), "failed": int(found["failed"])}
        elif found := _ROW.match(line):
            values = map(float, found["values"].split())
            mode[found["name"]] = dict(zip(_COLUMNS, values, strict=True))
        elif found := _ACCURACY.search(line):
            mode |= {"wer": float(found["wer"]), "sar": float(found["sar"])}
    return modes


def utterances(modes: Mapping[str, Mapping[str, Any]], output: str) -> int:
    """How many utterances the server heard, the untimed ones too."""
    timed: int = sum(mode["ok"] + mode["failed"] + WARM_UPS for mode in modes.values())
    # A server that says it can stream is asked once whether it does.
    return timed + int("streaming" in modes or "no transcript-chunk" in output)


def version(program: str) -> str:
    """The version that the program tells."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def complete(data: Mapping[str, Any]) -> bool:
    """Whether this service answered every time."""
    ours = [run for run in data["runs"] if run["server"] == OURS]
    return all(not mode["failed"] for run in ours for mode in run["modes"].values())


def page(data: Mapping[str, Any] | None) -> list[str]:
    """The part of the page; None: it was left out."""
    title = ["## wyoming-bench", ""]
    if data is None:
        return [
            *title,
            f"Left out: `--wyoming` and `--wyoming-bench` did not name {wyoming.NAME} and {NAME}.",
            "",
        ]
    told = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    last = {run["server"]: run for run in data["runs"]}
    return [
        *title,
        f"{told}. {data['clips']} clips ({data['audio_s']:g} s) of real speech, {data['model']} "
        f"int8, beam 5; both servers loaded, one at a time at work, {data['turns']} turns in "
        "alternating order on the same two cores, the client on others. The clips go as fast as "
        "the server takes them; total is from the first byte to the transcript. Each figure is the "
        "median of the turns; WER, RTF (total per second of audio) and SAR (sentences that are all "
        "right) as wyoming-bench counts them, without normalisation of numbers.",
        "",
        *bench.table(
            ["server, mode", "answered", "total, median ms", "RTF, mean", "WER %", "SAR %"],
            [row for name in last for row in _rows(name, data["runs"])],
        ),
        "",
        *bench.table(
            ["server", "CPU s per utterance, by turn", "mean"],
            [
                [
                    name,
                    ", ".join(
                        f"{run['cpu_s_per_utterance']:.3f}" for run in _of(name, data["runs"])
                    ),
                    f"{mean(run['cpu_s_per_utterance'] for run in _of(name, data['runs'])):.3f}",
                ]
                for name in last
            ],
        ),
        "",
        "What wyoming-bench itself printed in the last turn:",
        "",
        "```text",
        *(line for run in last.values() for line in _quoted(run["output"])),
        "```",
        "",
    ]


def _of(name: str, runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [run for run in runs if run["server"] == name]


def _rows(name: str, runs: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    rows: list[list[object]] = []
    mine = _of(name, runs)
    for mode in mine[0]["modes"]:
        several = [run["modes"][mode] for run in mine]
        asked = sum(one["ok"] + one["failed"] for one in several)
        rows.append(
            [
                f"{name}, {mode.replace('_', '-')}",
                f"{sum(one['ok'] for one in several)} of {asked}",
                f"{median(one['Total']['median'] for one in several):.0f}",
                f"{median(one['RTF']['mean'] for one in several):.3f}",
                f"{median(one['wer'] for one in several):.1f}",
                f"{median(one['sar'] for one in several):.1f}",
            ]
        )
    return rows


def _quoted(output: str) -> list[str]:
    """The lines between the heading and the summary, which says the same in one line."""
    return output[: output.index("\n" + "=" * 20)].rstrip().splitlines()
