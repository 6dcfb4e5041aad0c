"""Hears all that a fleet says on its NATS servers, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.fleet.ledger import Done, Ledger
from stt_mqtt.fleet import wire
from stt_mqtt.fleet.subjects import CONSUMER, Subjects
from stt_mqtt.nodes import WorkerStatus
from tools.brokers import PATIENCE_S

MAX_HELD_MESSAGES = 65_536
"""Jobs whose utterance is remembered, so that a late result still finds it."""
RECONNECT_S = 0.1
TIMEOUT_S = 10

T = TypeVar("T")


class Redelivered(NamedTuple):
    """A job that a worker acknowledged although it was not the first one to have it."""

    at: float
    delivered: int


class Witness:
    """Notes jobs, results, acknowledgements and heartbeats; `ledger` gets the first two."""

    def __init__(self, fleet: str, servers: Sequence[str], ledger: Ledger) -> None:
        self.workers: dict[str, WorkerStatus] = {}
        """The last heartbeat of each worker."""
        self.ready_at: dict[str, float] = {}
        """When each worker first had slots, since `forget`."""
        self.gateways: set[str] = set()
        """The live ones."""
        self.done: list[Done] = []
        self.redelivered: list[Redelivered] = []
        self.garbage: Counter[str] = Counter()
        """Messages of no known version, by kind."""
        self._subjects = Subjects(fleet)
        self._servers = list(servers)
        self._ledger = ledger
        self._ids: dict[tuple[str, int], str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="witness")
        self._client = Client()

    def open(self) -> None:
        """Connect and subscribe."""
        self._thread.start()
        self._wait(self._connect())

    def close(self) -> None:
        """Leave the servers."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def forget(self, worker: str) -> None:
        """Await its next first heartbeat: it was killed."""
        self.workers.pop(worker, None)
        self.ready_at.pop(worker, None)

    def leader(self) -> str | None:
        """The name of the server that leads the stream of jobs; None: none does now."""
        info = self._ask(f"$JS.API.STREAM.INFO.{self._subjects.jobs}")
        leader: str | None = info.get("cluster", {}).get("leader")
        return leader

    def waiting(self) -> int | None:
        """Messages that the stream of jobs holds; None: it does not say."""
        messages: int | None = (
            self._ask(f"$JS.API.STREAM.INFO.{self._subjects.jobs}").get("state", {}).get("messages")
        )
        return messages

    def _ask(self, subject: str) -> dict[str, Any]:
        try:
            reply = self._wait(self._client.request(subject, b"", timeout=1.0))
        except (nats.errors.Error, TimeoutError):
            return {}
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _connect(self) -> None:
        await self._client.connect(
            self._servers,
            connect_timeout=TIMEOUT_S,
            max_reconnect_attempts=-1,
            # nats-py takes fractions of a second as well.
            reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]
            error_cb=self._ignore,
        )
        names = self._subjects
        heard: dict[str, Callable[[bytes, str], None]] = {
            names.job: self._job,
            names.result("*"): self._result,
            names.workers: self._heartbeat,
            f"$KV.{names.gateways}.*": self._gateway,
            f"$JS.ACK.{names.jobs}.{CONSUMER}.>": self._acknowledged,
        }
        for subject, handle in heard.items():
            await self._client.subscribe(subject, cb=self._checked(handle))
        await self._client.flush()

    async def _ignore(self, _error: Exception) -> None:
        """A server that goes away is what is measured."""

    def _checked(
        self, handle: Callable[[bytes, str], None]
    ) -> Callable[[Msg], Coroutine[Any, Any, None]]:
        async def heard(message: Msg) -> None:
            try:
                handle(message.data, message.subject)
            except wire.WireError:
                self.garbage[handle.__name__.strip("_")] += 1

        return heard

    def _job(self, data: bytes, _subject: str) -> None:
        now = time.monotonic()
        job = wire.decode_job(data, now)
        while len(self._ids) >= MAX_HELD_MESSAGES:
            self._ids.pop(next(iter(self._ids)))
        self._ids[job.gateway, job.number] = job.utterance.id
        self._ledger.published(job.utterance.id, now)

    def _result(self, data: bytes, subject: str) -> None:
        if not data:
            # Gateways ask each other whether they are there.
            return
        result = wire.decode_result(data)
        done = Done(time.monotonic(), result.worker)
        self.done.append(done)
        gateway = subject.rpartition(".")[2]
        if (id := self._ids.get((gateway, result.number))) is not None:
            self._ledger.done(id, done)

    def _heartbeat(self, data: bytes, _subject: str) -> None:
        status = wire.decode_worker(data)
        self.workers[status.worker] = status
        if status.slots:
            self.ready_at.setdefault(status.worker, time.monotonic())

    def _gateway(self, data: bytes, subject: str) -> None:
        name = subject.rpartition(".")[2]
        # A deleted entry is a message without data.
        (self.gateways.add if data else self.gateways.discard)(name)

    def _acknowledged(self, data: bytes, subject: str) -> None:
        if (delivered := deliveries(data, subject)) > 1:
            self.redelivered.append(Redelivered(time.monotonic(), delivered))


def deliveries(data: bytes, subject: str) -> int:
    """How often a message was delivered that is acknowledged; 0: it is not."""
    if data not in (b"", b"+ACK"):
        return 0
    # $JS.ACK.<stream>.<consumer>.<delivered>...; newer servers have domain and account before them.
    parts = subject.split(".")
    return int(parts[4 if len(parts) < 11 else 6])


def server_counts(http_port: int) -> dict[str, float]:
    """What a server has counted so far. Raises OSError if it does not answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/varz", timeout=TIMEOUT_S) as answer:
        varz = json.load(answer)
    keys = ("in_msgs", "out_msgs", "in_bytes", "out_bytes")
    return {key: float(varz[key]) for key in keys}
