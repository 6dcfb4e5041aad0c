from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from stt_mqtt.config import Config
from stt_mqtt.core import scaling as ladder
from stt_mqtt.core.scaling import LadderRunner
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.engine.ladder import Candidate, RungCost
from stt_mqtt.engine.load_meter import LoadMeter
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.runner import Engine
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import ModelError, NotEnoughMemoryError, RequestError
from stt_mqtt.rungs import EngineFacts, Rung, RungStatus
from stt_mqtt.types import DeviceKey, UtteranceStart
from tests.engine.fake_model import TIMEOUT_S, Model
from tests.engine.scripted import FakeVoice
from tests.fakes import FakeClock, FakePool, RecordingOutlet, heard

STAY_S = 60.0
SECOND = bytes(32_000)
COSTS_S = {"best": 0.8, "quick": 0.4, "small": 0.1}
"""Seconds of work for an utterance."""
RUNGS = [
    {"name": "best", "model": "large"},
    {"name": "quick", "model": "large", "beam_size": 1},
    {"name": "small", "model": "tiny"},
]


@dataclass(frozen=True)
class FakeLoader(ModelLoader):
    """Models at once, in the order in which they were asked for."""

    broken: dict[str, str] = field(default_factory=dict)
    """Why the rung of a name cannot be loaded."""
    unexpected: set[str] = field(default_factory=set)
    """Names of the rungs at which the ladder breaks."""
    too_large: set[str] = field(default_factory=set)
    """Names of the rungs that memory cannot hold at the moment."""
    batches: dict[str, int] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    """Names of the rungs that were tried."""
    models: list[Model] = field(default_factory=list)
    loading: threading.Event = field(default_factory=threading.Event)
    may_load: threading.Event = field(default_factory=threading.Event)

    def load_beside(self, rung: Rung) -> WhisperTranscriber:
        self.loaded.append(rung.name)
        self.loading.set()
        assert self.may_load.wait(TIMEOUT_S)
        if rung.name in self.unexpected:
            raise RuntimeError("nobody thought of this")
        if rung.name in self.too_large:
            raise NotEnoughMemoryError("no room")
        if rung.name in self.broken:
            raise ModelError(self.broken[rung.name])
        self.models.append(Model(rung.model))
        return self.models[-1].transcriber

    def largest_batch(self, rung: Rung) -> int:
        return self.batches.get(rung.name, self.max_batch)


class Bench:
    """A ladder on a line with fakes around it, and a real engine."""

    def __init__(
        self, at: str = "best", mode: str = "auto", unusable: str = "", rungs: int = 3
    ) -> None:
        self.config = Config.model_validate(
            {"ladder": {"rungs": RUNGS[:rungs], "rung": mode, "min_stay_s": STAY_S}}
        )
        candidates = tuple(
            Candidate(rung, None, "no such folder")
            # A single rung is not measured.
            if rung.name == unusable or rungs == 1
            else Candidate(rung, RungCost(COSTS_S[rung.name], 0.0, 0.0))
            for rung in self.config.rungs
        )
        index = [rung.name for rung in self.config.rungs].index(at)
        self.clock = FakeClock()
        self.models = FakeLoader(Parallelism(workers=1, threads=1), max_batch=8)
        self.models.may_load.set()
        self.first = Model(self.config.rungs[index].model)
        start = LoadedLadder(candidates, index, self.first.transcriber)
        self.engine = Engine(
            self.config,
            self.config.rungs[index],
            start.transcriber,
            frozenset({"en"}),
            FakeVoice(),
        )
        self.engine.start(1, lambda *_: None, lambda _: None)
        self.ladder = LadderRunner(self.config, start, self.models, self.clock)
        self.pool = FakePool()
        facts = EngineFacts(frozenset({"en"}), self.ladder.status)
        self.service = SpeechService(self.config, facts, self.clock)
        self.service.attach_pool(self.pool, Capacity(1, 8))
        outlet = RecordingOutlet()
        self.service.attach("native", outlet)
        self.service.add_observer("native", outlet)
        self.told: list[RungStatus] = []
        """What the service knew each time that a change was told."""
        self.ladder.attach(
            self.engine, self.service, lambda: self.told.append(self.service.rung_status)
        )

    def rooms_speak(self, count: int) -> None:
        for number in range(count):
            self.service.single(DeviceKey("native", f"room-{number}"), SECOND, UtteranceStart())

    def all_is_answered(self) -> None:
        while self.pool.submitted:
            self.pool.answer(self.service, heard())

    def step(self) -> str:
        """Look once; the rung that is then in use, by all who must know it."""
        asyncio.run(self.ladder.step())
        active = self.ladder.status.active
        assert self.engine.rung.name == active == self.service.rung_status.active
        return active

    def look_after(self, seconds: float) -> str:
        self.clock.advance(seconds)
        return self.step()


