"""The protocol by which the gateways of a fleet agree on a ring. Pure. docs/fleet.md describes it.

`now` is in monotonic seconds of this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stt_mqtt.config.root import RESERVED_NAME
from stt_mqtt.fleet.claim import NameClaim
from stt_mqtt.fleet.peers import Peers
from stt_mqtt.fleet.ring import (
    MAX_GATEWAYS,
    Entry,
    Here,
    Ring,
    decode_entry,
    decode_message,
    encode_entry,
    encode_message,
    owner,
)

ROLL_CALL_S: Final = 0.5
"""Time in which a live gateway answers that it is here."""
AGAIN_S: Final = 2.0
"""Time after which a ring that a gateway has not heard is published again."""
BETWEEN_S: Final = 0.1
"""Shortest time between two rings of one gateway."""
MAX_NAMES = 10_000
"""Names whose owner is remembered."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MembershipCallbacks:
    """What a membership wants done."""

    say: Callable[[bytes, bool], None]
    """Publish on the topic of the gateways, QoS 1, on this connection only. The flag: retained."""
    put: Callable[[], None]
    """Put the entry into the bucket now: it has changed."""
    changed: Callable[[bool], None]
    """The share of this gateway has changed; see `OwnershipObserver.ownership_changed`."""
    speak: Callable[[], None]
    """See `OwnershipObserver.speak`."""
    refused: Callable[[], None]
    """Another process has the name of this gateway by right."""


@dataclass(slots=True)
class _RollCall:
    """A time in which all say that they are here. `strict`: who does not is dead."""

    until: float
    strict: bool
    own: bool = False
    answered: set[str] = field(default_factory=set)
    """Sessions of those who did."""


