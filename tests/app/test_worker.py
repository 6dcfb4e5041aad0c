"""A worker of a fleet as a program: it loads its model, works, reloads and ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.app import worker as module
from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.app.worker import WorkerApplication
from stt_mqtt.commands import run
from stt_mqtt.config import Config
from stt_mqtt.engine.ladder import Candidate, RungCost
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import ConfigError, InferenceTimeoutError, ModelError
from stt_mqtt.fleet.names import encode_names
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.phrases.names import names_in_lists
from stt_mqtt.rungs import Rung
from stt_mqtt.types import InferenceResult
from tests.engine.fake_model import TIMEOUT_S, Model
from tests.fleet.stream import FakeStream, job

YAML = """
fleet: {role: worker, node: pc}
gate: {enabled: false}
engine: {workers: 1, threads: 1, max_batch: 1}
service: {shutdown_grace_s: 300}
"""
TWO_RUNGS = """
fleet: {role: worker, node: pc}
engine: {workers: 1, threads: 1, max_batch: 1}
ladder: {min_stay_s: 1.0, rungs: [{name: best, model: large}, {name: small, model: tiny}]}
"""


class FakeConnection(FakeStream):
    """The servers are there as soon as they are asked for."""

    failure: str | None = None
    closed = False

    async def hear_workers(self, handle: Callable[[bytes], None]) -> None:
        self.hear = handle

    async def hear_names(self, handle: Callable[[str, bytes], None]) -> None:
        self.hear_name = handle

    async def open(self) -> None:
        self.on_ready()

    async def close(self, timeout_s: float) -> None:
        self.closed = True
        self.lose()

    def on_ready(self) -> None:
        raise AssertionError("nobody waits for the servers")

    def on_lost(self) -> None:
        raise AssertionError("nobody waits for the servers")


class Loader(ModelLoader):
    """Models at once."""

    def load_beside(self, rung: Rung) -> WhisperTranscriber:
        return Model(rung.model).transcriber

    def largest_batch(self, rung: Rung) -> int:
        return 1


class House:
    """A worker with a toy for a model, and the servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, yaml: str = YAML) -> None:
        self.file = folder / "stt-mqtt.yaml"
        self.file.write_text(yaml)
        self.connection = FakeConnection()
        self.model = Model("tiny.en")
        self.may_load = threading.Event()
        self.may_load.set()
        models = Loader(Parallelism(workers=1, threads=1), max_batch=1)
        monkeypatch.setattr(module, "connect", lambda *_: self.connection)
        monkeypatch.setattr(module, "load_ladder", self._load)
        monkeypatch.setattr(module, "model_loader", lambda _: models)
        monkeypatch.setattr(module, "THREAD_CLOSE_TIMEOUT_S", 0.1)
        source = ConfigSource(self.file, {})
        self.worker = WorkerApplication(source, source.load())

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not happened():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @property
    def serves(self) -> bool:
        return bool(self.connection.open_pulls)

    @property
    def said(self) -> WorkerStatus:
        """The last heartbeat."""
        return self.connection.heartbeats[-1][1]

    def _load(self, config: Config) -> LoadedLadder:
        assert self.may_load.wait(TIMEOUT_S)
        rungs = config.rungs
        costs = [RungCost(0.3, 0.1, 0.0), RungCost(0.03, 0.01, 0.0)]
        candidates = (
            Candidate(rung, cost if len(rungs) > 1 else None)
            for rung, cost in zip(rungs, costs, strict=False)
        )
        return LoadedLadder(tuple(candidates), len(rungs) - 1, self.model.transcriber)


def test_a_worker_transcribes_jobs_and_leaves_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(monkeypatch, tmp_path)
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.serves)
        await house.until(lambda: house.said.threads == 1)
        assert (house.said.worker, house.said.model, house.said.rung) == (
            "pc",
            "tiny.en",
            "default",
        )
        assert 0.0 < house.said.cost < 10.0
        (delivery,) = house.connection.publish(job(1))
        await house.until(lambda: "ack" in delivery.said)
        found = house.connection.results[0].verdict
        assert isinstance(found, InferenceResult)
        assert (found.model, found.rung) == ("tiny.en", "default")
        assert found.transcript is not None
        house.worker.request_stop()
        assert await running is True
        assert (house.said.leaving, house.said.done, house.connection.closed) == (True, 1, True)
        assert not house.worker.failed

    asyncio.run(scenario())


