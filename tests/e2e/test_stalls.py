"""The service when its log is not read, and when it stands still for a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from tools.brokers import Broker, eventually
from tools.program import Service, running

GAP_S = 3.0
"""No pause of the test itself is as long, however busy the machine."""


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
        eventually(lambda: sum(len(peer.payloads(room)) for room in rooms) == 1500)
        assert service.stop() == 0
        with os.fdopen(service.unread, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        assert 100 < len(lines) < 1500
        assert "stopped" not in lines[-1]


def test_who_speaks_while_the_process_stands_still_is_heard_in_one_piece(
    tmp_path: Path, broker: Broker
) -> None:
    gap = {"gap_timeout_ms": int(GAP_S * 1000)}
    with running(tmp_path, broker, device_defaults=gap) as (service, peer):
        for round_ in range(3):
            # Only what comes while it stands still may come later than the gap.
            for number in range(40):
                if number == 10:
                    service.process.send_signal(signal.SIGSTOP)
                if 10 <= number < 28:
                    time.sleep(GAP_S * 1.2 / 18)
                if number == 28:
                    service.process.send_signal(signal.SIGCONT)
                peer.publish("stt/kitchen/audio", bytes(3200))
            results = peer.json("stt/kitchen/result", count=round_ + 1)
            assert [(one["end"], one["audio_s"]) for one in results] == [("gap", 4.0)] * (
                round_ + 1
            )
