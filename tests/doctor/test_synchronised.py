from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from stt_mqtt.doctor import synchronised
from stt_mqtt.doctor.synchronised import is_synchronised


@pytest.fixture(autouse=True)
def no_timesyncd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(synchronised, "_MARK", tmp_path / "synchronized")


def test_this_system_says_something_or_nothing() -> None:
    assert is_synchronised() in {True, False, None}


@pytest.mark.parametrize(("state", "said"), [(0, True), (5, False), (-1, None)])
def test_the_kernel_knows_whether_the_clock_is_right(
    monkeypatch: pytest.MonkeyPatch, state: int, said: bool | None
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=lambda _: state))
    assert is_synchronised() is said


def test_without_the_call_the_system_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert is_synchronised() is None


def test_the_mark_of_timesyncd_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=lambda _: 5))
    assert is_synchronised() is True
