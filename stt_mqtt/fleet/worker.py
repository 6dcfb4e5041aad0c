"""A worker of the fleet: it pulls jobs, has them transcribed, and tells their results.

Runs on the event loop. It has no doors and no devices. What transcribes is passed to `attach_pool`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil, inf
from typing import Protocol

from stt_mqtt.config import AUTO, FleetConfig, LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.scheduler import Capacity, Pool, Scheduler
from stt_mqtt.errors import FleetError, OverloadedError, ShuttingDownError
from stt_mqtt.fleet.capability import Backlog, CostMeter
from stt_mqtt.fleet.held import Held, HeldJobs, ResultLink
from stt_mqtt.fleet.puller import AGAIN_S, Puller, PullLink
from stt_mqtt.fleet.roster import Roster
from stt_mqtt.fleet.wire import WireError, decode_worker, encode_worker
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.observe.metrics import Metrics
from stt_mqtt.rungs import RungStatus
from stt_mqtt.types import Batch, InferenceResult, Verdict

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
"""Time between two heartbeats of a worker on which nothing changes."""
BETWEEN_S = 0.1
"""Shortest time between two heartbeats."""
NAMESAKE_LOG_INTERVAL_S = 60.0
"""Shortest time between two complaints about another worker with the same name."""


class WorkerLink(PullLink, ResultLink, Protocol):
    """The connection to the servers, for a worker."""

    async def say_worker(self, data: bytes) -> None:
        """Tell everybody of this worker. Raises `FleetError`."""


class FleetWorker:
    """Takes jobs of the fleet while it has free threads, and answers each.

    `node`: its name. `now`: monotonic seconds. Call `connected`, `lost` and `heard` when the
    connection says so.
    """

    def __init__(
        self,
        link: WorkerLink,
        config: FleetConfig,
        limits: LimitsConfig,
        node: str,
        now: Callable[[], float],
    ) -> None:
        self.scheduler = Scheduler(limits)
        self.metrics = Metrics()
        self.rung_status = RungStatus((), AUTO, "", "the model is loading")
        """The state of the ladder. `LadderRunner` replaces it."""
        self.languages: frozenset[str] = frozenset()
        """Codes of the languages that the models understand; empty: unknown."""
        self.stuck = asyncio.Event()
        """Set when all threads hang."""
        self._link = link
        self._node = node
        self._instance = secrets.token_hex(4)
        self._namesake_quiet_until = -inf
        self._now = now
        self._model = ""
        self._pool: Pool | None = None
        self._busy = 0
        self._leaving = False
        self._drained = asyncio.Event()
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._roster = Roster()
        self._cost = CostMeter()
        self._backlog = Backlog()
        self._held = HeldJobs(link, node, self._ready, now)
        self._puller = Puller(link, self._held, self, config.max_deliver, now)

    # The connection ------------------------------------------------------------------------

    def connected(self) -> None:
        """The servers can be reached."""
        self._ready.set()
        self._changed.set()
        self._puller.connected()

    def lost(self) -> None:
        """The servers cannot be reached any more."""
        self._ready.clear()
        self._puller.lost()

    def heard(self, data: bytes) -> None:
        """A worker told of itself, maybe this one."""
        try:
            status = decode_worker(data)
        except WireError as error:
            log.debug("a heartbeat cannot be read: %s", error)
            return
        now = self._now()
        self._roster.heard(status, now)
        is_namesake = status.worker == self._node and status.instance != self._instance
        if is_namesake and not status.leaving and now >= self._namesake_quiet_until:
            self._namesake_quiet_until = now + NAMESAKE_LOG_INTERVAL_S
            log.error(
                "another worker of the fleet is also called %s, so gateways count both as one: "
                "give each process its own fleet.node",
                self._node,
            )

    # The life of the worker ----------------------------------------------------------------

    async def run(self) -> None:
        """Tell of itself and of what it does, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            tasks.create_task(self._keep())

    def attach_pool(self, pool: Pool, capacity: Capacity) -> None:
        """The model is loaded: take jobs."""
        self._pool = pool
        self.scheduler.attach_pool(self, capacity, self._now())
        self._changed.set()
        self._puller.refill()

    def use(self, model: str, cost: float) -> None:
        """A model is in use. `cost`: seconds of a thread for a second of speech, as measured."""
        self._model = model
        self._cost.restart(cost)
        self._changed.set()

    async def leave(self, grace_s: float, closing_s: float) -> None:
        """Take no more jobs, and end those that are being done.

        What is not done in `grace_s` seconds is given to other workers. The last results have
        `closing_s` seconds.
        """
        self._leaving = True
        await self._say()
        await self._puller.stop()
        for key in {held.job.utterance.key for held in self._held}:
            self._settle(self.scheduler.withdraw(key, self._now()))
        self._note()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._drained.wait()
        self._settle(self.scheduler.abandon(self._now()))
        await self._held.settle(closing_s)

    # The threads ---------------------------------------------------------------------------

    def submit(self, batch: Batch) -> None:
        """Have a batch transcribed. For the scheduler, this worker is the pool."""
        assert self._pool is not None
        self._busy += 1
        self._changed.set()
        may_retry = all(_held(utterance.context).job.may_retry for utterance in batch.utterances)
        self._pool.submit(replace(batch, may_retry=batch.may_retry and may_retry))

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        """A thread gave the verdict on one utterance of a batch."""
        if isinstance(verdict, InferenceResult) and verdict.work_s and verdict.audio_s:
            self._cost.note(verdict.work_s, verdict.audio_s)
        self._settle(self.scheduler.verdict(batch, index, verdict, self._now()))
        self._note()

    def finished(self, batch: int) -> None:
        """A thread has finished a batch."""
        self._busy -= 1
        self._changed.set()
        self._settle(self.scheduler.finished(batch, self._now()))
        self._note()
        self._puller.refill()

    # What the puller asks ------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Threads that nothing runs on or waits for."""
        waiting = ceil(self.scheduler.queue.jobs / self.max_batch)
        return self.scheduler.workers - self._busy - waiting

    @property
    def max_batch(self) -> int:
        """Most jobs that a thread does together."""
        return self.scheduler.max_batch

    @property
    def status(self) -> WorkerStatus:
        """What it tells of itself."""
        return WorkerStatus(
            worker=self._node,
            threads=self.scheduler.workers - self.scheduler.hanging,
            max_batch=self.max_batch,
            busy=self._busy - self.scheduler.hanging,
            cost=self._cost.cost,
            rung=self.rung_status.active,
            model=self._model,
            languages=self.languages,
            done=self._held.done,
            failed=self._held.failed + self._puller.garbage,
            leaving=self._leaving,
            instance=self._instance,
        )

    @property
    def others(self) -> list[WorkerStatus]:
        """The other live workers."""
        self._roster.expire(self._now())
        return [status for status in self._roster.workers if status.worker != self._node]

    @property
    def backlog(self) -> tuple[int, float]:
        """Utterances that wait at the gateways for this worker, and their seconds of audio."""
        return self._backlog.share(self.status, self.others, self._now())

    def accept(self, jobs: Sequence[Held]) -> None:
        """Do jobs, together if possible."""
        now = self._now()
        for held in jobs:
            self._backlog.note(held.job, now)
            utterance = replace(held.job.utterance, age_s=0.0, context=held)
            self._settle(self.scheduler.put(utterance, now, starts=False))
        self._settle(self.scheduler.tick(now))

    # Internals -----------------------------------------------------------------------------

    def _settle(self, answers: Iterable[Answer | Glimpse]) -> None:
        for answer in answers:
            held, verdict = _held(answer.utterance.context), answer.verdict
            if verdict is None or isinstance(verdict, ShuttingDownError):
                self._held.give_back(held, 0.0)
            elif isinstance(verdict, OverloadedError):
                self._held.give_back(held, AGAIN_S)
            else:
                self._held.answer(held, verdict)

    def _note(self) -> None:
        """Notice the end of all work, or that no thread can end its work."""
        if self.scheduler.all_stuck:
            self.stuck.set()
        if self._leaving and (self.scheduler.drained or self.scheduler.all_stuck):
            self._drained.set()

    async def _tell(self) -> None:
        while True:
            self._changed.clear()
            await self._say()
            await asyncio.sleep(BETWEEN_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S - BETWEEN_S):
                    await self._changed.wait()

    async def _say(self) -> None:
        if self._ready.is_set():
            with suppress(FleetError):
                await self._link.say_worker(encode_worker(self.status))

    async def _keep(self) -> None:
        """Keep the jobs alive, and notice threads that hang."""
        while True:
            await asyncio.sleep(min(self._link.ack_wait_s / 3, HEARTBEAT_S))
            try:
                await self._held.keep()
                self._settle(self.scheduler.tick(self._now()))
                self._note()
            except Exception:
                log.exception("jobs could not be kept alive, please report this")


def _held(context: object) -> Held:
    """The job of an utterance. `context`: that of the utterance."""
    assert isinstance(context, Held)
    return context
