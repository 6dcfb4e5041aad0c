"""The service when its log is not read, and when it stands still for a moment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO

from tests.brokers import Broker, eventually
from tests.e2e.program import Service, running


class Unread(Service):
    """A service whose log goes into a pipe that nobody reads."""

    def spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        self.unread, pipe = os.pipe()
        with os.fdopen(pipe, "wb") as stream:
            return super().spawn(stream)


def test_a_log_that_nobody_reads_stops_neither_the_service_nor_its_end(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker, Unread) as (service, peer):
        assert isinstance(service, Unread)
        # Each is a warning of 150 bytes, and a pipe holds 64 KiB.
        for number in range(1500):
            peer.publish(f"stt/room-{number % 50}/utterance", b"x")
        rooms = [f"stt/room-{number}/result" for number in range(50)]
        eventually(lambda: sum(len(peer.payloads(room)) for room in rooms) == 1500, 60)
        assert service.stop() == 0
        with os.fdopen(service.unread, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        assert 100 < len(lines) < 1500
        assert "stopped" not in lines[-1]
