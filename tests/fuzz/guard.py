"""Runs single cases, and says which failed."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import stt_mqtt
from tests.fuzz.target import HANG_S, Failure, Kind, Target, UnansweredError

_PACKAGE = str(Path(stt_mqtt.__file__).parent)
_ADDRESS_SPACE = 1 << 30
"""More address space than the process has at the start. What needs more raises MemoryError."""
WARM_UP_S = 30.0
"""Most CPU time of the first cases, which import and compile."""
_MAX_DETAIL = 6_000
_PEAK, _PEAK_RESET = b"VmHWM:", b"5"


class _Errors(logging.Handler):
    """Keeps exceptions that the code logs: it has caught its own defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or "report this" in str(record.msg):
            self.records.append(record)


class Guard:
    """Runs cases of a process. There may be one only.

    A case that takes too much CPU time ends the process by SIGPROF, because native code cannot be
    interrupted in another way.
    """

    def __init__(self) -> None:
        self._errors = _Errors()
        root = logging.getLogger()
        root.handlers[:] = [self._errors]
        root.setLevel(logging.ERROR)
        # Shows where it hung, then ends the process as the signal does by default.
        faulthandler.enable()
        faulthandler.register(signal.SIGPROF, chain=True)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)

    def limit_memory(self) -> None:
        """From now on, the process cannot take much more address space."""
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + _ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def warm_up(self, target: Target) -> None:
        """Run some seeds, so that what is imported and cached at first does not count."""
        signal.setitimer(signal.ITIMER_PROF, WARM_UP_S)
        for data in [b"", *target.seeds()[:3]]:
            with contextlib.suppress(Exception):
                target.run(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._errors.records.clear()

    def run(self, target: Target, data: bytes) -> Failure | None:
        """The failure of a case; None: it is well."""
        os.write(self._reset, _PEAK_RESET)
        before_kib = self._peak_kib()
        failure = None
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        try:
            target.run(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = _failure_of(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        grown_mb = (self._peak_kib() - before_kib) / 1024
        if self._errors.records:
            failure = failure or _logged(self._errors.records[0])
            self._errors.records.clear()
        if failure is None and grown_mb > target.memory_mb:
            detail = f"{grown_mb:.0f} MB more than before, at most {target.memory_mb} MB are well"
            failure = Failure(Kind.MEMORY, target.name, detail)
        return failure

    def _peak_kib(self) -> int:
        """Most memory since the reset. What getrusage tells begins with that of the parent."""
        status = os.pread(self._status, 4096, 0)
        at = status.index(_PEAK) + len(_PEAK)
        return int(status[at : at + 20].split()[0])


def _failure_of(error: BaseException) -> Failure:
    kind = Kind.EXCEPTION
    if isinstance(error, UnansweredError):
        kind = Kind.UNANSWERED
    elif isinstance(error, MemoryError):
        kind = Kind.MEMORY
    detail = "".join(traceback.format_exception(error, limit=-12))
    where = f"{type(error).__name__} in {_place(error.__traceback__)}"
    return Failure(kind, where, detail[-_MAX_DETAIL:])


def _logged(record: logging.LogRecord) -> Failure:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        return _failure_of(error)
    where = f"log in {record.module}:{record.lineno}"
    return Failure(Kind.EXCEPTION, where, record.getMessage()[:_MAX_DETAIL])


def _place(tb: TracebackType | None) -> str:
    """The innermost line of the package, or of anything where there is none."""
    frames = list(_frames(tb))
    own = [(file, line) for file, line in frames if file.startswith(_PACKAGE)]
    file, line = (own or frames or [("?", 0)])[-1]
    return f"{os.path.relpath(file, Path(_PACKAGE).parent)}:{line}"


def _frames(tb: TracebackType | None) -> Iterator[tuple[str, int]]:
    while tb is not None:
        yield tb.tb_frame.f_code.co_filename, tb.tb_lineno
        tb = tb.tb_next


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)
