"""Runs targets in child processes, starts those again that die, and counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.fuzz.guard import say
from tests.fuzz.shared import Shared
from tests.fuzz.target import HANG_S, Failure, How, Kind, Target
from tests.fuzz.targets import FAMILY
from tests.fuzz.worker import Job, Order, has_atheris, save

ROOT = Path(__file__).parents[2]
MOST_DEATHS = 20
"""Deaths of the processes of one target after which it is given up."""
STUCK_S = 120.0
"""How long a process may sleep within a case. One that waits for a CPU does not sleep."""
_POLL_S = 0.2
_NEEDS_PROOF = (Kind.HANG, Kind.MEMORY)
"""Failures that count only if the case fails in a fresh process, too, without instrumentation."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run. `until`: when to stop, on the clock `time.monotonic`."""

    seed: int = 1
    guided: bool = field(default_factory=has_atheris)
    processes: int = 2
    failures: Path = Path(tempfile.gettempdir()) / "stt-mqtt-fuzz"
    until: float = float("inf")
    families: Mapping[str, str] = field(default_factory=lambda: FAMILY)
    """The module of each target."""


@dataclass(slots=True)
class Tally:
    """What became of a target."""

    target: str
    how: str
    cases: int = 0
    cpu_s: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)
    """Cases that failed, by kind and place."""
    shown: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """The first case of each: kind, detail and file."""
    unproved: int = 0
    """Hangs and memory that did not come again."""
    gave_up: bool = False

    def note(self, failure: Failure, file: str | None) -> None:
        """A case failed."""
        name = f"{failure.kind}: {failure.where}"
        self.failed[name] = self.failed.get(name, 0) + 1
        self.shown.setdefault(name, {"detail": failure.detail, "file": file})


def run(targets: Sequence[Target], cases: dict[str, int], plan: Plan) -> list[Tally]:
    """Run so many cases of each target, each target in a process of its own."""
    with ThreadPoolExecutor(plan.processes) as pool:
        return list(pool.map(lambda target: _run([target], cases, plan)[0], targets))


def run_together(targets: Sequence[Target], cases: dict[str, int], plan: Plan) -> list[Tally]:
    """The same in one process, as long as none dies. Coverage guides nothing."""
    return _run(targets, cases, plan)


def repeat(target: Target, case: Path, plan: Plan) -> Tally:
    """Run one case."""
    return _Campaign([target], {target.name: 1}, plan, case).run()[0]


def _run(targets: Sequence[Target], cases: dict[str, int], plan: Plan) -> list[Tally]:
    tallies = _Campaign(targets, cases, plan, None).run()
    for target, tally in zip(targets, tallies, strict=True):
        _prove(target, tally, plan)
        kinds = "".join(f"\n  {count} times {name}" for name, count in tally.failed.items())
        say(f"{target.name}: {tally.cases} cases, {tally.cpu_s:.1f} s of CPU{kinds}")
    return tallies


def _prove(target: Target, tally: Tally, plan: Plan) -> None:
    """Forget hangs and memory that do not come again."""
    for name, shown in list(tally.shown.items()):
        file = shown["file"]
        if file is None or not name.startswith(_NEEDS_PROOF):
            continue
        if not repeat(target, Path(file), plan).failed:
            tally.unproved += tally.failed.pop(name)
            del tally.shown[name]


