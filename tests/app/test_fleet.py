"""The service as a gateway of a fleet: without a model, and with one of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error

from stt_mqtt.app import application as module
from stt_mqtt.app import doors
from stt_mqtt.app.application import Application
from stt_mqtt.app.fleet import connect, every_language, node_of
from stt_mqtt.config import Config, FleetConfig, LimitsConfig
from stt_mqtt.engine.ladder import Candidate
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.errors import ConfigError, MissingExtraError, RequestError
from stt_mqtt.fleet import roster
from stt_mqtt.fleet.names import decode_names
from stt_mqtt.fleet.wire import Job
from stt_mqtt.phrases.names import HomeNames, names_in_lists
from tests.app.test_application import FORMAT, TIMEOUT_S
from tests.engine.fake_model import Model
from tests.fakes import heard
from tests.fleet.fake_servers import FakeServers, worker
from tools.brokers import free_port


@dataclass
class Source:
    """A configuration file that the test writes."""

    sections: dict[str, Any]

    def load(self) -> Config:
        return Config.model_validate(self.sections)


@dataclass
class House:
    """A service with a fleet, to which people speak over Wyoming."""

    role: str = "gateway"
    sections: dict[str, Any] = field(default_factory=dict)
    servers: FakeServers = field(default_factory=FakeServers)

    def __post_init__(self) -> None:
        self.port = free_port()
        config: dict[str, Any] = {
            "mqtt": {"host": "127.0.0.1", "port": free_port()},
            "wyoming": {"listen": [f"tcp://127.0.0.1:{self.port}"]},
            "web": {"enabled": False},
            "gate": {"enabled": False},
            "fleet": {"role": self.role, "node": "cellar"},
        }
        self.source = Source(config | self.sections)
        self.service = Application(self.source, self.source.load())

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Task[bool]]:
        monkeypatch.setattr(module, "connect", lambda *_: self.servers)
        task = asyncio.create_task(self.service.run())
        async with asyncio.timeout(TIMEOUT_S):
            while not self.service._serving:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
            try:
                yield task
            finally:
                self.service.request_stop()
                await task

    async def speak(self) -> dict[str, Any]:
        """Say something, and return what it comes to: a transcript, or an error."""
        async with AsyncTcpClient("127.0.0.1", self.port) as client:
            await client.write_event(AudioStart(**FORMAT).event())
            await client.write_event(AudioChunk(**FORMAT, audio=bytes(32_000)).event())
            await client.write_event(AudioStop().event())
            while True:
                event = await client.read_event()
                assert event is not None
                if Transcript.is_type(event.type) or Error.is_type(event.type):
                    return dict(event.data)

    async def published(self, count: int = 1) -> list[Job]:
        while True:
            if len(self.servers.published) >= count:
                return self.servers.published
            await asyncio.sleep(0.01)

    @property
    def models(self) -> list[str]:
        return [rung.model for rung in self.service._service.rung_status.rungs]


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())


def no_model(_config: Config) -> LoadedLadder:
    raise AssertionError("a gateway loads no model")


@pytest.fixture(autouse=True)
def _no_model_and_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_ladder", no_model)
    monkeypatch.setattr(doors, "LAST_MESSAGES_TIMEOUT_S", 0.05)


def test_a_gateway_has_the_fleet_transcribe(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker())
            speaking = asyncio.create_task(house.speak())
            (job,) = await house.published()
            assert job.gateway == "cellar"
            assert house.servers.answer(job, heard("Turn on the light."))
            assert (await speaking)["text"] == "Turn on the light."
            assert house.servers.is_open
        assert not house.servers.is_open

    run(scenario)


def test_without_a_worker_the_outcome_is_model_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(sections={"limits": {"max_queue_age_s": 0.3}})

    async def scenario() -> None:
        async with house.running(monkeypatch):
            error = await house.speak()
            assert error["code"] == "model_unavailable"
            assert "no worker of the fleet is there" in error["text"]

    run(scenario)


def test_what_is_in_flight_gets_the_grace_time_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()

    async def scenario() -> None:
        async with house.running(monkeypatch) as task:
            house.servers.hear(worker())
            speaking = asyncio.create_task(house.speak())
            (job,) = await house.published()
            house.service.request_stop()
            done, _ = await asyncio.wait({task}, timeout=0.2)
            assert not done
            house.servers.answer(job)
            assert (await speaking)["text"]
            assert await task

    run(scenario)


def test_what_has_no_result_after_the_grace_time_is_answered_and_withdrawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(sections={"service": {"shutdown_grace_s": 0.1}})

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker())
            speaking = asyncio.create_task(house.speak())
            (job,) = await house.published()
            house.service.request_stop()
            assert (await speaking)["code"] == "shutting_down"
        assert not house.servers.stream
        assert not house.servers.answer(job)

    run(scenario)


def test_models_and_languages_of_a_gateway_are_those_of_its_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()

    async def scenario() -> None:
        async with house.running(monkeypatch):
            service = house.service._service
            assert service.languages == every_language()
            assert len(every_language()) == 100
            assert house.models == ["fleet"]
            house.servers.hear(worker("pi", model="tiny.en", languages=frozenset({"en"})))
            house.servers.hear(worker("pc", threads=4, model="small"))
            assert house.models == ["small", "tiny.en"]
            assert service.rung_status.active == "small"
            assert service.languages == {"en", "de"}
            house.servers.hear(worker("mac", languages=frozenset()))
            assert service.languages == every_language()
            for name in ("pi", "pc", "mac"):
                house.servers.hear(worker(name, leaving=True))
            assert house.models
            assert service.rung_status.reason == "no worker of the fleet is there"
            with pytest.raises(RequestError, match="workers"):
                house.service._hold_rung("small")

    run(scenario)


def test_the_status_of_the_fleet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()

    async def scenario() -> None:
        assert house.service._fleet_status() is None
        async with house.running(monkeypatch):
            pc = worker()
            house.servers.hear(pc)
            speaking = asyncio.create_task(house.speak())
            (job,) = await house.published()
            status = house.service._fleet_status()
            assert status is not None
            assert (status.name, status.gateway, status.gateways) == ("home", "cellar", ("cellar",))
            assert (status.workers, status.in_flight, status.late) == ((pc,), 1, 0)
            assert status.connected
            # It leads as soon as the broker has told it so.
            assert not status.leads
            house.servers.lose()
            house.servers.come()
            house.servers.answer(job)
            house.servers.answer(job)
            await speaking
            status = house.service._fleet_status()
            assert status is not None
            assert (status.in_flight, status.late, status.again) == (0, 1, 1)

    run(scenario)


def test_a_gateway_reloads_its_configuration_and_the_fleet_takes_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker(languages=frozenset({"en"})))
            house.source.sections["fleet"] = {"role": "gateway", "node": "attic"}
            house.source.sections["device_defaults"] = {"language": "fr"}
            changes = house.service.reload()
            assert changes.applied == ("device_defaults.language",)
            assert changes.needs_restart == ("fleet.node",)

    run(scenario)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model that stays in its first utterance."""
    made = Model("tiny.en")
    made.toy.held = True
    loader = _Loader(Parallelism(workers=1, threads=1), max_batch=1)
    monkeypatch.setattr(
        module,
        "load_ladder",
        lambda config: LoadedLadder((Candidate(config.rungs[0], None),), 0, made.transcriber),
    )
    monkeypatch.setattr(module, "model_loader", lambda _: loader)
    return made


