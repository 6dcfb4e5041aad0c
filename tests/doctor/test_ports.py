from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stt_mqtt.doctor import listeners, ports
from stt_mqtt.doctor.listeners import is_service_here
from stt_mqtt.doctor.ports import check_ports
from stt_mqtt.doctor.report import Finding, Status
from tests.doctor.subjects import SOUND, subject_of
from tools.brokers import Certificates, free_port


@contextmanager
def program(answer: bytes, address: str | tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[int]:
    """A program that reads something, answers and hangs up. The port that it listens on."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock, suppress(OSError):
                    sock.recv(4096)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            name = listener.getsockname()
            yield 0 if isinstance(name, str) else name[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make a check fail."""
    monkeypatch.setattr(listeners, "ANSWER_S", 30.0)


def of_wyoming(*listen: str) -> list[Finding]:
    return check_ports(subject_of(wyoming={"listen": listen}, web={"enabled": False}))


def test_a_free_port_is_free() -> None:
    (finding,) = of_wyoming(f"tcp://127.0.0.1:{free_port()}")
    assert finding.status is Status.OK
    assert finding.detail.endswith("is free")


def test_a_port_of_the_running_service_is_its_own() -> None:
    info = b'{"type": "info", "data_length": 30}\n{"asr": [{"name": "stt-mqtt"}]}'
    with program(info) as port:
        (finding,) = of_wyoming(f"tcp://127.0.0.1:{port}")
    assert finding.status is Status.OK
    assert finding.detail.endswith("is in use by the service")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x" * 200_000])
def test_a_port_of_another_program_is_a_fault(answer: bytes) -> None:
    with program(answer) as port:
        (finding,) = of_wyoming(f"tcp://127.0.0.1:{port}")
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.detail.endswith("is taken by another program")
    assert finding.what_to_do == "end that program, or change wyoming.listen"


def test_the_pages_are_known_by_the_name_in_their_headers() -> None:
    answer = b"HTTP/1.1 303 See Other\r\nServer: stt-mqtt\r\n\r\n"
    with program(answer) as port:
        (finding,) = check_ports(subject_of(wyoming={"enabled": False}, web={"port": port}))
    assert finding.detail.startswith("web.port tcp://127.0.0.1")
    assert finding.detail.endswith("is in use by the service")


def test_a_program_without_tls_where_the_pages_have_it_is_another_one(
    certificates: Certificates,
) -> None:
    tls = {"cert_file": str(certificates.server), "key_file": str(certificates.server_key)}
    with program(b"stt-mqtt in plain text") as port:
        (finding,) = check_ports(subject_of(wyoming={"enabled": False}, web={"port": port, **tls}))
    assert finding.status is Status.FAIL


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    (finding,) = of_wyoming(f"tcp://192.0.2.1:{free_port()}")
    assert finding.status is Status.FAIL
    assert "cannot listen on" in finding.detail or "taken by another" in finding.detail


def test_a_unix_socket_needs_its_folder(tmp_path: Path) -> None:
    (fine,) = of_wyoming(f"unix://{tmp_path}/wyoming.sock")
    assert fine.status is Status.OK
    (finding,) = of_wyoming(f"unix://{tmp_path}/nowhere/wyoming.sock")
    assert finding.status is Status.FAIL
    assert f"there is no folder {tmp_path}/nowhere" in finding.detail


def test_a_unix_socket_takes_the_place_of_a_dead_one_and_of_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (fine,) = of_wyoming(f"unix://{path}")
    assert fine.status is Status.OK
    path.unlink()
    path.touch()
    (finding,) = of_wyoming(f"unix://{path}")
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert "a file that is no socket is there" in finding.detail


def test_a_unix_socket_needs_the_right_to_write_into_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    (finding,) = of_wyoming(f"unix://{tmp_path}/w.sock")
    assert finding.status is Status.FAIL
    assert f"the folder {tmp_path} cannot be written" in finding.detail


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"web": {"host": "192.0.2.1", "ingress": True}}, "web.host"),
        ({"broker": {"mode": "embedded", "listen": "192.0.2.1"}}, "broker.listen"),
    ],
)
def test_an_address_that_the_machine_lacks_is_changed_where_it_is_configured(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, object], key: str
) -> None:
    def away(_address: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(ports, "connected", away)
    closed = {"wyoming": {"enabled": False}, "web": {"enabled": False}}
    (finding,) = check_ports(subject_of(SOUND, None, **{**closed, **config}))
    assert "cannot listen on" in finding.detail
    assert finding.what_to_do == f"change {key}"


def test_two_doors_on_one_port_are_a_fault() -> None:
    port = free_port()
    pages, broker = check_ports(
        subject_of(
            wyoming={"enabled": False},
            web={"port": port},
            broker={"mode": "embedded", "port": port},
        )
    )
    assert pages.status is Status.OK
    assert (broker.status, broker.temporary) == (Status.FAIL, False)
    assert broker.detail == f"broker.port tcp://127.0.0.1:{port} is also that of web.port"


def test_without_their_libraries_the_pages_do_not_tell_whether_a_service_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "find_spec", lambda _module: None)
    assert is_service_here(subject_of(wyoming={"enabled": False}).config) is None


def test_a_unix_socket_of_another_program_is_a_fault(tmp_path: Path) -> None:
    path = str(tmp_path / "w.sock")
    with program(b"hello", path):
        (finding,) = of_wyoming(f"unix://{path}")
    assert finding.status is Status.FAIL


def test_the_port_of_an_embedded_broker_is_checked_and_stdio_is_not() -> None:
    findings = check_ports(
        subject_of(
            wyoming={"listen": ["stdio://"]},
            web={"enabled": False},
            broker={"mode": "embedded", "port": free_port()},
        )
    )
    assert [finding.detail.split()[0] for finding in findings] == ["broker.port"]
    (nothing,) = of_wyoming("stdio://")
    assert nothing.detail == "the service listens on no port"


def test_a_service_is_here_if_it_answers_on_an_address_of_the_configuration() -> None:
    with program(b"HTTP/1.1 200 OK\r\nServer: stt-mqtt\r\n\r\n") as port:
        here = subject_of(wyoming={"enabled": False}, web={"port": port})
        assert is_service_here(here.config)
    with program(b"another program") as port:
        elsewhere = subject_of(
            wyoming={"listen": [f"tcp://127.0.0.1:{free_port()}"]}, web={"port": port}
        )
        assert is_service_here(elsewhere.config) is False
    silent = subject_of(wyoming={"listen": ["stdio://"]}, web={"enabled": False})
    assert is_service_here(silent.config) is None
