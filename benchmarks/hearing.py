"""Words, phantoms and costs judged from outside, beside the usual server: one run, same cores.

`stt-mqtt run` behind a broker; and wyoming-faster-whisper, if `--wyoming` names its program, with
the same model files. `--noises` names a folder that `python -m benchmarks.noises` has built.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil

from benchmarks import harness, noises, report, scoring, sounds, speech
from benchmarks.harness import Cores, cpu_s, say, spread
from benchmarks.scoring import FEW_SPEAKERS, LEVEL_PERCENT, ROUNDS, Estimate, bootstrap
from benchmarks.sounds import Sound
from benchmarks.speech import Clip
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.errors import ModelError
from stt_mqtt.types import SAMPLE_RATE
from tools.clients import Answer, Hear, NativeClient, answer_of, ask_wyoming
from tools.processes import pinned

MODEL, LANGUAGE = "tiny.en", "en"
OTHER_MODEL, OTHER_LANGUAGE = "base", "fr"
THREADS = 2
"""Of the peer; the service takes its default, a worker of one thread for each of two cores."""
TURN_CLIPS = 60
"""The programs take turns, so that a machine that slows down slows all of them."""
ROOMS = 8
ROOM_UTTERANCES, QUICK_ROOM_UTTERANCES = 160, 8
WARM_UP_CLIPS = 3
SETTLE_S = 0.5
"""Threads spin for a while after their work; the next program is not to pay for it."""
SEED = 3
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
PAIRS = 42
COMMAND_S = 4.0
"""A command of a pair is no longer, so that two with the longest pause fit under the cap."""
CLIPS_OF_A_SPEAKER = 4
QUICK_CLIPS = 3
LARGE_CORPUS = 30
ALL = "all"
FRAME = SAMPLE_RATE // 50

T = TypeVar("T")

# What is spoken ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands of one speaker in one utterance, `clip`."""

    first: Clip
    second: Clip
    pause_s: float
    clip: Clip


@dataclass(frozen=True, slots=True)
class Material:
    """All that is spoken. `together`: by many rooms at once; `other`: in another language."""

    spoken: list[Clip]
    orders: list[Clip]
    pairs: list[Pair]
    noises: list[Clip]
    together: list[Clip]
    other: list[Clip]

    @property
    def english(self) -> list[Clip]:
        """All that is heard one after the other, shuffled."""
        clips = [*self.spoken, *self.orders, *(pair.clip for pair in self.pairs), *self.noises]
        random.Random(SEED).shuffle(clips)
        return clips


def gathered(built_noises: Path, most: int | None) -> Material:
    """The speech data and a folder of noises; of each part `most` clips by chance, if given."""
    spoken, orders = speech.recordings(), speech.orders()
    talk = [*spoken, *orders]
    random.Random(SEED).shuffle(talk)
    rooms = ROOM_UTTERANCES if most is None else min(ROOM_UTTERANCES, 4 * most)
    pairs = _some(paired(spoken), most)
    commands = [clip for pair in pairs for clip in (pair.first, pair.second)]
    heard = {clip.id: clip for clip in (*_some(spoken, most), *commands)}
    return Material(
        list(heard.values()),
        _some(orders, most),
        pairs,
        _some(speech.noises(built_noises), most),
        list(itertools.islice(itertools.cycle(talk), rooms)),
        _some(speech.recordings(OTHER_LANGUAGE), most),
    )


def quick_material(folder: Path) -> Material:
    """Samples of the demo, a pair of them, and two noises."""
    clips = speech.samples(folder)[:QUICK_CLIPS]
    rng = noises.rng_for("quick")
    made = [
        Clip(name, "made", "", folder / name, _pcm(8000 * np.clip(sound, -1, 1)), name)
        for name, sound in (("beep", sounds.beep(rng)), ("steady", sounds.steady(rng)))
    ]
    rooms = list(itertools.islice(itertools.cycle(clips), QUICK_ROOM_UTTERANCES))
    return Material(clips, [], [joined(clips[0], clips[1], 1.0)], made, rooms, [])


