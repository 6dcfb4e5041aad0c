"""How well `endpointing: eager` tells a whole sentence from the beginning of one.

Each recording is transcribed as a glimpse would hear it: at its end, and at pauses that are planted
into it. A glimpse does not depend on how long the pause is, so one tells for all lengths.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report, scoring, speech
from benchmarks.harness import say
from benchmarks.pauses import PAUSES_S, background, quiet_places, speech_span
from benchmarks.phrases import LONG, NOTHING, SHORT
from benchmarks.sounds import Sound, from_pcm, pcm
from benchmarks.speech import Clip
from stt_mqtt.config import GateConfig
from stt_mqtt.core.listening import CONFIDENT, GLIMPSE_S, SENTENCE_S, SURE_END
from stt_mqtt.engine.loading import load_rung
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Memo, Recognizer
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.rungs import Rung
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Transcript,
    Utterance,
)

PLACES = {"orders": 1, "commands": 1, "spelled and short": 4, "read": 6}
"""Most pauses in a recording of a kind."""
KINDS = {
    "speech_to_phrase_en": "commands",
    "picovoice_barista": "orders",
    **dict.fromkeys(SHORT, "spelled and short"),
    **dict.fromkeys(LONG, "read"),
}
SATELLITE_S = 0.6
"""The pause that ends an utterance of the satellite program."""
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.85, SURE_END, 0.9, 0.92, 0.95)
WAITS_S = (0.25, 0.35, SENTENCE_S, 0.55)
MOST_CUT = 0.05
LEAST = 0.0001
"""Of the probability of a mark: without a mark it is 0."""
BEFORE = 0.7
"""Least confidence in the rule that the probability of the mark replaced."""
TAIL_S = 0.04
"""What is kept of a recording behind its last sound, whose end is known to 30 ms."""

Glimpses = Sequence[Mapping[str, Any]]
Rule = Callable[[Mapping[str, Any]], bool]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Take all glimpses. The page judges them."""
    with tempfile.TemporaryDirectory() as folder:
        clips = speech.samples(Path(folder)) if options.quick else _clips()
    transcriber = load_rung(Rung("eager", options.model, 5, "int8"), Parallelism(1, 2))
    recognizer = Recognizer(transcriber, VoiceDetector.load())
    pipeline = Pipeline(recognizer, GateConfig(), 30.0, "eager", transcriber.languages)
    taken: list[dict[str, Any]] = []
    for number, clip in enumerate(clips):
        if number % 20 == 0:
            say(f"recording {number} of {len(clips)}")
        taken += glimpses(clip, pipeline)
    return {"model": options.model, "recordings": len(clips), "glimpses": taken}


def _clips() -> list[Clip]:
    return [one for one in speech.recordings() if one.corpus in KINDS] + speech.orders()


