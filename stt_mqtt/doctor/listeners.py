"""The addresses that the service listens on, and who answers there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from stt_mqtt.config import BrokerMode, Config, ListenAddress, Scheme

ANSWER_S = 1.0
"""Longest time for a connection, and for each part of the answer."""
ANSWER_BYTES = 65536
"""Most of an answer that is read."""
OURS = b"stt-mqtt"
"""The description of the service over Wyoming names the program."""
DESCRIBE = b'{"type": "describe"}\n'
PAGES = ("aiohttp", "prometheus_client")
"""Modules that the pages need."""
GET = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
"""Every response of the pages names the program in its headers."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that the service listens on. `key`: where it is configured; `host_key`: its host.

    `question`: to which the service answers with its name. None: the answer would not tell.
    """

    key: str
    host_key: str
    address: ListenAddress
    question: bytes | None = None
    tls: bool = False


def listeners_of(config: Config) -> Iterator[Listener]:
    """All addresses that the service listens on. A worker of a fleet listens on none."""
    if not config.has_doors:
        return
    if config.wyoming.enabled:
        for address in config.wyoming.addresses:
            if address.scheme is not Scheme.STDIO:
                yield Listener("wyoming.listen", "wyoming.listen", address, DESCRIBE)
    if config.web.enabled:
        address = ListenAddress(Scheme.TCP, config.web.host, config.web.port)
        tls = config.web.cert_file is not None
        yield Listener("web.port", "web.host", address, GET, tls)
    broker = config.broker
    if broker.mode is BrokerMode.EMBEDDED:
        address = ListenAddress(Scheme.TCP, broker.listen, broker.port)
        yield Listener("broker.port", "broker.listen", address)


def is_service_here(config: Config) -> bool | None:
    """Whether a service answers on an address of this configuration. None: none would tell."""
    telling = [
        one
        for one in listeners_of(config)
        if one.question == DESCRIBE or (one.question == GET and _has_pages())
    ]
    return any(_is_service(listener) for listener in telling) if telling else None


def connected(address: ListenAddress) -> socket.socket:
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


def names_us(sock: socket.socket, listener: Listener) -> bool:
    """Whether the answer to the question names this program."""
    answer = b""
    try:
        sock.settimeout(ANSWER_S)
        with trusting_context().wrap_socket(sock) if listener.tls else sock as channel:
            channel.sendall(listener.question or b"")
            while len(answer) < ANSWER_BYTES and OURS not in answer:
                part = channel.recv(4096)
                if not part:
                    break
                answer += part
    except OSError:
        return False
    return OURS in answer


def _has_pages() -> bool:
    """Whether the libraries of the pages are there. Without them, the service has no pages."""
    return all(find_spec(module) is not None for module in PAGES)


def _is_service(listener: Listener) -> bool:
    try:
        with connected(listener.address) as sock:
            return names_us(sock, listener)
    except OSError:
        return False


def trusting_context() -> ssl.SSLContext:
    """Takes any certificate: nothing secret is sent, and only the name of the program is read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
