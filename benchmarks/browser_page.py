"""The parts of `benchmarks.browser` that look at the page itself and at the service behind it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from playwright.sync_api import Page, Response

import stt_mqtt
from benchmarks import report, sounds
from benchmarks.harness import Running, Usage, a_service, say
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.web.socket_messages import PROTOCOL
from stt_mqtt.types import SAMPLE_RATE, Codec
from tests.browser import chromium, microphone_arguments, open_microphone_page, write_recording
from tools.brokers import free_port

ASSETS = Path(stt_mqtt.__file__).parent / "doors" / "web" / "assets"
CHAIN = Path(__file__).parent / "browser_chain"

SPEECH = SAMPLES[1]
BEFORE_S = 0.5
"""Silence before the speech, after the microphone was opened."""
LOUD = 0.02
"""Of full scale: the samples are quieter than this before and after the speech."""
TAPS = 5
"""Clicks whose time is measured."""
WATCHED_S = 20.0
BROWSERS = 20
EVERY_S = 10.0
"""Each of the browsers speaks so often."""
KBPS = 32
CHUNK_S = 0.24
CHROMIUM_MARK = "--user-data-dir"
"""An argument that every process of a browser has, but no program that starts it."""


# The chain --------------------------------------------------------------------------------------


class Site:
    """Serves the files of the page, those of the benchmark, and one recording."""

    def __init__(self) -> None:
        self.url = ""
        self.recording = b""


@contextmanager
def served() -> Iterator[Site]:
    """A site on a free loopback port."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, site=site))
    site.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, site: Site) -> None:
        self._site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer with a file, or with the recording."""
        if self.path != "/recording":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self._site.recording)))
        self.end_headers()
        self.wfile.write(self._site.recording)

    def translate_path(self, path: str) -> str:
        """The file of a path."""
        in_assets = path.startswith("/assets/")
        return str(ASSETS.parent / path[1:] if in_assets else CHAIN / path[1:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


# The page ---------------------------------------------------------------------------------------


def measured(folder: Path, quick: bool) -> dict[str, Any]:
    """Weight, time to the first words, and CPU time of the page and of the service."""
    port = free_port()
    watched_s, taps = (2.0, 1) if quick else (WATCHED_S, TAPS)
    with a_service("stt/+/result", web={"port": port}) as running:
        url = f"http://127.0.0.1:{port}/"
        once = write_recording(folder / "once.wav", BEFORE_S, SPEECH.pcm(), 30.0)
        pieces: list[bytes | float] = [SPEECH.pcm(), 0.2]
        endless = write_recording(folder / "speech.wav", *pieces * 10)
        silent = write_recording(folder / "silence.wav", 10.0)
        with chromium(*microphone_arguments(once)) as browser:
            weight = _weight(browser.new_page(), url)
            page = browser.new_page()
            first_words = [_first_words_s(page, url) for _ in range(taps)]
        cpu = {"speech": _page_cpu(endless, url, watched_s, tap=True)}
        if not quick:
            cpu["idle"] = _page_cpu(silent, url, watched_s, tap=False)
            cpu["silence"] = _page_cpu(silent, url, watched_s, tap=True)
        say("20 browsers")
        return {
            "weight_bytes": weight,
            "command_s": len(SPEECH.pcm()) / 32000,
            "last_word_s": round(BEFORE_S + _last_sound_s(SPEECH.pcm()), 2),
            "first_words_s": sorted(round(one, 2) for one in first_words),
            "cpu": cpu,
            "browsers": asyncio.run(_browsers(running, url, watched_s)),
        }


def section(data: Mapping[str, Any]) -> list[str]:
    """What the page shows of it."""
    cpu, browsers = data["cpu"], data["browsers"]
    times = data["first_words_s"]
    return [
        f"The page weighs {data['weight_bytes'] / 1000:.0f} kB. From the click on a page that is "
        f"loaded, with the microphone still closed, to the words on it: {times[len(times) // 2]:g} "
        f"s ({times[0]:g} to {times[-1]:g} s). The last word ends {data['last_word_s']:g} s after "
        "the microphone was opened.",
        "",
        "CPU time of Chromium in percent of a core: the process of the tab, and all processes of "
        "the browser, the microphone included.",
        "",
        *report.table(
            ["the page", "tab", "browser"],
            [
                [name, f"{100 * cpu[key]['tab']:.1f} %", f"{100 * cpu[key]['browser']:.1f} %"]
                for key, name in (
                    ("idle", "microphone closed"),
                    ("silence", "always on, silence"),
                    ("speech", "always on, speech without a pause"),
                )
                if key in cpu
            ],
        ),
        "",
        f"{BROWSERS} browsers are connected, and each says a command of {data['command_s']:.1f} s "
        f"every {EVERY_S:g} s: the service takes {100 * browsers['speech']:.0f} % of a core, "
        f"recognition included, for {browsers['results']} commands in {browsers['seconds']:.0f} s; "
        f"{100 * browsers['idle']:.1f} % while all are silent.",
    ]


def _weight(page: Page, url: str) -> int:
    """Bytes of everything that the page loads."""
    sizes: list[int] = []

    def add(response: Response) -> None:
        if response.ok:
            sizes.append(len(response.body()))

    page.on("response", add)
    page.goto(f"{url}mic", wait_until="networkidle")
    page.remove_listener("response", add)
    page.close()
    return sum(sizes) + (ASSETS / "mic" / "worklet.js").stat().st_size


def _last_sound_s(pcm: bytes) -> float:
    """Seconds until the last sound of a recording that is louder than its room."""
    loud = np.flatnonzero(np.abs(sounds.from_pcm(pcm)) > LOUD)
    return float(loud[-1]) / SAMPLE_RATE


def _first_words_s(page: Page, url: str) -> float:
    """Seconds from the click to the words."""
    page.goto(f"{url}mic")
    page.evaluate("localStorage.setItem('stt-mqtt.microphone', '{\"room\":\"kitchen\"}')")
    page.reload()
    page.get_by_text("Connected", exact=True).wait_for()
    start = time.monotonic()
    page.locator("#talk").click()
    page.locator("#answer:not(:empty)").wait_for(timeout=120_000)
    return time.monotonic() - start


def _page_cpu(recording: Path, url: str, watched_s: float, tap: bool) -> dict[str, float]:
    """CPU seconds per second of the tab and of the browser."""
    looped = [one.removesuffix("%noloop") for one in microphone_arguments(recording)]
    with chromium(*looped) as browser:
        page = open_microphone_page(browser.new_context(), url, "kitchen")
        if tap:
            page.locator("#talk").click()
        page.wait_for_timeout(5000)
        ours = psutil.Process().children(recursive=True)
        words = {one: " ".join(one.cmdline()) for one in ours}
        browsers = [one for one, line in words.items() if CHROMIUM_MARK in line]
        main = next(one for one in browsers if "--type=" not in words[one])
        tabs = {str(one.pid): one for one in browsers if "--type=renderer" in words[one]}
        usage = Usage({**tabs, "browser": main})
        page.wait_for_timeout(watched_s * 1000)
        used = usage.read()
        return {"tab": max(used[pid] for pid in tabs), "browser": used["browser"]}


# Many browsers ----------------------------------------------------------------------------------


async def _browsers(running: Running, url: str, watched_s: float) -> dict[str, float]:
    """CPU seconds per second of the service while all are silent, and while all speak."""
    ready = asyncio.Barrier(BROWSERS + 1)
    speak = asyncio.Event()
    end_at = 0.0
    results = 0

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal results
        address = f"{url}ws?room=browser_{number}"
        async with session.ws_connect(address, protocols=(PROTOCOL,)) as socket:
            await ready.wait()
            await speak.wait()
            await asyncio.sleep(EVERY_S * number / BROWSERS)
            turn = 0
            while time.monotonic() < end_at:
                next_at = time.monotonic() + EVERY_S
                id = f"{number}.{turn}"
                await _say(socket, id)
                async for message in socket:
                    fields = json.loads(message.data)
                    if fields["type"] == "result" and fields["id"] == id:
                        results += 1
                        break
                turn += 1
                await asyncio.sleep(max(next_at - time.monotonic(), 0))

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(BROWSERS):
            group.create_task(one(session, number))
        await ready.wait()
        usage = Usage({"service": running.process})
        await asyncio.sleep(watched_s)
        idle = usage.read()["service"]
        end_at = time.monotonic() + 2 * watched_s
        usage = Usage({"service": running.process})
        speak.set()
        await asyncio.sleep(2 * watched_s)
        in_speech = usage.read()["service"]
    return {"idle": idle, "speech": in_speech, "results": results, "seconds": 2 * watched_s}


async def _say(socket: aiohttp.ClientWebSocketResponse, id: str) -> None:
    """Send a command in real time, as the page does."""
    pcm, encoder = SPEECH.pcm(), make_encoder(Codec.OPUS, KBPS)
    start = {"type": "start", "id": id, "codec": "opus", "rate": 16000, "framing": "seq32"}
    await socket.send_json(start)
    step = round(CHUNK_S * 32000)
    pieces = [encoder.push(pcm[at : at + step]) for at in range(0, len(pcm), step)]
    pieces.append(encoder.finish())
    for number, piece in enumerate(pieces):
        await socket.send_bytes(number.to_bytes(4, "little") + piece)
        await asyncio.sleep(CHUNK_S)
    await socket.send_json({"type": "stop", "id": id, "chunks": len(pieces)})
