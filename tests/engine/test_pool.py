from __future__ import annotations

import logging
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from queue import Queue

import pytest

from stt_mqtt.engine.runner import InferencePool, Work
from stt_mqtt.errors import CorruptAudioError, InferenceFailedError
from stt_mqtt.types import Batch, Verdict
from tests.core.test_queue import utterance
from tests.fakes import heard
from tools.brokers import eventually

TIMEOUT_S = 60


def batch(number: int, *ids: str) -> Batch:
    utterances = tuple(utterance(f"room-{place}", id) for place, id in enumerate(ids))
    return Batch(number, utterances, may_retry=False, together=2)


class Deliveries:
    """What the pool tells, in the order in which it was told."""

    def __init__(self) -> None:
        self.told: Queue[tuple[int, int, Verdict] | int] = Queue()

    def pool(self, work: Work, workers: int = 1) -> InferencePool:
        return InferencePool(
            work,
            workers,
            verdict=lambda number, index, verdict: self.told.put((number, index, verdict)),
            finished=self.told.put,
        )

    def verdict(self) -> tuple[int, int, Verdict]:
        told = self.told.get(timeout=TIMEOUT_S)
        assert not isinstance(told, int)
        return told

    def of_batch(self) -> dict[int, Verdict]:
        """Every verdict until a batch is finished."""
        verdicts: dict[int, Verdict] = {}
        while not isinstance(told := self.told.get(timeout=TIMEOUT_S), int):
            _, index, verdict = told
            assert index not in verdicts
            verdicts[index] = verdict
        return verdicts


def hear(batch: Batch) -> Iterator[tuple[int, Verdict]]:
    for index, item in enumerate(batch.utterances):
        yield index, heard(item.id)


def run(work: Work, *ids: str) -> dict[int, Verdict]:
    """The verdicts on one batch, and nothing after them."""
    deliveries = Deliveries()
    pool = deliveries.pool(work)
    pool.submit(batch(1, *ids))
    verdicts = deliveries.of_batch()
    assert pool.close(TIMEOUT_S)
    assert deliveries.told.empty()
    return verdicts


def test_each_batch_is_answered_under_its_number_and_then_finished() -> None:
    deliveries = Deliveries()
    pool = deliveries.pool(hear)
    pool.submit(batch(7, "a", "b"))
    pool.submit(batch(8, "c"))
    told = [deliveries.told.get(timeout=TIMEOUT_S) for _ in range(5)]
    assert told == [(7, 0, heard("a")), (7, 1, heard("b")), 7, (8, 0, heard("c")), 8]
    assert pool.close(TIMEOUT_S)


def test_a_verdict_is_told_while_its_batch_goes_on() -> None:
    release = threading.Event()

    def one_by_one(batch: Batch) -> Iterator[tuple[int, Verdict]]:
        yield 1, heard("quick")
        release.wait(TIMEOUT_S)
        yield 0, heard("slow")

    deliveries = Deliveries()
    pool = deliveries.pool(one_by_one)
    pool.submit(batch(1, "slow", "quick"))
    assert deliveries.verdict() == (1, 1, heard("quick"))
    assert deliveries.told.empty()
    release.set()
    assert deliveries.verdict() == (1, 0, heard("slow"))
    assert pool.close(TIMEOUT_S)


def test_an_error_of_one_utterance_is_its_verdict_and_nobody_elses() -> None:
    corrupt = CorruptAudioError("noise")

    def hear_or_refuse(batch: Batch) -> Iterator[tuple[int, Verdict]]:
        for index, item in enumerate(batch.utterances):
            yield index, corrupt if item.id == "corrupt" else heard(item.id)

    verdicts = run(hear_or_refuse, "good", "corrupt", "good")
    assert verdicts == {0: heard("good"), 1: corrupt, 2: heard("good")}


class PanicError(BaseException):
    """What libraries written in Rust raise."""


