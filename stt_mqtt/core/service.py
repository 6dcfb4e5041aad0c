"""The speech service: doors report what devices do, each utterance is answered exactly once.

Single-threaded (the event loop's), without locks. The clock, the inference threads and the
doors' outlets are given to it, so that tests run it with fakes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import uuid4

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.config import Config
from stt_mqtt.core.budget import Budget, DeviceContext
from stt_mqtt.core.clock import Clock, Moment
from stt_mqtt.core.device import Device
from stt_mqtt.core.observers import DeviceObserver, Outlet
from stt_mqtt.core.outcomes import (
    Answer,
    Ended,
    Repeated,
    log_outcome,
    outcome_of,
    outcome_of_refusal,
)
from stt_mqtt.core.registry import DeviceDeadlines, Registry
from stt_mqtt.core.scheduler import Capacity, Pool, Scheduler
from stt_mqtt.core.settings import SettingsChange
from stt_mqtt.errors import (
    ShuttingDownError,
    TooManyDevicesError,
    UnsupportedLanguageError,
    UtteranceError,
)
from stt_mqtt.observe.metrics import DropReason, Metrics
from stt_mqtt.types import (
    DeviceKey,
    EndReason,
    EngineFacts,
    InferenceResult,
    NamedFormat,
    Outcome,
    Utterance,
    UtteranceStart,
    Verdict,
    normalise_language,
)

log = logging.getLogger(__name__)


class SpeechService:
    """Everything between the doors and the inference threads."""

    def __init__(
        self,
        config: Config,
        engine: EngineFacts,
        clock: Clock,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        limits = config.limits
        self.config = config
        self.languages = engine.languages
        self.rung_status = engine.rung_status
        """The ladder as it stands, for the doors to tell; whoever moves it replaces this."""
        self.metrics = Metrics()
        self.budget = Budget(limits.max_buffered_mib * 1024 * 1024)
        cap = AudioCap(limits.max_utterance_s, limits.max_utterance_kib * 1024)
        self.registry = Registry(config, DeviceContext(cap, self.budget, new_id), clock)
        self.scheduler = Scheduler(limits)
        self._clock = clock
        self._outlets: dict[str, Outlet] = {}
        self._deadlines = DeviceDeadlines(self.registry)
        self._closing = False

    def attach(self, door: str, outlet: Outlet) -> None:
        """Connect a door; the keys of its devices carry its name."""
        self._outlets[door] = outlet

    def add_observer(self, door: str, observer: DeviceObserver) -> None:
        """Have the devices of a door watched; observers are told in the order they came."""
        self.registry.observers.add(door, observer)

    # What devices do ---------------------------------------------------------------------

    def start(self, key: DeviceKey, start: UtteranceStart) -> None:
        """A device opens an utterance."""
        device = self._get_or_answer(key, start)
        if device is None:
            return
        now = self._clock.now()
        error = self._refusal(start, device)
        self._handle_ended(
            device,
            device.start(start, now) if error is None else device.refuse(start, error, now),
        )

    def refuse(self, key: DeviceKey, start: UtteranceStart, error: UtteranceError) -> None:
        """A device tried to open an utterance in a way that cannot be obeyed."""
        device = self._get_or_answer(key, start)
        if device is not None:
            self._handle_ended(device, device.refuse(start, error, self._clock.now()))

    def chunk(self, key: DeviceKey, chunk: bytes, number: int | None, format: NamedFormat) -> None:
        """A device sends audio; `number` and `format` as in `Device.chunk`."""
        try:
            device = self.registry.touch_or_add(key)
        except TooManyDevicesError:
            self.metrics.drop(DropReason.TOO_MANY_DEVICES)
            return
        if self._closing and not device.listening:
            device.counters.dropped_chunks += 1
            return
        now = self._clock.now()
        if self.budget.missing_bytes(len(chunk)) and device.takes_chunk(now):
            self.make_room(len(chunk), key)
        self._handle_ended(device, device.chunk(chunk, number, format, now))

    def stop(self, key: DeviceKey, id: str | None, sent: int | None) -> None:
        """A device ends its utterance; `sent`: how many chunks it says it sent."""
        device = self.registry.touch(key)
        if device is not None:
            self._handle_ended(device, device.stop(id, sent, self._clock.now()))

    def abort(self, key: DeviceKey, id: str | None) -> None:
        """A device takes its utterance back."""
        device = self.registry.touch(key)
        if device is not None:
            self._handle_ended(device, device.abort(id, self._clock.now()))

    def disconnect(self, key: DeviceKey) -> None:
        """A device is gone, by the word of others; what it said so far is transcribed."""
        device = self.registry.find(key)
        if device is not None:
            self._handle_ended(device, device.end(EndReason.DISCONNECT, self._clock.now()))

    def leave(self, key: DeviceKey) -> None:
        """A device will not speak again: what is open or waits is taken back, its place is free."""
        device = self.registry.find(key)
        if device is None:
            return
        now = self._clock.now()
        self.registry.mark_leaving(key)
        self._handle_ended(device, device.abort(None, now))
        self._answer(self.scheduler.withdraw(key, now))
        self.registry.remove_if_left(device)

    def single(self, key: DeviceKey, data: bytes, start: UtteranceStart) -> None:
        """A device sends a whole utterance in one message."""
        device = self._get_or_answer(key, start)
        if device is None:
            return
        error = self._refusal(start, device)
        if error is not None:
            self.answer_error(key, start, error, EndReason.SINGLE)
            return
        if device.settings.enabled:
            self.make_room(len(data), key)
        self._handle_ended(device, [device.single(data, start, self._clock.now())])

    def answer_error(
        self,
        key: DeviceKey,
        start: UtteranceStart,
        error: UtteranceError,
        end: EndReason | None = None,
    ) -> None:
        """Answer a message that opens nothing and leaves an open utterance alone."""
        self._deliver(outcome_of_refusal(key, start, error, end, self._moment()))

    def change_settings(self, key: DeviceKey, change: SettingsChange) -> None:
        """A device's settings are changed until the restart."""
        device = self._get_or_answer(key, UtteranceStart())
        if device is not None:
            self._handle_ended(device, device.change(change, self._clock.now()))

    def count_dropped_chunk(self, key: DeviceKey) -> None:
        """A chunk of the device was dropped before it reached the service."""
        device = self.registry.find(key)
        if device is not None:
            device.counters.dropped_chunks += 1

    def make_room(self, nbytes: int, key: DeviceKey) -> bool:
        """Whether `key` may hold `nbytes` more; what others hoard is taken from them for it."""
        while self.budget.missing_bytes(nbytes):
            evicted = self.scheduler.evict(key, self._clock.now())
            if not evicted:
                return False
            self._answer(evicted)
        return True

    # What the service does -----------------------------------------------------------------

    def reconfigure(self, config: Config) -> None:
        """Take a new configuration for all devices."""
        self.config = self.registry.config = config
        for device in self.registry:
            configured = self.registry.config_of(device.key)
            self._handle_ended(device, device.reconfigure(configured, self._clock.now()))

    def attach_pool(self, pool: Pool, capacity: Capacity) -> None:
        """The model is loaded: transcribe, first of all what has come in meanwhile."""
        self.scheduler.attach_pool(pool, capacity, self._clock.now())

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        """An inference thread has the verdict on one utterance of a batch."""
        self._answer(self.scheduler.verdict(batch, index, verdict, self._clock.now()))

    def finished(self, batch: int) -> None:
        """An inference thread is done with a batch."""
        self._answer(self.scheduler.finished(batch, self._clock.now()))

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds."""
        both = (self._deadlines.next_at, self.scheduler.deadline)
        return min((at for at in both if at is not None), default=None)

    def tick(self) -> None:
        """End the utterances whose time is up and whatever else is due."""
        now = self._clock.now()
        for device in self._deadlines.due(now):
            self._handle_ended(device, device.tick(now))
        self._answer(self.scheduler.tick(now))

    def shut_down(self) -> None:
        """Accept nothing new and end what is open."""
        self._closing = True
        for device in self.registry:
            self._handle_ended(device, device.end(EndReason.SHUTDOWN, self._clock.now()))

    def abandon(self) -> None:
        """Answer whatever is still unanswered with `shutting_down`."""
        self._answer(self.scheduler.abandon(self._clock.now()))

    # Inside ----------------------------------------------------------------------------------

    def _get_or_answer(self, key: DeviceKey, start: UtteranceStart) -> Device | None:
        try:
            return self.registry.touch_or_add(key)
        except TooManyDevicesError as error:
            self.answer_error(key, start, error)
            return None

    def _refusal(self, start: UtteranceStart, device: Device) -> UtteranceError | None:
        if self._closing:
            return ShuttingDownError("the service is stopping")
        if not device.settings.enabled:
            return None
        language = start.language or device.settings.language
        if language is None or normalise_language(language) in self.languages:
            return None
        return UnsupportedLanguageError(
            f"no model of this service speaks {language!r}; leave the language out "
            "or configure a multilingual model"
        )

    def _handle_ended(self, device: Device, ended: list[Ended]) -> None:
        """Send on what ended, then tell what changed and see that the device is woken in time."""
        for item in ended:
            if isinstance(item, Utterance):
                device.pending += 1
                self._answer(self.scheduler.put(item, self._clock.now()))
            elif isinstance(item, Repeated):
                self._repeat(item)
            else:
                self._deliver(outcome_of(item, self._moment()))
        self.registry.observers.announce(device)
        self._deadlines.set(device)

    def _answer(self, answers: Iterable[Answer]) -> None:
        """Answer utterances that were queued."""
        for answer in answers:
            utterance = answer.utterance
            self.budget.use(-len(utterance.audio.data))
            if isinstance(answer.verdict, InferenceResult):
                self.metrics.count_inference(answer.verdict)
            device = self.registry.find(utterance.key)
            if device is not None:
                device.pending -= 1
            self._deliver(outcome_of(answer, self._moment()))
            if device is not None:
                self.registry.observers.announce(device)
                self.registry.remove_if_left(device)

    def _deliver(self, outcome: Outcome) -> None:
        """Give a door an outcome. A door that fails harms no other answer.

        It is counted, and remembered in case the device repeats itself, when it comes first.
        """
        if not outcome.repeated:
            self.metrics.count_outcome(outcome)
            device = self.registry.find(outcome.key)
            if device is not None:
                device.answered(outcome, self._clock.now())
        log_outcome(outcome)
        try:
            self._outlets[outcome.key.door].outcome(outcome)
        except Exception:
            self.metrics.drop(DropReason.ANSWER)
            log.exception(
                "an answer was lost to a defect, please report this",
                extra={"device": str(outcome.key), "utterance": outcome.id},
            )

    def _repeat(self, repeated: Repeated) -> None:
        """Say again what was answered; what waits for the model will be answered by that."""
        self.metrics.drop(DropReason.REPEATED)
        if repeated.outcome is not None:
            context = repeated.start.context
            self._deliver(replace(repeated.outcome, repeated=True, context=context))

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.epoch())
