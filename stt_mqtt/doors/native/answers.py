"""Publishes for native devices: outcomes, partial results, and what is heard in a pause."""

from __future__ import annotations

from collections.abc import Callable

from stt_mqtt.core.partials import Partial
from stt_mqtt.doors.native import messages
from stt_mqtt.doors.native.direct import DirectDevices
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Publication, Publish
from stt_mqtt.observe.metrics import Metrics
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind

MAX_TEXT_AGE_S = 30.0
"""A text is dropped after this time, because its readers cannot see how old it is."""
MAX_PARTIAL_AGE_S = 2.0
"""A partial result that could not be sent is dropped after this time, for newer ones follow."""
MAX_ENDED_AGE_S = 5.0
"""After this time a satellite has noticed by itself that its utterance has ended."""
MAX_OPEN_AGE_S = 2.0
"""After this time a satellite has ended its utterance, or the speaker has gone on."""


class Answers:
    """Publishes on the broker, and tells devices that are connected directly.

    `now`: the clock of `Publication.expires_at`, in monotonic seconds.
    """

    def __init__(
        self,
        topics: Topics,
        publish: Publish,
        direct: DirectDevices,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._topics = topics
        self._publish = publish
        self._direct = direct
        self._metrics = metrics
        self._now = now

    def outcome(self, outcome: Outcome) -> None:
        """Publish the text, the result and the requested copy of the result.

        An incomplete or repeated outcome has no text message, because readers would act on it.
        """
        device = outcome.key.name
        fields = messages.result_fields(outcome)
        result = encode(fields)
        is_news = outcome.kind is OutcomeKind.TRANSCRIPT and not outcome.repeated
        if outcome.transcript is not None and is_news and not outcome.incomplete:
            text = outcome.transcript.text.encode("utf-8", "replace")
            topic = self._topics.of_device(device, "text")
            self._publish(Publication(topic, text, expires_at=self._now() + MAX_TEXT_AGE_S))
        topic = self._topics.of_device(device, "result")
        receipt = self._metrics.publishing(self._now)
        self._publish(Publication(topic, result, receipt=receipt))
        self._direct.tell(device, "result", fields)
        if isinstance(outcome.context, messages.Reply):
            reply = outcome.context
            self._publish(Publication(reply.topic, result, correlation=reply.correlation))

    def partial(self, partial: Partial) -> None:
        """Publish a partial result."""
        topic = self._topics.of_device(partial.key.name, "partial")
        fields = messages.partial_fields(partial)
        expires_at = self._now() + MAX_PARTIAL_AGE_S
        self._publish(Publication(topic, encode(fields), qos=0, expires_at=expires_at))
        self._direct.tell(partial.key.name, "partial", fields)

    def turn_ended(self, key: DeviceKey, id: str) -> None:
        """Tell a device that the service has ended its utterance."""
        self._tell_satellite(key.name, "ended", id, MAX_ENDED_AGE_S)

    def phrase_open(self, key: DeviceKey, id: str) -> None:
        """Tell a device to wait, because its speaker pauses in the middle of a phrase."""
        self._tell_satellite(key.name, "open", id, MAX_OPEN_AGE_S)

    def _tell_satellite(self, device: str, what: str, id: str, max_age_s: float) -> None:
        topic = self._topics.of_device(device, "satellite/set")
        expires_at = self._now() + max_age_s
        self._publish(Publication(topic, encode({what: id}), expires_at=expires_at))
        self._direct.tell(device, what, {"id": id})
