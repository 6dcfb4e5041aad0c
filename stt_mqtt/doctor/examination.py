"""Runs checks one after another, each with a time limit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stt_mqtt.doctor.report import Finding, fail, failed
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.errors import ConfigError, SttMqttError

ALL_S = 30.0
"""Longest time of all checks together."""

CORRECT = "correct the configuration, or the file that it names"
_THREAD = "check-"

log = logging.getLogger(__name__)

Examine: TypeAlias = Callable[[Subject], list[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check, and the longest time that it may take. What it raises is a failure of its own."""

    name: str
    examine: Examine
    timeout_s: float = 3.0


def examined(checks: Sequence[Check], subject: Subject) -> Iterator[Finding]:
    """The findings of all checks, as soon as they are known. Does not raise."""
    until = time.monotonic() + ALL_S
    for check in checks:
        left_s = until - time.monotonic()
        if left_s <= 0:
            yield _late(check.name, f"not checked: the other checks took {ALL_S:g} s")
            continue
        yield from _examined(check, subject, min(check.timeout_s, left_s))


def is_hanging() -> bool:
    """Whether a check still runs that was given up."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())


def _examined(check: Check, subject: Subject, timeout_s: float) -> list[Finding]:
    found: list[Finding] = []
    done = threading.Event()

    def work() -> None:
        try:
            found.extend(check.examine(subject))
        except ConfigError as error:
            found.extend(fail(check.name, problem, CORRECT) for problem in error.problems)
        except SttMqttError as error:
            found.append(failed(check.name, error))
        except MemoryError:
            found.append(
                fail(
                    check.name,
                    "there is not enough memory for this check",
                    "end other programs, or raise the memory limit of this one",
                    temporary=True,
                )
            )
        # Not only Exception: a panic in a Rust library is a BaseException.
        except BaseException as error:
            log.debug("check %s failed unexpectedly", check.name, exc_info=True)
            found.append(_defect(check.name, error))
        finally:
            done.set()

    # A daemon: a check that hangs must not keep the program from ending.
    threading.Thread(target=work, name=_THREAD + check.name, daemon=True).start()
    if not done.wait(timeout_s):
        return [_late(check.name, f"no result within {timeout_s:.0f} s")]
    return found


def _late(name: str, detail: str) -> Finding:
    return fail(name, detail, "run it again when the machine has less to do", temporary=True)


def _defect(name: str, error: BaseException) -> Finding:
    return fail(
        name,
        f"the check failed unexpectedly: {type(error).__name__}: {error}",
        "please report this",
        temporary=True,
    )
