"""Jobs on their way to a worker: requests for them, and what a worker can do with one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.capability import MAX_PRIORITY
from stt_mqtt.fleet.stores import PRIORITY_GROUP, Stores, data_of, stored_message
from stt_mqtt.fleet.subjects import CONSUMER

AUDIO_HEADER = "Stt-Audio"
"""Header of a job whose audio is in parts: the id of the job, and the number of parts."""
MAX_AUDIO_BYTES = 64 * 1024 * 1024
"""Most audio of a job: as much as `limits.max_utterance_kib` may allow."""
PULL_S = 30.0
"""Life of a request for jobs, in seconds."""
HEARTBEAT_S = 1.0
"""Time between two signs of life of a request at the server, in seconds."""
SILENCE_S = 1.5
"""Without a sign of life in this time and once more, the server has forgotten a request."""
WITHDRAWAL_S = 2.0
"""Longest time until what was sent to a request that is withdrawn has come."""
REFUSED_S = 0.5
"""Time to wait after a refused request, so that nobody asks in a circle."""
_PARTS = re.compile(r"([A-Za-z0-9_-]{1,32}\.\d{1,20}) (\d{1,4})")
_ALIVE = "100"
_NOTHING_MORE = ("404", "408")
"""Nothing waits, or the life of the request is over."""
_NS = 1_000_000_000


class Delivery:
    """A job that was given to this worker.

    `data`: the message, see `wire`. `sequence`: its number in the stream. `attempt`: 1 for the
    first delivery. `stored`: its audio is not in `data`; get it with `fetch_audio`.

    Its methods raise FleetError without the connection that it came over: the job is delivered
    again.
    """

    def __init__(self, stores: Stores, message: Msg) -> None:
        about = message.metadata
        if (about.stream, about.consumer) != (stores.subjects.jobs, CONSUMER):
            raise ValueError("not a job of this fleet")
        self.data = message.data
        self.sequence = about.sequence.stream
        self.attempt = about.num_delivered
        found = _PARTS.fullmatch((message.headers or {}).get(AUDIO_HEADER, ""))
        self._job, self._parts = (found[1], int(found[2])) if found is not None else ("", 0)
        self._stores = stores
        self._reply = message.reply

    @property
    def stored(self) -> bool:
        """Whether the audio has to be fetched."""
        return self._parts > 0

    async def ack(self) -> None:
        """The job is done, and its outcome is known: delete it. Its gateway deletes the audio."""
        await self._answer(b"+ACK")

    async def nak(self, delay_s: float = 0.0) -> None:
        """Give the job back; it is delivered again after `delay_s`. Counts as an attempt."""
        delay = json.dumps({"delay": round(delay_s * _NS)}).encode() if delay_s > 0 else b""
        await self._answer(b" ".join(filter(None, (b"-NAK", delay))))

    async def term(self) -> None:
        """Nobody can do this job: delete it."""
        await self._answer(b"+TERM")

    async def working(self) -> None:
        """Say that the job is being done, so that it is not delivered again."""
        await self._answer(b"+WPI")

    async def fetch_audio(self) -> bytes:
        """The audio of a stored job. Raises FleetError, also if it is gone or far too large."""
        subjects, audio = self._stores.subjects, bytearray()
        for number in range(self._parts):
            subject = subjects.audio_part(self._job, number)
            part = await stored_message(self._stores.link, subjects.audio, last_by_subj=subject)
            if part is None:
                raise FleetError("the audio of a job has been deleted")
            audio += data_of(part)
            if len(audio) > MAX_AUDIO_BYTES:
                raise FleetError(f"the audio of a job has more than {MAX_AUDIO_BYTES} bytes")
        return bytes(audio)

    async def _answer(self, data: bytes) -> None:
        await self._stores.link.publish(self._reply, data)


async def delete_audio(stores: Stores, job: str) -> None:
    """Delete the stored audio of a job, if that is possible now. The servers do it later."""
    with suppress(FleetError):
        subjects = stores.subjects
        path = f"STREAM.PURGE.{subjects.audio}"
        await stores.link.api(path, {"filter": subjects.audio_part(job, "*")})


class Pull:
    """A request for up to `count` jobs that wait, or else for the next one.

    When it is over, for whatever reason, `on_end` is called once. `on_refused`: what the server
    should have is not there, or changed.
    """

    def __init__(
        self,
        stores: Stores,
        count: int,
        handle: Callable[[Delivery], None],
        on_end: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        self._left = count
        self._stores = stores
        self._handle = handle
        self._on_end = on_end
        self._on_refused = on_refused
        self._priority = 0
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._over = self._withdrawn = self._stopping = False
        self._waits = count == 1
        """Whether the server keeps the request until there is a job."""
        self._came = 0
        self._silent_for = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    async def send(self, priority: int) -> None:
        """Send the request. Who has a lower `priority` is served first. Raises FleetError."""
        self._priority = min(max(priority, 0), MAX_PRIORITY)
        self._inbox = self._stores.link.inbox()
        self._subscription = await self._stores.link.subscribe(self._inbox, self._receive)
        await self._request()
        self._wait(SILENCE_S, self._listen)

    async def stop(self) -> None:
        """Withdraw the request. Jobs that are on their way here are given back at once."""
        self._stopping = True
        await self.withdraw()
        await asyncio.gather(*self._tasks)

    async def withdraw(self) -> None:
        """Withdraw the request. Jobs that are on their way here are still handled."""
        self._withdrawn = True
        if self._subscription is not None and not self._over:
            # nats-py waits for ever if the connection is lost meanwhile.
            with suppress(TimeoutError):
                async with asyncio.timeout(WITHDRAWAL_S):
                    await self._stores.link.drain(self._subscription)
        self.end()

    def end(self) -> None:
        """The request is over."""
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            self._start(self._stores.link.unsubscribe(self._subscription))
        self._on_end()

    async def _request(self) -> None:
        fields: dict[str, object] = {"batch": self._left}
        if self._waits:
            fields |= {
                "expires": round(PULL_S * _NS),
                "idle_heartbeat": round(HEARTBEAT_S * _NS),
            }
        else:
            fields["no_wait"] = True
        if self._stores.priorities:
            fields |= {"group": PRIORITY_GROUP, "priority": self._priority}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stores.subjects.jobs}.{CONSUMER}"
        await self._stores.link.publish(subject, json.dumps(fields).encode(), self._inbox)

    async def _wait_for_next(self) -> None:
        self._waits, self._left = True, 1
        with suppress(FleetError):
            await self._request()

    def _receive(self, message: Msg) -> None:
        if self._over:
            return
        self._silent_for = 0
        status = (message.headers or {}).get("Status")
        if status is None:
            self._deliver(message)
        elif status in _NOTHING_MORE:
            if self._waits or self._came or self._withdrawn:
                self.end()
            else:
                self._start(self._wait_for_next())
        elif status != _ALIVE:
            self._on_refused()
            self._wait(REFUSED_S, self.end)

    def _deliver(self, message: Msg) -> None:
        try:
            delivery = Delivery(self._stores, message)
        except (errors.Error, ValueError):
            return
        self._came += 1
        if self._stopping:
            self._start(_give_back(delivery))
        else:
            self._handle(delivery)
        if self._came == self._left:
            self.end()

    def _listen(self) -> None:
        """End the request if nothing has been heard for too long."""
        self._silent_for += 1
        # Twice: a busy process may be late to read what has come.
        if self._silent_for > 2:
            self._on_refused()
            self.end()
        else:
            self._wait(SILENCE_S, self._listen)

    def _wait(self, delay_s: float, act: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, act)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _give_back(delivery: Delivery) -> None:
    with suppress(FleetError):
        await delivery.nak()
