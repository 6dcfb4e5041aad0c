"""The program under a service manager, and with the health check of the image."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.test_containers import health_check
from tools.brokers import Broker, eventually, free_port
from tools.program import Service, running

PATIENCE_US = 2_000_000


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def has_heard(self, beginning: str, times: int = 1) -> bool:
        """Whether that many messages began like this until now."""
        try:
            while True:
                self.heard.append(self._socket.recv(65536).decode())
        except BlockingIOError:
            return sum(message.startswith(beginning) for message in self.heard) >= times

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    made = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", str(PATIENCE_US))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield made
    made.close()


def test_the_service_manager_hears_of_start_life_reload_and_stop(
    tmp_path: Path, broker: Broker, manager: Manager
) -> None:
    with running(tmp_path, broker, wyoming={"enabled": False}) as (service, _):
        eventually(lambda: manager.has_heard("READY=1"))
        eventually(lambda: manager.has_heard("WATCHDOG=1", times=2))
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: manager.has_heard("RELOADING=1\nMONOTONIC_USEC="))
        eventually(lambda: manager.has_heard("READY=1", times=2))
        service.config_file.write_text("mqtt: [")
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: manager.has_heard("RELOADING=1", times=2))
        eventually(lambda: manager.has_heard("READY=1", times=3))
        assert service.stop() == 0
        assert manager.has_heard("STOPPING=1\nEXTEND_TIMEOUT_USEC=")
        assert manager.heard.count("READY=1") == 3
    stopping = next(i for i, said in enumerate(manager.heard) if said.startswith("STOPPING"))
    assert not any("READY" in said for said in manager.heard[stopping:])


def test_a_service_whose_broker_is_away_is_ready_all_the_same(
    tmp_path: Path, broker: Broker, manager: Manager
) -> None:
    broker.stop()
    service = Service(tmp_path, broker, wyoming={"enabled": False})
    try:
        eventually(lambda: manager.has_heard("READY=1"))
    finally:
        assert service.stop() == 0


def test_the_image_finds_the_real_service_well(tmp_path: Path, broker: Broker) -> None:
    port = free_port()
    with running(tmp_path, broker, web={"port": port}):
        assert health_check(port) == 0
