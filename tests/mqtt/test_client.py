"""The client against real brokers: what arrives, what survives, what is said to the broker."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.mqtt import reconnect
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.outbox import MAX_PUBLICATIONS
from stt_mqtt.mqtt.receiver import Receiver
from tests.mqtt.peers import WILL, Recorder, client_of, connected_to
from tools.brokers import (
    MOSQUITTO,
    Broker,
    FakeServer,
    Mosquitto,
    MosquittoOptions,
    eventually,
    needs_mosquitto,
    never,
)
from tools.proxy import Proxy

MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]
PLAIN = MosquittoOptions()


@pytest.fixture
def relay(broker: Broker) -> Iterator[Proxy]:
    made = Proxy(broker.port)
    yield made
    made.close()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "protocol", [pytest.param(Protocol.V5, marks=needs_mosquitto), Protocol.V311]
)
def test_a_publication_reaches_a_subscriber(broker: Broker, protocol: Protocol) -> None:
    with (
        connected_to(broker, "room/#", protocol=protocol) as (_, heard),
        connected_to(broker, protocol=protocol) as (speaker, _),
    ):
        speaker.publish(Publication("room/a", b"zero", qos=0))
        speaker.publish(Publication("room/b", bytes(300_000), qos=1))
        eventually(lambda: len(heard.messages) == 2)
        # The embedded broker delivers with the QoS of the subscription, whatever came in.
        zero = 0 if MOSQUITTO else 1
        assert heard.messages == [
            Inbound("room/a", b"zero", zero),
            Inbound("room/b", bytes(300_000), 1),
        ]
        assert heard.protocols == [protocol.value]


def test_without_file_descriptors_it_tries_again_with_the_same_protocol(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "stt_mqtt")
    refusals = [OSError(errno.EMFILE, "Too many open files")] * 2
    select = selectors.DefaultSelector

    def refuse() -> selectors.BaseSelector:
        if refusals:
            raise refusals.pop()
        return select()

    monkeypatch.setattr(reconnect, "NETWORK_DELAYS_S", (0.01,))
    monkeypatch.setattr(selectors, "DefaultSelector", refuse)
    with connected_to(broker, protocol=Protocol.V311 if not MOSQUITTO else Protocol.AUTO):
        assert refusals == []
    said = [one.getMessage() for one in caplog.records]
    assert sum("cannot be reached: Too many open files" in line for line in said) == 2
    assert not any("trying 3.1.1" in line for line in said)
    assert errors(caplog) == []


@needs_mosquitto
def test_correlation_data_travels_with_mqtt_5_only(broker: Broker) -> None:
    with connected_to(broker, "room", protocol=Protocol.V5) as (client, heard):
        client.publish(Publication("room", b"", correlation=b"\x00\x01"))
        eventually(lambda: len(heard.messages) == 1)
        with connected_to(broker, protocol=Protocol.V311) as (old, _):
            old.publish(Publication("room", b"", correlation=b"\x02"))
            eventually(lambda: len(heard.messages) == 2)
    assert [message.correlation for message in heard.messages] == [b"\x00\x01", None]


@needs_mosquitto
@pytest.mark.parametrize("slept_s", [0.0, 30_000.0])
def test_what_expires_is_not_kept_for_a_session_that_is_away(
    broker: Broker, slept_s: float
) -> None:
    """The broker is told the seconds that are left; it tells a reader what remains of them."""
    told: list[tuple[bytes, int | None]] = []
    reader = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    reader.on_message = lambda _client, _data, message: told.append(
        (bytes(message.payload), getattr(message.properties, "MessageExpiryInterval", None))
    )
    subscribed: list[int] = []
    reader.on_subscribe = lambda _client, _data, mid, *_: subscribed.append(mid)
    reader.connect(broker.host, broker.port)
    reader.subscribe("room", qos=1)
    reader.loop_start()
    eventually(lambda: subscribed)

    def now() -> float:
        return time.monotonic() + slept_s

    v5 = MqttConfig(protocol=Protocol.V5)
    with client_of(broker, config=v5, now=now) as (client, _):
        client.publish(Publication("room", b"lasts"))
        client.publish(Publication("room", b"text", expires_at=now() + 3000))
        eventually(lambda: len(told) == 2)
    reader.disconnect()
    reader.loop_stop()
    assert told[0] == (b"lasts", None)
    assert told[1][0] == b"text"
    assert told[1][1] in range(2900, 3001)


def test_retained_publications_are_marked_as_such(broker: Broker) -> None:
    with connected_to(broker) as (client, _):
        client.publish(Publication("room", b"kept", retain=True))
        assert client.flush(60)
    with connected_to(broker, "room") as (_, heard):
        eventually(lambda: heard.messages)
        assert heard.messages == [Inbound("room", b"kept", 1, retain=True)]


def test_a_connection_that_breaks_leaves_the_will(broker: Broker, relay: Proxy) -> None:
    with connected_to(broker, WILL.topic) as (_, heard), connected_to(relay):
        relay.cut(refuse=True)
        eventually(lambda: heard.payloads(WILL.topic) == [WILL.payload])
    with connected_to(broker, WILL.topic) as (_, late):
        eventually(lambda: late.payloads(WILL.topic) == [WILL.payload])


def test_stop_leaves_no_will_even_in_the_middle_of_a_flood(broker: Broker) -> None:
    with (
        connected_to(broker, WILL.topic, "end") as (witness, heard),
        connected_to(broker) as (speaker, _),
    ):
        leaving = MqttClient(
            ClientOptions(MqttConfig(), broker.host, broker.port, WILL, None, ("noise",))
        )
        leaving.start(noise := Recorder())
        eventually(lambda: leaving.connected)
        for _ in range(5000):
            speaker.publish(Publication("noise", bytes(1000), qos=0))
        eventually(lambda: noise.messages)
        leaving.stop(5)
        assert not leaving.connected
        # The broker handles this after whatever it made of the connection's end.
        witness.publish(Publication("end", b""))
        eventually(lambda: heard.payloads("end"))
        never(lambda: heard.payloads(WILL.topic), 0.3)


def test_stop_is_bounded_and_quiet_for_a_client_that_never_connected() -> None:
    recorder = Recorder()
    client = MqttClient(ClientOptions(MqttConfig(), "127.0.0.1", 1, WILL))
    client.start(recorder)
    began = time.monotonic()
    client.stop(60)
    assert time.monotonic() - began < 50
    assert recorder.reasons == []


def test_it_says_why_there_is_no_connection_until_there_is_one(
    broker: Broker, relay: Proxy
) -> None:
    with connected_to(relay) as (client, _):
        assert client.failure is None
        relay.cut(refuse=True)
        assert eventually(lambda: client.failure)
        relay.accept()
        eventually(lambda: client.connected)
        assert client.failure is None


@needs_mosquitto
def test_it_subscribes_again_after_the_broker_restarted(mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(PLAIN)
    with connected_to(broker, "room") as (client, heard):
        client.subscribe(("hall",))
        broker.stop()
        eventually(lambda: heard.reasons)
        broker.start()
        eventually(lambda: len(heard.protocols) == 2)
        client.publish(Publication("room", b"1"))
        client.publish(Publication("hall", b"2"))
        eventually(lambda: heard.payloads("room") and heard.payloads("hall"))
    assert len(heard.reasons) == 1


def test_qos_1_published_while_offline_arrives_later_in_order_and_qos_0_does_not(
    broker: Broker, relay: Proxy
) -> None:
    with connected_to(broker, "room") as (_, heard), connected_to(relay) as (client, own):
        relay.cut(refuse=True)
        eventually(lambda: own.reasons)
        client.publish(Publication("room", b"lost", qos=0))
        for number in range(200):
            client.publish(Publication("room", b"%d" % number))
        assert not client.flush(0.05)
        relay.accept()
        assert client.flush(60)
        expected = [b"%d" % number for number in range(200)]
        eventually(lambda: heard.payloads("room") == expected)
        assert client.lost_publications == 0


def test_what_is_for_one_connection_is_never_sent_on_the_next(broker: Broker, relay: Proxy) -> None:
    with connected_to(broker, "room") as (_, heard), connected_to(relay) as (client, own):
        assert client.connection == 1
        client.publish(Publication("room", b"next", connection=2))
        client.publish(Publication("room", b"mine", connection=1))
        eventually(lambda: heard.payloads("room") == [b"mine"])
        relay.cut(refuse=True)
        eventually(lambda: own.reasons)
        assert client.connection == 0
        client.publish(Publication("room", b"none", connection=0))
        client.publish(Publication("room", b"stale", connection=1))
        relay.accept()
        eventually(lambda: client.connected)
        assert client.connection == 2
        client.publish(Publication("room", b"stale", connection=1))
        client.publish(Publication("room", b"again", connection=2))
        assert client.flush(60)
        eventually(lambda: heard.payloads("room") == [b"mine", b"again"])
        assert client.lost_publications == 0


def test_a_flood_for_one_connection_ends_where_that_breaks(broker: Broker, relay: Proxy) -> None:
    with connected_to(broker, "room") as (_, heard), connected_to(relay) as (client, own):
        for number in range(5000):
            client.publish(Publication("room", b"%d" % number, connection=1))
        relay.cut()
        eventually(lambda: len(own.protocols) == 2)
        assert client.flush(0)
        client.publish(Publication("room", b"new", connection=2))
        eventually(lambda: b"new" in heard.payloads("room"))
        *before, last = heard.payloads("room")
        assert before == [b"%d" % number for number in range(len(before))]
        assert last == b"new"


class Numbering(Recorder):
    """Asks for the number of the connection whenever one comes or goes."""

    client: MqttClient

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def connected(self, protocol: str) -> None:
        self.numbers.append(self.client.connection)
        super().connected(protocol)

    def disconnected(self, reason: str) -> None:
        self.numbers.append(self.client.connection)
        super().disconnected(reason)


def test_a_listener_that_is_told_of_a_connection_can_publish_for_it(relay: Proxy) -> None:
    numbering = Numbering()
    client = MqttClient(ClientOptions(MqttConfig(), relay.host, relay.port))
    numbering.client = client
    client.start(numbering)
    try:
        eventually(lambda: len(numbering.protocols) == 1)
        relay.cut()
        eventually(lambda: len(numbering.protocols) == 2)
    finally:
        client.stop(5)
    assert numbering.numbers == [1, 0, 2]
    assert client.connection == 0


@pytest.mark.parametrize("qos", [0, 1])
def test_a_receipt_tells_once_that_a_publication_arrived(broker: Broker, qos: int) -> None:
    receipts: list[int] = []
    with connected_to(broker, "room") as (client, heard):
        for number in range(300):
            receipt = partial(receipts.append, number)
            client.publish(Publication("room", b"", qos, receipt=receipt))
            client.publish(Publication("room", b"", qos))
        eventually(lambda: len(heard.messages) == 600)
        eventually(lambda: receipts == list(range(300)))


@needs_mosquitto
def test_a_refusal_is_an_answer_too(mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(MosquittoOptions(acl="topic readwrite open/#\n"))
    refused = threading.Event()
    with connected_to(broker, protocol=Protocol.V5) as (client, _):
        client.publish(Publication("closed", b"", receipt=refused.set))
        assert refused.wait(60)


def test_there_is_no_receipt_before_the_answer_and_none_when_the_connection_is_gone() -> None:
    read = bytearray()

    def say_nothing(sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"\x20\x02\x00\x00")
        while b"leave" not in read:
            read.extend(sock.recv(65536))

    receipts: list[str] = []
    broker = FakeServer(say_nothing)
    try:
        with connected_to(broker, protocol=Protocol.V311) as (client, own):
            for text, qos in (("acknowledged", 1), ("written", 0), ("leave", 0)):
                receipt = partial(receipts.append, text)
                client.publish(Publication("t", text.encode(), qos, receipt=receipt))
            eventually(lambda: own.reasons)
    finally:
        broker.close()
    assert receipts == ["written", "leave"]


def test_a_receipt_that_fails_is_logged_and_the_connection_stays(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with connected_to(broker, "room") as (client, heard):
        client.publish(Publication("room", b"1", receipt=fail))
        client.publish(Publication("room", b"2"))
        eventually(lambda: heard.payloads("room") == [b"1", b"2"])
        assert client.flush(60)
        assert len(heard.protocols) == 1
    assert any("could not handle a receipt" in line for line in errors(caplog))


def test_what_was_not_acknowledged_when_the_connection_broke_is_sent_again(
    broker: Broker, relay: Proxy
) -> None:
    with connected_to(broker, "room") as (_, heard), connected_to(relay) as (client, own):
        for number in range(2000):
            client.publish(Publication("room", b"%d" % number))
        relay.cut()
        assert client.flush(60)
        wanted = {b"%d" % number for number in range(2000)}
        eventually(lambda: set(heard.payloads("room")) == wanted)
        assert len(own.protocols) == 2


@needs_mosquitto
def test_a_broker_that_takes_few_messages_at_a_time_gets_few(mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(MosquittoOptions(lines=("max_inflight_messages 2",)))
    with connected_to(broker, "room", protocol=Protocol.V5) as (client, heard):
        for number in range(300):
            client.publish(Publication("room", b"%d" % number))
        assert client.flush(60)
        eventually(lambda: len(heard.messages) == 300)
        assert len(heard.protocols) == 1


def test_whether_everything_is_read_is_known_when_the_network_thread_has_read_all(
    broker: Broker,
) -> None:
    class Slow(Recorder):
        entered, may_go_on = threading.Event(), threading.Event()

        def message(self, message: Inbound) -> None:
            self.entered.set()
            assert self.may_go_on.wait(60)
            super().message(message)

    slow = Slow()
    with client_of(broker, "room", recorder=slow) as (client, heard):
        eventually(lambda: client.connected)
        client.read_all()
        eventually(lambda: client.has_read_all)
        client.publish(Publication("room", b"held up"))
        assert slow.entered.wait(60)
        client.read_all()
        never(lambda: client.has_read_all, 0.2)
        slow.may_go_on.set()
        # Also where it sleeps, as nothing comes in any more.
        for _ in range(10):
            client.read_all()
            eventually(lambda: client.has_read_all)
        assert heard.payloads("room") == [b"held up"]


def test_where_there_is_no_connection_nothing_waits_to_be_read(broker: Broker) -> None:
    options = ClientOptions(config=MqttConfig(), host=broker.host, port=broker.port)
    client = MqttClient(options)
    client.read_all()
    assert client.has_read_all
    client.stop(1)


def test_filters_can_come_and_go(broker: Broker) -> None:
    with connected_to(broker, "room") as (client, heard):
        client.publish(Publication("hall", b"kept", retain=True))
        assert client.flush(60)
        client.subscribe(("hall",))
        eventually(lambda: heard.payloads("hall") == [b"kept"])
        client.unsubscribe(("hall",))
        eventually(lambda: _unheard(client, heard))


def _unheard(client: MqttClient, heard: Recorder) -> bool:
    """Whether a message on `hall` no longer comes, judged by one on `room` after it."""
    heard.messages.clear()
    client.publish(Publication("hall", b"new"))
    client.publish(Publication("room", b"mark"))
    eventually(lambda: heard.payloads("room"))
    return not heard.payloads("hall")


@needs_mosquitto
@pytest.mark.parametrize("protocol", [Protocol.AUTO, Protocol.V5, Protocol.V311])
def test_refused_credentials_are_said_once_and_loud_and_not_tried_again_soon(
    mosquitto: MakeMosquitto, caplog: pytest.LogCaptureFixture, protocol: Protocol
) -> None:
    broker = mosquitto(MosquittoOptions(users={"service": "right"}))
    config = MqttConfig(username="service", protocol=protocol)
    with client_of(broker, config=config, password="wr0ng-secret") as (client, heard):
        eventually(lambda: errors(caplog))
        never(lambda: len(errors(caplog)) > 1 or client.connected, 2.0)
    (line,) = errors(caplog)
    assert "mqtt.password" in line
    assert "30 s" in line
    assert "wr0ng-secret" not in caplog.text
    assert heard.protocols == heard.reasons == []


@needs_mosquitto
def test_user_and_password_are_accepted(mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(MosquittoOptions(users={"service": "right"}))
    config = MqttConfig(username="service")
    with client_of(broker, config=config, password="right") as (client, _):
        eventually(lambda: client.connected)


@needs_mosquitto
def test_a_refused_publication_is_named_and_not_sent_for_ever(
    mosquitto: MakeMosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(MosquittoOptions(acl="topic readwrite open/#\n"))
    with connected_to(broker, "open/a", protocol=Protocol.V5) as (client, _):
        client.publish(Publication("closed", b""))
        assert client.flush(60)
    assert any("message to closed" in line for line in errors(caplog))


@needs_mosquitto
def test_mqtt_5_keeps_messages_away_that_are_too_large(broker: Broker) -> None:
    small = MqttConfig(max_payload_kib=16, protocol=Protocol.V5)
    with (
        client_of(broker, "room", config=small) as (client, heard),
        connected_to(broker) as (speaker, _),
    ):
        eventually(lambda: client.connected)
        speaker.publish(Publication("room", bytes(200_000)))
        speaker.publish(Publication("room", b"after"))
        eventually(lambda: heard.messages)
        assert heard.payloads("room") == [b"after"]
        assert heard.reasons == []


def test_a_publication_that_mqtt_does_not_allow_is_lost_alone(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with connected_to(broker, "room") as (client, heard):
        client.publish(Publication("no/#/wildcards", b""))
        client.publish(Publication("room", b"fine"))
        eventually(lambda: heard.payloads("room"))
        assert client.flush(60)
        assert client.lost_publications == 1
    assert errors(caplog)


@needs_mosquitto
@pytest.mark.parametrize("protocol", [Protocol.V5, Protocol.V311])
def test_two_clients_with_one_identifier_name_it_and_do_not_fill_the_log(
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    protocol: Protocol,
) -> None:
    monkeypatch.setattr(reconnect, "SUSPECTED_DELAYS_S", (1.0,))
    caplog.set_level(logging.INFO)
    config = MqttConfig(client_id="the-same", protocol=protocol)
    with client_of(broker, config=config) as (first, one):
        eventually(lambda: first.connected)
        with client_of(broker, config=config) as (_, other):
            eventually(lambda: "mqtt.client_id: the-same" in caplog.text)

            def greetings() -> list[str]:
                return [
                    record.getMessage()
                    for record in caplog.records
                    if record.levelno == logging.INFO
                ]

            # From here on not every connection is worth a line.
            eventually(lambda: len(greetings()) < len(one.protocols) + len(other.protocols))
            eventually(lambda: len(one.reasons) + len(other.reasons) >= 4)
            warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
            # Of two clients: what happened, and once what is behind it.
            assert len(warnings) <= 4


class Moody(Recorder):
    """Fails at everything it hears, after remembering it."""

    def connected(self, protocol: str) -> None:
        super().connected(protocol)
        raise RuntimeError("connected")

    def disconnected(self, reason: str) -> None:
        super().disconnected(reason)
        raise RuntimeError("disconnected")

    def message(self, message: Inbound) -> None:
        super().message(message)
        raise RuntimeError("message")


def test_a_listener_that_fails_stops_nothing_and_does_not_flood_the_log(
    broker: Broker, relay: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(relay, "room", recorder=Moody()) as (client, heard):
        eventually(lambda: client.connected)
        for _ in range(50):
            client.publish(Publication("room", b""))
        eventually(lambda: len(heard.messages) == 50)
        relay.cut()
        eventually(lambda: len(heard.protocols) == 2)
        client.publish(Publication("room", b"again"))
        eventually(lambda: heard.payloads("room")[-1] == b"again")
    assert 1 <= len(errors(caplog)) <= 4


def test_a_crash_of_the_network_thread_is_logged_and_the_connection_made_anew(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with connected_to(broker, "room") as (client, heard):
        good = Receiver.loop_misc
        crashes = [RuntimeError("a bug")]

        def crash_once(self: Receiver) -> object:
            if crashes:
                raise crashes.pop()
            return good(self)

        monkeypatch.setattr(Receiver, "loop_misc", crash_once)
        client.publish(Publication("room", b"1"))
        eventually(lambda: len(heard.protocols) == 2)
        assert client.flush(60)
        eventually(lambda: heard.payloads("room"))
        assert len(heard.reasons) == 1
    assert any("failed unexpectedly" in line for line in errors(caplog))


def test_many_threads_may_publish_at_once(broker: Broker) -> None:
    with connected_to(broker, "room/+") as (client, heard):

        def publish(name: int) -> None:
            for number in range(300):
                client.publish(Publication(f"room/{name}", b"%d" % number))

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(60)
        expected = [b"%d" % number for number in range(300)]
        eventually(lambda: len(heard.messages) == 1200)
        assert all(heard.payloads(f"room/{name}") == expected for name in range(4))


def test_the_password_is_in_no_representation() -> None:
    options = ClientOptions(MqttConfig(), "localhost", 1883, WILL, "s3cret")
    assert "s3cret" not in repr(options)


def test_a_message_over_the_limit_costs_nobody_else_a_word(broker: Broker) -> None:
    config = MqttConfig(protocol=Protocol.V311, max_payload_kib=64)
    with client_of(broker, "room/#", config=config) as (client, heard):
        eventually(lambda: client.connected)
        with connected_to(broker) as (other, _):
            for topic, size in (("room/a", 10), ("room/b", 3_000_000), ("room/c", 10)):
                other.publish(Publication(topic, bytes(size)))
            eventually(lambda: len(heard.messages) == 2)
        assert [message.topic for message in heard.messages] == ["room/a", "room/c"]
        assert heard.large == ["room/b"]
        assert client.too_large_messages == 1
        assert client.connections == 1


def test_a_broker_that_takes_nothing_fills_the_outbox_to_its_bound_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def accept_and_read_nothing(sock: socket.socket, _connect: bytes) -> None:
        sock.sendall(b"\x20\x02\x00\x00")
        over.wait(60)

    over = threading.Event()
    server = FakeServer(accept_and_read_nothing)
    try:
        with client_of(server, config=MqttConfig(protocol=Protocol.V311)) as (client, _):
            eventually(lambda: client.connected)
            for _ in range(MAX_PUBLICATIONS + 10):
                client.publish(Publication("room/result", bytes(100)))
            assert client.waiting[0] == MAX_PUBLICATIONS * 9 // 10
            assert client.lost_publications == MAX_PUBLICATIONS // 10 + 10
            client.publish(Publication("room/state", b"idle", retain=True))
            assert client.waiting[0] == MAX_PUBLICATIONS * 9 // 10 + 1
            over.set()
    finally:
        over.set()
        server.close()
    assert sum("new ones are lost" in text for text in caplog.messages) == 1
