"""Checks the ports that the service listens on: free, its own, or taken by another program."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_mqtt.config import BrokerMode, Config, ListenAddress, Scheme
from stt_mqtt.doctor.report import Finding, fail, ok
from stt_mqtt.doctor.subject import Subject

NAME = "ports"
ANSWER_S = 1.0
"""Longest time for a connection, and for each part of the answer."""
ANSWER_BYTES = 65536
"""Most of an answer that is read."""
OURS = b"stt-mqtt"
"""The description of the service over Wyoming names the program."""
DESCRIBE = b'{"type": "describe"}\n'
GET = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
"""Every response of the pages names the program in its headers."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that the service listens on. `key`: where it is configured.

    `question`: to which the service answers with its name. None: the answer would not tell.
    """

    key: str
    address: ListenAddress
    question: bytes | None = None
    tls: bool = False


def check_ports(subject: Subject) -> list[Finding]:
    """One finding for each address."""
    findings = [_examined(listener) for listener in listeners_of(subject.config)]
    return findings or [ok(NAME, "the service listens on no port")]


def listeners_of(config: Config) -> Iterator[Listener]:
    """All addresses that the service listens on. A worker of a fleet listens on none."""
    if not config.has_doors:
        return
    if config.wyoming.enabled:
        for address in config.wyoming.addresses:
            if address.scheme is not Scheme.STDIO:
                yield Listener("wyoming.listen", address, DESCRIBE)
    if config.web.enabled:
        address = ListenAddress(Scheme.TCP, config.web.host, config.web.port)
        yield Listener("web.port", address, GET, tls=config.web.cert_file is not None)
    broker = config.broker
    if broker.mode is BrokerMode.EMBEDDED:
        yield Listener("broker.port", ListenAddress(Scheme.TCP, broker.listen, broker.port))


def _examined(listener: Listener) -> Finding:
    where = f"{listener.key} {listener.address.uri}"
    try:
        with _connected(listener.address) as sock:
            taken_by_us = listener.question is None or _names_us(sock, listener)
    except OSError:
        return _unless_impossible(listener, where)
    if taken_by_us:
        return ok(NAME, f"{where} is in use by the service")
    return fail(
        NAME,
        f"{where} is taken by another program",
        f"end that program, or change {listener.key}",
    )


def _unless_impossible(listener: Listener, where: str) -> Finding:
    """Nobody listens there. Can the service?"""
    address = listener.address
    try:
        if address.scheme is Scheme.UNIX:
            folder = Path(address.path).parent
            if not folder.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}")
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            with socket.socket(family) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address.host, address.port))
    except OSError as error:
        return fail(
            NAME,
            f"the service cannot listen on {where}: {error.strerror or error}",
            f"change {listener.key}",
        )
    return ok(NAME, f"{where} is free")


def _connected(address: ListenAddress) -> socket.socket:
    """A connection to whoever listens there. Raises OSError."""
    if address.scheme is Scheme.UNIX:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(ANSWER_S)
            sock.connect(address.path)
        except OSError:
            sock.close()
            raise
        return sock
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return socket.create_connection((host, address.port), ANSWER_S)


def _names_us(sock: socket.socket, listener: Listener) -> bool:
    """Whether the answer to the question names this program."""
    answer = b""
    try:
        sock.settimeout(ANSWER_S)
        with _trusting_context().wrap_socket(sock) if listener.tls else sock as channel:
            channel.sendall(listener.question or b"")
            while len(answer) < ANSWER_BYTES and OURS not in answer:
                part = channel.recv(4096)
                if not part:
                    break
                answer += part
    except OSError:
        return False
    return OURS in answer


def _trusting_context() -> ssl.SSLContext:
    """Takes any certificate: nothing secret is sent, and only the name of the program is read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