@contextmanager
def bench(
    at: str = "best", mode: str = "auto", unusable: str = "", rungs: int = 3
) -> Iterator[Bench]:
    made = Bench(at, mode, unusable, rungs)
    try:
        yield made
    finally:
        assert made.engine.close(TIMEOUT_S)


def test_under_arriving_load_it_moves_down_a_step_at_a_time_and_up_again_after_the_stay() -> None:
    with bench() as used:
        assert used.look_after(STAY_S) == "best"
        used.rooms_speak(8)
        assert used.step() == "quick"
        assert used.service.rung_status.reason.startswith("down to quick: best would be busy")
        used.rooms_speak(8)
        assert used.look_after(STAY_S - 1) == "quick"
        used.rooms_speak(8)
        assert used.look_after(1) == "small"
        used.all_is_answered()
        assert used.look_after(STAY_S - 1) == "small"
        assert used.look_after(1) == "quick"
        assert used.look_after(STAY_S) == "best"
        assert used.service.rung_status.reason.startswith("up to best: best would be busy")
        assert used.service.rung_status.mode == "auto"
        assert used.models.loaded == ["small", "quick"]
        assert used.service.metrics.rung_changes == 4


def test_without_load_it_stays_on_the_best_rung_and_tells_nothing() -> None:
    with bench() as used:
        assert [used.look_after(STAY_S) for _ in range(3)] == ["best"] * 3
        assert used.told == []
        assert used.service.metrics.rung_changes == 0


def test_what_waits_moves_it_down_though_nothing_arrives_any_more() -> None:
    with bench() as used:
        used.clock.advance(STAY_S)
        used.rooms_speak(4)
        used.service.scheduler.arrivals = LoadMeter()
        assert used.step() == "quick"
        assert "best would let wait 2.4 s" in used.service.rung_status.reason


def test_what_waits_for_it_in_other_processes_moves_it_down_as_well() -> None:
    with bench() as used:
        used.ladder.elsewhere = lambda: (4, 4.0)
        assert used.look_after(STAY_S) == "quick"
        assert "best would let wait 3.2 s" in used.service.rung_status.reason


def test_a_rung_that_is_held_stays_whatever_the_load() -> None:
    with bench() as used:
        used.ladder.set_mode("best")
        used.rooms_speak(20)
        assert [used.look_after(STAY_S) for _ in range(3)] == ["best"] * 3
        assert used.service.rung_status == RungStatus(
            used.config.rungs, "best", "best", "asked for"
        )


def test_a_configured_rung_is_held_from_the_start_and_let_go_by_auto() -> None:
    with bench(at="small", mode="small") as used:
        assert used.look_after(STAY_S) == "small"
        assert used.ladder.status.reason == "asked for"
        used.ladder.set_mode("auto")
        assert used.told[-1].mode == "auto"
        assert used.step() == "quick"


def test_a_rung_that_is_asked_for_is_taken_at_the_next_look_without_steps_or_stay() -> None:
    with bench() as used:
        used.ladder.set_mode("small")
        assert used.step() == "small"
        used.ladder.set_mode("best")
        assert used.step() == "best"
        assert used.models.loaded == ["small", "best"]


@pytest.mark.parametrize("name", ["smal", "", "Best", "x" * 10_000])
def test_a_rung_that_does_not_exist_is_refused_with_the_names_of_those_that_do(name: str) -> None:
    with bench() as used:
        with pytest.raises(RequestError, match="auto, best, quick, small") as refused:
            used.ladder.set_mode(name)
        assert len(str(refused.value)) < 200
        assert used.told == []
        assert used.ladder.status.mode == "auto"


