"""Takes messages from the network thread to the doors."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from stt_mqtt.errors import OverloadedError, PayloadTooLargeError, UtteranceError
from stt_mqtt.mqtt.arrivals import Arrival, ArrivalQueue, Event, InboxLimits
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, Inbound
from stt_mqtt.mqtt.routing import Destination, Router

BATCH = 256
"""Messages that are handled before the event loop does other work."""
SLICE = 16
"""Messages that are handled before the clock is read."""
TURN_S = 0.005
"""Time after which the event loop does other work, though `BATCH` is not reached. A message that
opens or ends an utterance costs ten times as much as a chunk, and Wyoming clients must not wait."""
LINGER_S = 0.005
"""Pause between batches while messages keep arriving. Waking the loop for each costs more."""
MAX_DROPPED_NOTES = 1000
MAX_NOTED_TOPIC = 512
"""Longest topic of a dropped message that is answered: more than the longest topic of a device."""
DEFECT_LOG_INTERVAL_S = 10.0
"""Shortest time between two tracebacks in the log. A failure may repeat 50 times a second."""

log = logging.getLogger(__name__)


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
        self._queue.put_event(self._on_connected)

    def disconnected(self, _reason: str) -> None:
        """The connection is lost. The client logs it."""
        self._queue.put_event(self._router.on_disconnected)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.pump)
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

    def _schedule(self, batch: list[Arrival | Event]) -> None:
        """Schedule the next call before the doors are called: the queue does not wake the loop."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if len(batch) == SLICE:
            self._next = self._loop.call_soon(self.pump)
        elif batch:
            self._next = self._loop.call_later(LINGER_S, self.pump)

    def _handle(self, batch: list[Arrival | Event]) -> None:
        for one in batch:
            if isinstance(one, Arrival):
                try:
                    one.destination.door.handle(one.message)
                except Exception:
                    self._log_defect(one.message.topic)
                self._handled += not one.is_audio
            else:
                self._happen(one)

    def _happen(self, event: Event) -> None:
        try:
            event()
        except Exception:
            log.exception("the begin or end of a connection broke something, please report this")

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
