"""What the service says of itself, and what it is asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stt_mqtt.rungs import Rung, RungStatus
from tests.doors.native.peers import Wire
from tests.fakes import heard, nothing_heard


def test_a_device_is_forgotten_on_request() -> None:
    wire = Wire(devices={"hall": {}})
    wire.send("stt/kitchen/enabled/set", b"OFF")
    wire.send("stt/bridge/request/forget", b'{"device":"kitchen"}')
    assert wire.response("forget")["data"] == {"device": "kitchen"}
    for name in ("settings", "state", "availability"):
        assert wire.on(f"stt/kitchen/{name}")[-1] == b""
    assert len(wire.service.registry) == 0


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"{}", 'say which device to forget: {"device": "kitchen"}'),
        (b'{"device":"a b"}', 'say which device to forget: {"device": "kitchen"}'),
        (b'{"device":"bridge"}', 'say which device to forget: {"device": "kitchen"}'),
        (b'{"device":"hall"}', "hall has an entry under devices: and is never forgotten"),
        (b'{"device":"bath"}', "bath is listening; try again when it is idle"),
    ],
)
def test_who_cannot_be_forgotten_is_said_with_the_reason(payload: bytes, error: str) -> None:
    wire = Wire(devices={"hall": {}})
    wire.send("stt/bath/audio/start")
    wire.send("stt/bridge/request/forget", payload)
    assert (wire.response("forget")["status"], wire.response("forget")["error"]) == ("error", error)


def test_who_is_there_by_its_own_word_keeps_that_when_it_is_forgotten() -> None:
    wire = Wire(limits={"max_devices": 1})
    for name in ("kitchen", "bath"):
        wire.send(f"stt/{name}/availability", b"online")
    wire.send("stt/bridge/request/forget", b'{"device":"bath"}')
    assert wire.on("stt/bath/availability") == []
    wire.send("stt/bath/availability", b"offline")
    wire.send("stt/bridge/request/forget", b'{"device":"bath"}')
    assert wire.on("stt/bath/availability") == [b""]


def test_the_bridge_announces_itself_and_is_online_last() -> None:
    wire = Wire()
    wire.bridge.announce()
    assert [(item.topic, item.qos, item.retain) for item in wire.published] == [
        ("stt/bridge/info", 1, True),
        ("stt/bridge/health", 0, True),
        ("stt/bridge/state", 1, True),
    ]
    info = json.loads(wire.on("stt/bridge/info")[0])
    assert set(info) >= {"v", "version", "started", "models", "rungs", "rung", "config"}
    assert info["rung"] == {"mode": "auto", "active": "default", "reason": "the only rung"}
    assert info["models"] == ["tiny.en"]
    assert info["rungs"] == [
        {"name": "default", "model": "tiny.en", "beam_size": 5, "compute_type": "int8"}
    ]
    wire.bridge.say_offline()
    assert wire.on("stt/bridge/state") == [b"online", b"offline"]


def test_info_tells_of_the_phrase_book_only_if_there_is_one() -> None:
    wire = Wire()
    wire.bridge.publish_info()
    wire.phrases = {"languages": ["en"], "sentences": 3}
    wire.bridge.publish_info()
    without, with_book = (json.loads(payload) for payload in wire.on("stt/bridge/info"))
    assert "phrases" not in without
    assert with_book == {**without, "phrases": {"languages": ["en"], "sentences": 3}}


def test_info_and_health_follow_the_ladder() -> None:
    wire = Wire()
    wire.service.rung_status = RungStatus(
        (
            Rung("best", "base", 5, "int8"),
            Rung("good", "base", 1, "int8"),
            Rung("fast", "tiny.en", 1, "int8"),
        ),
        mode="auto",
        active="good",
        reason="eight rooms speak",
    )
    wire.bridge.announce()
    info = json.loads(wire.on("stt/bridge/info")[0])
    assert info["models"] == ["base", "tiny.en"]
    assert [rung["name"] for rung in info["rungs"]] == ["best", "good", "fast"]
    assert info["rung"] == {"mode": "auto", "active": "good", "reason": "eight rooms speak"}
    assert json.loads(wire.on("stt/bridge/health")[0])["rung"] == "good"


def test_health_counts_what_was_heard_and_what_was_heard_twice() -> None:
    wire = Wire()
    for verdict in (heard(), replace(heard(), retried=True), nothing_heard()):
        wire.send("stt/kitchen/utterance", bytes(3200))
        wire.pool.answer(wire.service, verdict)
    wire.bridge.publish_health()
    counters = json.loads(wire.on("stt/bridge/health")[0])["counters"]
    assert (counters["inferences"], counters["second_looks"]) == (2, 1)


def test_health_says_how_devices_and_queue_are() -> None:
    wire = Wire(limits={"max_queued": 5})
    for device in ("kitchen", "bath"):
        wire.send(f"stt/{device}/utterance", bytes(3200))
    wire.clock.advance(2.0)
    wire.bridge.publish_health()
    health = json.loads(wire.on("stt/bridge/health")[0])
    assert health["queue"] == {"jobs": 1, "audio_s": 0.1, "oldest_s": 2.0}
    assert health["buffered_bytes"] == 6400
    assert health["uptime_s"] == 2.0
    assert health["rss_mb"] > 1
    assert set(health["load"]) == {"cpu", "rtf"}
    assert health["devices"]["kitchen"] == {
        "state": "transcribing",
        "utterances": 0,
        "errors": 0,
        "dropped_chunks": 0,
        "last_seen": wire.clock.epoch_s - 2.0,
    }


def test_asking_for_the_health_does_not_shorten_the_interval_that_the_load_is_measured_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter([None, 0.25])
    monkeypatch.setattr("stt_mqtt.doors.native.bridge.CpuMeter.read", lambda _: next(readings))
    wire = Wire()
    for cpu in (None, 0.25):
        wire.bridge.publish_health()
        assert json.loads(wire.on("stt/bridge/health")[-1])["load"]["cpu"] == cpu
        wire.send("stt/bridge/request/health_check")
        assert wire.response("health_check")["data"]["load"]["cpu"] == cpu


def test_requests_are_answered_with_their_transaction() -> None:
    wire = Wire()
    wire.send("stt/bridge/request/health_check", b'{"transaction":"t1"}')
    response = wire.response("health_check")
    assert (response["status"], response["error"], response["transaction"]) == ("ok", None, "t1")
    assert response["data"]["healthy"] is True
    wire.send("stt/kitchen/audio", bytes(320))
    wire.send("stt/bridge/request/devices")
    assert list(wire.response("devices")["data"]["devices"]) == ["kitchen"]


def test_a_reload_names_what_was_applied_and_what_needs_a_restart_or_all_the_mistakes() -> None:
    wire = Wire()
    wire.send("stt/bridge/request/reload")
    assert wire.response("reload")["data"] == {
        "applied": ["gate.margin_ms"],
        "needs_restart": ["engine.model"],
    }
    wire.send("stt/bridge/request/reload")
    response = wire.response("reload")
    assert response["status"] == "error"
    assert "mqtt.hots" in response["error"]


@pytest.mark.parametrize("wanted", ["default", "auto"])
def test_a_rung_can_be_held_and_let_go(wanted: str) -> None:
    wire = Wire()
    wire.send("stt/bridge/request/rung", json.dumps({"rung": wanted, "transaction": 1}).encode())
    assert wire.response("rung") == {
        "status": "ok",
        "data": {"mode": wanted, "active": "default", "reason": "the only rung"},
        "error": None,
        "transaction": 1,
    }


@pytest.mark.parametrize(
    ("request_name", "payload"),
    [
        ("rung", b'{"rung":"best"}'),
        ("rung", b'{"rung":5}'),
        ("rung", b'{"rung":null}'),
        ("rung", b""),
        ("dance", b""),
        ("devices", b"{"),
    ],
)
def test_a_request_that_cannot_be_granted_is_answered_with_the_reason(
    request_name: str, payload: bytes
) -> None:
    wire = Wire()
    wire.send(f"stt/bridge/request/{request_name}", payload)
    response = wire.response(request_name)
    assert response["status"] == "error"
    assert response["error"]


def test_a_retained_request_is_ignored() -> None:
    wire = Wire()
    wire.send("stt/bridge/request/reload", b"", retain=True)
    assert (wire.published, wire.reloads) == ([], 0)
