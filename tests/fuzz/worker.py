"""A child process that runs cases. The parent is `campaign`.

One argument: JSON with the fields of `Order`. Failures are appended to `report`, a line of JSON
each.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.fuzz import mutation
from tests.fuzz.guard import Guard
from tests.fuzz.shared import Shared
from tests.fuzz.target import Failure, How, Target

SAVED_OF_A_DEFECT = 3
"""Failing cases that are saved of those with the same `where`."""
_NEVER_S = 1_000_000
_NO_HANDLERS = ("abrt", "bus", "fpe", "ill", "segv", "term", "xfsz", "usr1", "usr2", "int")


@dataclass(frozen=True, slots=True)
class Job:
    """So many cases of a target, from number `first` on. `family`: the module with the target."""

    family: str
    target: str
    cases: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker does. `guided`: the last job runs under atheris. `case`: only this file."""

    jobs: list[Job]
    seed: int
    guided: bool
    shared: str
    report: str
    failures: str
    scratch: str
    case: str | None = None


def has_atheris() -> bool:
    """Whether coverage can guide."""
    return find_spec("atheris") is not None


class Worker:
    """Runs jobs, and reports failures."""

    def __init__(self, order: Order, targets: dict[str, Target]) -> None:
        self._order = order
        self._targets = targets
        self._shared = Shared(Path(order.shared))
        self._guard = Guard()
        self._saved: Counter[str] = Counter()
        self._job = 0
        self._done = 0

    def work(self) -> None:
        """Run all jobs."""
        order = self._order
        for number, job in enumerate(order.jobs):
            self._job, self._done = number, job.first
            target = self._targets[job.target]
            self._shared.end(self._done, number)
            self._guard.warm_up(target)
            if number == 0:
                self._guard.limit_memory()
            if order.case is not None:
                self._try(target, Path(order.case).read_bytes())
            elif order.guided and target.how is How.GUIDED:
                self._guide(target, job)
            else:
                for data in self._cases(target, job):
                    self._try(target, data)
                    if self._shared.stopping:
                        return

    def _cases(self, target: Target, job: Job) -> Iterator[bytes]:
        seeds = target.seeds()
        for number in range(job.first, job.cases):
            seed = f"{self._order.seed}/{target.name}/{number}"
            if target.how is How.STRUCTURED:
                yield mutation.random_bytes(seed, target.max_bytes)
            else:
                yield mutation.case(seed, seeds, target.max_bytes)

    def _guide(self, target: Target, job: Job) -> None:
        """Let libFuzzer choose the cases. It ends the process."""
        import atheris

        corpus = Path(self._order.scratch)
        for number, data in enumerate(target.seeds()):
            (corpus / f"{number:04}").write_bytes(data[: target.max_bytes])
        # After a crash, others than before come.
        mixed = f"{self._order.seed}/{target.name}/{job.first}".encode()
        seed = int.from_bytes(hashlib.sha256(mixed).digest()[:4], "big") or 1
        options = {
            "seed": seed,
            "max_len": target.max_bytes,
            # It would count wall time.
            "timeout": _NEVER_S,
            "rss_limit_mb": 0,
            "malloc_limit_mb": 0,
            "detect_leaks": 0,
            "verbosity": 0,
            "artifact_prefix": f"{corpus}/",
            **{f"handle_{name}": 0 for name in _NO_HANDLERS},
        }

        def one(data: bytes) -> None:
            self._try(target, data)
            if self._done >= job.cases or self._shared.stopping:
                os._exit(0)

        arguments = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup([sys.argv[0], *arguments, str(corpus)], one)
        atheris.Fuzz()

    def _try(self, target: Target, data: bytes) -> None:
        self._shared.begin(self._done, self._job, data)
        failure = self._guard.run(target, data)
        self._done += 1
        self._shared.end(self._done, self._job)
        if failure is not None:
            self._report(target, failure, data)

    def _report(self, target: Target, failure: Failure, data: bytes) -> None:
        self._saved[failure.where] += 1
        file = None
        if self._saved[failure.where] <= SAVED_OF_A_DEFECT and self._order.case is None:
            file = save(Path(self._order.failures), target.name, data)
        line = json.dumps({"target": target.name, "file": file, **asdict(failure)})
        with Path(self._order.report).open("a", encoding="utf-8") as report:
            report.write(line + "\n")


def save(folder: Path, target: str, data: bytes) -> str:
    """Write a failing case; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return str(file)


def main(argument: str) -> None:
    """Do what the parent wants."""
    fields: dict[str, Any] = json.loads(argument)
    order = Order(**{**fields, "jobs": [Job(**job) for job in fields["jobs"]]})
    if order.guided:
        import atheris

        instrumented = atheris.instrument_imports(include=["stt_mqtt"])
    else:
        instrumented = nullcontext()
    with instrumented:
        modules = [
            import_module(family) for family in dict.fromkeys(one.family for one in order.jobs)
        ]
    Worker(order, {one.name: one for module in modules for one in module.TARGETS}).work()


if __name__ == "__main__":
    main(sys.argv[1])