def test_a_rung_that_could_not_be_loaded_at_the_start_is_refused_with_the_reason() -> None:
    with bench(unusable="small") as used:
        with pytest.raises(RequestError, match="rung small cannot be used: no such folder"):
            used.ladder.set_mode("small")
        used.rooms_speak(8)
        assert used.look_after(STAY_S) == "quick"
        used.rooms_speak(8)
        assert used.look_after(STAY_S) == "quick"
        assert used.models.loaded == []


def test_a_held_rung_that_cannot_be_loaded_is_given_up_for_good() -> None:
    with bench() as used:
        used.models.broken["small"] = "the weights are damaged"
        used.ladder.set_mode("small")
        assert used.step() == "best"
        told = used.told[-1]
        assert (told.mode, told.active) == ("auto", "best")
        assert told.reason == "small cannot be used: the weights are damaged"
        used.rooms_speak(8)
        assert [used.look_after(STAY_S) for _ in range(3)][-1] == "quick"
        with pytest.raises(RequestError, match="small cannot be used: the weights are damaged"):
            used.ladder.set_mode("small")
        assert used.models.loaded == ["small"]


def test_a_rung_that_the_load_asks_for_is_tried_once_if_it_cannot_be_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with bench(at="quick") as used:
        used.models.broken["small"] = "no memory"
        for _ in range(5):
            used.rooms_speak(8)
            assert used.look_after(STAY_S) == "quick"
        assert used.models.loaded == ["small"]
        assert [told.reason for told in used.told] == ["small cannot be used: no memory"]
        assert (
            "staying on quick, rung small cannot be used until a restart: no memory" in caplog.text
        )
        assert used.first.closes == 0


def test_a_rung_of_the_same_model_loads_nothing() -> None:
    with bench() as used:
        used.ladder.set_mode("quick")
        assert used.step() == "quick"
        assert used.engine.transcriber.loaded is used.first
        assert used.models.loaded == []
        assert used.first.closes == 0


def test_a_rung_of_another_model_takes_its_place_which_is_then_closed() -> None:
    with bench() as used:
        used.ladder.set_mode("small")
        used.step()
        assert used.engine.transcriber.loaded is used.models.models[0]
        assert (used.first.closes, used.models.models[0].closes) == (1, 0)


def test_batches_are_as_large_as_the_model_in_use_allows() -> None:
    with bench() as used:
        used.models.batches.update(best=2, small=5)
        used.ladder.set_mode("small")
        assert used.service.scheduler.max_batch == 8
        used.step()
        assert used.service.scheduler.max_batch == 5
        used.ladder.set_mode("best")
        used.step()
        assert used.service.scheduler.max_batch == 2


def test_batches_stay_as_they_are_where_the_next_model_cannot_be_loaded() -> None:
    with bench() as used:
        used.models.broken["small"] = "no memory"
        used.ladder.set_mode("small")
        used.step()
        assert used.service.scheduler.max_batch == 8


def test_the_line_knows_the_ladder_before_anybody_is_told_of_the_change() -> None:
    with bench() as used:
        used.ladder.set_mode("small")
        used.step()
        assert [(told.mode, told.active, told.reason) for told in used.told] == [
            ("small", "best", "asked for, as soon as it is loaded"),
            ("small", "small", "asked for"),
        ]


def test_what_is_asked_for_while_another_rung_is_loaded_is_what_happens() -> None:
    async def change_of_mind(used: Bench) -> None:
        used.models.may_load.clear()
        used.ladder.set_mode("small")
        looking = asyncio.create_task(used.ladder.step())
        assert await asyncio.to_thread(used.models.loading.wait, TIMEOUT_S)
        used.ladder.set_mode("best")
        used.models.may_load.set()
        await looking
        assert (used.engine.rung.name, used.service.rung_status.mode) == ("best", "best")
        assert used.first.closes == 0

    with bench() as used:
        asyncio.run(change_of_mind(used))


