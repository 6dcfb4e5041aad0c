"""What outlives the process: one service to a base topic, and the devices of a previous run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import Broker, eventually, needs_mosquitto, never
from tools.program import Peer, Service, running

pytestmark = needs_mosquitto

PCM = SAMPLES[0].pcm()


@pytest.fixture
def late(broker: Broker) -> Iterator[Peer]:
    """Hears what is retained, and what is said from now on."""
    peer = Peer(broker, "stt/#", "homeassistant/#")
    yield peer
    peer.close()


def second(tmp_path: Path, broker: Broker, **config: Any) -> Service:
    folder = tmp_path / "second"
    folder.mkdir(exist_ok=True)
    return Service(folder, broker, **config)


def test_a_second_service_on_the_base_topic_ends_and_leaves_the_first_one_as_it_was(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker) as (first, peer):
        peer.publish("stt/kitchen/enabled/set", "OFF")
        # The state is published last.
        eventually(lambda: peer.payloads("stt/kitchen/state"))
        instance = peer.json("stt/bridge/info")[-1]["instance"]
        said = len(peer.messages)
        another = second(tmp_path, broker)
        assert another.end() == 78
        assert f"another service, instance {instance}, is live on the base topic stt" in another.log
        assert "Traceback" not in another.log
        topics = {message.topic for message in list(peer.messages)[said:]} - {"stt/bridge/health"}
        assert topics <= {"stt/bridge/request/health_check", "stt/bridge/response/health_check"}
        assert "two services" not in first.log
        peer.publish("stt/bath/utterance", PCM)
        assert len(peer.json("stt/bath/result")) == 1


def test_who_takes_over_serves_beside_the_first_which_stays_online_when_the_other_goes(
    tmp_path: Path, broker: Broker, late: Peer
) -> None:
    with running(tmp_path, broker) as (first, _):
        another = second(tmp_path, broker, mqtt={"takeover": True})
        try:
            eventually(lambda: "two services on one mqtt.base_topic" in first.log)
            infos = {info["instance"] for info in late.json("stt/bridge/info", 2)}
            assert len(infos) == 2
        finally:
            assert another.stop() == 0
        eventually(lambda: b"offline" in late.payloads("stt/bridge/state"))
        eventually(lambda: late.payloads("stt/bridge/state")[-1] == b"online")
        assert first.log.count("two services on one mqtt.base_topic") == 1
        final = json.loads(late.payloads("stt/bridge/info")[-1])
        assert final["instance"] == json.loads(late.payloads("stt/bridge/info")[0])["instance"]


def test_a_service_that_was_killed_without_a_last_will_keeps_nobody_from_starting(
    tmp_path: Path, broker: Broker, late: Peer
) -> None:
    late.publish("stt/bridge/state", "online", retain=True)
    late.publish("stt/bridge/info", '{"instance":"long gone"}', retain=True)
    with running(tmp_path, broker) as (_, peer):
        infos = peer.json("stt/bridge/info", 2)
        assert [info["instance"] == "long gone" for info in infos] == [True, False]


def test_a_mute_and_a_language_survive_the_restart_of_the_service(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker) as (_, peer):
        peer.publish("stt/kitchen/set", '{"language":"en"}', retain=True)
        peer.publish("stt/kitchen/enabled/set", "OFF")
        eventually(lambda: b'"enabled":false' in b"".join(peer.payloads("stt/kitchen/settings")))
    with running(tmp_path, broker) as (_, peer):
        peer.publish("stt/kitchen/utterance", PCM)
        (result,) = peer.json("stt/kitchen/result")
        assert result["error"]["code"] == "disabled"
        assert json.loads(peer.payloads("stt/kitchen/settings")[-1]) == {
            "enabled": False,
            "language": "en",
            "prompt": None,
        }


def test_a_restart_throws_no_satellite_out_of_home_assistant_and_keeps_when_it_spoke(
    tmp_path: Path, broker: Broker, late: Peer
) -> None:
    config = "homeassistant/device/stt_mqtt_kitchen/config"
    with running(tmp_path, broker) as (service, peer):
        peer.publish("stt/kitchen/utterance", PCM)
        peer.json("stt/kitchen/result")
        eventually(lambda: late.payloads(config))
        assert service.stop() == 0
    before = late.json("stt/bridge/health")[-1]["devices"]["kitchen"]["last_seen"]
    said = len(late.messages)
    with running(tmp_path, broker):
        eventually(lambda: len(late.payloads(config)) >= 2)
        # Long enough for what would be cleared after the start.
        never(lambda: b"" in late.payloads(config), within_s=2.5)
        new = list(late.messages)[said:]
        assert not [message.topic for message in new if not message.payload]
        health = next(m for m in new if m.topic == "stt/bridge/health")
        assert json.loads(health.payload)["devices"]["kitchen"]["last_seen"] == before


def test_who_is_deleted_in_home_assistant_is_forgotten_and_comes_back_when_it_speaks(
    tmp_path: Path, broker: Broker, late: Peer
) -> None:
    config = "homeassistant/device/stt_mqtt_kitchen/config"
    with running(tmp_path, broker) as (_, peer):
        peer.publish("stt/kitchen/utterance", PCM)
        peer.json("stt/kitchen/result")
        eventually(lambda: late.payloads(config))
        peer.publish(config, "", retain=True)
        eventually(lambda: late.payloads("stt/kitchen/settings")[-1:] == [b""])
        assert "kitchen" not in _devices(peer)
        peer.publish("stt/kitchen/utterance", PCM)
        peer.json("stt/kitchen/result", 2)
        assert late.payloads(config)[-1] != b""
        peer.publish("stt/bridge/request/forget", '{"device":"kitchen"}')
        (answer,) = peer.json("stt/bridge/response/forget")
        assert answer["status"] == "ok"
        eventually(lambda: late.payloads(config)[-1] == b"")


def test_an_utterance_that_is_sent_again_is_transcribed_once(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker) as (_, peer):
        for count in (1, 2):
            peer.publish("stt/kitchen/audio/start", '{"id":"one"}')
            peer.publish("stt/kitchen/audio", PCM)
            peer.publish("stt/kitchen/audio/stop", '{"id":"one"}')
            peer.json("stt/kitchen/result", count)
        first, again = peer.json("stt/kitchen/result", 2)
        assert again == {**first, "repeated": True}
        assert len(peer.payloads("stt/kitchen/text")) == 1


def _devices(peer: Peer) -> list[str]:
    peer.publish("stt/bridge/request/devices")
    eventually(lambda: peer.payloads("stt/bridge/response/devices"))
    answer = json.loads(peer.payloads("stt/bridge/response/devices")[-1])
    return list(answer["data"]["devices"])
