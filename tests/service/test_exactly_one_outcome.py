"""The invariant of the project: every utterance that is opened has exactly one outcome."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stt_mqtt.config import Config
from stt_mqtt.devices.settings import SettingsChange
from stt_mqtt.engine.pool import Verdict
from stt_mqtt.errors import CorruptAudioError, InferenceFailedError
from stt_mqtt.service.line import Line
from stt_mqtt.service.outcomes import ModelInfo
from stt_mqtt.types import DeviceKey, DeviceState, Start
from tests.fakes import FakeClock, FakePool, RecordingOutlet, heard, nothing_heard

DEVICES = ["kitchen", "bedroom", "bath"]
WORKERS = 2
CONFIG = {
    "limits": {
        "max_utterance_s": 1.0,
        "max_utterance_kib": 64,
        "max_buffered_mib": 1,
        "max_devices": 2,
        "max_queued": 3,
        "max_queued_audio_s": 4.0,
        "max_queue_age_s": 2.0,
        "inference_timeout_s": 3.0,
    },
    "devices": {"bath": {"on_cap": "truncate"}, "bed*": {"on_cap": "reject"}},
}

keys = st.sampled_from([DeviceKey("native", name) for name in DEVICES])
ids = st.none() | st.sampled_from(["a", "b", "c"])
verdicts = st.sampled_from(
    [
        heard(),
        nothing_heard(),
        InferenceFailedError("broken"),
        CorruptAudioError("noise"),
    ]
)


class TheLine(RuleBasedStateMachine):
    """Random interleavings of everything that can happen to a line.

    The test keeps its own book of what was opened: it gives every start and every single one its
    id, and it is the source of the ids of utterances that a chunk opens.
    """

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.outlet = RecordingOutlet()
        config = Config.model_validate(CONFIG)
        model = ModelInfo("tiny.en", frozenset({"en"}), "default", WORKERS)
        self.line = Line(config, model, self.clock, self.pool, self._new_id)
        self.line.attach("native", self.outlet)
        self.opened: Counter[str] = Counter()
        self.serial = 0

    @rule(key=keys, language=st.sampled_from([None, "en", "fr"]), sequenced=st.booleans())
    def start(self, key: DeviceKey, language: str | None, sequenced: bool) -> None:
        start = Start(id=self._new_id(), language=language, sequenced=sequenced)
        self.line.start(key, start)

    @rule(
        key=keys,
        size=st.sampled_from([0, 1, 320, 3200, 20_000, 70_000]),
        number=st.none() | st.integers(0, 40),
    )
    def chunk(self, key: DeviceKey, size: int, number: int | None) -> None:
        self.line.chunk(key, bytes(size), number, None)

    @rule(key=keys, id=ids, sent=st.none() | st.integers(0, 5))
    def stop(self, key: DeviceKey, id: str | None, sent: int | None) -> None:
        self.line.stop(key, id, sent)

    @rule(key=keys, id=ids)
    def abort(self, key: DeviceKey, id: str | None) -> None:
        self.line.abort(key, id)

    @rule(key=keys)
    def disconnect(self, key: DeviceKey) -> None:
        self.line.disconnect(key)

    @rule(key=keys, size=st.sampled_from([0, 3200, 600_000]))
    def single(self, key: DeviceKey, size: int) -> None:
        self.line.single(key, bytes(size), Start(id=self._new_id()))

    @rule(key=keys, enabled=st.none() | st.booleans())
    def mute(self, key: DeviceKey, enabled: bool | None) -> None:
        self.line.change_settings(key, SettingsChange(enabled=enabled))

    @rule(seconds=st.sampled_from([0.01, 0.25, 0.9, 2.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.line.tick()

    @precondition(lambda self: self.pool.submitted)
    @rule(verdict=verdicts, data=st.data())
    def a_thread_answers(self, verdict: Verdict, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.pool.submitted) - 1))
        job, _ = self.pool.submitted.pop(index)
        self.line.delivered(job, verdict)

    @rule()
    def the_service_begins_to_stop(self) -> None:
        self.line.shut_down()

    @invariant()
    def no_utterance_has_two_outcomes(self) -> None:
        answers = Counter(outcome.id for outcome in self.outlet.outcomes if outcome.id)
        assert all(count == 1 for count in answers.values()), answers

    @invariant()
    def never_more_runs_than_there_are_threads(self) -> None:
        assert len(self.pool.submitted) <= WORKERS

    @invariant()
    def a_device_has_one_utterance_in_the_model_at_most(self) -> None:
        answered = {outcome.id for outcome in self.outlet.outcomes}
        running = [item.key for _, item in self.pool.submitted if item.id not in answered]
        assert len(running) == len(set(running))

    @invariant()
    def the_queue_keeps_its_bounds(self) -> None:
        queue = self.line.dispatcher.queue
        assert queue.jobs <= 3
        assert queue.audio_s <= 4.0
        assert len(self.line.registry) <= 2

    @invariant()
    def the_budget_is_kept_and_never_negative(self) -> None:
        assert 0 <= self.line.budget.used_bytes <= 1024 * 1024

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
        if not hasattr(self, "line"):
            return
        self.line.shut_down()
        self.line.abandon()
        for job, _ in self.pool.submitted:
            self.line.delivered(job, heard())
        answers = Counter(outcome.id for outcome in self.outlet.outcomes if outcome.id)
        assert answers == +self.opened
        assert self.line.budget.used_bytes == 0
        assert self.line.dispatcher.drained
        last = {}
        for name, value in self.outlet.told:
            if isinstance(value, DeviceState):
                last[name] = value
        assert set(last.values()) <= {DeviceState.IDLE}

    def _new_id(self) -> str:
        self.serial += 1
        id = f"utterance-{self.serial}"
        self.opened[id] += 1
        return id


TestTheLine = TheLine.TestCase
TestTheLine.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
