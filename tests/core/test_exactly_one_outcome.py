"""The invariant of the project: every utterance that is opened has exactly one outcome."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from math import nan

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stt_mqtt.config import Config
from stt_mqtt.core.filters import MAX_REMEMBERED, REMEMBERED_S
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import SettingsChange
from stt_mqtt.doors.native.messages import partial_fields, result_fields
from stt_mqtt.errors import CorruptAudioError, InferenceFailedError, TooManyDevicesError
from stt_mqtt.mqtt.json import encode
from stt_mqtt.types import (
    Batch,
    Completion,
    DeviceKey,
    DeviceState,
    Endpointing,
    EndReason,
    Outcome,
    Transcript,
    TurnEnd,
    UtteranceStart,
    Verdict,
)
from tests.core.speech import CHUNK_S, WORDS, chunks_of, found, quiet
from tests.fakes import (
    FakeClock,
    FakePool,
    RecordingOutlet,
    engine_facts,
    heard,
    nothing_heard,
)
from tests.thorough import examples

DEVICES = ["kitchen", "bedroom", "bath", "attic", "cellar"]
MAX_DEVICES = 4
MAX_QUEUED = 4
WORKERS = 2
MAX_BATCH = 3
CONFIG = {
    "limits": {
        "max_utterance_s": 2.5,
        "max_utterance_kib": 96,
        "max_buffered_mib": 1,
        "max_devices": MAX_DEVICES,
        "max_queued": MAX_QUEUED,
        "max_queued_audio_s": 4.0,
        "max_queue_age_s": 2.0,
        "inference_timeout_s": 3.0,
    },
    "devices": {
        "bath": {"on_cap": "truncate", "endpointing": "silence"},
        "bed*": {"on_cap": "reject"},
        "attic": {"endpointing": "eager", "partials": True},
        "kitchen": {"partials": True},
    },
}

keys = st.sampled_from([DeviceKey("native", name) for name in DEVICES])
ids = st.none() | st.sampled_from(["a", "b", "c"])
silences = st.sampled_from([0.0, 0.12, 0.24, 0.36, 0.9])
turn_ends = st.none() | st.builds(
    TurnEnd,
    st.sampled_from(Endpointing),
    pause_s=st.sampled_from([None, 0.1, 0.7]),
    no_speech_s=st.sampled_from([None, 0.5]),
)
drafted = st.sampled_from(["a b c d", "a b c d e", "A, b X y z", "a", "Z z z z z", ""])
MEANINGLESS = Transcript("Turn on the light.", "en", confidence=nan, no_speech_prob=nan)
verdicts = st.sampled_from(
    [
        heard(),
        *map(found, Completion),
        replace(heard(), transcript=MEANINGLESS),
        replace(heard(), transcript=replace(MEANINGLESS, completion=Completion.COMPLETE)),
        nothing_heard(),
        InferenceFailedError("broken"),
        CorruptAudioError("noise"),
    ]
)


class Outlet(RecordingOutlet):
    """A door that writes JSON as the native one does, and fails now and then after it told."""

    outcomes_until_failure: int | None = None

    def partial(self, partial: Partial) -> None:
        self.told.append(("partial", partial))
        encode(partial_fields(partial))

    def outcome(self, outcome: Outcome) -> None:
        super().outcome(outcome)
        encode(result_fields(outcome))
        if self.outcomes_until_failure is not None:
            self.outcomes_until_failure -= 1
            if self.outcomes_until_failure < 0:
                self.outcomes_until_failure = None
                raise RuntimeError("the door is broken")


class LeavingOutlet(Outlet):
    """A door whose devices leave with each answer."""

    service: SpeechService

    def outcome(self, outcome: Outcome) -> None:
        super().outcome(outcome)
        self.service.leave(outcome.key)


class TheSpeechService(RuleBasedStateMachine):
    """Random interleavings of everything that can happen to a service.

    The test keeps its own book of what was opened: it gives every start and every single one its
    id, and it is the source of the ids of utterances that a chunk opens.
    """

    @initialize(lifetime=st.sampled_from([0, 10, 40]), loaded=st.booleans(), leaves=st.booleans())
    def begin(self, lifetime: int, loaded: bool, leaves: bool) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.outlet = LeavingOutlet() if leaves else Outlet()
        config = Config.model_validate(CONFIG)
        self.service = SpeechService(config, engine_facts(), self.clock, self._new_id)
        if isinstance(self.outlet, LeavingOutlet):
            self.outlet.service = self.service
        self.loaded = False
        if loaded:
            self.the_model_is_loaded()
        self.service.attach("native", self.outlet, self.outlet)
        self.service.add_observer("native", self.outlet)
        self.opened: Counter[str] = Counter()
        self.started: dict[str, tuple[float, int]] = {}
        """The ids that devices chose: when, and how much the outlet had been told by then."""
        self.serial = 0
        self.lifetime = lifetime
        """Utterances that are opened before the service may be told to stop."""
        self.told: dict[int, set[int]] = {}
        """Indexes of the verdicts that the threads gave, by the batch that still runs."""
        self.order: dict[str, DeviceKey] = {}
        """The ids of what reached the model, in that order."""

    @precondition(lambda self: not self.loaded)
    @rule()
    def the_model_is_loaded(self) -> None:
        self.loaded = True
        self.service.attach_pool(self.pool, Capacity(WORKERS, MAX_BATCH))

    @rule(
        key=keys,
        language=st.sampled_from([None, "en", "fr"]),
        sequenced=st.booleans(),
        ends_within_s=st.sampled_from([None, 0.5]),
        turn_end=turn_ends,
    )
    def start(
        self,
        key: DeviceKey,
        language: str | None,
        sequenced: bool,
        ends_within_s: float | None,
        turn_end: TurnEnd | None,
    ) -> None:
        id = self._new_id()
        self.started[id] = (self.clock.now(), len(self.outlet.told))
        start = UtteranceStart(
            id=id,
            language=language,
            sequenced=sequenced,
            ends_within_s=ends_within_s,
            turn_end=turn_end,
        )
        self.service.start(key, start)

    @rule(
        key=keys,
        size=st.sampled_from([0, 1, 320, 3200, 20_000, 70_000]),
        number=st.none() | st.integers(0, 40),
    )
    def chunk(self, key: DeviceKey, size: int, number: int | None) -> None:
        self.service.chunk(key, bytes(size), number, None)

    @rule(
        key=keys,
        turn_end=turn_ends,
        starts=st.booleans(),
        silence_s=silences,
        late=st.booleans(),
        free=st.booleans(),
    )
    def somebody_speaks(
        self,
        key: DeviceKey,
        turn_end: TurnEnd | None,
        starts: bool,
        silence_s: float,
        late: bool,
        free: bool,
    ) -> None:
        if free:
            self.all_threads_finish(heard())
        if starts:
            self.start(key, None, False, None, turn_end)
        for chunk in chunks_of(WORDS + quiet(silence_s)):
            self.service.chunk(key, chunk, None, None)
        if late:
            # What else is silent was held back.
            self.time_passes(CHUNK_S + 0.15)

    @rule(verdict=verdicts)
    def all_threads_finish(self, verdict: Verdict) -> None:
        while self.pool.submitted:
            self._finish(self.pool.submitted[0], verdict)

    @rule(key=keys, words=st.lists(drafted, min_size=1, max_size=4), stops=st.booleans())
    def somebody_speaks_and_is_drafted(self, key: DeviceKey, words: list[str], stops: bool) -> None:
        for text in words:
            for chunk in chunks_of(WORDS[len(WORDS) // 3 :]):
                self.service.chunk(key, chunk, None, None)
            drafts = [one for one in self._glimpses() if one.utterances[0].draft_after is not None]
            for batch in drafts:
                self._finish(batch, heard(text))
        if stops:
            self.service.stop(key, None, None)

    @precondition(lambda self: self._glimpses())
    @rule(completion=st.sampled_from(Completion), then_s=st.sampled_from([0.0, 0.13, 0.5]))
    def a_glimpse_ends(self, completion: Completion, then_s: float) -> None:
        self._finish(self._glimpses()[0], found(completion))
        if then_s:
            self.time_passes(then_s)

    @rule(key=keys, id=ids, sent=st.none() | st.integers(0, 5))
    def stop(self, key: DeviceKey, id: str | None, sent: int | None) -> None:
        self.service.stop(key, id, sent)

    @rule(key=keys, id=ids)
    def abort(self, key: DeviceKey, id: str | None) -> None:
        self.service.abort(key, id)

    @rule(key=keys)
    def disconnect(self, key: DeviceKey) -> None:
        self.service.end(key, EndReason.DISCONNECT)

    @rule(key=keys)
    def what_it_sends_did_not_come_through_for_a_while(self, key: DeviceKey) -> None:
        if (device := self.service.registry.find(key)) is not None:
            device.interrupt()

    @rule(key=keys, gap_timeout_ms=st.sampled_from([300, 800]))
    def the_configuration_changes(self, key: DeviceKey, gap_timeout_ms: int) -> None:
        config = CONFIG | {"device_defaults": {"gap_timeout_ms": gap_timeout_ms}}
        self.service.reconfigure(Config.model_validate(config))

    @rule(key=keys)
    def leave(self, key: DeviceKey) -> None:
        self.service.leave(key)

    @precondition(lambda self: self._remembered())
    @rule(data=st.data())
    def an_answered_utterance_is_sent_again(self, data: st.DataObject) -> None:
        before = data.draw(st.sampled_from(self._remembered()))
        told = len(self.outlet.outcomes)
        self.service.start(before.key, UtteranceStart(id=before.id))
        again = [one for one in self.outlet.outcomes[told:] if one.id == before.id]
        assert [(one.kind, one.repeated) for one in again] == [(before.kind, True)]

    @rule(failing_after=st.integers(0, 3))
    def a_door_breaks_once(self, failing_after: int) -> None:
        self.outlet.outcomes_until_failure = failing_after

    @rule(key=keys, size=st.sampled_from([0, 3200, 600_000]))
    def single(self, key: DeviceKey, size: int) -> None:
        self.service.single(key, bytes(size), UtteranceStart(id=self._new_id()))

    @rule(rooms=st.lists(keys, min_size=3, max_size=6))
    def many_speak_at_once(self, rooms: list[DeviceKey]) -> None:
        for key in rooms:
            self.single(key, 3200)

    @rule(key=keys, enabled=st.none() | st.booleans())
    def mute(self, key: DeviceKey, enabled: bool | None) -> None:
        self.service.change_settings(key, SettingsChange(enabled=enabled))

    @rule(seconds=st.sampled_from([0.01, 0.07, 0.13, 0.25, 0.9, 2.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.tick()
        deadline = self.service.deadline
        assert deadline is None or deadline > self.clock.now()

    @precondition(lambda self: self.pool.submitted)
    @rule(verdict=verdicts, data=st.data())
    def a_thread_has_a_verdict(self, verdict: Verdict, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(self.pool.submitted))
        left = self._left(batch)
        if left:
            self._tell(batch, data.draw(st.sampled_from(left)), verdict)

    @precondition(lambda self: self.pool.submitted)
    @rule(verdict=verdicts, data=st.data())
    def a_thread_finishes(self, verdict: Verdict, data: st.DataObject) -> None:
        self._finish(data.draw(st.sampled_from(self.pool.submitted)), verdict)

    @rule(most=st.integers(1, MAX_BATCH))
    def another_model_has_other_needs(self, most: int) -> None:
        self.service.scheduler.max_batch = most

    @precondition(lambda self: self.serial >= self.lifetime)
    @rule()
    def the_service_begins_to_stop(self) -> None:
        self.service.shut_down()

    @invariant()
    def no_utterance_has_two_outcomes(self) -> None:
        answers = Counter(outcome.id for outcome in self._answers() if outcome.id)
        assert all(count == 1 for count in answers.values()), answers

    @invariant()
    def stable_text_never_changes_and_nothing_is_partial_after_the_outcome(self) -> None:
        last: dict[str, Partial] = {}
        ended: set[str | None] = set()
        for _, value in self.outlet.told:
            if isinstance(value, Outcome):
                ended.add(value.id)
            elif isinstance(value, Partial):
                assert value.id not in ended
                before = last.get(value.id)
                assert value.revision == (1 if before is None else before.revision + 1)
                if before is not None:
                    assert value.stable >= before.stable
                    assert value.text.startswith(before.text[: before.stable])
                assert 0 <= value.stable <= len(value.text)
                last[value.id] = value

    @invariant()
    def one_draft_is_made_at_a_time(self) -> None:
        drafts = [one for one in self.pool.utterances if one.draft_after is not None]
        assert len(drafts) <= 1

    @invariant()
    def never_more_runs_than_there_are_threads(self) -> None:
        assert len(self.pool.submitted) <= WORKERS

    @invariant()
    def no_thread_rests_while_something_could_start(self) -> None:
        at_work = len(self.pool.submitted) == WORKERS or self.service.scheduler.queue.ready() == 0
        assert at_work or not self.loaded

    @invariant()
    def a_device_has_one_utterance_in_the_model_at_most(self) -> None:
        answered = {outcome.id for outcome in self.outlet.outcomes}
        running = [
            item.key
            for item in self.pool.utterances
            if item.end is not None and item.id not in answered
        ]
        assert len(running) == len(set(running))
        for batch in self.pool.submitted:
            assert len(batch.utterances) <= MAX_BATCH
            assert len({item.key for item in batch.utterances}) == len(batch.utterances)

    @invariant()
    def what_a_device_said_is_answered_in_its_order(self) -> None:
        for item in self.pool.utterances:
            if item.end is not None:
                self.order.setdefault(item.id, item.key)
        submitted, answered = defaultdict(list), defaultdict(list)
        for id, key in self.order.items():
            submitted[key].append(id)
        for outcome in self._answers():
            if outcome.id in self.order:
                answered[outcome.key].append(outcome.id)
        for key, ids in answered.items():
            assert ids == submitted[key][: len(ids)]

    @invariant()
    def of_several_threads_glimpses_never_take_all(self) -> None:
        assert sum(item.end is None for item in self.pool.utterances) < WORKERS

    @invariant()
    def the_queue_keeps_its_bounds(self) -> None:
        queue = self.service.scheduler.queue
        assert queue.jobs <= MAX_QUEUED
        assert queue.audio_s <= 4.0
        assert len(self.service.registry) <= MAX_DEVICES

    @invariant()
    def the_budget_is_kept_and_never_negative(self) -> None:
        assert 0 <= self.service.budget.used_bytes <= 1024 * 1024

    @invariant()
    def states_change_only(self) -> None:
        last: dict[str, object] = {}
        for name, value in self.outlet.told:
            if isinstance(value, DeviceState):
                assert last.get(name) is not value
                last[name] = value
            elif name.startswith("forget "):
                last.pop(f"state {name.removeprefix('forget ')}", None)

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        self.service.shut_down()
        self.service.abandon()
        while self.pool.submitted:
            self._finish(self.pool.submitted[0], heard())
        answers = Counter(outcome.id for outcome in self._answers() if outcome.id)
        assert answers == +self.opened
        assert self.service.budget.used_bytes == 0
        assert self.service.scheduler.drained
        last = {}
        for name, value in self.outlet.told:
            if isinstance(value, DeviceState):
                last[name] = value
        assert set(last.values()) <= {DeviceState.IDLE}

    def _answers(self) -> list[Outcome]:
        return [outcome for outcome in self.outlet.outcomes if not outcome.repeated]

    def _remembered(self) -> list[Outcome]:
        """What was answered whole, by id, and is fresh enough for the service to know of it."""
        since = self.clock.now() - REMEMBERED_S / 2
        fresh = [id for id, (started_at, _) in self.started.items() if started_at > since]
        known = set(fresh[-MAX_REMEMBERED:])
        return [
            one
            for one in self._answers()
            if one.id in known
            and not one.incomplete
            and not self._forgotten_since(one)
            # Nobody is known who found no place.
            and not isinstance(one.error, TooManyDevicesError)
        ]

    def _forgotten_since(self, outcome: Outcome) -> bool:
        assert outcome.id is not None
        _, told = self.started[outcome.id]
        return (f"forget {outcome.key.name}", None) in self.outlet.told[told:]

    def _glimpses(self) -> list[Batch]:
        return [batch for batch in self.pool.submitted if batch.utterances[0].end is None]

    def _left(self, batch: Batch) -> list[int]:
        told = self.told.setdefault(batch.number, set())
        return [index for index in range(len(batch.utterances)) if index not in told]

    def _tell(self, batch: Batch, index: int, verdict: Verdict) -> None:
        self.told[batch.number].add(index)
        self.service.verdict(batch.number, index, verdict)

    def _finish(self, batch: Batch, verdict: Verdict) -> None:
        for index in self._left(batch):
            self._tell(batch, index, verdict)
        self.pool.submitted.remove(batch)
        self.service.finished(batch.number)

    def _new_id(self) -> str:
        self.serial += 1
        id = f"utterance-{self.serial}"
        self.opened[id] += 1
        return id


TestTheSpeechService = TheSpeechService.TestCase
TestTheSpeechService.settings = settings(
    max_examples=examples(50), stateful_step_count=60, deadline=None
)
