"""A real speech service with all doors on MQTT, and a ledger of what must be answered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from stt_mqtt.config import Config
from stt_mqtt.core.observers import Outlet
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.hermes import messages as hermes_messages
from stt_mqtt.doors.hermes.door import DOOR as HERMES
from stt_mqtt.doors.hermes.door import HermesDoor
from stt_mqtt.doors.homeassistant.door import HomeAssistantDoor
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.native.messages import parse_start
from stt_mqtt.doors.native.topics import DOOR as NATIVE
from stt_mqtt.doors.native.topics import DeviceMessage, Topics, Verb
from stt_mqtt.errors import UtteranceError
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.mqtt.routing import Router
from stt_mqtt.types import AudioFormat, Outcome, Verdict
from tests.doors.native.peers import bridge_of
from tests.fakes import FakeClock, FakePool, engine_facts, heard
from tests.fuzz.target import UnansweredError

CONFIG: Mapping[str, Any] = {
    "limits": {
        "max_utterance_s": 2.5,
        "max_utterance_kib": 96,
        "max_buffered_mib": 1,
        "max_devices": 6,
        "max_queued": 4,
        "max_queued_audio_s": 4.0,
        "max_queue_age_s": 2.0,
        "inference_timeout_s": 3.0,
    },
    "devices": {
        "bath": {"on_cap": "truncate", "endpointing": "silence", "codec": "opus"},
        "bed*": {"on_cap": "reject", "codec": "adpcm_ima"},
        "attic": {"endpointing": "eager", "partials": True},
    },
    "mqtt": {"max_payload_kib": 64},
}
"""Limits that a few messages reach."""
_READ = Config.model_validate(CONFIG)
LONGEST_S = 60.0
"""Seconds after which everything is answered. A session of Hermes takes 24.5 s at most."""
_MOST_DEADLINES = 1000


class CountingOutlet:
    """Counts the outcomes that a door gets, then lets it have them."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.outcomes: Counter[str | None] = Counter()

    def outcome(self, outcome: Outcome) -> None:
        if not outcome.repeated:
            self.outcomes[outcome.id] += 1
        self._outlet.outcome(outcome)


def unanswered(outcomes: Mapping[str, int]) -> None:
    """Raise UnansweredError if an utterance, by its id, has not exactly one outcome."""
    wrong = {id: count for id, count in outcomes.items() if count != 1}
    if wrong:
        raise UnansweredError(f"outcomes by id, each of which must be 1: {wrong}")


class House:
    """The service, and what was opened and answered."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.opened: Counter[str] = Counter()
        """Ids of utterances: those that the service gave, and fresh ones of devices."""
        self.sessions: Counter[tuple[str, str | None]] = Counter()
        """Sessions of Hermes, by site and id: how often each was opened, less its texts."""
        self.service = SpeechService(_READ, engine_facts(), self.clock, self._new_id)
        self.service.attach_pool(self.pool, Capacity(workers=2, max_batch=3))
        self.bridge = bridge_of(self.service, self.clock, self._publish)
        self.native = NativeDoor(self.service, self.bridge, self._publish, self.clock.now)
        self.hermes = HermesDoor(self.service, self.clock, self._publish)
        self.home = HomeAssistantDoor(self.service, self._publish, self.clock.now)
        self.native.devices.observer = self.home
        self.service.add_observer(NATIVE, self.home)
        self.outlets = [CountingOutlet(self.native), CountingOutlet(self.hermes)]
        for name, outlet in zip((NATIVE, HERMES), self.outlets, strict=True):
            self.service.attach(name, outlet)
        self.router = Router([self.native, self.hermes, self.home], lambda: None)
        self._topics = Topics(_READ.mqtt.base_topic)
        self._numbers = 0

    def send(self, message: Inbound) -> None:
        """A message comes from the broker."""
        self._note(message)
        self.router.route(message.topic).door.handle(message)

    def answer(self, verdict: Verdict) -> None:
        """The oldest batch is done, if there is one."""
        if self.pool.submitted:
            self.pool.answer(self.service, verdict)

    def pass_time(self, seconds: float) -> None:
        """Time goes on, and everything that is due is done."""
        self.clock.advance(seconds)
        self.service.tick()
        self.hermes.tick()
        self.home.tick()
        self.bridge.instances.tick(connected=True)

    def settle(self) -> None:
        """Nobody says anything more. Then nothing may be open. Raises UnansweredError."""
        until = self.clock.now() + LONGEST_S
        for _ in range(_MOST_DEADLINES):
            while self.pool.submitted:
                self.answer(heard())
            deadline = self._deadline
            if deadline is None or deadline > until:
                break
            self.pass_time(max(deadline - self.clock.now(), 0.0))
        else:
            raise AssertionError(f"more than {_MOST_DEADLINES} deadlines")
        self.check()

    @property
    def _deadline(self) -> float | None:
        parts = (self.service, self.hermes, self.home, self.bridge.instances)
        deadlines = (part.deadline for part in parts)
        return min((at for at in deadlines if at is not None), default=None)

    def check(self) -> None:
        """Raise UnansweredError if something has not exactly one answer."""
        answered: Counter[str | None] = Counter()
        for outlet in self.outlets:
            answered += outlet.outcomes
        unanswered({id: answered[id] for id in self.opened})
        texts = {session: count for session, count in self.sessions.items() if count}
        if texts:
            raise UnansweredError(f"sessions of Hermes less their texts: {texts}")
        assert self.service.budget.used_bytes == 0
        assert self.service.scheduler.drained

    def fresh_id(self) -> str:
        """An id that was never used."""
        self._numbers += 1
        return f"own-{self._numbers}"

    def _new_id(self) -> str:
        self._numbers += 1
        id = f"given-{self._numbers}"
        self.opened[id] += 1
        return id

    def _note(self, message: Inbound) -> None:
        """Note what a message must open."""
        if message.retain or len(message.payload) > 64 * 1024:
            return
        if message.topic == hermes_messages.Request.START:
            try:
                address = hermes_messages.parse_start(message.payload).address
            except UtteranceError:
                return
            self.sessions[address.site, address.session or None] += 1
        route = self._topics.parse(message.topic)
        if isinstance(route, DeviceMessage) and route.verb is Verb.START:
            try:
                id = parse_start(message.payload, AudioFormat()).start.id
            except UtteranceError:
                return
            # An id that came before may be a repetition.
            if id is not None and id.startswith("own-") and id not in self.opened:
                self.opened[id] += 1

    def _publish(self, publication: Publication) -> None:
        assert len(publication.topic) < 65_536
        publication.topic.encode()
        if publication.topic == hermes_messages.TEXT_CAPTURED:
            fields = json.loads(publication.payload)
            self.sessions[fields["siteId"], fields["sessionId"]] -= 1
        if publication.receipt is not None:
            publication.receipt()