def paired(clips: Sequence[Clip]) -> list[Pair]:
    """Short clips two by two: the same speaker, different texts, all pauses as often."""
    rng = random.Random(SEED)
    speakers: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.seconds <= COMMAND_S:
            speakers[clip.speaker].append(clip)
    known = [some for some in speakers.values() if len(some) >= CLIPS_OF_A_SPEAKER]
    if not known:
        return []
    # Sentences are likelier than single words.
    weights = [sum(len(clip.text.split()) for clip in some) ** 2 / len(some) for some in known]
    pairs = []
    for number in range(PAIRS):
        (some,) = rng.choices(known, weights)
        first = rng.choice(some)
        second = rng.choice([clip for clip in some if clip.text != first.text])
        pairs.append(joined(first, second, PAUSES_S[number % len(PAUSES_S)]))
    return pairs


def joined(first: Clip, second: Clip, pause_s: float) -> Pair:
    """Both in one utterance; in between it is as quiet as where the first one is quietest."""
    before, after = (np.frombuffer(clip.pcm, "<i2").astype(np.float32) for clip in (first, second))
    room = sounds.pink(noises.rng_for(f"{first.id} {second.id} {pause_s}"), pause_s)
    room *= np.float32(quietest_rms(before) / max(float(np.sqrt(np.mean(room**2))), 1e-9))
    clip = Clip(
        f"{first.id} + {pause_s:g} s + {second.id}",
        "two commands",
        f"{first.text} {second.text}",
        Path(),
        _pcm(np.concatenate([before, room, after])),
        first.speaker,
    )
    return Pair(first, second, pause_s, clip)


def quietest_rms(samples: Sound) -> float:
    """Root mean square of the quietest tenth of the frames."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.1))


def _some(items: Sequence[T], most: int | None) -> list[T]:
    if most is None or most >= len(items):
        return list(items)
    return random.Random(SEED).sample(items, most)


def _pcm(samples: Sound) -> bytes:
    whole: bytes = np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes()
    return whole


# Who hears it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, and the rooms that speak to it."""

    name: str
    process: psutil.Process
    rooms: Sequence[Hear]


Start = Callable[[int], Any]
"""A context manager of a `Program` with so many rooms."""


def contenders(options: argparse.Namespace, cores: Cores, model: str, language: str) -> list[Start]:
    """This service, and its peer where it is named. Raises ModelError without the model."""
    files = resolve(model, default_models_dir())
    # A smoke test is about words, also on a machine that is too slow for them.
    limits = {"max_queue_age_s": 60} if options.quick else {}

    @contextmanager
    def ours(rooms: int) -> Iterator[Program]:
        with (
            harness.a_service(cores=cores, engine={"model": model}, limits=limits) as running,
            ExitStack() as stack,
        ):
            clients = [NativeClient(running.broker, f"room-{n}", language) for n in range(rooms)]
            for client in clients:
                stack.callback(client.close)
            hear = [client.hear for client in clients]
            yield Program(f"stt-mqtt, {model}", running.process, hear)

    @contextmanager
    def peer(rooms: int) -> Iterator[Program]:
        server = harness.a_wyoming_server(
            options.wyoming, files.folder, cores.program, THREADS, language
        )
        with server as (process, port):
            hear = [lambda pcm: ask_wyoming(port, pcm, language)] * rooms
            yield Program(f"{harness.PEER}, {model}", process, hear)

    return [ours, peer] if options.wyoming else [ours]


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """An answer, and the CPU seconds that the program took from the last answer to this one."""

    answer: Answer
    cpu_s: float


Answers = Mapping[str, MeasuredAnswer]
"""Of one program, by clip."""


def one_room(starts: Sequence[Start], clips: Sequence[Clip]) -> dict[str, Answers]:
    """One utterance after the other; the programs take turns. The answers by program."""
    with ExitStack() as stack:
        programs = [stack.enter_context(start(1)) for start in starts]
        for program, clip in itertools.product(programs, clips[:WARM_UP_CLIPS]):
            answer_of(program.rooms[0], clip.pcm)
        heard: dict[str, dict[str, MeasuredAnswer]] = {program.name: {} for program in programs}
        for at in range(0, len(clips), TURN_CLIPS):
            for program in programs:
                time.sleep(SETTLE_S)
                used_s = cpu_s(program.process)
                for clip in clips[at : at + TURN_CLIPS]:
                    answer = answer_of(program.rooms[0], clip.pcm)
                    now_s = cpu_s(program.process)
                    heard[program.name][clip.id] = MeasuredAnswer(answer, now_s - used_s)
                    used_s = now_s
                say(f"{program.name}: {len(heard[program.name])} of {len(clips)} clips")
        return dict(heard)


