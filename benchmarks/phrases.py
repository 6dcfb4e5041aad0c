"""What the phrase book changes: commands, free speech, noise, and what only sounds like a command.

Each clip is transcribed without the book and with it, by the same model, in one process. Half of
the clips served to fit the acceptance of phrases (`--half fit`). The page shows the other half.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from hassil.intents import Intents

from benchmarks import report, scoring, speech
from benchmarks.harness import say, spread
from benchmarks.sounds import at_level, from_pcm, level_dbfs, pcm
from benchmarks.speech import Clip
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.loading import load_rung
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import matches
from stt_mqtt.phrases.names import NO_NAMES, HomeNames, names_from_json
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
from tools import home_names, near_phrases

BOOKS = Path(__file__).parent / "books"
STARTER = Path(near_phrases.__file__).parents[1] / "stt_mqtt/phrases/starter/en.yaml"
SNR_DB = (6, 24)
NOISES = ("dishes", "music", "rain", "crackling")
"""Words in the labels of the noises that commands are mixed with."""
SHORT = ("an4", "pocketsphinx")
LONG = ("ljspeech32", "ljspeech_long", "librivox_sense", "jfk")
"""Corpora of free speech. Those that were read at length also serve in parts."""
NEVER_FITTED = "ljspeech_long"
"""It is too long to be a clip, so all of its parts judge."""
WINDOW_S = (2, 6)
PAUSE_MS = 100
UNDER_SPEECH_DB = 25
"""A pause is that much below the loudest 5 % of a recording."""
NOTHING = Transcript("", "en", 0.0, 1.0)
HALVES = ("fit", "judge")
SENTENCES = 5000
NAMES = 2000
QUICK_SENTENCES = 100


@dataclass(frozen=True, slots=True)
class Part:
    """Clips that are transcribed with a book. `is_right`: whether a result is what was said."""

    name: str
    book: PhraseBook
    clips: Sequence[Clip]
    is_right: Callable[[Clip, Transcript], bool]


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip without the book and with it. `added_s`: the difference in time."""

    clip: Clip
    free: Transcript
    booked: Transcript
    added_s: float


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Transcribe every part; then measure a large book."""
    transcriber = load_rung(Rung("phrases", options.model, 5, "int8"), Parallelism(1, 1))
    voice = VoiceDetector.load()

    def pipeline(book: PhraseBook | None) -> Pipeline:
        current = None if book is None else CurrentBook(book)
        recognizer = Recognizer(transcriber, voice, current)
        return Pipeline(recognizer, GateConfig(), 30.0, "phrases", transcriber.languages)

    rows, added_ms = {}, []
    for part in parts(options):
        say(f"{part.name}: {len(part.clips)} clips")
        both = pipeline(None), pipeline(part.book)
        heard = [hear(clip, *both) for clip in part.clips]
        rows[part.name] = figures(part, heard)
        added_ms += [1000 * one.added_s for one in heard if one.booked.phrase is not None]
    return {
        "model": options.model,
        "half": options.half,
        "parts": rows,
        "added_ms": spread(added_ms),
        "large_book": large_book(QUICK_SENTENCES if options.quick else SENTENCES),
    }


def hear(clip: Clip, without: Pipeline, with_book: Pipeline) -> Heard:
    """Transcribe a clip both ways."""
    audio = EncodedAudio(AudioFormat(), clip.pcm)
    utterance = Utterance(
        DeviceKey("phrases", "room"), clip.id, audio, "en", None, EndReason.STOP, 0.0
    )
    took = []
    transcripts = []
    for pipeline in (without, with_book):
        started = time.perf_counter()
        transcripts.append(pipeline.transcribe(utterance).transcript or NOTHING)
        took.append(time.perf_counter() - started)
    free, booked = transcripts
    return Heard(clip, free, booked, took[1] - took[0])


def figures(part: Part, heard: Sequence[Heard]) -> dict[str, Any]:
    """How many clips are right without and with the book, and how many became a phrase."""
    speakers = [one.clip.speaker for one in heard]
    ones = [1.0] * len(heard)

    def share(counted: Iterable[bool]) -> Any:
        return scoring.rate([float(one) for one in counted], ones, speakers).limits

    return {
        "clips": len(heard),
        "right_without": share(part.is_right(one.clip, one.free) for one in heard),
        "right": share(part.is_right(one.clip, one.booked) for one in heard),
        "changed": share(
            one.booked.phrase is not None and not same_words(one.booked.text, one.free.text)
            for one in heard
        ),
        "wrong": [one.clip.id for one in heard if not part.is_right(one.clip, one.booked)],
    }


def parts(options: argparse.Namespace) -> list[Part]:
    """The parts of the page, each with the chosen half of its clips."""
    starter = starter_book()
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            samples = speech.samples(Path(folder))
        return [Part("samples of the demo", starter, samples, is_exact)]
    recorded, orders = speech.recordings(), speech.orders()
    noises = [noise for noise in speech.noises() if is_of_a_home(noise)]
    commands, order_book = book_of("commands"), book_of("orders")
    spoken = [clip for clip in recorded if clip.corpus == "speech_to_phrase_en"]
    words = [clip for clip in recorded if clip.corpus.startswith("gsc")]
    long = [clip for clip in speech.recordings(max_s=100) if clip.corpus in LONG]
    free = [clip for clip in recorded if clip.corpus in (*SHORT, *LONG)]
    free += itertools.chain.from_iterable(map(windows, long))
    silent = speech.noises(options.noises)
    everything, word_book = book_of("commands", "orders"), book_of("words")
    said, near = synthesised()
    made = [
        Part("commands", commands, spoken, is_exact),
        Part("commands, 6 to 24 dB of noise", commands, noisy(spoken, noises), is_exact),
        Part("orders", order_book, orders, has_slots),
        Part("orders, 6 to 24 dB of noise", order_book, noisy(orders, noises), has_slots),
        Part("single words", word_book, words, is_word),
        Part("free speech, not in the book", everything, free, is_unchanged),
        Part("free speech, with the starter book", starter, free, is_unchanged),
        Part("orders, with the starter book", starter, orders, is_unchanged),
        Part("noise without speech, with the starter book", starter, silent, is_silent),
        Part("noise without speech, with the single words", word_book, silent, is_silent),
        Part("commands of the starter book, synthesised", starter, said, is_exact),
        Part("near a phrase, synthesised", starter, near, is_unchanged),
    ]
    if options.half == "all":
        return made
    wanted = HALVES.index(options.half)
    return [
        replace(part, clips=[clip for clip in part.clips if half_of(clip) == wanted])
        for part in made
    ]


def half_of(clip: Clip) -> int:
    """0 for a clip that serves to fit, 1 for one that judges. Its windows are in the same half."""
    if clip.corpus == NEVER_FITTED:
        return 1
    return zlib.crc32(clip.id.partition("@")[0].encode()) % 2


def windows(clip: Clip) -> Iterator[Clip]:
    """The parts of `WINDOW_S` seconds from one pause of a clip to any later one."""
    sound, step = from_pcm(clip.pcm), SAMPLE_RATE // 100
    power = np.square(sound[: len(sound) // step * step].reshape(-1, step)).mean(axis=1)
    limit = np.percentile(power, 95) / 10 ** (UNDER_SPEECH_DB / 10)
    edges = np.flatnonzero(np.diff(power < limit, prepend=False, append=False)).reshape(-1, 2)
    cuts = [int(a + b) // 2 * step for a, b in edges if (b - a) * 10 >= PAUSE_MS]
    for start, end in itertools.combinations((0, *cuts, len(sound)), 2):
        if WINDOW_S[0] <= (end - start) / SAMPLE_RATE <= WINDOW_S[1]:
            name = f"{clip.id}@{start / SAMPLE_RATE:.1f}-{end / SAMPLE_RATE:.1f}"
            yield replace(clip, id=name, text="", pcm=clip.pcm[2 * start : 2 * end])


def is_of_a_home(noise: Clip) -> bool:
    return any(word in noise.corpus for word in NOISES)


def noisy(clips: Sequence[Clip], noises: Sequence[Clip]) -> list[Clip]:
    """The clips with noise. The same clip always gets the same noise."""
    mixed = []
    for clip in clips:
        rng = np.random.default_rng(zlib.crc32(clip.id.encode()))
        noise = from_pcm(noises[int(rng.integers(len(noises)))].pcm)
        spoken = from_pcm(clip.pcm)
        dbfs = level_dbfs(spoken) - rng.uniform(*SNR_DB)
        both = spoken + at_level(np.resize(noise, len(spoken)), dbfs)
        mixed.append(replace(clip, pcm=pcm(both / max(1.0, float(np.abs(both).max())))))
    return mixed


def synthesised() -> tuple[list[Clip], list[Clip]]:
    """Sentences of the starter book, and sentences that only sound near one."""
    said: list[Clip] = []
    near: list[Clip] = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in near_phrases.clips_of(near_phrases.sentences(), near_phrases.VOICES[:3]):
            file = Path(folder) / clip.file
            near_phrases.write(file, clip)
            made = Clip(clip.file, "near", clip.text, file, speech.read_wav(file), clip.text)
            (said if clip.nearest is None else near).append(made)
    return said, near


def starter_book() -> PhraseBook:
    """The book that the package ships, for the home of the near phrases."""
    return PhraseBook({"en": read(STARTER)}, near_phrases.home_of(near_phrases.sentences()["home"]))


def book_of(*names: str) -> PhraseBook:
    """A book of `benchmarks/books`, or several as one."""
    merged: dict[str, Any] = {"language": "en", "intents": {}, "lists": {}, "expansion_rules": {}}
    for name in names:
        data = yaml.safe_load((BOOKS / f"{name}.yaml").read_text())
        for key in ("intents", "lists", "expansion_rules"):
            merged[key] |= data.get(key, {})
    return PhraseBook({"en": Intents.from_dict(merged)})


def read(file: Path) -> Intents:
    return Intents.from_dict(yaml.safe_load(file.read_text()))


def is_exact(clip: Clip, heard: Transcript) -> bool:
    """All words are right."""
    return scoring.is_exact(clip.text, heard.text)


def is_word(clip: Clip, heard: Transcript) -> bool:
    """The single word is right."""
    return scoring.is_right_word(clip.text, heard.text)


def has_slots(clip: Clip, heard: Transcript) -> bool:
    """All values are right: those of the phrase, else those in the text."""
    return is_understood(clip, heard.text, None if heard.phrase is None else heard.phrase.slots)


def is_understood(clip: Clip, text: str, slots: Mapping[str, object] | None) -> bool:
    """Whether a text has all words of a recording, or all values of an order.

    `slots`: the values of the phrase that the text is; None: it is none.
    """
    if not clip.slots:
        right = scoring.is_exact if " " in clip.text else scoring.is_right_word
        return right(clip.text, text)
    if slots is not None:
        return dict(slots) == dict(clip.slots)
    return scoring.slots_right(clip.slots, text)


def is_unchanged(_clip: Clip, heard: Transcript) -> bool:
    """No other words were put in place of those that were heard."""
    return heard.phrase is None or same_words(heard.text, heard.free)


def is_silent(_clip: Clip, heard: Transcript) -> bool:
    """Nothing was heard."""
    return not heard.text


def same_words(first: str, second: str) -> bool:
    """Whether two texts have the same words after Whisper's normalisation."""
    return scoring.is_exact(first, second)


