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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import report, scoring, speech
from benchmarks.harness import say, spread, transcribed, transcripts
from benchmarks.pauses import PAUSES_S, planted, quietest, speech_span
from benchmarks.phrases import BOOKS, LONG, SHORT, is_understood
from benchmarks.playing import ROOM_DBFS, SEED, Played, Scene, Sent, play
from benchmarks.sounds import from_pcm
from benchmarks.speech import Clip
from stt_mqtt.config import DeviceConfig, PhrasesConfig
from stt_mqtt.phrases.completion import completion_of
from stt_mqtt.phrases.source import read_book
from stt_mqtt.satellite.segmenter import FRAME_S
from stt_mqtt.types import Completion
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
        completions = completions_of([one.clip for one in scenes], service["phrases"], config)
    return {
        "endpointing": options.endpointing or "the default",
        "rooms": options.rooms,
        "seeds": [SEED + number for number in range(options.seeds)],
        "seconds": round(heard.seconds, 1),
        "late_s": round(heard.late_s, 4),
        "cpu_s_per_s": {"service": heard.cpu_s_per_s},
        "speculation": heard.speculation,
        "kinds": {kind: figures(some) for kind, some in by_kind(played).items()},
        "complete": {name: figures(some) for name, some in complete(played, completions).items()},
        "pauses": {f"{one:g} s": figures(of_pause(played, one)) for one in PAUSES_S},
        "differ": differ,
        "clips": [row_of(one, completions[one.scene.clip.id]) for one in played],
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
    fluent = [
        Scene(clip, kind, sound, *span, None)
        for kind, clip in chosen
        if (span := speech_span(sound := from_pcm(clip.pcm))) is not None
    ]
    return interrupted(fluent, options.seeds) if with_pauses else fluent


def interrupted(fluent: Sequence[Scene], seeds: int) -> list[Scene]:
    """Recordings, every second one that has room for a pause with one.

    Each further seed adds the other half, with other pauses. So in ten seeds each recording that
    has room has each pause of `PAUSES_S` once.
    """
    roomy = [one.clip.id for one in fluent if _has_room(one)]
    numbers = {clip: number for number, clip in enumerate(roomy, 1)}
    scenes = list[Scene]()
    for again in range(seeds):
        rng = np.random.default_rng(SEED + again)
        for one in fluent:
            number = numbers.get(one.clip.id)
            if number is not None and (number + again) % 2:
                seconds = PAUSES_S[(number // 2 + again // 2) % len(PAUSES_S)]
                pause = planted(one.sound, seconds, rng)
                assert pause is not None
                last_s = one.last_word_s + pause.seconds
                made = replace(one, sound=pause.sound, last_word_s=last_s, pause=pause)
                scenes.append(replace(made, seed=SEED + again))
            elif not again:
                scenes.append(one)
    return scenes


def _has_room(one: Scene) -> bool:
    """Whether a pause fits between two words."""
    has_words = bool(one.clip.slots) or " " in one.clip.text
    return has_words and quietest(one.sound) is not None


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


def completions_of(
    clips: Sequence[Clip], phrases: Mapping[str, Any], config: Path
) -> dict[str, Completion]:
    """How much of a phrase of the book each recording is, by its id.

    Orders have no text. If all values are right in what `stt-mqtt transcribe` hears in the
    recording, that is taken for it.
    """
    book = read_book(PhrasesConfig.model_validate(phrases)).compiled("en")
    assert book is not None
    texts = {clip.id: clip.text for clip in clips}
    orders = {clip.file: clip for clip in clips if clip.slots}
    heard = transcripts([*orders], "--config", str(config)) if orders else {}
    for file, row in heard.items():
        is_right = is_understood(orders[file], row["text"], slots_of(row))
        texts[orders[file].id] = row["text"] if is_right else ""
    return {id: completion_of(book, text) for id, text in texts.items()}


def slots_of(result: Mapping[str, Any]) -> Mapping[str, object] | None:
    """The values of the phrase in a result. None: there is none."""
    return None if result["phrase"] is None else result["phrase"]["slots"]


def row_of(one: Played, completion: Completion) -> dict[str, Any]:
    """What became of one recording, of which `completion` was said."""
    scene = one.scene
    return {
        "clip": scene.clip.id,
        "kind": scene.kind,
        "seed": scene.seed,
        "completion": completion.name,
        "pause_s": None if scene.pause is None else scene.pause.seconds,
        "last_word_to_text_s": one.text_after_s,
        "ended_after_last_word_s": [sent.ended_at - one.last_word_at for sent in one.sent],
        "ends": [sent.result["end"] for sent in one.sent],
        "right": [is_right(one, sent) for sent in one.sent],
        "phrase": any(sent.result["phrase"] is not None for sent in one.sent),
    }


def is_right(one: Played, sent: Sent) -> bool:
    """Whether the text of an utterance is all that is said in the recording."""
    return is_understood(one.scene.clip, sent.result["text"], slots_of(sent.result))


def by_kind(played: Sequence[Played]) -> dict[str, list[Played]]:
    """What was played by kind, and all of it."""
    kinds = dict.fromkeys(one.scene.kind for one in played)
    return {
        **{kind: [one for one in played if one.scene.kind == kind] for kind in kinds},
        "all": list(played),
    }


def complete(
    played: Sequence[Played], completions: Mapping[str, Completion]
) -> dict[str, list[Played]]:
    """The recordings of complete phrases: without a pause by kind, with a pause, and all."""
    whole = [one for one in played if completions[one.scene.clip.id] is Completion.COMPLETE]
    fluent = by_kind([one for one in whole if one.scene.pause is None])
    return {
        **{f"complete {kind}, no pause": some for kind, some in fluent.items()},
        "complete, pause": [one for one in whole if one.scene.pause is not None],
        "complete": whole,
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
        "cut": share(paused, is_cut),
        "cut_with_other_words": share(paused, is_cut_with_other_words),
        "cut_by_satellite": share(paused, is_cut_by_satellite),
        "cut_without_pause": share(fluent, is_cut),
        "last_word_to_text_s": spread(
            [one.text_after_s for one in played if one.text_after_s is not None]
        ),
        "end_to_text_s": spread([one.result["latency_s"] for one in sent]),
        "ends": dict(Counter(str(one.result["end"]) for one in sent)),
        "phrases": sum(one.result["phrase"] is not None for one in sent),
    }


def is_cut(one: Played) -> bool:
    """Whether the service ended it before the last word."""
    return any(sent.is_ended_by_service for sent in one.cuts)


def is_cut_with_other_words(one: Played) -> bool:
    """Whether the service ended it before the last word, with a text that is not right."""
    return any(sent.is_ended_by_service and not is_right(one, sent) for sent in one.cuts)


def is_cut_by_satellite(one: Played) -> bool:
    """Whether the pause of the satellite ended it before the last word."""
    return any(not sent.is_ended_by_service for sent in one.cuts)


def share(played: Sequence[Played], happened: Callable[[Played], bool]) -> Any:
    """The share of recordings that something happened to, with its interval."""
    clips = [one.scene.clip for one in played]
    groups = scoring.groups([clip.speaker for clip in clips], [clip.id for clip in clips])
    counted = [float(happened(one)) for one in played]
    return scoring.rate(counted, [1.0] * len(counted), groups).limits


def lost(data: Mapping[str, Any]) -> list[str]:
    """Recordings that gave other words than offline."""
    return list(data["differ"])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = {**data["kinds"], **data["complete"]}
    with_pause = {
        name: row for name, row in {**rows, **data["pauses"]}.items() if row["with_pause"]
    }
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
    seeds = ", ".join(map(str, data["seeds"]))
    return [
        "# Live",
        "",
        f"`endpointing: {data['endpointing']}`, {data['rooms']} room(s), {data['seconds']} s, "
        f"seeds {seeds}. The satellite program hears each recording in real time, in a room "
        f"with noise of {ROOM_DBFS:g} dBFS, with the recording's own background around it, which "
        "is not louder. Half of the recordings with two stretches of speech have a pause of 0.2 to "
        "0.7 s, where the recording is quietest, which may be within a word. Each further seed "
        "plays the other half, with other pauses.",
        "",
        "*Complete*: what is said is a whole phrase of the book, and no longer one begins with it. "
        "Orders have no reference text: that of `stt-mqtt transcribe` counts if all values are "
        "right in it.",
        "",
        "## Times",
        "",
        "Seconds, at the median and the 95th percentile.",
        "",
        "- *Text*: from the end of the last sound of the recording to the text at a client of the "
        "broker, for recordings that were not cut off. A voice detector and levels of 10 ms find "
        "the last sound before anything is added.",
        "- *Answer*: from the end mark to the text, as told by the service.",
        "",
        *report.table(
            [
                "recordings",
                "played",
                "text, median",
                "text, 95 %",
                "answer, median",
                "answer, 95 %",
            ],
            [_times(name, row) for name, row in rows.items() if row["clips"]],
        ),
        "",
        "## Pauses",
        "",
        "Shares of the recordings with a pause. In brackets: 95 % intervals.",
        "",
        "- *Cut off*: the service ended it before the last word.",
        "- *Other words*: the same, and the text is not right yet. It is right if it has all words "
        "of the command, or all values of the order.",
        "- *Satellite*: the satellite's own pause of 0.6 s ended it.",
        "- *No pause*: the share of the recordings without a pause that the service ended before "
        "the last word.",
        "",
        *report.table(
            ["recordings", "paused", "cut off", "other words", "satellite", "no pause"],
            [_pauses(name, row) for name, row in with_pause.items()],
        ),
        "",
        f"{guess} CPU seconds per second: {report.counts(data['cpu_s_per_s'])}. Ends: "
        f"{report.counts(data['kinds']['all']['ends'])}. Not sent by the satellite: "
        f"{len(data['unheard'])}. Other words than offline, in what was sent: "
        f"{len(data['differ'])}. The microphone was late by "
        f"{1000 * data['late_s']:.0f} ms at most.",
    ]


def _times(name: str, row: Mapping[str, Any]) -> list[object]:
    times = (row["last_word_to_text_s"], row["end_to_text_s"])
    seconds = [report.number("{:.3f}", one[key]) for one in times for key in ("p50", "p95")]
    return [name, row["clips"], *seconds]


def _pauses(name: str, row: Mapping[str, Any]) -> list[object]:
    kept = ("cut", "cut_with_other_words", "cut_by_satellite", "cut_without_pause")
    return [name, row["with_pause"], *(report.interval(row[key]) for key in kept)]


if __name__ == "__main__":
    options = report.parser(__doc__)
    options.add_argument(
        "--endpointing",
        choices=("silence", "phrases", "eager"),
        help="how turns end (default: that of the service)",
    )
    options.add_argument("--rooms", type=int, default=1, help="satellites at once")
    options.add_argument("--clips", type=int, help="most recordings of a kind")
    options.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="play the recordings with a pause that often, with other pauses (default: 1)",
    )
    sys.exit(report.run(report.Benchmark("live", measure, page, lost), options))
