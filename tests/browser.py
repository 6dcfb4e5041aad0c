"""A real browser with a recording as its microphone, driven as a person would."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, sync_playwright

from stt_mqtt.types import SAMPLE_RATE

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
needs_chromium = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="needs Chromium (apt install chromium)"
)

TIMEOUT_MS = 120_000
"""Longest time for anything to appear on a page: the machine may be busy."""
QUIET_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROOM_DBFS = -66.0
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


def microphone_arguments(recording: Path) -> tuple[str, ...]:
    """Arguments that make a WAV file the microphone, played once from when it is opened."""
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}%noloop",
    )


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright, launched(playwright.chromium, *arguments) as browser:
        yield browser


@contextmanager
def launched(kind: BrowserType, *arguments: str) -> Iterator[Browser]:
    """Another one beside those that run: `kind` is the type of one of them."""
    browser = kind.launch(executable_path=CHROMIUM, args=[*QUIET_ARGUMENTS, *arguments])
    try:
        yield browser
    finally:
        browser.close()


def write_recording(
    file: Path, *parts: bytes | float, noise: bytes | None = None, snr_db: float = 0.0
) -> Path:
    """Write a WAV file of speech (16-bit mono at `SAMPLE_RATE`) and of pauses in seconds.

    A faint room is in all of it. `noise` is added, `snr_db` softer than the speech.
    """
    rng = np.random.default_rng(5)
    pieces = [
        np.zeros(int(part * SAMPLE_RATE), np.float32)
        if isinstance(part, float)
        else np.frombuffer(part, "<i2").astype(np.float32)
        for part in parts
    ]
    sound = np.concatenate(pieces)
    room = rng.standard_normal(len(sound)).astype(np.float32)
    mixed = sound + room * np.float32(32768 * 10 ** (ROOM_DBFS / 20))
    if noise is not None:
        speech = np.concatenate(
            [piece for piece, part in zip(pieces, parts, strict=True) if isinstance(part, bytes)]
        )
        added = np.resize(np.frombuffer(noise, "<i2").astype(np.float32), len(sound))
        mixed += added * np.float32(_rms(speech) / _rms(added) * 10 ** (-snr_db / 20))
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(np.clip(mixed, -32768, 32767).astype("<i2").tobytes())
    return file


def open_microphone_page(context: BrowserContext, url: str, room: str) -> Page:
    """The page `/mic`, with the name of its room given, and connected."""
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(f"{url}mic")
    page.get_by_label("Name of the room").fill(room)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Connected", exact=True).wait_for()
    return page


def _rms(samples: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) or 1.0
