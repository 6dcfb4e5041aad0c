"""The MQTT client: connects, stays connected, and never blocks whoever publishes."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from random import SystemRandom

from stt_mqtt.config import Protocol
from stt_mqtt.mqtt.client_state import ClientState
from stt_mqtt.mqtt.complaints import Complaints
from stt_mqtt.mqtt.connection import Connection, Ending
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.mqtt.options import ClientListener, ClientOptions
from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.reconnect import Attempt, Cause, first_attempt

__all__ = ["ClientListener", "ClientOptions", "MqttClient"]

_LOST = {Cause.LOST, Cause.TAKEN_OVER}

log = logging.getLogger(__name__)


class MqttClient:
    """One client of one broker, with a network thread of its own; used once."""

    def __init__(self, options: ClientOptions, listener: ClientListener) -> None:
        self._options = options
        self._listener = listener
        self._lasting = ClientState(
            client_id=options.config.client_id or f"stt-mqtt-{secrets.token_hex(4)}",
            outbox=Outbox(now=options.now),
            filters=frozenset(options.subscriptions),
            bulk=options.bulk,
        )
        self._filters_lock = threading.Lock()
        self._link: Connection | None = None
        self._complaints = Complaints(options.config.client_id)
        self._address = options.address
        self._jitter = SystemRandom()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it is not known to be lost."""
        link = self._link
        return link is not None and link.connected

    @property
    def connection(self) -> int:
        """Number of the present connection, counted from 1; 0 while there is none.

        `ClientListener.connected` finds the new one here. When `ClientListener.disconnected` is
        called, the old one is gone.
        """
        return self._lasting.outbox.connection

    @property
    def lost_publications(self) -> int:
        """Publications that found the queue full or could never be sent."""
        return self._lasting.outbox.lost

    @property
    def undecodable_messages(self) -> int:
        """Received messages that were dropped because their topic is not UTF-8."""
        return self._lasting.undecodable

    def start(self) -> None:
        """Start the network thread, which connects and keeps connecting."""
        self._thread.start()

    def publish(self, publication: Publication) -> None:
        """Queue `publication`; never blocks, from any thread.

        While offline QoS 1 waits, QoS 0 is dropped unless it says until when it may wait. What
        names its connection is sent on that one or not at all. A full queue loses it, counted.
        """
        if not publication.may_wait and not self.connected:
            return
        if self._lasting.outbox.put(publication):
            self._lasting.wakeup.set()

    def subscribe(self, filters: tuple[str, ...]) -> None:
        """Subscribe with QoS 1 to `filters` too, on every connection until `unsubscribe`."""
        with self._filters_lock:
            self._lasting.filters = self._lasting.filters | set(filters)
        self._lasting.wakeup.set()

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """Undo `subscribe`."""
        with self._filters_lock:
            self._lasting.filters = self._lasting.filters - set(filters)
        self._lasting.wakeup.set()

    def look(self) -> None:
        """Have the network thread find out whether anything waits that it has not read.

        After a standstill of the process it may have as much to read as the event loop to do.
        """
        self._lasting.looks_asked += 1
        self._lasting.wakeup.set()

    @property
    def has_looked(self) -> bool:
        """Whether everything was read, and told, that had come in when `look` was called last."""
        return not self.connected or self._lasting.looks_done == self._lasting.looks_asked

    def flush(self, timeout_s: float) -> bool:
        """Wait until every QoS 1 publication was acknowledged; False: it took too long."""
        return self._lasting.outbox.flush(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Disconnect cleanly, so that the broker keeps the last will to itself.

        Returns after at most `timeout_s`. What is still queued is not sent: `flush` first.
        """
        self._lasting.stop_by = time.monotonic() + timeout_s
        self._lasting.stopping.set()
        self._lasting.wakeup.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._lasting.wakeup.close()

    def _run(self) -> None:
        attempt = first_attempt(self._options.config.protocol)
        while not self._lasting.stopping.wait(attempt.delay_s):
            ending, lived_s = self._connection(attempt.protocol)
            self._lasting.outbox.connection_ended()
            if self._lasting.stopping.is_set():
                return
            following = attempt.after(ending.kind, self._jitter.random(), lived_s)
            if ending.kind in _LOST:
                self._tell_listener(ending.reason)
            self._report(ending, lived_s, attempt, following)
            attempt = following

    def _connection(self, protocol: Protocol) -> tuple[Ending, float]:
        """One connection, or the attempt of one: how it ended, and how long it was up."""
        link = None
        greeting = logging.DEBUG if self._complaints.flapping else logging.INFO
        try:
            link = Connection(self._options, protocol, self._listener, self._lasting, greeting)
            self._link = link
            ending = link.run()
        except Exception:
            log.exception("the connection to %s failed unexpectedly", self._address)
            was_up = link is not None and link.connected_at is not None
            kind = Cause.LOST if was_up else Cause.UNSUPPORTED
            ending = Ending(kind, "internal error, see the log")
        finally:
            self._link = None
        if link is None or link.connected_at is None:
            return ending, 0.0
        return ending, time.monotonic() - link.connected_at

    def _report(self, ending: Ending, lived_s: float, attempt: Attempt, following: Attempt) -> None:
        if following.protocol is Protocol.V311 and attempt.protocol is Protocol.V5:
            text = f"{self._address} does not accept MQTT 5, trying 3.1.1"
            log.log(logging.INFO if self._complaints.is_new(text) else logging.DEBUG, text)
            return
        loud, reason = logging.WARNING, ending.reason
        if ending.kind is Cause.CREDENTIALS:
            loud = logging.ERROR
            reason += "; check mqtt.username and mqtt.password or password_file"
        complaint = self._complaints.about(ending.kind, reason, lived_s, time.monotonic())
        level = logging.DEBUG if complaint is None else loud
        log.log(level, "%s; trying again in %.0f s", complaint or reason, following.delay_s)

    def _tell_listener(self, reason: str) -> None:
        try:
            self._listener.disconnected(reason)
        except Exception:
            log.exception(
                "%s could not handle the loss of the connection, please report this",
                type(self._listener).__name__,
            )
