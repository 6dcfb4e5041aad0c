"""Somebody speaks to the page `/mic` of the running program, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tests.browser import (
    PHONE,
    TIMEOUT_MS,
    chromium,
    launched,
    microphone_arguments,
    needs_chromium,
    open_microphone_page,
    write_recording,
)
from tests.e2e.test_satellite import BOTH_S, LAMP, MUSIC
from tools.brokers import Broker, eventually, free_port
from tools.program import Peer, running
from tools.words import words

pytestmark = needs_chromium

SPEECH = SAMPLES[0]
ATTEMPTS, ATTEMPT_MS = 5, 20_000
KEEP_TRACK = """
const { mediaDevices } = navigator;
const open = mediaDevices.getUserMedia.bind(mediaDevices);
mediaDevices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  [window.track] = stream.getTracks();
  return stream;
};
"""
"""A script that lets a test do to the microphone what a hand does to its plug."""
TELL_OPEN = """
const { send } = WebSocket.prototype;
let open = null;
WebSocket.prototype.send = function (data) {
  if (typeof data === "string") {
    const { type, id } = JSON.parse(data);
    if (type === "start") open = { socket: this, id };
    if (type === "stop") open = null;
  }
  send.call(this, data);
};
setInterval(() => {
  if (open === null) return;
  const data = JSON.stringify({ type: "open", id: open.id });
  open.socket.dispatchEvent(new MessageEvent("message", { data }));
}, 50);
"""
"""A script that tells the page again and again that the phrase so far is open, as fast as no
service on a busy machine can."""
KEEP_LOCKS = """
const { wakeLock } = navigator;
const request = wakeLock.request.bind(wakeLock);
window.locks = [];
wakeLock.request = async (kind) => {
  const lock = await request(kind);
  window.locks.push(lock);
  return lock;
};
"""
"""A script that lets a test see what keeps the screen on."""
ARE_RELEASED = "locks.length > 0 && locks.every((lock) => lock.released)"
SLOW_PRESSES = """
document.getElementById("talk").addEventListener("pointerdown", () => {
  const until = performance.now() + 1000;
  while (performance.now() < until);
});
"""
"""A script that keeps the page busy when its button is pressed."""
KEEP_POINTER = """
document.getElementById("talk").addEventListener("gotpointercapture", ({ pointerId }) => {
  window.pointer = pointerId;
});
"""
LOSSES = {
    "HIDE": """
Object.defineProperty(document, "hidden", { get: () => true });
document.dispatchEvent(new Event("visibilitychange"));
""",
    "RELEASE_POINTER": 'document.getElementById("talk").releasePointerCapture(window.pointer)',
}
"""Scripts after which a page is not told that its button is released."""
WATCH_STANDSTILL = """
window.longestMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  window.longestMs = Math.max(window.longestMs, now - last);
  last = now;
}, 50);
"""
"""A script that measures how long the page stood still."""
DEAF_TO_RESULTS = """
const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
Object.defineProperty(WebSocket.prototype, "onmessage", {
  set(take) {
    set.call(this, take && ((event) => event.data.includes('"result"') || take(event)));
  },
});
"""
"""A script that loses the answers of the service."""
SHOW_ONLY = """
import { Page } from "./page.js";
const page = new Page({});
const idle = {
  talk: "idle", always: false, hears: false, muted: false, link: { state: "up", reason: "" },
  problem: null, partial: "", answers: 0, answer: "", answeredAt: "", isOld: false, notes: 0,
  note: "", earlier: [],
};
window.show = (shown) => page.show({ ...idle, ...shown });
"""
"""The script of a page without microphone and service, which shows what a test gives it."""
FULL: dict[str, Any] = {
    "talk": "waiting",
    "always": True,
    "problem": {"title": "The microphone is not allowed", "text": "Allow it. " * 15, "inTab": True},
    "partial": "how long does it take to boil an egg on top of a high mountain",
    "answers": 1,
    "answer": "Turn off all the lights in the living room, and close the blinds.",
    "answeredAt": "12:00 PM",
    "note": "Nothing was understood.",
    "earlier": [{"text": "Set a timer for 10 minutes. " * 2, "time": "11:59 AM"}] * 3,
}
"""A view of the page with as much as it can show."""
BEFORE_S, AFTER_S = 1.5, 15.0
LATE_S = 8.0
"""Time to open a second tab before the words."""
FROZEN_MS = 5000
SETTLED_MS = 4000
"""After this time, what was to be sent again has come."""
SERVICE_WAITS_MS = 7000
"""Longer than the service waits for a chunk, `idle_timeout_ms`."""
SNR_DB = 15.0


@dataclass(frozen=True)
class House:
    """A service with the settings that it has by itself, and the address of its pages."""

    peer: Peer
    url: str


@pytest.fixture(scope="module")
def house(shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The same for all tests that do not harm it; each has a room of its own."""
    config, url = web()
    with running(tmp_path_factory.mktemp("house"), shared_broker, web=config) as (_, peer):
        yield House(peer, url)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """It hears `SPEECH` from when its microphone is opened."""
    heard = recording(tmp_path_factory.mktemp("heard"))
    with chromium(*microphone_arguments(heard)) as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person's own windows. No microphone is open any more when the next one comes."""
    with browser.new_context() as opened:
        yield opened


