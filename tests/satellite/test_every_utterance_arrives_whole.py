"""Whatever the network does, an utterance arrives whole and in time, or not at all."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.spool import DroppedUtterances
from stt_mqtt.satellite.transmission import UplinkConfig
from stt_mqtt.satellite.uplink import Uplink
from stt_mqtt.types import Codec
from tests.thorough import examples

KITCHEN = SatelliteTopics(Topics("stt"), "kitchen")
MAX_AGE_S = 30.0
AMPLE, SCANT = 1_000_000, 3000
TOPIC = "stt/kitchen/audio"


class Said:
    """What the test knows of an utterance."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.closed_at: float | None = None
        self.cancelled = False
        self.cleared = False
        self.arrived = False
        self.taken_back = False
        self.confirmed = False
        self.answered = False

    def is_old(self, now: float) -> bool:
        return self.closed_at is not None and now >= self.closed_at + MAX_AGE_S


class FakeService:
    """What the service gets on one connection: checks that it is well formed."""

    def __init__(self, said: dict[str, Said]) -> None:
        self.open: str | None = None
        self._skips = False
        self._said = said
        self._chunks = 0
        self._ended: str | None = None

    def hear(self, verb: str, payload: bytes, now: float) -> None:
        if verb == "":
            if self.open is None:
                assert self._skips, "a chunk without a start"
                return
            assert int.from_bytes(payload[:4], "little") == self._chunks
            assert payload[4:] == self._said[self.open].chunks[self._chunks]
            self._chunks += 1
            return
        fields: dict[str, Any] = json.loads(payload)
        id = fields["id"]
        if verb == "/start":
            assert self.open is None
            self.open, self._chunks, self._skips, self._ended = id, 0, False, None
        elif verb == "/stop":
            said = self._said[id]
            assert id != self._ended, "a stop of what the service has ended"
            if self._skips:
                return
            assert self.open == id
            assert self._chunks == fields["chunks"] == len(said.chunks)
            assert said.closed_at is not None
            assert not said.is_old(now)
            assert not said.cancelled
            said.arrived = True
            self.open = None
        else:
            assert verb == "/abort"
            assert self.open in {id, None}
            self.open = None

    def answer(self, id: str) -> None:
        """The service answers it, perhaps before its end: what else comes of it is dropped."""
        if self.open == id:
            self.open, self._skips = None, True

    def end(self, id: str) -> None:
        """The service ends it by itself."""
        self.answer(id)
        self._ended = id


