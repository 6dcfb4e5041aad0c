"""What the processes of a fleet say to each other over its NATS servers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from nats.aio.msg import Msg

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import FleetError, JobsFullError
from stt_mqtt.fleet.delivery import AUDIO_HEADER, Delivery, Pull, delete_audio
from stt_mqtt.fleet.keeping import MAX_AGE_S, KeptConnection
from stt_mqtt.fleet.link import ApiError, Link, NoAnswerError, NobodyAnswersError, answer_of
from stt_mqtt.fleet.stores import Stores, stored_message
from stt_mqtt.fleet.wire import Job, encode_job
from stt_mqtt.nodes import Role

PUBLISH_PATIENCE_S = 6.0
"""Longest time in which a job is published. A cluster needs some of it to elect a leader."""
RETRY_S = 0.2
MAX_PULLS = 256
"""Most requests for jobs at the same time. A worker has one for each thread."""
HEADER_MARGIN_BYTES = 4096
"""Room in a message for its headers."""
PART_BYTES = 256 * 1024
"""Bytes of a part of audio that is too large for a message."""
_TAKEN: Final = b"taken"
_LATE: Final = b"late"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_DELETED = {"KV-Operation": "DEL"}
_FULL = {10023, 10047, 10077}
"""Errors of a stream that cannot store: no resources, no storage, a bound is reached."""


class FleetConnection(KeptConnection):
    """The connection to the NATS servers, and what the fleet has there.

    Without a connection, what is said gets lost, and what has an answer raises FleetError.
    """

    def __init__(self, config: FleetConfig, node: str, *, max_age_s: float = MAX_AGE_S) -> None:
        super().__init__(config, node, max_age_s=max_age_s)
        self._pulls: set[Pull] = set()
        self._on_gateway: Callable[[str, bytes | None], None] | None = None
        self._heard_gateways: set[str] = set()
        """Gateways that have spoken since the connection was made."""
        self._apart: set[str] = set()
        """Ids of jobs whose audio this process stored apart."""

    @property
    def ack_wait_s(self) -> float:
        """Time after which a job without a sign of life is delivered again, in seconds."""
        return self._config.ack_wait_s if self._stores is None else self._stores.ack_wait_s

    async def publish_job(self, job: Job) -> int | None:
        """Give a job to the workers. Return its number in the stream, None if that is unknown.

        A job that waits or is being done is not doubled. Raises JobsFullError if the servers have
        no room for it, else FleetError.
        """
        link, _ = self._up()
        data = encode_job(job)
        headers = {"Nats-Msg-Id": job.id}
        room = link.server.max_payload - HEADER_MARGIN_BYTES
        if len(data) > room:
            self._apart.add(job.id)
            parts = await self._store_audio(link, job, min(room, PART_BYTES))
            headers[AUDIO_HEADER] = f"{job.id} {parts}"
            data = encode_job(replace(job, stored=True))
        while True:
            answer = await self._store(link, self._subjects.job, data, headers)
            sequence = answer.get("seq")
            if not isinstance(sequence, int):
                return None
            if not answer.get("duplicate"):
                return sequence
            if await stored_message(link, self._subjects.jobs, seq=sequence) is not None:
                return sequence
            # A worker may have finished it, and its result may not have arrived. The next
            # publication finds this one by the number that is gone, also if its answer gets lost.
            headers["Nats-Msg-Id"] = f"{job.id}.{sequence}"

    async def forget_job(self, job_id: str, sequence: int | None) -> None:
        """Delete what the servers have of a job that has an outcome, if that is possible now.

        `sequence`: the number of its message; None: a worker deletes it, or it is unknown.
        """
        is_apart = job_id in self._apart
        self._apart.discard(job_id)
        with suppress(FleetError):
            link, stores = self._up()
            if sequence is not None:
                request = {"seq": sequence, "no_erase": True}
                with suppress(ApiError):
                    await link.api(f"STREAM.MSG.DELETE.{self._subjects.jobs}", request)
            if is_apart:
                await delete_audio(stores, job_id)

    async def answer_results(self, handle: Callable[[bytes], bool]) -> None:
        """Have each result for this gateway handled, which returns whether it was in time."""

        def receive(message: Msg) -> bytes:
            return _TAKEN if handle(message.data) else _LATE

        await self._listen(self._subjects.result(self._node), receive)

    async def hear_workers(self, handle: Callable[[bytes], None]) -> None:
        """Have each heartbeat of a worker handled."""
        await self._listen(self._subjects.workers, lambda message: handle(message.data))

    async def say_names(self, data: bytes) -> None:
        """Tell all workers the names of the home, as this gateway knows them. Raises FleetError."""
        link, _ = self._up()
        await link.publish(self._subjects.names(self._node), data)

    async def hear_names(self, handle: Callable[[str, bytes], None]) -> None:
        """Have the names handled that a gateway tells. `handle` gets its name as well."""

        def receive(message: Msg) -> None:
            handle(message.subject.rpartition(".")[2], message.data)

        await self._listen(self._subjects.names("*"), receive)

    async def hear_failures(self, handle: Callable[[int], None]) -> None:
        """Have the number in the stream handled of each job that was delivered too often."""

        def receive(message: Msg) -> None:
            try:
                sequence = int(json.loads(message.data)["stream_seq"])
            except (ValueError, KeyError, TypeError):
                return
            handle(sequence)

        await self._listen(self._subjects.failures, receive)

    async def pull(
        self,
        count: int,
        priority: int,
        handle: Callable[[Delivery], None],
        on_end: Callable[[], None],
    ) -> Pull:
        """Ask for up to `count` jobs that wait, or else for the next one.

        Who asks with a lower `priority`, from 0 to 9, is served first. `on_end` is called once,
        when no more jobs will come for this request, also when its life is over (30 s) or the
        connection is lost. Raises FleetError.
        """
        _, stores = self._up()
        if len(self._pulls) >= MAX_PULLS:
            raise FleetError(f"more than {MAX_PULLS} requests for jobs")

        def ended() -> None:
            self._pulls.discard(pull)
            on_end()

        pull = Pull(stores, count, handle, ended, self._check)
        self._pulls.add(pull)
        try:
            await pull.send(priority)
        except FleetError:
            self._pulls.discard(pull)
            raise
        return pull

    async def say_worker(self, data: bytes) -> None:
        """Tell all that this worker lives, and how it is."""
        await self._tell(self._subjects.worker(self._node), data)

    async def tell_result(self, gateway: str, data: bytes, timeout_s: float) -> bool | None:
        """Give a result to its gateway. Return whether it was in time; None: it does not answer.

        Raises FleetError if this process has no connection.
        """
        link, _ = self._up()
        # The name comes from a message.
        if _NAME.fullmatch(gateway) is None:
            return None
        try:
            answer = await link.request(self._subjects.result(gateway), data, timeout_s)
        except NoAnswerError:
            return None
        return {_TAKEN: True, _LATE: False}.get(answer)

    async def say_gateway(self, data: bytes) -> None:
        """Write the entry of this gateway. It lasts for `stores.GATEWAY_TTL_S`."""
        await self._tell(self._subjects.gateway_entry(self._node), data)

    async def leave_gateway(self) -> None:
        """Delete the entry of this gateway."""
        await self._tell(self._subjects.gateway_entry(self._node), b"", _DELETED)

    async def watch_gateways(self, handle: Callable[[str, bytes | None], None]) -> None:
        """Have each entry of a gateway handled, this one's too. None: it was deleted.

        An entry that grows too old is deleted without a word. Before `on_ready`, a gateway is told
        all entries that are there.
        """
        self._on_gateway = handle

        def receive(message: Msg) -> None:
            name = message.subject.rpartition(".")[2]
            self._heard_gateways.add(name)
            handle(name, None if message.headers else message.data)

        await self._listen(self._subjects.gateway_entry("*"), receive)

    async def _prepare(self, stores: Stores) -> None:
        if self._on_gateway is None or self._config.role is Role.WORKER:
            return
        for name, data in (await stores.entries()).items():
            if name not in self._heard_gateways:
                self._on_gateway(name, data)

    def _dropped(self) -> None:
        self._heard_gateways.clear()
        for pull in list(self._pulls):
            pull.end()

    async def _store_audio(self, link: Link, job: Job, part_bytes: int) -> int:
        """Store the audio of a job apart. Return the number of its parts."""
        audio = job.utterance.audio.data
        begins = range(0, len(audio), part_bytes)
        for number, begin in enumerate(begins):
            subject = self._subjects.audio_part(job.id, number)
            await self._store(link, subject, audio[begin : begin + part_bytes], {})
        return len(begins)

    async def _store(
        self, link: Link, subject: str, data: bytes, headers: dict[str, str]
    ) -> dict[str, Any]:
        """Publish into a stream, and return its answer. Raises JobsFullError, FleetError."""
        patience = asyncio.get_running_loop().time() + PUBLISH_PATIENCE_S
        while True:
            try:
                return answer_of(await link.request(subject, data, headers=headers))
            except ApiError as error:
                if error.code in _FULL:
                    raise JobsFullError(
                        f"the servers of the fleet have no room for more jobs ({error}): "
                        "raise fleet.max_stored_mib, or add workers"
                    ) from error
                raise FleetError(f"{link.server.address} refuses a job: {error}") from error
            except FleetError as error:
                self._check()
                over = asyncio.get_running_loop().time() + RETRY_S >= patience
                if over or link.lost.done():
                    raise
                if isinstance(error, NobodyAnswersError):
                    await asyncio.sleep(RETRY_S)

    async def _tell(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(FleetError):
            link, _ = self._up()
            await link.publish(subject, data, headers=headers)
