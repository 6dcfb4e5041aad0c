"""The phrase book in the running program."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.errors import EXIT_CONFIG
from tools.brokers import Broker, eventually
from tools.program import PATIENT, Peer, Service, running

DOOR = next(sample for sample in SAMPLES if "garage" in sample.text)
LAMP = next(sample for sample in SAMPLES if "lamp" in sample.text)
BOOK = """
language: en
intents:
  Close: {data: [{sentences: ["close [the] {thing}"]}]}
  Off: {data: [{sentences: ["turn off [the] {lamp}"]}]}
"""


def phrase_of(peer: Peer, room: str, audio: bytes) -> dict[str, Any] | None:
    """The phrase that the service recognises in an utterance, if it is one."""
    before = len(peer.payloads(f"stt/{room}/result"))
    peer.publish(f"stt/{room}/utterance", audio)
    result = peer.json(f"stt/{room}/result", before + 1)[-1]
    assert result["outcome"] == "transcript"
    phrase: dict[str, Any] | None = result["phrase"]
    return phrase


def mistakes(peer: Peer) -> int:
    """How many mistakes the phrase files had at the last reload."""
    count: int = peer.json("stt/bridge/info")[-1]["phrases"]["mistakes"]
    return count


def test_phrases_of_the_files_are_recognised_and_follow_names_and_reloads(
    tmp_path: Path, broker: Broker
) -> None:
    book = tmp_path / "home.yaml"
    book.write_text(BOOK)
    phrases = {"paths": [str(book)], "names": {"thing": ["garage door"], "lamp": []}}
    with running(tmp_path, broker, phrases=phrases) as (service, peer):
        closed = phrase_of(peer, "hall", DOOR.read())
        assert closed is not None
        assert (closed["id"], closed["slots"]) == ("Close", {"thing": "garage door"})
        assert phrase_of(peer, "hall", LAMP.read()) is None

        peer.publish("stt/bridge/names", b'{"lamp": ["living room lamp"]}', retain=True)
        eventually(lambda: phrase_of(peer, "hall", LAMP.read()) is not None)

        book.write_text(BOOK.replace("[the]", "<gone>"))
        peer.publish("stt/bridge/request/reload", b"{}")
        eventually(lambda: "the phrase book stays as it was" in service.log)
        assert f"{book}:4:31: there is no expansion rule <gone>" in service.log
        eventually(lambda: mistakes(peer) == 2)
        assert phrase_of(peer, "hall", LAMP.read()) is not None

        book.write_text(BOOK.replace("turn off", "find"))
        peer.publish("stt/bridge/request/reload", b"{}")
        eventually(lambda: phrase_of(peer, "hall", LAMP.read()) is None)
        eventually(lambda: mistakes(peer) == 0)
        assert service.stop() == 0
        assert "living room" not in service.log
        peer.publish("stt/bridge/names", b"", retain=True)


def test_a_reload_applies_the_settings_of_devices_and_says_that_the_rest_needs_a_restart(
    tmp_path: Path, broker: Broker
) -> None:
    book = tmp_path / "home.yaml"
    book.write_text(BOOK)
    phrases = {"paths": [str(book)], "names": {"thing": ["garage door"], "lamp": []}}
    with running(tmp_path, broker, phrases=phrases) as (service, peer):
        assert phrase_of(peer, "hall", DOOR.read()) is not None
        changed = {**phrases, "builtin": True, "names": {"thing": [], "lamp": []}}
        service.configure(phrases=changed, limits=PATIENT, devices={"hall": {"phrases": False}})
        peer.publish("stt/bridge/request/reload", b"{}")
        answer = peer.json("stt/bridge/response/reload")[-1]
        assert answer["data"] == {
            "applied": ["devices.hall"],
            "needs_restart": ["phrases.builtin", "phrases.names"],
        }
        assert phrase_of(peer, "hall", DOOR.read()) is None
        assert phrase_of(peer, "bath", DOOR.read()) is not None

        service.configure(phrases={**phrases, "paths": ["elsewhere"]}, limits=PATIENT)
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: "a restart is needed for phrases.paths" in service.log)
        eventually(lambda: phrase_of(peer, "hall", DOOR.read()) is not None)
        assert service.stop() == 0
        assert "stays as it was" not in service.log


def test_a_faulty_book_ends_the_start_with_all_its_mistakes(tmp_path: Path, broker: Broker) -> None:
    book = tmp_path / "home.yaml"
    book.write_text(BOOK.replace("{thing}", "{other}").replace("[the]", "<gone>"))
    service = Service(tmp_path, broker, phrases={"paths": [str(book)]})
    assert service.end() == EXIT_CONFIG
    assert f"{book}:4:31: there is no expansion rule <gone>" in service.log
    assert f"{book}:4:31: there is no list {{other}}" in service.log
    assert f"{book}:5:29: there is no list {{lamp}}" in service.log