def glimpses(clip: Clip, pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """The evidence at the end of a recording, and at each pause."""
    sound, kind = from_pcm(clip.pcm), KINDS.get(clip.corpus, clip.corpus)
    rng, span = np.random.default_rng(zlib.crc32(clip.id.encode())), speech_span(sound)
    if span is None:
        return
    end = round((span[1] + TAIL_S) * SAMPLE_RATE)
    for at in (end, *quiet_places(sound, PLACES.get(kind, 1))):
        heard = np.concatenate([sound[:at], background(sound, GLIMPSE_S, rng)])
        said = transcribed(heard, pipeline)
        yield {
            "clip": clip.id,
            "speaker": clip.speaker,
            "kind": kind,
            "at_s": round(at / SAMPLE_RATE, 3),
            "is_whole": at == end,
            "end_prob": round(said.end_prob, 4),
            "confidence": round(said.confidence, 4),
        }


def transcribed(sound: Sound, pipeline: Pipeline) -> Transcript:
    """The transcript of an open utterance."""
    audio = EncodedAudio(AudioFormat(), pcm(sound))
    key, memo = DeviceKey("eager", "room"), Memo(for_end=True)
    said = Utterance(key, "clip", audio, "en", None, EndReason.STOP, 0.0, memo=memo)
    return pipeline.transcribe(said).transcript or NOTHING


def surer_than(end_prob: float, confidence: float = CONFIDENT) -> Rule:
    """Whether a glimpse found a sentence, by the least probability of its mark."""
    return lambda one: one["end_prob"] >= max(end_prob, LEAST) and one["confidence"] >= confidence


def figures(taken: Glimpses, rule: Rule, wait_s: float = SENTENCE_S) -> dict[str, Any]:
    """What a rule makes of glimpses, if a sentence ends after `wait_s` of silence.

    `cut`: the share of the pauses of `PAUSES_S` that it ends.
    """
    whole = [one for one in taken if one["is_whole"]]
    begun = [one for one in taken if not one["is_whole"]]
    longer = sum(pause > wait_s for pause in PAUSES_S) / len(PAUSES_S)
    waits = [wait_s if rule(one) else SATELLITE_S for one in whole]
    mistaken = _share(begun, rule)
    return {
        "counts": (len(whole), len(begun)),
        "shares": (_share(whole, rule), mistaken, [one and longer * one for one in mistaken]),
        "waits_s": (float(np.median(waits)), float(np.mean(waits))) if waits else (None, None),
    }


def _share(taken: Glimpses, rule: Rule) -> Any:
    counted = [float(rule(one)) for one in taken]
    return scoring.rate(counted, [1.0] * len(taken), [one["speaker"] for one in taken]).limits


def chosen_without(kind: str, taken: Glimpses) -> float:
    """The lowest threshold that cuts few pauses in all other kinds."""
    others = [one for one in taken if one["kind"] != kind]
    cuts = {one: figures(others, surer_than(one))["shares"][2][0] or 0 for one in THRESHOLDS}
    return min((one for one, cut in cuts.items() if cut <= MOST_CUT), default=THRESHOLDS[-1])


def page(data: dict[str, Any]) -> list[str]:
    """The page for people."""
    taken: Glimpses = data["glimpses"]
    of_kind = {
        kind: [one for one in taken if one["kind"] == kind]
        for kind in dict.fromkeys(one["kind"] for one in taken)
    }
    columns = ["whole", "begun", "ended", "95 % interval", "mistaken", "95 % interval"]
    columns += ["cut off", "95 % interval", "median wait", "mean wait"]
    rule = surer_than(SURE_END)
    held_out = []
    for kind, some in of_kind.items():
        threshold = chosen_without(kind, taken)
        held_out.append([*_row(kind, figures(some, surer_than(threshold))), f"{threshold:g}"])
    return [
        "# Eager",
        "",
        f"`endpointing: eager`, {data['model']}, {data['recordings']} recordings, simulated, "
        f"without a phrase book. A glimpse hears {GLIMPSE_S * 1000:.0f} ms of the recording's own "
        "background after the speech. *Whole*: glimpses at the end of a recording. *Begun*: "
        "glimpses in a pause, at the quietest places within the recording. *Ended*: the share of "
        "the whole ones that is taken for a sentence. *Mistaken*: the share of the begun ones "
        "that is. *Cut off*: that share times the share of the pauses "
        f"({', '.join(f'{one:g}' for one in PAUSES_S)} s) that are longer than the wait. *Wait*: "
        "silence that ends the utterance, in seconds. Without a sentence it is that of the "
        f"satellite program, {SATELLITE_S:g} s, which ends a pause of 0.7 s in any case.",
        "",
        f"A sentence has a mark at its end with a probability of at least {SURE_END:g}, and a "
        f"confidence of at least {CONFIDENT:g}. It ends after {SENTENCE_S:g} s.",
        "",
        *report.table(
            ["recordings", *columns],
            [_row(kind, figures(some, rule)) for kind, some in {**of_kind, "all": taken}.items()],
        ),
        "",
        f"The rule before: any mark, and a confidence of at least {BEFORE:g}.",
        "",
        *report.table(
            ["recordings", *columns],
            [
                _row(kind, figures(some, surer_than(0.0, BEFORE)))
                for kind, some in {**of_kind, "all": taken}.items()
            ],
        ),
        "",
        "Other least probabilities of the mark, all recordings:",
        "",
        *report.table(
            ["probability", *columns],
            [_row(f"{one:g}", figures(taken, surer_than(one))) for one in THRESHOLDS],
        ),
        "",
        "Other waits, all recordings:",
        "",
        *report.table(
            ["wait", *columns],
            [_row(f"{one:g} s", figures(taken, rule, one)) for one in WAITS_S],
        ),
        "",
        "Held out: each kind, with the lowest of these probabilities with which at most "
        f"{MOST_CUT:.0%} of the pauses in the other kinds are cut off.",
        "",
        *report.table(["recordings", *columns, "probability"], held_out),
    ]


def _row(name: str, found: Mapping[str, Any]) -> list[object]:
    shares: list[object] = []
    for limits in found["shares"]:
        share, low, high = (report.number("{:.1%}", one) for one in limits)
        shares += [share, f"{low} to {high}"]
    waits = [report.number("{:.2f}", one) for one in found["waits_s"]]
    return [name, *found["counts"], *shares, *waits]


if __name__ == "__main__":
    options = report.parser(__doc__)
    options.add_argument("--model", default="tiny.en", help="model (default: %(default)s)")
    sys.exit(report.run(report.Benchmark("eager", measure, page), options))
