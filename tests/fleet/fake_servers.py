"""NATS servers of a fleet in memory, as a gateway sees them, and a gateway without doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stt_mqtt.config import Config
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.scheduler import Capacity, Scheduler
from stt_mqtt.errors import FleetError, JobsFullError, UtteranceError
from stt_mqtt.fleet.gateway import FleetPool, GatewayCallbacks
from stt_mqtt.fleet.wire import Job, JobResult, encode_job, encode_result, encode_worker
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import Utterance, Verdict
from tests.core.test_queue import utterance
from tests.fakes import FakeClock, FakePool, heard


def worker(name: str = "pc", **fields: Any) -> WorkerStatus:
    """A worker with a thread."""
    wanted: dict[str, Any] = {
        "threads": 1,
        "max_batch": 1,
        "busy": 0,
        "cost": 0.1,
        "rung": "default",
        "model": "base",
        "languages": frozenset({"en", "de"}),
    }
    return WorkerStatus(name, **wanted | fields)


def _nothing() -> None:
    pass


@dataclass
class FakeServers:
    """The connection of a gateway, and what the servers behind it hold."""

    connected: bool = True
    failure: str | None = None
    is_full: bool = False
    is_slow: bool = False
    """Whether publications wait for `store`."""
    breaks: Exception | None = None
    """What happens to the next publications."""
    stream: dict[int, Job] = field(default_factory=dict)
    """What no worker has acknowledged."""
    published: list[Job] = field(default_factory=list)
    forgotten: list[tuple[str, int | None]] = field(default_factory=list)
    is_open: bool = False
    _numbers: dict[str, int] = field(default_factory=dict)
    _last: int = 0
    _slow: list[asyncio.Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_ready: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self.entry: bytes | None = None
        """What the gateway says of itself in the bucket."""
        self.names: list[bytes] = []
        """What workers were told of the names of the home."""
        self._hear: list[Callable[[bytes], None]] = []

    async def open(self) -> None:
        self.is_open = True

    async def close(self, timeout_s: float) -> None:
        self.is_open = False

    async def publish_job(self, job: Job) -> int | None:
        encode_job(job)
        if self.is_slow:
            self._slow.append(asyncio.get_running_loop().create_future())
            await self._slow[-1]
        if self.breaks is not None:
            raise self.breaks
        if not self.connected:
            raise FleetError("the servers are away")
        if self.is_full:
            raise JobsFullError("the stream is full")
        self.published.append(job)
        number = self._numbers.get(job.id)
        if number not in self.stream:
            self._last += 1
            number = self._numbers[job.id] = self._last
        assert number is not None
        self.stream[number] = job
        return number

    def store(self) -> None:
        """Answer the slow publications."""
        for waiting in self._slow:
            if not waiting.done():
                waiting.set_result(None)
        self._slow.clear()

    async def forget_job(self, job_id: str, sequence: int | None) -> None:
        self.forgotten.append((job_id, sequence))
        if sequence is not None:
            self.stream.pop(sequence, None)

    async def answer_results(self, handle: Callable[[bytes], bool]) -> None:
        self.tell_result = handle

    async def hear_workers(self, handle: Callable[[bytes], None]) -> None:
        self._hear.append(handle)

    async def say_names(self, data: bytes) -> None:
        self.names.append(data)

    async def say_gateway(self, data: bytes) -> None:
        self.entry = data

    async def leave_gateway(self) -> None:
        self.entry = None

    async def watch_gateways(self, handle: Callable[[str, bytes | None], None]) -> None:
        self.tell_of_gateway = handle

    async def hear_failures(self, handle: Callable[[int], None]) -> None:
        self.give_up = handle

    def hear(self, status: WorkerStatus) -> None:
        """A worker tells of itself."""
        self.hear_bytes(encode_worker(status))

    def hear_bytes(self, data: bytes) -> None:
        for handle in self._hear:
            handle(data)

    def answer(self, job: Job, verdict: Verdict | None = None) -> bool:
        """A worker tells its result. Return whether it was in time."""
        result = JobResult(job.number, "pc", heard() if verdict is None else verdict)
        return self.tell_result(encode_result(result))

    def acknowledge(self, job: Job) -> None:
        self.stream = {number: one for number, one in self.stream.items() if one.id != job.id}

    def lose(self, failure: str = "the cable was pulled") -> None:
        self.connected, self.failure = False, failure
        self.on_lost()

    def come(self) -> None:
        self.connected, self.failure = True, None
        self.on_ready()


CONFIG = Config.model_validate(
    {
        "fleet": {"role": "gateway", "node": "gw"},
        "limits": {"max_queue_age_s": 10.0, "inference_timeout_s": 20.0, "max_queued": 20},
    }
)


class House:
    """A gateway without doors: a scheduler and its fleet, on a loop that stands still.

    `threads`: its own, which answer when the test says so.
    """

    def __init__(self, threads: int = 0) -> None:
        self.clock = FakeClock()
        self.servers = FakeServers()
        self.scheduler = Scheduler(CONFIG.limits)
        self.answers: list[Answer | Glimpse] = []
        self.loop = asyncio.new_event_loop()
        self.own = FakePool()
        callbacks = GatewayCallbacks(self.verdict, self.finished, self._changed, self._waiting)
        self.pool = FleetPool(self.servers, "gw", CONFIG, self.clock, callbacks)
        self.scheduler.attach_fleet(self.pool, 1.5)
        self.loop.run_until_complete(self.pool.open())
        if threads:
            self.scheduler.attach_pool(self.own, Capacity(threads, 1), self.clock.now())

    def settle(self) -> None:
        """Let everything happen that can happen now."""

        async def turns() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def say(self, *ids: str, seconds: float = 1.0) -> None:
        """Each in a room of its own."""
        for id in ids:
            self.put(utterance(id, id, seconds, ended_at=self.clock.now()))
        self.settle()

    def put(self, spoken: Utterance) -> None:
        self.answers += self.scheduler.put(spoken, self.clock.now())

    def hear(self, *workers: WorkerStatus) -> None:
        for one in workers or (worker(),):
            self.servers.hear(one)
        self.settle()

    def wait(self, seconds: float, *alive: WorkerStatus) -> None:
        """Let time pass as the timer of the service does. Those who are `alive` say so."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            for one in alive:
                self.servers.hear(one)
            moments = (self.pool.deadline, self.scheduler.deadline, self.clock.now() + 1.0, end)
            at = min(at for at in moments if at is not None)
            self.clock.advance(max(at - self.clock.now(), 0.001))
            self.tick()

    def tick(self) -> None:
        self.pool.tick()
        self.answers += self.scheduler.tick(self.clock.now())
        self.settle()

    def answer(self, id: str, verdict: Verdict | None = None) -> bool:
        """A worker has done the job of an utterance."""
        job = self.job(id)
        taken = self.servers.answer(job, verdict)
        self.servers.acknowledge(job)
        self.settle()
        return taken

    def answer_here(self, verdict: Verdict | None = None) -> None:
        """A thread of this process ends what it has."""
        self.own.answer(self, verdict or heard())
        self.settle()

    def job(self, id: str) -> Job:
        """The newest job of an utterance."""
        return [job for job in self.servers.published if job.utterance.id == id][-1]

    @property
    def jobs(self) -> list[str]:
        """What no worker has acknowledged."""
        return [job.utterance.id for job in self.servers.stream.values()]

    @property
    def answered(self) -> dict[str, str]:
        """What became of each utterance: a code, or that it was heard. One answer each."""
        found: dict[str, str] = {}
        for answer in self.answers:
            assert answer.utterance.id not in found
            verdict = answer.verdict
            found[answer.utterance.id] = (
                verdict.code if isinstance(verdict, UtteranceError) else "heard"
            )
        return found

    def error(self, id: str) -> str:
        (error,) = (one.verdict for one in self.answers if one.utterance.id == id)
        return str(error)

    def close(self) -> None:
        self.loop.run_until_complete(self.pool.close())
        self.loop.close()

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        self.answers += self.scheduler.verdict(batch, index, verdict, self.clock.now())

    def finished(self, batch: int) -> None:
        self.answers += self.scheduler.finished(batch, self.clock.now())

    def _changed(self) -> None:
        self.scheduler.resize(self.pool.lanes, self.clock.now())

    def _waiting(self) -> tuple[int, float]:
        return self.scheduler.queue.jobs, self.scheduler.queue.audio_s
