"""Messages that wait for the event loop: a bounded queue whose senders take turns.

A crowd of senders does not delay a quiet one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.routing import Destination, Senders

MAX_INBOX_MESSAGES = 20_000
MAX_INBOX_BYTES = 64 * 1024 * 1024
ITEM_OVERHEAD = 512
"""Bytes of memory for a message besides its texts and payload, rounded up."""
SHARES = 20
"""Parts of both bounds. Two are reserved for urgent messages of favoured senders, one for their
other messages, and one for urgent messages of others."""
ORDERLY = 64
"""If more messages wait, their senders take turns."""
TURN_COST = 16
"""What a lane may spend in its turn. It always gets one message."""
MESSAGE_COST = 16
"""A message that opens or ends an utterance costs ten times as much as a chunk."""
BYTES_FOR_COST = 2048
"""A chunk costs one, and one more for so many bytes."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane of a sender at a door. Order is kept only within a lane."""

    senders: Senders
    sender: str

    @property
    def is_favoured(self) -> bool:
        """Whether a crowd of others must not delay it."""
        return self.senders.is_favoured(self.sender)


class Lanes(Generic[_Item]):
    """Items that wait, first in and first out in each lane. Lanes take turns by cost.

    Favoured lanes have every second turn. Whether a lane is one is asked when it begins to wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[tuple[_Item, int]]] = {}
        self._turns: tuple[deque[Lane], deque[Lane]] = (deque(), deque())
        """Lanes that wait for their turn, the next one first: others, favoured."""
        self._next_is_favoured = True
        self._current: tuple[Lane, bool] | None = None
        """The lane that has its turn, and whether it is favoured."""
        self._left = 0
        """What it may still spend."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, lane: Lane, item: _Item, cost: int) -> None:
        """Add an item at the end of a lane."""
        waiting = self._waiting.get(lane)
        if waiting is None:
            waiting = self._waiting[lane] = deque()
            self._turns[lane.is_favoured].append(lane)
        waiting.append((item, cost))

    def take(self, most: int) -> list[_Item]:
        """Remove up to `most` items, the next one first."""
        taken: list[_Item] = []
        while self._waiting and len(taken) < most:
            taken.append(self._take_one())
        return taken

    def _take_one(self) -> _Item:
        lane, is_favoured = self._current or self._next()
        waiting = self._waiting[lane]
        item, cost = waiting.popleft()
        self._left -= cost
        if not waiting:
            del self._waiting[lane]
            self._current = None
        elif self._left <= 0:
            self._turns[is_favoured].append(lane)
            self._current = None
        else:
            self._current = (lane, is_favoured)
        return item

    def _next(self) -> tuple[Lane, bool]:
        others, favoured = self._turns
        is_favoured = bool(favoured) and (self._next_is_favoured or not others)
        self._next_is_favoured = not is_favoured
        self._left = TURN_COST
        return self._turns[is_favoured].popleft(), is_favoured


def cost_of(nbytes: int, is_audio: bool) -> int:
    """What a message costs: about how long it takes to handle it."""
    return 1 + nbytes // BYTES_FOR_COST if is_audio else MESSAGE_COST


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


Event: TypeAlias = Callable[[], None]
"""What is to be called when a connection began or ended."""


class _Waiting(NamedTuple):
    """What is in the queue, its size, and how often the queue was marked before."""

    what: Arrival | Event
    size: int
    marks: int


class ArrivalQueue:
    """A bounded queue, in the order of arrival while few messages wait.

    A part of its capacity is reserved for urgent messages and for favoured senders. A flood of
    audio therefore cannot displace the stop that ends it. `dropped` counts what did not fit.
    No message overtakes an event, and no event a message.
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
        self._events = 0
        """How many events wait."""
        self._items = 0
        self._bytes = 0
        self._marks = 0
        self.marked = 0
        """How many marked messages still wait."""
        self._awake = False

    def __len__(self) -> int:
        return self._items - self._events

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
            items, nbytes = len(self) + 1, self._bytes + size
            max_items, max_bytes = self._others[urgent]
            if (items > max_items or nbytes > max_bytes) and arrival.lane.is_favoured:
                max_items, max_bytes = self._favoured[urgent]
            if items > max_items or nbytes > max_bytes:
                self.dropped += 1
                return False
            first = self._append(arrival, size)
        if first:
            self._wake()
        return True

    def put_event(self, event: Event) -> None:
        """Queue an event behind all messages that wait, from the network thread."""
        with self._lock:
            self._events += 1
            first = self._append(event, 0)
        if first:
            self._wake()

    def _append(self, what: Arrival | Event, size: int) -> bool:
        """Return whether the event loop must be woken."""
        self._arrived.append(_Waiting(what, size, self._marks))
        self._items += 1
        self._bytes += size
        first = not self._awake
        self._awake = True
        return first

    def drain(self, max_items: int) -> list[Arrival | Event]:
        """Remove and return up to `max_items` messages and events. For the event loop.

        The queue calls `wake` again only after this returned an empty list.
        """
        with self._lock:
            if not self._items:
                self._awake = False
                return []
            is_orderly = len(self._arrived) <= ORDERLY
            if not self._lanes and (is_orderly or self._is_event_next()):
                count = min(max_items, len(self._arrived)) if is_orderly else 1
                taken = [self._arrived.popleft() for _ in range(count)]
                self._forget(taken)
                return [one.what for one in taken]
            arrived = self._before_event()
        for one in arrived:
            assert isinstance(one.what, Arrival)
            self._lanes.put(one.what.lane, one, cost_of(one.size, one.what.is_audio))
        taken = self._lanes.take(max_items)
        with self._lock:
            self._forget(taken)
        return [one.what for one in taken]

    def _is_event_next(self) -> bool:
        return bool(self._arrived) and not isinstance(self._arrived[0].what, Arrival)

    def _before_event(self) -> deque[_Waiting]:
        """Take the messages that came before the next event."""
        if not self._events:
            arrived, self._arrived = self._arrived, deque()
            return arrived
        arrived = deque()
        while self._arrived and not self._is_event_next():
            arrived.append(self._arrived.popleft())
        return arrived

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
            self._events -= not isinstance(one.what, Arrival)


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
