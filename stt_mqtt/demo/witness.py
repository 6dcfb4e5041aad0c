"""Sees on the NATS server of the demo which worker got which utterance, and which one answered."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.subjects import Subjects
from stt_mqtt.fleet.wire import WireError, decode_job, decode_result, decode_worker

CONNECT_TIMEOUT_S = 10
POLL_S = 0.005
LATE_POLLS = 400


class Witness:
    """A listener that has every right, which nobody has in a fleet with keys.

    `ready`: set when all workers have loaded their model. `given`: what each worker got.
    `answered`: the workers that had a result for an utterance, in the order of their results.
    """

    def __init__(self, subjects: Subjects, workers: tuple[str, ...]) -> None:
        self.ready = asyncio.Event()
        self.given: dict[str, set[str]] = defaultdict(set)
        self.answered: dict[str, list[str]] = defaultdict(list)
        self._utterances: dict[int, str] = {}
        """By number of the job."""
        self._subjects = subjects
        self._workers = workers
        self._loading = set(workers)
        self._client: Client | None = None

    async def open(self, server: str) -> None:
        """Connect and listen. Raises `FleetError`."""
        try:
            self._client = await nats.connect(
                server,
                connect_timeout=CONNECT_TIMEOUT_S,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
            )
            for worker in self._workers:
                await self._client.subscribe(f"_INBOX_{worker}.>", cb=self._deliveries_of(worker))
            for subject, hear in (
                (self._subjects.workers, self._hear_worker),
                (self._subjects.result("*"), self._hear_result),
            ):
                await self._client.subscribe(subject, cb=hear)
            await self._client.flush(CONNECT_TIMEOUT_S)
        except (nats.errors.Error, OSError) as error:
            raise FleetError(f"the NATS server of the demo does not answer: {error}") from error

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()

    async def who_answered(self, utterance: str) -> str:
        """The worker that had the first result for an utterance; "?": it was not seen."""
        # The gateway may have published the result before it comes here.
        for _ in range(LATE_POLLS):
            if self.answered.get(utterance):
                break
            await asyncio.sleep(POLL_S)
        return self.answered.get(utterance, ["?"])[0]

    def held_by(self, worker: str) -> set[str]:
        """Utterances that a worker got, and nobody has answered."""
        return self.given[worker] - self.answered.keys()

    def _deliveries_of(self, worker: str) -> Callable[[Msg], Awaitable[None]]:
        async def hear(message: Msg) -> None:
            # Other messages for a worker are answers of the server and of the gateway.
            with suppress(WireError):
                job = decode_job(message.data, time.monotonic())
                self._utterances[job.number] = job.utterance.id
                self.given[worker].add(job.utterance.id)

        return hear

    async def _hear_worker(self, message: Msg) -> None:
        with suppress(WireError):
            status = decode_worker(message.data)
            if status.slots:
                self._loading.discard(status.worker)
            if not self._loading:
                self.ready.set()

    async def _hear_result(self, message: Msg) -> None:
        with suppress(WireError):
            result = decode_result(message.data)
            utterance = self._utterances.get(result.number)
            if utterance is not None and result.worker not in self.answered[utterance]:
                self.answered[utterance].append(result.worker)