def test_a_rung_for_which_there_is_no_memory_now_is_tried_again_later() -> None:
    with bench() as used:
        used.models.too_large.add("small")
        used.ladder.set_mode("small")
        used.step()
        assert used.service.rung_status.mode == "small"
        assert "small has to wait" in used.service.rung_status.reason
        used.models.too_large.clear()
        assert used.step() == "best"
        assert used.look_after(STAY_S) == "small"


def test_a_rung_that_no_thread_can_load_now_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with bench() as used:
        used.ladder.set_mode("small")
        with monkeypatch.context() as patched:
            patched.setattr(ladder, "in_background", refused)
            assert used.step() == "best"
        assert "small has to wait: can't start new thread" in used.service.rung_status.reason
        assert not used.ladder.loading
        assert used.look_after(STAY_S) == "small"


def test_the_rung_in_use_serves_while_the_next_one_is_loaded() -> None:
    async def swap(used: Bench) -> None:
        used.models.may_load.clear()
        used.ladder.set_mode("small")
        looking = asyncio.create_task(used.ladder.step())
        assert await asyncio.to_thread(used.models.loading.wait, TIMEOUT_S)
        # The event loop is free meanwhile.
        assert (used.engine.rung.name, used.service.rung_status.active) == ("best", "best")
        used.rooms_speak(1)
        used.all_is_answered()
        assert used.first.closes == 0
        used.models.may_load.set()
        await looking
        assert used.engine.rung.name == "small"

    with bench() as used:
        asyncio.run(swap(used))


@pytest.mark.parametrize("broken", [True, False])
def test_what_is_asked_for_while_a_model_is_loaded_is_what_counts(broken: bool) -> None:
    async def change_of_mind(used: Bench) -> None:
        used.models.may_load.clear()
        used.ladder.set_mode("small")
        looking = asyncio.create_task(used.ladder.step())
        assert await asyncio.to_thread(used.models.loading.wait, TIMEOUT_S)
        used.ladder.set_mode("quick")
        used.models.may_load.set()
        await looking

    with bench() as used:
        if broken:
            used.models.broken["small"] = "no memory"
        asyncio.run(change_of_mind(used))
        assert used.service.rung_status.mode == "quick"
        assert used.step() == "quick"


def test_a_request_is_carried_out_at_once_and_the_load_is_looked_at_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serve(used: Bench) -> None:
        moved = asyncio.Event()
        used.ladder.attach(used.engine, used.service, moved.set)
        running = asyncio.create_task(used.ladder.run())
        async with asyncio.timeout(TIMEOUT_S):
            used.ladder.set_mode("small")
            while used.engine.rung.name != "small":
                moved.clear()
                await moved.wait()
            # Only the load asks for the next one: the interval has to bring it about.
            monkeypatch.setattr(ladder, "INTERVAL_S", 0.001)
            used.ladder.set_mode("auto")
            used.clock.advance(STAY_S)
            while used.engine.rung.name != "quick":
                moved.clear()
                await moved.wait()
            used.clock.advance(STAY_S)
            while used.engine.rung.name != "best":
                moved.clear()
                await moved.wait()
        running.cancel()

    monkeypatch.setattr(ladder, "INTERVAL_S", 1e9)
    with bench() as used:
        asyncio.run(serve(used))


def test_a_ladder_that_breaks_says_so_and_the_rung_in_use_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with bench() as used:
        used.models.unexpected.add("small")
        used.ladder.set_mode("small")
        asyncio.run(used.ladder.run())
        assert "the ladder broke" in caplog.text
        assert used.service.rung_status.reason == "the ladder broke, see the log"
        assert used.engine.rung.name == "best"
        with pytest.raises(RequestError, match="the ladder broke"):
            used.ladder.set_mode("auto")


def test_a_single_rung_needs_nobody_to_look_at_it() -> None:
    with bench(rungs=1) as used:
        used.rooms_speak(20)
        asyncio.run(used.ladder.run())
        assert used.ladder.status.reason == "the only rung"
        used.ladder.set_mode("best")
        assert replace(used.told[-1], reason="") == RungStatus(
            used.config.rungs, "best", "best", ""
        )
