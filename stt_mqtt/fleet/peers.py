"""What a gateway knows of the others, by their entries in the bucket and by roll calls. Pure.

`now` is in monotonic seconds of this process.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Final

from stt_mqtt.fleet.ring import MAX_GATEWAYS, Entry, Here, Ring

GONE_S: Final = 3.0
"""A gateway without an entry for this long is gone."""
DOUBT_S: Final = 30.0
"""Time in which the bucket is not believed after a gateway was alive that it took for dead."""
FORGET_S: Final = 60.0
"""After this time nothing is remembered of a gateway that is gone."""


@dataclass(slots=True)
class _Peer:
    """Another gateway. `here`: whether it answers on the broker; None: nobody asked."""

    session: str
    successor: str | None = None
    """The session of a process that says here under its name, and may not have it."""
    here: bool | None = None
    sees: bool = False
    joins: bool = False
    leaving: bool = False
    ready: bool = False
    ring: str | None = None
    entries: int = 0
    heard_at: float = -inf
    """When its last entry came."""


class Peers:
    """The other gateways.

    The bucket is the clock: another gateway is gone if its entry was not renewed for `GONE_S`
    before an own entry that came back. A process that stood still, or that the NATS servers do not
    reach, takes nobody for dead.
    """

    def __init__(self, now: float) -> None:
        self._peers: dict[str, _Peer] = {}
        self._started_at = now
        self._echo_at: float | None = None
        """When the newest of the own entries that came back was written."""
        self._doubted_until = -inf

    def is_fresh(self, now: float) -> bool:
        """Whether what the bucket says of the others is true now."""
        came_back = self._echo_at is not None and now - self._echo_at <= GONE_S
        return came_back and now >= self._doubted_until

    def expect_echo(self, now: float) -> None:
        """The first own entry is about to be written."""
        self._started_at = now

    def is_blind(self, now: float) -> bool:
        """Whether the bucket has said nothing for long, or nothing that can be believed."""
        last = self._started_at if self._echo_at is None else self._echo_at
        return now - last >= GONE_S or now < self._doubted_until

    def note(self, name: str, entry: Entry, now: float) -> None:
        """A gateway has put its entry into the bucket."""
        before = self._peers.get(name)
        peer = self._peer(name, entry.session)
        if peer is None:
            return
        if before is not None and before.successor == entry.session:
            peer.here = True
        peer.ready, peer.ring = entry.ready, entry.ring
        peer.leaving |= entry.leaving
        peer.heard_at = now
        peer.entries += 1

    def note_echo(self, beat: float, now: float, ring: Ring | None) -> None:
        """An own entry came back that was written at `beat`."""
        if self._echo_at is None or beat - self._echo_at > GONE_S:
            # The bucket was away. The others get the time to come back, too.
            for peer in self._peers.values():
                peer.heard_at = max(peer.heard_at, now)
        self._echo_at = beat
        members = frozenset() if ring is None else ring.members
        for name in [name for name, peer in self._peers.items() if name not in members]:
            if self._peers[name].heard_at < beat - FORGET_S:
                del self._peers[name]

    def doubt_if_dead(self, name: str, now: float) -> bool:
        """A gateway has just published a ring. Return whether it was taken for dead.

        The NATS servers are then divided, and each part says that the other is dead.
        """
        peer = self._peers.get(name)
        if peer is None or not peer.entries or self._is_renewed(peer) or not self.is_fresh(now):
            return False
        self._doubted_until = now + DOUBT_S
        return True

    def deleted(self, name: str) -> None:
        """An entry is gone. If its gateway has not said that it leaves, only its entry is lost."""
        if name in self._peers and self._peers[name].leaving:
            del self._peers[name]

    def hear(self, message: Here, now: float) -> None:
        """A gateway said on the broker that it is here."""
        before = self._peers.get(message.here)
        if message.left:
            self.deleted(message.here)
            return
        if before is not None and before.session != message.session:
            before.successor = message.session
            if self._may_own(before, self.is_fresh(now)):
                # The name is taken, or was until just now.
                return
        peer = self._peer(message.here, message.session)
        if peer is not None:
            peer.here, peer.sees, peer.joins = True, message.sees, message.joins
            peer.leaving |= message.leaving

    def missed(self, answered: Collection[str]) -> None:
        """A roll call is over. `answered`: sessions of those who live."""
        for peer in self._peers.values():
            peer.here = peer.session in answered

    def live(self, now: float) -> list[str]:
        """Those that may own names."""
        fresh = self.is_fresh(now)
        return [name for name, peer in self._peers.items() if self._may_own(peer, fresh)]

    def finishing(self, ring: Ring | None, now: float) -> tuple[str, ...]:
        """Those that leave, were in the ring, and may still have something open."""
        fresh, members = self.is_fresh(now), frozenset() if ring is None else ring.members
        found = (
            name
            for name, peer in self._peers.items()
            if peer.leaving
            and name in members
            and peer.here is not False
            and (not fresh or self._is_renewed(peer))
        )
        return tuple(sorted(found))

    def any_sees(self, now: float) -> bool:
        """Whether one that lives sees the bucket, as far as it said so."""
        return any(self._peers[name].sees for name in self.live(now))

    def any_missed(self, ring: Ring, now: float) -> bool:
        """Whether one that lives has not got the ring, by its entry."""
        return self.is_fresh(now) and any(
            self._peers[name].ring != ring.id for name in self.live(now)
        )

    def _peer(self, name: str, session: str) -> _Peer | None:
        """What is known of a process. None: there are too many."""
        peer = self._peers.get(name)
        if peer is None or peer.session != session:
            if peer is None and len(self._peers) >= MAX_GATEWAYS:
                return None
            peer = self._peers[name] = _Peer(session)
        return peer

    def _is_renewed(self, peer: _Peer) -> bool:
        return self._echo_at is not None and peer.heard_at >= self._echo_at - GONE_S

    def _may_own(self, peer: _Peer, fresh: bool) -> bool:
        if peer.leaving or peer.here is False:
            return False
        if not fresh:
            return peer.here is True and peer.joins
        # One entry alone may be what a dead gateway has left.
        is_alive = peer.here is True or peer.entries >= 2
        return is_alive and peer.ready and self._is_renewed(peer)
