"""Takes the pictures of the status page: `python -m tools.status_pictures docs/images`.

It runs the real service on a real broker, with simulated satellites in eight rooms, some of which
have a fault. After `--minutes` (60: the plots are then full) a browser takes the pictures.

Needs Mosquitto, Chromium, and the packages `playwright` and `pillow`.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import KEEPS_ALL, Mosquitto, free_port
from tools.clients import ask_wyoming
from tools.program import Peer, running

CHROMIUM = "/usr/bin/chromium"
CHUNK_BYTES = 4096
PAUSE_S = 6.0
"""Time between two events of the home."""
NAMES = {
    "name": ["Mood Light", "Coffee Machine", "Floor Lamp", "Garage Door", "Radio", "Blinds"],
    "area": ["Kitchen", "Living Room", "Bedroom", "Bathroom", "Garage", "Office", "Nursery"],
    "floor": ["Ground Floor", "First Floor"],
}
MARGIN = 16
COLOURS = 128
"""Colours of a picture, which has few."""

DESKTOP: Screen = {"viewport": {"width": 1280, "height": 1020}}
PHONE: Screen = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}

Pcm: TypeAlias = npt.NDArray[np.int16]
Screen: TypeAlias = dict[str, Any]
Fault: TypeAlias = Callable[[Pcm, Random], Pcm]


def faultless(pcm: Pcm, _chance: Random) -> Pcm:
    return with_noise(pcm, 38)


def clipped(pcm: Pcm, _chance: Random) -> Pcm:
    return np.clip(pcm.astype(np.float32) * 9, -32768, 32767).astype(np.int16)


def beside_a_television(pcm: Pcm, _chance: Random) -> Pcm:
    return with_noise(pcm, 6)


def silence(pcm: Pcm, _chance: Random) -> Pcm:
    return with_noise(np.zeros_like(pcm), 0)


def with_noise(pcm: Pcm, snr_db: float) -> Pcm:
    """Brown noise below the speech, or quiet noise alone."""
    noise = np.random.default_rng(len(pcm)).standard_normal(len(pcm) + SAMPLE_RATE)
    noise = np.convolve(noise, np.ones(24) / 24, "same")[: len(pcm)]
    power = float(np.mean(np.square(pcm.astype(np.float64)))) or 100.0
    noise *= np.sqrt(power / 10 ** (snr_db / 10) / np.mean(np.square(noise)))
    return np.clip(pcm + noise, -32768, 32767).astype(np.int16)


@dataclass
class Room:
    """A satellite. `often`: how likely it speaks in comparison to others."""

    name: str
    often: float
    fault: Fault = faultless
    lost: float = 0.0
    """Share of chunks that do not arrive."""
    spoken: int = 0


@dataclass
class Home:
    """The rooms, and what goes wrong in them."""

    peer: Peer
    wyoming_port: int
    chance: Random = field(default_factory=lambda: Random(4))
    rooms: list[Room] = field(
        default_factory=lambda: [
            Room("kitchen", 5),
            Room("living-room", 3, beside_a_television),
            Room("bedroom", 2),
            Room("bathroom", 1.5, clipped),
            Room("hallway", 1.5, lost=0.02),
            Room("garage", 1.5, silence),
            Room("office", 2),
        ]
    )

    def open(self) -> None:
        """All satellites come online, and the nursery is switched off."""
        for room in self.rooms:
            self.peer.publish(f"stt/{room.name}/availability", "online", retain=True)
        self.peer.publish("stt/nursery/set", json.dumps({"enabled": False}))
        self.peer.publish("stt/bridge/names", json.dumps(NAMES), retain=True)
        for room in self.rooms:
            self.speak(room)

    def go_on(self) -> None:
        """One event."""
        dice = self.chance.random()
        if dice < 0.03:
            self.speak_together()
        elif dice < 0.045:
            self.peer.publish("stt/workshop/audio/start", json.dumps({"codec": "mp3"}))
        elif dice < 0.06:
            self.blink(self.rooms[4])
        elif dice < 0.12:
            ask_wyoming(self.wyoming_port, self.recording(self.rooms[0]))
        else:
            weights = [room.often for room in self.rooms]
            self.speak(self.chance.choices(self.rooms, weights)[0])

    def speak_together(self) -> None:
        """Everybody speaks at once, three times."""
        for _ in range(3):
            for room in self.rooms[:5]:
                self.speak(room, together=True)

    def blink(self, room: Room) -> None:
        """A satellite loses its network for a moment."""
        for state in ("offline", "online"):
            self.peer.publish(f"stt/{room.name}/availability", state, retain=True)

    def speak(self, room: Room, together: bool = False) -> None:
        """Send one command: in real time, or at once because others speak, too."""
        room.spoken += 1
        pcm = self.recording(room)
        topic = f"stt/{room.name}/audio"
        self.peer.publish(f"{topic}/start", json.dumps({"id": f"{room.name}-{room.spoken}"}))
        chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]
        for chunk in chunks:
            time.sleep(0 if together else len(chunk) / 2 / SAMPLE_RATE)
            if self.chance.random() >= room.lost:
                self.peer.publish(topic, chunk)
        self.peer.publish(f"{topic}/stop", json.dumps({"chunks": len(chunks)}))

    def begin(self, room: Room) -> None:
        """Begin a command that goes on while the pictures are taken."""
        self.peer.publish(f"stt/{room.name}/audio/start")

    def go_on_speaking(self, room: Room) -> None:
        """The next part of that command."""
        self.peer.publish(f"stt/{room.name}/audio", self.recording(room)[:CHUNK_BYTES])

    def recording(self, room: Room) -> bytes:
        own = [sample for sample in SAMPLES if sample.room == room.name] or list(SAMPLES)
        pcm = np.frombuffer(self.chance.choice(own).pcm(), np.int16)
        return room.fault(pcm, self.chance).tobytes()


def save(picture: bytes, file: Path) -> None:
    """Write a picture with few colours, so that the file is small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE, kmeans=1).save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def take_all(url: str, folder: Path, before_each: Callable[[], None]) -> None:
    """Take the pictures of both screens in both colour schemes, and one of what is further down."""
    folder.mkdir(parents=True, exist_ok=True)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for device, screen in (("desktop", DESKTOP), ("phone", PHONE)):
            for scheme in schemes:
                page = browser.new_page(**screen, color_scheme=scheme)
                page.goto(url)
                page.wait_for_selector(".room")
                before_each()
                page.wait_for_selector(".room[data-state=listening]")
                save(page.screenshot(), folder / f"status-{device}-{scheme}.png")
                if device == "desktop" and scheme == "light":
                    save(lower_half(page), folder / "status-details.png")
                page.close()
        browser.close()


