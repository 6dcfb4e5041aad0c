"""Utterances that have to be sent, or perhaps once more: bounded in bytes and in age."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RECORD_OVERHEAD = 512
CHUNK_OVERHEAD = 64
"""Bytes that an utterance and a chunk are counted with besides the audio."""


@dataclass(slots=True)
class Record:
    """An utterance."""

    id: str
    chunks: list[bytes] = field(default_factory=list)
    """Its audio, as it was cut for the wire."""
    closed_at: float | None = None
    """When it ended, in monotonic seconds; None: it is still being spoken."""
    size_bytes: int = RECORD_OVERHEAD
    """What it is counted with."""
    answered: bool = False
    """Whether the service has said what became of it; that may be before its end."""
    again: bool = False
    """Whether it was sent and has to be sent once more."""


class Spool:
    """First in, first out; only the newest utterance may be open.

    It decides nothing by itself: whoever owns it asks `too_old` and `too_full`, and removes the
    oldest until they are false. Then it holds `max_bytes`, or the newest utterance alone, which
    is bounded by who speaks it.
    """

    def __init__(self, max_age_s: float, max_bytes: int) -> None:
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._records: deque[Record] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        """What all of it is counted with."""
        return self._size_bytes

    @property
    def oldest(self) -> Record | None:
        """The utterance whose turn it is."""
        return self._records[0] if self._records else None

    @property
    def open(self) -> Record | None:
        """The utterance that is still being spoken."""
        newest = self._records[-1] if self._records else None
        return newest if newest is not None and newest.closed_at is None else None

    @property
    def too_full(self) -> bool:
        """Whether the oldest utterance has to make room."""
        return self._size_bytes > self._max_bytes and len(self._records) > 1

    def too_old(self, now: float) -> bool:
        """Whether the oldest utterance ended too long ago to be worth sending."""
        expires_at = None if self.oldest is None else self.expires_at(self.oldest)
        return expires_at is not None and now >= expires_at

    def expires_at(self, record: Record) -> float | None:
        """When an utterance becomes too old; None: not while it is being spoken."""
        return None if record.closed_at is None else record.closed_at + self._max_age_s

    def begin(self, id: str) -> None:
        """An utterance begins. Raises ValueError while another one is open."""
        if self.open is not None:
            raise ValueError("an utterance begins although the one before it is still open")
        self._records.append(Record(id))
        self._size_bytes += RECORD_OVERHEAD

    def add(self, chunk: bytes) -> None:
        """More audio of the open utterance. Raises ValueError if there is none."""
        record = self._require_open()
        size = CHUNK_OVERHEAD + len(chunk)
        record.chunks.append(chunk)
        record.size_bytes += size
        self._size_bytes += size

    def close(self, now: float) -> None:
        """The open utterance ends. Raises ValueError if there is none."""
        self._require_open().closed_at = now

    def put_back(self, record: Record) -> None:
        """An utterance that was sent has to be sent again, before all others."""
        self._records.appendleft(record)
        self._size_bytes += record.size_bytes

    def remove_oldest(self) -> Record:
        """Forget the utterance whose turn it is; returns it. Raises IndexError if there is none."""
        record = self._records.popleft()
        self._size_bytes -= record.size_bytes
        return record

    def remove_open(self) -> None:
        """Forget the open utterance. Raises ValueError if there is none."""
        self._size_bytes -= self._require_open().size_bytes
        self._records.pop()

    def _require_open(self) -> Record:
        if (record := self.open) is None:
            raise ValueError("no utterance is open")
        return record


class Unanswered:
    """Utterances that were sent and that nobody has answered, the oldest first.

    They are kept because the service may have got a part only, or leave before it answers.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all of it is counted with."""
        return self._size_bytes

    @property
    def to_send(self) -> list[Record]:
        """Those that have to be sent again."""
        return [record for record in self._records.values() if record.again]

    @property
    def records(self) -> list[Record]:
        """All of them."""
        return list(self._records.values())

    def too_old(self, before: float) -> list[Record]:
        """Those that ended at that time or earlier."""
        return [
            record
            for record in self._records.values()
            if record.closed_at is not None and record.closed_at <= before
        ]

    def find(self, id: str) -> Record | None:
        """The utterance of that id."""
        return self._records.get(id)

    def keep(self, record: Record) -> None:
        """An utterance was sent."""
        self._records[record.id] = record
        self._size_bytes += record.size_bytes

    def remove(self, id: str) -> Record | None:
        """Forget an utterance; returns it, if it is there."""
        record = self._records.pop(id, None)
        if record is not None:
            self._size_bytes -= record.size_bytes
        return record
