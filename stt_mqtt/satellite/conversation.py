"""Utterances and their answers: every utterance is sent until it is answered or too old.

`now` is monotonic seconds.
"""

from __future__ import annotations

from stt_mqtt.satellite.answers import AnswerTracker, Resend, ServiceAnswer
from stt_mqtt.satellite.spool import DroppedUtterances
from stt_mqtt.satellite.uplink import Uplink
from stt_mqtt.types import DeviceState


class Conversation:
    """Connects the uplink with the answer tracker. At most one utterance is open."""

    def __init__(self, uplink: Uplink, max_age_s: float) -> None:
        """`max_age_s`: how long after the end of its speech a transcript may be acted upon."""
        self.uplink = uplink
        self.answers = AnswerTracker(max_age_s)
        self.id = ""
        """Id of the newest utterance."""

    # The utterance ---------------------------------------------------------------------------

    def open(self) -> None:
        """Open an utterance. Raises ValueError while another one is open."""
        self.id = self.uplink.open()
        self.answers.begin(self.id)

    def audio(self, data: bytes) -> None:
        """Add an encoded chunk. Raises ValueError if no utterance is open."""
        self.uplink.audio(data)

    def close(self, now: float) -> None:
        """End the utterance. Raises ValueError if none is open."""
        self.uplink.close(now)
        self.answers.end(self.id, now)

    def end_by_service(self, now: float) -> None:
        """The service has ended the utterance. Raises ValueError if none is open."""
        self.uplink.end_by_service(now)
        self.answers.end(self.id, now)

    def cancel(self) -> None:
        """Abort the utterance."""
        self.uplink.cancel()
        self.answers.forget(self.id)

    def clear(self) -> None:
        """Forget the utterances that have ended and are yet to be sent."""
        for id in self.uplink.clear():
            self.answers.forget(id)

    def slept(self) -> None:
        """The machine slept: drop what is yet to be sent, and act upon no transcript of before."""
        self.clear()
        self.answers.slept()

    # Answers ---------------------------------------------------------------------------------

    def result(self, payload: bytes, now: float) -> ServiceAnswer | None:
        """The answer in a `result` message; None: it is malformed, or a duplicate."""
        answer = self.answers.take(payload, now)
        if answer is not None and answer.id is not None and answer.ours:
            self._answered(answer.id, answer, now)
        return answer

    def state(self, payload: bytes, retained: bool) -> None:
        """A `state` message of the service. A retained one may be old."""
        if retained:
            self.uplink.service_seen()
        elif payload == DeviceState.LISTENING.value.encode():
            self.uplink.service_listens()
        elif payload == DeviceState.IDLE.value.encode():
            self.uplink.service_idle()
        else:
            self.uplink.service_seen()

    def connected(self, connection: int, now: float) -> None:
        """A connection is up, `MqttClient.connection` its number."""
        self.answers.connected(now)
        self.uplink.connected(connection, now)

    def disconnected(self) -> None:
        """The connection is gone."""
        self.uplink.disconnected()

    def tick(self, now: float) -> DroppedUtterances | None:
        """Call this several times a second. Returns what was dropped since the last call."""
        self.answers.tick(now)
        dropped = self.uplink.tick(now)
        for one in self.uplink.delivered():
            self.answers.sent(one.id, one.acknowledged, now)
        for id in () if dropped is None else dropped.ids:
            self.answers.forget(id)
        return dropped

    def _answered(self, id: str, answer: ServiceAnswer, now: float) -> None:
        match answer.resend:
            case Resend.NO:
                self.uplink.answered(id)
            case Resend.SAME_ID:
                self.uplink.resend(id)
            case Resend.LATER:
                self.uplink.resend_later(id, now)
            case Resend.NEW_ID:
                name = self.uplink.resend_with_new_id(id, answer.repeated)
                if name is not None:
                    self.answers.rename(id, name)
                    self.id = name if self.id == id else self.id
