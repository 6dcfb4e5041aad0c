"""Broker, NATS servers, gateways and workers as processes, and those who speak and listen."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet.ledger import Ledger
from benchmarks.fleet.rooms import Rooms, Speech
from benchmarks.fleet.witness import Witness, server_counts
from benchmarks.harness import TAIL_CHARACTERS, cpu_s, rss_mb, say
from benchmarks.ladder import RUNGS
from tools.brokers import KEEPS_ALL, Mosquitto, MosquittoOptions, eventually, free_port
from tools.nats_servers import NatsServer
from tools.program import PATIENT, Peer, Service

FLEET = "bench"
STATE_TOPIC, INFO_TOPIC = "/bridge/state", "stt/bridge/info"
READY_S = 60.0
END_S = 30.0
ACK_WAIT_S, QUICK_ACK_WAIT_S = 3.0, 1.0
LIMITS = {"max_devices": 3000, "max_queued": 2000, "max_queued_audio_s": 10_000}
"""`limits` of gateways that have thousands of rooms."""


@dataclass(frozen=True, slots=True)
class Model:
    """A simulated model: seconds of sleep for an utterance and for each second of its audio."""

    name: str
    utterance_s: float
    audio_s: float

    def seconds(self, audio_s: float) -> float:
        """Seconds of a thread for an utterance."""
        return self.utterance_s + self.audio_s * audio_s


BASE, TINY_5, TINY_1 = (Model(name, *work) for name, _, _, *work, _ in RUNGS)
"""As they were measured, see `ladder`."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The servers of a house. Scenarios with the same ones may share it."""

    servers: int = 1
    storage: str = "memory"
    replicas: int = 1


