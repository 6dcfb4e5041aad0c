"""Takes the pictures of the microphone page: `python -m tools.microphone_pictures docs/images`.

It runs the real service on a real broker. Commands are the microphone of a real browser: in the
light scheme the page then listens, in the dark one somebody speaks.

Needs Mosquitto, Chromium, and the packages `playwright` and `pillow`.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from playwright.sync_api import Page, sync_playwright

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import KEEPS_ALL, Mosquitto, free_port
from tools.program import running
from tools.status_pictures import CHROMIUM, PHONE, Screen, save

DESKTOP: Screen = {"viewport": {"width": 1100, "height": 760}}
ROOM = "living_room"
COMMANDS = (0, 4, 1, 3)
"""Which of `SAMPLES` are said. The last one is on its way in the pictures of the dark scheme."""
PAUSE_S = 4.0
AFTER_S = 30.0
NOISE = 10.0
"""RMS of a quiet room, of 16-bit samples."""
TIMEOUT_MS = 60_000


def write_commands(file: Path) -> None:
    """Write the commands as a WAV file."""
    pause = bytes(2 * round(PAUSE_S * SAMPLE_RATE))
    pcm = pause + b"".join(SAMPLES[number].pcm() + pause for number in COMMANDS)
    sound = np.frombuffer(pcm + bytes(2 * round(AFTER_S * SAMPLE_RATE)), "<i2")
    room = np.random.default_rng(3).normal(0, NOISE, len(sound))
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(np.clip(sound + room, -32768, 32767).astype("<i2").tobytes())


def picture(page: Page, url: str, scheme: Literal["light", "dark"]) -> bytes:
    """Open the page, let it hear the commands, and take its picture."""
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{url}mic")
    page.get_by_label("Name of the room").fill(ROOM)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Connected", exact=True).wait_for()
    page.locator("#talk").click()
    page.locator("#earlier li").nth(len(COMMANDS) - 3).wait_for()
    if scheme == "dark":
        some_words = re.compile(r"\w+ \w+ \w+")
        page.locator("[data-talk=speech] #partial").filter(has_text=some_words).wait_for()
    else:
        page.wait_for_timeout(2000)  # The words have flashed.
    return page.screenshot()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    port = free_port()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Mosquitto(work, KEEPS_ALL)
        broker.start()
        stack.callback(broker.stop)
        config = {"web": {"port": port}, "devices": {ROOM: {"partials": True}}}
        stack.enter_context(running(work, broker, **config))
        write_commands(work / "commands.wav")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={work / 'commands.wav'}%noloop",
            ],
        )
        stack.callback(browser.close)
        for device, screen in (("desktop", DESKTOP), ("phone", PHONE)):
            for scheme in schemes:
                page = browser.new_page(**screen, color_scheme=scheme)
                taken = picture(page, f"http://127.0.0.1:{port}/", scheme)
                save(taken, options.folder / f"mic-{device}-{scheme}.png")
                page.close()


if __name__ == "__main__":
    main()