def web() -> tuple[dict[str, Any], str]:
    """The configuration of the pages, and their address."""
    port = free_port()
    return {"port": port}, f"http://127.0.0.1:{port}/"


def recording(folder: Path, noise: bytes | None = None) -> Path:
    """Somebody speaks once, after a while."""
    file = folder / "microphone.wav"
    return write_recording(file, BEFORE_S, SPEECH.pcm(), AFTER_S, noise=noise, snr_db=SNR_DB)


def talk_button(page: Page) -> Locator:
    return page.locator("#talk")


def await_answer(page: Page) -> None:
    """Wait until the page shows words."""
    expect(page.locator("#answer")).not_to_be_empty(timeout=TIMEOUT_MS)


def await_words(page: Page) -> None:
    """Wait until the page shows what was said.

    On a busy machine the microphone of the browser loses samples. Then it is said again.
    """
    expected = re.compile(SPEECH.text.rstrip(".?"), re.IGNORECASE)
    for _ in range(ATTEMPTS):
        try:
            expect(page.locator("#answer")).to_have_text(expected, timeout=ATTEMPT_MS)
        except AssertionError:
            say_again(page)
        else:
            return
    expect(page.locator("#answer")).to_have_text(expected, timeout=TIMEOUT_MS)


def say_again(page: Page) -> None:
    """The recording begins anew when the microphone is opened again."""
    page.get_by_role("button", name="Mute", exact=True).click()
    page.get_by_role("button", name="Unmute").click()


def test_a_tap_and_speech_give_words_on_the_page_and_on_mqtt(
    house: House, context: BrowserContext
) -> None:
    page = open_microphone_page(context, house.url, "kitchen")
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    talk_button(page).click()
    await_words(page)
    result = house.peer.json("stt/kitchen/result")[-1]
    assert words(result["text"]) == words(SPEECH.text)
    assert result["end"] in {"stop", "endpoint"}
    assert not problems


def test_a_held_button_ends_the_utterance_when_it_is_released(
    house: House, context: BrowserContext
) -> None:
    page = open_microphone_page(context, house.url, "hall")
    talk_button(page).hover()
    page.mouse.down()
    expect(talk_button(page)).to_contain_text("Hearing you", timeout=TIMEOUT_MS)
    page.wait_for_timeout(len(SPEECH.pcm()) / 32)
    page.mouse.up()
    house.peer.json("stt/hall/result")
    expect(talk_button(page)).to_contain_text("Talk")
    await_answer(page)