def together(start: Start, clips: Sequence[Clip]) -> dict[str, Any]:
    """Many rooms at once; each speaks its next clip when it has its answer."""
    with start(ROOMS) as program:
        say(f"{program.name}: {ROOMS} rooms at once")
        for hear, clip in zip(program.rooms, itertools.cycle(clips), strict=False):
            answer_of(hear, clip.pcm)
        time.sleep(SETTLE_S)
        waiting, lock = iter(clips), threading.Lock()

        def live(hear: Hear) -> list[Answer]:
            answers: list[Answer] = []
            while True:
                with lock:
                    clip = next(waiting, None)
                if clip is None:
                    return answers
                answers.append(answer_of(hear, clip.pcm))

        used_s, began = cpu_s(program.process), time.perf_counter()
        with ThreadPoolExecutor(ROOMS) as pool:
            answers = [answer for some in pool.map(live, program.rooms) for answer in some]
        seconds, used_s = time.perf_counter() - began, cpu_s(program.process) - used_s
        return {
            "utterances": len(answers),
            "errors": errors(answers),
            "utterances_per_s": round(len(answers) / seconds, 3),
            "latency_s": spread([answer.latency_s for answer in answers]),
            "cpu_s_per_utterance": round(used_s / len(answers), 4),
            "peak_mb": harness.peak_mb(program.process),
        }


def errors(answers: Iterable[Answer]) -> dict[str, int]:
    """How often each code was the answer."""
    return dict(Counter(answer.error for answer in answers if answer.error is not None))


# What it comes to -------------------------------------------------------------------------------

