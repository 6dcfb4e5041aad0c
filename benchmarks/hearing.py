"""Measures the engine and wyoming-faster-whisper on the same clips, model files and cores.

`stt-mqtt run` runs behind a broker. `--wyoming` names the program to compare with. `--noises` names
a folder that `python -m benchmarks.noises` has built.
"""

from __future__ import annotations

import argparse
import itertools
import queue
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import harness, household, noises, report, scoring, sounds, speech
from benchmarks.harness import Cores, cpu_s, say, spread
from benchmarks.scoring import FEW_SPEAKERS, LEVEL_PERCENT, ROUNDS, Estimate
from benchmarks.sounds import Sound
from benchmarks.speech import Clip
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.types import SAMPLE_RATE
from tools.clients import Answer, Hear, NativeClient, answer_of, ask_wyoming
from tools.processes import pinned

MODEL, LANGUAGE = "tiny.en", "en"
OTHER_MODEL, OTHER_LANGUAGE = "base", "fr"
THREADS = 2
"""Of the peer. The service takes its default: one worker with one thread for each of two cores."""
TURN_CLIPS = 60
"""The programs take turns, so that a machine that slows down slows both."""
ROOMS = 8
ROOM_UTTERANCES, QUICK_ROOM_UTTERANCES = 160, 8
WARM_UP_CLIPS = 3
SETTLE_S = 0.5
"""Threads spin for a while after their work. The next program must not pay for it."""
SEED = 3
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
PAIRS = 42
COMMAND_S = 4.0
"""Longest command of a pair, so that two with the longest pause are short enough."""
CLIPS_OF_A_SPEAKER = 4
QUICK_CLIPS = 3
FRAME = SAMPLE_RATE // 50


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands of one speaker in one utterance, `clip`."""

    first: Clip
    second: Clip
    clip: Clip


@dataclass(frozen=True, slots=True)
class Material:
    """All clips. `together`: for many rooms at once; `other`: in another language."""

    spoken: list[Clip]
    orders: list[Clip]
    pairs: list[Pair]
    noises: list[Clip]
    together: list[Clip]
    other: list[Clip]


def recorded_material(noise_folder: Path) -> Material:
    """The speech data and a folder of noises."""
    spoken, orders = speech.recordings(), speech.orders()
    talk = [*spoken, *orders]
    random.Random(SEED).shuffle(talk)
    together = list(itertools.islice(itertools.cycle(talk), ROOM_UTTERANCES))
    other = speech.recordings(OTHER_LANGUAGE)
    return Material(spoken, orders, paired(spoken), speech.noises(noise_folder), together, other)


def quick_material(folder: Path) -> Material:
    """Samples of the demo, a pair of them, and generated noises."""
    clips, made = household.quick_material(folder)
    clips = clips[:QUICK_CLIPS]
    together = list(itertools.islice(itertools.cycle(clips), QUICK_ROOM_UTTERANCES))
    return Material(clips, [], [joined(clips[0], clips[1], 1.0)], made, together, [])


def paired(clips: Sequence[Clip]) -> list[Pair]:
    """Pairs of short clips: the same speaker, different texts, each pause equally often."""
    rng = random.Random(SEED)
    speakers: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.seconds <= COMMAND_S:
            speakers[clip.speaker].append(clip)
    known = [some for some in speakers.values() if len(some) >= CLIPS_OF_A_SPEAKER]
    # Sentences are likelier than single words.
    weights = [sum(len(clip.text.split()) for clip in some) ** 2 / len(some) for some in known]
    pairs = []
    for number in range(PAIRS if known else 0):
        (some,) = rng.choices(known, weights)
        first = rng.choice(some)
        second = rng.choice([clip for clip in some if clip.text != first.text])
        pairs.append(joined(first, second, PAUSES_S[number % len(PAUSES_S)]))
    return pairs


def joined(first: Clip, second: Clip, pause_s: float) -> Pair:
    """Both in one utterance. The noise in the pause is as loud as the quietest part of `first`."""
    before, after = sounds.from_pcm(first.pcm), sounds.from_pcm(second.pcm)
    room = sounds.pink(noises.rng_for(f"{first.id} {second.id} {pause_s}"), pause_s)
    room *= np.float32(quietest_rms(before) / float(np.sqrt(np.mean(room**2))))
    name = f"{first.id} + {pause_s:g} s + {second.id}"
    pcm = sounds.pcm(np.concatenate([before, room, after]))
    text = f"{first.text} {second.text}"
    return Pair(first, second, Clip(name, "two commands", text, Path(), pcm, first.speaker))


def quietest_rms(samples: Sound) -> float:
    """Root mean square of the quietest tenth of the frames."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.1))


