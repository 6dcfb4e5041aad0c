from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.app.systemd import Notifier

UNUSED_PID = "1"


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, name: str) -> None:
        self.environ = {"NOTIFY_SOCKET": name}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything that was said since the last call, one text per datagram."""
        texts = []
        while True:
            try:
                texts.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return texts

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    names = {"path": str(tmp_path / "notify"), "abstract": f"@stt-mqtt-test-{os.getpid()}"}
    made = Manager(names[request.param])
    yield made
    made.close()


def test_start_and_stop_are_told_and_the_stop_says_how_long_it_may_take(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.ready()
    notifier.stopping(12.5)
    assert manager.heard() == ["READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=12500000"]


def test_a_reload_tells_when_it_began_on_the_monotonic_clock_and_that_it_ended(
    manager: Manager,
) -> None:
    notifier = Notifier(manager.environ)
    notifier.ready()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloaded()
    _, began, ended = manager.heard()
    first, second = began.split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
    assert ended == "READY=1"


def test_a_reload_never_makes_a_service_that_starts_or_stops_look_ready(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.reloading()
    notifier.reloaded()
    assert manager.heard() == []
    notifier.ready()
    notifier.stopping(1)
    notifier.reloading()
    notifier.reloaded()
    assert manager.heard() == ["READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000"]


def test_the_watchdog_is_fed_at_half_of_its_patience(manager: Manager) -> None:
    notifier = Notifier({**manager.environ, "WATCHDOG_USEC": "60000000"})
    assert notifier.watchdog_interval_s == 30
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("watchdog", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": UNUSED_PID}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "³"}, None),
    ],
)
def test_the_watchdog_waits_only_for_the_process_that_it_names(
    watchdog: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/x", **watchdog}).watchdog_interval_s == interval_s


@given(st.text())
def test_a_status_is_one_line_of_bounded_length_whatever_it_is_made_of(text: str) -> None:
    manager = Manager(f"@stt-mqtt-status-{os.getpid()}")
    try:
        Notifier(manager.environ).status(text)
        (heard,) = manager.heard()
    finally:
        manager.close()
    assert heard.startswith("STATUS=")
    assert "\n" not in heard
    assert len(heard) <= len("STATUS=") + 200


def test_a_status_keeps_its_words(manager: Manager) -> None:
    Notifier(manager.environ).status("online\nREADY=1  at kitchen \udcff")
    assert manager.heard() == ["STATUS=online READY=1 at kitchen ?"]


def say_everything(notifier: Notifier) -> None:
    notifier.ready()
    notifier.reloading()
    notifier.reloaded()
    notifier.status("fine")
    notifier.alive()
    notifier.stopping(1)


@pytest.mark.parametrize("name", [None, "", "relative", "vsock:2:1234"])
def test_without_a_socket_that_we_know_nothing_is_said_and_no_watchdog_fed(
    name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    environ = {"WATCHDOG_USEC": "3000000"} | ({} if name is None else {"NOTIFY_SOCKET": name})
    notifier = Notifier(environ)
    assert notifier.watchdog_interval_s is None
    say_everything(notifier)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["missing", "too long", "a file", "nobody reads"])
def test_a_socket_that_fails_raises_nothing_and_is_mentioned_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / ("x" * 120 if kind == "too long" else "notify")
    if kind == "a file":
        path.touch()
    if kind == "nobody reads":
        Manager(str(path)).close()
    say_everything(Notifier({"NOTIFY_SOCKET": str(path)}))
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert "READY=1" in record.getMessage()


def test_a_manager_that_does_not_read_holds_nobody_up_for_long(
    manager: Manager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_mqtt.app.systemd.SEND_TIMEOUT_S", 0.01)
    caplog.set_level(logging.DEBUG)
    notifier = Notifier(manager.environ)
    queue_length = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(queue_length + 2):
        notifier.alive()
    assert len(caplog.records) == 1
    assert manager.heard()
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
