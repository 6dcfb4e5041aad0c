"""What can happen to the sound of the page `/mic`, in a real browser."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import WebSocketRoute, expect

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tests.browser import (
    TIMEOUT_MS,
    chromium,
    microphone_arguments,
    needs_chromium,
    open_microphone_page,
    write_recording,
)
from tests.e2e.test_browser import (
    KEEP_TRACK,
    House,
    await_answer,
    say_again,
    talk_button,
    web,
)
from tools.brokers import Broker, eventually
from tools.program import running

pytestmark = needs_chromium

BEFORE_S = 1.5
WORDS_S, HESITATION_S = 1.3, 0.36
PRE_ROLL_S = 0.3
PACKET_S = 0.06
STOOD_STILL_S = 15

MUTE_TRACK = """
(muted) => {
  Object.defineProperty(track, "muted", { value: muted, configurable: true });
  track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
}
"""
"""Do to the microphone what a switch of the system does."""

HOLD_WORKLETS = """
window.contexts = [];
window.AudioContext = class extends AudioContext {
  constructor(...given) {
    super(...given);
    contexts.push(this);
  }
};
const { addModule } = AudioWorklet.prototype;
const mayLoad = new Promise((resolve) => { window.loadWorklets = resolve; });
AudioWorklet.prototype.addModule = async function (...given) {
  await mayLoad;
  return addModule.apply(this, given);
};
window.running = () => contexts.filter(({ state }) => state === "running").length;
"""
"""A script that lets a test decide how long the audio takes to begin, and see what runs."""

BREAK_ENCODER = """
let frames = 0;
const { encode } = AudioEncoder.prototype;
AudioEncoder.prototype.encode = function (data) {
  frames += 1;
  if (frames > 40) throw new DOMException("", "OperationError");
  encode.call(this, data);
};
"""
"""A script that lets the encoder fail in the middle of the first utterance."""


@pytest.fixture(scope="module")
def house(shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The same for all tests; each has a room of its own."""
    config, url = web()
    with running(tmp_path_factory.mktemp("house"), shared_broker, web=config) as (_, peer):
        yield House(peer, url)


def add_zeros(file: Path, seconds: int) -> None:
    """Let a recording end with digital silence."""
    with wave.open(str(file)) as recorded:
        parameters = recorded.getparams()
        pcm = recorded.readframes(recorded.getnframes())
    with wave.open(str(file), "wb") as out:
        out.setparams(parameters)
        out.writeframes(pcm + bytes(2 * SAMPLE_RATE * seconds))


def end_after(socket: WebSocketRoute, seconds: float) -> None:
    """Say to the page that the service has ended the first utterance, after so much audio."""
    service = socket.connect_to_server()
    ids: list[str] = []
    packets = 0

    def take(message: str | bytes) -> None:
        nonlocal packets
        service.send(message)
        if isinstance(message, bytes):
            packets += opus_packets(message)
        elif json.loads(message)["type"] == "start":
            ids.append(json.loads(message)["id"])
        if len(ids) == 1 and packets * PACKET_S >= seconds:
            packets = 0
            result = {"id": ids[0], "outcome": "transcript", "text": "Stop.", "end": "endpoint"}
            socket.send(json.dumps({"type": "result", **result}))

    socket.on_message(take)


def opus_packets(chunk: bytes) -> int:
    """How many packets are in a chunk: each is behind its length, all behind a number."""
    at, count = 4, 0
    while at < len(chunk):
        at += 2 + int.from_bytes(chunk[at : at + 2], "little")
        count += 1
    return count


def test_speech_goes_on_after_the_service_ended_the_sentence(tmp_path: Path, house: House) -> None:
    file = tmp_path / "microphone.wav"
    words = SAMPLES[0].pcm()
    before, after = words[: int(WORDS_S * SAMPLE_RATE) * 2], words[int(WORDS_S * SAMPLE_RATE) * 2 :]
    write_recording(file, BEFORE_S, before, HESITATION_S, after, 60.0)
    with chromium(*microphone_arguments(file)) as browser, browser.new_context() as context:
        resumed_s = PRE_ROLL_S + WORDS_S + HESITATION_S + 0.3
        context.route_web_socket("**/ws?*", lambda socket: end_after(socket, resumed_s))
        page = open_microphone_page(context, house.url, "kitchen")
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        talk_button(page).click()
        expect(page.locator("#answer")).to_have_text("Stop.", timeout=TIMEOUT_MS)
        expect(page.locator("#earlier li")).to_have_count(1, timeout=TIMEOUT_MS)
        first, second = house.peer.json("stt/kitchen/result", 2)[:2]
        assert (first["end"], second["outcome"]) == ("restart", "transcript")
        assert not problems


