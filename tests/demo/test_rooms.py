from __future__ import annotations

import asyncio
import json

import pytest

from stt_mqtt.demo import rooms
from stt_mqtt.demo.rooms import COMMANDS, Rooms
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.demo.satellite import BrokerAddress, Exchange
from stt_mqtt.doors.native.topics import Topics
from tests.demo.fake_service import Answer, FakeService, words
from tools.brokers import Broker

ROOMS = 4


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "SECOND_ANSWER_S", 0.2)


def spoken(broker: Broker, answer: Answer) -> tuple[Rooms, FakeService, dict[str, Exchange], int]:
    """What the rooms and the service heard, the answers, and how many were told at once."""

    async def speak() -> tuple[Rooms, FakeService, dict[str, Exchange], int]:
        address = BrokerAddress(broker.host, broker.port)
        told: list[str] = []

        async def tell(utterance: str, _exchange: Exchange) -> None:
            told.append(utterance)

        async with asyncio.timeout(60), FakeService(address, answer) as service:
            here = Rooms(address, Topics("stt"), ROOMS)
            try:
                await here.open()
                await here.online.wait()
                exchanges = await here.speak(tell)
            finally:
                await here.close()
            assert sorted(told) == sorted(exchanges)
            return here, service, exchanges, len(told)

    return asyncio.run(speak())


def test_every_room_says_its_commands_one_after_the_other(broker: Broker) -> None:
    here, service, exchanges, told = spoken(broker, words)
    assert here.count == told == len(exchanges) == ROOMS * COMMANDS
    assert all(exchange.transcribed for exchange in exchanges.values())
    assert {start["codec"] for start in service.starts} == {"flac"}
    assert sorted(start["id"] for start in service.starts) == sorted(exchanges)
    recordings = [sample.read() for sample in SAMPLES]
    for number in range(ROOMS):
        own = (recordings * ROOMS)[number * COMMANDS : (number + 1) * COMMANDS]
        assert service.heard[f"room-{number + 1}"] == b"".join(own)


def test_what_is_answered_twice_has_two_results(broker: Broker) -> None:
    here, _, exchanges, _ = spoken(broker, lambda *of: words(*of) * (2 if of[0] == "room-2" else 1))
    counts = {
        exchange.room: len(here.results[utterance]) for utterance, exchange in exchanges.items()
    }
    assert counts == {"room-1": 1, "room-2": 2, "room-3": 1, "room-4": 1}


def test_what_nobody_answers_has_no_result(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ANSWER_TIMEOUT_S", 0.5)
    _, _, exchanges, _ = spoken(broker, lambda *_: [])
    assert {exchange.result for exchange in exchanges.values()} == {None}


def test_what_is_no_result_of_a_room_is_ignored(broker: Broker) -> None:
    def noise(room: str, utterance: str) -> list[bytes]:
        others = (b"", b"[1", b"[]", b"{}", b'{"id":[]}', json.dumps({"id": "other"}).encode())
        return [*others, *words(room, utterance)]

    here, _, exchanges, _ = spoken(broker, noise)
    assert all(exchange.transcribed for exchange in exchanges.values())
    assert here.results.keys() == exchanges.keys()
