"""One connection to the broker for a check. It does not reconnect, and answers are awaited."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from stt_mqtt.config import Protocol
from stt_mqtt.mqtt.client_state import ClientState
from stt_mqtt.mqtt.connection import Connection, Ending
from stt_mqtt.mqtt.messages import BrokerAnswer, ClientListener, ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.outbox import Outbox
from stt_mqtt.mqtt.reconnect import Cause

MAX_KEPT = 256
"""Most messages that are kept."""
LEAVE_S = 1.0
"""Longest time for a clean disconnect."""
_OTHER_VERSION = {Cause.UNSUPPORTED, Cause.NO_ANSWER}
"""Endings after which the older version of MQTT is tried, as the client of the service does."""


@dataclass(slots=True)
class _Heard:
    """What the network thread has noted. Guarded by `changed`."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    protocol: str | None = None
    ending: Ending | None = None
    messages: list[Inbound] = field(default_factory=list)
    answers: list[BrokerAnswer] = field(default_factory=list)


class ProbeSession(ClientListener):
    """A connection under a client identifier of its own, so that it displaces no other client.

    `keeps`: which messages are kept, called in the network thread. Its methods are called from one
    thread and block at most for their timeouts.
    """

    def __init__(self, options: ClientOptions, keeps: Callable[[Inbound], bool]) -> None:
        self._options = replace(options, answered=self._on_answer)
        self._keeps = keeps
        self._heard = _Heard()
        self._state: ClientState | None = None
        self._thread: threading.Thread | None = None

    @property
    def protocol(self) -> str:
        """The MQTT version of the connection, `5` or `3.1.1`; empty if there is none."""
        return self._heard.protocol or ""

    @property
    def messages(self) -> list[Inbound]:
        """The messages that were kept so far."""
        with self._heard.changed:
            return list(self._heard.messages)

    def open(self, timeout_s: float) -> Ending | None:
        """Connect; return why that failed, or None."""
        until = time.monotonic() + timeout_s
        wanted = self._options.config.protocol
        ending = self._connect(Protocol.V5 if wanted is Protocol.AUTO else wanted, until)
        if ending is not None and wanted is Protocol.AUTO and ending.kind in _OTHER_VERSION:
            self.close()
            ending = self._connect(Protocol.V311, until)
        return ending

    def subscribe(self, filters: Collection[str], timeout_s: float) -> dict[str, str | None]:
        """Subscribe with QoS 0; return the answers: the broker's refusal or None, by filter."""
        assert self._state is not None
        self._state.filters = {**self._state.filters, **dict.fromkeys(filters, 0)}
        self._state.wakeup.set()
        return self._answers(set(filters), timeout_s, is_subscription=True)

    def publish(
        self, publications: Collection[Publication], timeout_s: float
    ) -> dict[str, str | None]:
        """Publish with QoS 1; return the answers: the broker's refusal or None, by topic."""
        assert self._state is not None
        for publication in publications:
            self._state.outbox.put(replace(publication, qos=1))
        self._state.wakeup.set()
        topics = {publication.topic for publication in publications}
        return self._answers(topics, timeout_s, is_subscription=False)

    def wait_for(self, predicate: Callable[[list[Inbound]], bool], timeout_s: float) -> bool:
        """Wait until the messages that were kept satisfy `predicate`; False on timeout."""
        heard = self._heard
        with heard.changed:
            return heard.changed.wait_for(
                lambda: predicate(heard.messages) or heard.ending is not None, timeout_s
            ) and predicate(heard.messages)

    def close(self) -> None:
        """Disconnect cleanly."""
        if self._state is None or self._thread is None:
            return
        self._state.stop_by = time.monotonic() + LEAVE_S
        self._state.stopping.set()
        self._state.wakeup.set()
        self._thread.join(LEAVE_S)
        if not self._thread.is_alive():
            self._state.wakeup.close()
        self._state = self._thread = None

    # ClientListener, in the network thread ------------------------------------------------

    def connected(self, protocol: str) -> None:
        """The broker has accepted the connection."""
        with self._heard.changed:
            self._heard.protocol = protocol
            self._heard.changed.notify_all()

    def disconnected(self, reason: str) -> None:
        """Not called for a single connection."""

    def message(self, message: Inbound) -> None:
        """Keep a message, if it is wanted."""
        if not self._keeps(message):
            return
        with self._heard.changed:
            if len(self._heard.messages) < MAX_KEPT:
                self._heard.messages.append(message)
            self._heard.changed.notify_all()

    def _on_answer(self, answer: BrokerAnswer) -> None:
        with self._heard.changed:
            self._heard.answers.append(answer)
            self._heard.changed.notify_all()

    def _connect(self, protocol: Protocol, until: float) -> Ending | None:
        heard = self._heard = _Heard()
        self._state = ClientState(f"stt-mqtt-probe-{secrets.token_hex(4)}", Outbox())
        connection = Connection(self._options, protocol, self, self._state, logging.DEBUG)

        def run() -> None:
            ending = connection.run()
            with heard.changed:
                heard.ending = ending
                heard.changed.notify_all()

        self._thread = threading.Thread(target=run, name="mqtt-probe", daemon=True)
        self._thread.start()
        with heard.changed:
            heard.changed.wait_for(
                lambda: heard.protocol is not None or heard.ending is not None,
                max(until - time.monotonic(), 0.0),
            )
            if heard.protocol is not None:
                return None
            late = f"{self._options.address} does not answer in time"
            return heard.ending or Ending(Cause.UNREACHABLE, late)

    def _answers(
        self, topics: set[str], timeout_s: float, *, is_subscription: bool
    ) -> dict[str, str | None]:
        """The answers about `topics`. Those that do not come in time are missing."""
        heard = self._heard

        def found() -> dict[str, str | None]:
            return {
                answer.topic: answer.refusal
                for answer in heard.answers
                if answer.is_subscription is is_subscription and answer.topic in topics
            }

        with heard.changed:
            heard.changed.wait_for(
                lambda: len(found()) == len(topics) or heard.ending is not None, timeout_s
            )
            return found()
