"""What Home Assistant is told, and when, by the real program on a real broker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import Broker, eventually
from tools.program import Peer, running

SERVICE = "homeassistant/device/stt_mqtt_bridge/config"
KITCHEN = "homeassistant/device/stt_mqtt_kitchen/config"
SAYS_WHAT_IT_IS = '{"v":1,"model":"ReSpeaker Lite","version":"1.4","muted":false,"listening":true}'


@pytest.fixture
def home(broker: Broker) -> Iterator[Peer]:
    """Hears everything, in order."""
    peer = Peer(broker, "#")
    yield peer
    peer.close()


def topics(home: Peer) -> list[str]:
    return [message.topic for message in list(home.messages)]


def test_a_satellite_is_in_home_assistant_before_its_first_words(
    tmp_path: Path, broker: Broker, home: Peer
) -> None:
    with running(tmp_path, broker) as (_, peer):
        peer.publish("stt/kitchen/availability", "online", retain=True)
        peer.publish("stt/kitchen/satellite/state", SAYS_WHAT_IT_IS, retain=True)
        eventually(lambda: b"microphone" in b"".join(home.payloads(KITCHEN)))
        config = json.loads(home.payloads(KITCHEN)[-1])
        assert (config["dev"]["mdl"], config["dev"]["sw"]) == ("ReSpeaker Lite", "1.4")
        assert [item["t"] for item in config["avty"]] == [
            "stt/bridge/state",
            "stt/kitchen/availability",
        ]
        eventually(lambda: "stt/kitchen/state" in topics(home))
        peer.publish("stt/kitchen/satellite/state", "", retain=True)
        gone = b'"microphone":{"p":"switch"}'
        eventually(lambda: gone in home.payloads(KITCHEN)[-1])


def test_who_announced_itself_before_the_service_came_is_there_with_all_it_told(
    tmp_path: Path, broker: Broker, home: Peer
) -> None:
    home.publish("stt/kitchen/satellite/state", SAYS_WHAT_IT_IS, retain=True)
    with running(tmp_path, broker):
        eventually(lambda: b"microphone" in b"".join(home.payloads(KITCHEN)))


def test_a_new_satellite_that_just_speaks_is_announced_before_its_words(
    tmp_path: Path, broker: Broker, home: Peer
) -> None:
    with running(tmp_path, broker) as (_, peer):
        peer.publish("stt/kitchen/utterance", SAMPLES[0].pcm())
        eventually(lambda: "stt/kitchen/text" in topics(home))
        seen = topics(home)
        assert (
            seen.index(KITCHEN) < seen.index("stt/kitchen/state") < seen.index("stt/kitchen/text")
        )


def test_home_assistant_knows_what_the_service_may_be_before_it_is_told_what_it_is(
    tmp_path: Path, broker: Broker, home: Peer
) -> None:
    with running(tmp_path, broker) as (service, _):
        eventually(lambda: "stt/bridge/info" in topics(home))
        seen = topics(home)
        assert seen.index(SERVICE) < seen.index("stt/bridge/info")
        said = len(seen)
        service.configure(service={"health_interval_s": 300})
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: "stt/bridge/info" in topics(home)[said:])
        new = topics(home)[said:]
        assert new.index(SERVICE) < new.index("stt/bridge/info")
        assert json.loads(home.payloads(SERVICE)[-1])["cmps"]["cpu"]["exp_aft"] == 900


def test_what_loading_the_model_took_is_not_the_use_of_the_cpu(
    tmp_path: Path, broker: Broker, home: Peer
) -> None:
    with running(tmp_path, broker):
        assert home.json("stt/bridge/health")[0]["load"]["cpu"] is None
