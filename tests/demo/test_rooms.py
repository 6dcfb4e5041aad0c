from __future__ import annotations

import asyncio

import pytest

from stt_mqtt.demo import rooms, satellite
from stt_mqtt.demo.connection import BrokerAddress
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.demo.satellite import Exchange
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import BrokerError
from tests.demo.fake_service import FakeService, words
from tools.brokers import Broker


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satellite, "CHUNK_S", 0.0)
    monkeypatch.setattr(rooms, "PAUSE_S", 0.0)
    monkeypatch.setattr(rooms, "STAGGER_S", 0.0)


def test_every_room_says_all_of_its_commands_and_each_answer_is_told_at_once(
    broker: Broker,
) -> None:
    told: list[Exchange] = []
    spoken: dict[str, bytes] = {}

    async def round_() -> list[Exchange]:
        address = BrokerAddress(broker.host, broker.port)
        async with FakeService(address, words) as service:
            exchanges = await rooms.speak(address, Topics("stt"), told.append)
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
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(satellite, "SERVICE_TIMEOUT_S", 0.2)

    async def round_() -> None:
        address = BrokerAddress(broker.host, broker.port)
        with pytest.raises(BrokerError):
            await rooms.speak(address, Topics("stt"), lambda _: None)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(round_())
