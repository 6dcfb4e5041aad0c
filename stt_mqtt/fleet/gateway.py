"""The gateway's side of a fleet: utterances become jobs, and their results become verdicts.

Runs on the event loop. Each utterance has exactly one verdict: the first result, or an error when
its time is over. What comes later is dropped and counted. A job is published again after each loss
of the connection, because the server may have forgotten it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from stt_mqtt.audio.buffer import estimated_seconds
from stt_mqtt.config import Config
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.refusals import too_old, unless_late
from stt_mqtt.errors import (
    ExpiredError,
    FleetError,
    InferenceFailedError,
    JobsFullError,
    ModelUnavailableError,
    OverloadedError,
    UtteranceError,
)
from stt_mqtt.fleet.flight import Flight, JobConnection
from stt_mqtt.fleet.roster import Roster
from stt_mqtt.fleet.wire import Job, WireError, decode_result, decode_worker
from stt_mqtt.types import Batch, Utterance, Verdict

log = logging.getLogger(__name__)

SPARE_S = 1.0
"""Time of a job beyond `fleet.ack_wait_s`, so that a second worker can do it."""
PATIENCE = 3.0
"""A job may take this many times what the slowest live worker needs for it."""
RETRY_S = 1.0
"""Time until a job is published again that could not be published."""
CLOSE_TIMEOUT_S = 2.0
"""Time for withdrawing jobs from the server at the end."""


@dataclass(frozen=True, slots=True)
class GatewayCallbacks:
    """Callbacks of a `FleetPool`. `verdict` and `finished`: as those of an `InferencePool`.

    `changed`: the workers, the connection or the deadline may have changed. `waiting`: tells how
    many utterances wait at this gateway, and their seconds of audio.
    """

    verdict: Callable[[int, int, Verdict], None]
    finished: Callable[[int], None]
    changed: Callable[[], None]
    waiting: Callable[[], tuple[int, float]]


class FleetPool:
    """Has a fleet transcribe, as an inference pool.

    A job is due `limits.max_queue_age_s` after the end of its utterance, but not before a second
    worker had time for it: `fleet.ack_wait_s`, one second, and three times the work of the slowest
    live worker, of which at most `limits.inference_timeout_s` count. Without a result it then ends
    with `model_unavailable` if no worker takes jobs, otherwise with `expired`. It also ends with
    `expired` if its inference has not begun when the speech is `limits.max_age_s` old.
    """

    def __init__(
        self,
        connection: JobConnection,
        gateway: str,
        config: Config,
        clock: Clock,
        callbacks: GatewayCallbacks,
    ) -> None:
        """`gateway`: the name of this process."""
        assert config.fleet is not None
        self._connection = connection
        self._gateway = gateway
        self._config = config.fleet
        self._limits = config.limits
        self._clock = clock
        self._callbacks = callbacks
        self._next_number = int(clock.epoch() * 1000)
        """Numbers begin with the time of the start in ms, so those of earlier runs never return."""
        self._flights: dict[int, Flight] = {}
        """By their numbers."""
        self._left: dict[int, int] = {}
        """Utterances without a verdict, by the number of their batch."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.roster = Roster()
        self.late = 0
        """Results that came too late, or twice."""
        self.again = 0
        """Jobs that were published again."""

    async def open(self) -> None:
        """Listen to results, workers and failures. Publish what waits at each connection."""
        self._loop = asyncio.get_running_loop()
        self._connection.on_ready = self._ready
        self._connection.on_lost = self._callbacks.changed
        await self._connection.answer_results(self._take_result)
        await self._connection.hear_workers(self._hear_worker)
        await self._connection.hear_failures(self._give_up)

    @property
    def lanes(self) -> int:
        """Utterances that the fleet can hold at the same time."""
        return self.roster.slots

    @property
    def is_gone(self) -> bool:
        """Whether no worker does any more what was published."""
        return not self.roster.serves

    @property
    def absence(self) -> str:
        """Why no worker takes a job, as a sentence."""
        if not self._connection.connected:
            reason = self._connection.failure or "not connected yet"
            return f"the NATS servers of the fleet are away: {reason}"
        if self.roster.workers:
            return "the workers of the fleet are still loading their models"
        return "no worker of the fleet is there"

    @property
    def in_flight(self) -> int:
        """Jobs without a result."""
        return sum(self._left.values())

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        moments = [flight.due_at for flight in self._flights.values()]
        if self._connection.connected:
            retries = (flight.retry_at for flight in self._flights.values())
            moments += [at for at in retries if at is not None]
        if self.roster.deadline is not None:
            moments.append(self.roster.deadline)
        return min(moments, default=None)

    def submit(self, batch: Batch) -> None:
        """Publish the utterances of a batch. Its verdicts come later, never within this call."""
        now = self._clock.now()
        self._left[batch.number] = len(batch.utterances)
        for index, utterance in enumerate(batch.utterances):
            number, self._next_number = self._next_number, self._next_number + 1
            due_at = self._due_at(utterance, now)
            flight = Flight(number, batch.number, index, utterance, batch.may_retry, due_at)
            self._flights[number] = flight
            self._publish(flight)

    def forget(self, batch: int) -> None:
        """Withdraw the jobs of a batch. Their results are too late from now on."""
        del self._left[batch]
        for flight in list(self._flights.values()):
            if flight.batch == batch:
                self._drop(flight)

    def tick(self) -> None:
        """End what is due, publish again what could not be published, forget workers."""
        now = self._clock.now()
        served = self.roster.serves
        gone = self.roster.expire(now)
        for worker in gone:
            log.warning("worker %s of the fleet is gone: it says nothing any more", worker)
        if gone or self.roster.serves != served:
            self._callbacks.changed()
        for flight in list(self._flights.values()):
            if flight.is_over:
                continue
            if now >= flight.due_at:
                self._end(flight, self._overdue(flight, now), is_withdrawn=True)
            elif self._connection.connected and now >= (flight.retry_at or inf):
                self._publish(flight)

    async def close(self) -> None:
        """Withdraw the jobs that have no result. Their verdicts are not told any more."""
        for flight in list(self._flights.values()):
            self._drop(flight)
        self._left.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()

    def _due_at(self, utterance: Utterance, now: float) -> float:
        limits = self._limits
        seconds = utterance.seconds or estimated_seconds(utterance.audio)
        work_s = PATIENCE * self.roster.slowest_cost * min(seconds, limits.max_utterance_s)
        allowed_s = SPARE_S + min(work_s, limits.inference_timeout_s)
        too_old_at = utterance.ended_at + limits.max_age_s - utterance.age_s
        patient_at = now + self._config.ack_wait_s + allowed_s
        # What has begun in time may end, as in a thread of this process.
        return min(
            max(utterance.ended_at + limits.max_queue_age_s, patient_at), too_old_at + allowed_s
        )

    def _overdue(self, flight: Flight, now: float) -> UtteranceError:
        """Why a job ends without a result."""
        waited_s = now - flight.utterance.ended_at
        if waited_s < self._limits.max_queue_age_s:
            return too_old(flight.utterance, now, self._limits)
        if not self.lanes or not self._connection.connected:
            return ModelUnavailableError(self.absence)
        return ExpiredError(f"no worker of the fleet had a result after {waited_s:.0f} s")

    # What happens ----------------------------------------------------------------------------

    def _ready(self) -> None:
        """There is a connection, perhaps after a loss: publish everything again."""
        for flight in self._flights.values():
            if not flight.is_publishing:
                self._publish(flight)
        self._callbacks.changed()

    def _take_result(self, data: bytes) -> bool:
        """Take a result. Return False if it is too late, or nothing that this version knows."""
        try:
            result = decode_result(data)
        except WireError as error:
            log.warning("a result of a worker was dropped: %s; run the same version", error)
            return False
        flight = self._flights.get(result.number)
        if flight is None:
            self.late += 1
            return False
        verdict = unless_late(flight.utterance, result.verdict, self._clock.now(), self._limits)
        # The worker acknowledges the job, but may not delete audio that is stored apart.
        flight.sequence = None
        self._end(flight, verdict, is_withdrawn=True)
        return True

    def _hear_worker(self, data: bytes) -> None:
        try:
            status = decode_worker(data)
        except WireError as error:
            log.warning("a heartbeat of a worker was dropped: %s; run the same version", error)
            return
        if self.roster.heard(status, self._clock.now()):
            log.info(
                "worker %s of the fleet %s: %d thread(s), up to %d utterances each, model %s",
                status.worker,
                "leaves" if status.leaving else "is there",
                status.threads,
                status.max_batch,
                status.model,
            )
        self._callbacks.changed()

    def _give_up(self, sequence: int) -> None:
        """The server delivered a job as often as it may, and nobody did it."""
        for flight in self._flights.values():
            if flight.sequence == sequence:
                count = self._config.max_deliver
                error = InferenceFailedError(
                    f"{count} workers failed on it or ended with it (fleet.max_deliver)"
                )
                log.error("a job ends: %s", error, extra=flight.place)
                self._end(flight, error, is_withdrawn=True)
                return

    # Internals -------------------------------------------------------------------------------

    def _publish(self, flight: Flight) -> None:
        """Publish a job, again if it was published before."""
        if flight.attempts:
            self.again += 1
        flight.attempts += 1
        flight.retry_at = None
        flight.is_publishing = True
        self._do(self._publishing(flight))

    async def _publishing(self, flight: Flight) -> None:
        try:
            await flight.compact()
            flight.sequence = await self._connection.publish_job(self._job(flight))
        except JobsFullError:
            error = "the NATS servers hold as many jobs as they may (fleet.max_stored_mib)"
            self._end(flight, OverloadedError(error))
        except FleetError as error:
            flight.retry_at = self._clock.now() + RETRY_S
            log.warning("a job waits to be published: %s", error, extra=flight.place)
            self._callbacks.changed()
        except Exception as error:
            log.exception("a job could not be made, please report this", extra=flight.place)
            reason = f"unexpected {type(error).__name__}, see the log"
            self._end(flight, InferenceFailedError(reason))
        finally:
            flight.is_publishing = False
        if flight.is_over:
            # It ended while it was being published.
            self._withdraw(flight)

    def _job(self, flight: Flight) -> Job:
        waiting, waiting_s = self._callbacks.waiting()
        return Job(
            self._gateway,
            flight.number,
            flight.attempts,
            max(flight.due_at - self._clock.now(), 0.0),
            flight.may_retry,
            flight.utterance,
            waiting=waiting,
            waiting_s=waiting_s,
        )

    def _end(self, flight: Flight, verdict: Verdict, is_withdrawn: bool = False) -> None:
        """Tell the verdict on a job, unless it has one."""
        if flight.is_over:
            return
        self._drop(flight, is_withdrawn)
        self._left[flight.batch] -= 1
        self._callbacks.verdict(flight.batch, flight.index, verdict)
        if self._left.get(flight.batch) == 0:
            del self._left[flight.batch]
            self._callbacks.finished(flight.batch)

    def _drop(self, flight: Flight, is_withdrawn: bool = True) -> None:
        """Expect no result of a job any more."""
        flight.is_over = True
        del self._flights[flight.number]
        if is_withdrawn and not flight.is_publishing:
            self._withdraw(flight)

    def _withdraw(self, flight: Flight) -> None:
        """Delete what the servers have of a job that is over."""
        self._do(self._connection.forget_job(self._job(flight).id, flight.sequence))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