Running = tuple[psutil.Process, Sequence[Hear]]
"""A program, and what sends to it from each room."""
Start = Callable[[int], AbstractContextManager[Running]]
"""Starts a program with so many rooms."""


def programs(
    options: argparse.Namespace, cores: Cores, model: str, language: str
) -> dict[str, Start]:
    """This service, and the peer if it is named. Raises ModelError without the model."""
    files = resolve(model, default_models_dir())
    # With --quick no utterance may be too old, even on a slow machine.
    limits = {"max_queue_age_s": 60} if options.quick else {}

    @contextmanager
    def ours(rooms: int) -> Iterator[Running]:
        with (
            harness.a_service(cores=cores, engine={"model": model}, limits=limits) as running,
            ExitStack() as stack,
        ):
            clients = [NativeClient(running.broker, f"room-{n}", language) for n in range(rooms)]
            for client in clients:
                stack.callback(client.close)
            yield running.process, [client.hear for client in clients]

    @contextmanager
    def peer(rooms: int) -> Iterator[Running]:
        server = harness.a_wyoming_server(
            options.wyoming, files.folder, cores.program, THREADS, language
        )
        with server as (process, port):
            yield process, [lambda pcm: ask_wyoming(port, pcm, language)] * rooms

    found: dict[str, Start] = {f"stt-mqtt, {model}": ours}
    return found | ({f"{harness.PEER}, {model}": peer} if options.wyoming else {})


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """An answer, and the CPU seconds of the program from the answer before to this one."""

    answer: Answer
    cpu_s: float


Answers = Mapping[str, MeasuredAnswer]
"""Of one program, by the id of the clip."""


def one_room(starts: Mapping[str, Start], clips: Sequence[Clip]) -> list[Answers]:
    """One utterance after the other; the programs take turns. The answers of each program."""
    heard: dict[str, dict[str, MeasuredAnswer]] = {name: {} for name in starts}
    with ExitStack() as stack:
        running = {name: stack.enter_context(start(1)) for name, start in starts.items()}
        for (_, (hear,)), clip in itertools.product(running.values(), clips[:WARM_UP_CLIPS]):
            answer_of(hear, clip.pcm)
        for at in range(0, len(clips), TURN_CLIPS):
            for name, (process, (hear,)) in running.items():
                time.sleep(SETTLE_S)
                used_s = cpu_s(process)
                for clip in clips[at : at + TURN_CLIPS]:
                    answer = answer_of(hear, clip.pcm)
                    now_s = cpu_s(process)
                    heard[name][clip.id] = MeasuredAnswer(answer, now_s - used_s)
                    used_s = now_s
                say(f"{name}: {len(heard[name])} of {len(clips)} clips")
    return list(heard.values())


