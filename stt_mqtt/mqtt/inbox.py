"""The bounded hand-over of messages from the network thread to the event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.mqtt.messages import Inbound

ITEM_OVERHEAD = 512
"""Bytes that a message occupies besides its texts and its payload, rounded up."""

RESERVED_SHARE = 10
"""One part in this many of both bounds is kept for urgent messages."""


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """Most messages and most bytes (overhead included) that wait for the event loop.

    Raises ValueError when there is no room for a reserve.
    """

    max_items: int
    max_bytes: int

    def __post_init__(self) -> None:
        if self.max_items < RESERVED_SHARE or self.max_bytes < RESERVED_SHARE * ITEM_OVERHEAD:
            raise ValueError(f"an inbox holds at least {RESERVED_SHARE} messages")


class Inbox:
    """First in, first out; the last tenth of its room is kept for urgent messages.

    So a flood of audio cannot push out the stop that ends it. `dropped` counts the messages
    that found no room.
    """

    def __init__(self, limits: InboxLimits, wake: Callable[[], None]) -> None:
        self.dropped = 0
        self.accepted = 0
        """Messages that found room, since the beginning."""
        self._urgent_room = (limits.max_items, limits.max_bytes)
        self._other_room = (
            limits.max_items - -(-limits.max_items // RESERVED_SHARE),
            limits.max_bytes - limits.max_bytes // RESERVED_SHARE,
        )
        self._wake = wake
        self._lock = threading.Lock()
        self._items: deque[tuple[Inbound, int]] = deque()
        self._bytes = 0
        self._awake = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait, overhead included."""
        return self._bytes

    def put(self, message: Inbound, urgent: bool) -> bool:
        """Take `message` in, from the network thread; False: no room, it is dropped and counted.

        Never blocks. `wake` is called (in this thread) by the first message after `drain` found
        nothing, and by no other: waking an event loop costs more than reading a message.
        """
        size = size_of(message)
        max_items, max_bytes = self._urgent_room if urgent else self._other_room
        with self._lock:
            if len(self._items) >= max_items or self._bytes + size > max_bytes:
                self.dropped += 1
                return False
            self._items.append((message, size))
            self._bytes += size
            self.accepted += 1
            first = not self._awake
            self._awake = True
        if first:
            self._wake()
        return True

    def drain(self, max_items: int) -> list[Inbound]:
        """Up to `max_items` messages, oldest first, for the event loop.

        Only after an empty list the inbox wakes again; until then the caller comes back by
        itself, at once or, to take a flood in batches, a few milliseconds later.
        """
        with self._lock:
            count = min(max_items, len(self._items))
            taken = [self._items.popleft() for _ in range(count)]
            self._bytes -= sum(size for _, size in taken)
            if not taken:
                self._awake = False
        return [message for message, _ in taken]


def size_of(message: Inbound) -> int:
    """Bytes that `message` is counted with: payload, texts (4 bytes per character), overhead."""
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
