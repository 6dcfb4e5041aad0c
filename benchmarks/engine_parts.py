"""The parts of `engine`: one room and noise, and many rooms at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks import bench
from benchmarks.engine_programs import Answer, Contender, Hear, Program
from benchmarks.full_line import ALL, scores
from benchmarks.speech import Clip

TURN_CLIPS = 76
"""The programs take turns, so that a machine that slows down slows all of them."""
ROOMS = 8
WARM_UP_CLIPS = 3
SETTLE_S = 0.5
"""Threads spin for a while after their work; the next program is not to pay for it."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is spoken, and in what order."""

    clips: list[Clip]
    noises: list[Clip]
    together: list[Clip]
    """What the rooms speak at once."""


@dataclass(slots=True)
class Tally:
    """What a program did with the clips that it has heard so far; `cpu_s`: CPU seconds."""

    answers: dict[str, Answer] = field(default_factory=dict)
    cpu_s: float = 0.0
    broker_cpu_s: float = 0.0

    def take(self, program: Program, clips: Sequence[Clip]) -> None:
        """Have it hear these clips, one after the other."""
        cpu_s, broker_cpu_s = _cpu_s(program)
        for clip in clips:
            self.answers[clip.id] = program.rooms[0](clip)
        after_s, broker_after_s = _cpu_s(program)
        self.cpu_s += after_s - cpu_s
        self.broker_cpu_s += broker_after_s - broker_cpu_s


def one_room(contenders: Sequence[Contender], material: Material) -> dict[str, dict[str, Any]]:
    """Speech and noise, one utterance after the other; the results by part and program."""
    parts: dict[str, dict[str, Any]] = {"one_room": {}, "noise": {}}
    with ExitStack() as stack:
        programs = {
            contender.name: stack.enter_context(contender.start(1)) for contender in contenders
        }
        before = {name: _warmed_up(program, material) for name, program in programs.items()}
        tallies = {name: Tally() for name in programs}
        for turn in _turns(material.clips):
            for name, program in programs.items():
                time.sleep(SETTLE_S)
                tallies[name].take(program, turn)
                done = len(tallies[name].answers)
                bench.say(f"{name}: {done} of {len(material.clips)} clips")
        for name, program in programs.items():
            counted = {key: value - before[name][key] for key, value in program.counters().items()}
            parts["one_room"][name] = {
                **_heard(tallies[name], material.clips),
                "broker_cpu_s_per_utterance": (
                    _each(tallies[name].broker_cpu_s, material.clips) if program.broker else None
                ),
                "counters": counted,
                "peak_mb": bench.mb(bench.peak_bytes(program.process)),
            }
        for name, program in programs.items():
            if material.noises:
                bench.say(f"{name}: noise")
                answers = {clip.id: program.rooms[0](clip) for clip in material.noises}
                parts["noise"][name] = _noise(answers)
    return parts


def together(contender: Contender, clips: Sequence[Clip]) -> dict[str, Any]:
    """Many rooms at once; each speaks its next clip when it has its answer."""
    bench.say(f"{contender.name}: {ROOMS} rooms at once")
    with contender.start(ROOMS) as program:
        for hear, clip in zip(program.rooms, itertools.cycle(clips), strict=False):
            hear(clip)
        before = program.counters()
        time.sleep(SETTLE_S)
        waiting, lock = iter(clips), threading.Lock()

        def live(hear: Hear) -> list[Answer]:
            answers: list[Answer] = []
            while True:
                with lock:
                    clip = next(waiting, None)
                if clip is None:
                    return answers
                answers.append(hear(clip))

        cpu_s, _ = _cpu_s(program)
        started = time.perf_counter()
        with ThreadPoolExecutor(ROOMS) as threads:
            answers = [answer for some in threads.map(live, program.rooms) for answer in some]
        seconds = time.perf_counter() - started
        used_s = _cpu_s(program)[0] - cpu_s
        after = program.process.memory_info().rss
        return {
            "utterances": len(answers),
            "errors": _errors(answers),
            "seconds": round(seconds, 2),
            "utterances_per_s": round(len(answers) / seconds, 3),
            "latency_s": _spread([answer.latency_s for answer in answers]),
            "cpu_s_per_utterance": round(used_s / len(answers), 4),
            "peak_mb": bench.mb(max(bench.peak_bytes(program.process), after)),
            "after_mb": bench.mb(after),
            "counters": {key: value - before[key] for key, value in program.counters().items()},
        }


def _warmed_up(program: Program, material: Material) -> Mapping[str, int]:
    """What it has counted when it has heard a few clips."""
    for clip in material.clips[:WARM_UP_CLIPS]:
        program.rooms[0](clip)
    return program.counters()


def _turns(clips: Sequence[Clip]) -> Iterator[Sequence[Clip]]:
    return (clips[at : at + TURN_CLIPS] for at in range(0, len(clips), TURN_CLIPS))


def _heard(tally: Tally, clips: Sequence[Clip]) -> dict[str, Any]:
    answers = tally.answers
    silent = [clip.id for clip in clips if not answers[clip.id].has_words]
    texts = {clip_id: answer.text for clip_id, answer in answers.items()}
    told = [x.told_latency_s for x in answers.values() if x.told_latency_s is not None]
    corpora = {}
    for corpus in (*dict.fromkeys(clip.corpus for clip in clips), ALL):
        some = [clip for clip in clips if corpus in {clip.corpus, ALL}]
        corpora[corpus] = {"clips": len(some), **scores(some, texts)}
    return {
        "errors": _errors(answers.values()),
        "cpu_s_per_utterance": _each(tally.cpu_s, clips),
        "latency_s": _spread([answer.latency_s for answer in answers.values()]),
        "told_latency_s": _spread(told),
        "without_words": {
            "clips": len(silent),
            "share": round(len(silent) / len(clips), 4),
            "ids": silent,
        },
        "corpora": corpora,
    }


def _errors(answers: Iterable[Answer]) -> dict[str, int]:
    """How often each code was the answer."""
    return dict(Counter(answer.error for answer in answers if answer.error is not None))


def _noise(answers: Mapping[str, Answer]) -> dict[str, Any]:
    loud = [clip_id for clip_id, answer in answers.items() if answer.has_words]
    return {
        "clips": len(answers),
        "with_text": len(loud),
        "share": round(len(loud) / len(answers), 4),
        "ids": loud,
    }


def _cpu_s(program: Program) -> tuple[float, float]:
    """CPU seconds so far of the program and of the broker."""
    broker_s = 0.0 if program.broker is None else bench.cpu_s(program.broker)
    return bench.tree_cpu_s(program.process), broker_s


def _each(seconds: float, clips: Sequence[Clip]) -> float:
    return round(seconds / len(clips), 4)


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {name: bench.percentile(values, share) for name, share in (("p50", 0.5), ("p95", 0.95))}
