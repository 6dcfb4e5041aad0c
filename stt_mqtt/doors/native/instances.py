"""One service per base topic: detects other services.

Two services on one base topic would answer everything twice. Before a service takes any input, it
probes for another live one. Later it monitors the topics that it publishes about itself. The
gateways of one fleet are one service: they have one instance id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from stt_mqtt.core.clock import Clock
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.doors.native.messages import transaction_of
from stt_mqtt.doors.native.topics import ONLINE, Topics
from stt_mqtt.mqtt.json import Json, object_in
from stt_mqtt.mqtt.messages import Publication, Publish

PROBE = "health_check"
"""The request that every live service answers."""
PROBE_TIMEOUT_S = 3.0
"""How long to wait for the answer of another service."""
WARN_AFTER_S = 2.0
"""Delay of the warning after another client published that this service is offline.

A broker that shuts down publishes the last will before it closes the connection.
"""
OWN_WILL_S = 120.0
"""How long after connecting the last will of the previous connection may arrive."""
MAX_INSTANCE_CHARACTERS = 64
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""Largest message that is read. The answer to a probe lists all devices."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InstanceCallbacks:
    """What to call when something is detected."""

    probed: Callable[[str | None], None]
    """Called with the instance of another live service, or None if there is none."""
    say_online: Callable[[], None]
    """Publish `online` again, because another service was detected."""
    said_offline: Callable[[], bool]
    """Another client published `offline`, or the broker did, as the last will of this one.

    Publish all topics of this service again. Return whether there should be no other client.
    """


@dataclass(frozen=True, slots=True)
class Instance:
    """Who this process is. `id`: random, or the same for all gateways of a fleet.

    `ownership`: whether this process speaks for the service.
    """

    id: str
    ownership: Ownership = EVERYTHING


class InstanceMonitor:
    """Detects other services on the base topic."""

    def __init__(
        self,
        instance: Instance,
        topics: Topics,
        publish: Publish,
        clock: Clock,
        callbacks: InstanceCallbacks,
    ) -> None:
        self.own = own = instance.id
        self._transaction = f"{own}.{token_hex(4)}" if instance.ownership.shared else own
        """Marks the probe of this process, also among the gateways of its fleet."""
        self._topics = topics
        self._publish = publish
        self._clock = clock
        self._callbacks = callbacks
        self._probing = False
        self._probe_until: float | None = None
        """When the probe times out; None: there is none."""
        self._other_may_live = False
        self._connected_at = 0.0
        self._warn_at: float | None = None
        """When to warn that another client published `offline`."""
        self._stopped = False
        self._warned = False

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        both = (self._probe_until, self._warn_at)
        return min((at for at in both if at is not None), default=None)

    def tick(self, connected: bool) -> None:
        """Do what is due. Without a connection nothing is concluded; the next one probes again."""
        now = self._clock.now()
        if self._probe_until is not None and now >= self._probe_until:
            self._probe_until = None
            if connected:
                # The retained `online` of another service is stale.
                self._end_probe(None)
        if self._warn_at is not None and now >= self._warn_at:
            self._warn_at = None
            if connected:
                self._warn("it was said to be offline while it serves")

    def on_connected(self) -> None:
        """The client has connected. Earlier messages no longer count."""
        self._connected_at = self._clock.now()
        self._warn_at = None

    def probe(self) -> None:
        """Ask whether another service is live.

        The broker sends the request back to this service, after all retained messages. If none of
        those says `online`, the probe ends without waiting.
        """
        self._probing = True
        self._other_may_live = False
        self._probe_until = self._clock.now() + PROBE_TIMEOUT_S
        topic = self._topics.of_bridge(f"request/{PROBE}")
        fields = {"transaction": self._transaction, "probe": self.own}
        self._publish(Publication(topic, json.dumps(fields).encode()))

    def stop(self) -> None:
        """Stop monitoring: this service shuts down."""
        self._stopped = True

    def state(self, payload: bytes, retained: bool) -> None:
        """Handle a message on the state topic of the service."""
        if self._probing:
            self._other_may_live = self._other_may_live or payload == ONLINE
        elif payload != ONLINE and not retained and not self._stopped:
            # This may be the last will of this service, from a lost connection.
            is_strange = self._callbacks.said_offline()
            now = self._clock.now()
            is_own_will = now - self._connected_at <= OWN_WILL_S
            if is_strange and not is_own_will and self._warn_at is None:
                self._warn_at = now + WARN_AFTER_S

    def info(self, payload: bytes, retained: bool) -> None:
        """Handle a message on the info topic of the service."""
        if retained or self._probing:
            return
        instance = instance_in(object_in(payload, MAX_PAYLOAD_BYTES))
        if instance != self.own:
            self._reassert_online(f"another service, instance {instance}, describes itself there")

    def is_ignored(self, request: str, fields: Json) -> bool:
        """Whether not to answer a request: it is our own, or this service takes no input yet.

        When our probe comes back, all retained messages have been read. If two services probe at
        the same time, the one with the lesser instance id continues.
        """
        is_own = request == PROBE and fields.get("transaction") == self._transaction
        other = fields.get("probe")
        if self._probing and not is_own and request == PROBE and isinstance(other, str):
            if other < self.own:
                self._end_probe(other[:MAX_INSTANCE_CHARACTERS])
            elif other > self.own:
                self._answer_probe(transaction_of(fields))
            return True
        unanswered = is_own or self._probing
        if is_own and self._probing and not self._other_may_live:
            self._end_probe(None)
        return unanswered

    def response(self, payload: bytes) -> None:
        """Handle an answer to a probe, from any service to any other."""
        answer = object_in(payload, MAX_PAYLOAD_BYTES)
        if answer.get("transaction") != self._transaction:
            return
        instance = instance_in(answer.get("data"))
        if self._probing:
            self._end_probe(None if instance == self.own else instance)
        elif instance != self.own:
            self._reassert_online(f"another service, instance {instance}, answers there")

    def _answer_probe(self, transaction: str | int | float | None) -> None:
        answer = {"status": "ok", "data": {"instance": self.own}, "transaction": transaction}
        topic = self._topics.of_bridge(f"response/{PROBE}")
        self._publish(Publication(topic, json.dumps({**answer, "error": None}).encode()))

    def _end_probe(self, other: str | None) -> None:
        if self._probing and not self._stopped:
            self._probing = False
            self._probe_until = None
            self._callbacks.probed(other)

    def _reassert_online(self, what: str) -> None:
        """Publish only `online`. More would make two services answer each other for ever."""
        if not self._stopped:
            self._warn(what)
            self._callbacks.say_online()

    def _warn(self, what: str) -> None:
        log.log(
            logging.DEBUG if self._warned else logging.WARNING,
            "%s: %s; two services on one mqtt.base_topic answer everything twice: end one of "
            "them, or give it a base topic of its own",
            self._topics.of_bridge("state"),
            what,
        )
        self._warned = True


def instance_in(fields: object) -> str:
    """The instance id in a message of a service; `unknown` if it has none."""
    instance = fields.get("instance") if isinstance(fields, dict) else None
    return instance[:MAX_INSTANCE_CHARACTERS] if isinstance(instance, str) else "unknown"