@pytest.mark.parametrize("defect", [ZeroDivisionError, MemoryError, PanicError, CorruptAudioError])
def test_work_that_raises_in_the_middle_harms_only_what_had_no_verdict_yet(
    defect: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def break_off(batch: Batch) -> Iterator[tuple[int, Verdict]]:
        yield 1, heard("b")
        raise defect

    verdicts = run(break_off, "a", "b", "c")
    assert verdicts.pop(1) == heard("b")
    assert sorted(verdicts) == [0, 2]
    for verdict in verdicts.values():
        assert isinstance(verdict, InferenceFailedError)
        assert defect.__name__ in str(verdict)
    traces = [record for record in caplog.records if record.exc_info]
    assert len(traces) == 1
    named = [vars(record) for record in caplog.records if not record.exc_info]
    assert [(record["device"], record["utterance"]) for record in named] == [
        ("native/room-0", "a"),
        ("native/room-2", "c"),
    ]


def test_work_that_raises_at_once_fails_the_whole_batch_and_the_thread_lives_on() -> None:
    def refuse(batch: Batch) -> Iterator[tuple[int, Verdict]]:
        if batch.number == 1:
            raise ZeroDivisionError
        return hear(batch)

    deliveries = Deliveries()
    pool = deliveries.pool(refuse)
    pool.submit(batch(1, "a", "b"))
    pool.submit(batch(2, "a"))
    first = deliveries.of_batch()
    assert [type(verdict) for verdict in first.values()] == [InferenceFailedError] * 2
    assert deliveries.of_batch() == {0: heard("a")}
    assert pool.close(TIMEOUT_S)


def test_work_that_forgets_an_utterance_fails_it(caplog: pytest.LogCaptureFixture) -> None:
    verdicts = run(lambda batch: iter([(0, heard("a"))]), "a", "forgotten")
    assert verdicts[0] == heard("a")
    assert isinstance(verdicts[1], InferenceFailedError)
    assert [vars(record)["utterance"] for record in caplog.records] == ["forgotten"]


def test_a_second_verdict_and_one_on_nothing_are_ignored() -> None:
    told = [(0, heard("first")), (0, heard("second")), (-1, heard("?")), (2, heard("?"))]
    verdicts = run(lambda batch: iter([*told, (1, heard("b"))]), "a", "b")
    assert verdicts == {0: heard("first"), 1: heard("b")}


class Traced:
    """Something whose end can be seen."""


def hear_nothing_and_break(batch: Batch) -> Iterator[tuple[int, Verdict]]:
    raise ZeroDivisionError


@pytest.mark.parametrize("work", [hear, hear_nothing_and_break])
def test_an_idle_thread_holds_no_audio(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    # What pytest captures of the log would hold the traceback and everything in it.
    monkeypatch.setattr(logging.getLogger("stt_mqtt.engine.runner"), "disabled", True)
    deliveries = Deliveries()
    pool = deliveries.pool(work)
    note = Traced()
    held = weakref.ref(note)
    pool.submit(Batch(1, (replace(utterance("a"), context=note),), may_retry=False, together=2))
    del note
    deliveries.of_batch()
    eventually(lambda: held() is None)
    assert pool.close(TIMEOUT_S)


class Model(Traced):
    """Work that waits in the middle until it is let go."""

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()

    def run(self, batch: Batch) -> Iterator[tuple[int, Verdict]]:
        self.started.set()
        assert self.release.wait(TIMEOUT_S)
        return hear(batch)


def test_an_idle_thread_holds_no_replaced_work() -> None:
    deliveries, model = Deliveries(), Model()
    model.release.set()
    pool = deliveries.pool(model.run)
    pool.submit(batch(1, "a"))
    deliveries.of_batch()
    pool.replace_work(hear, lambda: None)
    held = weakref.ref(model)
    del model
    eventually(lambda: held() is None)
    assert pool.close(TIMEOUT_S)


def test_work_that_nobody_uses_is_retired_at_once() -> None:
    retired: list[int] = []
    pool = Deliveries().pool(hear)
    pool.replace_work(hear, lambda: retired.append(threading.get_ident()))
    assert retired == [threading.get_ident()]
    assert pool.close(TIMEOUT_S)


def test_a_batch_that_runs_keeps_its_work_which_is_retired_when_it_ends() -> None:
    deliveries, old = Deliveries(), Model()
    retired: Queue[str] = Queue()
    pool = deliveries.pool(old.run, 2)
    pool.submit(batch(1, "old"))
    assert old.started.wait(TIMEOUT_S)
    pool.replace_work(
        lambda batch: iter([(0, heard("by the new work"))]),
        lambda: retired.put(threading.current_thread().name),
    )
    pool.submit(batch(2, "new"))
    assert deliveries.verdict() == (2, 0, heard("by the new work"))
    assert deliveries.of_batch() == {}
    assert retired.empty()
    old.release.set()
    assert deliveries.of_batch() == {0: heard("old")}
    assert retired.get(timeout=TIMEOUT_S).startswith("inference")
    assert pool.close(TIMEOUT_S)
    assert retired.empty()


def test_work_that_breaks_is_retired_too() -> None:
    retired, started, release = threading.Event(), threading.Event(), threading.Event()

    def break_late(batch: Batch) -> Iterator[tuple[int, Verdict]]:
        started.set()
        release.wait(TIMEOUT_S)
        raise ZeroDivisionError

    deliveries = Deliveries()
    pool = deliveries.pool(break_late)
    pool.submit(batch(1, "a"))
    assert started.wait(TIMEOUT_S)
    pool.replace_work(hear, retired.set)
    assert not retired.is_set()
    release.set()
    assert retired.wait(TIMEOUT_S)
    assert pool.close(TIMEOUT_S)


class Counted:
    """Work that knows how many batches are in it, and whether it was said to be out of use."""

    def __init__(self, mistakes: list[str]) -> None:
        self._mistakes = mistakes
        self._lock = threading.Lock()
        self._inside = 0
        self.retired = 0

    def run(self, batch: Batch) -> Iterator[tuple[int, Verdict]]:
        with self._lock:
            self._inside += 1
            if self.retired:
                self._mistakes.append("used after it was retired")
        yield from hear(batch)
        with self._lock:
            self._inside -= 1

    def retire(self) -> None:
        with self._lock:
            self.retired += 1
            if self._inside:
                self._mistakes.append("retired while in use")


def test_each_of_many_works_is_retired_once_and_never_in_use() -> None:
    mistakes: list[str] = []
    works = [Counted(mistakes) for _ in range(100)]
    deliveries = Deliveries()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        pool = deliveries.pool(works[0].run, 4)
        for number, (old, new) in enumerate(pairwise(works)):
            for place in range(5):
                pool.submit(batch(5 * number + place, "a", "b"))
            pool.replace_work(new.run, old.retire)
        assert pool.close(TIMEOUT_S)
    finally:
        sys.setswitchinterval(interval)
    told = [deliveries.told.get_nowait() for _ in range(deliveries.told.qsize())]
    assert mistakes == []
    assert len(told) == 495 * 3
    assert [work.retired for work in works] == [1] * 99 + [0]


def test_a_thread_that_hangs_is_told_of_when_the_pool_closes() -> None:
    model = Model()
    pool = Deliveries().pool(model.run)
    pool.submit(batch(1, "a"))
    assert model.started.wait(TIMEOUT_S)
    assert not pool.close(timeout_s=0.01)
    model.release.set()
