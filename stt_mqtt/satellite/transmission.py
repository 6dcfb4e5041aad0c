"""One utterance on its way to the broker, over one connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.doors.native.topics import Verb
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.spool import SpooledUtterance
from stt_mqtt.types import SAMPLE_RATE, Codec

_START = {"rate": SAMPLE_RATE, "channels": 1, "framing": "seq32"}


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """Where utterances are sent, and how long and how many of them are kept."""

    topics: SatelliteTopics
    codec: Codec
    qos: int
    """MQTT QoS of start, chunks and stop: 0 or 1."""
    max_age_s: float
    """An utterance that ended longer ago is never sent, in seconds."""
    max_bytes: int
    """Size of the spool, overheads included. The newest utterance alone may be larger."""


@dataclass(frozen=True, slots=True)
class DeliveredUtterance:
    """An utterance that the broker has. `acknowledged`: the service is known to have it too."""

    id: str
    acknowledged: bool


class Transmission:
    """Publishes what is new of an utterance, and knows how far it got."""

    def __init__(
        self,
        config: UplinkConfig,
        publish: Callable[[Publication], None],
        connection: int,
        utterance: SpooledUtterance,
    ) -> None:
        self._config = config
        self._publish = publish
        self._connection = connection
        self._utterance = utterance
        self._chunks = 0
        self._started = False
        self._stopped = False
        self.confirmed = False
        """The broker has all of it. Set by the network thread."""
        self.confirmed_at: float | None = None
        """When the uplink saw that first, in monotonic seconds."""
        self.acknowledged = False
        """The service has published `listening` since the start was sent."""

    def send(self, age: dict[str, int], expires_at: float | None) -> None:
        """Publish what is new; `age` goes into the start.

        The transport drops at `expires_at` what it could not write before.
        """
        utterance = self._utterance
        if not self._started:
            self._started = True
            codec = self._config.codec.value
            start = _json({"id": utterance.id, "codec": codec, **_START, **age})
            self._publish_verb(Verb.START, start, expires_at)
        for chunk in utterance.chunks[self._chunks :]:
            number = self._chunks.to_bytes(4, "little")
            self._publish_verb(Verb.CHUNK, number + chunk, expires_at)
            self._chunks += 1
        if utterance.closed_at is not None and not self._stopped:
            self._stopped = True
            stop = _json({"id": utterance.id, "chunks": self._chunks})
            self._publish_verb(Verb.STOP, stop, expires_at, self._confirm)

    def end_by_service(self) -> None:
        """The service has all that it needs of it."""
        self.confirmed = self.acknowledged = True

    def abort(self) -> None:
        """Have the service forget what it got of it."""
        self._publish_verb(Verb.ABORT, _json({"id": self._utterance.id}))

    def _confirm(self) -> None:
        self.confirmed = True

    def _publish_verb(
        self,
        verb: Verb,
        payload: bytes,
        expires_at: float | None = None,
        receipt: Callable[[], None] | None = None,
    ) -> None:
        publication = Publication(
            self._config.topics.topic(verb),
            payload,
            self._config.qos,
            expires_at=expires_at,
            connection=self._connection,
            receipt=receipt,
        )
        self._publish(publication)


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()
