"""Two models, exchanged while the installed program serves: nobody waits, nobody is forgotten."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.models import default_models_dir, resolve
from tools.brokers import MOSQUITTO, Broker, EmbeddedProcess, Mosquitto, eventually
from tools.program import Peer, running
from tools.words import words

PCM = SAMPLES[0].pcm()
TEXT = SAMPLES[0].text
AT_LEAST, AT_MOST = 8, 200
"""Utterances around an exchange."""


def ladder(folder: Path) -> dict[str, Any]:
    """Two rungs with a model each, though it is the same twice, and one that is not there."""
    copy = folder / "second-model"
    shutil.copytree(resolve("tiny.en", default_models_dir()).folder, copy)
    rungs = [
        {"name": "best", "model": "tiny.en"},
        {"name": "other", "model": str(copy)},
        {"name": "gone", "model": str(folder / "no-such-model")},
    ]
    return {"rungs": rungs, "rung": "best"}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One service for all tests of this module; each begins by asking for its rung."""
    folder = tmp_path_factory.mktemp("ladder")
    broker: Broker = EmbeddedProcess(folder) if MOSQUITTO is None else Mosquitto(folder)
    broker.start()
    try:
        with running(folder, broker, ladder=ladder(folder)) as (_, peer):
            yield peer
    finally:
        broker.stop()


def request(peer: Peer, what: str, **fields: str) -> dict[str, Any]:
    """The answer to a request of the bridge."""
    transaction = uuid.uuid4().hex
    topic = f"stt/bridge/response/{what}"
    peer.publish(f"stt/bridge/request/{what}", json.dumps({**fields, "transaction": transaction}))

    def answers() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = [json.loads(payload) for payload in peer.payloads(topic)]
        return [answer for answer in told if answer["transaction"] == transaction]

    eventually(lambda: answers() != [])
    (answer,) = answers()
    return answer


def rungs_told(peer: Peer, since: int = 0) -> list[dict[str, Any]]:
    """What `info` said of the rung, from its message number `since` on."""
    told = [json.loads(payload) for payload in peer.payloads("stt/bridge/info")[since:]]
    return [info["rung"] for info in told]


def hold(peer: Peer, rung: str) -> None:
    """Ask for a rung and wait until it serves."""
    assert request(peer, "rung", rung=rung)["status"] == "ok"
    eventually(lambda: rungs_told(peer)[-1]["active"] == rung)


def speak(peer: Peer) -> str:
    """Have a new room say something; its name."""
    room = f"room-{uuid.uuid4().hex[:8]}"
    peer.publish(f"stt/{room}/utterance", PCM)
    return room


def result_of(peer: Peer, room: str) -> dict[str, Any]:
    (result,) = peer.json(f"stt/{room}/result")
    return result


def test_an_exchange_of_models_forgets_nobody_and_is_told(peer: Peer) -> None:
    hold(peer, "best")
    before = len(peer.payloads("stt/bridge/info"))
    rooms = [speak(peer)]
    assert result_of(peer, rooms[0])["rung"] == "best"
    response = request(peer, "rung", rung="other")
    assert (response["status"], response["data"]["mode"]) == ("ok", "other")
    # One is always on its way while the one before it is answered.
    rooms.append(speak(peer))
    for number in count(2):
        rooms.append(speak(peer))
        result = result_of(peer, rooms[-2])
        if (result["rung"] == "other" and number >= AT_LEAST) or number >= AT_MOST:
            break
    last = result_of(peer, rooms[-1])
    results = [result_of(peer, room) for room in rooms]
    assert {result["outcome"] for result in results} == {"transcript"}
    assert [words(result["text"]) for result in results] == [words(TEXT)] * len(results)
    assert {result["rung"]: result["model"] for result in results} == {
        "best": "tiny.en",
        "other": "second-model",
    }
    assert last["rung"] == "other"
    told = rungs_told(peer, before)
    assert [(rung["mode"], rung["active"]) for rung in told] == [
        ("other", "best"),
        ("other", "other"),
    ]
    assert told[-1]["reason"] == "asked for"
    assert request(peer, "health_check")["data"]["rung"] == "other"
    # Whatever would come twice has come before the answer to this request.
    assert [len(peer.payloads(f"stt/{room}/result")) for room in rooms] == [1] * len(rooms)


def test_info_lists_the_rungs_with_what_they_are(peer: Peer) -> None:
    info = peer.json("stt/bridge/info")[-1]
    assert [rung["name"] for rung in info["rungs"]] == ["best", "other", "gone"]
    assert info["rungs"][0] == {
        "name": "best", "model": "tiny.en", "beam_size": 5, "compute_type": "int8",
    }  # fmt: skip


def test_an_unknown_rung_is_an_error_that_names_the_rungs_and_moves_nothing(peer: Peer) -> None:
    hold(peer, "best")
    response = request(peer, "rung", rung="bset")
    assert response["status"] == "error"
    assert "auto, best, other, gone" in response["error"]
    assert rungs_told(peer)[-1] == {"mode": "best", "active": "best", "reason": "asked for"}


def test_a_rung_that_could_not_be_loaded_is_an_error_with_its_reason(peer: Peer) -> None:
    hold(peer, "best")
    response = request(peer, "rung", rung="gone")
    assert response["status"] == "error"
    assert "no-such-model" in response["error"]
    assert result_of(peer, speak(peer))["rung"] == "best"


def test_auto_lets_a_held_rung_go_and_is_told(peer: Peer) -> None:
    hold(peer, "best")
    assert request(peer, "rung", rung="auto")["data"]["mode"] == "auto"
    assert rungs_told(peer)[-1]["mode"] == "auto"