class Worker:
    """A worker with a simulated model, as a process that is started again after it was killed."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._arguments, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        """The end of what it has logged."""
        return self._log.read_text()[-TAIL_CHARACTERS:]

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """As a supervisor does it."""
        self.process = self._spawn()

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait until it has ended, and kill it if it does not."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        self.kill()


class House:
    """What a scenario runs in. `open_house` makes one."""

    def __init__(self, stack: ExitStack, setup: Setup, quick: bool) -> None:
        self.setup = setup
        self.quick = quick
        self.ack_wait_s = QUICK_ACK_WAIT_S if quick else ACK_WAIT_S
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.http_port = free_port()
        self.servers = self._make_servers()
        for server in self.servers:
            stack.callback(server.stop)
            server.launch()
        lines = (*KEEPS_ALL.lines, "max_inflight_messages 0", "set_tcp_nodelay true")
        self.broker = Mosquitto(self.folder, MosquittoOptions(lines=lines))
        stack.callback(self.broker.stop)
        self.broker.start()
        for server in self.servers:
            server.await_ready()
        self.ledger = Ledger()
        self.peer = stack.enter_context(closing(Peer(self.broker, f"+{STATE_TOPIC}", INFO_TOPIC)))
        self.witness = Witness(FLEET, [server.url for server in self.servers], self.ledger)
        self.witness.open()
        stack.callback(self.witness.close)
        self.gateways: list[Service] = []
        self.workers: dict[str, Worker] = {}
        self._model = (BASE, 1)
        stack.callback(self.have_gateways, 0)
        stack.callback(self.have_workers, 0)

    def _make_servers(self) -> list[NatsServer]:
        http = f"http: 127.0.0.1:{self.http_port}"
        if self.setup.servers == 1:
            return [NatsServer(self.folder, http)]
        ports = tuple(free_port() for _ in range(self.setup.servers))
        return [
            NatsServer(
                self.folder,
                "" if number else http,
                name=f"nats{number}",
                cluster_port=port,
                routes=ports,
            )
            for number, port in enumerate(ports)
        ]

    def fleet(self, role: str, node: str) -> dict[str, Any]:
        """The section `fleet:` of a process."""
        return {
            "role": role,
            "name": FLEET,
            "node": node,
            "servers": [server.url for server in self.servers],
            "storage": self.setup.storage,
            "replicas": self.setup.replicas,
            "ack_wait_s": self.ack_wait_s,
        }

    @property
    def limits(self) -> dict[str, Any]:
        """`limits` of the processes. A quick run gives nobody up because the machine is busy."""
        return {**LIMITS, **(PATIENT if self.quick else {})}

    # Processes -----------------------------------------------------------------------------------

    def have_gateways(self, count: int) -> None:
        """Have so many gateways, ready."""
        for service in self.gateways[count:]:
            service.process.terminate()
        for service in self.gateways[count:]:
            service.end()
        del self.gateways[count:]
        for number in range(len(self.gateways), count):
            folder = self.folder / f"gateway-{number}"
            folder.mkdir(exist_ok=True)
            fleet = self.fleet("gateway", f"gateway-{number}")
            self.gateways.append(Service(folder, self.broker, fleet=fleet, limits=self.limits))
        if count:
            self.await_gateways()

    def await_gateways(self) -> None:
        """Wait until all gateways are there and know each other."""
        names = {f"gateway-{number}" for number in range(len(self.gateways))}

        def ready() -> bool:
            for service in self.gateways:
                assert service.process.poll() is None, service.log[-TAIL_CHARACTERS:]
            return self.is_online("stt") and (len(names) == 1 or self.witness.gateways == names)

        eventually(ready, READY_S)

    def is_online(self, base: str) -> bool:
        """Whether the last that was said of a service is that it is there."""
        return self.peer.payloads(f"{base}{STATE_TOPIC}")[-1:] == [b"online"]

    def have_workers(self, count: int, model: Model = BASE, threads: int = 1) -> None:
        """Have so many workers with a model, ready. Others end."""
        kept = count if (model, threads) == self._model else 0
        leaving = list(self.workers)[kept:]
        for name in leaving:
            self.workers[name].ask_to_end()
        for name in leaving:
            self.workers.pop(name).end()
            self.witness.forget(name)
        self._model = (model, threads)
        while len(self.workers) < count:
            self.add_worker()
        self.await_workers()

    def add_worker(self) -> str:
        """Start another worker with the same model; its name."""
        name = f"worker-{len(self.workers)}"
        self.workers[name] = Worker(self.folder, name, self._worker_arguments(name, *self._model))
        return name

    def _worker_arguments(self, name: str, model: Model, threads: int) -> list[str]:
        options = {
            "servers": ",".join(server.url for server in self.servers),
            "fleet": FLEET,
            "name": name,
            "threads": threads,
            "cost-s": model.utterance_s,
            "per-audio-s": model.audio_s,
            "ack-wait-s": self.ack_wait_s,
        }
        words = [f"--{option}={value}" for option, value in options.items()]
        return [sys.executable, "-m", "tools.simulated_worker", "--log", *words]

    def await_workers(self) -> None:
        """Wait until all workers have slots."""

        def ready() -> bool:
            for worker in self.workers.values():
                assert worker.process.poll() is None, worker.log
            return self.workers.keys() <= self.witness.ready_at.keys()

        eventually(ready, READY_S)

    # Rooms ---------------------------------------------------------------------------------------

    @contextmanager
    def rooms(self, spoken: Sequence[Speech], base: str = "stt") -> Iterator[Rooms]:
        """Those who speak."""
        rooms = Rooms(self.broker, self.ledger, spoken, base)
        try:
            rooms.open()
            yield rooms
        finally:
            rooms.close()

    # Meters --------------------------------------------------------------------------------------

    @property
    def processes(self) -> dict[str, list[psutil.Process]]:
        """The processes by what they are."""
        return {
            "gateways": [psutil.Process(one.process.pid) for one in self.gateways],
            "workers": [psutil.Process(one.process.pid) for one in self.workers.values()],
            "nats": [psutil.Process(one.process.pid) for one in self.servers],
            "broker": [psutil.Process(self.broker.process.pid)],
        }


class Meter:
    """CPU time, memory and messages of a house, from the making of this.

    The messages are those of the first server.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._began = time.monotonic()
        self._cpu_s = self._used()
        self._counts = server_counts(house.http_port)

    def _used(self) -> dict[str, float]:
        return {name: sum(map(cpu_s, ones)) for name, ones in self._house.processes.items()}

    def read(self, utterances: int) -> dict[str, Any]:
        """Per utterance: ms of CPU time, and messages and bytes of the NATS server. MB of each."""
        seconds, count = time.monotonic() - self._began, max(utterances, 1)
        used, counts = self._used(), server_counts(self._house.http_port)
        return {
            "seconds": round(seconds, 1),
            "cores": {
                name: round((used[name] - before) / seconds, 3)
                for name, before in self._cpu_s.items()
            },
            "cpu_ms": {
                name: round(1e3 * (used[name] - before) / count, 2)
                for name, before in self._cpu_s.items()
            },
            "nats": {
                name: round((counts[name] - before) / count, 1)
                for name, before in self._counts.items()
            },
            "rss_mb": {
                name: round(sum(map(rss_mb, ones)) / len(ones), 1)
                for name, ones in self._house.processes.items()
                if ones
            },
        }


@contextmanager
def open_house(setup: Setup, quick: bool) -> Iterator[House]:
    """Broker, servers and witness. Gateways and workers come with the scenarios."""
    with ExitStack() as stack:
        house = House(stack, setup, quick)
        try:
            yield house
        except BaseException:
            for log in sorted(house.folder.rglob("*.log")):
                name = log.relative_to(house.folder)
                say(f"the end of {name}: {log.read_text()[-TAIL_CHARACTERS:]}")
            raise