def test_a_button_that_is_held_long_after_the_words_gives_one_result(
    house: House, context: BrowserContext
) -> None:
    page = open_microphone_page(context, house.url, "stairs")
    talk_button(page).hover()
    page.mouse.down()
    expect(talk_button(page)).to_contain_text("Hearing you", timeout=TIMEOUT_MS)
    page.wait_for_timeout(len(SPEECH.pcm()) / 32 + SERVICE_WAITS_MS)
    page.mouse.up()
    await_answer(page)
    (result,) = house.peer.json("stt/stairs/result")
    assert result["end"] == "stop"
    assert len(house.peer.payloads("stt/stairs/text")) == 1


@pytest.mark.parametrize("key", ["Space", "Enter"])
def test_a_held_key_talks_as_a_held_button(house: House, context: BrowserContext, key: str) -> None:
    room = f"porch_{key}"
    page = open_microphone_page(context, house.url, room)
    talk_button(page).focus()
    page.keyboard.down(key)
    expect(talk_button(page)).to_contain_text("Hearing you", timeout=TIMEOUT_MS)
    page.keyboard.down(key)  # It repeats.
    page.wait_for_timeout(len(SPEECH.pcm()) / 32)
    page.keyboard.up(key)
    (result,) = house.peer.json(f"stt/{room}/result")
    assert result["end"] == "stop"
    expect(talk_button(page)).to_contain_text("Talk", timeout=TIMEOUT_MS)
    expect(talk_button(page)).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("loss", ["HIDE", "RELEASE_POINTER"])
def test_a_button_whose_release_is_not_seen_is_not_held_for_ever(
    house: House, context: BrowserContext, loss: str
) -> None:
    page = open_microphone_page(context, house.url, f"balcony_{loss}")
    page.evaluate(KEEP_POINTER)
    talk_button(page).hover()
    page.mouse.down()
    expect(talk_button(page)).to_contain_text("Speak now", timeout=TIMEOUT_MS)
    page.evaluate(LOSSES[loss])
    expect(talk_button(page)).to_contain_text("Talk", timeout=TIMEOUT_MS)


def test_a_browser_without_an_encoder_sends_pcm(house: House, context: BrowserContext) -> None:
    context.add_init_script("delete window.AudioEncoder")
    frames: list[str | bytes] = []

    def keep(frame: str | bytes) -> None:
        frames.append(frame)

    # Playwright cannot call a method of a list.
    context.on(
        "page",
        lambda page: page.on("websocket", lambda socket: socket.on("framesent", keep)),
    )
    page = open_microphone_page(context, house.url, "gym")
    talk_button(page).click()
    await_words(page)
    starts = [json.loads(frame) for frame in frames if isinstance(frame, str)]
    assert {start["codec"] for start in starts if start["type"] == "start"} == {"pcm_s16le"}


