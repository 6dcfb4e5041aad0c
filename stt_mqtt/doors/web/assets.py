"""The static files: pages, scripts, styles, pictures and WebAssembly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from stt_mqtt.doors.web.parts import WebParts

CONTENT_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "ico": "image/x-icon",
    "js": "text/javascript",
    "json": "application/json",
    "mjs": "text/javascript",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
"""By ending. A browser runs a script or WebAssembly only with its exact type."""
PAGES = {"/": "status.html", "/mic": "mic.html"}
MAX_AGE_S = 0
"""A browser asks each time whether a file changed, so that no old script meets a new service."""


def routes(_parts: WebParts) -> list[web.RouteDef]:
    """The pages, and each static file under its path in the folder `assets`."""
    return [
        *(web.get(path, _page) for path in PAGES),
        web.get("/assets/{name:.+}", _asset),
    ]


async def _page(request: web.Request) -> web.StreamResponse:
    return _send(request, PAGES[request.path])


async def _asset(request: web.Request) -> web.StreamResponse:
    return _send(request, request.match_info["name"])


def _send(request: web.Request, name: str) -> web.StreamResponse:
    asset = assets().get(name)
    if asset is None:
        raise web.HTTPNotFound
    headers = {
        "ETag": f'"{asset.etag}"',
        "Cache-Control": f"private, max-age={MAX_AGE_S}, must-revalidate",
    }
    if any(tag.value == asset.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    charset = "utf-8" if asset.is_text else None
    return web.Response(
        body=asset.data, content_type=asset.content_type, charset=charset, headers=headers
    )


class Asset:
    """One static file, held in memory."""

    def __init__(self, name: str, data: bytes) -> None:
        self.content_type = CONTENT_TYPES[name.rpartition(".")[2]]
        self.is_text = self.content_type.startswith("text/")
        self.data = data
        self.etag = hashlib.sha256(data).hexdigest()[:32]


@cache
def assets() -> dict[str, Asset]:
    """All static files by their path in the folder `assets`. Files of other kinds are left out."""
    folder = files("stt_mqtt.doors.web").joinpath("assets")
    return {name: Asset(name, file.read_bytes()) for name, file in _walk(folder, "")}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        elif entry.name.rpartition(".")[2] in CONTENT_TYPES:
            yield name, entry