def test_speech_that_waited_for_a_page_that_stood_still_has_its_age(
    tmp_path: Path, house: House
) -> None:
    file = tmp_path / "microphone.wav"
    write_recording(file, BEFORE_S, SAMPLES[0].pcm(), 60.0)
    with chromium(*microphone_arguments(file)) as browser, browser.new_context() as context:
        page = open_microphone_page(context, house.url, "bath")
        session = context.new_cdp_session(page)
        session.send("Debugger.enable")
        talk_button(page).click()
        expect(talk_button(page)).to_contain_text("Listening", timeout=TIMEOUT_MS)
        session.send("Debugger.pause")
        page.wait_for_timeout(STOOD_STILL_S * 1000)
        session.send("Debugger.resume")
        (result,) = house.peer.json("stt/bath/result")
        assert result["age_s"] > STOOD_STILL_S - BEFORE_S - len(SAMPLES[0].pcm()) / 32000 - 2


def test_a_microphone_that_is_switched_off_later_is_reported(tmp_path: Path, house: House) -> None:
    file = tmp_path / "microphone.wav"
    add_zeros(write_recording(file, BEFORE_S, SAMPLES[0].pcm(), 2.0), 60)
    with chromium(*microphone_arguments(file)) as browser, browser.new_context() as context:
        context.add_init_script(KEEP_TRACK)
        page = open_microphone_page(context, house.url, "hall")
        problem = page.get_by_role("alert").first
        talk_button(page).click()
        await_answer(page)
        expect(problem).to_contain_text("nothing but silence", timeout=TIMEOUT_MS)
        page.evaluate(MUTE_TRACK, True)
        expect(problem).to_contain_text("is muted", timeout=TIMEOUT_MS)
        page.evaluate(MUTE_TRACK, False)
        expect(problem).to_contain_text("nothing but silence", timeout=TIMEOUT_MS)


def test_mute_during_the_opening_leaves_no_audio_running(house: House, tmp_path: Path) -> None:
    file = write_recording(tmp_path / "microphone.wav", 60.0)
    with chromium(*microphone_arguments(file)) as browser, browser.new_context() as context:
        context.add_init_script(HOLD_WORKLETS)
        page = open_microphone_page(context, house.url, "porch")
        talk_button(page).click()
        expect(talk_button(page)).to_contain_text("Opening", timeout=TIMEOUT_MS)
        eventually(lambda: page.evaluate("contexts.length") == 1)
        say_again(page)
        eventually(lambda: page.evaluate("contexts.length") == 2)
        page.evaluate("loadWorklets()")
        expect(talk_button(page)).to_contain_text("Listening", timeout=TIMEOUT_MS)
        eventually(lambda: page.evaluate("running()") == 1)
        page.get_by_role("button", name="Mute", exact=True).click()
        eventually(lambda: page.evaluate("running()") == 0)


def test_an_encoder_that_fails_is_replaced(house: House, tmp_path: Path) -> None:
    file = write_recording(tmp_path / "microphone.wav", BEFORE_S, SAMPLES[0].pcm(), 60.0)
    with chromium(*microphone_arguments(file)) as browser, browser.new_context() as context:
        context.add_init_script(BREAK_ENCODER)
        page = open_microphone_page(context, house.url, "office")
        talk_button(page).click()
        expect(page.locator("#note")).to_contain_text("say it again", timeout=TIMEOUT_MS)
        say_again(page)
        await_answer(page)
        lost, heard = house.peer.json("stt/office/result", 2)[:2]
        assert (lost["outcome"], heard["outcome"]) == ("aborted", "transcript")
