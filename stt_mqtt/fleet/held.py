"""The jobs that a worker holds, from their delivery to their acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.wire import Job, JobResult, encode_result
from stt_mqtt.types import InferenceResult, Verdict

log = logging.getLogger(__name__)

TRIES = 3
"""How often a result is told to a gateway that does not answer, before it counts as gone."""
KEPT_S = 30.0
"""How long a result is kept while the servers are away, in seconds."""


class Delivery(Protocol):
    """A job as the server delivered it. The methods raise `FleetError`."""

    @property
    def data(self) -> bytes:
        """The job as a message."""

    @property
    def attempt(self) -> int:
        """How often the server delivered it; 1: for the first time."""

    async def ack(self) -> None:
        """It is done: the server deletes it."""

    async def nak(self, delay_s: float) -> None:
        """Another worker may have it, after `delay_s` seconds."""

    async def term(self) -> None:
        """Nobody can do it: the server deletes it."""

    async def working(self) -> None:
        """It is being done: the server waits for it for another `ack_wait`."""

    async def fetch_audio(self) -> bytes:
        """The audio of a job that is `stored`."""


class ResultLink(Protocol):
    """The connection, for results."""

    @property
    def ack_wait_s(self) -> float:
        """Time after which the servers give a job to another worker, in seconds."""

    async def tell_result(self, gateway: str, data: bytes, timeout_s: float) -> bool | None:
        """Tell a gateway a result. True: it took it; False: too late; None: it does not answer."""


@dataclass(slots=True, eq=False)
class Held:
    """A job that this worker holds. `since`: monotonic seconds. `delivery`: the latest one."""

    job: Job
    delivery: Delivery
    since: float
    answered: bool = False
    """Whether its verdict is known."""

    @property
    def where(self) -> dict[str, str]:
        """Which device and utterance a line of the log is about."""
        return {"device": str(self.job.utterance.key), "utterance": self.job.utterance.id}


class HeldJobs:
    """Keeps jobs alive at the server, tells their results, and acknowledges them.

    `ready`: set while the servers can be reached.
    """

    def __init__(
        self,
        link: ResultLink,
        node: str,
        ready: asyncio.Event,
        now: Callable[[], float],
    ) -> None:
        self._link = link
        self._node = node
        self._ready = ready
        self._now = now
        self._held: dict[str, Held] = {}
        """By id of the job."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = 0
        """Jobs with a result."""
        self.failed = 0
        """Jobs that ended with an error."""

    def __iter__(self) -> Iterator[Held]:
        """The jobs that are held now."""
        return iter(list(self._held.values()))

    def take(self, job: Job, delivery: Delivery) -> Held | None:
        """Hold a job. None: it is held already, and its new delivery counts from now on."""
        known = self._held.get(job.id)
        if known is not None:
            known.delivery = delivery
            return None
        held = self._held[job.id] = Held(job, delivery, self._now())
        return held

    def answer(self, held: Held, verdict: Verdict) -> None:
        """Tell the gateway the verdict, then acknowledge the job."""
        held.answered = True
        if isinstance(verdict, InferenceResult):
            self.done += 1
        else:
            self.failed += 1
        self._start(self._answer(held, verdict))

    def give_back(self, held: Held, delay_s: float) -> None:
        """Let another worker do a job, after `delay_s` seconds."""
        self._held.pop(held.job.id)
        self._start(quietly(held.delivery.nak(delay_s)))

    async def keep(self) -> None:
        """Tell the server that all jobs are being done. Call this every third of `ack_wait`."""
        for held in self:
            await quietly(held.delivery.working())

    async def settle(self, timeout_s: float) -> None:
        """Wait until what is being told and acknowledged is."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def _answer(self, held: Held, verdict: Verdict) -> None:
        job = held.job
        data = encode_result(JobResult(job.number, self._node, verdict))
        taken = await self._told(job.gateway, data)
        what = "done" if isinstance(verdict, InferenceResult) else f"ended with {verdict.code}"
        took_s = self._now() - held.since
        if taken is None:
            log.warning(
                "job %s: %s in %.3f s, but its gateway does not answer: the result is dropped",
                job.id,
                what,
                took_s,
                extra=held.where,
            )
        elif not taken:
            log.warning("job %s: %s in %.3f s, too late", job.id, what, took_s, extra=held.where)
        else:
            log.info("job %s: %s in %.3f s", job.id, what, took_s, extra=held.where)
        await quietly(held.delivery.ack())
        del self._held[job.id]

    async def _told(self, gateway: str, data: bytes) -> bool | None:
        """Tell a result. While the servers are away, wait for them."""
        until = self._now() + KEPT_S
        try_s = self._link.ack_wait_s / TRIES
        for _ in range(TRIES):
            with suppress(TimeoutError):
                async with asyncio.timeout(until - self._now()):
                    await self._ready.wait()
            tried_at = self._now()
            with suppress(FleetError):
                taken = await self._link.tell_result(gateway, data, try_s)
                if taken is not None:
                    return taken
            # A server says at once that nobody listens. The gateway may come back.
            await asyncio.sleep(tried_at + try_s - self._now())
        return None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def quietly(said: Coroutine[Any, Any, None]) -> None:
    """Tell the server something. If it is away, it gives the job to another worker by itself."""
    with suppress(FleetError):
        await said
