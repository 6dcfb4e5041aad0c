"""Who gets an answer of the web door, asked by a real client over HTTP and HTTPS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest
from yarl import URL

from stt_mqtt.doors.web.access import SECURITY_HEADERS
from stt_mqtt.doors.web.door import ROUTE_MODULES, Bounds
from stt_mqtt.doors.web.listener import ConnectionBounds
from stt_mqtt.doors.web.sessions import FAILURES_S, LIFETIME_S, MAX_FAILURES, RENEW_S
from stt_mqtt.doors.web.socket_messages import PROTOCOL
from tests.doors.web.peers import TOKEN, Site, browser, running
from tools.brokers import Certificates

GUARDED = {"host": "0.0.0.0", "token_file": "token"}
"""Other machines are let in; the token is `TOKEN`."""
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LOOPBACK = "127.0.0.1"


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_mqtt.doors.web.access.FAILURE_DELAY_S", 0.0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def status(
    session: aiohttp.ClientSession, site: Site, path: str = "/", method: str = "GET", **options: Any
) -> int:
    async with session.request(
        method, site.url(path), allow_redirects=False, **options
    ) as response:
        # A stream of events has no end.
        if response.content_type != "text/event-stream":
            await response.read()
        return response.status


async def log_in(session: aiohttp.ClientSession, site: Site, token: str = TOKEN) -> int:
    return await status(session, site, "/login", "POST", data={"token": token})


async def upgrade(session: aiohttp.ClientSession, site: Site, **headers: str) -> int:
    """The status of the answer to a WebSocket handshake."""
    try:
        url = site.url("/ws?room=tablet")
        async with session.ws_connect(url, protocols=(PROTOCOL,), headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


def test_without_a_token_this_machine_gets_every_page() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            for path in ("/", "/mic", "/assets/login.css"):
                assert await status(session, site, path) == 200
            assert await upgrade(session, site) == 101

    run(scenario())


def test_without_a_token_there_is_nothing_to_log_in_to() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, session.post(site.url("/login")) as response:
            assert (response.status, response.url.path) == (200, "/")

    run(scenario())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:10380", 200),
        ("[::1]:10380", 200),
        ("evil.example", 403),
        ("evil.example:10380", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.5", 403),
        ("user@localhost", 403),
        ("localhost/", 200),
        ("[", 403),
        ("localhost:x", 403),
        ("", 403),
    ],
)
def test_without_a_token_a_request_must_name_this_machine(host: str, expected: int) -> None:
    """A page of another site could point its own name at 127.0.0.1."""

    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            assert await status(session, site, headers={"Host": host}) == expected
            assert await upgrade(session, site, Host=host) in {expected, 101}

    run(scenario())


def test_with_a_token_every_path_but_health_and_login_needs_it() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            assert await status(session, site, "/login") == 200
            assert await status(session, site, "/assets/login.css") == 200
            for path in ("/healthz", "/readyz"):
                assert await status(session, site, path) != 401
            assert await status(session, site, "/events") == 401
            for path in ("/assets/mic.html", "/assets/nothing.js", "/metrics", "/nope"):
                assert await status(session, site, path) == 401
                assert await status(session, site, path, headers=BEARER) != 401
            assert await status(session, site, "/mic", "POST") == 401
            assert await upgrade(session, site) == 401
            assert await upgrade(session, site, **BEARER) == 101

    run(scenario())


def test_a_page_without_a_token_leads_to_the_login_and_back() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            for path in ("/", "/mic"):
                session.cookie_jar.clear()
                async with session.get(site.url(path)) as response:
                    assert response.url.path == "/login"
                    login = response.url
                    assert "Token" in await response.text()
                async with session.post(login, data={"token": TOKEN}) as response:
                    assert response.status == 200
                    assert response.url.path == path
            elsewhere = site.url("/login?to=https://evil.example/")
            async with session.post(
                elsewhere, data={"token": TOKEN}, allow_redirects=False
            ) as response:
                assert response.headers["Location"] == "."

    run(scenario())


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ä"]
)
def test_a_wrong_token_opens_nothing(authorization: str) -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            headers = {"Authorization": authorization}
            async with session.get(site.url("/metrics"), headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"

    run(scenario())


@pytest.mark.parametrize(
    "body", [b"", b"token", b"token=", b"token=wrong", b"\xff\xfe", b"a=1&" * 50, b"Token=x"]
)
def test_a_form_without_the_token_shows_the_login_again(body: bytes) -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            async with session.post(site.url("/login"), data=body) as response:
                assert response.status == 401
                assert 'role="alert"' in await response.text()
                assert "Set-Cookie" not in response.headers
            assert await status(session, site, "/login", "POST", data=bytes(20_000)) == 413

    run(scenario())


def test_the_cookie_is_for_this_site_alone_and_holds_no_token() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with (
            running(site) as session,
            session.post(
                site.url("/login"), data={"token": TOKEN}, allow_redirects=False
            ) as response,
        ):
            cookie = response.headers["Set-Cookie"]
        assert TOKEN not in cookie
        for word in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFETIME_S}"):
            assert word in cookie
        assert "Secure" not in cookie

    run(scenario())


def test_a_cookie_opens_pages_and_socket_until_it_expires() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            assert await log_in(session, site) == 303
            assert await status(session, site) == 200
            async with browser(session, site) as page:
                await page.next("state")
            site.wire.clock.advance(LIFETIME_S + 1)
            assert await status(session, site) == 303
            assert await upgrade(session, site) == 401

    run(scenario())


def test_a_cookie_in_use_is_renewed_once_a_day() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            await log_in(session, site)
            async with session.get(site.url()) as response:
                assert "Set-Cookie" not in response.headers
            for _ in range(40):
                site.wire.clock.advance(RENEW_S + 1)
                async with session.get(site.url()) as response:
                    assert response.status == 200
                    assert "Set-Cookie" in response.headers

    run(scenario())


def test_a_cookie_survives_a_restart_but_not_a_new_token() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            await log_in(session, site)
            (cookie,) = session.cookie_jar
        for token, expected in ((TOKEN, 200), ("another-token-of-this-house", 303)):
            again = Site(token=token, web={**GUARDED, "port": site.port})
            async with running(again) as session:
                session.cookie_jar.update_cookies({cookie.key: cookie.value}, URL(again.url()))
                assert await status(session, again) == expected

    run(scenario())


@pytest.mark.parametrize(
    "change", [(r"^\d", "9"), (r"\.", "x"), (r".$", "~"), (r".+", "ä"), (r".+", "..")]
)
def test_a_changed_cookie_is_worth_nothing(change: tuple[str, str]) -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            await log_in(session, site)
            (cookie,) = session.cookie_jar
            changed = re.sub(change[0], change[1], cookie.value, count=1)
            assert changed != cookie.value
            session.cookie_jar.clear()
            headers = {"Cookie": f"{cookie.key}={changed}"}
            assert await status(session, site, headers=headers) == 303

    run(scenario())


def test_guessing_is_stopped_for_a_while_for_that_address_alone() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            running(site) as session,
            aiohttp.ClientSession(connector=elsewhere) as other,
        ):
            guesses = [log_in(session, site, f"guess {number}") for number in range(20)]
            found = sorted(await asyncio.gather(*guesses))
            assert found == [401] * MAX_FAILURES + [429] * (20 - MAX_FAILURES)
            # Not even the right token is taken now: otherwise guessing would go on.
            assert await log_in(session, site) == 429
            async with session.get(site.url("/metrics"), headers=BEARER) as response:
                assert response.status == 429
                assert int(response.headers["Retry-After"]) <= FAILURES_S
            assert await log_in(other, site) == 303
            site.wire.clock.advance(FAILURES_S + 1)
            assert await log_in(session, site) == 303

    run(scenario())


def test_a_client_with_an_old_token_does_not_lock_out_its_network() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        old = {"Authorization": "Bearer the-token-before-this"}
        async with running(site) as session:
            for _ in range(2 * MAX_FAILURES):
                assert await status(session, site, "/metrics", headers=old) == 401
            assert await status(session, site, "/metrics", headers=BEARER) == 200
            assert await log_in(session, site) == 303

    run(scenario())


def test_a_wrong_token_is_answered_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    take_turns = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await take_turns(0)

    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            monkeypatch.setattr("stt_mqtt.doors.web.access.FAILURE_DELAY_S", 7.0)
            monkeypatch.setattr("stt_mqtt.doors.web.access.asyncio.sleep", sleep)
            assert await log_in(session, site, "wrong") == 401
        assert 7.0 in slept

    run(scenario())


def test_the_socket_has_no_head() -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": PROTOCOL,
    }

    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            assert await status(session, site, "/ws?room=a", "HEAD", headers=handshake) == 405

    run(scenario())


OWN, FOREIGN = "own", "foreign"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:{port}"}, True),
        ({"Origin": "http://127.0.0.1"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://evil.example:{port}"}, False),
        ({"Origin": "http://127.0.0.1:{port}.evil.example"}, False),
        ({"Origin": "http://127.0.0.1:{port}@evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "file://"}, False),
        ({"Origin": "http://127.0.0.1:99999999"}, False),
        ({"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Host": "stt.lan", "Origin": "https://stt.lan"}, True),
        ({"Host": "stt.lan:443", "Origin": "https://stt.lan"}, True),
        ({"Host": "STT.lan", "Origin": "https://stt.lan"}, True),
        ({"Host": "stt.lan:80", "Origin": "https://stt.lan"}, False),
    ],
)
@pytest.mark.parametrize("how", ["socket", "post"])
def test_only_a_page_of_the_service_may_open_a_socket_or_change_something(
    headers: dict[str, str], allowed: bool, how: str
) -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        sent = {name: value.replace("{port}", str(site.port)) for name, value in headers.items()}
        async with running(site) as session:
            if how == "socket":
                found = await upgrade(session, site, **BEARER, **sent)
                assert found == (101 if allowed else 403)
            else:
                form = {"token": TOKEN}
                found = await status(session, site, "/login", "POST", data=form, headers=sent)
                assert found == (303 if allowed else 403)

    run(scenario())


def test_behind_ingress_only_the_supervisor_and_this_machine_are_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """127.0.0.2 plays the Supervisor, and 127.0.0.3 another machine."""
    monkeypatch.setattr("stt_mqtt.doors.web.access.SUPERVISOR", "127.0.0.2")
    monkeypatch.setattr(
        "stt_mqtt.doors.web.access.is_loopback", lambda address: address == LOOPBACK
    )
    ingress = {"Host": "homeassistant.local:8123", "X-Ingress-Path": "/api/hassio_ingress/x"}

    async def scenario() -> None:
        site = Site(web={"host": "0.0.0.0", "ingress": True})
        connectors = [
            aiohttp.TCPConnector(local_addr=(f"127.0.0.{number}", 0)) for number in (2, 3)
        ]
        async with (
            running(site) as session,
            aiohttp.ClientSession(connector=connectors[0]) as supervisor,
            aiohttp.ClientSession(connector=connectors[1]) as stranger,
        ):
            assert await status(supervisor, site, headers=ingress) == 200
            assert await status(session, site) == 200
            assert await status(session, site, headers={"Host": "evil.example"}) == 403
            for path in ("/", "/login", "/healthz"):
                assert await status(stranger, site, path) == 403
            forwarded = {
                **ingress,
                "X-Forwarded-Host": "home.example",
                "Origin": "https://home.example",
            }
            assert await upgrade(supervisor, site, **forwarded) == 101
            assert await upgrade(supervisor, site, **{**forwarded, "Origin": "https://evil"}) == 403
            assert await upgrade(stranger, site, **ingress) == 403

    run(scenario())


def test_with_ingress_and_a_token_home_assistant_needs_none_and_this_machine_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stt_mqtt.doors.web.access.SUPERVISOR", "127.0.0.2")

    async def scenario() -> None:
        site = Site(token=TOKEN, web={**GUARDED, "ingress": True})
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            running(site) as session,
            aiohttp.ClientSession(connector=connector) as supervisor,
        ):
            assert await status(supervisor, site, "/metrics") == 200
            assert await status(session, site, "/metrics") == 401
            assert await status(session, site, "/metrics", headers=BEARER) == 200

    run(scenario())


def test_every_answer_has_the_security_headers_and_names_no_library() -> None:
    async def scenario() -> None:
        site = Site(token=TOKEN, web=GUARDED)
        async with running(site) as session:
            for path in ("/login", "/metrics", "/", "/nope"):
                for headers in ({}, BEARER, {"Origin": "http://evil.example"}):
                    async with session.get(
                        site.url(path), headers=headers, allow_redirects=False
                    ) as response:
                        for name, value in SECURITY_HEADERS.items():
                            assert response.headers.getall(name) == [value]

    run(scenario())


def test_the_content_policy_forbids_other_hosts_inline_scripts_and_eval() -> None:
    policy = dict(
        part.strip().split(" ", 1)
        for part in SECURITY_HEADERS["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert not any("http" in value or "unsafe-inline" in value for value in policy.values())
    assert "*" not in SECURITY_HEADERS["Content-Security-Policy"]


def trusting(certificates: Certificates) -> ssl.SSLContext:
    """A client that trusts the authority. The default one wants more extensions in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    return context