class _Loader(ModelLoader):
    def largest_batch(self, rung: object) -> int:
        return 1


def test_a_gateway_with_a_model_gives_the_fleet_only_what_would_wait(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    ladder = {"promised_wait_ms": 100}
    house = House(role="both", sections={"ladder": ladder})

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker())
            first = asyncio.create_task(house.speak())
            assert await asyncio.to_thread(model.toy.entered.acquire, timeout=TIMEOUT_S)
            assert not house.servers.published
            second = asyncio.create_task(house.speak())
            (job,) = await house.published()
            house.servers.answer(job, heard("From the fleet."))
            assert (await second)["text"] == "From the fleet."
            assert not first.done()
            model.toy.may_go_on.release()
            assert "text" in await first
            assert "fleet" not in house.models
            house.source.sections["fleet"] = {"role": "gateway"}
            assert house.service.reload().needs_restart
            house.service._hold_rung("auto")

    run(scenario)


def test_a_gateway_with_a_model_does_what_its_last_worker_leaves_undone(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    house = House(role="both", sections={"ladder": {"promised_wait_ms": 100}})

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker())
            first = asyncio.create_task(house.speak())
            assert await asyncio.to_thread(model.toy.entered.acquire, timeout=TIMEOUT_S)
            second = asyncio.create_task(house.speak())
            (job,) = await house.published()
            monkeypatch.setattr(roster, "GONE_AFTER_S", 0.05)
            house.servers.hear(worker(leaving=True))
            for speaking in (first, second):
                model.toy.may_go_on.release()
                assert "text" in await speaking
            assert not house.servers.answer(job)
            assert not house.servers.stream

    run(scenario)


def test_a_key_that_cannot_be_read_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()

    async def refuse() -> None:
        raise ConfigError(["fleet.nkey_file: it is empty"])

    async def scenario() -> None:
        monkeypatch.setattr(module, "connect", lambda *_: house.servers)
        monkeypatch.setattr(house.servers, "open", refuse)
        with pytest.raises(ConfigError, match="nkey_file"):
            await house.service.run()

    run(scenario)


class WithoutNats:
    """An installation without nats-py."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "stt_mqtt.fleet.connection":
            raise ModuleNotFoundError(name="nats")


def test_without_nats_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stt_mqtt.fleet.connection", raising=False)
    monkeypatch.setattr(sys, "meta_path", [WithoutNats(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"nats.*stt-mqtt\[fleet\]"):
        connect(FleetConfig(), LimitsConfig())


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("pc", "pc"),
        ("pc.home.arpa", "pc-home-arpa"),
        ("küche_1", "k-che_1"),
        ("a" * 40, "a" * 32),
        ("...", "node"),
        ("", "node"),
        ("x" * 31 + ".local", "x" * 31),
    ],
)
def test_the_name_of_the_host_becomes_that_of_the_node(host: str, node: str) -> None:
    assert node_of(FleetConfig(), lambda: host) == node
    assert node_of(FleetConfig(node="cellar"), lambda: host) == "cellar"
    assert FleetConfig(node=node)


def test_a_gateway_tells_workers_the_names_of_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("language: en\nintents: {Brew: {data: [{sentences: ['make {drink}']}]}}\n")
    phrases = {"paths": [str(book)], "names": {"drink": ["tea"]}}
    house = House(sections={"phrases": phrases})

    async def told(count: int) -> HomeNames:
        while len(house.servers.names) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return decode_names(house.servers.names[-1])

    async def scenario() -> None:
        async with house.running(monkeypatch):
            house.servers.hear(worker())
            assert await told(1) == names_in_lists({"drink": ["tea"]})[0]
            house.service.names.set_published(names_in_lists({"drink": ["milk"]})[0])
            assert await told(2) == names_in_lists({"drink": ["tea", "milk"]})[0]

    run(scenario)
