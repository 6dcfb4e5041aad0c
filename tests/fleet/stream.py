"""A stream of jobs in memory, with the connections of workers to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.held import Delivery
from stt_mqtt.fleet.wire import Job, JobResult, decode_result, decode_worker, encode_job
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import AudioFormat, DeviceKey, EncodedAudio, EndReason, Utterance

SECOND = bytes(32_000)


def utterance(name: str, seconds: float = 1.0, language: str | None = "en") -> Utterance:
    return Utterance(
        key=DeviceKey("native", name),
        id=f"of {name}",
        audio=EncodedAudio(AudioFormat(), SECOND),
        language=language,
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
        seconds=seconds,
    )


def job(number: int, left_s: float = 10.0, seconds: float = 1.0, language: str = "en") -> Job:
    """A job of the gateway `hall`, from a device of its own."""
    spoken = utterance(f"room{number}", seconds, language)
    return Job("hall", number, 1, left_s, True, spoken)


@dataclass
class FakeDelivery:
    """A delivery that remembers what was said of it."""

    data: bytes
    attempt: int = 1
    said: list[object] = field(default_factory=list)
    audio: bytes | None = None
    """What the object store has for it."""

    async def ack(self) -> None:
        self.said.append("ack")

    async def nak(self, delay_s: float) -> None:
        self.said.append(("nak", round(delay_s, 3)))

    async def term(self) -> None:
        self.said.append("term")

    async def working(self) -> None:
        self.said.append("working")

    async def fetch_audio(self) -> bytes:
        if self.audio is None:
            raise FleetError("no such object")
        return self.audio


@dataclass(eq=False)
class FakePull:
    """A request of a worker for jobs."""

    count: int
    priority: int
    handle: Callable[[Delivery], None]
    on_end: Callable[[], None]
    over: bool = False
    coming: list[Delivery] = field(default_factory=list)
    """On their way when it is withdrawn."""

    def give(self, jobs: Sequence[Delivery]) -> None:
        """Deliver jobs, which ends it."""
        for one in jobs:
            self.handle(one)
        self.over = True
        self.on_end()

    async def stop(self) -> None:
        if not self.over:
            self.give([])

    async def withdraw(self) -> None:
        if not self.over:
            await asyncio.sleep(0)
            self.give(self.coming)


class FakeStream:
    """The servers, for workers. A gateway that is in `answers` takes results or is too late."""

    ack_wait_s = 3.0

    def __init__(self) -> None:
        self.waiting: list[FakeDelivery] = []
        self.pulls: list[FakePull] = []
        self.answers: dict[str, bool] = {"hall": True}
        self.results: list[JobResult] = []
        self.told: list[float] = []
        """When a result was told."""
        self.heartbeats: list[tuple[float, WorkerStatus]] = []
        self.broken = False
        self.slow: asyncio.Event | None = None
        """What the next pulls wait for."""

    def publish(self, *jobs: Job | FakeDelivery) -> list[FakeDelivery]:
        """Put jobs into the stream, together."""
        new = [
            one if isinstance(one, FakeDelivery) else FakeDelivery(encode_job(one)) for one in jobs
        ]
        self.waiting += new
        self._deliver()
        return new

    @property
    def open_pulls(self) -> list[FakePull]:
        """The pulls that wait for a job."""
        return [pull for pull in self.pulls if not pull.over]

    async def pull(
        self,
        count: int,
        priority: int,
        handle: Callable[[Delivery], None],
        on_end: Callable[[], None],
    ) -> FakePull:
        if self.broken:
            raise FleetError("the consumer is gone")
        if self.slow is not None:
            await self.slow.wait()
        pull = FakePull(count, priority, handle, on_end)
        self.pulls.append(pull)
        self._deliver()
        return pull

    def lose(self) -> None:
        """The connection is lost, and its pulls with it."""
        for pull in self.open_pulls:
            pull.give([])

    async def tell_result(self, gateway: str, data: bytes, timeout_s: float) -> bool | None:
        self.told.append(asyncio.get_running_loop().time())
        if self.broken:
            raise FleetError("away")
        if gateway not in self.answers:
            await asyncio.sleep(timeout_s)
            return None
        self.results.append(decode_result(data))
        return self.answers[gateway]

    async def say_worker(self, data: bytes) -> None:
        self.heartbeats.append((asyncio.get_running_loop().time(), decode_worker(data)))

    def _deliver(self) -> None:
        for pull in sorted(self.open_pulls, key=lambda pull: pull.priority):
            got, self.waiting = self.waiting[: pull.count], self.waiting[pull.count :]
            if got:
                pull.give(got)
