"""Publications that wait to be sent or to be acknowledged."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf

from stt_mqtt.mqtt.messages import Publication

MAX_PUBLICATIONS = 10_000
MAX_BYTES = 32 * 1024 * 1024
ITEM_OVERHEAD = 256
RESERVED_SHARE = 10
"""One tenth of both bounds is reserved for retained messages, which say what is true now."""


class Outbox:
    """A bounded, thread-safe FIFO queue. `lost` counts what did not fit or expired.

    If it is full, what has expired makes room. Else the newest message is lost, so that answers
    keep their order. A retained one takes the place of the one before on its topic instead, which
    is no longer true.

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
        """Number of the current connection, counted from 1; 0 if there is none."""
        self.connections = 0
        """How many connections there were."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lock = threading.Condition()
        self._waiting: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        self._items = 0
        self._bytes = 0
        self._owed = 0
        self._first_expiry = inf
        """Nothing that waits expires before this."""

    @property
    def waiting(self) -> tuple[int, int]:
        """Publications that are not sent or not acknowledged, and their bytes with overhead."""
        return self._items, self._bytes

    def put(self, publication: Publication) -> bool:
        """Queue `publication`. Return False if it does not fit; it is then counted as lost.

        A publication for another connection also returns False, but is not counted.
        """
        size = _size_of(publication)
        with self._lock:
            if publication.connection is not None and not self._is_up(publication.connection):
                return False
            reserved = 0 if publication.retain else RESERVED_SHARE
            if self._is_full(size, reserved):
                self._drop_expired()
            if publication.retain and self._is_full(size, reserved):
                self._drop_outdated(publication.topic)
            if self._is_full(size, reserved):
                self.lost += 1
                return False
            self._waiting.append(publication)
            if publication.expires_at is not None:
                self._first_expiry = min(self._first_expiry, publication.expires_at)
            self._items += 1
            self._bytes += size
            self._owed += publication.qos > 0
        return True

    def take(self, max_in_flight: int) -> Publication | None:
        """Take the next publication to send. Call `sent`, `drop` or `put_back` with it afterwards.

        None if nothing waits or `max_in_flight` are unacknowledged. Drops what has expired.
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
        """Put `publication` back at the front: it could not be sent now."""
        with self._lock:
            self._waiting.appendleft(publication)

    def sent(self, mid: int, publication: Publication) -> None:
        """`publication` was sent as message `mid`. With QoS 1 it waits for the acknowledgement."""
        with self._lock:
            if publication.qos > 0:
                self._in_flight[mid] = publication
            else:
                self._forget(publication)

    def drop(self, publication: Publication) -> None:
        """`publication` was taken but can never be sent: count it as lost."""
        with self._lock:
            self.lost += 1
            self._forget(publication)

    def acknowledged(self, mid: int) -> Publication | None:
        """Message `mid` was acknowledged. Return its publication; None if it is unknown."""
        with self._lock:
            publication = self._in_flight.pop(mid, None)
            if publication is not None:
                self._forget(publication)
            return publication

    def connection_began(self) -> None:
        """A connection is up. It gets the next number."""
        with self._lock:
            self.connections += 1
            self.connection = self.connections

    def connection_ended(self) -> None:
        """Queue unacknowledged publications again, in order. Drop those that may not wait."""
        with self._lock:
            self.connection = 0
            waiting = [*self._in_flight.values(), *self._waiting]
            self._in_flight.clear()
            self._waiting.clear()
            self._first_expiry = -inf
            for publication in waiting:
                if publication.may_wait:
                    self._waiting.append(publication)
                else:
                    self._forget(publication)

    def flush(self, timeout_s: float) -> bool:
        """Wait until every QoS 1 publication is acknowledged. Return False on timeout."""
        with self._lock:
            return self._lock.wait_for(lambda: self._owed == 0, timeout_s)

    def _is_full(self, size: int, reserved: int) -> bool:
        """Whether `size` more bytes do not fit. One part in `reserved` is kept free; 0: none."""
        items, nbytes = self._max_items, self._max_bytes
        if reserved:
            items, nbytes = items - items // reserved, nbytes - nbytes // reserved
        return self._items >= items or self._bytes + size > nbytes

    def _drop_expired(self) -> None:
        now = self.now()
        if now < self._first_expiry:
            return
        waiting, self._waiting = self._waiting, deque()
        self._first_expiry = inf
        for publication in waiting:
            expires_at = inf if publication.expires_at is None else publication.expires_at
            if now >= expires_at:
                self.lost += 1
                self._forget(publication)
            else:
                self._waiting.append(publication)
                self._first_expiry = min(self._first_expiry, expires_at)

    def _drop_outdated(self, topic: str) -> None:
        for index, waiting in enumerate(self._waiting):
            if waiting.retain and waiting.topic == topic:
                del self._waiting[index]
                self._forget(waiting)
                return

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
