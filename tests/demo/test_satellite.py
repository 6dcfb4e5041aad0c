from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from stt_mqtt.demo import satellite
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.demo.satellite import CHUNK_BYTES, BrokerAddress, DemoSatellite, Exchange
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import BrokerError
from stt_mqtt.types import SAMPLE_RATE
from tests.demo.fake_service import Answer, FakeService, words
from tools.brokers import Broker, free_port

TOPICS = Topics("stt")
HALF_A_SECOND = bytes(range(250)) * (SAMPLE_RATE // 250)


def within(coroutine: Coroutine[Any, Any, Exchange], timeout_s: float = 20.0) -> Exchange:
    async def bounded() -> Exchange:
        return await asyncio.wait_for(coroutine, timeout_s)

    return asyncio.run(bounded())


async def say(broker: Broker, answer: Answer, seen: list[FakeService]) -> Exchange:
    address = BrokerAddress(broker.host, broker.port)
    async with FakeService(address, answer) as service:
        seen.append(service)
        async with DemoSatellite("kitchen", address, TOPICS) as kitchen:
            exchange = await kitchen.say("Yes.", HALF_A_SECOND)
        await service.left.wait()
        return exchange


def test_every_byte_arrives_between_start_and_stop_in_the_time_it_takes_to_say(
    broker: Broker,
) -> None:
    seen: list[FakeService] = []
    started_at = time.monotonic()
    exchange = within(say(broker, words, seen))
    assert time.monotonic() - started_at >= 0.5
    (service,) = seen
    assert service.heard["kitchen"] == HALF_A_SECOND
    assert service.chunks["kitchen"] == -(-len(HALF_A_SECOND) // CHUNK_BYTES)
    (start,), (stop,) = service.starts, service.stops
    assert start == {"id": stop["id"], "codec": "pcm_s16le", "rate": SAMPLE_RATE, "channels": 1}
    assert stop["chunks"] == service.chunks["kitchen"]
    assert exchange.transcribed
    assert exchange.result is not None
    assert exchange.result["text"] == "yes"
    assert exchange.latency_s is not None
    assert 0 < exchange.latency_s < 5


def test_it_says_when_it_comes_and_when_it_goes(broker: Broker) -> None:
    seen: list[FakeService] = []
    within(say(broker, words, seen))
    assert seen[0].availability == [("kitchen", b"online"), ("kitchen", b"offline")]


def test_only_the_result_of_its_own_utterance_is_its_answer(broker: Broker) -> None:
    def noise_and_words(room: str, utterance: str) -> list[bytes]:
        others = (b"", b"[1", b"[]", b"{}", b'{"id":[]}', b'{"id":null}', b'{"id":"other"}')
        return [*others, b"[" * 100_000, *words(room, utterance), *words(room, utterance)]

    exchange = within(say(broker, noise_and_words, []))
    assert exchange.transcribed


def test_an_error_is_an_answer_without_a_transcript(broker: Broker) -> None:
    def refuse(_room: str, utterance: str) -> list[bytes]:
        return [json.dumps({"id": utterance, "outcome": "error"}).encode()]

    exchange = within(say(broker, refuse, []))
    assert not exchange.transcribed
    assert exchange.result is not None


def test_no_answer_in_time_is_none(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satellite, "ANSWER_TIMEOUT_S", 0.2)
    exchange = within(say(broker, lambda _room, _utterance: [], []))
    assert exchange == Exchange("kitchen", "Yes.", None, None)
    assert not exchange.transcribed


async def enter(address: BrokerAddress) -> Exchange:
    async with DemoSatellite("kitchen", address, TOPICS):
        raise AssertionError("it must not get in")


def test_without_a_service_it_does_not_begin(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(satellite, "SERVICE_TIMEOUT_S", 0.2)
    with pytest.raises(BrokerError, match="online"):
        within(enter(BrokerAddress(broker.host, broker.port)))


def test_without_a_broker_it_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satellite, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(satellite, "CLOSE_TIMEOUT_S", 0.2)
    with pytest.raises(BrokerError, match="did not let"):
        within(enter(BrokerAddress("127.0.0.1", free_port())))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satellite, "CHUNK_S", 0.0)
    monkeypatch.setattr(satellite, "PAUSE_S", 0.0)
    monkeypatch.setattr(satellite, "STAGGER_S", 0.0)


def test_every_room_says_all_of_its_commands_and_each_answer_is_told_at_once(
    broker: Broker, hurried: None
) -> None:
    told: list[Exchange] = []
    spoken: dict[str, bytes] = {}

    async def round_() -> list[Exchange]:
        address = BrokerAddress(broker.host, broker.port)
        async with FakeService(address, words) as service:
            exchanges = await satellite.speak(address, TOPICS, told.append)
            spoken.update(service.heard)
            return exchanges

    exchanges = asyncio.run(asyncio.wait_for(round_(), 60))
    assert [(item.room, item.said) for item in exchanges] == [
        (sample.room, sample.text) for sample in SAMPLES
    ]
    assert all(item.transcribed for item in exchanges)
    assert sorted(map(id, told)) == sorted(map(id, exchanges))
    for room in {sample.room for sample in SAMPLES}:
        assert spoken[room] == b"".join(item.pcm() for item in SAMPLES if item.room == room)


def test_if_one_room_cannot_begin_the_round_ends_with_its_error(
    broker: Broker, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(satellite, "SERVICE_TIMEOUT_S", 0.2)

    async def round_() -> None:
        address = BrokerAddress(broker.host, broker.port)
        with pytest.raises(BrokerError):
            await satellite.speak(address, TOPICS, lambda _: None)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(round_())
