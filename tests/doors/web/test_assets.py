from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from stt_mqtt.doors.web.assets import CONTENT_TYPES, PAGES, assets
from tests.doors.web.peers import Site, running

FOLDER = Path(__file__).parents[3] / "stt_mqtt" / "doors" / "web" / "assets"
PAGE_FILES = sorted(FOLDER.glob("*.html"))
MAX_BYTES = 1_500_000
"""All that a browser may have to load."""


def test_every_file_is_served_with_its_type_under_its_path() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            for name, asset in assets().items():
                async with session.get(site.url(f"/assets/{name}")) as response:
                    assert response.status == 200, name
                    assert response.content_type == CONTENT_TYPES[name.rpartition(".")[2]]
                    assert await response.read() == asset.data == (FOLDER / name).read_bytes()
            for path, name in PAGES.items():
                async with session.get(site.url(path)) as response:
                    assert await response.read() == assets()[name].data

    asyncio.run(scenario())


def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with session.get(site.url()) as response:
                tag = response.headers["ETag"]
            for sent, status in ((tag, 304), (f'"x", {tag}', 304), ('"x"', 200), (f"W/{tag}", 304)):
                headers = {"If-None-Match": sent}
                async with session.get(site.url(), headers=headers) as response:
                    assert response.status == status
                    assert response.headers["ETag"] == tag
                    assert "must-revalidate" in response.headers["Cache-Control"]
            async with session.head(site.url()) as response:
                assert (response.status, await response.read()) == (200, b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/nothing.js",
        "/assets/../door.py",
        "/assets/%2e%2e/door.py",
        "/assets/..%2fdoor.py",
        "/assets//etc/passwd",
        "/assets/status.html/",
        "/assets/STATUS.HTML",
        "/status.html",
        "/mic/",
    ],
)
def test_nothing_else_is_a_file(path: str) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.split(b" ", 2)[1] == b"404"

    asyncio.run(scenario())


def test_all_files_are_of_a_kind_that_is_served() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert files == set(assets())
    assert sum(len(asset.data) for asset in assets().values()) < MAX_BYTES


@pytest.mark.parametrize("page", PAGE_FILES, ids=lambda path: path.name)
def test_a_page_loads_only_relative_files_that_exist_and_has_nothing_inline(page: Path) -> None:
    """Home Assistant's ingress puts a path in front, and the content policy forbids inline code."""
    html = page.read_text(encoding="utf-8")
    for url in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert not re.match(r"[a-z]+:|/", url), url
        name = url.partition("#")[0].partition("?")[0]
        served = {".", "mic", "login", *(f"assets/{one}" for one in assets())}
        assert name in served or not name, url
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
