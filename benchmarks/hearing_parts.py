"""How `hearing` measures: one room, taking turns, and many rooms at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks import bench
from benchmarks.programs import Answer, Contender, Hear, Program
from benchmarks.speech import Clip

TURN_CLIPS = 60
"""The programs take turns, so that a machine that slows down slows all of them."""
ROOMS = 8
WARM_UP_CLIPS = 3
NO_ANSWER = "no_answer"
SETTLE_S = 0.5
"""Threads spin for a while after their work; the next program is not to pay for it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and the CPU seconds that the program took from one answer to the next."""

    answer: Answer
    cpu_s: float


@dataclass(frozen=True, slots=True)
class OneRoom:
    """What a program made of every clip, by id, and what it counted meanwhile."""

    heard: dict[str, Heard]
    counters: dict[str, int]


def one_room(contenders: Sequence[Contender], clips: Sequence[Clip]) -> dict[str, OneRoom]:
    """One utterance after the other; the results by the name of the program."""
    with ExitStack() as stack:
        programs = {one.name: stack.enter_context(one.start(1)) for one in contenders}
        before = {name: _warmed_up(program, clips) for name, program in programs.items()}
        heard: dict[str, dict[str, Heard]] = {name: {} for name in programs}
        for at in range(0, len(clips), TURN_CLIPS):
            for name, program in programs.items():
                time.sleep(SETTLE_S)
                heard[name] |= _heard(program, clips[at : at + TURN_CLIPS])
                bench.say(f"{name}: {len(heard[name])} of {len(clips)} clips")
        return {
            name: OneRoom(heard[name], _grown(before[name], program.counters()))
            for name, program in programs.items()
        }


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
                answers.append(answer_of(hear, clip))

        cpu_s = bench.tree_cpu_s(program.process)
        started = time.perf_counter()
        with ThreadPoolExecutor(ROOMS) as threads:
            answers = [answer for some in threads.map(live, program.rooms) for answer in some]
        seconds = time.perf_counter() - started
        used_s = bench.tree_cpu_s(program.process) - cpu_s
        return {
            "utterances": len(answers),
            "errors": errors(answers),
            "utterances_per_s": round(len(answers) / seconds, 3),
            "latency_s": spread(answers),
            "cpu_s_per_utterance": round(used_s / len(answers), 4),
            "peak_mb": bench.mb(bench.peak_bytes(program.process)),
            "counters": _grown(before, program.counters()),
        }


def answer_of(hear: Hear, clip: Clip) -> Answer:
    """The answer; one that never comes is an error, and no end of a run of half an hour."""
    asked = time.perf_counter()
    try:
        return hear(clip)
    except TimeoutError:
        return Answer("", time.perf_counter() - asked, NO_ANSWER)


def errors(answers: Iterable[Answer]) -> dict[str, int]:
    """How often each code was the answer."""
    return dict(Counter(answer.error for answer in answers if answer.error is not None))


def spread(answers: Iterable[Answer]) -> dict[str, float | None]:
    """Median and 95th percentile of the latency."""
    values = [answer.latency_s for answer in answers]
    return {name: bench.percentile(values, at) for name, at in (("p50", 0.5), ("p95", 0.95))}


def _heard(program: Program, clips: Iterable[Clip]) -> dict[str, Heard]:
    heard, before_s = {}, bench.tree_cpu_s(program.process)
    for clip in clips:
        answer = answer_of(program.rooms[0], clip)
        after_s = bench.tree_cpu_s(program.process)
        heard[clip.id], before_s = Heard(answer, after_s - before_s), after_s
    return heard


def _warmed_up(program: Program, clips: Sequence[Clip]) -> Mapping[str, int]:
    """What it has counted when it has heard a few clips."""
    for clip in clips[:WARM_UP_CLIPS]:
        program.rooms[0](clip)
    return program.counters()


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The counters that moved, and by how much."""
    return {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if count != before.get(name, 0)
    }
