"""The way from the satellite to the broker, which may be away for a while.

What is spoken goes into the spool, and from there, oldest utterance first, on the connection that
is up: so live and late speech take the same way. An utterance whose connection breaks before the
broker has confirmed its end is sent again from its beginning, under the same id. So is one that
the broker took while the service was away, which nobody heard, and one of which the service heard
a part only, or which it lost: an id that it has answered it does not obey twice. One is under way
at a time: what the next one tells about its age is true when it is sent, and a long spool does not
flood the transport.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.satellite.spool import Spool, SpooledUtterance, UnansweredUtterances
from stt_mqtt.satellite.transmission import Transmission, UplinkConfig

SILENCE_S = 4.0
"""The service says that it listens as soon as it gets a start; then it is not there."""


@dataclass(frozen=True, slots=True)
class DroppedUtterance:
    """How many utterances were given up because they were too old, or for want of room."""

    old: int = 0
    full: int = 0
    ids: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DeliveredUtterance:
    """An utterance that the broker has; `heard`: the service is known to have it, too."""

    id: str
    heard: bool


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
        self._unanswered = UnansweredUtterances()
        self._connection = 0
        self._under_way: Transmission | None = None
        """Of the oldest utterance, on this connection."""
        self._is_audible = False
        """Whether the service was ever heard: it is missed only by who may read what it says."""
        self._is_answering = False
        """Whether a result of it was ever read."""
        self._held_until: float | None = None
        """Until when nothing is sent, because the service was about to leave."""
        self._untold = DroppedUtterance()
        self._delivered: list[DeliveredUtterance] = []

    @property
    def waiting(self) -> int:
        """Utterances that have to be sent, with the one that is being spoken."""
        return len(self._spool) + len(self._unanswered.to_send)

    # What the service says -------------------------------------------------------------------

    def service_listens(self) -> None:
        """It listens to this device: it has heard a start just now."""
        self._is_audible = True
        self._held_until = None
        if self._under_way is not None:
            self._under_way.heard = True

    def service_idle(self) -> None:
        """It has just answered all that it knows of this device.

        What it heard and has not answered by now it lost, as in a restart.
        """
        self._settle()
        self._is_audible = True
        self._held_until = None
        if self._is_answering:
            self._miss_answers()
            if self._under_way is not None and self._under_way.heard:
                self._under_way = None

    def service_seen(self) -> None:
        """It does something else, or did so some time ago: it is there, or was."""
        self._is_audible = True

    def answered(self, id: str) -> None:
        """It has answered an utterance, which is not sent again."""
        self._is_audible = self._is_answering = True
        self._settle()
        self._unanswered.remove(id)
        oldest = self._spool.oldest
        if oldest is not None and oldest.id == id:
            oldest.answered = True
            self._settle()

    def resend(self, id: str) -> None:
        """It has only a part of an utterance, and waits for all of it."""
        self._recall(id)

    def resend_with_new_id(self, id: str, repeated: bool) -> str | None:
        """It takes a part of an utterance for all of it: send that under another id.

        Returns the id; None: the utterance is not known any more, or the answer is of an earlier
        attempt, which the service forgot if it was restarted, and repeats if it was not.
        """
        sent, oldest = self._under_way, self._spool.oldest
        is_under_way = sent is not None and oldest is not None and oldest.id == id
        if is_under_way and not repeated and sent is not None and not sent.heard:
            return None
        utterance = self._recall(id)
        if utterance is None:
            return None
        kept = self._unanswered.remove(id)
        utterance.id = uuid4().hex
        if kept is not None:
            self._unanswered.keep(kept)
        return utterance.id

    def resend_later(self, id: str, now: float) -> None:
        """It leaves without an utterance: send that when it may be back."""
        if self._recall(id) is not None:
            self._held_until = now + SILENCE_S

    # What is said ----------------------------------------------------------------------------

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
        utterance = self._spool.open
        if utterance is None:
            return
        if utterance is self._spool.oldest:
            self._take_back()
        self._spool.remove_open()

    def clear(self) -> list[str]:
        """Forget every utterance that has ended; returns the ids of those that were to be sent."""
        forgotten = [utterance.id for utterance in self._unanswered.to_send]
        self._unanswered = UnansweredUtterances()
        while (oldest := self._spool.oldest) is not None and oldest.closed_at is not None:
            self._take_back()
            forgotten.append(self._spool.remove_oldest().id)
        return forgotten

    # The connection and the clock ------------------------------------------------------------

    def connected(self, connection: int, now: float) -> None:
        """A connection is up, `MqttClient.connection` its number: what waits is sent on it."""
        self._settle()
        self._connection = connection
        self._under_way = None
        # While it was down answers could not get here; who has given them gives them again.
        if self._is_audible:
            self._miss_answers()
        self._pump(now)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._settle()
        self._connection = 0
        self._under_way = None

    def tick(self, now: float) -> DroppedUtterance | None:
        """Look at the clock, several times a second; what was dropped since the last call."""
        self._pump(now)
        dropped, self._untold = self._untold, DroppedUtterance()
        return None if dropped == DroppedUtterance() else dropped

    def delivered(self) -> list[DeliveredUtterance]:
        """What the broker, and then the service, got since the last call."""
        delivered, self._delivered = self._delivered, []
        return delivered

    # Inside ----------------------------------------------------------------------------------

    def _stream(self) -> None:
        """Send what is being spoken if it is its turn, for which nobody needs the time."""
        self._settle()
        self._make_room()
        utterance = self._spool.open
        if utterance is not None and utterance is self._spool.oldest:
            self._send(utterance, {})

    def _pump(self, now: float) -> None:
        """Drop what came too late, and send the utterance whose turn it is."""
        self._settle()
        while self._spool.too_old(now):
            self._drop_oldest(DroppedUtterance(old=1))
        for kept in self._unanswered.too_old(now - self._config.max_age_s):
            self._let_go(kept, DroppedUtterance(old=1))
        self._make_room()
        if self._is_unheard(now):
            self._under_way = None
        if self._held_until is not None and now >= self._held_until:
            self._held_until = None
        if self._under_way is None:
            self._put_back()
        utterance = self._spool.oldest
        if utterance is not None:
            ended_at = utterance.closed_at
            age = {} if ended_at is None else {"age_ms": round((now - ended_at) * 1000)}
            self._send(utterance, age)

    def _send(self, utterance: SpooledUtterance, age: dict[str, int]) -> None:
        """Hand over what is new of the oldest utterance; `age` goes with its start."""
        if not self._connection or self._held_until is not None or utterance.answered:
            return
        if self._under_way is None:
            self._under_way = Transmission(self._config, self._publish, self._connection, utterance)
        self._under_way.send(age, self._spool.expires_at(utterance))

    def _settle(self) -> None:
        """Be done with the oldest utterance if the broker and the service have it."""
        utterance, sent = self._spool.oldest, self._under_way
        if utterance is None or utterance.closed_at is None:
            return
        if utterance.answered:
            self._under_way = None
            self._spool.remove_oldest()
        elif sent is not None and sent.confirmed and (sent.heard or not self._is_audible):
            self._under_way = None
            self._unanswered.keep(self._spool.remove_oldest())
            self._delivered.append(DeliveredUtterance(utterance.id, sent.heard))

    def _is_unheard(self, now: float) -> bool:
        """Whether the service was not there for what the broker has confirmed."""
        sent, utterance = self._under_way, self._spool.oldest
        if sent is None or not sent.confirmed or utterance is None:
            return False
        if sent.confirmed_at is None:
            sent.confirmed_at = now
            self._delivered.append(DeliveredUtterance(utterance.id, heard=False))
        return now - sent.confirmed_at >= SILENCE_S

    def _miss_answers(self) -> None:
        """What has no answer by now has to be sent again; an id is never obeyed twice."""
        for utterance in self._unanswered.utterances:
            utterance.resend = True

    def _recall(self, id: str) -> SpooledUtterance | None:
        """Have an utterance sent once more; None: it is not known any more."""
        self._settle()
        oldest = self._spool.oldest
        if oldest is not None and oldest.id == id:
            self._under_way = None
            return oldest
        utterance = self._unanswered.find(id)
        if utterance is not None:
            utterance.resend = True
        return utterance

    def _put_back(self) -> None:
        """Send again what has to be, before all others."""
        for utterance in reversed(self._unanswered.to_send):
            self._unanswered.remove(utterance.id)
            utterance.resend = False
            self._spool.put_back(utterance)

    def _make_room(self) -> None:
        for utterance in self._unanswered.utterances:
            if self._spool.size_bytes + self._unanswered.size_bytes > self._config.max_bytes:
                self._let_go(utterance, DroppedUtterance(full=1))
        while self._spool.too_full:
            self._drop_oldest(DroppedUtterance(full=1))

    def _let_go(self, utterance: SpooledUtterance, why: DroppedUtterance) -> None:
        """Keep no longer what was sent; it is lost only if it had to be sent again."""
        self._unanswered.remove(utterance.id)
        if utterance.resend:
            self._count(utterance, why)

    def _drop_oldest(self, why: DroppedUtterance) -> None:
        self._take_back()
        self._count(self._spool.remove_oldest(), why)

    def _count(self, utterance: SpooledUtterance, why: DroppedUtterance) -> None:
        self.dropped += 1
        told = self._untold
        ids = (*told.ids, utterance.id)
        self._untold = DroppedUtterance(told.old + why.old, told.full + why.full, ids)

    def _take_back(self) -> None:
        """Have the service forget what it got of the oldest utterance on this connection."""
        sent, self._under_way = self._under_way, None
        if sent is not None:
            sent.take_back()
