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
from stt_mqtt.fleet.stores import PRIORITY_GROUP, Stores, data_of, stored
from stt_mqtt.fleet.subjects import CONSUMER

AUDIO_HEADER = "Stt-Audio"
"""Header of a job whose audio is in parts: the id of the job, and the number of parts."""
MAX_PARTS = 4096
LAST_PRIORITY = 9
"""The number of the last priority. Who pulls with 0 is served first."""
PULL_S = 30.0
"""Life of a request for jobs, in seconds."""
HEARTBEAT_S = 1.0
"""Time between two signs of life of a request at the server, in seconds."""
SILENCE_S = 2.5
"""Without a sign of life in this time and once more, the server has forgotten a request."""
REFUSED_S = 0.5
"""Time to wait after a refused request, so that nobody asks in a circle."""
_PARTS = re.compile(r"([A-Za-z0-9_-]{1,32}\.\d{1,20}) (\d{1,4})")
_ALIVE = "100"
_OVER = {"404", "408"}
"""No more jobs are there, or the life of the request is over."""
_NS = 1_000_000_000


class Delivery:
    """A job that was given to this worker.

    `data`: the message, see `wire`. `sequence`: its number in the stream. `attempt`: 1 for the
    first delivery. `pending`: jobs that wait after this one. `stored`: its audio is not in `data`;
    get it with `fetch_audio`.

    Without a connection the answers to the server get lost, and the job is delivered again.
    """

    def __init__(self, stores: Stores, message: Msg) -> None:
        about = message.metadata
        if (about.stream, about.consumer) != (stores.subjects.jobs, CONSUMER):
            raise ValueError("not a job of this fleet")
        self.data = message.data
        self.sequence = about.sequence.stream
        self.attempt = about.num_delivered
        self.pending = about.num_pending
        found = _PARTS.fullmatch((message.headers or {}).get(AUDIO_HEADER, ""))
        self._job, parts = (found[1], int(found[2])) if found is not None else ("", 0)
        self._parts = min(parts, MAX_PARTS)
        self._stores = stores
        self._reply = message.reply

    @property
    def stored(self) -> bool:
        """Whether the audio has to be fetched."""
        return self._parts > 0

    async def ack(self) -> None:
        """The job is done, and its outcome is known: delete it and its audio."""
        await self._answer(b"+ACK")
        await self._delete_audio()

    async def nak(self, delay_s: float = 0.0) -> None:
        """Give the job back; it is delivered again after `delay_s`. Counts as an attempt."""
        delay = json.dumps({"delay": round(delay_s * _NS)}).encode() if delay_s > 0 else b""
        await self._answer(b" ".join(filter(None, (b"-NAK", delay))))

    async def term(self) -> None:
        """Nobody can do this job: delete it and its audio."""
        await self._answer(b"+TERM")
        await self._delete_audio()

    async def working(self) -> None:
        """Say that the job is being done, so that it is not delivered again."""
        await self._answer(b"+WPI")

    async def fetch_audio(self) -> bytes:
        """The audio of a stored job. Raises FleetError, also if it has been deleted."""
        subjects, parts = self._stores.subjects, []
        for number in range(self._parts):
            subject = subjects.audio_part(self._job, number)
            part = await stored(self._stores.link, subjects.audio, last_by_subj=subject)
            if part is None:
                raise FleetError("the audio of a job has been deleted")
            parts.append(data_of(part))
        return b"".join(parts)

    async def _answer(self, data: bytes) -> None:
        with suppress(FleetError):
            await self._stores.link.publish(self._reply, data)

    async def _delete_audio(self) -> None:
        if self.stored:
            await delete_audio(self._stores, self._job)


async def delete_audio(stores: Stores, job: str) -> None:
    """Delete the stored audio of a job, if that is possible now. The servers do it later."""
    with suppress(FleetError):
        subjects = stores.subjects
        path = f"STREAM.PURGE.{subjects.audio}"
        await stores.link.api(path, {"filter": subjects.audio_part(job, "*")})


class Pull:
    """A request for the jobs that are there, or else for the next one.

    `left`: jobs that may still come. When the request is over, for whatever reason, `left` is 0 and
    `on_end` is called once. `on_refused`: what the server should have is not there, or changed.
    """

    def __init__(
        self,
        stores: Stores,
        count: int,
        handle: Callable[[Delivery], None],
        on_end: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        self.left = count
        self._stores = stores
        self._link = stores.link
        self._handle = handle
        self._on_end = on_end
        self._on_refused = on_refused
        self._subscription: Subscription | None = None
        self._over = self._stopping = False
        self._silent_for = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    async def send(self, priority: int) -> None:
        """Send the request. Who has a lower `priority` is served first. Raises FleetError."""
        inbox = self._link.inbox()
        self._subscription = await self._link.subscribe(inbox, self._receive)
        request: dict[str, object] = {
            "batch": self.left,
            "expires": round(PULL_S * _NS),
            "idle_heartbeat": round(HEARTBEAT_S * _NS),
        }
        if self.left > 1:
            # It waits for the first job, takes what else is there then, and is over. If it stayed
            # for the rest, a busy thread would take jobs from free ones.
            request["no_wait"] = True
        if self._stores.priorities:
            request |= {"group": PRIORITY_GROUP, "priority": min(priority, LAST_PRIORITY)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stores.subjects.jobs}.{CONSUMER}"
        await self._link.publish(subject, json.dumps(request).encode(), inbox)
        self._wait(SILENCE_S, self._listen)

    async def stop(self) -> None:
        """Withdraw the request. Jobs that are on their way here are given back at once."""
        self._stopping = True
        if self._subscription is not None and not self._over:
            await self._link.drain(self._subscription)
        self.end()
        await asyncio.gather(*self._tasks)

    def end(self) -> None:
        """The request is over."""
        if self._over:
            return
        self._over, self.left = True, 0
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            self._start(self._link.unsubscribe(self._subscription))
        self._on_end()

    def _receive(self, message: Msg) -> None:
        if self._over:
            return
        self._silent_for = 0
        status = (message.headers or {}).get("Status")
        if status is None:
            self._deliver(message)
        elif status in _OVER:
            self.end()
        elif status != _ALIVE:
            self._on_refused()
            self._wait(REFUSED_S, self.end)

    def _deliver(self, message: Msg) -> None:
        try:
            delivery = Delivery(self._stores, message)
        except (errors.Error, ValueError):
            return
        self.left -= 1
        if self._stopping:
            self._start(delivery.nak())
        else:
            self._handle(delivery)
        if self.left <= 0:
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