def test_a_worker_says_that_its_model_is_loading_and_ends_at_once_if_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(monkeypatch, tmp_path)
        house.may_load.clear()
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.connection.heartbeats)
        assert house.said.threads == 0
        with pytest.raises(ConfigError, match="not loaded yet"):
            house.worker.reload()
        house.worker.request_stop()
        assert await running is False
        house.may_load.set()

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: Config) -> LoadedLadder:
        raise ModelError("the model is damaged")

    async def scenario() -> None:
        house = House(monkeypatch, tmp_path)
        monkeypatch.setattr(module, "load_ladder", broken)
        with pytest.raises(ModelError, match="damaged"):
            await house.worker.run()
        assert house.connection.closed

    asyncio.run(scenario())


def test_a_worker_whose_threads_all_hang_answers_and_ends_to_be_started_afresh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(monkeypatch, tmp_path, YAML + "limits: {inference_timeout_s: 1.0}\n")
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.serves)
        house.model.toy.held = True
        house.connection.publish(job(1))
        assert await running is False
        assert house.worker.failed
        assert isinstance(house.connection.results[0].verdict, InferenceTimeoutError)
        house.model.toy.may_go_on.release()

    asyncio.run(scenario())


def test_a_reload_changes_what_can_change_and_names_what_needs_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(monkeypatch, tmp_path)
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.serves)
        house.file.write_text(YAML.replace("enabled: false", "enabled: true"))
        assert house.worker.reload().applied == ("gate.enabled",)
        (delivery,) = house.connection.publish(job(1))
        await house.until(lambda: "ack" in delivery.said)
        # Silence does not reach the model any more.
        found = house.connection.results[0].verdict
        assert isinstance(found, InferenceResult)
        assert found.transcript is None
        house.file.write_text(YAML.replace("node: pc", "node: attic"))
        assert house.worker.reload().needs_restart == ("fleet.node",)
        house.file.write_text("fleet: {role: nobody}")
        with pytest.raises(ConfigError):
            house.worker.reload()
        house.worker.request_stop()
        assert await running is True

    asyncio.run(scenario())


def test_the_fleet_hears_which_rung_a_worker_uses_and_its_cost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(monkeypatch, tmp_path, TWO_RUNGS)
        house.model = Model("tiny")
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.serves)
        await house.until(lambda: house.said.threads)
        assert (house.said.rung, house.said.model) == ("small", "tiny")
        assert house.said.cost == pytest.approx(0.02)
        # Nothing is to be done, so there is time for the better model.
        await house.until(lambda: house.said.rung == "best")
        assert house.said.model == "large"
        assert house.said.cost == pytest.approx(0.2)
        house.worker.request_stop()
        assert await running is True

    asyncio.run(scenario())


def test_a_worker_knows_the_names_that_gateways_tell_and_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> None:
        book = tmp_path / "book.yaml"
        book.write_text("language: en\nintents: {Brew: {data: [{sentences: ['make {drink}']}]}}\n")
        phrases = f"phrases: {{paths: [{book}], names: {{drink: [tea]}}}}\n"
        house = House(monkeypatch, tmp_path, YAML + phrases)
        running = asyncio.create_task(house.worker.run())
        await house.until(lambda: house.serves)
        names, _ = names_in_lists({"drink": ["milk"]})
        house.connection.hear_name("hall", encode_names(names))
        both, _ = names_in_lists({"drink": ["tea", "milk"]})
        assert house.worker.names.names == both
        house.worker.request_stop()
        assert await running is True

    asyncio.run(scenario())


@pytest.mark.parametrize(("role", "is_worker"), [("worker", True), ("gateway", False)])
def test_the_role_decides_what_runs(role: str, is_worker: bool, tmp_path: Path) -> None:
    source = ConfigSource(None, {})
    config = Config.model_validate({"fleet": {"role": role}})
    program: Any = run._program(source, config)
    assert isinstance(program, WorkerApplication) == is_worker
