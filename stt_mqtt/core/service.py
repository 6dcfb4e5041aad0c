"""The speech service: doors report what devices do, and each utterance gets exactly one outcome.

It runs on the event loop, without locks. The clock, the inference threads and the outlets are
passed in, so that tests can replace them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import uuid4

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config import Config
from stt_mqtt.core.budget import Budget, DeviceContext
from stt_mqtt.core.clock import Clock, Moment
from stt_mqtt.core.device import Device
from stt_mqtt.core.observers import AudioKeeper, DeviceObserver, Outlet, PartialOutlet
from stt_mqtt.core.outcomes import (
    Answer,
    Ended,
    Glimpse,
    Repeated,
    log_outcome,
    outcome_of,
    outcome_of_refusal,
)
from stt_mqtt.core.probe import Probe
from stt_mqtt.core.registry import DeviceDeadlines, Registry
from stt_mqtt.core.scheduler import Capacity, Pool, Scheduler
from stt_mqtt.core.settings import SettingsChange
from stt_mqtt.core.speculation import Speculation
from stt_mqtt.core.start import language_error
from stt_mqtt.errors import ShuttingDownError, TooManyDevicesError, UtteranceError
from stt_mqtt.observe.metrics import DropReason, Metrics
from stt_mqtt.rungs import EngineFacts
from stt_mqtt.types import (
    DeviceKey,
    EndReason,
    InferenceResult,
    NamedFormat,
    Outcome,
    Utterance,
    UtteranceStart,
    Verdict,
)

log = logging.getLogger(__name__)


class SpeechService:
    """Connects the doors with the devices, the scheduler and the inference threads."""

    def __init__(
        self,
        config: Config,
        engine: EngineFacts,
        clock: Clock,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        decoders: Decoders = IN_THIS_PROCESS,
    ) -> None:
        limits = config.limits
        self.config = config
        self.languages = engine.languages
        self.rung_status = engine.rung_status
        """The state of the ladder, for the doors to publish. `LadderRunner` replaces it."""
        self.metrics = Metrics(decoders.failures)
        self.budget = Budget(limits.max_buffered_mib * 1024 * 1024)
        context = DeviceContext.of(config, self.budget, new_id, decoders)
        self.registry = Registry(config, context, clock)
        self.scheduler = Scheduler(limits, self.registry.is_configured)
        self.probe = Probe(self.scheduler, self.registry, self.budget, clock)
        self.keeper: AudioKeeper | None = None
        self._clock = clock
        self._outlets: dict[str, Outlet] = {}
        self._deadlines = DeviceDeadlines(self.registry)
        self._speculation = Speculation(self.registry, self.scheduler, self.metrics, self.budget)
        self._closing = False

    def attach(self, door: str, outlet: Outlet, partials: PartialOutlet | None = None) -> None:
        """Set the outlets of a door. The keys of its devices carry the name of the door."""
        self._outlets[door] = outlet
        if partials is not None:
            self._speculation.outlets[door] = partials

    def add_observer(self, door: str, observer: DeviceObserver) -> None:
        """Add an observer of the devices of a door. Observers are called in this order."""
        self.registry.observers.add(door, observer)

    # What devices do ---------------------------------------------------------------------

    def start(self, key: DeviceKey, start: UtteranceStart) -> None:
        """A device opens an utterance."""
        device = self._get_or_answer(key, start)
        if device is None:
            return
        now = self._clock.now()
        error = self._refusal(start, device)
        ended = device.start(start, now) if error is None else device.refuse(start, error, now)
        self._handle_ended(device, ended)

    def refuse(self, key: DeviceKey, start: UtteranceStart, error: UtteranceError) -> None:
        """A device tried to open an utterance, but the start was invalid."""
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
        with self._deadlines.kept(device):
            self._handle_ended(device, device.chunk(chunk, number, format, now))

    def stop(self, key: DeviceKey, id: str | None, sent: int | None) -> None:
        """A device ends its utterance. `sent`: number of chunks that it says it sent."""
        device = self.registry.touch(key)
        if device is not None:
            self._handle_ended(device, device.stop(id, sent, self._clock.now()))

    def abort(self, key: DeviceKey, id: str | None) -> None:
        """A device aborts its utterance."""
        device = self.registry.touch(key)
        if device is not None:
            self._handle_ended(device, device.abort(id, self._clock.now()))

    def end(self, key: DeviceKey, end: EndReason) -> None:
        """What a device has open ends. The audio that it has sent is transcribed."""
        device = self.registry.find(key)
        if device is not None:
            self._handle_ended(device, device.end(end, self._clock.now()))

    def leave(self, key: DeviceKey) -> None:
        """A device is gone for good. Its utterances are aborted and the device is removed."""
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
        """Answer a message with an error, without an effect on the open utterance."""
        self._deliver(outcome_of_refusal(key, start, error, end, self._moment()))

    def change_settings(self, key: DeviceKey, change: SettingsChange) -> None:
        """Change settings of a device until the restart."""
        device = self._get_or_answer(key, UtteranceStart())
        if device is not None:
            self._handle_ended(device, device.change(change, self._clock.now()))

    def count_dropped_chunk(self, key: DeviceKey) -> None:
        """Count a chunk that was dropped before it reached the service."""
        device = self.registry.find(key)
        if device is not None:
            device.counters.dropped_chunks += 1

    def make_room(self, nbytes: int, key: DeviceKey) -> bool:
        """Make room for `nbytes` at the cost of names that hold more; return whether they fit."""
        while self.budget.missing_bytes(nbytes):
            # Of a name, first its newest queued utterance, then its largest open one. What is being
            # transcribed cannot be given up.
            queued, hoarders = self.scheduler.queue.waiting, self.registry.hoarders()
            larger = self.budget.larger(key, nbytes)
            name = next((one for one in larger if one in queued or one in hoarders), None)
            if name is None:
                return False
            now = self._clock.now()
            if name in queued:
                self._answer(self.scheduler.evict(name, now))
            else:
                self._handle_ended(hoarders[name], hoarders[name].evict(now))
        return True

    # What the service does -----------------------------------------------------------------

    def reconfigure(self, config: Config) -> None:
        """Apply a new configuration to all devices."""
        self.config = self.registry.config = config
        for device in self.registry:
            configured = self.registry.config_of(device.key)
            self._handle_ended(device, device.reconfigure(configured, self._clock.now()))

    def attach_pool(self, pool: Pool, capacity: Capacity) -> None:
        """The model is loaded: start to transcribe, beginning with what is queued."""
        self.scheduler.attach_pool(pool, capacity, self._clock.now())

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        """An inference thread gave the verdict on one utterance of a batch."""
        self._answer(self.scheduler.verdict(batch, index, verdict, self._clock.now()))

    def finished(self, batch: int) -> None:
        """An inference thread has finished a batch."""
        self._answer(self.scheduler.finished(batch, self._clock.now()))

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        both = (self._deadlines.next_at, self.scheduler.deadline)
        return min((at for at in both if at is not None), default=None)

    def tick(self) -> None:
        """Do everything that is due: end utterances, and see `Scheduler.tick`."""
        now = self._clock.now()
        for device in self._deadlines.due(now):
            with self._deadlines.kept(device):
                self._handle_ended(device, device.tick(now))
        self._answer(self.scheduler.tick(now))

    def shut_down(self) -> None:
        """Accept no new utterances and end the open ones."""
        self._closing = True
        for device in self.registry:
            self._handle_ended(device, device.end(EndReason.SHUTDOWN, self._clock.now()))

    def abandon(self) -> None:
        """Answer all remaining utterances with `shutting_down`."""
        self._answer(self.scheduler.abandon(self._clock.now()))

    # Internals -------------------------------------------------------------------------------

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
        return language_error(start.language or device.settings.language, self.languages)

    def _handle_ended(self, device: Device, ended: list[Ended]) -> None:
        """Queue or answer what ended. Then tell the observers and set the next deadline."""
        for item in ended:
            if isinstance(item, Utterance):
                if item.end is EndReason.ENDPOINT:
                    self.registry.observers.turn_ended(item.key, item.id)
                device.pending += 1
                self._answer(self.scheduler.put(item, self._clock.now()))
            elif isinstance(item, Repeated):
                self._repeat(item)
            else:
                self._deliver(outcome_of(item, self._moment()))
        self.registry.observers.announce(device)
        self._speculation.consider(device, self._clock.now())
        self._deadlines.set(device)

    def _glimpsed(self, glimpse: Glimpse) -> None:
        """An open utterance was recognised, which may end it."""
        ended = self._speculation.found(glimpse, self._clock.now())
        device = self.registry.find(glimpse.utterance.key)
        if device is not None:
            self._handle_ended(device, ended)
        for device in self._speculation.take_postponed():
            self._handle_ended(device, [])

    def _answer(self, answers: Iterable[Answer | Glimpse]) -> None:
        """Deliver the outcomes of utterances that were queued, and free their memory."""
        for answer in answers:
            utterance = answer.utterance
            self.budget.use(utterance.key, -len(utterance.audio.data))
            if self.probe.takes(utterance.key, answer.verdict):
                continue
            if isinstance(answer, Glimpse):
                self._glimpsed(answer)
                continue
            if isinstance(answer.verdict, InferenceResult):
                self.metrics.count_inference(answer.verdict, utterance.memo is not None)
            device = self.registry.find(utterance.key)
            if device is not None:
                device.pending -= 1
            outcome = outcome_of(answer, self._moment())
            self._deliver(outcome)
            if self.keeper is not None:
                self.keeper.keep(utterance, outcome)
            if device is not None:
                self.registry.observers.announce(device)
                self.registry.remove_if_left(device)

    def _deliver(self, outcome: Outcome) -> None:
        """Pass an outcome to the outlet of its door. A door that raises loses only this outcome.

        Unless the outcome is repeated, it is counted and remembered under its id.
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
        self.registry.observers.outcome(outcome)

    def _repeat(self, repeated: Repeated) -> None:
        """Deliver a known outcome again. If there is none yet, the first utterance gets it."""
        self.metrics.drop(DropReason.REPEATED)
        if repeated.outcome is not None:
            context = repeated.start.context
            self._deliver(replace(repeated.outcome, repeated=True, context=context))

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.epoch())