class TheUplink(RuleBasedStateMachine):
    """An uplink on a transport and a broker that are slow, and break when they like.

    The transport drops what is for another connection or has expired, as the real one does, and
    the uplink hears of connections late. `transport` holds what was not yet written,
    `unanswered` the receipts of what the broker has not yet acknowledged.
    """

    @initialize(
        qos=st.sampled_from([0, 1]), room=st.sampled_from([AMPLE, SCANT]), online=st.booleans()
    )
    def begin(self, qos: int, room: int, online: bool) -> None:
        self.qos, self.room, self.now = qos, room, 1000.0
        config = UplinkConfig(KITCHEN, Codec.OPUS, qos, MAX_AGE_S, room)
        self.uplink = Uplink(config, self.publish)
        self.said: dict[str, Said] = {}
        self.speaking: str | None = None
        self.connections = self.up = self.told_up = 0
        self.service = FakeService(self.said)
        self.transport: deque[Publication] = deque()
        self.unanswered: deque[Callable[[], None]] = deque()
        self.untold: deque[int] = deque()
        self.told = DroppedUtterances()
        self.audible = False
        if online:
            self.connection_comes()
            self.uplink_hears_of_it()

    def publish(self, one: Publication) -> None:
        assert one.qos == self.qos
        assert one.connection == self.told_up > 0
        verb = one.topic.removeprefix(TOPIC)
        if verb == "/start":
            fields = json.loads(one.payload)
            said = self.said.setdefault(fields["id"], Said())
            assert not said.is_old(self.now)
            age_s = None if said.closed_at is None else self.now - said.closed_at
            assert fields.get("age_ms") == (None if age_s is None else round(age_s * 1000))
        elif verb == "/abort":
            self.said[json.loads(one.payload)["id"]].taken_back = True
        if one.connection == self.up:
            self.transport.append(one)

    @precondition(lambda self: self.speaking is None)
    @rule()
    def open(self) -> None:
        self.speaking = self.uplink.open()
        self.said.setdefault(self.speaking, Said())

    @precondition(lambda self: self.speaking is not None)
    @rule(size=st.integers(0, 900))
    def audio(self, size: int) -> None:
        assert self.speaking is not None
        chunks = self.said[self.speaking].chunks
        chunks.append(bytes([len(chunks)]) * size)
        self.uplink.audio(chunks[-1])

    @precondition(lambda self: self.speaking is not None)
    @rule()
    def close(self) -> None:
        assert self.speaking is not None
        self.said[self.speaking].closed_at = self.now
        self.uplink.close(self.now)
        self.speaking = None

    @precondition(lambda self: self.speaking is not None)
    @rule()
    def cancel(self) -> None:
        assert self.speaking is not None
        self.said[self.speaking].cancelled = True
        self.uplink.cancel()
        self.speaking = None

    @rule(seconds=st.sampled_from([0.03, 2.0, 10.0, 29.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tick(self) -> None:
        new = self.uplink.tick(self.now) or DroppedUtterances()
        self.told = DroppedUtterances(self.told.old + new.old, self.told.full + new.full)

    @precondition(lambda self: not self.up)
    @rule()
    def connection_comes(self) -> None:
        self.connections += 1
        self.up = self.connections
        self.service = FakeService(self.said)
        self.untold.append(self.up)

    @precondition(lambda self: self.up and len(self.untold) < 3)
    @rule()
    def connection_breaks(self) -> None:
        self.up = 0
        self.transport.clear()
        self.unanswered.clear()
        self.untold.append(self.up)

    @precondition(lambda self: self.untold)
    @rule()
    def uplink_hears_of_it(self) -> None:
        self.told_up = self.untold.popleft()
        if self.told_up:
            self.uplink.connected(self.told_up, self.now)
        else:
            self.uplink.disconnected()

    @precondition(lambda self: self.transport)
    @rule(most=st.sampled_from([1, 3, 100]))
    def transport_writes(self, most: int) -> None:
        for _ in range(min(most, len(self.transport))):
            one = self.transport.popleft()
            if one.expires_at is not None and self.now >= one.expires_at:
                continue
            self.service.hear(one.topic.removeprefix(TOPIC), one.payload, self.now)
            if one.receipt is not None:
                self.unanswered.append(self.receipt_of(one))
        if self.qos == 0:
            self.broker_answers()

    @precondition(lambda self: self.unanswered)
    @rule()
    def broker_answers(self) -> None:
        while self.unanswered:
            self.unanswered.popleft()()

    def receipt_of(self, stop: Publication) -> Callable[[], None]:
        said = self.said[json.loads(stop.payload)["id"]]

        def answer() -> None:
            assert stop.receipt is not None
            assert said.arrived or said.answered
            if not said.taken_back:
                assert not said.confirmed or self.audible
                said.confirmed = True
            stop.receipt()

        return answer

    @rule(listens=st.booleans())
    def service_speaks(self, listens: bool) -> None:
        """From here on what it did not hear is sent again."""
        self.audible = True
        if listens:
            self.uplink.service_listens()
        else:
            self.uplink.service_seen()

    @precondition(lambda self: self.service.open is not None)
    @rule()
    def service_answers(self) -> None:
        assert self.service.open is not None
        self.audible = True
        id = self.service.open
        self.said[id].answered = True
        self.service.answer(id)
        self.uplink.answered(id)

    @precondition(lambda self: self.up == self.told_up > 0)
    @rule(size=st.integers(1, 900))
    def service_ends_it(self, size: int) -> None:
        """The words are complete: no stop comes, and what else comes of it is dropped."""
        if self.speaking is None:
            self.open()
        self.audio(size)
        if self.transport:
            self.transport_writes(1000)
        if self.speaking is None or self.speaking != self.service.open:
            return
        self.audible = True
        said = self.said[self.speaking]
        said.closed_at, said.confirmed, said.arrived = self.now, True, True
        self.service.end(self.speaking)
        self.uplink.end_by_service(self.now)
        self.speaking = None

    @rule()
    def clear(self) -> None:
        for id in self.uplink.clear():
            self.said[id].cleared = True

    @invariant()
    def what_waits_is_what_nothing_became_of_yet(self) -> None:
        forgotten = sum(
            said.cancelled or said.confirmed or said.cleared or said.answered
            for said in self.said.values()
        )
        assert self.uplink.waiting >= len(self.said) - forgotten - self.uplink.dropped

    @invariant()
    def what_waits_is_bounded(self) -> None:
        if self.room == SCANT:
            assert self.uplink.waiting <= 1 + SCANT // 512

    def teardown(self) -> None:
        if not hasattr(self, "uplink"):
            return
        if self.speaking is not None:
            self.close()
        if not self.up:
            self.connection_comes()
        while self.untold:
            self.uplink_hears_of_it()
        for _ in self.said:
            self.tick()
            self.transport_writes(1000)
            self.broker_answers()
            self.uplink.service_listens()
        self.tick()
        self.transport_writes(1000)
        assert self.uplink.waiting == 0
        assert self.service.open is None
        lost = [
            one
            for one in self.said.values()
            if not (one.cancelled or one.confirmed or one.cleared or one.answered)
        ]
        assert self.uplink.dropped == self.told.old + self.told.full
        # What the broker took and no service heard is given up in the end, too.
        assert len(lost) <= self.uplink.dropped
        assert self.audible or self.uplink.dropped == len(lost)
        assert self.audible or self.told.old <= sum(one.is_old(self.now) for one in lost)
        assert self.room == SCANT or self.told.full == 0
        assert not any(one.cancelled and one.confirmed for one in self.said.values())


TestTheUplink = TheUplink.TestCase
TestTheUplink.settings = settings(max_examples=examples(70), stateful_step_count=50, deadline=None)
