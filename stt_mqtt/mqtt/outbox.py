"""Publications that wait to be sent, and those that the broker has not acknowledged yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from stt_mqtt.mqtt.messages import Publication

MAX_PUBLICATIONS = 10_000
MAX_BYTES = 32 * 1024 * 1024
ITEM_OVERHEAD = 256


class Outbox:
    """Bounded, first in, first out, thread-safe. `lost` counts what found no room or expired.

    `now`: the clock of `Publication.expires_at`.
    """

    def __init__(
        self,
        max_items: int = MAX_PUBLICATIONS,
        max_bytes: int = MAX_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.lost = 0
        self.connection = 0
        """Number of the present connection, counted from 1; 0: there is none."""
        self._connections = 0
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lock = threading.Condition()
        self._waiting: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        self._items = 0
        self._bytes = 0
        self._owed = 0

    def put(self, publication: Publication) -> bool:
        """Queue `publication`. False: no room, it is lost and counted.

        False, too, and not counted: it is for another connection.
        """
        size = _size_of(publication)
        with self._lock:
            if publication.connection is not None and not self._is_up(publication.connection):
                return False
            if self._items >= self._max_items or self._bytes + size > self._max_bytes:
                self.lost += 1
                return False
            self._waiting.append(publication)
            self._items += 1
            self._bytes += size
            self._owed += publication.qos > 0
        return True

    def take(self, max_in_flight: int) -> Publication | None:
        """The next publication to send; it is counted until `sent`, `drop` or `put_back`.

        None: nothing waits, or `max_in_flight` are unacknowledged. What has expired is dropped.
        """
        now = self.now()
        with self._lock:
            if len(self._in_flight) >= max_in_flight:
                return None
            while self._waiting:
                publication = self._waiting.popleft()
                if publication.expires_at is None or now < publication.expires_at:
                    return publication
                self.lost += 1
                self._forget(publication)
            return None

    def put_back(self, publication: Publication) -> None:
        """`publication` could not be sent now: it is the next one again."""
        with self._lock:
            self._waiting.appendleft(publication)

    def sent(self, mid: int, publication: Publication) -> None:
        """`publication` left as message `mid`; with QoS 1 its acknowledgement is awaited."""
        with self._lock:
            if publication.qos > 0:
                self._in_flight[mid] = publication
            else:
                self._forget(publication)

    def drop(self, publication: Publication) -> None:
        """`publication`, which was taken, can never be sent: it is lost and counted."""
        with self._lock:
            self.lost += 1
            self._forget(publication)

    def acknowledged(self, mid: int) -> Publication | None:
        """Message `mid` has arrived; returns what it was, or None if it is not awaited."""
        with self._lock:
            publication = self._in_flight.pop(mid, None)
            if publication is not None:
                self._forget(publication)
            return publication

    def connection_began(self) -> None:
        """From here on there is a connection, with a number of its own."""
        with self._lock:
            self._connections += 1
            self.connection = self._connections

    def connection_ended(self) -> None:
        """Unacknowledged ones will be sent again, in order; what may not wait is dropped."""
        with self._lock:
            self.connection = 0
            waiting = [*self._in_flight.values(), *self._waiting]
            self._in_flight.clear()
            self._waiting.clear()
            for publication in waiting:
                if publication.may_wait:
                    self._waiting.append(publication)
                else:
                    self._forget(publication)

    def flush(self, timeout_s: float) -> bool:
        """Wait until every QoS 1 publication is acknowledged; False: it took too long."""
        with self._lock:
            return self._lock.wait_for(lambda: self._owed == 0, timeout_s)

    def _is_up(self, connection: int) -> bool:
        return connection == self.connection != 0

    def _forget(self, publication: Publication) -> None:
        self._items -= 1
        self._bytes -= _size_of(publication)
        if publication.qos > 0:
            self._owed -= 1
            if self._owed == 0:
                self._lock.notify_all()


def _size_of(publication: Publication) -> int:
    return ITEM_OVERHEAD + len(publication.payload) + len(publication.correlation or b"")
