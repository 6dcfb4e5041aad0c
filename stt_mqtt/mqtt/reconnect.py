"""When to reconnect, with which protocol version, and what to log meanwhile.

Two pure state machines. There are four kinds of failure:

- A network failure is temporary, so attempts stay frequent.
- Refused credentials stay refused until a person acts, so attempts are rare and logged as errors.
- If a broker does not support MQTT 5, the next attempt uses 3.1.1 at once.
- Two clients with the same identifier disconnect each other, so each waits longer every time. If
  the broker does not name the reason, losses soon after connecting are taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from stt_mqtt.config import Protocol

NETWORK_DELAYS_S = (1.0, 2.0, 3.0)
"""Delays between attempts. They are short, because waiting speech soon expires."""
CREDENTIAL_DELAYS_S = (30.0, 60.0, 120.0, 240.0, 300.0)
TAKEOVER_DELAYS_S = (1.0, 5.0, 30.0, 60.0, 120.0, 300.0)
SUSPECTED_DELAYS_S = (5.0, 15.0, 30.0, 60.0)
"""Delays while it is likely that another client takes over: Mosquitto 2.0 does not say so."""
UNDISTURBED_S = 600.0
"""After a connection that lasted this long, a takeover counts as the first one."""
JITTER_SHARE = 0.25
"""Largest share of a network delay that jitter subtracts."""

FIRST_REPEAT_S = 60.0
LONGEST_PAUSE_S = 3600.0
MAX_REASONS = 16
"""Most reasons that are logged at once within one series of failures."""
STEADY_S = 10.0
"""A connection that lasted this long ends the series of failures before it."""
FLAPPING_LOSSES = 3
"""This many losses in a row, each soon after connecting, are reported as one problem."""


class Cause(Enum):
    """Why an attempt to connect, or a connection, ended."""

    UNREACHABLE = auto()
    """No TCP or TLS connection."""
    TLS = auto()
    """TLS failed, and will fail until a certificate or the configuration of a side is changed."""
    NO_ANSWER = auto()
    """The connection was closed or silent before the CONNACK."""
    UNSUPPORTED = auto()
    """The broker refused the protocol version or sent an invalid answer."""
    CREDENTIALS = auto()
    """The broker refused the user, the password or the certificate."""
    REFUSED = auto()
    """The broker refused for another reason."""
    LOST = auto()
    """An accepted connection was lost."""
    TAKEN_OVER = auto()
    """Another client connected with the same identifier."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt: after `delay_s`, with `protocol` (5 or 3.1.1, never auto)."""

    protocol: Protocol
    delay_s: float = 0.0
    settled: bool = False
    """Whether the protocol is fixed: it is configured, or it has worked once."""
    failures: int = 0
    """Network failures in a row."""
    refusals: int = 0
    """Refused credentials in a row."""
    takeovers: int = 0
    """Takeovers in a row, without a long connection between them."""
    named: bool = False
    """Whether the client identifier is configured, so that another client may have it, too."""
    short_losses: int = 0
    """Connections in a row that were lost soon after connecting."""

    def after(self, ended: Cause, jitter: float, lived_s: float = 0.0) -> Attempt:
        """The attempt that follows this one, given how it `ended`. `jitter` is from 0 to 1.

        `lived_s`: how long the connection was up.
        """
        if lived_s >= UNDISTURBED_S:
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
        current = replace(self, short_losses=0)
        if ended is Cause.LOST:
            short_losses = self.short_losses + 1 if lived_s < STEADY_S else 0
            current = replace(self, settled=True, failures=0, short_losses=short_losses)
            if self.named and short_losses >= FLAPPING_LOSSES:
                number = min(short_losses - FLAPPING_LOSSES, len(SUSPECTED_DELAYS_S) - 1)
                delay_s = SUSPECTED_DELAYS_S[number] * (1.0 - JITTER_SHARE * jitter)
                return replace(current, delay_s=delay_s, refusals=0)
        elif not self.settled:
            other = ended in {Cause.NO_ANSWER, Cause.UNSUPPORTED}
            if other and self.protocol is Protocol.V5:
                return replace(self, protocol=Protocol.V311, delay_s=0.0, refusals=0)
            current = replace(current, protocol=Protocol.V5)
        delay_s = NETWORK_DELAYS_S[min(current.failures, len(NETWORK_DELAYS_S) - 1)]
        return replace(
            current,
            delay_s=delay_s * (1.0 - JITTER_SHARE * jitter),
            failures=current.failures + 1,
            refusals=0,
        )


def first_attempt(wanted: Protocol, named: bool = False) -> Attempt:
    """The first attempt, without a delay. `auto` begins with MQTT 5. `named`: as in `Attempt`."""
    if wanted is Protocol.AUTO:
        return Attempt(Protocol.V5, named=named)
    return Attempt(wanted, settled=True, named=named)


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """A message for the log. `lasts_s` is None the first time."""

    reason: str
    lasts_s: float | None = None

    def __str__(self) -> str:
        if self.lasts_s is None:
            return self.reason
        return f"{self.reason} (so for {_duration_text(self.lasts_s)})"


@dataclass(slots=True)
class FailureLog:
    """Decides what to log about failing connections. Times are monotonic seconds.

    Each reason is logged when it first occurs. The current reason is repeated with its duration
    after 1, 2, 4, … minutes, and finally every hour. A series of failures ends with a connection
    that lasts.

    `client_id` is the configured one; None: it is random, so no other client can have it.
    """

    client_id: str | None
    _since: float | None = None
    _repeat_at: float = 0.0
    _pause_s: float = 0.0
    _losses: int = 0
    _logged: set[str] = field(default_factory=set)

    @property
    def flapping(self) -> bool:
        """Whether connections are repeatedly lost soon after connecting."""
        return self._losses >= FLAPPING_LOSSES

    def message_for(
        self, ended: Cause, reason: str, lived_s: float, now: float
    ) -> FailureMessage | None:
        """What to log at the end of a connection that was up for `lived_s`; None: nothing.

        `lived_s` is 0 for an attempt that failed.
        """
        if lived_s >= (UNDISTURBED_S if ended is Cause.TAKEN_OVER else STEADY_S):
            self._since, self._losses = None, 0
            self._logged.clear()
        if self._since is None:
            self._since = now
            self._pause_s = FIRST_REPEAT_S
            self._repeat_at = now + self._pause_s
        if ended is Cause.TAKEN_OVER:
            self._losses = FLAPPING_LOSSES
        elif ended is Cause.LOST:
            self._losses += 1
        else:
            self._losses = 0
        reason = self._explained(ended, reason)
        if self.is_new(reason):
            return FailureMessage(reason)
        if now < self._repeat_at:
            return None
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._repeat_at = now + self._pause_s
        return FailureMessage(reason, now - self._since)

    def is_new(self, text: str) -> bool:
        """Whether this text was not logged before. Remembers it."""
        if text in self._logged or len(self._logged) >= MAX_REASONS:
            return False
        self._logged.add(text)
        return True

    def _explained(self, ended: Cause, reason: str) -> str:
        if not self.flapping:
            return reason
        whose = "its client identifier"
        if self.client_id is not None:
            whose = f"the identifier mqtt.client_id: {self.client_id}"
        if ended is Cause.TAKEN_OVER:
            return f"{reason}: another client uses {whose}; give each one of its own"
        again = f"{reason}, again and again soon after it came up"
        if self.client_id is None:
            return f"{again}: the log of the broker says why"
        return f"{again}: it is likely that another client uses {whose}; give each one of its own"


def _duration_text(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
