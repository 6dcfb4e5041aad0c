"""Utterances that have to be sent, or may have to be sent again. Bounded in bytes and in age."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

UTTERANCE_OVERHEAD = 512
CHUNK_OVERHEAD = 64
"""Bytes that count for an utterance and for a chunk, besides the audio."""


@dataclass(slots=True)
class SpooledUtterance:
    """An utterance and how far it got."""

    id: str
    chunks: list[bytes] = field(default_factory=list)
    """Its encoded audio, one item for each message."""
    closed_at: float | None = None
    """When it ended, in monotonic seconds; None: it is open."""
    size_bytes: int = UTTERANCE_OVERHEAD
    """Its audio and overheads."""
    answered: bool = False
    """Whether the service has answered it, perhaps before its end."""
    resend: bool = False
    """Whether it was sent and has to be sent again."""


@dataclass(frozen=True, slots=True)
class DroppedUtterances:
    """How many utterances were dropped: too old, or no room in the spool."""

    old: int = 0
    full: int = 0
    ids: tuple[str, ...] = field(default=(), compare=False)


class Spool:
    """First in, first out. Only the newest utterance may be open.

    Its owner asks `too_old` and `too_full`, and removes the oldest utterance until both are false.
    Then it holds at most `max_bytes`, or the newest utterance alone, which has a bound of its own.
    """

    def __init__(self, max_age_s: float, max_bytes: int) -> None:
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._utterances: deque[SpooledUtterance] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._utterances)

    @property
    def size_bytes(self) -> int:
        """Size of all utterances, overheads included."""
        return self._size_bytes

    @property
    def oldest(self) -> SpooledUtterance | None:
        """The utterance whose turn it is."""
        return self._utterances[0] if self._utterances else None

    @property
    def open(self) -> SpooledUtterance | None:
        """The open utterance."""
        newest = self._utterances[-1] if self._utterances else None
        return newest if newest is not None and newest.closed_at is None else None

    @property
    def too_full(self) -> bool:
        """Whether the oldest utterance has to be removed for want of room."""
        return self._size_bytes > self._max_bytes and len(self._utterances) > 1

    def too_old(self, now: float) -> bool:
        """Whether the oldest utterance ended too long ago to be worth sending."""
        expires_at = None if self.oldest is None else self.expires_at(self.oldest)
        return expires_at is not None and now >= expires_at

    def expires_at(self, utterance: SpooledUtterance) -> float | None:
        """When an utterance becomes too old, in monotonic seconds; None: not while it is open."""
        return None if utterance.closed_at is None else utterance.closed_at + self._max_age_s

    def begin(self, id: str) -> None:
        """Open an utterance. Raises ValueError while another one is open."""
        if self.open is not None:
            raise ValueError("an utterance begins although the one before it is still open")
        self._utterances.append(SpooledUtterance(id))
        self._size_bytes += UTTERANCE_OVERHEAD

    def add(self, chunk: bytes) -> None:
        """Add a chunk to the open utterance. Raises ValueError if there is none."""
        utterance = self._require_open()
        size = CHUNK_OVERHEAD + len(chunk)
        utterance.chunks.append(chunk)
        utterance.size_bytes += size
        self._size_bytes += size

    def close(self, now: float) -> None:
        """End the open utterance. Raises ValueError if there is none."""
        self._require_open().closed_at = now

    def put_back(self, utterance: SpooledUtterance) -> None:
        """Put an utterance that was sent before all others."""
        self._utterances.appendleft(utterance)
        self._size_bytes += utterance.size_bytes

    def remove_oldest(self) -> SpooledUtterance:
        """Remove and return the oldest utterance. Raises IndexError if there is none."""
        utterance = self._utterances.popleft()
        self._size_bytes -= utterance.size_bytes
        return utterance

    def remove_open(self) -> None:
        """Remove the open utterance. Raises ValueError if there is none."""
        self._size_bytes -= self._require_open().size_bytes
        self._utterances.pop()

    def _require_open(self) -> SpooledUtterance:
        if (utterance := self.open) is None:
            raise ValueError("no utterance is open")
        return utterance


class UnansweredUtterances:
    """Utterances that were sent and are not answered, oldest first.

    They are kept because the service may have got only a part, or may stop before it answers.
    """

    def __init__(self) -> None:
        self._utterances: dict[str, SpooledUtterance] = {}
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Size of all utterances, overheads included."""
        return self._size_bytes

    @property
    def to_send(self) -> list[SpooledUtterance]:
        """Those that have to be sent again."""
        return [utterance for utterance in self._utterances.values() if utterance.resend]

    @property
    def utterances(self) -> list[SpooledUtterance]:
        """All of them."""
        return list(self._utterances.values())

    def too_old(self, before: float) -> list[SpooledUtterance]:
        """Those that ended at `before` or earlier."""
        return [
            utterance
            for utterance in self._utterances.values()
            if utterance.closed_at is not None and utterance.closed_at <= before
        ]

    def find(self, id: str) -> SpooledUtterance | None:
        """The utterance with this id; None: there is none."""
        return self._utterances.get(id)

    def keep(self, utterance: SpooledUtterance) -> None:
        """Add an utterance that was sent."""
        self._utterances[utterance.id] = utterance
        self._size_bytes += utterance.size_bytes

    def remove(self, id: str) -> SpooledUtterance | None:
        """Remove and return an utterance; None: it is not there."""
        utterance = self._utterances.pop(id, None)
        if utterance is not None:
            self._size_bytes -= utterance.size_bytes
        return utterance
