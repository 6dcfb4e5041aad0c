"""How long the text takes after the last word, and how often a pause cuts somebody off.

`stt-mqtt satellite` hears recordings in real time and sends them through a broker to `stt-mqtt run`
with the phrase books of the benchmarks. Half of the recordings have a pause in their middle.
`stt-mqtt transcribe` then hears what the satellite sent.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import report, scoring, speech
from benchmarks.harness import say, spread, transcribed
from benchmarks.pauses import PAUSES_S, planted, quietest, speech_span
from benchmarks.phrases import BOOKS, LONG, SHORT
from benchmarks.playing import ROOM_DBFS, SEED, Played, Scene, Sent, play
from benchmarks.sounds import from_pcm
from benchmarks.speech import Clip
from stt_mqtt.config import DeviceConfig
from stt_mqtt.satellite.segmenter import FRAME_S
from tools.words import words

CORPORA = {"commands": "speech_to_phrase_en", "words": "gsc_v001_sample"}
CLIPS = {"commands": 40, "orders": 28, "words": 24, "free": 60}
"""Most recordings of a kind for one room."""
MAX_FREE_S = 8.0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Play all scenes, then transcribe what the satellites sent."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = scenes_of(options, folder)
        service = configuration(options)
        heard = play(scenes, options.rooms, **service)
        played = heard.played
        config = folder / "offline.yaml"
        config.write_text(yaml.safe_dump(service))
        say("stt-mqtt transcribe hears what they sent")
        differ = differing(played, folder, config)
    return {
        "endpointing": options.endpointing or "the default",
        "rooms": options.rooms,
        "seed": SEED,
        "seconds": round(heard.seconds, 1),
        "late_s": round(heard.late_s, 4),
        "cpu_s_per_s": {"service": heard.cpu_s_per_s},
        "speculation": heard.speculation,
        "kinds": {kind: figures(some) for kind, some in by_kind(played).items()},
        "pauses": {f"{one:g} s": figures(of_pause(played, one)) for one in PAUSES_S},
        "differ": differ,
        "clips": [row_of(one) for one in played],
        "unheard": [one.scene.clip.id for one in played if not one.sent],
    }


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    """The sections of the service's configuration."""
    # Free speech may spell: with the book of single words, each digit would be a whole command.
    words = [] if options.endpointing == "eager" else ["words"]
    books = [] if options.quick else ["commands", "orders", *words]
    defaults = {"language": "en"}
    if options.endpointing is not None and _is_known(options.endpointing):
        defaults["endpointing"] = options.endpointing
    return {
        "device_defaults": defaults,
        "phrases": {
            "paths": [str(BOOKS / f"{book}.yaml") for book in books],
            "builtin": options.quick,
        },
    }


def _is_known(endpointing: str) -> bool:
    """Whether the service has to be told. A service without the key ends by silence."""
    return endpointing != "silence" or "endpointing" in DeviceConfig.model_fields