def test_the_first_dialog_stays_until_the_room_has_a_name(
    house: House, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{house.url}mic")
    name = page.get_by_label("Name of the room")
    expect(name).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(name).to_be_visible()
    name.fill("nursery")
    page.get_by_role("button", name="Save").click()
    expect(name).to_be_hidden()
    expect(page.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)


def test_a_tap_on_a_slow_page_is_a_tap(house: House, context: BrowserContext) -> None:
    page = open_microphone_page(context, house.url, "loft")
    page.evaluate(SLOW_PRESSES)
    talk_button(page).click()
    expect(talk_button(page)).to_contain_text("Listening", timeout=TIMEOUT_MS)


def test_in_noise_a_keyboard_is_enough(tmp_path: Path, house: House, browser: Browser) -> None:
    noise = recording(tmp_path, noise=steady_noise())
    with launched(browser.browser_type, *microphone_arguments(noise)) as noisy:
        page = open_microphone_page(noisy.new_context(), house.url, "bath")
        talk_button(page).focus()
        page.keyboard.press("Enter")
        await_words(page)


def test_the_page_waits_longer_while_it_is_told_that_a_phrase_is_open(
    tmp_path: Path, house: House, browser: Browser
) -> None:
    both = SAMPLES[LAMP].pcm() + SAMPLES[MUSIC].pcm()
    heard = write_recording(tmp_path / "microphone.wav", BEFORE_S, both, AFTER_S)
    with launched(browser.browser_type, *microphone_arguments(heard)) as another:
        context = another.new_context()
        context.add_init_script(TELL_OPEN)
        talk_button(open_microphone_page(context, house.url, "cellar")).click()
        (result,) = house.peer.json("stt/cellar/result")
    assert result["audio_s"] >= BOTH_S


def test_the_page_goes_on_after_the_service_was_killed(
    tmp_path: Path, broker: Broker, context: BrowserContext
) -> None:
    config, url = web()
    with running(tmp_path, broker, web=config) as (service, peer):
        page = open_microphone_page(context, url, "kitchen")
        talk_button(page).click()
        await_answer(page)
        service.process.kill()
        service.process.wait()
        expect(page.locator("#link")).to_contain_text("Connecting", timeout=TIMEOUT_MS)
        with service.log_file.open("ab") as log:
            service.process = service.spawn(log)
            expect(page.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)
            say_again(page)
            expect(page.locator("#earlier li")).to_have_count(1, timeout=TIMEOUT_MS)
            peer.json("stt/kitchen/result", 2)
            await_words(page)


def test_what_is_always_on_stays_on_over_a_reload(house: House, context: BrowserContext) -> None:
    page = open_microphone_page(context, house.url, "office")
    talk_button(page).click()
    await_answer(page)
    page.reload()
    expect(page.locator("#room-name")).to_have_text("office")
    await_answer(page)
    assert len(house.peer.json("stt/office/result", 2)) == 2


def test_a_muted_page_sends_nothing_and_closes_the_microphone(
    house: House, context: BrowserContext
) -> None:
    page = open_microphone_page(context, house.url, "bedroom")
    talk_button(page).click()
    expect(talk_button(page)).to_contain_text("Hearing you", timeout=TIMEOUT_MS)
    page.get_by_role("button", name="Mute", exact=True).click()
    (result,) = house.peer.json("stt/bedroom/result")
    assert result["outcome"] == "aborted"
    expect(talk_button(page)).to_contain_text("Muted")
    expect(talk_button(page)).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#help")).to_contain_text("to be heard again")
    expect(page.locator("#answer")).to_be_empty()


def test_a_refused_microphone_is_explained(house: House, browser: Browser) -> None:
    refusing = ("--deny-permission-prompts", "--use-fake-device-for-media-stream")
    with launched(browser.browser_type, *refusing) as another:
        page = open_microphone_page(another.new_context(), house.url, "garage")
        talk_button(page).click()
        expect(page.get_by_role("alert").first).to_contain_text("not allowed", timeout=TIMEOUT_MS)


def test_a_refused_microphone_lets_the_screen_go_off(house: House, browser: Browser) -> None:
    refusing = ("--deny-permission-prompts", "--use-fake-device-for-media-stream")
    with launched(browser.browser_type, *refusing) as another:
        context = another.new_context()
        context.add_init_script(KEEP_LOCKS)
        page = open_microphone_page(context, house.url, "garden")
        talk_button(page).click()
        eventually(lambda: page.evaluate(ARE_RELEASED))
        page.reload()
        expect(page.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)
        expect(talk_button(page)).to_have_attribute("aria-pressed", "false")
        expect(page.get_by_role("alert").first).to_be_hidden()


def test_without_https_the_page_says_what_is_needed(
    tmp_path: Path, broker: Broker, browser: Browser
) -> None:
    config, url = web()
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    there = url.replace("127.0.0.1", "home.test")
    names = "--host-resolver-rules=MAP home.test 127.0.0.1"
    with (
        running(tmp_path, broker, web={**config, "token_file": str(token)}),
        launched(browser.browser_type, names) as another,
    ):
        page = another.new_context().new_page()
        page.goto(f"{there}mic")
        page.get_by_label("Token").fill(token.read_text().strip())
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Name of the room").fill("kitchen")
        page.get_by_role("button", name="Save").click()
        talk_button(page).click()
        expect(page.get_by_role("alert").first).to_contain_text("https://", timeout=TIMEOUT_MS)


def test_a_microphone_that_was_unplugged_is_opened_again(
    house: House, context: BrowserContext
) -> None:
    context.add_init_script(KEEP_TRACK)
    page = open_microphone_page(context, house.url, "attic")
    talk_button(page).click()
    await_answer(page)
    page.evaluate("window.track.dispatchEvent(new Event('ended'))")
    expect(page.get_by_role("alert").first).to_contain_text("Plug one in", timeout=TIMEOUT_MS)
    house.peer.json("stt/attic/result", 2)
    expect(page.get_by_role("alert").first).to_be_hidden()


def test_a_permission_that_is_taken_back_is_explained(
    house: House, context: BrowserContext
) -> None:
    context.add_init_script(KEEP_TRACK)
    page = open_microphone_page(context, house.url, "shed")
    talk_button(page).click()
    expect(talk_button(page)).to_contain_text("Listening", timeout=TIMEOUT_MS)
    page.evaluate("navigator.permissions.query = async () => ({ state: 'denied' })")
    page.evaluate("window.track.dispatchEvent(new Event('ended'))")
    expect(page.get_by_role("alert").first).to_contain_text("not allowed", timeout=TIMEOUT_MS)
    expect(talk_button(page)).to_have_attribute("aria-pressed", "false")


def test_a_page_that_was_frozen_hears_again(tmp_path: Path, house: House, browser: Browser) -> None:
    pcm = SPEECH.pcm()
    thrice = write_recording(tmp_path / "thrice.wav", BEFORE_S, pcm, 14.0, pcm, 8.0, pcm, AFTER_S)
    with launched(browser.browser_type, *microphone_arguments(thrice)) as another:
        page = open_microphone_page(another.new_context(), house.url, "cellar")
        talk_button(page).click()
        await_answer(page)
        page.evaluate(WATCH_STANDSTILL)
        session = page.context.new_cdp_session(page)
        session.send("Debugger.enable")
        session.send("Debugger.pause")
        page.wait_for_timeout(FROZEN_MS)
        session.send("Debugger.resume")
        assert page.evaluate("longestMs") > 0.9 * FROZEN_MS
        house.peer.json("stt/cellar/result", 3)
        expect(page.locator("#earlier li")).to_have_count(2, timeout=TIMEOUT_MS)
        expect(page.locator("#link")).to_have_text("Connected")


def test_in_a_frame_without_a_microphone_the_page_offers_a_tab(
    house: House, context: BrowserContext
) -> None:
    page = context.new_page()
    page.route(
        "**/app",
        lambda route: route.fulfill(
            content_type="text/html",
            headers={"Permissions-Policy": "microphone=()"},
            body='<iframe src="mic" width="800" height="700"></iframe>',
        ),
    )
    page.goto(f"{house.url}app")
    frame = page.frame_locator("iframe")
    frame.get_by_label("Name of the room").fill("pantry")
    frame.get_by_role("button", name="Save").click()
    frame.locator("#talk").click()
    link = frame.get_by_role("link", name="Open in its own tab")
    expect(link).to_be_visible(timeout=TIMEOUT_MS)
    expect(link).to_have_attribute("href", f"{house.url}mic")


def test_another_page_of_the_same_room_takes_over(house: House, context: BrowserContext) -> None:
    first = open_microphone_page(context, house.url, "porch")
    second = context.new_page()
    second.goto(f"{house.url}mic")
    expect(first.locator("#note")).to_contain_text("Another page", timeout=TIMEOUT_MS)
    expect(second.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)


def test_two_tabs_hear_one_sentence_and_one_result_comes(
    tmp_path: Path, house: House, browser: Browser
) -> None:
    late = write_recording(tmp_path / "late.wav", LATE_S, SPEECH.pcm(), AFTER_S)
    with launched(browser.browser_type, *microphone_arguments(late)) as another:
        context = another.new_context()
        first = open_microphone_page(context, house.url, "terrace")
        talk_button(first).click()
        second = context.new_page()
        second.goto(f"{house.url}mic")
        expect(talk_button(first)).to_contain_text("Connect", timeout=TIMEOUT_MS)
        await_answer(second)
        context.set_offline(True)
        first.wait_for_timeout(300)
        context.set_offline(False)
        first.wait_for_timeout(SETTLED_MS)
        expect(second.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)
        expect(first.locator("#link")).to_have_text("Not connected")
        assert len(house.peer.json("stt/terrace/result")) == 1


def test_a_room_that_is_not_listed_is_refused_until_another_is_named(
    tmp_path: Path, broker: Broker, context: BrowserContext
) -> None:
    config, url = web()
    with running(tmp_path, broker, web={**config, "rooms": ["tablet"]}):
        page = context.new_page()
        page.goto(f"{url}mic")
        page.get_by_label("Name of the room").fill("kitchen")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#link")).to_contain_text("Not connected", timeout=TIMEOUT_MS)
        page.get_by_role("button", name="Room kitchen, change").click()
        page.get_by_label("Name of the room").fill("tablet")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)


