"""The status page of a real service, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from playwright.sync_api import Browser, Route, expect

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.web.status import MAX_STREAMS_OF_ONE
from tests.browser import chromium, needs_chromium
from tests.e2e.status_browser import PATIENCE_MS, open_tab
from tools.brokers import Broker, free_port
from tools.program import Peer, Service, await_online, running

pytestmark = needs_chromium

SAMPLE = SAMPLES[0]
PCM = SAMPLE.pcm()
CHECKS = [
    {"name": "configuration", "status": "ok", "detail": "It is valid.", "what_to_do": ""},
    {"name": "clock", "status": "warn", "detail": "3 s off", "what_to_do": "Start <b>ntp</b>."},
    {"name": "disk", "status": "fail", "detail": "full", "what_to_do": "Free 1 GB."},
]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class House:
    """A service, what its satellites say, and the address of its page."""

    def __init__(self, peer: Peer, port: int) -> None:
        self.peer = peer
        self.url = f"http://127.0.0.1:{port}/"
        self.spoken = 0

    def speaks(self, room: str, pcm: bytes = PCM, times: int = 1) -> None:
        """A satellite sends an utterance, and its answer is awaited."""
        for _ in range(times):
            self.spoken += 1
            before = len(self.peer.payloads(f"stt/{room}/result"))
            topic = f"stt/{room}/audio"
            self.peer.publish(f"{topic}/start", json.dumps({"id": f"{room}-{self.spoken}"}))
            for at in range(0, len(pcm), 8192):
                self.peer.publish(topic, pcm[at : at + 8192])
            self.peer.publish(f"{topic}/stop")
            self.peer.json(f"stt/{room}/result", before + 1)


@pytest.fixture(scope="module")
def house(shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with the settings that it has by itself."""
    port = free_port()
    folder = tmp_path_factory.mktemp("service")
    with running(folder, shared_broker, web={"port": port}) as (_, peer):
        yield House(peer, port)


