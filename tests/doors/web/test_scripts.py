"""The scripts of the microphone page, without a browser."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.audio.activity import NoiseFloor
from stt_mqtt.config import VadConfig
from stt_mqtt.satellite.segmenter import (
    FRAME_S,
    CloseReason,
    ListenState,
    Segmenter,
    SegmenterOutput,
    VadFrame,
)
from tools.fetch_web import VENDOR, differs, vendored_files

SCRIPTS = Path(__file__).parent / "js"
NODE = shutil.which("node")
TIMEOUT_S = 600
MAX_PAGE_BYTES = 1_500_000
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")


def node(*arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [str(NODE), *arguments],
        cwd=SCRIPTS,
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_node
def test_the_tests_of_the_scripts_pass() -> None:
    node("--test", *sorted(path.name for path in SCRIPTS.glob("*.test.mjs")))


def random_events(rng: random.Random) -> list[dict[str, Any]]:
    """Frames, ends and listen states as they may come, mostly as people speak."""
    events: list[dict[str, Any]] = []
    listen = rng.choice(["active", "held", "waiting"])
    number = 0
    while number < 1500:
        loud = rng.random()
        for _ in range(rng.choice([1, 2, 5, 12, 25, 60])):
            begins = rng.random() < loud
            goes_on = begins or rng.random() < loud / 2
            sounds = goes_on or rng.random() < 0.3
            events.append(
                {"number": number, "begins": begins, "goes_on": goes_on, "sounds": sounds}
                | {"listen": listen}
            )
            number += 1
        if rng.random() < 0.05:
            listen = rng.choice(["off", "active", "active", "held", "waiting"])
        if rng.random() < 0.04:
            events.append({"cut": rng.choice(["released", "muted"])})
        if rng.random() < 0.04:
            events.append({"unsent": rng.randrange(9)})
        if rng.random() < 0.3:
            events.append({"more": True})
    return events


def one_word_after_a_hint() -> list[dict[str, Any]]:
    """As short as an utterance can be, after a hint that is about none."""
    events: list[dict[str, Any]] = [{"more": True}]
    for number in range(80):
        speaks = number < 5
        sound = dict.fromkeys(("begins", "goes_on", "sounds"), speaks)
        events.append({"number": number, **sound, "listen": "active"})
    return events


def expected(events: list[dict[str, Any]]) -> list[list[Any] | None]:
    """What the satellite program makes of the events."""
    segmenter = Segmenter(VadConfig())
    return [plain(apply(segmenter, event)) for event in events]


def apply(segmenter: Segmenter, event: dict[str, Any]) -> SegmenterOutput | None:
    if "more" in event:
        segmenter.expect_more()
        return None
    if "cut" in event:
        return segmenter.cut(CloseReason(event["cut"]))
    if "unsent" in event:
        return segmenter.end_by_service(event["unsent"])
    number = event["number"]
    frame = VadFrame(
        str(number).encode(),
        number * FRAME_S,
        begins=event["begins"],
        goes_on=event["goes_on"],
        sounds=event["sounds"],
    )
    return segmenter.push(frame, ListenState(event["listen"]))


def plain(output: SegmenterOutput | None) -> list[Any] | None:
    if output is None:
        return None
    frames = [int(pcm) for pcm in output.frames]
    return [output.opened_at is not None, frames, output.closed, output.flush]


@needs_node
def test_a_browser_cuts_speech_as_the_satellite_program_does() -> None:
    rng = random.Random(17)
    cases = [one_word_after_a_hint(), *(random_events(rng) for _ in range(40))]
    levels = [rng.gauss(-60 if n % 200 < 150 else -25, 4) for n in range(3000)]
    output = json.loads(node("segments.mjs", text=json.dumps({"cases": cases, "levels": levels})))
    for events, found in zip(cases, output["outputs"], strict=True):
        assert found == expected(events)
    floor = NoiseFloor()
    assert output["floors"] == pytest.approx([floor.push(level) for level in levels])


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    files = vendored_files()
    assert files
    for file in files:
        assert not differs(file, (VENDOR / file.path).read_bytes()), file.path
    known = {file.path for file in files} | {"manifest.json", "rnnoise/NOTICE.txt"}
    assert {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} == known


def test_the_page_is_light_and_asks_no_other_host() -> None:
    assets = VENDOR.parent
    own = [assets / "mic.html", *(assets / "mic").iterdir()]
    weight = sum(path.stat().st_size for path in (*own, *VENDOR.rglob("*.wasm")))
    assert weight < MAX_PAGE_BYTES
    allowed = ("with https://,", 'xmlns="http://www.w3.org/2000/svg"')
    for path in own:
        text = path.read_text(encoding="utf-8")
        for words in allowed:
            text = text.replace(words, "")
        for mark in ("http://", "https://", '"//', "url(", "@import", "style="):
            assert mark not in text, f"{mark} in {path.name}"