class Membership:
    """One gateway's part of the protocol.

    `name`: of this gateway. `session`: a random id of this process.
    """

    def __init__(self, name: str, session: str, now: float, callbacks: MembershipCallbacks) -> None:
        self.ring: Ring | None = None
        """The last ring that came on this connection to the broker: it is in force."""
        self.leaving = False
        self._name = name
        self._session = session
        self._calls = callbacks
        self._peers = Peers(now)
        self._claim = NameClaim(session, now)
        self._ready = False
        """Whether an own message came back: the broker has the subscriptions of this gateway."""
        self._roll: _RollCall | None = None
        self._epoch = 0
        self._published: Ring | None = None
        """The newest own ring, until it comes back."""
        self._published_at = self._heard_at = now - AGAIN_S
        """When this gateway published a ring, and when one came."""
        self._has_to_wait = False
        """Whether a ring is due `BETWEEN_S` after the last one."""
        self._was_offline = False
        """Whether somebody said `offline`, and the gateways have not agreed on a ring since."""
        self._owned: dict[str, bool] = {}

    # What it knows -----------------------------------------------------------------------------

    def owns(self, name: str) -> bool:
        """Whether this gateway opens the utterances of a name."""
        known = self._owned.get(name)
        if known is None:
            is_owner = self.ring is not None and self.ring.owner(name) == self._name
            known = is_owner and self._claim.is_ours
            if len(self._owned) >= MAX_NAMES:
                self._owned.clear()
            self._owned[name] = known
        return known

    @property
    def leads(self) -> bool:
        """Whether this gateway speaks for all."""
        return self.owns(RESERVED_NAME)

    @property
    def is_member(self) -> bool:
        """Whether this gateway is in the ring in force."""
        in_ring = self.ring is not None and self._name in self.ring.gateways
        return in_ring and self._claim.is_ours

    def live(self, now: float) -> tuple[str, ...]:
        """The gateways that may own names, this one included, by name."""
        is_here = self._claim.is_ours and self._ready and not self.leaving
        own = [self._name] if is_here else []
        return tuple(sorted(own + self._peers.live(now))[:MAX_GATEWAYS])

    def is_alone(self, now: float) -> bool:
        """Whether no other gateway lives."""
        return not self._peers.live(now)

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next."""
        due = [] if self._roll is None else [self._roll.until]
        if self._has_to_wait:
            due.append(self._published_at + BETWEEN_S)
        if not due and self._ready and not self._claim.is_ours:
            due.append(self._claim.free_at)
        return min(due, default=None)

    def beat(self, now: float) -> bytes | None:
        """The entry to put into the bucket. None: the name may be that of another process."""
        beat = self._claim.beat(now)
        if not self._claim.is_ours:
            return None
        ring = None if self.ring is None else self.ring.id
        entry = Entry(self._session, beat, self._ready, self.leaving, self._epoch, ring)
        return encode_entry(entry)

    # The broker --------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """There is a connection to the broker; the subscriptions to the input are queued."""
        self._say_here(now, asks=True)

    def disconnected(self) -> None:
        """The connection is lost. The next one begins with the ring that is in force then."""
        self.ring, self._ready, self._roll, self._published = None, False, None, None
        self._was_offline = False
        self._owned.clear()
        self._calls.put()
        self._calls.changed(False)

    def heard(self, payload: bytes, now: float) -> None:
        """Handle a message on the topic of the gateways. Raises WireError."""
        message = decode_message(payload)
        if isinstance(message, Ring):
            self._apply(message, now)
        elif message.here != self._name:
            self._hear(message, now)
        elif message.session != self._session:
            if message.asks and self._claim.is_ours:
                self._say_here(now)
            self._claim.note_clash(message.session, message.joins, now)
        elif not self._ready:
            self._ready = True
            self._roll = _RollCall(now + ROLL_CALL_S, strict=False, own=True)
            self._calls.put()
        self._go_on(now)

    def said_offline(self, now: float) -> None:
        """A gateway has lost its connection to the broker, and maybe its life: which one?"""
        self._was_offline = True
        self._say_here(now)
        self._roll = _RollCall(now + ROLL_CALL_S, strict=True)

    def leave(self, now: float) -> None:
        """Own nothing any more, as soon as the others know it."""
        self.leaving = True
        self._say_here(now, asks=True)
        self._calls.put()

    def say_goodbye(self, now: float) -> None:
        """Nothing is open any more."""
        self._say_here(now, asks=True, left=True)

    # The bucket --------------------------------------------------------------------------------

    def looked(self, now: float) -> None:
        """The bucket can be read."""
        self._claim.looked(now)

    def entered(self, name: str, data: bytes | None, now: float) -> None:
        """A gateway put an entry into the bucket, or deleted it (None). Raises WireError."""
        if data is None:
            self._peers.deleted(name)
        else:
            entry = decode_entry(data)
            self._epoch = max(self._epoch, entry.epoch)
            if name != self._name:
                self._peers.note(name, entry, now)
            elif entry.session != self._session:
                self._claim.note_other(entry, now)
            else:
                self._claim.note_echo()
                self._peers.note_echo(entry.beat, now, self.ring)
        self._go_on(now)

    # Time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        roll = self._roll if self._roll is not None and now >= self._roll.until else None
        if roll is not None:
            self._roll = None
            if roll.strict:
                self._peers.missed(roll.answered)
        may_take = self._ready and self._roll is None and now >= self._claim.free_at
        takes = may_take and not self._claim.is_ours
        if takes:
            self._take_name(now)
        self._go_on(now, counted=takes or roll is not None)

    # Internals ---------------------------------------------------------------------------------

    def _go_on(self, now: float, counted: bool = False) -> None:
        self._has_to_wait = False
        if self._claim.is_refused:
            self._calls.refused()
        elif self._may_propose(now, counted):
            self._propose(now)
        is_right = self.ring is not None and self.ring.gateways == self.live(now)
        if self._was_offline and is_right and not self._is_counting_dead:
            self._was_offline = False
            self._speak()

    def _take_name(self, now: float) -> None:
        self._claim.take(now)
        if self._claim.has_looked:
            self._peers.expect_echo(now)
        self._owned.clear()
        self._say_here(now, asks=True)
        self._calls.put()
        if self.ring is not None:
            self._calls.changed(True)
            self._speak()

    def _say_here(self, now: float, asks: bool = False, left: bool = False) -> None:
        sees, joins = self._peers.is_fresh(now), self._claim.is_ours
        here = Here(self._name, self._session, asks, sees, joins, self.leaving, left)
        self._calls.say(encode_message(here), False)

    def _hear(self, message: Here, now: float) -> None:
        self._peers.hear(message, now)
        if message.asks:
            self._say_here(now)
            if self._roll is None:
                self._roll = _RollCall(now + ROLL_CALL_S, strict=False)
        if self._roll is not None:
            self._roll.answered.add(message.session)

    def _apply(self, ring: Ring, now: float) -> None:
        """A ring came: from this message on it is in force."""
        before, self.ring = self.ring, ring
        self._epoch = max(self._epoch, ring.epoch)
        self._heard_at = now
        if self._published is not None and self._published.id == ring.id:
            self._published = None
        if ring == before:
            return
        self._owned.clear()
        self._calls.put()
        if not self._claim.is_ours:
            return
        if before is not None and self._peers.doubt_if_dead(ring.by, now):
            self._say_here(now, asks=True)
            self._roll = _RollCall(now + ROLL_CALL_S, strict=False)
        if self._ready and not self.leaving and not self.is_member:
            # Somebody has not heard that this gateway is here.
            self._say_here(now)
        self._calls.changed(before is None or bool(before.members - ring.members))
        self._speak()

    def _speak(self) -> None:
        """Say that the service is online, unless one of the ring may just have died."""
        if self.leads and not self._is_counting_dead:
            self._calls.speak()

    @property
    def _is_counting_dead(self) -> bool:
        return self._roll is not None and self._roll.strict

    def _may_propose(self, now: float, counted: bool) -> bool:
        """Whether it is up to this gateway to say which ring there should be.

        `counted`: a roll call has just ended. Only then somebody may do so who does not see the
        bucket, and only if nobody else sees it.
        """
        live = self.live(now)
        if self._name not in live or owner(RESERVED_NAME, live) != self._name:
            return False
        if self._roll is not None and self._roll.own:
            return False
        may_go_on_blind = counted and self._peers.is_blind(now) and not self._peers.any_sees(now)
        return self._peers.is_fresh(now) or may_go_on_blind

    def _propose(self, now: float) -> None:
        """Publish the ring that there should be, unless it is in force and all have it."""
        ring, sent = self.ring, self._published
        wanted = (self.live(now), self._peers.finishing(ring, now))
        is_under_way = now - self._published_at < AGAIN_S
        if ring is not None and (ring.gateways, ring.leaving) == wanted:
            is_missed = now - self._heard_at >= AGAIN_S and self._peers.any_missed(ring, now)
            if is_missed and not is_under_way:
                self._publish(ring, now)
        elif sent is None or not is_under_way or (sent.gateways, sent.leaving) != wanted:
            self._has_to_wait = now - self._published_at < BETWEEN_S
            if not self._has_to_wait:
                self._epoch += 1
                self._publish(Ring(self._epoch, self._name, *wanted), now)

    def _publish(self, ring: Ring, now: float) -> None:
        self._published, self._published_at = ring, now
        log.info(
            "the gateways are now: %s%s",
            ", ".join(ring.gateways),
            f"; {', '.join(ring.leaving)} finish what they have" if ring.leaving else "",
        )
        self._calls.say(encode_message(ring), True)