def test_over_tls_pages_and_sockets_work_and_the_cookie_is_secure(
    certificates: Certificates,
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.server, certificates.server_key)
    client = trusting(certificates)
    files = {"cert_file": "cert", "key_file": "key"}

    async def scenario() -> None:
        site = Site(token=TOKEN, tls=server, web={**GUARDED, **files})
        async with running(site) as session:
            url = site.url("/login", host="localhost")
            form = {"token": TOKEN}
            async with session.post(url, data=form, ssl=client, allow_redirects=False) as response:
                assert response.status == 303
                assert "Secure" in response.headers["Set-Cookie"]
            address = site.url("/ws?room=tablet", host="localhost")
            origin = site.url("", host="localhost")
            async with session.ws_connect(
                address, protocols=(PROTOCOL,), ssl=client, origin=origin
            ) as socket:
                assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
            # Plain HTTP on the port of HTTPS ends without an answer, and harms nobody.
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://localhost:{site.port}/")
            old = trusting(certificates)
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises(aiohttp.ClientError):
                await session.get(url, ssl=old)
            async with session.get(url, ssl=client) as response:
                assert response.status == 200

    run(scenario())


def test_a_defect_in_a_route_is_logged_and_answered_without_its_text(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_parts: object) -> list[aiohttp.web.RouteDef]:
        async def fail(_request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
            raise RuntimeError("a secret")

        return [aiohttp.web.get("/broken", fail)]

    monkeypatch.setattr("stt_mqtt.doors.web.door.ROUTE_MODULES", (*ROUTE_MODULES, broken))

    async def scenario() -> None:
        site = Site()
        async with running(site) as session, session.get(site.url("/broken")) as response:
            assert response.status == 500
            assert "secret" not in await response.text()

    run(scenario())
    assert "please report this" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\ntok",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a_connection_that_says_nothing_more_is_closed(head: bytes) -> None:
    async def scenario() -> None:
        impatient = ConnectionBounds(first_request_s=0.2, keep_alive_s=0.2)
        site = Site(token=TOKEN, web=GUARDED, bounds=Bounds(connections=impatient))
        async with running(site):
            reader, writer = await asyncio.open_connection(LOOPBACK, site.port)
            writer.write(head)
            async with asyncio.timeout(60):
                await reader.read()
            writer.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stt_mqtt.doors.web.access.BODY_S", 0.2)
        run(scenario())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 100 + b"\r\n",
        b"\x00\xff" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request_of_a_browser_is_refused_and_the_connection_closed(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        impatient = ConnectionBounds(first_request_s=1.0)
        site = Site(bounds=Bounds(connections=impatient))
        async with running(site) as session:
            reader, writer = await asyncio.open_connection(LOOPBACK, site.port)
            writer.write(request_bytes)
            async with asyncio.timeout(60):
                answer = await reader.read()
            writer.close()
            assert not answer or answer.split(b" ", 2)[1] in {b"400", b"414", b"431"}
            assert await status(session, site) == 200

    run(scenario())
    assert "Traceback" not in caplog.text
