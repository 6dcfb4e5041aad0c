"""Processes that a benchmark or a test starts: on chosen cores, in steps, and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

SAMPLE_INTERVAL_S = 0.02


@contextmanager
def pinned(cores: set[int] | None) -> Iterator[None]:
    """Processes started inside may run on `cores` only; None: where this one may."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Child:
    """A process that works in steps: it prints a line after each and waits for `go_on`."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """The next line that it prints. Raises RuntimeError if it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait(10)}")
        return line

    def go_on(self) -> None:
        """Start its next step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def a_child(
    module: str,
    words: Sequence[object],
    cores: set[int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A module as a process that has printed its first line: it is ready."""
    with pinned(cores):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
    with process:
        try:
            child = Child(process)
            child.line()
            yield child
        finally:
            process.kill()


@contextmanager
def peak_rss(process: psutil.Process) -> Iterator[Callable[[], int]]:
    """Inside, the highest resident memory in bytes since the beginning of the block."""
    highest = [process.memory_info().rss]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_INTERVAL_S):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: highest[0]
    finally:
        over.set()
        thread.join()
