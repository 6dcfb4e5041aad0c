"""How well `endpointing: eager` and `phrases` tell a whole turn from the beginning of one.

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
from benchmarks.phrases import LONG, NOTHING, SHORT, book_of, is_understood, starter_book
from benchmarks.sounds import Sound, from_pcm, pcm
from benchmarks.speech import Clip
from stt_mqtt.config import GateConfig
from stt_mqtt.core.listening import COMPLETE_S, CONFIDENT, GLIMPSE_S, SENTENCE_S, SURE_END
from stt_mqtt.engine.loading import load_rung
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Memo, Recognizer
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.rungs import Rung
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Completion,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Transcript,
    Utterance,
)

PLACES = {"orders": 1, "commands": 1, "spelled and short": 4, "read": 6}
"""Most pauses in a recording of a kind for `eager`."""
PHRASE_PLACES = 3
"""The same for `phrases`."""
KINDS = {
    "speech_to_phrase_en": "commands",
    "picovoice_barista": "orders",
    **dict.fromkeys(SHORT, "spelled and short"),
    **dict.fromkeys(LONG, "read"),
}
OF_THE_BOOK = {"commands", "orders"}
"""The kinds that `phrases` is judged by, and the books for it."""
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

Glimpse = Mapping[str, Any]
Glimpses = Sequence[Glimpse]
Rule = Callable[[Glimpse], bool]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Take all glimpses for both ways. The page judges them."""
    with tempfile.TemporaryDirectory() as folder:
        clips = speech.samples(Path(folder)) if options.quick else _clips()
    transcriber = load_rung(Rung("turns", options.model, 5, "int8"), Parallelism(1, 2))
    voice = VoiceDetector.load()

    def pipeline(book: CurrentBook | None = None) -> Pipeline:
        recognizer = Recognizer(transcriber, voice, book)
        return Pipeline(recognizer, GateConfig(), 30.0, "turns", transcriber.languages)

    book = starter_book() if options.quick else book_of(*sorted(OF_THE_BOOK))
    of_the_book = clips if options.quick else [one for one in clips if kind_of(one) in OF_THE_BOOK]
    return {
        "model": options.model,
        "eager": taken("eager", clips, pipeline()),
        "phrases": taken("phrases", of_the_book, pipeline(CurrentBook(book))),
    }


def _clips() -> list[Clip]:
    return [one for one in speech.recordings() if one.corpus in KINDS] + speech.orders()


def kind_of(clip: Clip) -> str:
    """What is said in a recording."""
    return KINDS.get(clip.corpus, clip.corpus)


def taken(endpointing: str, clips: Sequence[Clip], pipeline: Pipeline) -> dict[str, Any]:
    """The glimpses of all recordings."""
    found: list[Glimpse] = []
    for number, clip in enumerate(clips):
        if number % 20 == 0:
            say(f"{endpointing}: recording {number} of {len(clips)}")
        found += glimpses(endpointing, clip, pipeline)
    return {"recordings": len(clips), "glimpses": found}


def glimpses(endpointing: str, clip: Clip, pipeline: Pipeline) -> Iterator[Glimpse]:
    """The evidence at the end of a recording, and at each pause."""
    sound, kind = from_pcm(clip.pcm), kind_of(clip)
    rng, span = np.random.default_rng(zlib.crc32(clip.id.encode())), speech_span(sound)
    if span is None:
        return
    is_eager = endpointing == "eager"
    end = round((span[1] + TAIL_S) * SAMPLE_RATE)
    places = PLACES.get(kind, 1) if is_eager else PHRASE_PLACES
    for at in (end, *quiet_places(sound, places)):
        heard = np.concatenate([sound[:at], background(sound, GLIMPSE_S, rng)])
        said = transcribed(heard, pipeline, Memo(for_end=is_eager))
        yield {
            "clip": clip.id,
            "speaker": clip.speaker,
            "kind": kind,
            "at_s": round(at / SAMPLE_RATE, 3),
            "is_whole": at == end,
            **(sentence_evidence(said) if is_eager else phrase_evidence(clip, said)),
        }


