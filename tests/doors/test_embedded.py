"""The broker inside the process."""

from __future__ import annotations

import errno
import logging
import socket
import tempfile
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from stt_mqtt.config import BrokerConfig, MqttConfig, Protocol
from stt_mqtt.doors.embedded import EmbeddedBroker
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.messages import Publication
from tests.mqtt.peers import WILL, client_of, connected_to
from tools.brokers import EmbeddedProcess, eventually, free_port, never
from tools.proxy import Proxy

MakeEmbedded = Callable[[tuple[str, str] | None], EmbeddedProcess]

MAX_PAYLOAD = 4 << 20
V311 = Protocol.V311


def broker_on(port: int, listen: str = "127.0.0.1") -> EmbeddedBroker:
    return EmbeddedBroker(BrokerConfig(port=port, listen=listen), None, MAX_PAYLOAD)


def test_messages_retained_topics_and_the_largest_payloads_pass(embedded: MakeEmbedded) -> None:
    broker = embedded(None)
    with connected_to(broker, "room/#", protocol=V311) as (client, heard):
        client.publish(Publication("room/state", b"idle", retain=True))
        for _ in range(3):
            client.publish(Publication("room/large", bytes(MAX_PAYLOAD)))
        assert client.flush(60)
        eventually(lambda: len(heard.payloads("room/large")) == 3)
        assert {len(payload) for payload in heard.payloads("room/large")} == {MAX_PAYLOAD}
    with connected_to(broker, "room/state", protocol=V311) as (_, late):
        eventually(lambda: late.payloads("room/state") == [b"idle"])


def test_a_broken_connection_leaves_the_will(embedded: MakeEmbedded) -> None:
    broker = embedded(None)
    with (
        connected_to(broker, WILL.topic, protocol=V311) as (_, heard),
        closing(Proxy(broker.port)) as relay,
        connected_to(relay, protocol=V311),
    ):
        relay.cut(refuse=True)
        eventually(lambda: heard.payloads(WILL.topic) == [WILL.payload])


def test_a_login_is_asked_for(embedded: MakeEmbedded) -> None:
    login = ('ser"vice', "pass \\ wörd")
    broker = embedded(login)
    config = MqttConfig(username=login[0], protocol=V311)
    with client_of(broker, config=config, password=login[1]) as (client, _):
        eventually(lambda: client.connected)
    with client_of(broker, config=config, password="wrong") as (client, _):
        never(lambda: client.connected, 0.5)
    with client_of(broker, config=MqttConfig(protocol=V311)) as (client, _):
        never(lambda: client.connected, 0.5)


def test_retained_topics_survive_a_flood_and_the_memory_stays(embedded: MakeEmbedded) -> None:
    broker = embedded(None)
    topics = [f"stt/room{number}/state" for number in range(20)]
    with connected_to(broker, "stt/+/audio/#", protocol=V311) as (client, heard):
        for topic in topics:
            client.publish(Publication(topic, b"idle", retain=True))
        assert client.flush(60)
        for _ in range(4):
            for number in range(5000):
                client.publish(Publication(f"stt/room{number % 20}/audio", bytes(512)))
            assert client.flush(60)
        assert heard.messages
        assert client.lost_publications == 0
    with connected_to(broker, "stt/+/state", protocol=V311) as (_, late):
        eventually(lambda: {message.topic for message in late.messages} == set(topics))
    assert psutil.Process(broker.pid).memory_info().rss < 150_000_000


def test_it_writes_nothing_to_the_standard_streams(embedded: MakeEmbedded) -> None:
    broker = embedded(None)
    with connected_to(broker, "room") as (client, heard):
        client.publish(Publication("room", b"word", retain=True))
        eventually(lambda: heard.messages)
    assert broker.log.read_text() == ""


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            broker_on(port).start()


def test_a_system_without_room_for_a_temporary_folder_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(BrokerError, match=r"made: No space left on device; .* in TMPDIR"):
        broker_on(free_port()).start()


def test_an_open_broker_for_everybody_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    broker_on(free_port(), "0.0.0.0").start()
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "admits everybody" in line


def test_a_broker_on_loopback_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    broker_on(free_port()).start()
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_the_password_is_on_no_disk_and_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker reads it from a file, and quotes that file if it does not understand it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    password = "correct horse"

    def quote(config_path: str) -> None:
        assert password in Path(config_path).read_text(encoding="utf-8")
        (folder,) = tmp_path.iterdir()
        (file,) = folder.iterdir()
        assert file.is_symlink()
        raise ValueError(f"cannot read the configuration\n auth = {password}")

    monkeypatch.setattr("iotcore.IotCoreBroker", quote)
    config = BrokerConfig(port=free_port())
    with pytest.raises(BrokerError, match=r"cannot read the configuration$") as caught:
        EmbeddedBroker(config, ("stt", password), MAX_PAYLOAD).start()
    assert password not in "".join(traceback.format_exception(caught.value))
    assert list(tmp_path.iterdir()) == []
