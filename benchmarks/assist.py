"""How long one word takes through Home Assistant's pipeline, if the service ends the turn.

A client that does what Home Assistant 2026.11 does sends recordings of "stop", "yes" and "off" in
real time to the Wyoming port of `stt-mqtt run`, with `wyoming.endpointing: server` and the phrase
book that the package ships. Its microphone never stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report, scoring, speech
from benchmarks.harness import a_service, say, spread
from benchmarks.pauses import background, speech_span
from benchmarks.playing import ROOM_DBFS, SEED
from benchmarks.sounds import Rng, at_level, faded, from_pcm, level_dbfs, pcm, pink
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE
from tools.assist_pipeline import AssistPipeline, PipelineResult, microphone
from tools.brokers import free_port

HOST = "127.0.0.1"
WORDS = ("stop", "yes", "off")
PLAYED = 100
LEAD_S = 0.6
QUIET_S = 2.0
PROMISED_S = 0.6
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Played:
    """A recording that was played. `after_s`: from its last sound to the end of the pipeline."""

    clip: Clip
    after_s: float
    result: PipelineResult


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Play all recordings one after the other."""
    with tempfile.TemporaryDirectory() as name:
        clips = _clips(options, Path(name))
        port = free_port()
        wyoming = {"enabled": True, "listen": [f"tcp://{HOST}:{port}"], "endpointing": "server"}
        defaults = {"language": "en"}
        with a_service(wyoming=wyoming, device_defaults=defaults, phrases={"builtin": True}):
            say(f"{len(clips)} recordings")
            played = asyncio.run(_play(clips, port))
    return {
        "promised_s": PROMISED_S,
        "words": {word: figures(some) for word, some in _by_word(played).items()},
        "clips": [
            {"clip": one.clip.id, "after_s": one.after_s, "text": one.result.text} for one in played
        ],
    }


def _clips(options: argparse.Namespace, folder: Path) -> list[Clip]:
    if options.quick:
        return speech.samples(folder)[:2]
    said = [one for one in speech.recordings() if one.text.casefold() in WORDS]
    return [said[number % len(said)] for number in range(PLAYED)]


async def _play(clips: Sequence[Clip], port: int) -> list[Played]:
    pipeline, rng = AssistPipeline(HOST, port, lambda _: -1.0), np.random.default_rng(SEED)
    await pipeline.load()
    return [played for clip in clips if (played := await _played(pipeline, clip, rng)) is not None]


async def _played(pipeline: AssistPipeline, clip: Clip, rng: Rng) -> Played | None:
    """None: there is no voice in the recording."""
    sound = from_pcm(clip.pcm)
    span = speech_span(sound)
    if span is None:
        return None
    around = background(sound, LEAD_S + QUIET_S, rng)
    gain = np.float32(min(10 ** ((ROOM_DBFS - level_dbfs(around)) / 20), 1.0))
    around = faded(gain * around)
    lead, quiet = np.split(around, [round(LEAD_S * SAMPLE_RATE)])
    room = at_level(pink(rng, len(around) / SAMPLE_RATE), ROOM_DBFS)
    heard = np.concatenate([lead, gain * sound])
    noise = np.resize(room, len(heard))
    began_at = time.monotonic()
    audio = microphone(pcm(heard + noise), pcm(quiet + room[: len(quiet)]))
    async with asyncio.timeout(TIMEOUT_S):
        result = await pipeline.run(audio)
    return Played(clip, result.at - began_at - len(lead) / SAMPLE_RATE - span[1], result)


def _by_word(played: Sequence[Played]) -> dict[str, list[Played]]:
    words = dict.fromkeys(one.clip.text.casefold() for one in played)
    return {
        **{word: [one for one in played if one.clip.text.casefold() == word] for word in words},
        "all": list(played),
    }


def figures(played: Sequence[Played]) -> dict[str, Any]:
    """Times, and how many words are right."""
    return {
        "played": len(played),
        "after_s": spread([one.after_s for one in played]),
        "in_time": sum(one.after_s <= PROMISED_S for one in played),
        "right": sum(scoring.is_exact(one.clip.text, one.result.text or "") for one in played),
    }


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    columns = ["played", "median", "95 %", "longest", f"within {data['promised_s']:g} s", "right"]
    return [
        "# One word through Home Assistant",
        "",
        'A client that does what Home Assistant 2026.11 does sends "stop", "yes" and "off", spoken '
        f"by many people, one after the other, each several times with other noise of "
        f"{ROOM_DBFS:g} dBFS. `wyoming.endpointing: server`, starter phrases. Seconds from the end "
        "of the last sound to the end of the speech-to-text stage.",
        "",
        *report.table(["word", *columns], [_row(*item) for item in data["words"].items()]),
    ]


def _row(word: str, row: Mapping[str, Any]) -> list[object]:
    times = (row["after_s"]["p50"], row["after_s"]["p95"], row["after_s"]["max"])
    seconds = [report.number("{:.3f}", one) for one in times]
    return [word, row["played"], *seconds, row["in_time"], row["right"]]


if __name__ == "__main__":
    sys.exit(report.run(report.Benchmark("assist", measure, page), report.parser(__doc__)))