def transcribed(sound: Sound, pipeline: Pipeline, memo: Memo) -> Transcript:
    """The transcript of an open utterance."""
    audio = EncodedAudio(AudioFormat(), pcm(sound))
    key = DeviceKey("turns", "room")
    said = Utterance(key, "clip", audio, "en", None, EndReason.STOP, 0.0, memo=memo)
    return pipeline.transcribe(said).transcript or NOTHING


def sentence_evidence(said: Transcript) -> Glimpse:
    """What says whether a sentence has ended."""
    return {"end_prob": round(said.end_prob, 4), "confidence": round(said.confidence, 4)}


def phrase_evidence(clip: Clip, said: Transcript) -> Glimpse:
    """What says whether a phrase has ended. `is_right`: whether the text needs no more words."""
    slots = None if said.phrase is None else said.phrase.slots
    return {
        "completion": said.completion.name,
        "is_one_word": len(said.text.split()) == 1,
        "is_right": is_understood(clip, said.text, slots),
    }


def surer_than(end_prob: float, confidence: float = CONFIDENT) -> Rule:
    """Whether a glimpse found a sentence, by the least probability of its mark."""
    return lambda one: one["end_prob"] >= max(end_prob, LEAST) and one["confidence"] >= confidence


def is_complete(one: Glimpse) -> bool:
    """Whether a glimpse found a complete phrase."""
    return bool(one["completion"] == Completion.COMPLETE.name)


def is_complete_but_wrong(one: Glimpse) -> bool:
    """Whether a glimpse found a complete phrase that is not the one that was said."""
    return is_complete(one) and not one["is_right"]


def figures(found: Glimpses, rule: Rule, wait_s: float = SENTENCE_S) -> dict[str, Any]:
    """What a rule makes of glimpses, if it ends a turn after `wait_s` of silence.

    `shares`: of whole turns that it ends, of begun ones that it takes for whole, and of the pauses
    of `PAUSES_S` that it ends.
    """
    whole = [one for one in found if one["is_whole"]]
    begun = [one for one in found if not one["is_whole"]]
    waits = [wait_s if rule(one) else SATELLITE_S for one in whole]
    return {
        "counts": (len(whole), len(begun)),
        "shares": (_share(whole, rule), _share(begun, rule), cut(found, rule, wait_s)),
        "waits_s": (float(np.median(waits)), float(np.mean(waits))) if waits else (None, None),
    }


def cut(found: Glimpses, rule: Rule, wait_s: float) -> Any:
    """The share of the pauses of `PAUSES_S` that a rule ends, with its interval."""
    longer = sum(pause > wait_s for pause in PAUSES_S) / len(PAUSES_S)
    mistaken = _share([one for one in found if not one["is_whole"]], rule)
    return [None if one is None else longer * one for one in mistaken]


def _share(found: Glimpses, rule: Rule) -> Any:
    counted = [float(rule(one)) for one in found]
    groups = scoring.groups([one["speaker"] for one in found], [one["clip"] for one in found])
    return scoring.rate(counted, [1.0] * len(found), groups).limits


def chosen_without(kind: str, found: Glimpses) -> float:
    """The lowest threshold that cuts few pauses in all other kinds."""
    others = [one for one in found if one["kind"] != kind]
    cuts = {one: cut(others, surer_than(one), SENTENCE_S)[0] or 0 for one in THRESHOLDS}
    return min((one for one, share in cuts.items() if share <= MOST_CUT), default=THRESHOLDS[-1])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    return [
        "# Turns",
        "",
        f"How each `endpointing` ends a turn, {data['model']}, simulated. A glimpse hears "
        f"{GLIMPSE_S * 1000:.0f} ms of the recording's own background after the speech. In "
        "brackets: 95 % intervals.",
        "",
        "- *Whole*: glimpses at the end of a recording.",
        "- *Begun*: glimpses in a pause, at the quietest places within the recording.",
        "- *Ended early*: the share of the whole ones that is taken for a whole turn.",
        "- *Mistaken*: the share of the begun ones that is.",
        "- *Cut off*: that share times the share of the pauses "
        f"({', '.join(f'{one:g}' for one in PAUSES_S)} s) that are longer than the wait.",
        "- *Wait*: silence that ends a whole turn, in seconds. If it is not ended early, it "
        f"is the {SATELLITE_S:g} s of the satellite program, which ends a pause of 0.7 s anyway.",
        "",
        *phrases_page(data["phrases"]),
        "",
        *eager_page(data["eager"]),
    ]


