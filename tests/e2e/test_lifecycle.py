"""Starting, stopping, reloading and surviving, with the installed program as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stt_mqtt.app.application import Application
from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.config import Config
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.errors import ConfigError
from tools.brokers import (
    Broker,
    Mosquitto,
    MosquittoOptions,
    eventually,
    free_port,
    needs_mosquitto,
)
from tools.program import PROGRAM, Peer, Service, await_online, running
from tools.words import words

SAMPLE = SAMPLES[0]
PCM = SAMPLE.pcm()


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_sigterm_drains_says_goodbye_and_ends_with_status_0(tmp_path: Path, broker: Broker) -> None:
    with running(tmp_path, broker, service={"shutdown_grace_s": 120}) as (service, peer):
        peer.publish("stt/kitchen/audio/start", json.dumps({"id": "last"}))
        peer.publish("stt/kitchen/audio", PCM)
        eventually(lambda: b"listening" in peer.payloads("stt/kitchen/state"))
        assert service.stop() == 0
        (result,) = peer.json("stt/kitchen/result")
        assert (result["id"], result["end"]) == ("last", "shutdown")
        assert words(result["text"]) == words(SAMPLE.text)
        eventually(lambda: peer.payloads("stt/bridge/state")[-1] == b"offline")
        topics = [message.topic for message in peer.messages]
        assert topics.index("stt/kitchen/result") < len(topics) - 1 - topics[::-1].index(
            "stt/bridge/state"
        )


def test_what_cannot_be_finished_in_the_grace_time_is_answered(
    tmp_path: Path, broker: Broker
) -> None:
    config = {"service": {"shutdown_grace_s": 0}, "engine": {"workers": 1}}
    with running(tmp_path, broker, **config) as (service, peer):
        for number in range(3):
            peer.publish(f"stt/room-{number}/utterance", PCM)
        eventually(lambda: sum(m.payload == b"transcribing" for m in list(peer.messages)) == 3)
        assert service.stop() == 0
        results = [peer.json(f"stt/room-{number}/result")[0] for number in range(3)]
        codes = [result["error"]["code"] for result in results if result["error"]]
        assert "shutting_down" in codes
        assert set(codes) == {"shutting_down"}


def test_a_service_told_to_stop_while_it_loads_never_says_online(
    tmp_path: Path, broker: Broker
) -> None:
    peer = Peer(broker, "stt/bridge/state")
    service = Service(tmp_path, broker)
    eventually(lambda: "loading model" in service.log)
    assert service.stop() == 0
    late = Peer(broker, "stt/bridge/state")
    assert peer.payloads("stt/bridge/state")[-1:] in ([], [b"offline"])
    assert late.payloads("stt/bridge/state") in ([], [b"offline"])
    peer.close()
    late.close()


def test_a_reload_before_the_model_is_loaded_changes_nothing() -> None:
    application = Application(ConfigSource(None, {}), Config())
    with pytest.raises(ConfigError, match="not loaded yet"):
        application.reload()


def test_a_second_signal_exits_at_once(tmp_path: Path, broker: Broker) -> None:
    config = {"service": {"shutdown_grace_s": 300}, "engine": {"workers": 1}}
    with running(tmp_path, broker, **config) as (service, peer):
        for number in range(30):
            peer.publish(f"stt/room-{number}/utterance", PCM)
        service.process.send_signal(signal.SIGINT)
        eventually(lambda: "stopping" in service.log)
        service.process.send_signal(signal.SIGINT)
        assert service.end() == 75


@needs_mosquitto
def test_a_killed_service_is_offline_by_its_last_will(tmp_path: Path, broker: Broker) -> None:
    with running(tmp_path, broker) as (service, peer):
        service.process.kill()
        eventually(lambda: peer.payloads("stt/bridge/state")[-1] == b"offline")


@needs_mosquitto
def test_the_service_comes_back_after_the_broker_did(
    tmp_path: Path, mosquitto: Callable[[MosquittoOptions], Mosquitto]
) -> None:
    broker = mosquitto(MosquittoOptions())
    with running(tmp_path, broker) as (service, peer):
        peer.publish("stt/kitchen/set", json.dumps({"prompt": "lamp"}))
        eventually(lambda: peer.payloads("stt/kitchen/settings"))
        broker.stop()
        eventually(lambda: "trying again" in service.log)
        broker.start()
        fresh = Peer(broker, "stt/#")
        try:
            eventually(lambda: b"online" in fresh.payloads("stt/bridge/state"))
            eventually(lambda: fresh.payloads("stt/kitchen/settings"))
            fresh.publish("stt/kitchen/utterance", PCM)
            (result,) = fresh.json("stt/kitchen/result")
            assert words(result["text"]) == words(SAMPLE.text)
            assert "two services" not in service.log, "a broker that ends tells of our own will"
        finally:
            fresh.close()


def test_what_a_previous_run_left_retained_is_taken_over(tmp_path: Path, broker: Broker) -> None:
    before = Peer(broker, "stt/+/state")
    try:
        for name in ("away", "kept", "muted"):
            before.publish(f"stt/{name}/state", b"listening", retain=True)
        before.publish("stt/muted/set", b'{"enabled":false}', retain=True)
        with running(tmp_path, broker, devices={"kept": {}}) as (_, peer):
            topics = [f"stt/{name}/state" for name in ("away", "kept", "muted")]
            eventually(lambda: all(peer.payloads(topic)[-1:] == [b"idle"] for topic in topics))
            eventually(lambda: peer.json("stt/muted/settings")[-1]["enabled"] is False)
    finally:
        before.close()


def test_a_reload_takes_all_or_nothing_and_names_what_needs_a_restart(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker) as (service, peer):
        service.configure(devices={"kitchen": {"enabled": False}}, engine={"beam_size": 1})
        service.process.send_signal(signal.SIGHUP)
        (settings,) = peer.json("stt/kitchen/settings")
        assert settings["enabled"] is False
        eventually(lambda: "a restart is needed for engine.beam_size" in service.log)
        service.configure(devices={"kitchen": {"enabeld": True}, "bath": {}})
        peer.publish("stt/bridge/request/reload")
        (response,) = peer.json("stt/bridge/response/reload")
        assert response["status"] == "error"
        assert "devices.kitchen.enabeld" in response["error"]
        assert peer.payloads("stt/bath/settings") == []
        service.configure(device_defaults={"language": "de"}, devices={"bath": {}})
        peer.publish("stt/bridge/request/reload")
        _, response = peer.json("stt/bridge/response/reload", count=2)
        assert "device_defaults.language: de: model tiny.en does not speak" in response["error"]
        assert peer.payloads("stt/bath/settings") == []
        service.configure(devices={"bath": {"language": "de"}})
        peer.publish("stt/bridge/request/reload")
        *_, response = peer.json("stt/bridge/response/reload", count=3)
        assert response["status"] == "ok"
        assert "devices.bath.language: de: model tiny.en does not speak" in service.log


@needs_mosquitto
def test_a_10_mb_payload_is_refused_and_the_next_one_served(tmp_path: Path, broker: Broker) -> None:
    with running(tmp_path, broker, mqtt={"protocol": "3.1.1"}) as (_, peer):
        peer.publish("stt/kitchen/utterance", bytes(10_000_000))
        (result,) = peer.json("stt/kitchen/result")
        assert result["error"]["code"] == "payload_too_large"
        peer.publish("stt/kitchen/utterance", PCM)
        result = peer.json("stt/kitchen/result", count=2)[1]
        assert words(result["text"]) == words(SAMPLE.text)


@needs_mosquitto
def test_under_mqtt_5_the_broker_keeps_too_large_payloads_to_itself(
    tmp_path: Path, broker: Broker
) -> None:
    with running(tmp_path, broker, mqtt={"protocol": "5"}) as (_, peer):
        peer.publish("stt/kitchen/utterance", bytes(10_000_000))
        peer.publish("stt/kitchen/utterance", PCM)
        (result,) = peer.json("stt/kitchen/result")
        assert words(result["text"]) == words(SAMPLE.text)


@needs_mosquitto
def test_with_a_password_file_and_the_rights_of_the_contract_it_works(
    tmp_path: Path, mosquitto: Callable[[MosquittoOptions], Mosquitto]
) -> None:
    acl = "user service\ntopic readwrite stt/#\n"
    broker = mosquitto(MosquittoOptions(users={"service": "s3cret pass"}, acl=acl))
    password = tmp_path / "password"
    password.write_text("s3cret pass\n")
    login = {"username": "service", "password_file": str(password)}
    service = Service(tmp_path, broker, mqtt=login)
    try:
        eventually(lambda: "connected to" in service.log)
        assert "s3cret" not in service.log
    finally:
        assert service.stop() == 0


@needs_mosquitto
def test_refused_credentials_are_loud_and_retried_slowly(
    tmp_path: Path, mosquitto: Callable[[MosquittoOptions], Mosquitto]
) -> None:
    broker = mosquitto(MosquittoOptions(users={"service": "right"}))
    service = Service(tmp_path, broker, mqtt={"username": "service", "password": "wrong-one"})
    try:
        eventually(lambda: "mqtt.username" in service.log)
        time.sleep(2)
        assert service.log.count("mqtt.username") <= 2
        assert "wrong-one" not in service.log
    finally:
        assert service.stop() == 0


def test_mistakes_in_the_configuration_are_all_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("mqtt:\n  hots: a\n  port: 0\nengine:\n  beam_size: many\n")
    for command in ("check-config", "run"):
        done = run_to_end(command, "--config", str(file))
        assert done.returncode == 78
        assert "bad.yaml:2:3: mqtt.hots" in done.stderr
        assert "did you mean 'host'" in done.stderr
        assert "bad.yaml:3:" in done.stderr
        assert "bad.yaml:5:" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"engine": {"model": "no-such-model"}}, "stt-mqtt models"),
        ({"engine": {"model": "/no/such/folder"}}, "/no/such/folder"),
        ({"mqtt": {"username": "a", "password_file": "/no/such/file"}}, "/no/such/file"),
        ({"device_defaults": {"language": "de"}}, "device_defaults.language: de"),
        ({"broker": "embedded", "mqtt": {"port": 18899}}, "missing.yaml:3:3: mqtt.port"),
        ({"mqtt": {"host": "mqtt://nas:1883"}}, "write host: nas and port: 1883"),
    ],
)
def test_what_is_missing_is_one_clear_sentence(
    tmp_path: Path, config: dict[str, object], sentence: str
) -> None:
    file = tmp_path / "missing.yaml"
    file.write_text(yaml.safe_dump({**config, "web": {"enabled": False}}))
    done = run_to_end("run", "--config", str(file))
    assert done.returncode == 78
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_embedded_broker_on_a_taken_port_is_a_temporary_failure(
    tmp_path: Path, broker: Broker
) -> None:
    file = tmp_path / "taken.yaml"
    file.write_text(yaml.safe_dump({"broker": {"mode": "embedded", "port": broker.port}}))
    done = run_to_end("run", "--config", str(file))
    assert done.returncode == 75
    assert str(broker.port) in done.stderr


def test_an_embedded_broker_serves_others(tmp_path: Path) -> None:
    class Inside:
        host = "127.0.0.1"
        port = free_port()

        def start(self) -> None: ...
        def stop(self) -> None: ...

    inside = Inside()
    config = {"broker": {"mode": "embedded", "port": inside.port}}
    service = Service(tmp_path, inside, **config)
    try:
        eventually(lambda: "connected to" in service.log)
        peer = Peer(inside, "stt/#")
        await_online(service, peer)
        peer.publish("stt/kitchen/utterance", PCM)
        assert words(peer.json("stt/kitchen/result")[0]["text"]) == words(SAMPLE.text)
        peer.close()
    finally:
        assert service.stop() == 0


def test_transcribe_gives_the_words_of_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.flac", tmp_path / "bad.flac"
    good.write_bytes(SAMPLE.read())
    bad.write_bytes(b"fLaC nonsense")
    done = run_to_end("transcribe", str(good))
    assert (done.returncode, words(done.stdout)) == (0, words(SAMPLE.text))
    assert done.stdout.count("\n") == 1
    done = run_to_end("transcribe", "--json", str(good), str(bad), str(tmp_path / "none.wav"))
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 78
    assert (words(first["text"]), first["error"]) == (words(SAMPLE.text), None)
    assert second["error"]["code"] == "corrupt_audio"
    assert third["error"]["code"] == "unreadable_file"


def test_transcribe_takes_language_and_prompt_from_the_device_defaults(tmp_path: Path) -> None:
    config, file = tmp_path / "german.yaml", tmp_path / "command.flac"
    config.write_text("device_defaults: {language: de}\n")
    file.write_bytes(SAMPLE.read())
    done = run_to_end("transcribe", "--config", str(config), "--json", str(file))
    assert json.loads(done.stdout)["error"]["code"] == "unsupported_language"
    done = run_to_end("transcribe", "--config", str(config), "--language", "en", str(file))
    assert words(done.stdout) == words(SAMPLE.text)