class _Campaign:
    """The processes of some targets, one after the other."""

    def __init__(
        self, targets: Sequence[Target], cases: dict[str, int], plan: Plan, case: Path | None
    ) -> None:
        self._targets = targets
        self._jobs = [
            Job(plan.families[target.name], target.name, cases[target.name]) for target in targets
        ]
        self._plan = plan
        self._case = case
        self._guided = (
            plan.guided and case is None and len(targets) == 1 and targets[0].how is How.GUIDED
        )
        self._tallies = [Tally(target.name, self._how(target)) for target in targets]

    def run(self) -> list[Tally]:
        """Run until all is done, or the time is up."""
        deaths = 0
        while self._jobs and time.monotonic() < self._plan.until:
            if self._run_process():
                break
            deaths += 1
            if deaths >= MOST_DEATHS:
                self._tallies[len(self._targets) - len(self._jobs)].gave_up = True
                break
        return self._tallies

    def _how(self, target: Target) -> str:
        if target.how is How.GUIDED and not self._guided:
            return How.MUTATED.value
        return target.how.value

    def _run_process(self) -> bool:
        """Run a process. Return whether it ended by itself, with all jobs done."""
        with tempfile.TemporaryDirectory(prefix="stt-mqtt-fuzz-") as folder:
            scratch = Path(folder, "corpus")
            scratch.mkdir()
            size = max(target.max_bytes for target in self._targets)
            if self._case is not None:
                size = max(size, self._case.stat().st_size)
            shared = Shared.create(Path(folder, "shared"), size)
            order = Order(
                jobs=self._jobs,
                seed=self._plan.seed,
                guided=self._guided,
                shared=str(Path(folder, "shared")),
                report=str(Path(folder, "report")),
                failures=str(self._plan.failures),
                scratch=str(scratch),
                case=None if self._case is None else str(self._case),
            )
            code, cpu_s, errors = self._wait(order, shared, Path(folder))
            offset = len(self._targets) - len(self._jobs)
            number, done = shared.place
            for at, job in enumerate(self._jobs[: number + 1]):
                ended = done if at == number else job.cases
                self._tallies[offset + at].cases += ended - job.first
            self._tallies[offset + number].cpu_s += cpu_s
            self._read_report(Path(order.report), offset)
            if code == 0:
                return True
            # The case at hand killed the process.
            tally = self._tallies[offset + number]
            tally.cases += 1
            case = shared.case
            file = None
            if self._case is None:
                file = save(self._plan.failures, tally.target, case)
            tally.note(_death(code, errors), file)
            shared.close()
            job = self._jobs[number]
            self._jobs = self._jobs[number:]
            self._jobs[0] = replace(job, first=done + 1)
            if done + 1 >= job.cases:
                del self._jobs[0]
            return not self._jobs

    def _wait(self, order: Order, shared: Shared, folder: Path) -> tuple[int, float, str]:
        """Return the exit code, the CPU time, and the end of what the process printed."""
        printed = Path(folder, "printed")
        command = [sys.executable, "-m", "tests.fuzz.worker", json.dumps(asdict(order))]
        with printed.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
            ended = threading.Event()
            watching = threading.Thread(target=self._watch, args=(process, shared, ended))
            watching.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            finally:
                ended.set()
                watching.join()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        errors = printed.read_bytes()[-4_000:].decode(errors="replace")
        return code, usage.ru_utime + usage.ru_stime, errors

    def _watch(
        self, process: subprocess.Popen[bytes], shared: Shared, ended: threading.Event
    ) -> None:
        """Stop the process when the time is up; kill it when it waits for something for ever."""
        before: tuple[object, ...] = ()
        moved_at = time.monotonic()
        while not ended.wait(_POLL_S):
            now = time.monotonic()
            if now >= self._plan.until:
                shared.stop()
            state, cpu_ticks = _state_of(process.pid)
            at = (shared.place, cpu_ticks)
            if state != "S" or at != before:
                before, moved_at = at, now
            elif now - moved_at > STUCK_S:
                process.send_signal(signal.SIGKILL)

    def _read_report(self, report: Path, offset: int) -> None:
        if not report.exists():
            return
        by_name = {tally.target: tally for tally in self._tallies[offset:]}
        for line in report.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            failure = Failure(Kind(fields["kind"]), fields["where"], fields["detail"])
            by_name[fields["target"]].note(failure, fields["file"])


def _state_of(pid: int) -> tuple[str, int]:
    """State of a process, S if it sleeps, and the CPU time that it has used, in clock ticks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X", 0
    state, *fields = stat.rpartition(")")[2].split()
    return state, int(fields[10]) + int(fields[11])


def _death(code: int, errors: str) -> Failure:
    """The failure behind the end of a process."""
    if code == -signal.SIGPROF:
        return Failure(Kind.HANG, _innermost(errors), f"more than {HANG_S:g} s of CPU\n{errors}")
    if code == -signal.SIGKILL:
        return Failure(Kind.HANG, "waits", f"it waited for {STUCK_S:g} s\n{errors}")
    name = signal.Signals(-code).name if code < 0 else f"status {code}"
    return Failure(Kind.CRASH, f"{name} in {_innermost(errors)}", errors)


def _innermost(errors: str) -> str:
    """The first line of the package in what faulthandler printed."""
    for line in errors.splitlines():
        if "/stt_mqtt/" in line and line.lstrip().startswith("File "):
            place = line.split("/stt_mqtt/")[-1]
            return "stt_mqtt/" + place.replace('", line ', ":").split(" in ")[0]
    return "?"