COLUMNS = ("whole", "begun", "ended early", "mistaken", "cut off")


def phrases_page(data: Mapping[str, Any]) -> list[str]:
    """The section on complete phrases."""
    columns = ["recordings", *COLUMNS, "with other words", "median wait"]
    rows = []
    for kind, some in _by_kind(data["glimpses"]).items():
        counts_and_shares = _row(kind, row := figures(some, is_complete, COMPLETE_S))[:-2]
        wrong = report.interval(cut(some, is_complete_but_wrong, COMPLETE_S))
        rows.append([*counts_and_shares, wrong, report.number("{:.2f}", row["waits_s"][0])])
    return [
        "## phrases",
        "",
        f"{data['recordings']} recordings, with the books of commands and orders as one. A "
        f"complete phrase ends after {COMPLETE_S:g} s. *With other words*: the share of the pauses "
        "that is cut off while the text is not right yet. It is right if it has all words of the "
        "command, or all values of the order.",
        "",
        *report.table(columns, rows),
    ]


def eager_page(data: Mapping[str, Any]) -> list[str]:
    """The section on confident sentences."""
    found: Glimpses = data["glimpses"]
    kinds = _by_kind(found)
    columns = [*COLUMNS, "median wait", "mean wait"]
    rule = surer_than(SURE_END)
    held_out = []
    for kind, some in list(kinds.items())[:-1]:
        threshold = chosen_without(kind, found)
        held_out.append([*_row(kind, figures(some, surer_than(threshold))), f"{threshold:g}"])
    return [
        "## eager",
        "",
        f"{data['recordings']} recordings, without a phrase book. A sentence has a mark at its end "
        f"with a probability of at least {SURE_END:g}, and a confidence of at least {CONFIDENT:g}. "
        f"It ends after {SENTENCE_S:g} s.",
        "",
        *report.table(
            ["recordings", *columns],
            [_row(kind, figures(some, rule)) for kind, some in kinds.items()],
        ),
        "",
        f"The rule before: any mark, and a confidence of at least {BEFORE:g}.",
        "",
        *report.table(
            ["recordings", *columns],
            [_row(kind, figures(some, surer_than(0.0, BEFORE))) for kind, some in kinds.items()],
        ),
        "",
        "Other least probabilities of the mark, all recordings:",
        "",
        *report.table(
            ["probability", *columns],
            [_row(f"{one:g}", figures(found, surer_than(one))) for one in THRESHOLDS],
        ),
        "",
        "Other waits, all recordings:",
        "",
        *report.table(
            ["wait", *columns],
            [_row(f"{one:g} s", figures(found, rule, one)) for one in WAITS_S],
        ),
        "",
        "Held out: each kind, with the lowest of these probabilities with which at most "
        f"{MOST_CUT:.0%} of the pauses in the other kinds are cut off.",
        "",
        *report.table(["recordings", *columns, "probability"], held_out),
    ]


def _by_kind(found: Glimpses) -> dict[str, Glimpses]:
    """The glimpses by kind, and last all of them."""
    kinds = dict.fromkeys(one["kind"] for one in found)
    return {
        **{kind: [one for one in found if one["kind"] == kind] for kind in kinds},
        "all": found,
    }


def _row(name: str, row: Mapping[str, Any]) -> list[object]:
    shares = [report.interval(one) for one in row["shares"]]
    waits = [report.number("{:.2f}", one) for one in row["waits_s"]]
    return [name, *row["counts"], *shares, *waits]


if __name__ == "__main__":
    options = report.parser(__doc__)
    options.add_argument("--model", default="tiny.en", help="model (default: %(default)s)")
    sys.exit(report.run(report.Benchmark("turns", measure, page), options))
