"""The uplink: sends utterances to the broker, which may be away for a while.

Every utterance goes into the spool. The uplink sends the spool over the current connection, oldest
utterance first, so live and late speech take the same path. It sends one utterance at a time: the
age that a start tells is then true, and a long spool does not flood the transport.

An utterance is sent again from its beginning, under the same id, in these cases: the connection
broke before the broker confirmed its end; the broker took it while no service was there; the
service got only a part of it, or lost it. The service does not obey an id twice that it answered.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.satellite.spool import (
    DroppedUtterances,
    Spool,
    SpooledUtterance,
    UnansweredUtterances,
)
from stt_mqtt.satellite.transmission import DeliveredUtterance, Transmission, UplinkConfig

ACKNOWLEDGE_TIMEOUT_S = 4.0
"""A service publishes `listening` as soon as it gets a start. After this time it is not there."""


class Uplink:
    """Owned by one loop; has no thread and no clock. `now` is `time.monotonic` seconds.

    `publish` may drop a publication: what is not confirmed is sent again. A confirmation is a call
    of `Publication.receipt`, from any thread. The next call of any method takes it into account.
    """

    def __init__(self, config: UplinkConfig, publish: Callable[[Publication], None]) -> None:
        self.dropped = 0
        """Utterances that were dropped since the start."""
        self._config = config
        self._publish = publish
        self._spool = Spool(config.max_age_s, config.max_bytes)
        self._unanswered = UnansweredUtterances()
        self._connection = 0
        self._transmission: Transmission | None = None
        """The oldest utterance on its way over this connection."""
        self._service_known = False
        """Whether any state or result came in: a satellite may have no right to read them."""
        self._answers_known = False
        """Whether any result came in."""
        self._held_until: float | None = None
        """Nothing is sent before this time, because the service was shutting down."""
        self._unreported = DroppedUtterances()
        self._delivered: list[DeliveredUtterance] = []

    @property
    def waiting(self) -> int:
        """Utterances that have to be sent, including the open one."""
        return len(self._spool) + len(self._unanswered.to_send)

    # Messages of the service -----------------------------------------------------------------

    def service_listens(self) -> None:
        """The service is listening to this device: it has just got a start."""
        self._service_known = True
        self._held_until = None
        if self._transmission is not None:
            self._transmission.acknowledged = True

    def service_idle(self) -> None:
        """The service has answered everything that it has of this device.

        What it acknowledged and has not answered by now is lost, as after a restart.
        """
        self._release_delivered()
        self._service_known = True
        self._held_until = None
        if self._answers_known:
            self._resend_unanswered()
            if self._transmission is not None and self._transmission.acknowledged:
                self._transmission = None

    def service_seen(self) -> None:
        """The service is in another state, or was when the retained state was published."""
        self._service_known = True

    def answered(self, id: str) -> None:
        """The service has answered an utterance. It is not sent again."""
        self._service_known = self._answers_known = True
        self._release_delivered()
        self._unanswered.remove(id)
        oldest = self._spool.oldest
        if oldest is not None and oldest.id == id:
            oldest.answered = True
            self._release_delivered()

    def resend(self, id: str) -> None:
        """The service has a part of an utterance and waits for the whole, under the same id."""
        self._mark_for_resend(id)

    def resend_with_new_id(self, id: str, repeated: bool) -> str | None:
        """The service took a part of an utterance for the whole: send it under a new id.

        Returns the new id. None: the utterance is not known any more, or the answer is about an
        earlier transmission. A service that was restarted has forgotten that one; another one
        repeats its answer.
        """
        sent, oldest = self._transmission, self._spool.oldest
        is_under_way = sent is not None and oldest is not None and oldest.id == id
        if is_under_way and not repeated and sent is not None and not sent.acknowledged:
            return None
        utterance = self._mark_for_resend(id)
        if utterance is None:
            return None
        kept = self._unanswered.remove(id)
        utterance.id = uuid4().hex
        if kept is not None:
            self._unanswered.keep(kept)
        return utterance.id

    def resend_later(self, id: str, now: float) -> None:
        """The service shuts down without an answer: send the utterance when it may be back."""
        if self._mark_for_resend(id) is not None:
            self._held_until = now + ACKNOWLEDGE_TIMEOUT_S

    # The open utterance ----------------------------------------------------------------------

    def open(self) -> str:
        """Open an utterance; return its id. Raises ValueError while another one is open."""
        id = uuid4().hex
        self._spool.begin(id)
        self._stream()
        return id

    def audio(self, data: bytes) -> None:
        """Add an encoded chunk to the open utterance. Raises ValueError if there is none."""
        self._spool.add(data)
        self._stream()

    def close(self, now: float) -> None:
        """End the open utterance. Raises ValueError if there is none."""
        self._spool.close(now)
        self._pump(now)

    def end_by_service(self, now: float) -> None:
        """The service has ended the open utterance: it needs no stop, and no more chunks.

        If it is sent again, it ends with what was added up to now. Raises ValueError if no
        utterance is open.
        """
        self._service_known = True
        self._spool.close(now)
        if self._transmission is not None and len(self._spool) == 1:
            self._transmission.end_by_service()
        self._pump(now)

    def cancel(self) -> None:
        """Abort the open utterance, if there is one."""
        utterance = self._spool.open
        if utterance is None:
            return
        if utterance is self._spool.oldest:
            self._abort()
        self._spool.remove_open()

    def clear(self) -> list[str]:
        """Forget every utterance that has ended; return the ids of those not sent yet."""
        forgotten = [utterance.id for utterance in self._unanswered.to_send]
        self._unanswered = UnansweredUtterances()
        while (oldest := self._spool.oldest) is not None and oldest.closed_at is not None:
            self._abort()
            forgotten.append(self._spool.remove_oldest().id)
        return forgotten

    # The connection and the clock ------------------------------------------------------------

    def connected(self, connection: int, now: float) -> None:
        """A connection is up; `connection` is its number, as in `MqttClient.connection`."""
        self._release_delivered()
        self._connection = connection
        self._transmission = None
        # Answers could not come in while it was down. The service repeats those that it gave.
        if self._service_known:
            self._resend_unanswered()
        self._pump(now)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._release_delivered()
        self._connection = 0
        self._transmission = None

    def tick(self, now: float) -> DroppedUtterances | None:
        """Call this several times a second. Returns what was dropped since the last call."""
        self._pump(now)
        dropped, self._unreported = self._unreported, DroppedUtterances()
        return None if dropped == DroppedUtterances() else dropped

    def delivered(self) -> list[DeliveredUtterance]:
        """What the broker and then the service got since the last call."""
        delivered, self._delivered = self._delivered, []
        return delivered

    # Internals -------------------------------------------------------------------------------

    def _stream(self) -> None:
        """Send what is new of the open utterance, if it is its turn."""
        self._release_delivered()
        self._make_room()
        utterance = self._spool.open
        if utterance is not None and utterance is self._spool.oldest:
            self._send(utterance, {})

    def _pump(self, now: float) -> None:
        """Drop what is too old, then send the utterance whose turn it is."""
        self._release_delivered()
        while self._spool.too_old(now):
            self._drop_oldest(DroppedUtterances(old=1))
        for kept in self._unanswered.too_old(now - self._config.max_age_s):
            self._discard_unanswered(kept, DroppedUtterances(old=1))
        self._make_room()
        if self._is_unacknowledged(now):
            self._transmission = None
        if self._held_until is not None and now >= self._held_until:
            self._held_until = None
        if self._transmission is None:
            self._put_back()
        utterance = self._spool.oldest
        if utterance is not None:
            ended_at = utterance.closed_at
            age = {} if ended_at is None else {"age_ms": round((now - ended_at) * 1000)}
            self._send(utterance, age)

    def _send(self, utterance: SpooledUtterance, age: dict[str, int]) -> None:
        """Send what is new of the oldest utterance; `age` goes into its start."""
        if not self._connection or self._held_until is not None or utterance.answered:
            return
        if self._transmission is None:
            self._transmission = Transmission(
                self._config, self._publish, self._connection, utterance
            )
        self._transmission.send(age, self._spool.expires_at(utterance))

    def _release_delivered(self) -> None:
        """Take the oldest utterance out of the spool if the broker and the service have it."""
        utterance, sent = self._spool.oldest, self._transmission
        if utterance is None or utterance.closed_at is None:
            return
        if utterance.answered:
            self._transmission = None
            self._spool.remove_oldest()
        elif sent is not None and sent.confirmed and (sent.acknowledged or not self._service_known):
            self._transmission = None
            self._unanswered.keep(self._spool.remove_oldest())
            self._delivered.append(DeliveredUtterance(utterance.id, sent.acknowledged))

    def _is_unacknowledged(self, now: float) -> bool:
        """Whether no service has acknowledged in time what the broker has confirmed."""
        sent, utterance = self._transmission, self._spool.oldest
        if sent is None or not sent.confirmed or utterance is None:
            return False
        if sent.confirmed_at is None:
            sent.confirmed_at = now
            self._delivered.append(DeliveredUtterance(utterance.id, acknowledged=False))
        return now - sent.confirmed_at >= ACKNOWLEDGE_TIMEOUT_S

    def _resend_unanswered(self) -> None:
        """Have every unanswered utterance sent again."""
        for utterance in self._unanswered.utterances:
            utterance.resend = True

    def _mark_for_resend(self, id: str) -> SpooledUtterance | None:
        """Have an utterance sent again; None: it is not known any more."""
        self._release_delivered()
        oldest = self._spool.oldest
        if oldest is not None and oldest.id == id:
            self._transmission = None
            return oldest
        utterance = self._unanswered.find(id)
        if utterance is not None:
            utterance.resend = True
        return utterance

    def _put_back(self) -> None:
        """Put what has to be sent again into the spool, before all others."""
        for utterance in reversed(self._unanswered.to_send):
            self._unanswered.remove(utterance.id)
            utterance.resend = False
            self._spool.put_back(utterance)

    def _make_room(self) -> None:
        for utterance in self._unanswered.utterances:
            if self._spool.size_bytes + self._unanswered.size_bytes > self._config.max_bytes:
                self._discard_unanswered(utterance, DroppedUtterances(full=1))
        while self._spool.too_full:
            self._drop_oldest(DroppedUtterances(full=1))

    def _discard_unanswered(self, utterance: SpooledUtterance, why: DroppedUtterances) -> None:
        """Forget an utterance that was sent. It counts as dropped if it had to be sent again."""
        self._unanswered.remove(utterance.id)
        if utterance.resend:
            self._count(utterance, why)

    def _drop_oldest(self, why: DroppedUtterances) -> None:
        self._abort()
        self._count(self._spool.remove_oldest(), why)

    def _count(self, utterance: SpooledUtterance, why: DroppedUtterances) -> None:
        self.dropped += 1
        told = self._unreported
        ids = (*told.ids, utterance.id)
        self._unreported = DroppedUtterances(told.old + why.old, told.full + why.full, ids)

    def _abort(self) -> None:
        """Have the service forget what it got of the oldest utterance."""
        sent, self._transmission = self._transmission, None
        if sent is not None:
            sent.abort()
