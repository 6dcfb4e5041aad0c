"""From the network thread to the event loop: messages, connections, losses."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stt_mqtt.mqtt.inbox import Inbox, InboxLimits
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.mqtt.routing import Router

log = logging.getLogger(__name__)

MAX_INBOX_MESSAGES = 20_000
MAX_INBOX_BYTES = 64 * 1024 * 1024
BATCH = 256
"""Messages handled before other work of the event loop gets its turn."""

LINGER_S = 0.005
"""Pause between batches while messages keep coming: waking the loop for each costs more."""

MAX_DROPPED_NOTES = 1000
COMPLAINT_INTERVAL_S = 10.0
"""Least time between two tracebacks in the log: what breaks once breaks fifty times a second."""


@dataclass(frozen=True, slots=True)
class IntakeHandlers:
    """Who is called on the event loop, and who tells what is a chunk."""

    router: Router
    connected: Callable[[], None]
    rearm_timer: Callable[[], None]
    """A batch of messages was handled: look at the deadline again."""


T = TypeVar("T")


class Intake:
    """Listens in the network thread and calls its handlers on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handlers: IntakeHandlers) -> None:
        self._loop = loop
        self._handlers = handlers
        self._inbox = Inbox(InboxLimits(MAX_INBOX_MESSAGES, MAX_INBOX_BYTES), self._wake)
        self._dropped: deque[str] = deque(maxlen=MAX_DROPPED_NOTES)
        self._quiet_until = 0.0
        self._waiting = 0
        """Messages other than chunks that came in. The network thread alone changes it."""
        self._handled = 0
        """Those of them that were handled. The event loop alone changes it."""
        self._taken = 0
        """Messages of any kind that were taken out of the inbox, since the beginning."""
        self._marked = 0
        """How many `_taken` has to reach."""

    @property
    def dropped(self) -> int:
        """Messages that found the inbox full."""
        return self._inbox.dropped

    def message(self, message: Inbound) -> None:
        """Network thread: a message came in."""
        router = self._handlers.router
        audio = router.audio_of(message.topic)
        if audio is not None:
            # What is not handled yet may be the start that makes this chunk welcome.
            all_handled = self._waiting == self._handled
            if all_handled and audio.wants_audio and not audio.wants_audio(message.topic):
                return
            self._inbox.put(message, urgent=False)
        elif self._inbox.put(message, urgent=not router.is_large(message.topic)):
            self._waiting += 1
        else:
            self._dropped.append(message.topic)

    def connected(self, _protocol: str) -> None:
        """Network thread: the broker accepted the connection."""
        self._call(self._handlers.connected)

    def disconnected(self, _reason: str) -> None:
        """Network thread: the connection is gone, as the client has logged."""

    def pump(self) -> None:
        """Event loop: handle a batch of what has come in, and come back if there is more."""
        batch = self._inbox.drain(BATCH)
        # First of all, because the inbox wakes nobody until it was found empty.
        if len(batch) == BATCH:
            self._loop.call_soon(self.pump)
        elif batch:
            self._loop.call_later(LINGER_S, self.pump)
        self._handle(batch)

    def mark(self) -> None:
        """Event loop: note what has come in until now."""
        self._marked = self._inbox.accepted

    def take_in(self) -> bool:
        """Event loop: handle a batch of what was marked; return whether more of it waits."""
        if self._taken < self._marked:
            # Something is there, so the inbox goes on to wake whom it wakes.
            self._handle(self._inbox.drain(BATCH))
        return self._taken < self._marked

    def _handle(self, batch: list[Inbound]) -> None:
        self._taken += len(batch)
        router = self._handlers.router
        for message in batch:
            self._guarded(router.handle, message, message.topic)
            self._handled += router.audio_of(message.topic) is None
        while self._dropped:
            topic = self._dropped.popleft()
            self._guarded(router.dropped, topic, topic)
        self._handlers.rearm_timer()

    def _wake(self) -> None:
        self._call(self.pump)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            log.debug("a message came after the event loop had ended")

    def _guarded(self, handle: Callable[[T], None], item: T, topic: str) -> None:
        """One message that breaks something must not harm those behind it."""
        try:
            handle(item)
        except Exception:
            now = self._loop.time()
            if now >= self._quiet_until:
                self._quiet_until = now + COMPLAINT_INTERVAL_S
                log.exception("a message on %.300s could not be handled, please report this", topic)
