from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_mqtt.app.broker import instance_id
from stt_mqtt.config import BrokerMode
from stt_mqtt.core.probe import Evidence
from stt_mqtt.doctor import broker as checked
from stt_mqtt.doctor import services
from stt_mqtt.doctor.broker import check_broker
from stt_mqtt.doctor.ports import check_ports
from stt_mqtt.doctor.report import Finding, Status
from stt_mqtt.doctor.services import is_of_another, keep_out
from stt_mqtt.doctor.subject import RunningService
from tests.doctor.subjects import SOUND, at, only, statuses, subject_of
from tools.brokers import (
    Broker,
    Certificates,
    EmbeddedProcess,
    FakeServer,
    Mosquitto,
    MosquittoOptions,
    free_port,
    make_certificates,
    needs_mosquitto,
    sign,
)
from tools.program import Peer, Service, await_online, running

MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]
MakeEmbedded = Callable[[tuple[str, str] | None], EmbeddedProcess]

LOGIN = {"username": "stt", "password": "right horse"}
USERS = {"stt": "right horse"}
ALL_RIGHTS = """user stt
topic readwrite stt/#
topic readwrite homeassistant/#
topic readwrite hermes/#
topic readwrite rhasspy/#
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make a check fail. Only silence takes so long."""
    monkeypatch.setattr(services, "CONNECT_S", 60.0)
    monkeypatch.setattr(services, "ANSWER_S", 60.0)
    monkeypatch.setattr(checked, "ECHO_S", 60.0)
    monkeypatch.setattr(services, "SERVICE_S", 60.0)


