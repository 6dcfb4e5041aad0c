"""The satellite and the service, with a network between them that loses what it likes.

Whatever happens, what is said is obeyed once, whole and in time; or the satellite knows that it
was given up, or what the service said instead.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stt_mqtt.config import Config
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.satellite.answers import ServiceAnswer
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.conversation import Conversation
from stt_mqtt.satellite.transmission import UplinkConfig
from stt_mqtt.satellite.uplink import ACKNOWLEDGE_TIMEOUT_S, Uplink
from stt_mqtt.types import Codec
from tests.doors.native.peers import native_door
from tests.fakes import FakeClock, FakePool, engine_facts, heard
from tests.thorough import examples

MAX_AGE_S = 30.0
TOPICS = Topics("stt")
KITCHEN = SatelliteTopics(TOPICS, "kitchen")
STATE = "stt/kitchen/state"
RESULT = "stt/kitchen/result"
SET = "stt/kitchen/satellite/set"
HEARD = (STATE, RESULT)


def words_of(audio: bytes) -> str:
    """What a service hears in this audio."""
    return audio.hex()


class Service:
    """A service that is alive: the real line and the real door, with a model that is patient."""

    def __init__(self, clock: FakeClock, publish: Callable[[Publication], None]) -> None:
        self.pool = FakePool()
        self.service = SpeechService(Config(), engine_facts(), clock)
        self.service.attach_pool(self.pool, Capacity(workers=1, max_batch=1))
        self.door = native_door(self.service, clock, publish)

    def hear(self, message: Inbound) -> None:
        self.door.handle(message)

    def infer(self) -> None:
        (utterance, *_) = self.pool.utterances
        self.pool.answer(self.service, heard(words_of(utterance.audio.data)))


@dataclass(eq=False)
class Said:
    """An utterance, and when it ended."""

    ended_at: float


class TheTwo(RuleBasedStateMachine):
    """A broker keeps what is retained; what is for somebody who is away it drops."""

    @initialize(online=st.booleans())
    def begin(self, online: bool) -> None:
        self.clock = FakeClock()
        config = UplinkConfig(KITCHEN, Codec.PCM_S16LE, 1, MAX_AGE_S, 1 << 20)
        self.satellite = Conversation(Uplink(config, self.satellite_publishes), MAX_AGE_S)
        self.upwards: deque[Publication] = deque()
        """What the satellite has handed over and the broker has not got."""
        self.downwards: deque[Publication | Callable[[], None]] = deque()
        """Messages and confirmations on their way to the satellite."""
        self.retained: dict[str, bytes] = {}
        self.connection = self.connections = 0
        self.service: Service | None = None
        self.lives = 0
        self.said: dict[str, Said] = {}
        """By its words, and by the words of each beginning at which the service ended it."""
        self.speaking: bytearray | None = None
        self.utterance = Said(self.clock.now())
        """The newest one."""
        self.ended: set[str] = set()
        """Ids of utterances that this service has ended by itself."""
        self.spoken = 0
        self.acted: list[Said] = []
        self.refused = self.late = 0
        self.dropped = 0
        self.obeyed: Counter[tuple[int, str]] = Counter()
        self.comes_back()
        self.knows_the_service = online
        if online:
            self.connects()
            self.is_obeyed_once()

    def is_obeyed_once(self) -> None:
        """From here on the satellite knows that it gets answers, and misses them."""
        self.speaks(1, ends=True)
        self.broker_hears(100)
        self.model_answers()
        self.satellite_hears(100)
        self.time_passes(0.1)
        assert len(self.acted) == 1

    # What is between them --------------------------------------------------------------------

    def satellite_publishes(self, one: Publication) -> None:
        assert one.connection is not None
        if one.connection == self.connection:
            self.upwards.append(one)

    def service_publishes(self, one: Publication) -> None:
        if one.topic == RESULT:
            result = json.loads(one.payload)
            if result["id"] in self.ended:
                one = replace(one, payload=json.dumps({**result, "end": "endpoint"}).encode())
            self.obeyed_elsewhere(result)
        if one.retain:
            self.retained[one.topic] = one.payload
        if self.connection and one.topic in HEARD:
            self.downwards.append(one)

    def obeyed_elsewhere(self, result: dict[str, Any]) -> None:
        """Somebody else, such as Home Assistant, obeys what is not marked.

        What a pause of 5 s has cut off is not: the service cannot know that a stop was to come.
        """
        marked = result["incomplete"] or result["repeated"] or result["end"] == "gap"
        if result["text"] and not marked:
            self.obeyed[self.lives, result["text"]] += 1

    def tell_the_service(self, topic: str, payload: bytes) -> None:
        if self.service is not None:
            self.service.hear(Inbound(topic, payload, qos=1))

    @rule(up=st.sampled_from([0, 1, 2, 3, 100]), down=st.sampled_from([0, 1, 100]))
    def network_moves(self, up: int, down: int) -> None:
        self.broker_hears(up)
        self.satellite_hears(down)

    def broker_hears(self, most: int) -> None:
        for _ in range(min(most, len(self.upwards))):
            one = self.upwards.popleft()
            if one.expires_at is not None and self.clock.now() >= one.expires_at:
                continue
            self.tell_the_service(one.topic, one.payload)
            if one.receipt is not None:
                self.downwards.append(one.receipt)

    def satellite_hears(self, most: int) -> None:
        for _ in range(min(most, len(self.downwards))):
            one = self.downwards.popleft()
            if not isinstance(one, Publication):
                one()
            elif one.topic == STATE:
                self.satellite.state(one.payload, retained=False)
            elif one.topic == SET:
                self.is_told_of_the_end(json.loads(one.payload)["ended"])
            else:
                self.heed(one.payload)

    def heed(self, payload: bytes) -> None:
        answer = self.satellite.result(payload, self.clock.now())
        if answer is None or not answer.ours:
            return
        if answer.ended_by_service:
            assert answer.id is not None
            self.is_told_of_the_end(answer.id)
        if answer.act_until is not None:
            self.act(answer)
        elif answer.late and answer.text and not answer.cut:
            self.late += 1
        elif answer.error_code not in {None, "shutting_down"} and not answer.cut:
            self.refused += 1

    def act(self, answer: ServiceAnswer) -> None:
        said = self.said.get(answer.text)
        assert said is not None, "a part was obeyed"
        assert said not in self.acted, "it was obeyed twice"
        assert self.clock.now() <= said.ended_at + MAX_AGE_S, "it was obeyed late"
        self.acted.append(said)

    @precondition(lambda self: self.connection)
    @rule(arrives=st.integers(0, 4), noticed=st.booleans(), returns=st.booleans())
    def connection_breaks(self, arrives: int, noticed: bool, returns: bool) -> None:
        """What is under way is lost, in both directions; the last will is published."""
        self.broker_hears(arrives)
        self.connection = 0
        self.upwards.clear()
        self.downwards.clear()
        if noticed:
            self.satellite.disconnected()
        self.tell_the_service("stt/kitchen/availability", b"offline")
        if returns:
            self.connects()

    @precondition(lambda self: not self.connection)
    @rule()
    def connects(self) -> None:
        self.connections += 1
        self.connection = self.connections
        self.tell_the_service("stt/kitchen/availability", b"online")
        if STATE in self.retained:
            self.satellite.state(self.retained[STATE], retained=True)
        self.satellite.connected(self.connection, self.clock.now())

    # The service -----------------------------------------------------------------------------

    @precondition(lambda self: self.service is not None and self.service.pool.submitted)
    @rule()
    def model_answers(self) -> None:
        assert self.service is not None
        self.service.infer()

    @precondition(lambda self: self.service is not None)
    @rule(kindly=st.booleans(), returns=st.booleans())
    def service_ends(self, kindly: bool, returns: bool) -> None:
        assert self.service is not None
        if kindly:
            self.service.service.shut_down()
            self.service.service.abandon()
        self.service = None
        if returns:
            self.comes_back()

    @precondition(lambda self: self.service is None)
    @rule()
    def comes_back(self) -> None:
        """Like the real one it says about each device that it was told of what it does."""
        self.lives += 1
        self.service = Service(self.clock, self.service_publishes)
        self.ended.clear()
        if STATE in self.retained:
            self.service_publishes(Publication(STATE, b"idle", retain=True))

    @precondition(lambda self: self.service is not None and self.connection)
    @rule(chunks=st.integers(1, 3), later=st.integers(0, 2), down=st.sampled_from([0, 2, 100]))
    def service_ends_the_utterance(self, chunks: int, later: int, down: int) -> None:
        """If it has it, the service ends it as with a stop, and says so."""
        assert self.service is not None
        self.speaks(chunks, ends=False)
        self.broker_hears(100)
        assert self.speaking is not None
        id, before = self.satellite.id, self.retained.get(STATE)
        self.tell_the_service("stt/kitchen/audio/stop", json.dumps({"id": id}).encode())
        if before != b"listening" or self.retained[STATE] == before:
            return
        self.ended.add(id)
        for size in range(4, len(self.speaking) + 1, 4):
            self.said[words_of(bytes(self.speaking[:size]))] = self.utterance
        if self.connection:
            self.downwards.append(Publication(SET, json.dumps({"ended": id}).encode()))
        if later:
            self.speaks(later, ends=False)
        self.satellite_hears(down)

    def is_told_of_the_end(self, id: str) -> None:
        if self.speaking is not None and id == self.satellite.id:
            self.is_over()
            self.satellite.end_by_service(self.clock.now())

    # The person and the clock ----------------------------------------------------------------

    @rule(chunks=st.integers(1, 3), ends=st.booleans())
    def speaks(self, chunks: int, ends: bool) -> None:
        if self.speaking is None:
            self.speaking = bytearray()
            self.utterance = Said(self.clock.now())
            self.satellite.open()
        for _ in range(chunks):
            self.spoken += 1
            chunk = self.spoken.to_bytes(4, "little")
            self.speaking += chunk
            self.satellite.audio(chunk)
        if ends:
            self.is_over()
            self.satellite.close(self.clock.now())

    def is_over(self) -> None:
        assert self.speaking is not None
        self.utterance.ended_at = self.clock.now()
        self.said[words_of(bytes(self.speaking))] = self.utterance
        self.speaking = None

    @precondition(lambda self: self.speaking is not None)
    @rule()
    def takes_it_back(self) -> None:
        self.speaking = None
        for words in [words for words, one in self.said.items() if one is self.utterance]:
            del self.said[words]
        self.satellite.cancel()

    @rule(seconds=st.sampled_from([0.1, 1.0, ACKNOWLEDGE_TIMEOUT_S + 0.1, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.service is not None:
            self.service.service.tick()
        dropped = self.satellite.tick(self.clock.now())
        self.dropped += 0 if dropped is None else dropped.old + dropped.full

    def teardown(self) -> None:
        if not hasattr(self, "satellite"):
            return
        if self.speaking is not None:
            self.takes_it_back()
        if not self.connection:
            self.connects()
        if self.service is None:
            self.comes_back()
        assert self.service is not None
        for _ in range(10 + 3 * len(self.said)):
            self.broker_hears(1000)
            while self.service.pool.submitted:
                self.model_answers()
            self.satellite_hears(1000)
            self.time_passes(0.1)
        if self.satellite.uplink.waiting:
            # What nobody showed to have heard is waited for.
            for _ in range(2 * len(self.said)):
                self.time_passes(ACKNOWLEDGE_TIMEOUT_S + 0.1)
                self.broker_hears(1000)
                while self.service.pool.submitted:
                    self.model_answers()
                self.satellite_hears(1000)
        assert self.satellite.uplink.waiting == 0
        if self.knows_the_service and all(
            one.ended_at + MAX_AGE_S > self.clock.now() for one in self.said.values()
        ):
            assert self.satellite.answers.outstanding == 0
        unanswered = self.satellite.answers.unanswered + self.satellite.answers.outstanding
        lost = len(set(map(id, self.said.values()))) - len(self.acted)
        assert lost <= self.dropped + self.refused + self.late + unanswered
        assert set(self.obeyed.values()) <= {1}, "somebody else was made to obey twice"


TestTheTwo = TheTwo.TestCase
TestTheTwo.settings = settings(max_examples=examples(130), stateful_step_count=40, deadline=None)
