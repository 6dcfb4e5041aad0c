"""Who may use the pages, and what a browser may do with them."""

from __future__ import annotations

import asyncio
import logging
from html import escape
from http import HTTPStatus
from math import ceil
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.typedefs import Handler

from stt_mqtt.config import WebConfig
from stt_mqtt.core.clock import Clock
from stt_mqtt.doors.web.assets import assets
from stt_mqtt.doors.web.origin import (
    SUPERVISOR,
    is_loopback,
    is_same_origin,
    names_this_machine,
)
from stt_mqtt.doors.web.places import address_of
from stt_mqtt.doors.web.sessions import LIFETIME_S, RENEW_S, Failures, Sessions

log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; style-src 'self'; font-src 'self'; "
        "media-src 'self' blob:; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'self'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "Server": "stt-mqtt",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""A page loads nothing from another host and runs no inline script. Only a page of the same origin,
which Home Assistant's ingress is, may frame it. With the stricter referrer policy `no-referrer`, a
browser would send the login form without its origin."""

LOGIN_PATH = "/login"
OPEN_PATHS = frozenset({"/healthz", "/readyz", LOGIN_PATH, "/assets/login.css"})
"""Paths that need no token."""
_PAGES = {"/": ".", "/mic": "mic"}
"""Pages that lead to the login and back, with their address relative to the login page."""
FAILURE_DELAY_S = 1.0
"""Time until a wrong token is answered."""
BODY_S = 5.0
"""Time for the body of a form to arrive."""
MAX_TOKEN_FIELDS = 4

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MESSAGE = "<!-- message -->"
_BEARER = "Bearer "


class Access:
    """Decides for each request whether it is answered. Runs on the event loop.

    `token`: opens the pages; None: nobody is asked for one.
    """

    def __init__(self, config: WebConfig, token: str | None, clock: Clock) -> None:
        self._behind_ingress = config.ingress
        self._url = config.url
        self._cookie = f"stt_mqtt_{config.port}"
        self._sessions = None if token is None else Sessions(token)
        self._failures = Failures()
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The login page."""
        return [web.get(LOGIN_PATH, self._login_page), web.post(LOGIN_PATH, self._login)]

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that every response has, and renew a cookie that is in use."""
        response.headers.update(SECURITY_HEADERS)
        left_s = self._session_left_s(request)
        if left_s is not None and left_s < LIFETIME_S - RENEW_S:
            response.headers.add("Set-Cookie", self._new_cookie(request))

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that is allowed. Raises the refusal of another."""
        from_ingress = self._is_from_ingress(request)
        changes = request.method not in _READING or "Upgrade" in request.headers
        if changes and not is_same_origin(request.headers, from_ingress):
            raise web.HTTPForbidden(text="A page of another site may not do this.\n")
        if not from_ingress and request.path not in OPEN_PATHS:
            await self._check_token(request)
        return await handler(request)

    def _is_from_ingress(self, request: web.Request) -> bool:
        """Whether Home Assistant has checked the user. Refuses other machines than it and this."""
        if not self._behind_ingress:
            return False
        address = _address(request)
        if address == SUPERVISOR:
            return True
        if is_loopback(address):
            return False
        raise web.HTTPForbidden(text="Open this page in Home Assistant.\n")

    async def _check_token(self, request: web.Request) -> None:
        if self._sessions is None:
            if not names_this_machine(request.headers.get("Host")):
                raise web.HTTPForbidden(
                    text=f"Only this machine may use the pages, at {self._url}. For others, set "
                    "web.token_file.\n"
                )
        elif self._session_left_s(request) is None:
            authorization = request.headers.get("Authorization", "")
            if authorization.startswith(_BEARER):
                problem = await self._problem(request, authorization.removeprefix(_BEARER))
                if problem is not None:
                    raise problem
            elif request.method == "GET" and request.path in _PAGES:
                raise web.HTTPSeeOther(f"login?to={_PAGES[request.path]}")
            else:
                raise _unauthorized()

    def _session_left_s(self, request: web.Request) -> float | None:
        cookie = request.cookies.get(self._cookie)
        if self._sessions is None or cookie is None:
            return None
        return self._sessions.left_s(cookie, self._clock.epoch())

    async def _problem(self, request: web.Request, token: str) -> web.HTTPException | None:
        """Why a token opens nothing; None: it is the right one. A wrong one is answered slowly."""
        assert self._sessions is not None
        address, now = _address(request), self._clock.now()
        wait_s = self._failures.wait_s(address, now)
        if wait_s:
            seconds = str(ceil(wait_s))
            return web.HTTPTooManyRequests(
                text=f"Too many wrong tokens came from {address}. Try again in {seconds} s.\n",
                headers={"Retry-After": seconds},
            )
        if self._sessions.is_token(token):
            self._failures.forgive(address)
            return None
        self._failures.note(address, token, now)
        if self._failures.wait_s(address, now):
            log.warning("web: too many wrong tokens from %s", address)
        await asyncio.sleep(FAILURE_DELAY_S)
        return _unauthorized()

    async def _login_page(self, _request: web.Request) -> web.StreamResponse:
        return _login_page("", HTTPStatus.OK)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        if self._sessions is None:
            raise web.HTTPSeeOther(".")
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        problem = await self._problem(request, _token_in(body))
        if problem is not None:
            sentence = (problem.text or "").strip()
            return _login_page(sentence, HTTPStatus(problem.status))
        wanted = request.query.get("to", "")
        page = wanted if wanted in _PAGES.values() else "."
        headers = {"Location": page, "Set-Cookie": self._new_cookie(request)}
        return web.Response(status=HTTPStatus.SEE_OTHER, headers=headers)

    def _new_cookie(self, request: web.Request) -> str:
        assert self._sessions is not None
        value = self._sessions.new(self._clock.epoch())
        cookie = f"{self._cookie}={value}; Path=/; Max-Age={LIFETIME_S}; HttpOnly; SameSite=Strict"
        is_encrypted = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        return f"{cookie}; Secure" if is_encrypted else cookie


@web.middleware
async def answer_defects(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log an exception of a handler, and answer with status 500."""
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        log.exception("a request was lost to a defect, please report this")
        raise web.HTTPInternalServerError from None


def _address(request: web.Request) -> str:
    transport = request.transport
    return "" if transport is None else address_of(transport.get_extra_info("peername"))


def _unauthorized() -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(
        text="This is not the token.\n", headers={"WWW-Authenticate": "Bearer"}
    )


def _token_in(body: bytes) -> str:
    """The token in a form; empty: there is none."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=MAX_TOKEN_FIELDS)
    except ValueError:
        return ""
    return fields.get("token", [""])[0].strip()


def _login_page(sentence: str, status: HTTPStatus) -> web.Response:
    alert = f'<p role="alert">{escape(sentence)}</p>' if sentence else ""
    html = assets()["login.html"].data.decode().replace(_MESSAGE, alert)
    return web.Response(
        text=html, status=status, content_type="text/html", headers={"Cache-Control": "no-store"}
    )
