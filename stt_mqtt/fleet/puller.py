"""Pulls jobs from the stream for the free threads of a worker, and nothing before one is free.

Jobs that wait stay in the stream, where any worker can take them. A thread that becomes free alone
takes as many of them as it may transcribe together, but never waits for more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

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


class Pull(Protocol):
    """A request for jobs."""

    async def stop(self) -> None:
        """Withdraw it. Jobs that are on their way here are given back."""


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
        self._connected = False
        self._stopped = asyncio.Event()
        self.garbage = 0
        """Messages that are no job of this version."""

    def refill(self) -> None:
        """Pull for every thread that is free and has no pull yet."""
        if self._stopped.is_set() or not self._connected:
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
            pull = await self._link.pull(count, priority, came.append, ended.set)
        except FleetError as error:
            log.warning("no jobs can be had: %s", error)
            await self._pause(AGAIN_S)
            return
        self._tasks[task] = pull
        if self._stopped.is_set():
            await pull.stop()
        await ended.wait()
        self._tasks[task] = None
        taken = [held for delivery in came if (held := await self._take(delivery))]
        if self._stopped.is_set():
            for held in taken:
                self._held.give_back(held, 0.0)
        elif taken:
            self._desk.accept(taken)
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

    async def _take(self, delivery: Delivery) -> Held | None:
        """Hold a delivered job, if it is for this worker."""
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
        held = self._held.take(job, delivery)
        if held is None:
            return None
        delay_s = self._refusal_s(job, delivery.attempt)
        if delay_s is None and job.stored:
            try:
                held.job = _with_audio(job, await delivery.fetch_audio())
            except FleetError as error:
                log.warning(
                    "job %s: its audio cannot be fetched: %s", job.id, error, extra=held.where
                )
                delay_s = AGAIN_S
        if delay_s is not None:
            self._held.give_back(held, delay_s)
            return None
        return held

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
