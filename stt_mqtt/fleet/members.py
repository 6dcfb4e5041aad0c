"""The gateways of a fleet that live, and what of the names is this one's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Final, Protocol

from stt_mqtt.core.clock import Clock
from stt_mqtt.core.ownership import Ownership, OwnershipObserver
from stt_mqtt.errors import AnotherServiceError, FleetError, SttMqttError
from stt_mqtt.fleet.membership import Membership, MembershipCallbacks
from stt_mqtt.fleet.wire import WireError

BEAT_S: Final = 1.0
"""Time between two entries in the bucket."""

log = logging.getLogger(__name__)


class Bucket(Protocol):
    """The entries of all gateways on the NATS servers: a `FleetConnection`."""

    async def say_gateway(self, data: bytes) -> None:
        """Put the entry of this gateway. Raises FleetError."""

    async def leave_gateway(self) -> None:
        """Delete the entry of this gateway. Raises FleetError."""

    async def watch_gateways(self, handle: Callable[[str, bytes | None], None]) -> None:
        """Hear all entries, in the order in which they are put; None: it was deleted."""


@dataclass(frozen=True, slots=True)
class MembersCallbacks:
    """What the members need of the doors and the application."""

    publish: Callable[[bytes, bool], None]
    """Publish on the topic of the gateways, see `MembershipCallbacks.say`."""
    rearm_timer: Callable[[], None]
    """The next deadline may have changed."""
    stop_with_error: Callable[[SttMqttError], None]
    """Another process has the name of this gateway: end without publishing anything."""


class Members(Ownership):
    """The share of this gateway. Runs on the event loop.

    `node`: its name. `fleet`: the name of the fleet. `observe` must be called before `open`.
    """

    shared = True

    def __init__(self, fleet: str, node: str, bucket: Bucket, clock: Clock) -> None:
        self._fleet = fleet
        self._node = node
        self._bucket = bucket
        self._clock = clock
        callbacks = MembershipCallbacks(
            self._say, self._put, self._on_changed, self._on_speak, self._on_refused
        )
        self._membership = Membership(node, token_hex(8), clock.now(), callbacks)
        self._observer: OwnershipObserver | None = None
        self._callbacks: MembersCallbacks | None = None
        self._entry_changed = asyncio.Event()
        self._share_changed = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._closing = False
        self._has_warned = False

    # The interface of the doors ----------------------------------------------------------------

    @property
    def gateway(self) -> str:
        """The name of this gateway."""
        return self._node

    @property
    def leads(self) -> bool:
        """Whether this gateway speaks for all."""
        return self._membership.leads

    @property
    def alone(self) -> bool:
        """Whether no other gateway lives."""
        return self._membership.is_alone(self._clock.now())

    def owns(self, name: str) -> bool:
        """Whether this gateway opens the utterances of a name."""
        return self._membership.owns(name)

    def is_live(self, gateway: str) -> bool:
        """Whether a gateway is in the ring in force."""
        ring = self._membership.ring
        return ring is not None and gateway in ring.members

    def connected(self) -> None:
        """There is a connection to the broker."""
        self._membership.connected(self._clock.now())

    def disconnected(self) -> None:
        """The connection to the broker is lost."""
        self._membership.disconnected()

    def heard(self, payload: bytes) -> None:
        """Handle a message on the topic of the gateways."""
        self._guarded(partial(self._membership.heard, payload, self._clock.now()))

    def said_offline(self) -> bool:
        """Find out which gateways live, and say that the service is online after that."""
        self._membership.said_offline(self._clock.now())
        return False

    def say_goodbye(self) -> None:
        """This gateway has nothing open any more, and ends."""
        self._membership.say_goodbye(self._clock.now())

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        return self._membership.deadline

    def tick(self) -> None:
        """Do what is due."""
        deadline = self._membership.deadline
        if deadline is not None and self._clock.now() >= deadline:
            self._membership.tick(self._clock.now())

    # The interface of the application ----------------------------------------------------------

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateways that share the names now."""
        ring = self._membership.ring
        return () if ring is None else ring.gateways

    @property
    def is_member(self) -> bool:
        """Whether this gateway is one of them."""
        return self._membership.is_member

    def observe(self, observer: OwnershipObserver, callbacks: MembersCallbacks) -> None:
        """Set whom to tell of changes, and what to call."""
        self._observer, self._callbacks = observer, callbacks

    async def open(self) -> None:
        """Begin to write an entry once a second, and to hear those of the others."""
        await self._bucket.watch_gateways(self._entered)
        self._beating = asyncio.create_task(self._beat())

    def reached(self) -> None:
        """The NATS servers can be used, for the first time or again."""
        self._membership.looked(self._clock.now())
        self._put()
        self._rearm()

    async def leave(self, timeout_s: float) -> bool:
        """Have the others take over all names. What is open stays open.

        Return whether they have. After `timeout_s` they have not.
        """
        self._membership.leave(self._clock.now())
        self._rearm()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.is_member and not self.alone:
                    self._share_changed.clear()
                    await self._share_changed.wait()
        return not self.is_member

    async def close(self) -> None:
        """Delete the entry. Nothing may be open any more."""
        if self._beating is None:
            return
        # A cancellation may get lost in the bucket.
        self._closing = True
        self._entry_changed.set()
        self._beating.cancel()
        await asyncio.wait({self._beating}, timeout=BEAT_S)
        self._beating = None
        await self._try(self._bucket.leave_gateway())

    # Internals ---------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while not self._closing:
            self._entry_changed.clear()
            entry = self._membership.beat(self._clock.now())
            if entry is not None:
                await self._try(self._bucket.say_gateway(entry))
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._entry_changed.wait()

    async def _try(self, call: Awaitable[None]) -> None:
        """Use the bucket. If it is away, `FleetConnection` says so, and the next time may do."""
        with suppress(FleetError, TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await call

    def _entered(self, name: str, data: bytes | None) -> None:
        self._guarded(partial(self._membership.entered, name, data, self._clock.now()))
        self._share_changed.set()
        self._rearm()

    def _guarded(self, handle: Callable[[], None]) -> None:
        try:
            handle()
        except WireError as error:
            level = logging.DEBUG if self._has_warned else logging.WARNING
            self._has_warned = True
            log.log(
                level,
                "a message of a gateway of fleet %s cannot be read (%s): run the same version on "
                "all gateways",
                self._fleet,
                error,
            )

    def _rearm(self) -> None:
        if self._callbacks is not None:
            self._callbacks.rearm_timer()

    def _say(self, payload: bytes, retain: bool) -> None:
        if self._callbacks is not None:
            self._callbacks.publish(payload, retain)

    def _put(self) -> None:
        self._entry_changed.set()

    def _on_changed(self, lost: bool) -> None:
        self._share_changed.set()
        if self._observer is not None:
            self._observer.ownership_changed(lost)

    def _on_speak(self) -> None:
        if self._observer is not None:
            self._observer.speak()

    def _on_refused(self) -> None:
        if self._callbacks is not None:
            self._callbacks.stop_with_error(
                AnotherServiceError(
                    f"another gateway of the fleet {self._fleet} has the name {self._node}; end "
                    "it, or give this one a fleet.node of its own"
                )
            )
