"""The way from the satellite to the broker, which may be away for a while.

What is spoken goes into the spool, and from there, oldest utterance first, on the connection that
is up: so live and late speech take the same way. An utterance whose connection breaks before the
broker has confirmed its end is sent again from its beginning, under the same id. So is one that
the broker took while the service was away, which nobody heard. One is under way at a time: what
the next one tells about its age is true when it is sent, and a long spool does not flood the
transport.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

from stt_mqtt.doors.mqtt.messages import Publication
from stt_mqtt.doors.native.topics import Topics, Verb
from stt_mqtt.satellite.spool import Record, Spool
from stt_mqtt.types import SAMPLE_RATE, Codec

SILENCE_S = 4.0
"""The service says that it listens as soon as it gets a start; then it is not there."""
_START = {"rate": SAMPLE_RATE, "channels": 1, "framing": "seq32"}


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """What is sent where, and how long it is kept."""

    topics: Topics
    device: str
    codec: Codec
    qos: int
    """0 or 1, of marks and audio alike."""
    max_age_s: float
    """Speech that ended longer ago is never sent."""
    max_bytes: int
    """Most that waits, overheads included; the newest utterance alone may be larger."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many utterances were given up because they were too old, or for want of room."""

    old: int = 0
    full: int = 0
    ids: tuple[str, ...] = field(default=(), compare=False)


@dataclass(slots=True)
class _Progress:
    """How much of the oldest utterance was handed over on this connection."""

    chunks: int = 0
    stopped: bool = False
    confirmed: bool = False
    """The broker has all of it."""
    confirmed_at: float | None = None
    """When that was first known."""
    heard: bool = False
    """The service said something since its start, so it is there."""


