"""`stt-mqtt run` under a supervisor that restarts it as deploy/stt-mqtt.service has it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tools.brokers import eventually
from tools.clients import Address
from tools.program import Service

RESTART_S = 5.0
"""`RestartSec` of the unit."""
NO_RESTART = {0, 78}
"""It ended well, or `RestartPreventExitStatus` of the unit."""


class SupervisedService(Service):
    """A service that is started again `restart_s` after it failed. All its runs share one log.

    `launcher`: words before those of the program, which must execute it. `environment`: variables
    beside those of this process.
    """

    def __init__(
        self,
        folder: Path,
        server: Address,
        /,
        *,
        restart_s: float = RESTART_S,
        launcher: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        self.statuses: list[int] = []
        """Exit statuses so far; negative: the signal that killed it."""
        self.starts = 0
        """How often it was started."""
        self._restart_s = restart_s
        self._launcher = tuple(launcher)
        self._environment = {**os.environ, **(environment or {})}
        self._ending = threading.Event()
        self._restarting = threading.Event()
        self._starting = threading.Lock()
        super().__init__(folder, server, **config)
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the program."""
        self.starts += 1
        arguments = [*self._launcher, *self.arguments]
        return subprocess.Popen(arguments, stdout=log, stderr=log, env=self._environment)

    def stop(self, timeout_s: float = 60.0) -> int:
        """End it for good; return its exit status."""
        with self._starting:
            self._ending.set()
        status = super().stop(timeout_s)
        self._watcher.join()
        return status

    def restart(self, timeout_s: float = 60.0) -> int:
        """Ask it to end and start it again at once, as `systemctl restart`; its exit status."""
        starts = self.starts
        self._restarting.set()
        self.process.send_signal(signal.SIGTERM)
        eventually(lambda: self.starts > starts, timeout_s)
        return self.statuses[-1]

    def _watch(self) -> None:
        while True:
            self.statuses.append(self.process.wait())
            if not self._restarting.is_set() and self._is_over():
                return
            with self._starting:
                if self._ending.is_set():
                    return
                self._restarting.clear()
                self.process = self.spawn(self._log)

    def _is_over(self) -> bool:
        """Whether it is not started again, after the wait before a start."""
        return self.statuses[-1] in NO_RESTART or self._ending.wait(self._restart_s)