def lower_half(page: Page) -> bytes:
    """A picture of everything below the rooms."""
    box = page.locator("#hour-heading").bounding_box()
    assert box is not None
    height = page.evaluate("document.documentElement.scrollHeight") - box["y"] + MARGIN
    clip = {"x": 0, "y": box["y"] - MARGIN, "width": DESKTOP["viewport"]["width"], "height": height}
    return page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=None, help="where the page is")
    options = parser.parse_args()
    port, wyoming_port = options.port or free_port(), free_port()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Mosquitto(work, KEEPS_ALL)
        broker.start()
        stack.callback(broker.stop)
        rungs = [
            {"name": "accurate", "model": "tiny.en", "beam_size": 5},
            {"name": "quick", "model": "tiny.en", "beam_size": 1},
        ]
        config = {
            "web": {"port": port, "show_text": True},
            "wyoming": {"listen": [f"tcp://127.0.0.1:{wyoming_port}"], "zeroconf": False},
            "ladder": {"rungs": rungs},
            "phrases": {"builtin": True},
            "devices": {"nursery": {}},
        }
        _, peer = stack.enter_context(running(work, broker, **config))
        home = Home(peer, wyoming_port)
        home.open()
        until = time.monotonic() + options.minutes * 60
        while time.monotonic() < until:
            home.go_on()
            time.sleep(PAUSE_S * home.chance.uniform(0.2, 2.5))
        speaking = home.rooms[0]
        home.begin(speaking)
        url = f"http://127.0.0.1:{port}/"
        take_all(url, options.folder, lambda: home.go_on_speaking(speaking))


if __name__ == "__main__":
    main()