class Uplink:
    """Owned by one loop; has no thread and no clock. `now` is `time.monotonic` seconds.

    `publish` may drop what it is given: without a confirmation it is sent again. Confirmations
    come as `Publication.receipt` in any thread, and are heeded by the next call of any method.
    """

    def __init__(self, config: UplinkConfig, publish: Callable[[Publication], None]) -> None:
        self.dropped = 0
        """Utterances that were given up since the start."""
        self._config = config
        self._publish = publish
        self._spool = Spool(config.max_age_s, config.max_bytes)
        self._connection = 0
        self._progress: _Progress | None = None
        self._is_audible = False
        """Whether the service was ever heard: it is missed only by who may read what it says."""
        self._untold = Dropped()
        # The one thing that another thread touches. At most one utterance is under way, so it
        # holds little.
        self._confirmed: deque[str] = deque()

    @property
    def waiting(self) -> int:
        """Utterances that are not confirmed, with the one that is being spoken."""
        return len(self._spool)

    def heard_service(self, listens: bool) -> None:
        """The service says what this device does, `listens` just now: it has heard a start."""
        self._is_audible = True
        if listens and self._progress is not None:
            self._progress.heard = True

    def heard_answer(self, id: str) -> None:
        """The service has answered an utterance."""
        self._is_audible = True
        if self._is_oldest(id) and self._progress is not None:
            self._progress.heard = True

    def send_again(self, id: str) -> None:
        """The service has only a part of an utterance; nothing happens if all of it was sent."""
        self._settle()
        if self._is_oldest(id):
            self._progress = None

    def open(self) -> str:
        """An utterance begins; returns its id. Raises ValueError while another one is open."""
        id = uuid4().hex
        self._spool.begin(id)
        self._stream()
        return id

    def audio(self, data: bytes) -> None:
        """One encoded chunk of the open utterance. Raises ValueError if there is none."""
        self._spool.add(data)
        self._stream()

    def close(self, now: float) -> None:
        """The open utterance ends. Raises ValueError if there is none."""
        self._spool.close(now)
        self._pump(now)

    def cancel(self) -> None:
        """Take back the open utterance, if there is one."""
        record = self._spool.open
        if record is None:
            return
        if record is self._spool.oldest:
            self._take_back()
        self._spool.remove_open()

    def clear(self) -> None:
        """Forget every utterance that has ended and was not sent."""
        while (oldest := self._spool.oldest) is not None and oldest.closed_at is not None:
            self._take_back()
            self._spool.remove_oldest()

    def connected(self, connection: int, now: float) -> None:
        """A connection is up, `MqttClient.connection` its number: what waits is sent on it."""
        self._settle()
        self._connection = connection
        self._progress = None
        self._pump(now)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._settle()
        self._connection = 0
        self._progress = None

    def tick(self, now: float) -> Dropped | None:
        """Look at the clock, several times a second; what was dropped since the last call."""
        self._pump(now)
        dropped, self._untold = self._untold, Dropped()
        return None if dropped == Dropped() else dropped

    def _stream(self) -> None:
        """Send what is being spoken if it is its turn, for which nobody needs the time."""
        self._settle()
        self._make_room()
        record = self._spool.open
        if record is not None and record is self._spool.oldest:
            self._send(record, {})

    def _pump(self, now: float) -> None:
        """Drop what came too late, and send the utterance whose turn it is."""
        self._settle()
        while self._spool.too_old(now):
            self._untold = replace(self._untold, old=self._untold.old + 1)
            self._drop_oldest()
        self._make_room()
        if self._is_unheard(now):
            self._progress = None
        record = self._spool.oldest
        if record is not None:
            ended_at = record.closed_at
            age = {} if ended_at is None else {"age_ms": round((now - ended_at) * 1000)}
            self._send(record, age)

    def _settle(self) -> None:
        """Forget what the broker has confirmed."""
        while self._confirmed:
            id = self._confirmed.popleft()
            oldest = self._spool.oldest
            # Otherwise it was dropped meanwhile.
            if self._progress is not None and oldest is not None and oldest.id == id:
                self._progress.confirmed = True
        progress = self._progress
        if progress is not None and progress.confirmed and (progress.heard or not self._is_audible):
            self._progress = None
            self._spool.remove_oldest()

    def _is_oldest(self, id: str) -> bool:
        oldest = self._spool.oldest
        return oldest is not None and oldest.id == id

    def _is_unheard(self, now: float) -> bool:
        """Whether the service was not there for what the broker has confirmed."""
        progress = self._progress
        if progress is None or not progress.confirmed:
            return False
        if progress.confirmed_at is None:
            progress.confirmed_at = now
        return now - progress.confirmed_at >= SILENCE_S

    def _make_room(self) -> None:
        while self._spool.too_full:
            self._untold = replace(self._untold, full=self._untold.full + 1)
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.dropped += 1
        self._take_back()
        dropped = self._spool.remove_oldest()
        self._untold = replace(self._untold, ids=(*self._untold.ids, dropped.id))

    def _take_back(self) -> None:
        """Have the service forget what it got of the oldest utterance on this connection."""
        record, progress = self._spool.oldest, self._progress
        self._progress = None
        if record is not None and progress is not None:
            self._hand_over(Verb.ABORT, _json({"id": record.id}))

    def _send(self, record: Record, age: dict[str, int]) -> None:
        """Hand over what is new of the oldest utterance; `age` goes with its start."""
        if not self._connection:
            return
        # What the transport holds while the network stalls must not arrive too late either.
        expires_at = self._spool.expires_at(record)
        progress = self._progress
        if progress is None:
            progress = self._progress = _Progress()
            codec = self._config.codec.value
            start = _json({"id": record.id, "codec": codec, **_START, **age})
            self._hand_over(Verb.START, start, expires_at)
        for chunk in record.chunks[progress.chunks :]:
            number = progress.chunks.to_bytes(4, "little")
            self._hand_over(Verb.CHUNK, number + chunk, expires_at)
            progress.chunks += 1
        if record.closed_at is not None and not progress.stopped:
            progress.stopped = True
            stop = _json({"id": record.id, "chunks": progress.chunks})
            receipt = partial(self._confirmed.append, record.id)
            self._hand_over(Verb.STOP, stop, expires_at, receipt)

    def _hand_over(
        self,
        verb: Verb,
        payload: bytes,
        expires_at: float | None = None,
        receipt: Callable[[], None] | None = None,
    ) -> None:
        publication = Publication(
            self._config.topics.of_device(self._config.device, verb),
            payload,
            self._config.qos,
            expires_at=expires_at,
            connection=self._connection,
            receipt=receipt,
        )
        self._publish(publication)


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()