Score = Callable[[Clip, MeasuredAnswer], tuple[float, float]]
"""What is counted of a clip, and of how many."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of this service and of the peer, and both compared. None: not measured."""

    clips: int
    ours: Estimate
    peer: Estimate | None
    compared: Estimate | None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach, and what it should.

    `unit`: a format of one number. `of`: what the limits are about, the `ratio` to the peer, the
    `difference` from it, or the `value` itself. `more`: the limits are the least.
    """

    key: str
    figure: str
    unit: str
    of: str
    must: float
    aim: float
    more: bool = False

    def met(self, found: Compared | None) -> str:
        """`aim`, `must` or `no`; or that it was not measured."""
        value_only = self.of == "value"
        estimate = None if found is None else found.ours if value_only else found.compared
        if estimate is None or estimate.value is None:
            return "not measured"
        sign = -1 if self.more else 1
        reached = [sign * (estimate.value - limit) <= 1e-9 for limit in (self.aim, self.must)]
        return "aim" if reached[0] else "must" if reached[1] else "no"


GOALS = (
    Goal("words", "word error rate, all English", "{:.2%}", "ratio", 0.9, 0.8),
    Goal("orders", "orders, all slots right", "{:.1%}", "difference", 0.01, 0.04, True),
    Goal("single_words", "single words, right", "{:.1%}", "difference", 0, 0.05, True),
    Goal("worst_corpus", "WER of the worst large corpus", "{:.2%}", "difference", 0.01, 0),
    Goal("noise", "noise with any text", "{:.1%}", "value", 0.03, 0.01),
    Goal("without_words", "speech without words", "{:.2%}", "value", 0.003, 0),
    Goal("cpu_idle", "CPU s per utterance, one room", "{:.3f}", "ratio", 1 / 5, 1 / 10),
    Goal("cpu_rooms", "CPU s per utterance, 8 rooms", "{:.3f}", "ratio", 1 / 8, 1 / 10),
    Goal("pairs", "two commands, WER joined over alone", "{:.2f} x", "value", 1.3, 1.1),
)


def words(clip: Clip, heard: MeasuredAnswer, language: str = "en") -> tuple[float, float]:
    """Wrong words of those that were said."""
    return scoring.word_errors(clip.text, heard.answer.text, language)


SCORES: dict[str, Score] = {
    "exact": lambda clip, heard: (scoring.is_exact(clip.text, heard.answer.text), 1),
    "right_word": lambda clip, heard: (scoring.is_right_word(clip.text, heard.answer.text), 1),
    "slots": lambda clip, heard: (scoring.slots_right(clip.slots, heard.answer.text), 1),
    "text": lambda _clip, heard: (scoring.has_words(heard.answer.text), 1),
    "no_text": lambda _clip, heard: (not scoring.has_words(heard.answer.text), 1),
    "cpu": lambda _clip, heard: (heard.cpu_s, 1),
}


def compare(
    clips: Sequence[Clip], ours: Answers, peer: Answers | None, score: Score, is_ratio: bool = False
) -> Compared:
    """One figure of both programs, and their ratio or difference."""
    clusters = [clip.speaker or clip.id for clip in clips]

    def columns(heard: Answers) -> list[list[float]]:
        scores = [score(clip, heard[clip.id]) for clip in clips]
        return [[float(one[n]) for one in scores] for n in (0, 1)]

    own = columns(ours)
    one = scoring.rate(own[0], own[1], clusters)
    if peer is None:
        return Compared(len(clips), one, None, None)
    others = columns(peer)
    statistic = scoring.ratio_of_shares if is_ratio else scoring.difference_of_shares
    both = bootstrap([*own, *others], clusters, statistic)
    return Compared(len(clips), one, scoring.rate(others[0], others[1], clusters), both)


def joined_over_alone(pairs: Sequence[Pair], heard: Answers) -> Estimate:
    """The word error rate of pairs in terms of that of the same commands alone."""
    rows = []
    for pair in pairs:
        parts = [words(clip, heard[clip.id]) for clip in (pair.first, pair.second)]
        alone = [sum(part[n] for part in parts) for n in (0, 1)]
        rows.append([*words(pair.clip, heard[pair.clip.id]), *alone])
    columns = list(zip(*rows, strict=True))
    return bootstrap(columns, [pair.clip.id for pair in pairs], scoring.ratio_of_shares)


def by_corpus(
    clips: Sequence[Clip], ours: Answers, peer: Answers | None, score: Score
) -> dict[str, Compared]:
    """One figure per corpus, and over all."""
    names = dict.fromkeys(clip.corpus for clip in clips)
    rows = {
        name: compare([clip for clip in clips if clip.corpus == name], ours, peer, score)
        for name in names
    }
    return {**rows, ALL: compare(clips, ours, peer, score)}


def worst(corpora: Mapping[str, Compared]) -> str | None:
    """The name of the large corpus where this service is worst in terms of the peer."""
    by_difference = {
        name: row.compared.value
        for name, row in corpora.items()
        if name != ALL and row.clips >= LARGE_CORPUS and row.compared is not None
    }
    return max(by_difference, key=lambda name: by_difference[name] or 0.0, default=None)


def of_rooms(crowds: Sequence[Mapping[str, Any]]) -> Compared:
    """CPU seconds per utterance with many rooms: one number of one run, so without an interval."""
    ours, *others = (Estimate(crowd["cpu_s_per_utterance"]) for crowd in crowds)
    if not others or not others[0].value or ours.value is None:
        return Compared(crowds[0]["utterances"], ours, None, None)
    ratio = Estimate(ours.value / others[0].value)
    return Compared(crowds[0]["utterances"], ours, others[0], ratio)


def figures(
    material: Material, rooms: Sequence[Answers], crowds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All figures from what the programs did, this service's first."""
    ours, *others = rooms
    peer = others[0] if others else None
    corpora = by_corpus(material.spoken, ours, peer, words)
    worst_corpus = worst(corpora)
    talk = [*material.spoken, *material.orders]
    single = [clip for clip in material.spoken if len(clip.text.split()) == 1]
    both = None if peer is None else joined_over_alone(material.pairs, peer)
    pairs = joined_over_alone(material.pairs, ours)
    found: dict[str, Compared | None] = {
        "words": compare(material.spoken, ours, peer, words, is_ratio=True),
        "orders": compare(material.orders, ours, peer, SCORES["slots"]),
        "single_words": compare(single, ours, peer, SCORES["right_word"]),
        "worst_corpus": corpora.get(worst_corpus or ""),
        "noise": compare(material.noises, ours, peer, SCORES["text"]),
        "without_words": compare(talk, ours, peer, SCORES["no_text"]),
        "cpu_idle": compare(talk, ours, peer, SCORES["cpu"], is_ratio=True),
        "cpu_rooms": of_rooms(crowds),
        "pairs": Compared(len(material.pairs), pairs, both, None),
    }
    return {
        "goals": [
            {**asdict(goal), "found": _plain(found[goal.key]), "met": goal.met(found[goal.key])}
            for goal in GOALS
        ],
        "worst_corpus": worst_corpus,
        "corpora": _rows(corpora),
        "exact": _rows(by_corpus(material.spoken, ours, peer, SCORES["exact"])),
        "noise": _rows(by_corpus(material.noises, ours, peer, SCORES["text"])),
        "noise_with_text": [
            [one.id for one in material.noises if scoring.has_words(room[one.id].answer.text)]
            for room in rooms
        ],
        "one_room": [
            {
                "latency_s": spread([room[clip.id].answer.latency_s for clip in talk]),
                "errors": errors(heard.answer for heard in room.values()),
            }
            for room in rooms
        ],
        "rooms": list(crowds),
    }


