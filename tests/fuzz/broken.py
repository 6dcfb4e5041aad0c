"""Targets that fail in every way, to test that failures are found."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from tests.fuzz.target import How, Target, UnansweredError

BAD = b"bad"
CASES = 6
EATEN = bytearray()


def _raises(data: bytes) -> None:
    if BAD in data:
        raise KeyError("x")


def _logs(data: bytes) -> None:
    if BAD in data:
        logging.getLogger("stt_mqtt.x").error("a defect, please report this")


def _dies(data: bytes) -> None:
    if BAD in data:
        os.kill(os.getpid(), signal.SIGSEGV)


def _hangs(data: bytes) -> None:
    while BAD in data:
        pass


def _eats(data: bytes) -> None:
    if BAD in data:
        EATEN.extend(bytes(100_000_000))
        EATEN.clear()


def _forgets(data: bytes) -> None:
    if BAD in data:
        raise UnansweredError("u1: 0")


def _seeds() -> list[bytes]:
    """The first ones only warm up."""
    return [b"good"] * 3 + [BAD] * 3


def _target(name: str, run: Callable[[bytes], None]) -> Target:
    return Target(name, run, CASES, How.MUTATED, _seeds, max_bytes=4)


TARGETS = (
    _target("raises", _raises),
    _target("logs", _logs),
    _target("dies", _dies),
    _target("hangs", _hangs),
    _target("eats", _eats),
    _target("forgets", _forgets),
)