def many_rooms(name: str, start: Start, clips: Sequence[Clip]) -> dict[str, Any]:
    """`ROOMS` rooms at once. Each sends its next clip when it has its answer."""
    say(f"{name}: {ROOMS} rooms at once")
    free: queue.SimpleQueue[Hear] = queue.SimpleQueue()

    def ask(clip: Clip) -> Answer:
        hear = free.get()
        try:
            return answer_of(hear, clip.pcm)
        finally:
            free.put(hear)

    with start(ROOMS) as (process, rooms), ThreadPoolExecutor(ROOMS) as pool:
        for hear, clip in zip(rooms, itertools.cycle(clips), strict=False):
            answer_of(hear, clip.pcm)
            free.put(hear)
        time.sleep(SETTLE_S)
        used_s, began = cpu_s(process), time.perf_counter()
        answers = list(pool.map(ask, clips))
        seconds, used_s = time.perf_counter() - began, cpu_s(process) - used_s
        return {
            "utterances": len(answers),
            "errors": errors(answers),
            "utterances_per_s": round(len(answers) / seconds, 3),
            "latency_s": spread([answer.latency_s for answer in answers]),
            "cpu_s_per_utterance": round(used_s / len(answers), 4),
            "peak_mb": harness.peak_mb(process),
        }


def errors(answers: Iterable[Answer]) -> dict[str, int]:
    """How often each error code was the answer."""
    return dict(Counter(answer.error for answer in answers if answer.error is not None))


SCORES: dict[str, Callable[[Clip, MeasuredAnswer], tuple[float, float]]] = {
    "words": lambda clip, heard: scoring.word_errors(clip.text, heard.answer.text),
    "other_words": lambda clip, heard: scoring.word_errors(
        clip.text, heard.answer.text, OTHER_LANGUAGE
    ),
    "orders": lambda clip, heard: (scoring.slots_right(clip.slots, heard.answer.text), 1),
    "single_words": lambda clip, heard: (scoring.is_right_word(clip.text, heard.answer.text), 1),
    "noise": lambda _clip, heard: (scoring.has_words(heard.answer.text), 1),
    "without_words": lambda _clip, heard: (not scoring.has_words(heard.answer.text), 1),
    "cpu_idle": lambda _clip, heard: (heard.cpu_s, 1),
}
"""What is counted of a clip, and of how many."""
FIGURES = {
    "words": ("word error rate, all English", "{:.2%}"),
    "orders": ("orders, all slots right", "{:.1%}"),
    "single_words": ("single words, right", "{:.1%}"),
    "noise": ("noise with any text", "{:.1%}"),
    "without_words": ("speech without words", "{:.2%}"),
    "cpu_idle": ("CPU s per utterance, one room", "{:.3f}"),
    "cpu_rooms": (f"CPU s per utterance, {ROOMS} rooms", "{:.3f}"),
    "pairs": ("two commands, WER in one utterance over WER alone", "{:.2f} x"),
}
"""Name and format of each figure."""
RATIOS = ("words", "cpu_idle", "cpu_rooms")
"""Figures of which the programs are compared by ratio, the others by difference."""


def compared(clips: int, figures: Sequence[Estimate], both: Estimate | None) -> dict[str, Any]:
    """A figure of this service and of the peer, and their ratio or difference. None: no peer."""
    ours, *peer = map(asdict, figures)
    return {
        "clips": clips,
        "ours": ours,
        "peer": peer[0] if peer else None,
        "compared": asdict(both) if both else None,
    }


def compare(
    clips: Sequence[Clip], rooms: Sequence[Answers], figure: str, is_ratio: bool
) -> dict[str, Any]:
    """A figure of `SCORES` for each program, and their ratio or difference on the same clips."""
    clusters = [clip.speaker or clip.id for clip in clips]
    scores = [[SCORES[figure](clip, heard[clip.id]) for clip in clips] for heard in rooms]
    columns = [[[float(one[n]) for one in some] for n in (0, 1)] for some in scores]
    figures = [scoring.rate(count, of, clusters) for count, of in columns]
    how = scoring.ratio_of_shares if is_ratio else scoring.difference_of_shares
    both = None
    if len(rooms) > 1:
        both = scoring.bootstrap([*columns[0], *columns[1]], clusters, how)
    return compared(len(clips), figures, both)


