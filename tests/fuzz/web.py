"""HTTP and WebSockets: bytes of browsers, through the door as it is, in virtual time.

Only the socket is not real. aiohttp parses, in C where it has that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import cast

from aiohttp import web

from stt_mqtt.core.clock import Clock
from stt_mqtt.doors.web import origin
from stt_mqtt.doors.web.door import Bounds, Secrets, WebDoor
from stt_mqtt.doors.web.listener import Connection
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.sessions import Sessions
from stt_mqtt.doors.web.socket_messages import PROTOCOL
from tests.core.speech import WORDS
from tests.fakes import heard
from tests.fuzz.choices import Choices
from tests.fuzz.hostile_json import Fields, chosen
from tests.fuzz.house import House, unanswered
from tests.fuzz.services import SETTINGS, START, VERDICTS, random_seeds
from tests.fuzz.target import Target
from tests.virtual_time import run_in_virtual_time

TOKEN = "correct-horse-battery-staple"
MOST_STEPS = 40
MOST_BROWSERS = 4
ROOMS = ("hall", "hall", "attic", "kitchen")
PATHS = (
    "/", "/mic", "/login", "/login?to=mic", "/metrics", "/healthz", "/readyz", "/events", "/status",
    "/ws?room=hall", "/assets/login.css", "/assets/../x", "/%00", "/ws?room=" + "x" * 3000, "*",
    "/machines", "/selfcheck", "//", "http://a/", "/mic/main.js", "/?x=%zz",
)  # fmt: skip
HOSTS = (
    "localhost:10380",
    "127.0.0.1",
    "evil.example",
    "[::1]:1",
    "[",
    "a:b",
    "localhost:99999",
    "",
)
ORIGINS = (
    "http://localhost:10380", "http://127.0.0.1", "null", "http://evil.example", "http://[",
    "http://a@localhost:10380", "http://localhost:10380/x", "http://localhost:" + "9" * 50, "\x80",
    "x" * 2000,
)  # fmt: skip
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Origin": ORIGINS,
    "Cookie": ("stt_mqtt_10380=1.x", "a=b; stt_mqtt_10380=9999999999.abc", '="', "x" * 3000),
    "Authorization": (f"Bearer {TOKEN}", "Bearer x", "Bearer \x80", "Basic eDp5", "Bearer"),
    "X-Forwarded-Host": HOSTS,
    "X-Forwarded-Proto": ("https", "x"),
    "Content-Length": ("0", "7", "-1", "99999999999999999999", "1, 2", "x"),
    "Transfer-Encoding": ("chunked", "gzip, chunked", "x"),
    "Expect": ("100-continue", "x"),
    "Last-Event-ID": ("1", "x"),
    "If-None-Match": ("*", '"x"', "W/"),
    "Accept-Encoding": ("gzip", "br;q=x"),
    "Range": ("bytes=0-1", "bytes=-", "bytes=9-1"),
}
UPGRADE = (
    "Host: localhost:10380\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
)
MESSAGES: Fields = {**START, **SETTINGS, "t": (1, 2.5), "id": ("own-1", "a", None)}
KINDS = ("start", "start", "start", "stop", "stop", "abort", "set", "ping", "pong")
LENGTHS = (0, 1, 125, 126, 127, 65_535, 65_537, 2**31, 2**63 - 1)


class BrowserTransport(asyncio.Transport):
    """The connection of a browser that reads everything, or nothing."""

    def __init__(self, is_deaf: bool) -> None:
        super().__init__()
        self.written = 0
        self._is_deaf = is_deaf
        self._protocol: asyncio.Protocol | None = None
        self._closing = False

    def connect(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def say(self, data: bytes) -> None:
        if self._protocol is not None and not self._closing:
            self._protocol.data_received(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 50_000) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return self.written if self._is_deaf else 0

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    abort = close

    def pause_reading(self) -> None:
        """What was said is taken all the same."""

    def resume_reading(self) -> None:
        """The same."""

    def _lose(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


async def _ready() -> None:
    return None


def _parts(house: House) -> WebParts:
    online = asyncio.Event()
    online.set()
    return WebParts(
        service=house.service,
        clock=cast(Clock, house.clock),
        native=house.native,
        online=online,
        rearm_timer=lambda: None,
        metrics=lambda: b"x 1\n",
        health=lambda: None,
        readiness=_ready,
        doors=list,
        phrases=lambda: None,
        transport_drops=dict,
        self_check=None,
        fleet=lambda: None,
    )


def _request(choices: Choices) -> bytes:
    """A request, mostly a good one."""
    if choices.rarely():
        return choices.take(300)
    method = choices.pick(("GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT"))
    path = choices.pick(PATHS if choices.rarely() else PATHS[:11])
    version = choices.pick(("HTTP/1.0", "HTTP/9", "x")) if choices.rarely() else "HTTP/1.1"
    lines = [f"{method} {path} {version}"]
    if not choices.rarely():
        lines.append(f"Host: {choices.pick(HOSTS) if choices.rarely() else HOSTS[0]}")
    names: tuple[str, ...] = choices.pick(((), ("Origin",), ("Authorization",), ("Cookie",)))
    if choices.rarely():
        names = (choices.pick(tuple(HEADERS)), choices.pick(tuple(HEADERS)))
    lines += [f"{name}: {choices.pick(HEADERS[name])}" for name in names]
    body = b""
    if method == "POST":
        body = choices.pick((f"token={TOKEN}".encode(), b"token=%ff&" * 9, choices.take(100)))
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _frame(choices: Choices) -> bytes:
    """A frame of a WebSocket as a browser sends it, or nearly."""
    kind = choices.pick((8, 9, 10, 0, 3, 11)) if choices.rarely() else choices.pick((1, 2, 2))
    first = kind | (choices.pick((0, 0xC0, 0xF0)) if choices.rarely() else 0x80)
    payload = choices.pick((WORDS[12_800:16_000], bytes(640), b"", choices.take(100)))
    if kind == 1:
        payload = chosen(choices, MESSAGES, type=choices.pick(KINDS))
        if not choices.rarely() and not payload.startswith(b'{"'):
            payload = b'{"type": "start"}'
    elif kind == 8:
        payload = choices.pick(
            (b"", b"\x03\xe8", b"\x03\xe8bye", b"\x00\x01", b"x", b"\x03\xe8\xff")
        )
    size = choices.pick(LENGTHS) if choices.rarely() else len(payload)
    masked = 0 if choices.rarely() else 0x80
    if size < 126:
        head = bytes([first, masked | size])
    elif size < 65_536:
        head = bytes([first, masked | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, masked | 127]) + size.to_bytes(8, "big")
    # A mask of zeros changes nothing.
    return head + (bytes(4) if masked else b"") + payload


async def _speak(choices: Choices, house: House, token: str | None, is_socket: bool) -> None:
    door = WebDoor(_parts(house), Secrets(token), Bounds())
    await door._runner.setup()
    server = door._runner.server
    assert isinstance(server, web.Server)
    transports: list[BrowserTransport] = []

    def connect() -> BrowserTransport:
        transport = BrowserTransport(choices.rarely())
        transport.connect(Connection(server, Bounds().connections))
        transports.append(transport)
        if is_socket:
            room = choices.pick(("bridge", "+", "")) if choices.rarely() else choices.pick(ROOMS)
            transport.say(f"GET /ws?room={room} HTTP/1.1\r\n{UPGRADE}".encode())
        return transport

    try:
        connect()
        for _ in range(MOST_STEPS):
            if not choices:
                break
            await asyncio.sleep(0)
            transport = choices.pick(transports)
            if transport.is_closing() or (choices.rarely() and len(transports) < MOST_BROWSERS):
                transport = connect()
            data = _frame(choices) if is_socket else _request(choices)
            cut = choices.number(len(data))
            for piece in (data[:cut], data[cut:]):
                if piece:
                    transport.say(piece)
                    await asyncio.sleep(choices.pick((0.1, 1.0, 30.0)) if choices.rarely() else 0)
            if choices.number(3) == 1:
                house.answer(choices.pick(VERDICTS))
                house.pass_time(choices.pick((0.0, 0.1, 6.0)))
        await asyncio.sleep(1)
    finally:
        for transport in transports:
            transport.close()
        await door.close()


def _converse(data: bytes, is_socket: bool) -> None:
    choices, house = Choices(data), House()
    token = None if is_socket else choices.pick((None, TOKEN))
    failures: list[object] = []

    async def watched() -> None:
        # What a task dies of.
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        await _speak(choices, house, token, is_socket)

    run_in_virtual_time(watched())
    for failure in failures:
        error = failure.get("exception") if isinstance(failure, dict) else None
        raise error or AssertionError(str(failure))
    while house.pool.submitted:
        house.answer(heard())
    house.settle()
    unanswered({id: house.outlets[0].outcomes[id] for id in house.opened if id[:5] == "given"})


def _http(data: bytes) -> None:
    _converse(data, is_socket=False)


def _socket(data: bytes) -> None:
    _converse(data, is_socket=True)


def _headers(data: bytes) -> None:
    """The headers that say where a request comes from, and cookies of sessions."""
    texts = (data.decode("latin-1") + "\n\n\n\n\n").split("\n")
    headers = {"Origin": texts[0], "Host": texts[1], "X-Forwarded-Host": texts[2]}
    origin.is_same_origin(headers, behind_ingress=True)
    origin.names_this_machine(texts[1])
    origin.is_loopback(texts[1])
    sessions = Sessions(TOKEN)
    sessions.is_token(texts[3])
    assert sessions.left_s(texts[4], 0.0) is None
    with suppress(CookieError):
        SimpleCookie(texts[4])


def _seeds() -> list[bytes]:
    return random_seeds(500)


def _header_seeds() -> list[bytes]:
    return ["\n".join((ORIGINS[0], host, HOSTS[0], TOKEN, "1.x")).encode() for host in HOSTS]


TARGETS = (
    Target("http-headers", _headers, 20_000, seeds=_header_seeds, max_bytes=300),
    Target("service-http", _http, 3_000, seeds=_seeds, max_bytes=400),
    Target("service-websocket", _socket, 3_000, seeds=_seeds, max_bytes=600),
)