def test_a_new_room_does_not_get_the_words_of_the_old(
    house: House, context: BrowserContext
) -> None:
    context.add_init_script(DEAF_TO_RESULTS)
    page = open_microphone_page(context, house.url, "old_room")
    talk_button(page).click()
    house.peer.json("stt/old_room/result")
    page.get_by_role("button", name="Room old_room, change").click()
    page.get_by_label("Name of the room").fill("new_room")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#link")).to_have_text("Connected", timeout=TIMEOUT_MS)
    page.wait_for_timeout(SETTLED_MS)
    assert not house.peer.payloads("stt/new_room/result")


def test_a_room_that_is_switched_off_in_the_house_says_so(
    house: House, context: BrowserContext
) -> None:
    page = open_microphone_page(context, house.url, "library")
    talk_button(page).click()
    house.peer.publish("stt/library/set", '{"enabled": false}')
    expect(page.get_by_text("switched off in the house")).to_be_visible(timeout=TIMEOUT_MS)
    expect(talk_button(page)).to_contain_text("Switched off")
    expect(page.locator("#meter")).to_have_attribute("aria-valuenow", "-60")
    house.peer.publish("stt/library/set", '{"enabled": true}')
    expect(page.get_by_text("switched off in the house")).to_be_hidden(timeout=TIMEOUT_MS)
    await_answer(page)


