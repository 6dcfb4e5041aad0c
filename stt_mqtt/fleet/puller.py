"""Pulls jobs from the stream for the free threads of a worker, and nothing before one is free.

Jobs that wait stay in the stream, where any worker can take them. A thread that becomes free alone
takes as many of them as it may transcribe together, but never waits for more. When a worker gives a
job back that is for another one, it pulls nothing for a moment, or it would get that job again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.capability import priority_of, refusal
from stt_mqtt.fleet.held import Delivery, Held, HeldJobs, quietly
from stt_mqtt.fleet.wire import Job, WireError, decode_job
from stt_mqtt.nodes import WorkerStatus

log = logging.getLogger(__name__)

SHORT_PULL_S = 0.02
"""A pull that ends sooner without a job was refused; the next one waits as long."""
AGAIN_S = 0.5
"""Wait after a failure: before the next pull, or before another worker may have the job."""
REST_S = 0.2
"""Time in which only other workers can have a job that this one gave back."""


class Pull(Protocol):
    """A request for jobs."""

    async def stop(self) -> None:
        """Withdraw it. Jobs that are on their way here are given back."""

    async def withdraw(self) -> None:
        """Withdraw it. Jobs that are on their way here still come."""


class PullLink(Protocol):
    """The connection, for pulls."""

    async def pull(
        self,
        count: int,
        priority: int,
        handle: Callable[[Delivery], None],
        on_end: Callable[[], None],
    ) -> Pull:
        """Ask for up to `count` jobs that wait, or else for the next one.

        Of several workers that ask, those with the lowest `priority` get jobs first. `on_end` is
        called when no more will come, also if the connection is lost. Raises `FleetError`.
        """


class Desk(Protocol):
    """Where the jobs of a worker are done."""

    @property
    def free(self) -> int:
        """Threads that nothing runs on or waits for."""

    @property
    def max_batch(self) -> int:
        """Most jobs that a thread does together."""

    @property
    def status(self) -> WorkerStatus:
        """What the worker tells of itself."""

    @property
    def others(self) -> Iterable[WorkerStatus]:
        """The other live workers."""

    def accept(self, jobs: Sequence[Held]) -> None:
        """Do jobs, together if possible."""


class Puller:
    """One pull for each free thread. Call `refill` when a thread may have become free."""

    def __init__(
        self,
        link: PullLink,
        held: HeldJobs,
        desk: Desk,
        max_deliver: int,
        now: Callable[[], float],
    ) -> None:
        self._link = link
        self._held = held
        self._desk = desk
        self._max_deliver = max_deliver
        self._now = now
        self._tasks: dict[asyncio.Task[None], Pull | None] = {}
        """One for each pull, until its jobs are at the desk."""
        self._asking = asyncio.Lock()
        """Held while a pull is made."""
        self._resting = 0
        """Tasks that let other workers have what they gave back. Meanwhile nothing is pulled."""
        self._connected = False
        self._stopped = asyncio.Event()
        self.garbage = 0
        """Messages that are no job of this version."""

    def refill(self) -> None:
        """Pull for every thread that is free and has no pull yet."""
        if self._stopped.is_set() or not self._connected or self._resting:
            return
        for _ in range(self._desk.free - len(self._tasks)):
            task = asyncio.create_task(self._pull())
            self._tasks[task] = None
            task.add_done_callback(self._ended)

    def connected(self) -> None:
        """The servers can be reached: pull."""
        self._connected = True
        self.refill()

    def lost(self) -> None:
        """The servers cannot be reached any more."""
        self._connected = False

    async def stop(self) -> None:
        """Pull no more. Jobs that come meanwhile are given back."""
        self._stopped.set()
        for pull in list(self._tasks.values()):
            if pull is not None:
                await pull.stop()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _pull(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        began_at = self._now()
        came: list[Delivery] = []
        ended = asyncio.Event()
        # While other threads are free, too, each takes one.
        count = self._desk.max_batch if self._desk.free == 1 else 1
        priority = priority_of(self._desk.status.cost)
        try:
            async with self._asking:
                if self._resting:
                    return
                pull = await self._link.pull(count, priority, came.append, ended.set)
                self._tasks[task] = pull
        except FleetError as error:
            log.warning("no jobs can be had: %s", error)
            await self._pause(AGAIN_S)
            return
        if self._stopped.is_set():
            await pull.stop()
        await ended.wait()
        self._tasks[task] = None
        taken = [held for delivery in came if (held := await self._hold(delivery))]
        if taken:
            await self._assign(taken)
        elif not came and self._now() - began_at < SHORT_PULL_S:
            await self._pause(SHORT_PULL_S)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("jobs could not be taken, please report this", exc_info=error)
        self.refill()

    async def _hold(self, delivery: Delivery) -> Held | None:
        """Hold a delivered job. None: it is none, or it is held already."""
        try:
            job = decode_job(delivery.data, self._now())
        except WireError as error:
            self.garbage += 1
            log.error(  # noqa: TRY400 - a traceback would say nothing more
                "a job was deleted that is none of this version: %s; run one version of stt-mqtt "
                "in the whole fleet",
                error,
            )
            await quietly(delivery.term())
            return None
        return self._held.take(job, delivery)

    async def _assign(self, taken: Sequence[Held]) -> None:
        """Have jobs done here, or give them back."""
        if self._stopped.is_set():
            for held in taken:
                self._held.give_back(held, 0.0)
            return
        ready: list[Held] = []
        later: list[Coroutine[Any, Any, None]] = []
        refused: list[tuple[Held, float]] = []
        for held in taken:
            delay_s = self._refusal_s(held.job, held.delivery.attempt)
            if delay_s is not None:
                refused.append((held, delay_s))
            elif held.job.stored:
                later.append(self._fetch(held))
            else:
                ready.append(held)
        if ready:
            self._desk.accept(ready)
        if refused:
            later.append(self._give_to_others(refused))
        await asyncio.gather(*later)

    async def _fetch(self, held: Held) -> None:
        """Have a job done as soon as its audio is here."""
        try:
            held.job = _with_audio(held.job, await held.delivery.fetch_audio())
        except FleetError as error:
            log.warning(
                "job %s: its audio cannot be fetched: %s", held.job.id, error, extra=held.where
            )
            self._held.give_back(held, AGAIN_S)
            return
        if self._stopped.is_set():
            self._held.give_back(held, 0.0)
        else:
            self._desk.accept([held])

    async def _give_to_others(self, refused: Sequence[tuple[Held, float]]) -> None:
        """Give jobs back, each with its delay. No pull of this worker waits that could get them."""
        self._resting += 1
        try:
            async with self._asking:
                waiting = [pull for pull in self._tasks.values() if pull is not None]
            await asyncio.gather(*(pull.withdraw() for pull in waiting))
            for held, delay_s in refused:
                self._held.give_back(held, delay_s)
            await self._pause(max(delay_s for _, delay_s in refused) + REST_S)
        finally:
            self._resting -= 1
        self.refill()

    def _refusal_s(self, job: Job, attempt: int) -> float | None:
        """The delay after which a job is for another worker; None: it is for this one."""
        desk = self._desk
        refused = refusal(job, attempt, self._max_deliver, desk.status, desk.others)
        if refused is None:
            return None
        log.info("job %s is given back: %s", job.id, refused.reason)
        return refused.delay_s


def _with_audio(job: Job, data: bytes) -> Job:
    utterance = job.utterance
    audio = replace(utterance.audio, data=data)
    return replace(job, utterance=replace(utterance, audio=audio))
