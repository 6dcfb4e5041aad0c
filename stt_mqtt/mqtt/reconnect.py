"""When to try again, and in which protocol: a state machine without clock or network.

Four troubles that call for four answers: a network that fails comes back, so the attempts
stay frequent; refused credentials stay refused until a person acts, so they are slow and loud;
a broker that does not speak MQTT 5 is asked again at once in 3.1.1; two clients with one identifier
throw each other out, so each waits longer every time and leaves the other to serve meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from stt_mqtt.config import Protocol

NETWORK_DELAYS_S = (1.0, 2.0, 3.0)
"""Short: what is said meanwhile is soon too old to be worth anything."""
CREDENTIAL_DELAYS_S = (30.0, 60.0, 120.0, 240.0, 300.0)
TAKEOVER_DELAYS_S = (1.0, 5.0, 30.0, 60.0, 120.0, 300.0)
PEACE_S = 600.0
"""A connection that lasted so long was not in such a fight."""
JITTER_SHARE = 0.25
"""Part of a network delay that jitter may take away."""


class Cause(Enum):
    """Why an attempt to connect, or a connection, ended."""

    UNREACHABLE = auto()
    """No TCP or TLS connection."""
    NO_ANSWER = auto()
    """Closed, or silent, before any CONNACK."""
    UNSUPPORTED = auto()
    """The broker refused the protocol version or answered something unintelligible."""
    CREDENTIALS = auto()
    """The broker refused the user, the password or the certificate."""
    REFUSED = auto()
    """The broker refused for another reason."""
    LOST = auto()
    """It was connected, and is no longer."""
    TAKEN_OVER = auto()
    """It was connected, until another client came with the same identifier."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt: `delay_s` from now, in `protocol` (5 or 3.1.1, never auto)."""

    protocol: Protocol
    delay_s: float = 0.0
    settled: bool = False
    """The protocol is given, or has worked once: it no longer changes."""
    failures: int = 0
    """Network troubles in a row."""
    refusals: int = 0
    """Refused credentials in a row."""
    takeovers: int = 0
    """Takeovers with no long connection between them."""

    def after(self, ended: Cause, jitter: float, lived_s: float = 0.0) -> Attempt:
        """The attempt that follows this one, which `ended`; `jitter` is from 0 to 1.

        `lived_s`: how long the connection was up.
        """
        if lived_s >= PEACE_S:
            return replace(self, takeovers=0).after(ended, jitter)
        if ended is Cause.TAKEN_OVER:
            delay_s = TAKEOVER_DELAYS_S[min(self.takeovers, len(TAKEOVER_DELAYS_S) - 1)]
            return replace(
                self,
                settled=True,
                delay_s=delay_s * (1.0 - JITTER_SHARE * jitter),
                failures=0,
                refusals=0,
                takeovers=self.takeovers + 1,
            )
        if ended is Cause.CREDENTIALS:
            delay_s = CREDENTIAL_DELAYS_S[min(self.refusals, len(CREDENTIAL_DELAYS_S) - 1)]
            return replace(self, delay_s=delay_s, refusals=self.refusals + 1)
        current = self
        if ended is Cause.LOST:
            current = replace(self, settled=True, failures=0)
        elif not self.settled:
            other = ended in {Cause.NO_ANSWER, Cause.UNSUPPORTED}
            if other and self.protocol is Protocol.V5:
                return replace(self, protocol=Protocol.V311, delay_s=0.0, refusals=0)
            current = replace(self, protocol=Protocol.V5)
        delay_s = NETWORK_DELAYS_S[min(current.failures, len(NETWORK_DELAYS_S) - 1)]
        return replace(
            current,
            delay_s=delay_s * (1.0 - JITTER_SHARE * jitter),
            failures=current.failures + 1,
            refusals=0,
        )


def first_attempt(wanted: Protocol) -> Attempt:
    """The first attempt, at once: `auto` begins with MQTT 5."""
    if wanted is Protocol.AUTO:
        return Attempt(Protocol.V5)
    return Attempt(wanted, settled=True)
