"""The bounded queue that takes messages from the network thread to the doors."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from stt_mqtt.errors import OverloadedError, PayloadTooLargeError, UtteranceError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.lanes import Lane, Lanes, cost_of
from stt_mqtt.mqtt.messages import ClientListener, Inbound
from stt_mqtt.mqtt.routing import Destination, Router

MAX_INBOX_MESSAGES = 20_000
MAX_INBOX_BYTES = 64 * 1024 * 1024
ITEM_OVERHEAD = 512
"""Bytes of memory for a message besides its texts and payload, rounded up."""
SHARES = 20
"""Parts of both bounds. Two are reserved for urgent messages of favoured senders, one for their
other messages, and one for urgent messages of others."""
BATCH = 256
"""Messages that are handled before the event loop does other work."""
SLICE = 16
"""Messages that are handled before the clock is read."""
TURN_S = 0.005
"""Time after which the event loop does other work, though `BATCH` is not reached. A message that
opens or ends an utterance costs ten times as much as a chunk, and Wyoming clients must not wait."""
ORDERLY = 64
"""If more messages wait, their senders take turns."""
LINGER_S = 0.005
"""Pause between batches while messages keep arriving. Waking the loop for each costs more."""
MAX_DROPPED_NOTES = 1000
MAX_NOTED_TOPIC = 512
"""Longest topic of a dropped message that is answered: more than the longest topic of a device."""
DEFECT_LOG_INTERVAL_S = 10.0
"""Shortest time between two tracebacks in the log. A failure may repeat 50 times a second."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """Most messages and bytes (with overhead) that wait for the event loop."""

    max_items: int = MAX_INBOX_MESSAGES
    max_bytes: int = MAX_INBOX_BYTES

    def but(self, reserved: int) -> tuple[int, int]:
        """Most messages and bytes that may wait if so many shares are reserved for others."""
        left = SHARES - reserved
        return self.max_items * left // SHARES, self.max_bytes * left // SHARES


class Arrival(NamedTuple):
    """A message and its destination."""

    message: Inbound
    destination: Destination
    is_audio: bool = False

    @property
    def lane(self) -> Lane:
        """The lane of its sender."""
        senders = self.destination.topics.senders
        return Lane(senders, senders.sender(self.message.topic))


class _Waiting(NamedTuple):
    """A message in the queue, its size, and how often the queue was marked before."""

    arrival: Arrival
    size: int
    marks: int


class ArrivalQueue:
    """A bounded queue, in the order of arrival while few messages wait.

    A part of its capacity is reserved for urgent messages and for favoured senders. A flood of
    audio therefore cannot displace the stop that ends it. `dropped` counts what did not fit.
    """

    def __init__(self, limits: InboxLimits, wake: Callable[[], None]) -> None:
        self.dropped = 0
        self._favoured = limits.but(2), limits.but(0)
        """Bounds of messages that are not urgent, and of urgent ones."""
        self._others = limits.but(4), limits.but(3)
        self._wake = wake
        self._lock = threading.Lock()
        self._arrived: deque[_Waiting] = deque()
        self._lanes: Lanes[_Waiting] = Lanes()
        """Messages whose senders take turns. Only the event loop uses it."""
        self._items = 0
        self._bytes = 0
        self._marks = 0
        self.marked = 0
        """How many marked messages still wait."""
        self._awake = False

    def __len__(self) -> int:
        return self._items

    @property
    def buffered_bytes(self) -> int:
        """Bytes in the queue, including overhead."""
        return self._bytes

    def put(self, arrival: Arrival, urgent: bool) -> bool:
        """Queue a message, from the network thread. Return False if it was dropped.

        Never blocks. Only the first message after an empty `drain` calls `wake`, in this thread.
        Waking an event loop costs more than reading a message.
        """
        size = size_of(arrival.message)
        with self._lock:
            items, nbytes = self._items + 1, self._bytes + size
            max_items, max_bytes = self._others[urgent]
            if (items > max_items or nbytes > max_bytes) and arrival.lane.is_favoured:
                max_items, max_bytes = self._favoured[urgent]
            if items > max_items or nbytes > max_bytes:
                self.dropped += 1
                return False
            self._arrived.append(_Waiting(arrival, size, self._marks))
            self._items, self._bytes = items, nbytes
            first = not self._awake
            self._awake = True
        if first:
            self._wake()
        return True

    def drain(self, max_items: int) -> list[Arrival]:
        """Remove and return up to `max_items` messages. For the event loop.

        The queue calls `wake` again only after this returned an empty list.
        """
        with self._lock:
            if not self._items:
                self._awake = False
                return []
            if not self._lanes and len(self._arrived) <= ORDERLY:
                count = min(max_items, len(self._arrived))
                taken = [self._arrived.popleft() for _ in range(count)]
                self._forget(taken)
                return [one.arrival for one in taken]
            arrived, self._arrived = self._arrived, deque()
        for one in arrived:
            self._lanes.put(one.arrival.lane, one, cost_of(one.size, one.arrival.is_audio))
        taken = self._lanes.take(max_items)
        with self._lock:
            self._forget(taken)
        return [one.arrival for one in taken]

    def mark(self) -> None:
        """Mark all messages that wait."""
        with self._lock:
            self._marks += 1
            self.marked = self._items

    def _forget(self, taken: list[_Waiting]) -> None:
        self._items -= len(taken)
        for one in taken:
            self._bytes -= one.size
            self.marked -= one.marks < self._marks


class Inbox(ClientListener):
    """Takes messages from the network thread and passes them to the doors on the event loop.

    It is the listener of `client`. Create it inside the running event loop. On the event loop it
    calls `on_connected` for each new connection and `rearm_timer` after each batch.
    """

    def __init__(
        self,
        client: MqttClient,
        router: Router,
        on_connected: Callable[[], None],
        rearm_timer: Callable[[], None],
        limits: InboxLimits | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._router = router
        self._on_connected = on_connected
        self._rearm_timer = rearm_timer
        self._queue = ArrivalQueue(limits or InboxLimits(), self._wake)
        self._next: asyncio.Handle | None = None
        """The next call of `pump`, while messages keep arriving."""
        self._dropped: deque[tuple[str, Destination, UtteranceError]] = deque(
            maxlen=MAX_DROPPED_NOTES
        )
        """Topics of dropped messages, and why. Chunks that the full inbox dropped are missing."""
        self._quiet_until = 0.0
        self._put = 0
        """Messages other than chunks that were queued. Only the network thread changes it."""
        self._handled = 0
        """Messages other than chunks that were handled. Only the event loop changes it."""
        self._reading = False
        """Whether messages that must be marked may still be in the socket."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def buffered_bytes(self) -> int:
        """Bytes in the inbox, including overhead."""
        return self._queue.buffered_bytes

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the inbox was full."""
        return self._queue.dropped

    # In the network thread ---------------------------------------------------------------------

    def message(self, message: Inbound) -> None:
        """Queue a received message. A chunk that no door wants is dropped."""
        topic = message.topic
        destination = self._router.route(topic)
        topics = destination.topics
        if topics.is_audio(topic):
            # A message that is not handled yet may be the start of this chunk's utterance.
            if self._put != self._handled or topics.audio.wants_audio(topic):
                self._queue.put(Arrival(message, destination, is_audio=True), urgent=False)
        elif self._queue.put(Arrival(message, destination), urgent=not topics.is_large(topic)):
            self._put += 1
        else:
            error = OverloadedError("messages arrive faster than they can be taken")
            self._note_dropped(topic, destination, error)

    def too_large(self, topic: str) -> None:
        """Have the door of a message told that it was dropped while it was read."""
        error = PayloadTooLargeError("the message is over mqtt.max_payload_kib; send chunks")
        self._note_dropped(topic, self._router.route(topic), error)
        self._wake()

    def _note_dropped(self, topic: str, destination: Destination, error: UtteranceError) -> None:
        if len(topic) <= MAX_NOTED_TOPIC:
            self._dropped.append((topic, destination, error))

    def connected(self, _protocol: str) -> None:
        """The broker accepted the connection."""
        self._call(self._on_connected)

    def disconnected(self, _reason: str) -> None:
        """The connection is lost. The client logs it."""
        self._call(self._router.on_disconnected)

    def _wake(self) -> None:
        self._call(self.pump)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            log.debug("a message came after the event loop had ended")

    # On the event loop -------------------------------------------------------------------------

    def pump(self) -> None:
        """Handle a batch of messages, and schedule the next call if there may be more."""
        turn_ends_at = self._loop.time() + TURN_S
        for _ in range(BATCH // SLICE):
            batch = self._queue.drain(SLICE)
            self._schedule(batch)
            self._handle(batch)
            if len(batch) < SLICE or self._loop.time() >= turn_ends_at:
                break
        answers_end_at = self._loop.time() + TURN_S
        while self._dropped and self._loop.time() < answers_end_at:
            topic, destination, error = self._dropped.popleft()
            try:
                destination.topics.dropped(topic, error)
            except Exception:
                self._log_defect(topic)
        if self._dropped and self._next is None:
            self._next = self._loop.call_soon(self.pump)
        self._rearm_timer()

    def _schedule(self, batch: list[Arrival]) -> None:
        """Schedule the next call before the doors are called: the queue does not wake the loop."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if len(batch) == SLICE:
            self._next = self._loop.call_soon(self.pump)
        elif batch:
            self._next = self._loop.call_later(LINGER_S, self.pump)

    def _handle(self, batch: list[Arrival]) -> None:
        for message, destination, is_audio in batch:
            try:
                destination.door.handle(message)
            except Exception:
                self._log_defect(message.topic)
            self._handled += not is_audio

    def mark(self, stood_still: bool) -> None:
        """Mark all messages that have arrived.

        `stood_still`: the process stood still, so some may still be in the socket.
        """
        self._reading = stood_still
        if stood_still:
            self._client.read_all()
        self._queue.mark()

    def handle_marked(self) -> bool:
        """Handle a batch of marked messages; return whether more of them wait."""
        if self._reading and self._client.has_read_all:
            self._reading = False
            self._queue.mark()
        if self._queue.marked:
            self.pump()
        return self._queue.marked > 0 or self._reading

    def _log_defect(self, topic: str) -> None:
        """Log an exception of a door. The messages that follow must not be lost."""
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + DEFECT_LOG_INTERVAL_S
            log.exception("a message on %.300s could not be handled, please report this", topic)


def size_of(message: Inbound) -> int:
    """Estimated memory of `message`: payload, texts (4 bytes per character) and overhead."""
    size = ITEM_OVERHEAD + len(message.payload) + len(message.topic)
    if message.content_type is not None:
        size += 4 * len(message.content_type)
    if message.response_topic is not None:
        size += 4 * len(message.response_topic)
    if message.correlation is not None:
        size += len(message.correlation)
    for name, value in message.user:
        size += 128 + 4 * (len(name) + len(value))
    return size
