"""Whether a gateway may use its name: of two processes with one name the second one ends. Pure.

`now` is in monotonic seconds of this process.
"""

from __future__ import annotations

from typing import Final

from stt_mqtt.fleet.peers import GONE_S
from stt_mqtt.fleet.ring import Entry

LOOK_S: Final = 0.3
"""Time in which the entries come that are in the bucket."""
NAME_S: Final = 1.5
"""Time in which another process with the same name renews its entry. It does so once a second."""
ALONE_S: Final = 3.0
"""Time after which a gateway that cannot reach the NATS servers goes on without them."""


class NameClaim:
    """The right of one process to its name. `session`: its random id."""

    def __init__(self, session: str, now: float) -> None:
        self.is_refused = False
        """Whether another process has it by right."""
        self._session = session
        self._taken_at: float | None = None
        self._free_at = now + ALONE_S
        self.has_looked = False
        """Whether the bucket could ever be read."""
        self._other: tuple[str, float] | None = None
        """Session and beat of an entry under this name that somebody else wrote."""
        self._beat_at = now
        self._stood_still = False
        """Whether the others may have taken this gateway for dead."""

    @property
    def is_ours(self) -> bool:
        """Whether this process uses the name."""
        return self._taken_at is not None and not self.is_refused

    @property
    def free_at(self) -> float:
        """When the name is free, if nobody is heard who has it."""
        return self._free_at

    def looked(self, now: float) -> None:
        """The bucket can be read."""
        if not self.has_looked:
            self.has_looked, self._free_at = True, now + LOOK_S

    def take(self, now: float) -> None:
        """Use the name."""
        self._taken_at = now

    def beat(self, now: float) -> float:
        """The entry is about to be written. Return when."""
        self._stood_still |= now - self._beat_at > GONE_S
        self._beat_at = now
        return now

    def note_echo(self) -> None:
        """An own entry came back."""
        self._stood_still = False

    def note_other(self, entry: Entry, now: float) -> None:
        """Somebody else has written an entry under this name, maybe long ago."""
        if self._other is None or self._other[0] != entry.session:
            self._free_at = max(self._free_at, now + NAME_S)
        elif self._other[1] != entry.beat:
            self.note_clash(entry.session, True, now)
        self._other = (entry.session, entry.beat)

    def note_clash(self, session: str, joins: bool, now: float) -> None:
        """Another process with this name lives. `joins`: it uses the name."""
        is_first = session < self._session
        if self._taken_at is None:
            self.is_refused |= joins or is_first
        elif joins:
            stood_still = self._stood_still or now - self._beat_at > GONE_S
            is_new = now - self._taken_at < GONE_S
            self.is_refused |= stood_still or (is_new and is_first)
