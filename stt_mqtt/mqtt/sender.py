"""The sending half of one connection: publications and subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from stt_mqtt.mqtt.client_state import ClientState
from stt_mqtt.mqtt.messages import BrokerAnswer
from stt_mqtt.mqtt.properties import publish_properties

MAX_IN_FLIGHT = 100
"""Publications sent and not yet acknowledged."""

log = logging.getLogger(__name__)


class Sender:
    """Passes waiting publications to a connected paho client. For the network thread only.

    `answered`: see `ClientOptions`.
    """

    def __init__(
        self,
        client: Client,
        v5: bool,
        state: ClientState,
        answered: Callable[[BrokerAnswer], None] | None = None,
    ) -> None:
        self._client = client
        self._v5 = v5
        self._state = state
        self._answered = answered or _log_refusal
        self._max_in_flight = MAX_IN_FLIGHT
        self._subscribed: Mapping[str, int] = {}
        self._pending_filters: dict[int, list[str]] = {}
        self._receipts: dict[int, Callable[[], None]] = {}
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe

    def limit_in_flight(self, receive_maximum: int) -> None:
        """The broker accepts at most `receive_maximum` unacknowledged publications."""
        self._max_in_flight = min(MAX_IN_FLIGHT, receive_maximum)

    def send_waiting(self) -> None:
        """Pass waiting publications to paho as long as the socket is writable."""
        outbox = self._state.outbox
        self.subscribe()
        handed_over = 0
        while handed_over % MAX_IN_FLIGHT or self._is_writable():
            publication = outbox.take(self._max_in_flight)
            if publication is None:
                return
            # Whoever subscribed before it published gets what comes back.
            self.subscribe()
            try:
                info = self._client.publish(
                    publication.topic,
                    publication.payload,
                    publication.qos,
                    publication.retain,
                    publish_properties(publication, outbox.now()) if self._v5 else None,
                )
            except ValueError:
                log.exception("a message to %s is invalid and was dropped", publication.topic)
                outbox.drop(publication)
                continue
            if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                outbox.put_back(publication)
                return
            outbox.sent(info.mid, publication)
            if publication.receipt is not None:
                self._receipts[info.mid] = publication.receipt
            handed_over += 1

    def _is_writable(self) -> bool:
        """Whether paho has written everything to the socket."""
        if self._client.want_write():
            self._client.loop_write()
        return not self._client.want_write() and self._client.socket() is not None

    def subscribe(self) -> None:
        """Subscribe to new filters and unsubscribe from those no longer wanted."""
        wanted = self._state.filters
        if wanted is self._subscribed:
            return
        gone = sorted(self._subscribed.keys() - wanted.keys())
        new = sorted(wanted.keys() - self._subscribed.keys())
        self._subscribed = wanted
        if gone:
            self._client.unsubscribe(gone)
        if not new:
            return
        if self._v5:
            options = [(name, SubscribeOptions(qos=wanted[name])) for name in new]
            _, mid = self._client.subscribe(options)
        else:
            _, mid = self._client.subscribe([(name, wanted[name]) for name in new])
        if mid is not None:
            self._pending_filters[mid] = new

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, code: ReasonCode, _more: Any
    ) -> None:
        publication = self._state.outbox.acknowledged(mid)
        if publication is not None:
            self._answered(_answer(publication.topic, code, is_subscription=False))
        receipt = self._receipts.pop(mid, None)
        if receipt is not None:
            try:
                receipt()
            except Exception:
                log.exception("whoever published could not handle a receipt, please report this")

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _more: Any
    ) -> None:
        for name, code in zip(self._pending_filters.pop(mid, []), codes, strict=False):
            self._answered(_answer(name, code, is_subscription=True))


def _answer(topic: str, code: ReasonCode, *, is_subscription: bool) -> BrokerAnswer:
    return BrokerAnswer(topic, str(code) if code.is_failure else None, is_subscription)


def _log_refusal(answer: BrokerAnswer) -> None:
    if answer.refusal is not None:
        log.error(
            "the broker refuses %s %s (%s): give the user the right to %s it",
            "the subscription to" if answer.is_subscription else "a message to",
            answer.topic,
            answer.refusal,
            "read" if answer.is_subscription else "write",
        )