def other_language(
    options: argparse.Namespace, cores: Cores, clips: Sequence[Clip]
) -> dict[str, Any] | None:
    """The words of another language with a larger model; None where one of both is missing."""
    if not clips:
        return None
    try:
        rooms = one_room(contenders(options, cores, OTHER_MODEL, OTHER_LANGUAGE), clips)
    except ModelError as error:
        say(str(error))
        return None
    ours, *others = rooms.values()
    score = partial(words, language=OTHER_LANGUAGE)
    found = compare(clips, ours, others[0] if others else None, score, is_ratio=True)
    return {"model": OTHER_MODEL, "language": OTHER_LANGUAGE, "words": asdict(found)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything; this service's figures first."""
    cores = harness.two_cores()
    starts = contenders(options, cores, options.model, LANGUAGE)
    with tempfile.TemporaryDirectory() as name, pinned(cores.others):
        if options.quick:
            material = quick_material(Path(name))
        else:
            if options.noises is None:
                say("no --noises: those of the speech data, and those that are made")
                noises.build(Path(name), None)
            material = gathered(options.noises or Path(name), options.clips)
        rooms = one_room(starts, material.english)
        if options.heard is not None:
            told = {
                name: {one: asdict(heard) for one, heard in room.items()}
                for name, room in rooms.items()
            }
            options.heard.write_text(json.dumps(told, indent=1) + "\n")
        crowds = [together(start, material.together) for start in starts]
        other = other_language(options, cores, material.other)
    counted = ("spoken", "orders", "pairs", "noises", "together")
    return {
        "versions": harness.peer_versions(options.wyoming),
        "model": options.model,
        "threads": THREADS,
        "programs": list(rooms),
        "turn_clips": TURN_CLIPS,
        "room_count": ROOMS,
        "clips": {part: len(getattr(material, part)) for part in counted},
        **figures(material, list(rooms.values()), crowds),
        "other_language": other,
    }


def lost(data: Mapping[str, Any]) -> list[str]:
    """Errors that were answered instead of words."""
    runs = [*data["one_room"], *data["rooms"]]
    return [f"answered with an error: {run['errors']}" for run in runs if run["errors"]]


def _rows(found: Mapping[str, Compared]) -> dict[str, Any]:
    return {name: asdict(row) for name, row in found.items()}


def _plain(found: Compared | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


# The page ---------------------------------------------------------------------------------------


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    clips, many = data["clips"], f"{data['room_count']} rooms"
    peer = data["programs"][1] if len(data["programs"]) > 1 else "none in this run"
    goals = []
    for goal in data["goals"]:
        found, unit = goal["found"] or {}, goal["unit"]
        row = [goal["figure"], *_both(unit, found), _comparison(goal["of"], found, unit)]
        goals.append([*row, _limit(goal, "must"), _limit(goal, "aim"), goal["met"]])
    corpora = []
    for corpus, found in data["corpora"].items():
        row = [corpus, found["clips"], *_both("{:.2%}", found), _comparison("difference", found)]
        corpora.append([*row, *_both("{:.1%}", data["exact"][corpus])])
    noise = [
        [group, row["clips"], *_both("{:.1%}", row), _interval("{:.1%}", row["ours"])]
        for group, row in data["noise"].items()
    ]
    idle = next(goal for goal in data["goals"] if goal["key"] == "cpu_idle")["found"]
    costs = []
    for number, name in enumerate(data["programs"]):
        alone, crowd = data["one_room"][number]["latency_s"], data["rooms"][number]
        row = [name, _value("{:.3f}", idle[("ours", "peer")[number]]), alone["p50"], alone["p95"]]
        row += [crowd["cpu_s_per_utterance"], *(crowd["latency_s"][at] for at in ("p50", "p95"))]
        costs.append([*row, crowd["utterances_per_s"], f"{crowd['peak_mb']:.0f}"])
    other = data["other_language"]
    compared = f"ratio or difference [{LEVEL_PERCENT:g} % interval]"
    return [
        "# Hearing",
        "",
        f"{clips['spoken']} English clips with texts, {clips['orders']} orders with slots, "
        f"{clips['pairs']} utterances of two commands and {clips['noises']} noises; the same files "
        f"of {data['model']}, int8, beam 5, one run. stt-mqtt runs with its defaults behind a "
        f"broker, the peer with {data['threads']} threads; both on the same two cores, one "
        f"utterance after the other, in turns of {data['turn_clips']}. The peer: {peer}.",
        "",
        *report.table(["figure", "the peer", "stt-mqtt", compared, "must", "aim", "met"], goals),
        "",
        f"Intervals: {LEVEL_PERCENT:g} %, paired bootstrap ({ROUNDS} rounds) over speakers, of "
        f"noise over sounds; over clips where fewer than {FEW_SPEAKERS} speakers are known. Where "
        "a limit is about the value itself, so is the interval. The worst corpus of "
        f"{LARGE_CORPUS} or more clips: {data['worst_corpus'] or 'not measured'}.",
        "",
        "## Words",
        "",
        "Word error rate and share of exact clips after Whisper's English normalisation (jiwer). "
        "A difference below 0 is better.",
        "",
        *report.table(
            ["corpus", "clips", "WER, peer", "WER, stt-mqtt", "difference", "exact, peer",
             "exact, stt-mqtt"],
            corpora,
        ),
        *([] if other is None else [
            "",
            f"{other['words']['clips']} clips in another language ({other['language']}), both "
            f"with {other['model']}: WER of the peer and of stt-mqtt "
            f"{', '.join(_both('{:.2%}', other['words']))}, "
            f"ratio {_comparison('ratio', other['words'])}.",
        ]),
        "",
        "## Noise",
        "",
        "Noises with any text.",
        "",
        *report.table(["group", "clips", "peer", "stt-mqtt", "interval"], noise),
        "",
        "## Costs",
        "",
        f"Latency: from the end mark to the answer, at the speaker. {many}: each sends its next "
        f"clip when it has its answer, {clips['together']} utterances to a fresh process.",
        "",
        *report.table(
            ["program", "one room: CPU s", "median s", "95 % s", f"{many}: CPU s", "median s",
             "95 % s", "utterances/s", "peak MB"],
            costs,
        ),
        *(["", f"{report.counts(data['versions'])}."] if data["versions"] else []),
    ]  # fmt: skip


def _comparison(of: str, found: Mapping[str, Any], unit: str = "") -> str:
    """The ratio or difference with its interval; of a value only the interval."""
    if of == "value":
        return _interval(unit, found.get("ours"))
    estimate = found.get("compared")
    if estimate is None or estimate["value"] is None:
        return report.DASH
    limits = (estimate["value"], estimate["low"], estimate["high"])
    if of == "difference":
        return report.points(limits)
    value, *ends = (None if one is None else _ratio(one) for one in limits)
    return f"{value} [{ends[0]}, {ends[1]}]" if ends[0] else str(value)


def _interval(unit: str, estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["low"] is None:
        return report.DASH
    return f"[{unit.format(estimate['low'])}, {unit.format(estimate['high'])}]"


def _limit(goal: Mapping[str, Any], name: str) -> str:
    value = goal[name]
    shown = {"ratio": _ratio(value), "difference": report.points([value])}
    sign = "≥" if goal["more"] else "≤"
    return f"{sign} {shown.get(goal['of']) or goal['unit'].format(value)}"


def _both(unit: str, found: Mapping[str, Any]) -> list[str]:
    return [_value(unit, found.get(who)) for who in ("peer", "ours")]


def _ratio(value: float) -> str:
    """Well under one as `1/7.3`, else as `0.90 x`."""
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.2f} x"


def _value(unit: str, estimate: Mapping[str, Any] | None) -> str:
    return report.number(unit, None if estimate is None else estimate["value"])


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument(
        "--wyoming", metavar="PROGRAM", help="the wyoming-faster-whisper program, to compare with"
    )
    arguments.add_argument(
        "--noises", metavar="FOLDER", type=Path, help="noises that benchmarks.noises has built"
    )
    arguments.add_argument(
        "--model", metavar="NAME", default=MODEL, help="of both programs (default: %(default)s)"
    )
    arguments.add_argument(
        "--clips", metavar="N", type=int, help="of each part only so many, by chance"
    )
    arguments.add_argument(
        "--heard", metavar="FILE", type=Path, help="also write all answers here, with their words"
    )
    sys.exit(report.run(report.Benchmark("hearing", measure, page, lost), arguments))