def test_everything_is_in_reach_on_a_phone(house: House, browser: Browser) -> None:
    with browser.new_context(**PHONE) as phone:
        page = open_microphone_page(phone, house.url, "living_room")
        talk_button(page).tap()
        await_words(page)
        width, height = PHONE["viewport"]["width"], PHONE["viewport"]["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.get_by_role("button").all():
            if not button.is_visible():
                continue
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44
            assert box["y"] + box["height"] <= height


@pytest.mark.parametrize(("width", "height"), [(375, 667), (667, 375), (390, 844)])
def test_the_buttons_stay_where_they_are_whatever_is_shown(
    house: House, browser: Browser, width: int, height: int
) -> None:
    with browser.new_context(viewport={"width": width, "height": height}) as phone:
        page = phone.new_page()
        page.route(
            "**/mic/main.js",
            lambda route: route.fulfill(content_type="text/javascript", body=SHOW_ONLY),
        )
        page.goto(f"{house.url}mic")
        places = set()
        for shown in ({}, FULL, {**FULL, "talk": "muted", "muted": True}, {"talk": "refused"}):
            page.evaluate("(shown) => show(shown)", shown)
            for name in ("#talk", "#mute"):
                box = page.locator(name).bounding_box()
                assert box is not None
                assert 0 <= box["y"] <= height - box["height"]
                places.add((name, box["y"], box["height"]))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(places) == 2
        page.evaluate("(shown) => show(shown)", FULL)
        last = page.locator("#earlier li").last
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport()
        expect(page.locator("#mute")).to_be_in_viewport(ratio=1)


def steady_noise() -> bytes:
    """The hiss of a fan."""
    hiss = np.random.default_rng(3).standard_normal(5 * SAMPLE_RATE)
    return (3000 * np.convolve(hiss, np.ones(8) / 8, "same")).astype("<i2").tobytes()