def noisy(pcm: bytes, snr_db: float) -> bytes:
    """Speech with white noise."""
    speech = np.frombuffer(pcm, "<i2").astype(np.float64)
    loud = np.sort(np.square(speech))[-len(speech) // 3 :]
    noise = np.random.default_rng(2).standard_normal(len(speech))
    noise *= np.sqrt(loud.mean() / 10 ** (snr_db / 10))
    return np.clip(speech + noise, -32768, 32767).astype("<i2").tobytes()


def test_a_room_appears_and_each_utterance_changes_it_but_its_words_are_hidden(
    browser: Browser, house: House
) -> None:
    with open_tab(browser, house.url) as tab:
        expect(tab.page.locator("#service")).to_have_text("Listening")
        house.speaks("kitchen")
        room = tab.room("kitchen")
        expect(room.locator(".words")).to_have_text("Understood")
        expect(room.locator(".facts")).to_contain_text("answered in")
        expect(room.locator(".state")).to_have_text("Idle")
        house.speaks("kitchen", bytes(32_000))
        expect(room.locator(".words")).to_have_text("Nobody spoke")
        expect(tab.page.locator("#announcements")).to_have_text("kitchen: Nobody spoke")
        expect(tab.page.locator("#figure-utterances .value")).not_to_have_text("0")
        assert SAMPLE.text.split()[-1].strip("?.") not in tab.page.content()
        expect(tab.page.locator("#rooms-note")).to_contain_text("web.show_text")
        assert tab.troubles == []


def test_an_open_utterance_is_seen(browser: Browser, house: House) -> None:
    with open_tab(browser, house.url) as tab:
        house.peer.publish("stt/hall/audio/start")
        house.peer.publish("stt/hall/audio", PCM[:16_000])
        expect(tab.room("hall").locator(".state")).to_have_text("Listening")
        house.peer.publish("stt/hall/audio/abort")
        expect(tab.room("hall").locator(".state")).to_have_text("Idle")
        expect(tab.room("hall").locator(".words")).to_have_text("Cancelled")


def test_a_noisy_microphone_is_named_with_its_reason(browser: Browser, house: House) -> None:
    house.speaks("salon", times=3)
    house.speaks("cellar", noisy(PCM, 10), times=3)
    with open_tab(browser, house.url) as tab:
        expect(tab.room("salon").locator(".microphone")).to_contain_text("Microphone good")
        cellar = tab.room("cellar")
        expect(cellar.locator(".microphone")).to_contain_text("Microphone weak")
        expect(cellar.locator(".reasons")).to_contain_text("above the background")


def test_an_error_says_what_to_do_and_no_text_of_a_device_becomes_markup(
    browser: Browser, house: House
) -> None:
    house.peer.publish("stt/attic/audio/start", json.dumps({"codec": "<img src=x onerror=1>"}))
    with open_tab(browser, house.url) as tab:
        expect(tab.page.locator("#errors")).to_contain_text("unsupported format")
        expect(tab.page.locator("#errors")).to_contain_text("docs/topics.md")
        assert tab.page.locator("main img").count() == 0
        assert tab.troubles == []


def test_words_are_shown_if_the_configuration_says_so(
    browser: Browser, broker: Broker, tmp_path: Path
) -> None:
    port = free_port()
    web = {"port": port, "show_text": True}
    with running(tmp_path, broker, web=web) as (_, peer):
        house = House(peer, port)
        with open_tab(browser, house.url) as tab:
            house.speaks("study")
            expect(tab.room("study").locator(".words")).to_have_text(SAMPLE.text)
            expect(tab.page.locator("#rooms-note")).to_have_text("")


def test_the_page_says_that_the_service_is_away_and_recovers_when_it_is_back(
    browser: Browser, broker: Broker, tmp_path: Path
) -> None:
    port = free_port()
    with running(tmp_path, broker, web={"port": port}) as (first, peer):
        house = House(peer, port)
        with open_tab(browser, house.url) as tab:
            service = tab.page.locator("#service")
            expect(service).to_have_text("Listening")
            first.stop()
            expect(service).to_contain_text("The service does not answer since")
            peer.messages.clear()
            again = Service(tmp_path, broker, web={"port": port})
            try:
                await_online(again, peer)
                expect(service).to_have_text("Listening")
                house.speaks("pantry")
                expect(tab.room("pantry").locator(".words")).to_have_text("Understood")
                assert tab.troubles == []
            finally:
                again.stop()


def test_a_page_that_gets_no_stream_says_that_too_many_are_open(
    browser: Browser, house: House
) -> None:
    with ExitStack() as others:
        for _ in range(MAX_STREAMS_OF_ONE):
            others.enter_context(urlopen(f"{house.url}events"))
        with open_tab(browser, house.url, viewport={"width": 320, "height": 800}) as tab:
            service = tab.page.locator("#service")
            expect(service).to_contain_text("Too many status pages are open")
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert tab.page.evaluate(wide) is False
            others.close()
            expect(service).to_have_text("Listening")
            assert tab.troubles == []


def test_the_self_check_is_a_list_and_a_report_to_copy(browser: Browser, house: House) -> None:
    def answer(route: Route) -> None:
        assert route.request.method == "POST"
        route.fulfill(json={"version": "0", "date": "", "checks": CHECKS})

    rights = ["clipboard-read", "clipboard-write"]
    with open_tab(browser, house.url, permissions=rights) as tab:
        tab.page.route("**/selfcheck", answer)
        assert not tab.page.get_by_role("button", name="Copy report").is_visible()
        tab.page.get_by_role("button", name="Check now").click()
        expect(tab.page.locator("#selfcheck-summary")).to_have_text(
            "2 of 3 checks found something."
        )
        items = tab.page.locator("#selfcheck-report li")
        expect(items).to_have_count(3)
        expect(items.nth(1)).to_contain_text("Start <b>ntp</b>.")
        tab.page.get_by_role("button", name="Copy report").click()
        expect(tab.page.locator("#selfcheck-summary")).to_have_text("The report is copied.")
        report = tab.page.evaluate("navigator.clipboard.readText()")
        assert "failure  disk: full → Free 1 GB." in report


def test_a_self_check_that_is_refused_says_why(browser: Browser, house: House) -> None:
    with open_tab(browser, house.url) as tab:
        tab.page.route(
            "**/selfcheck", lambda route: route.fulfill(status=429, json={"error": "wait 5 s"})
        )
        tab.page.get_by_role("button", name="Check now").click()
        summary = tab.page.locator("#selfcheck-summary")
        expect(summary).to_have_text("The check did not work: wait 5 s")
        expect(tab.page.get_by_role("button", name="Check now")).to_be_enabled()


CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color) && color !== "transparent") return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *:not(svg *)")) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || node.closest("[hidden], noscript, .hidden")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${node.className || node.tagName}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser: Browser, house: House, scheme: str) -> None:
    house.speaks("den")
    house.peer.publish("stt/attic/audio/start", json.dumps({"codec": "mp9"}))
    with open_tab(browser, house.url, color_scheme=scheme) as tab:
        tab.room("den").wait_for()
        assert tab.page.evaluate(CONTRAST) == []


def test_the_page_can_be_read_aloud(browser: Browser, house: House) -> None:
    with open_tab(browser, house.url) as tab:
        tab.page.locator("#figure-load").wait_for()
        headings = tab.page.locator("h1, h2, h3").evaluate_all(
            "nodes => nodes.map((node) => Number(node.tagName[1]))"
        )
        assert headings[0] == 1
        steps = pairwise(headings)
        assert all(after <= before + 1 for before, after in steps)
        plots = tab.page.locator("svg.plot")
        for plot in plots.all():
            assert plot.get_attribute("role") == "img"
            assert plot.locator("title").text_content()
        assert plots.count() == 4
        assert tab.page.locator("[aria-live=polite]").count() == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_sideways(browser: Browser, house: House, width: int) -> None:
    house.speaks("a-room-with-a-very-long-name-that-a-device-may-have-been-given")
    viewport = {"width": width, "height": 800}
    with open_tab(browser, house.url, viewport=viewport) as tab:
        tab.page.locator(".room").first.wait_for()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