@pytest.fixture
def something_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something will not come back, so waiting for long shows nothing."""
    monkeypatch.setattr(checked, "ECHO_S", 1.0)


def findings_at(broker: Broker | FakeServer, /, **mqtt: object) -> list[Finding]:
    return check_broker(subject_of(SOUND, None, mqtt=at(broker, **mqtt)))


def with_rights(make: MakeMosquitto, acl: str, **mqtt: object) -> list[Finding]:
    broker = make(MosquittoOptions(users=USERS, acl=acl))
    return findings_at(broker, **LOGIN, **mqtt)


def test_a_broker_without_a_service_has_nothing_wrong(broker: Broker) -> None:
    findings = findings_at(broker)
    assert {finding.status for finding in findings} == {Status.OK}
    assert "answers in MQTT" in only(findings, "broker").detail
    assert only(findings, "service").detail == "no service runs on the base topic stt"
    assert "no service is announced" in only(findings, "discovery").detail


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_rights_of_the_documentation_are_enough(
    mosquitto: MakeMosquitto, protocol: str
) -> None:
    findings = with_rights(mosquitto, ALL_RIGHTS, protocol=protocol)
    assert {finding.status for finding in findings} == {Status.OK}
    assert f"MQTT {protocol}" in only(findings, "broker").detail
    assert "login is accepted" in only(findings, "broker").detail


@needs_mosquitto
def test_a_wrong_password_is_a_fault_of_the_configuration(mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(MosquittoOptions(users=USERS))
    (finding,) = findings_at(broker, username="stt", password="wrong")
    assert (finding.name, finding.status, finding.temporary) == ("broker", Status.FAIL, False)
    assert "mqtt.password" in finding.what_to_do


def test_a_broker_that_is_down_may_come_back() -> None:
    (finding,) = check_broker(subject_of(mqtt={"host": "127.0.0.1", "port": free_port()}))
    assert (finding.name, finding.status, finding.temporary) == ("broker", Status.FAIL, True)
    assert "cannot be reached" in finding.detail
    assert "mqtt.host" in finding.what_to_do


def test_a_port_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "CONNECT_S", 0.2)

    def say_nothing(sock: socket.socket, _: bytes) -> None:
        sock.recv(1)

    server = FakeServer(say_nothing)
    try:
        (finding,) = findings_at(server)
    finally:
        server.close()
    assert finding.detail == f"127.0.0.1:{server.port} does not answer in time"


def test_a_broker_of_mqtt_3_is_found_as_the_service_finds_it() -> None:
    def only_old(sock: socket.socket, connect: bytes) -> None:
        if connect[connect.index(b"MQTT") + 4] == 4:
            sock.sendall(b"\x20\x02\x00\x05")

    server = FakeServer(only_old)
    try:
        (finding,) = findings_at(server)
    finally:
        server.close()
    assert server.protocol_levels() == [5, 4]
    assert "refuses the connection" in finding.detail


@pytest.mark.usefixtures("something_missing")
@needs_mosquitto
def test_a_user_who_may_write_nothing_is_told_which_right_is_missing(
    mosquitto: MakeMosquitto,
) -> None:
    findings = with_rights(mosquitto, ALL_RIGHTS.replace("readwrite", "read"))
    failures = [finding for finding in findings if finding.status is Status.FAIL]
    assert {finding.name for finding in failures} == {"rights"}
    assert any("stt/stt-mqtt-doctor/reply/doctor" in finding.detail for finding in failures)
    assert all("right to write it" in finding.what_to_do for finding in failures)
    discovery = [finding for finding in findings if "homeassistant/device" in finding.detail]
    assert [finding.status for finding in discovery] == [Status.WARN]
    assert "homeassistant.enabled: false" in discovery[0].what_to_do


@pytest.mark.usefixtures("something_missing")
@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_user_who_may_read_nothing_is_found_although_the_broker_says_nothing(
    mosquitto: MakeMosquitto, protocol: str
) -> None:
    findings = with_rights(
        mosquitto, ALL_RIGHTS.replace("readwrite stt", "write stt"), protocol=protocol
    )
    failures = [finding for finding in findings if finding.status is Status.FAIL]
    assert {finding.name for finding in failures} == {"rights"}
    assert all("right to read it" in finding.what_to_do for finding in failures)
    assert any("audio/abort" in finding.detail for finding in failures)


@pytest.mark.usefixtures("something_missing")
@needs_mosquitto
def test_a_user_who_cannot_ask_for_other_services_is_warned(mosquitto: MakeMosquitto) -> None:
    acl = "user stt\ntopic deny stt/bridge/request/health_check\n" + ALL_RIGHTS
    findings = with_rights(mosquitto, acl.replace("user stt\ntopic readwrite", "topic readwrite"))
    assert statuses(findings, "rights") == {Status.WARN}
    assert "cannot find another one" in only(findings, "rights").detail
    assert only(findings, "service").detail.startswith("whether a service runs")


def test_a_running_service_answers_and_notices_nothing(tmp_path: Path, broker: Broker) -> None:
    doors = {"web": {"port": free_port()}, "wyoming": {"enabled": False}}
    with running(tmp_path, broker, homeassistant={"enabled": True}, **doors) as (_, peer):
        before = len(peer.messages)
        findings = check_broker(subject_of(SOUND, None, mqtt=at(broker), **doors))
        assert {finding.status for finding in findings} == {Status.OK}
        assert "a service answers on the base topic stt" in only(findings, "service").detail
        assert only(findings, "discovery").detail.startswith("the service is announced")
        peer.publish("stt/bridge/request/devices", b"{}")
        (answer,) = peer.json("stt/bridge/response/devices")
        assert answer["data"] == {"devices": {}}
        told = {message.topic for message in peer.messages[before:]} - {
            "stt/bridge/health",
            "stt/bridge/request/health_check",
            "stt/bridge/response/health_check",
            "stt/bridge/request/devices",
            "stt/bridge/response/devices",
            "stt/stt-mqtt-doctor/reply/doctor",
        }
        assert not told


def test_two_services_on_one_topic_are_a_warning(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "SILENCE_S", 60.0)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    shared = {"takeover": True}
    with running(tmp_path / "one", broker, Service, mqtt=shared) as (_, peer):
        peer.messages.clear()
        second = Service(tmp_path / "two", broker, mqtt=shared)
        try:
            await_online(second, peer)
            findings = findings_at(broker, takeover=True)
        finally:
            second.stop()
    assert statuses(findings, "service") == {Status.WARN}
    assert "2 services answer" in only(findings, "service").detail


def test_a_service_elsewhere_keeps_one_with_this_base_topic_from_running_here(
    tmp_path: Path, broker: Broker
) -> None:
    """As `run` does, which ends with the same status."""
    elsewhere = {"port": free_port()}
    with running(tmp_path, broker, Service) as (_, _peer):
        findings = check_broker(
            subject_of(mqtt=at(broker), web=elsewhere, wyoming={"enabled": False})
        )
        (tmp_path / "second").mkdir()
        second = Service(tmp_path / "second", broker, web=elsewhere)
        assert second.end() == 78
        shared = findings_at(broker, takeover=True)
        # No port tells whether the service runs here.
        silent = {"web": {"enabled": False}, "wyoming": {"enabled": False}}
        unknown = check_broker(subject_of(SOUND, None, mqtt=at(broker), **silent))
    finding = only(findings, "service")
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert "answers on the base topic stt, and none runs here" in finding.detail
    assert "another mqtt.base_topic" in finding.what_to_do
    assert statuses(shared, "service") == {Status.OK}
    assert statuses(unknown, "service") == {Status.OK}


def test_gateways_of_one_fleet_are_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "is_service_here", lambda _config: False)
    gateway = subject_of(fleet={"role": "gateway", "name": "home"})
    assert not keep_out([instance_id(gateway.config)], gateway)
    assert keep_out(["of another one"], gateway)


@pytest.mark.parametrize(("state", "status"), [("online", Status.WARN), ("offline", Status.OK)])
def test_a_service_that_says_online_and_does_not_answer_is_a_warning(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, state: str, status: Status
) -> None:
    monkeypatch.setattr(services, "SERVICE_S", 0.3)
    peer = Peer(broker)
    try:
        peer.publish("stt/bridge/state", state, retain=True)
        findings = findings_at(broker)
    finally:
        peer.close()
    assert statuses(findings, "service") == {status}


@pytest.mark.parametrize(("state", "status"), [("online", Status.OK), ("offline", Status.WARN)])
def test_home_assistant_says_whether_it_is_there(
    broker: Broker, state: str, status: Status
) -> None:
    peer = Peer(broker)
    try:
        peer.publish("homeassistant/status", state, retain=True)
        findings = findings_at(broker)
    finally:
        peer.close()
    assert statuses(findings, "discovery") == {status}
    assert f"homeassistant/status says {state}" in only(findings, "discovery").detail


def test_doors_that_are_switched_off_are_not_checked(broker: Broker) -> None:
    peer = Peer(broker, "homeassistant/#")
    try:
        findings = check_broker(
            subject_of(mqtt=at(broker), homeassistant={"enabled": False}, hermes={"enabled": False})
        )
        assert {finding.name for finding in findings} == {"broker", "rights", "service"}
        assert not peer.messages
    finally:
        peer.close()


@needs_mosquitto
def test_tls_is_checked_with_its_certificates(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    good = findings_at(broker, tls={"ca_file": str(certificates.ca)})
    assert "with TLS" in only(good, "broker").detail
    (unknown,) = findings_at(broker, tls={})
    assert (unknown.status, unknown.temporary) == (Status.FAIL, False)
    assert "certificate of localhost" in unknown.detail
    assert "mqtt.tls.ca_file" in unknown.what_to_do
    (missing,) = findings_at(broker, tls={"ca_file": "/nowhere/ca.pem"})
    assert (missing.status, missing.temporary) == (Status.FAIL, False)
    assert "/nowhere/ca.pem cannot be read" in missing.detail


@needs_mosquitto
def test_a_wrong_certificate_authority_is_a_fault_of_the_configuration(
    mosquitto: MakeMosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    other = make_certificates(tmp_path)
    (finding,) = findings_at(broker, tls={"ca_file": str(other.ca)})
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert "mqtt.tls.ca_file" in finding.what_to_do


@needs_mosquitto
def test_a_certificate_that_has_expired_may_be_a_matter_of_the_clock(
    mosquitto: MakeMosquitto, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    sign(tmp_path, "server", days=-1)
    broker = mosquitto(MosquittoOptions(certificates=certificates))
    (finding,) = findings_at(broker, tls={"ca_file": str(certificates.ca)})
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do == "check the clock of this machine, or renew the certificate"


@needs_mosquitto
@pytest.mark.parametrize("users", [USERS, {}])
def test_tls_at_a_port_without_it_is_a_fault_of_the_configuration(
    mosquitto: MakeMosquitto, users: dict[str, str]
) -> None:
    broker = mosquitto(MosquittoOptions(users=users))
    (finding,) = findings_at(broker, tls={})
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.detail.endswith("answers in MQTT without TLS")
    assert "mqtt.port on which it expects TLS" in finding.what_to_do


@needs_mosquitto
def test_no_tls_at_a_port_that_expects_it_is_a_fault_of_the_configuration(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    (finding,) = findings_at(mosquitto(MosquittoOptions(certificates=certificates)))
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.detail.endswith("expects TLS")
    assert finding.what_to_do.startswith("set mqtt.tls")


@needs_mosquitto
def test_a_client_certificate_that_is_missing_is_a_fault_of_the_configuration(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    broker = mosquitto(MosquittoOptions(certificates=certificates, client_certificate=True))
    (finding,) = findings_at(broker, tls={"ca_file": str(certificates.ca)})
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.what_to_do == "check mqtt.tls.cert_file"


def answering(answer: bytes, **mqtt: object) -> Finding:
    """What is found at a program that gives this answer to everything and hangs up."""
    server = FakeServer(lambda sock, _: sock.sendall(answer))
    try:
        (finding,) = findings_at(server, **mqtt)
    finally:
        server.close()
    return finding


def test_a_program_that_hangs_up_on_everything_may_be_one_that_starts() -> None:
    assert answering(b"").temporary
    assert answering(b"", tls={}).temporary


def test_a_program_that_answers_tls_with_words_is_not_the_broker() -> None:
    finding = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", tls={})
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.what_to_do == "check the port and mqtt.tls"


def test_a_version_of_mqtt_that_the_broker_does_not_speak_is_a_fault_of_the_configuration() -> None:
    finding = answering(b"\x20\x02\x00\x01", protocol="3.1.1")
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert "mqtt.protocol" in finding.what_to_do


def test_a_broker_that_is_busy_may_take_the_service_later() -> None:
    finding = answering(b"\x20\x02\x00\x03", protocol="3.1.1")
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do == "look at the log of the broker"


@needs_mosquitto
def test_who_has_no_login_is_told_to_set_one(
    mosquitto: MakeMosquitto, certificates: Certificates
) -> None:
    (finding,) = findings_at(mosquitto(MosquittoOptions(users=USERS)))
    assert finding.what_to_do == "set mqtt.username and mqtt.password or password_file"
    broker = mosquitto(MosquittoOptions(users=USERS, certificates=certificates))
    shown = {"cert_file": str(certificates.client), "key_file": str(certificates.client_key)}
    (finding,) = findings_at(broker, tls={"ca_file": str(certificates.ca), **shown})
    assert finding.what_to_do.startswith("check mqtt.tls.cert_file, or set mqtt.username")


def test_a_service_that_runs_with_another_login_for_its_broker_is_to_be_restarted(
    embedded: MakeEmbedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "is_service_here", lambda _config: True)
    process = embedded(("stt", "before"))
    changed = {"username": "stt", "password": "after"}
    subject = subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": process.port}, mqtt=changed)
    (finding,) = check_broker(subject)
    assert (finding.status, finding.what_to_do) == (Status.WARN, "restart the service")


def test_a_service_whose_embedded_broker_is_gone_is_to_be_restarted() -> None:
    service = RunningService(connected=False, rung="default", probe=lambda: Evidence(0.0))
    embedded = {"mode": BrokerMode.EMBEDDED, "port": free_port()}
    (finding,) = check_broker(subject_of(SOUND, service, broker=embedded))
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do == "look at the log of the service, and restart it"


def test_an_embedded_broker_needs_a_running_service(embedded: MakeEmbedded) -> None:
    port = free_port()
    (finding,) = check_broker(subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": port}))
    assert finding.status is Status.WARN
    assert finding.what_to_do == "start the service, then run this again"


def test_the_embedded_broker_of_a_running_service_is_checked(
    tmp_path: Path, embedded: MakeEmbedded
) -> None:
    process = embedded(None)
    subject = subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": process.port})
    with running(tmp_path, process):
        findings = check_broker(subject)
        ports = check_ports(subject)
    assert {finding.status for finding in findings} == {Status.OK}
    assert ports[-1].detail.endswith("is in use by the service")


def test_the_port_of_an_embedded_broker_that_another_broker_has_is_a_fault(
    broker: Broker, embedded: MakeEmbedded
) -> None:
    for other in (broker, embedded(None)):
        subject = subject_of(
            broker={"mode": BrokerMode.EMBEDDED, "port": other.port},
            web={"port": free_port()},
            wyoming={"enabled": False},
        )
        (finding,) = check_broker(subject)
        assert (finding.status, finding.temporary) == (Status.FAIL, False)
        assert finding.what_to_do == "see ports"
        _, port = check_ports(subject)
        assert (port.status, port.temporary) == (Status.FAIL, False)
        assert "is taken by another program" in port.detail
        assert "choose another broker.port, or set broker: external" in port.what_to_do


@needs_mosquitto
def test_a_broker_that_another_service_uses_is_not_the_embedded_one(
    tmp_path: Path, mosquitto: MakeMosquitto
) -> None:
    """A service answers there, but the broker speaks MQTT 5. It is not told the login."""
    broker = mosquitto(MosquittoOptions())
    subject = subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": broker.port})
    with running(tmp_path, broker):
        assert is_of_another(subject)
    refusing = mosquitto(MosquittoOptions(users=USERS))
    assert is_of_another(subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": refusing.port}))


def test_while_the_model_is_loaded_the_pages_tell_whose_the_embedded_broker_is(
    embedded: MakeEmbedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = embedded(None)
    subject = subject_of(broker={"mode": BrokerMode.EMBEDDED, "port": process.port})
    monkeypatch.setattr(services, "is_service_here", lambda _config: True)
    assert not is_of_another(subject)


def test_the_service_itself_may_have_lost_the_connection(broker: Broker) -> None:
    service = RunningService(connected=False, rung="default", probe=lambda: Evidence(0.0))
    findings = check_broker(subject_of(SOUND, service, mqtt=at(broker)))
    assert statuses(findings, "broker") == {Status.FAIL}
    assert only(findings, "broker").temporary
    assert "the service is not connected" in only(findings, "broker").detail


def test_the_check_leaves_nothing_on_the_broker(broker: Broker) -> None:
    findings_at(broker)
    peer = Peer(broker, "#")
    try:
        peer.publish("after", json.dumps({}))
        assert all(not message.retain for message in peer.messages)
    finally:
        peer.close()


def test_a_broker_that_takes_the_login_and_then_answers_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "ANSWER_S", 0.2)
    monkeypatch.setattr(checked, "ECHO_S", 0.2)

    def only_connect(sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"\x20\x02\x00\x00")
        while sock.recv(65536):
            pass

    server = FakeServer(only_connect)
    try:
        findings = findings_at(server, protocol="3.1.1")
    finally:
        server.close()
    failures = [finding for finding in findings if finding.status is Status.FAIL]
    assert [finding.name for finding in failures] == ["rights", "rights"]
    assert all(finding.temporary for finding in failures)
    assert "does not answer the subscription to" in failures[0].detail
    assert "does not answer a message to" in failures[1].detail
