"""A house with least rights: everything works, and nothing tells a secret or what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.deploy.house import (
    HOTWORD,
    NAME,
    OTHER_ROOM,
    PHRASE,
    PROMPT,
    REPLIES,
    ROOM,
    WORD,
    House,
    a_house,
)
from tools.brokers import needs_mosquitto

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with a_house(tmp_path_factory.mktemp("house")) as lived_in:
        yield lived_in


def payloads(house: House, topic: str) -> list[bytes]:
    return [payload for heard, payload in house.evidence.messages if heard == topic]


def places_of(house: House, word: str) -> set[str]:
    """Where a word was said: topics, and what is not of the broker."""
    sought = word.lower()
    said = {place for place, text in house.evidence.said.items() if sought in text.lower()}
    heard = {t for t, p in house.evidence.messages if sought.encode() in p.lower() or word in t}
    return said | heard


def test_doctor_finds_nothing_wrong_with_the_rights(house: House) -> None:
    checks = json.loads(house.evidence.said["output of doctor"])["checks"]
    about = [check for check in checks if check["name"] not in {"clock", "memory"}]
    assert [check for check in about if check["status"] != "ok"] == []
    assert {"rights", "service", "discovery"} <= {check["name"] for check in checks}


def test_home_assistant_may_ask_and_set(house: House) -> None:
    for request in ("reload", "health_check", "devices", "rung"):
        (answer,) = payloads(house, f"stt/bridge/response/{request}")[-1:]
        assert json.loads(answer)["status"] == "ok", request
    settings = [json.loads(payload) for payload in payloads(house, f"stt/{ROOM}/settings")]
    assert [one["enabled"] for one in settings][-2:] == [False, True]
    assert payloads(house, f"homeassistant/device/stt_mqtt_{ROOM}/config")


def test_copies_of_results_go_nowhere_but_to_the_satellite_that_asks(house: House) -> None:
    results = [json.loads(payload) for payload in payloads(house, f"stt/{ROOM}/result")]
    assert {result["outcome"] for result in results} == {"transcript", "aborted", "error"}
    assert [json.loads(copy)["outcome"] for copy in payloads(house, REPLIES[-1])] == [
        "aborted",
        "error",
        "transcript",
    ]
    answers = [topic for topic, payload in house.evidence.messages if b'"outcome"' in payload
               and topic != f"stt/{ROOM}/result"]  # fmt: skip
    assert set(answers) - {f"homeassistant/device/stt_mqtt_{ROOM}/config"} == {REPLIES[-1]}
    assert not [t for t, _ in house.evidence.messages if t.startswith(f"stt/{OTHER_ROOM}/")]


def test_no_secret_is_printed_logged_published_or_served(house: House) -> None:
    told = {name: places_of(house, secret) for name, secret in house.evidence.secrets.items()}
    assert {name: places for name, places in told.items() if places} == {}


def test_words_are_only_where_they_belong(house: House) -> None:
    assert places_of(house, WORD) == {
        f"stt/{ROOM}/text",
        f"stt/{ROOM}/result",
        REPLIES[-1],
        "output of satellite",
        "output of watch",
        "output of transcribe",
        "answer of Wyoming",
        "log of service",
    }


def test_words_of_the_phrase_book_are_nowhere(house: House) -> None:
    assert places_of(house, PHRASE) == set()
    assert places_of(house, NAME) == set()


def test_the_settings_of_a_room_are_where_people_need_them(house: House) -> None:
    assert places_of(house, PROMPT) == {
        "stt/bridge/info",
        f"stt/{ROOM}/settings",
        f"stt/{ROOM}/set",
    }
    assert places_of(house, HOTWORD) == {"stt/bridge/info"}


def test_no_program_leaves_a_core_dump(house: House) -> None:
    assert house.evidence.core_limits == {"service": "0"}