def large_book(sentences: int) -> dict[str, Any]:
    """Load time and memory of a book of many sentences and names, and the time of a search."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    names = names_from_json(json.dumps(home_names.home_of(NAMES)).encode())
    rng = np.random.default_rng(0)
    areas = [area.names[0] for area in names.areas]
    verbs = ["check", "clean", "prepare", "show", "close", "open", "warm", "dim", "start", "stop"]
    ends = ["now", "again", "at night", "in the morning", "for the guests", "slowly", "once more"]
    made: dict[str, None] = {}
    while len(made) < sentences:
        verb, area, other, end = (str(rng.choice(words)) for words in (verbs, areas, areas, ends))
        made[f"{verb} the {area} and the {other} {end}"] = None
    started = time.perf_counter()
    texts = [*made, "turn (on|off) [the] {name}", "set [the] {name} to {0..100:level} percent"]
    intents = Intents.from_dict(
        {"language": "en", "intents": {"A": {"data": [{"sentences": texts}]}}}
    )
    book = PhraseBook({"en": intents}, names).compiled("en")
    loaded_s = time.perf_counter() - started
    assert book is not None
    gc.collect()
    held = psutil.Process().memory_info().rss - before
    small = PhraseBook(
        {
            "en": Intents.from_dict(
                {"language": "en", "intents": {"A": {"data": [{"sentences": texts[-2:]}]}}}
            )
        },
        replace(NO_NAMES, entities=names.entities[:20]),
    ).compiled("en")
    assert small is not None
    return {
        "sentences": len(texts),
        "names": NAMES,
        "load_s": round(loaded_s, 2),
        "memory_mb": round(held / 1e6, 1),
        "search_ms": search_ms(book, names),
        "search_ms_small": search_ms(small, names),
    }


def search_ms(book: Any, names: HomeNames) -> float:
    """Median time to find the candidates of a text."""
    took = []
    for entity in names.entities[:40]:
        started = time.perf_counter()
        matches(book, [f"Turn on the {entity.names[0]} lamb."], 8)
        took.append(time.perf_counter() - started)
    return round(1000 * float(np.median(took)), 1)


def page(data: dict[str, Any]) -> list[str]:
    """The page for people."""
    rows = []
    for name, row in data["parts"].items():
        cells = [report.number("{:.1%}", row[key][0]) for key in ("right_without", "right")]
        low, high = (report.number("{:.1%}", limit) for limit in row["right"][1:])
        rows.append(
            [
                name,
                row["clips"],
                *cells,
                f"{low} to {high}",
                report.number("{:.1%}", row["changed"][0]),
            ]
        )
    large = data["large_book"]
    return [
        "# Phrases",
        "",
        f"Each clip was transcribed by `{data['model']}` without a phrase book and with one. A "
        "clip is right if all words of a command are right, or all values of an order. Speech "
        "that is not in the book is right if it has no other words than those that were heard; "
        f"long recordings are also cut into all parts of {WINDOW_S[0]} to {WINDOW_S[1]} s "
        "between two pauses. Noise is right if it has no text. *Changed* is the share of clips in "
        "which a phrase replaced what was heard.",
        "",
        *report.table(
            ["", "clips", "right without", "right with", "95 % interval", "changed"], rows
        ),
        "",
        *report.table(
            ["added ms, where a phrase was recognised", "median", "95 %", "longest"],
            [["", *(report.number("{:.0f}", value) for value in data["added_ms"].values())]],
        ),
        "",
        f"A book of {large['sentences']} sentences and {large['names']} names loads in "
        f"{large['load_s']} s and takes {large['memory_mb']} MB. It finds candidates in "
        f"{large['search_ms']} ms; a book of 2 sentences and 20 names in "
        f"{large['search_ms_small']} ms.",
    ]


if __name__ == "__main__":
    options = report.parser(__doc__)
    options.add_argument("--model", default="tiny.en", help="the model")
    options.add_argument(
        "--noises", metavar="FOLDER", type=Path, help="noises that benchmarks.noises has built"
    )
    options.add_argument(
        "--half", choices=(*HALVES, "all"), default="judge", help="which half of the clips"
    )
    sys.exit(report.run(report.Benchmark("phrases", measure, page), options))
