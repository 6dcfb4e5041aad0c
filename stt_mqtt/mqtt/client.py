"""The MQTT client: connects and reconnects without blocking the caller."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Collection
from random import SystemRandom

from stt_mqtt.config import Protocol
from stt_mqtt.mqtt.client_state import CONNECT_HANG_S, HANG_S, ClientState
from stt_mqtt.mqtt.connection import Connection, Ending
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Publication
from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.reconnect import Attempt, Cause, FailureLog, first_attempt

FULL_LOG_INTERVAL_S = 60.0
"""Shortest time between two warnings that the outbox is full."""

_LOST = {Cause.LOST, Cause.TAKEN_OVER}

log = logging.getLogger(__name__)


class MqttClient:
    """One client of one broker, with its own network thread. It cannot be restarted."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._state = ClientState(
            client_id=options.config.client_id or f"stt-mqtt-{secrets.token_hex(4)}",
            outbox=Outbox(now=options.now),
            filters=dict.fromkeys(options.subscriptions, 1),
        )
        self._filters_lock = threading.Lock()
        self._connection: Connection | None = None
        self._failures = FailureLog(options.config.client_id)
        self._jitter = SystemRandom()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None
        self._quiet_until = 0.0
        """Until when nothing is said of a full outbox."""

    @property
    def address(self) -> str:
        """Host and port of the broker as text."""
        return self._options.address

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it is not known to be lost."""
        connection = self._connection
        return connection is not None and connection.connected

    @property
    def failure(self) -> str | None:
        """Why there is no connection; None: there is one, or no attempt has ended yet."""
        return None if self.connected else self._failure

    @property
    def connection(self) -> int:
        """Number of the current connection, counted from 1; 0 while there is none.

        It is set before `ClientListener.connected` is called, and 0 again before
        `ClientListener.disconnected`.
        """
        return self._state.outbox.connection

    @property
    def connections(self) -> int:
        """How often the broker has accepted a connection."""
        return self._state.outbox.connections

    @property
    def is_alive(self) -> bool:
        """Whether the network thread runs, or was not started yet."""
        return self._thread is None or self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """Whether the network thread runs, but has given no sign of life for long."""
        return self._thread is not None and self.is_alive and self._state.heartbeat.is_missing

    @property
    def waiting(self) -> tuple[int, int]:
        """Publications that are not sent or not acknowledged, and their bytes with overhead."""
        return self._state.outbox.waiting

    @property
    def lost_publications(self) -> int:
        """Publications that were dropped because the outbox was full or they expired."""
        return self._state.outbox.lost

    @property
    def undecodable_messages(self) -> int:
        """Received messages that were dropped because a text in them is not UTF-8."""
        return self._state.undecodable

    @property
    def too_large_messages(self) -> int:
        """Messages that were dropped while they were read, because they are over the limit."""
        return self._state.too_large

    def start(self, listener: ClientListener) -> None:
        """Start the network thread. It connects, reconnects and calls `listener`."""
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="mqtt", daemon=True
        )
        self._thread.start()

    def publish(self, publication: Publication) -> None:
        """Queue `publication`. May be called from any thread; never blocks.

        While there is no connection, QoS 1 waits; QoS 0 is dropped unless it has `expires_at`. If
        a publication names a connection, it is sent on that one or not at all. If the queue is
        full, the publication is dropped and counted.
        """
        if not publication.may_wait and not self.connected:
            return
        outbox = self._state.outbox
        lost = outbox.lost
        if outbox.put(publication):
            self._state.wakeup.set()
        elif outbox.lost != lost:
            self._log_full()

    def subscribe(self, filters: Collection[str], bulk: Collection[str] = ()) -> None:
        """Subscribe to `filters` on every connection until `unsubscribe`.

        The filters in `bulk` are subscribed with QoS 0, the others with QoS 1. A broker queues a
        limited number of QoS 1 messages for a client and drops the rest (Mosquitto: 1,000).
        """
        more = {name: 0 if name in bulk else 1 for name in filters}
        with self._filters_lock:
            self._state.filters = {**self._state.filters, **more}
        self._state.wakeup.set()

    def unsubscribe(self, filters: Collection[str]) -> None:
        """Undo `subscribe`."""
        with self._filters_lock:
            wanted = self._state.filters
            self._state.filters = {name: wanted[name] for name in wanted if name not in filters}
        self._state.wakeup.set()

    def read_all(self) -> None:
        """Have the network thread read everything that has arrived; see `has_read_all`."""
        self._state.reads_asked += 1
        self._state.wakeup.set()

    @property
    def has_read_all(self) -> bool:
        """Whether the listener got everything that had arrived at the last `read_all`."""
        return not self.connected or self._state.reads_done == self._state.reads_asked

    def flush(self, timeout_s: float) -> bool:
        """Wait until every QoS 1 publication is acknowledged. Return False on timeout."""
        return self._state.outbox.flush(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Disconnect cleanly, so that the broker does not publish the last will.

        Returns after at most `timeout_s`. Queued publications are not sent; call `flush` before.
        """
        self._state.stop_by = time.monotonic() + timeout_s
        self._state.stopping.set()
        self._state.wakeup.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return
        self._state.wakeup.close()

    def _run(self, listener: ClientListener) -> None:
        config = self._options.config
        attempt = first_attempt(config.protocol, named=config.client_id is not None)
        heartbeat = self._state.heartbeat
        heartbeat.beat()
        while not self._state.stopping.wait(attempt.delay_s):
            heartbeat.beat(CONNECT_HANG_S)
            ending, lived_s = self._connect(attempt.protocol, listener)
            self._state.outbox.connection_ended()
            if self._state.stopping.is_set():
                return
            following = attempt.after(ending.kind, self._jitter.random(), lived_s)
            if ending.kind in _LOST:
                self._tell_loss(listener, ending.reason)
            self._report(ending, lived_s, attempt, following)
            attempt = following
            heartbeat.beat(attempt.delay_s + HANG_S)

    def _connect(self, protocol: Protocol, listener: ClientListener) -> tuple[Ending, float]:
        """Make one connection or attempt; return how it ended and how many seconds it was up."""
        log_level = logging.DEBUG if self._failures.flapping else logging.INFO
        connection = None
        try:
            connection = Connection(self._options, protocol, listener, self._state, log_level)
            self._connection = connection
            ending = connection.run()
        except Exception:
            log.exception("the connection to %s failed unexpectedly", self.address)
            was_up = connection is not None and connection.connected_at is not None
            kind = Cause.LOST if was_up else Cause.UNSUPPORTED
            ending = Ending(kind, "internal error, see the log")
        finally:
            self._connection = None
        if connection is None or connection.connected_at is None:
            return ending, 0.0
        return ending, time.monotonic() - connection.connected_at

    def _report(self, ending: Ending, lived_s: float, attempt: Attempt, following: Attempt) -> None:
        if following.protocol is Protocol.V311 and attempt.protocol is Protocol.V5:
            text = f"{self.address} does not accept MQTT 5, trying 3.1.1"
            log.log(logging.INFO if self._failures.is_new(text) else logging.DEBUG, text)
            return
        loud, reason = logging.WARNING, ending.reason
        if ending.kind is Cause.CREDENTIALS:
            loud = logging.ERROR
            reason += "; check mqtt.username and mqtt.password or password_file"
        self._failure = reason
        message = self._failures.message_for(ending.kind, reason, lived_s, time.monotonic())
        level = logging.DEBUG if message is None else loud
        log.log(level, "%s; trying again in %.0f s", message or reason, following.delay_s)

    def _log_full(self) -> None:
        """Say that messages are lost, once in a while."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + FULL_LOG_INTERVAL_S
            log.warning(
                "%s does not take what is published: %d messages wait, and new ones are lost "
                "(%d so far); check the broker",
                self.address,
                self.waiting[0],
                self.lost_publications,
            )

    def _tell_loss(self, listener: ClientListener, reason: str) -> None:
        try:
            listener.disconnected(reason)
        except Exception:
            log.exception(
                "%s could not handle the loss of the connection, please report this",
                type(listener).__name__,
            )