def by_corpus(clips: Sequence[Clip], rooms: Sequence[Answers], figure: str) -> dict[str, Any]:
    """A figure of each corpus and of all; the programs are compared by difference."""
    corpora: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        corpora[clip.corpus].append(clip)
    rows = {**corpora, "all": clips}
    return {name: compare(some, rooms, figure, is_ratio=False) for name, some in rows.items()}


def joined_over_alone(pairs: Sequence[Pair], heard: Answers) -> Estimate:
    """The word error rate of pairs divided by that of the same commands alone."""
    rows = []
    for pair in pairs:
        both, first, second = (
            np.array(SCORES["words"](clip, heard[clip.id]))
            for clip in (pair.clip, pair.first, pair.second)
        )
        rows.append([*both, *(first + second)])
    columns = list(zip(*rows, strict=True))
    return scoring.bootstrap(columns, [pair.clip.id for pair in pairs], scoring.ratio_of_shares)


def summary(
    material: Material, rooms: Sequence[Answers], crowds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All figures. `rooms`, `crowds`: of each program, this service first."""
    talk = [*material.spoken, *material.orders]
    parts = {
        "words": material.spoken,
        "orders": material.orders,
        "single_words": [clip for clip in material.spoken if len(clip.text.split()) == 1],
        "noise": material.noises,
        "without_words": talk,
        "cpu_idle": talk,
    }
    figures = {key: compare(clips, rooms, key, key in RATIOS) for key, clips in parts.items()}
    crowd_s = [crowd["cpu_s_per_utterance"] for crowd in crowds]
    ratio = Estimate(crowd_s[0] / crowd_s[1]) if len(crowds) > 1 else None
    utterances = crowds[0]["utterances"]
    figures["cpu_rooms"] = compared(utterances, list(map(Estimate, crowd_s)), ratio)
    pairs = [joined_over_alone(material.pairs, heard) for heard in rooms]
    figures["pairs"] = compared(len(material.pairs), pairs, None)
    return {
        "figures": figures,
        "corpora": by_corpus(material.spoken, rooms, "words"),
        "noise": by_corpus(material.noises, rooms, "noise"),
        "one_room": [
            {
                "latency_s": spread([heard[clip.id].answer.latency_s for clip in talk]),
                "errors": errors(one.answer for one in heard.values()),
            }
            for heard in rooms
        ],
        "rooms": list(crowds),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements; this service first."""
    cores = harness.two_cores()
    starts = programs(options, cores, options.model, LANGUAGE)
    with tempfile.TemporaryDirectory() as name, pinned(cores.others):
        if options.quick:
            material = quick_material(Path(name))
        else:
            if options.noises is None:
                say("no --noises: those of the speech data and generated ones")
                noises.build(Path(name), None)
            material = recorded_material(options.noises or Path(name))
        # Raises now if the model is missing, not at the end.
        others = programs(options, cores, OTHER_MODEL, OTHER_LANGUAGE) if material.other else {}
        pairs = [pair.clip for pair in material.pairs]
        english = [*material.spoken, *material.orders, *pairs, *material.noises]
        random.Random(SEED).shuffle(english)
        rooms = one_room(starts, english)
        crowds = [many_rooms(name, start, material.together) for name, start in starts.items()]
        other = None
        if material.other:
            other_rooms = one_room(others, material.other)
            words = compare(material.other, other_rooms, "other_words", is_ratio=True)
            other = {"model": OTHER_MODEL, "language": OTHER_LANGUAGE, "words": words}
    counted = ("spoken", "orders", "pairs", "noises", "together")
    return {
        "versions": harness.peer_versions(options.wyoming),
        "model": options.model,
        "threads": THREADS,
        "programs": list(starts),
        "turn_clips": TURN_CLIPS,
        "room_count": ROOMS,
        "clips": {part: len(getattr(material, part)) for part in counted},
        **summary(material, rooms, crowds),
        "other_language": other,
    }


def lost(data: Mapping[str, Any]) -> list[str]:
    """Errors that were the answer instead of words."""
    runs = [*data["one_room"], *data["rooms"]]
    return [f"answered with an error: {run['errors']}" for run in runs if run["errors"]]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    clips, many = data["clips"], f"{data['room_count']} rooms"
    peer = data["programs"][1] if len(data["programs"]) > 1 else "none in this run"
    # Earlier results have the figures in a list.
    figures = data.get("figures") or {one["key"]: one["found"] for one in data["goals"]}
    rows = [
        [title, *figures_of(form, figures[key], key in RATIOS)]
        for key, (title, form) in FIGURES.items()
    ]
    costs = [
        [name, one["latency_s"]["p50"], one["latency_s"]["p95"], crowd["latency_s"]["p50"],
         crowd["latency_s"]["p95"], crowd["utterances_per_s"], f"{crowd['peak_mb']:.0f}"]
        for name, one, crowd in zip(data["programs"], data["one_room"], data["rooms"], strict=True)
    ]  # fmt: skip
    other = []
    if found := data["other_language"]:
        words = figures_of("{:.2%}", found["words"], is_ratio=True)
        other = [
            f"{found['words']['clips']} clips in another language ({found['language']}), both "
            f"programs with {found['model']}: WER of the peer {words[0]}, of stt-mqtt {words[1]}, "
            f"ratio {words[2]}.",
            "",
        ]
    return [
        "# Hearing",
        "",
        f"{clips['spoken']} English clips with texts, {clips['orders']} orders with slots, "
        f"{clips['pairs']} utterances of two commands and {clips['noises']} noises; the same files "
        f"of {data['model']}, int8, beam 5, one run. stt-mqtt runs with its defaults behind a "
        f"broker, the peer with {data['threads']} threads; both on the same two cores, one "
        f"utterance after the other, in turns of {data['turn_clips']}. The peer: {peer}.",
        "",
        *report.table(["figure", "peer", "stt-mqtt", "ratio or difference"], rows),
        "",
        "A ratio is marked x; a difference is in percentage points. In brackets: intervals, "
        f"{LEVEL_PERCENT:g} %, paired bootstrap ({ROUNDS} rounds) over speakers, for "
        f"noise over sounds; over clips if fewer than {FEW_SPEAKERS} speakers are known.",
        "",
        *parts("Word error rate", "{:.2%}", data["corpora"]),
        *other,
        *parts("Noise with any text", "{:.1%}", data["noise"]),
        "## Costs",
        "",
        f"Latency: from the end mark to the answer, at the client. {many}: each sends its next "
        f"clip when it has its answer, {clips['together']} utterances to a fresh process.",
        "",
        *report.table(
            ["program", "one room: median s", "95 % s", f"{many}: median s", "95 % s",
             "utterances/s", "peak MB"],
            costs,
        ),
        *(["", f"{report.counts(data['versions'])}."] if data["versions"] else []),
    ]  # fmt: skip


def parts(title: str, form: str, corpora: Mapping[str, Any]) -> list[str]:
    """A section with a figure of each corpus."""
    rows = [
        [name, found["clips"], *figures_of(form, found, is_ratio=False)]
        for name, found in corpora.items()
    ]
    header = ["", "clips", "peer", "stt-mqtt", "difference"]
    return [f"## {title}", "", *report.table(header, rows), ""]


def figures_of(form: str, found: Mapping[str, Any], is_ratio: bool) -> list[str]:
    """The figure of the peer and of this service, and both compared; with known intervals."""
    both = found["compared"] or {"value": None, "low": None}
    shown = estimate("{:#.3g} x", both) if is_ratio else report.points(list(both.values()))
    return [estimate(form, found["peer"]), estimate(form, found["ours"]), shown]


def estimate(form: str, found: Mapping[str, Any] | None) -> str:
    """A figure, with its interval if it is known; a dash for none."""
    if found is None or found["low"] is None:
        return report.number(form, found["value"] if found else None)
    return "{} [{}, {}]".format(*(form.format(found[key]) for key in ("value", "low", "high")))


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
    sys.exit(report.run(report.Benchmark("hearing", measure, page, lost), arguments))