def scenes_of(options: argparse.Namespace, folder: Path, with_pauses: bool = True) -> list[Scene]:
    """The recordings of the run in random order. Every second one that has room has a pause."""
    if options.quick:
        chosen = [("commands", clip) for clip in speech.samples(folder)[: 2 * options.rooms]]
    else:
        chosen = _chosen(options)
    rng, made, with_room = np.random.default_rng(SEED), list[Scene](), 0
    for kind, clip in chosen:
        sound, pause = from_pcm(clip.pcm), None
        has_words = clip.slots or " " in clip.text
        if with_pauses and has_words and quietest(sound) is not None:
            with_room += 1
            if with_room % 2:
                pause = planted(sound, PAUSES_S[with_room // 2 % len(PAUSES_S)], rng)
        span = speech_span(sound)
        if span is not None:
            last_s = span[1] + (0.0 if pause is None else pause.seconds)
            heard = sound if pause is None else pause.sound
            made.append(Scene(clip, kind, heard, span[0], last_s, pause))
    return made


def _chosen(options: argparse.Namespace) -> list[tuple[str, Clip]]:
    recorded, draw = speech.recordings(), random.Random(SEED)
    if options.endpointing == "eager":
        read = [one for one in recorded if one.corpus in (*SHORT, *LONG)]
        free = [one for one in read if one.seconds <= MAX_FREE_S]
        of_kind = {"free": free}
    else:
        of_kind = {
            kind: [one for one in recorded if one.corpus == corpus]
            for kind, corpus in CORPORA.items()
        }
        of_kind["orders"] = speech.orders()
    chosen = []
    for kind, clips in of_kind.items():
        most = min(options.clips or CLIPS[kind] * options.rooms, len(clips))
        chosen += [(kind, clip) for clip in draw.sample(clips, most)]
    draw.shuffle(chosen)
    return chosen


def differing(played: Sequence[Played], folder: Path, config: Path) -> list[str]:
    """The recordings of which `stt-mqtt transcribe` hears other words."""
    files: dict[Path, tuple[Played, Sent]] = {}
    for one in played:
        for sent in one.sent:
            if sent.result["outcome"] in {"transcript", "no_speech"}:
                file = folder / f"{sent.id}.wav"
                sent.write(file)
                files[file] = one, sent
    texts = transcribed([*files], "--config", str(config))
    return [
        one.scene.clip.id
        for file, (one, sent) in files.items()
        if words(texts[file]) != words(sent.result["text"])
    ]


def row_of(one: Played) -> dict[str, Any]:
    """What became of one recording."""
    return {
        "clip": one.scene.clip.id,
        "kind": one.scene.kind,
        "pause_s": None if one.scene.pause is None else one.scene.pause.seconds,
        "last_word_to_text_s": one.text_after_s,
        "ended_after_last_word_s": [sent.ended_at - one.last_word_at for sent in one.sent],
        "ends": [sent.result["end"] for sent in one.sent],
        "phrase": any(sent.result["phrase"] is not None for sent in one.sent),
    }


def by_kind(played: Sequence[Played]) -> dict[str, list[Played]]:
    """What was played by kind, and all of it."""
    kinds = dict.fromkeys(one.scene.kind for one in played)
    return {
        **{kind: [one for one in played if one.scene.kind == kind] for kind in kinds},
        "all": list(played),
    }


def of_pause(played: Sequence[Played], seconds: float) -> list[Played]:
    """What was played with a pause of this length."""
    return [
        one
        for one in played
        if one.scene.pause is not None and abs(one.scene.pause.seconds - seconds) < FRAME_S
    ]


def figures(played: Sequence[Played]) -> dict[str, Any]:
    """Times, and how many recordings were cut off, with and without a pause."""
    sent = [one for each in played for one in each.sent]
    paused = [one for one in played if one.scene.pause is not None]
    fluent = [one for one in played if one.scene.pause is None]
    return {
        "clips": len(played),
        "with_pause": len(paused),
        "cut": cut(paused, by_service=True),
        "cut_by_satellite": cut(paused, by_service=False),
        "cut_without_pause": cut(fluent, by_service=True),
        "last_word_to_text_s": spread(
            [one.text_after_s for one in played if one.text_after_s is not None]
        ),
        "end_to_text_s": spread([one.result["latency_s"] for one in sent]),
        "ends": dict(Counter(str(one.result["end"]) for one in sent)),
        "phrases": sum(one.result["phrase"] is not None for one in sent),
    }


def cut(played: Sequence[Played], by_service: bool) -> Any:
    """The share that the service, or the satellite, ended before the last word."""
    found = [
        any((one.result["end"] == "endpoint") == by_service for one in each.cuts) for each in played
    ]
    speakers = [one.scene.clip.speaker for one in played]
    return scoring.rate([float(one) for one in found], [1.0] * len(found), speakers).limits


def lost(data: Mapping[str, Any]) -> list[str]:
    """Recordings that gave other words than offline."""
    return list(data["differ"])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = [_row(name, row) for name, row in data["kinds"].items()]
    pauses = [_row(name, row) for name, row in data["pauses"].items()]
    columns = ["clips", "median", "95 %", "median", "95 %", "cut off", "95 % interval"]
    columns += ["by the satellite", "without a pause"]
    told = data["speculation"]
    guess = "The service counts no speculation."
    if told is not None:
        made = max(told["hits"] + told["misses"], 1)
        wasted = told["wasted_s"] / max(data["cpu_s_per_s"]["service"] * data["seconds"], 1e-9)
        guess = (
            f"Speculation: {told['hits']} hits, {told['misses']} misses "
            f"({told['hits'] / made:.1%} hits), {told['wasted_s']:.2f} s wasted, "
            f"{wasted:.1%} of the CPU time of the service."
        )
    return [
        "# Live",
        "",
        f"`endpointing: {data['endpointing']}`, {data['rooms']} room(s), {data['seconds']} s, seed "
        f"{data['seed']}. The satellite program hears each recording in real time, in a room "
        f"with noise of {ROOM_DBFS:g} dBFS, with the recording's own background around it, which "
        "is not louder. Seconds, first from the end of the last sound of "
        "the recording to the text at a client of the broker, for recordings that were not cut "
        "off; then from the end mark to the text, as told by the service. The end of the last "
        "sound is found by a voice detector and levels of 10 ms before anything is added.",
        "",
        "Half of the recordings with two stretches of speech have a pause of 0.2 to 0.7 s. *Cut "
        "off*: the share of these that the service ended before the last word. *By the satellite*: "
        "the share that the satellite's own pause ended. *Without a pause*: the share of the "
        "others that the service ended before the last word. A pause lies where the recording is "
        "quietest, which may be within a word.",
        "",
        *report.table(["recordings", *columns], rows),
        "",
        *report.table(["pause", *columns], pauses),
        "",
        f"{guess} CPU seconds per second: {report.counts(data['cpu_s_per_s'])}. Ends: "
        f"{report.counts(data['kinds']['all']['ends'])}. Not sent by the satellite: "
        f"{len(data['unheard'])}. Other words than offline, in what was sent: "
        f"{len(data['differ'])}. The microphone was late by "
        f"{1000 * data['late_s']:.0f} ms at most.",
    ]


def _row(name: str, row: Mapping[str, Any]) -> list[object]:
    times = (row["last_word_to_text_s"], row["end_to_text_s"])
    seconds = [report.number("{:.3f}", one[key]) for one in times for key in ("p50", "p95")]
    share, low, high = (report.number("{:.1%}", one) for one in row["cut"])
    others = (row["cut_by_satellite"], row["cut_without_pause"])
    shares = [report.number("{:.1%}", one[0]) for one in others]
    return [name, row["clips"], *seconds, share, f"{low} to {high}", *shares]


if __name__ == "__main__":
    options = report.parser(__doc__)
    options.add_argument(
        "--endpointing",
        choices=("silence", "phrases", "eager"),
        help="how turns end (default: that of the service)",
    )
    options.add_argument("--rooms", type=int, default=1, help="satellites at once")
    options.add_argument("--clips", type=int, help="most recordings of a kind")
    sys.exit(report.run(report.Benchmark("live", measure, page, lost), options))
