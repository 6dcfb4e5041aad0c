"""The evidence of the status page: it sees every outcome and every change of a device.

Words are kept only with `web.show_text`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.mqtt.json import Json
from stt_mqtt.observe.history import History, is_utterance
from stt_mqtt.observe.microphones import Microphones
from stt_mqtt.observe.process import CpuMeter
from stt_mqtt.observe.troubles import Troubles
from stt_mqtt.types import DeviceKey, DeviceState, Outcome

MAX_TEXT = 500
"""Most characters of the last words."""
STATUS_CLIENT = "(status page)"
"""The name of an open status page among the clients."""
OBSERVED_DOORS = ("native", "hermes", "wyoming")


@dataclass(slots=True)
class Room:
    """What is remembered of a room. `last`: the fields of its last outcome.

    Times are monotonic seconds, because the clock may be set later. `ended_at`: when the last
    utterance ended. None: nothing was heard.
    """

    utterances: int = 0
    errors: int = 0
    seen_at: float | None = None
    ended_at: float = 0.0
    last: Json | None = None


class StatusBoard:
    """Collects the evidence. Runs on the event loop.

    A room is a door and a name: all connections of an address and all sessions of a site are one.
    `changed` is called when there is something new to show. `pages`: number of open status pages.
    """

    def __init__(
        self, parts: WebParts, changed: Callable[[], None], pages: Callable[[], int]
    ) -> None:
        self.parts = parts
        self._pages = pages
        self.cpu: float | None = None
        """Cores in use, at the last sample."""
        self.history = History()
        self.troubles = Troubles()
        self.started_at = parts.clock.now()
        self._most = parts.service.config.limits.max_devices
        self.microphones = Microphones(self._most)
        self.rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()
        """Those that were heard since the start, the last one last; at most `max_devices`."""
        self._changed = changed
        self._cpu_meter = CpuMeter()
        self._disconnects: dict[DeviceKey, int] = {}
        """How often each device had been reported offline at the last sample."""
        parts.service.registry.observers.add_for_outcomes(self)
        for door in OBSERVED_DOORS:
            parts.service.add_observer(door, self)

    @property
    def service(self) -> SpeechService:
        """The service that is shown."""
        return self.parts.service

    @property
    def doors(self) -> list[DoorFacts]:
        """All doors, the pages last."""
        clients = *self.parts.native.direct.connected, *([STATUS_CLIENT] * self._pages())
        return [
            *self.parts.doors(),
            DoorFacts("Pages", self.service.config.web.url, clients=clients),
        ]

    @property
    def shows_text(self) -> bool:
        """Whether words are kept and shown."""
        return self.service.config.web.show_text

    def outcome(self, outcome: Outcome) -> None:
        """Note the outcome of an utterance. A repeated one is not news."""
        if outcome.repeated:
            return
        now = self.parts.clock.now()
        self.history.outcome(outcome, now)
        self.troubles.outcome(outcome, now)
        self.microphones.outcome(outcome, now)
        room = self._room(outcome.key)
        room.utterances += is_utterance(outcome)
        room.errors += outcome.error is not None
        room.seen_at = now
        room.ended_at = now - (self.parts.clock.epoch() - outcome.ts)
        room.last = _fields(outcome, self.shows_text)
        self._changed()

    def settings(self, _key: DeviceKey, _settings: DeviceSettings) -> None:
        """A device was registered or its settings changed."""
        self._changed()

    def state(self, _key: DeviceKey, _state: DeviceState) -> None:
        """The state of a device changed."""
        self._changed()

    def forget(self, key: DeviceKey) -> None:
        """A device was removed. A connection or session that ended leaves its room behind."""
        if not key.part:
            self.rooms.pop((key.door, key.name), None)
            self.microphones.forget(key.door, key.name)
        self._changed()

    def sample(self) -> None:
        """Note the load, and what was counted since the last call."""
        service, now = self.service, self.parts.clock.now()
        self.cpu = self._cpu_meter.read()
        jobs, rung = service.scheduler.queue.jobs, service.rung_status.active
        self.history.sample(self.cpu, jobs, rung, now)
        dropped = {**service.metrics.dropped, **self.parts.transport_drops()}
        self.troubles.dropped(dropped, now)
        counts = {device.key: device.counters.disconnects for device in service.registry}
        for key, count in counts.items():
            more = count - self._disconnects.get(key, 0)
            # Who closes the page of a browser says nothing about its microphone.
            if more > 0 and not self.parts.native.direct.is_browser(key.name):
                self.microphones.went_offline(key.door, key.name, more, now)
        self._disconnects = counts
        self._changed()

    def _room(self, key: DeviceKey) -> Room:
        room = self.rooms.setdefault((key.door, key.name), Room())
        self.rooms.move_to_end((key.door, key.name))
        if len(self.rooms) > self._most:
            self.rooms.popitem(last=False)
        return room


def _fields(outcome: Outcome, with_text: bool) -> Json:
    """What is shown of an outcome. `text` is None if it must not be shown."""
    error = outcome.error
    text = "" if outcome.transcript is None else outcome.transcript.text[:MAX_TEXT]
    return {
        "outcome": outcome.kind.value,
        "text": text if with_text else None,
        "audio_s": round(outcome.audio_s, 2),
        "latency_s": None if outcome.latency_s is None else round(outcome.latency_s, 3),
        "incomplete": outcome.incomplete,
        "error": None if error is None else {"code": error.code, "detail": error.detail},
        "hint": None if outcome.hint is None else outcome.hint.sentence,
    }
