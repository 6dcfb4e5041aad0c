from __future__ import annotations

import sys
import threading
from dataclasses import replace
from queue import Queue

import numpy as np

from stt_mqtt.config import Config
from stt_mqtt.engine.runner import Engine
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.rungs import Rung
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    Batch,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
    Verdict,
)
from tests.engine.fake_model import TIMEOUT_S, Model
from tests.engine.scripted import FakeVoice

ANYTHING = Config.model_validate({"gate": {"enabled": False}})
SPEECH = np.full(SAMPLE_RATE // 2, 512, "<i2").tobytes()
OLD, NEW, QUICK = (
    Rung("old", "old", 5, "int8"),
    Rung("new", "new", 5, "int8"),
    Rung("quick", "old", 1, "int8"),
)


def batch(number: int) -> Batch:
    utterance = Utterance(
        key=DeviceKey("native", "kitchen"),
        id=str(number),
        audio=EncodedAudio(AudioFormat(), SPEECH),
        language="en",
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
    )
    return Batch(number, (utterance,), may_retry=False, together=2)


class Bench:
    """An engine on a model, with real threads."""

    def __init__(self, workers: int = 1, model: Model | None = None) -> None:
        self.old = model or Model("old")
        self.verdicts: Queue[tuple[int, Verdict]] = Queue()
        self.engine = Engine(ANYTHING, OLD, self.old.transcriber, frozenset({"en"}), FakeVoice())
        self.pool = self.engine.start(
            workers,
            verdict=lambda number, _, verdict: self.verdicts.put((number, verdict)),
            finished=lambda _: None,
        )

    def hold_a_batch(self, number: int = 1) -> None:
        """Have a batch begin on the old model and stay there."""
        self.old.toy.held = True
        self.pool.submit(batch(number))
        assert self.old.toy.entered.acquire(timeout=TIMEOUT_S)

    def release(self) -> None:
        """Let one batch on the old model go on."""
        self.old.toy.may_go_on.release()

    def heard(self) -> tuple[int, str, str | None, str | None]:
        """Number, text, model and rung of the next verdict."""
        number, verdict = self.verdicts.get(timeout=TIMEOUT_S)
        assert isinstance(verdict, InferenceResult), verdict
        assert verdict.transcript is not None
        return number, verdict.transcript.text, verdict.model, verdict.rung

    def hear(self, number: int) -> tuple[int, str, str | None, str | None]:
        self.pool.submit(batch(number))
        return self.heard()

    def end(self) -> None:
        assert self.engine.close(TIMEOUT_S)


def test_a_batch_that_runs_keeps_its_model_while_it_is_exchanged() -> None:
    bench, new = Bench(workers=2), Model("new")
    bench.hold_a_batch(1)
    bench.engine.exchange(NEW, new.transcriber)
    assert bench.hear(2) == (2, "Yes.", "new", "new")
    bench.release()
    assert bench.heard() == (1, "Yes.", "old", "old")
    bench.end()


def test_a_model_that_works_is_closed_when_its_last_batch_has_ended_and_not_before() -> None:
    bench, new = Bench(workers=2), Model("new")
    bench.hold_a_batch(1)
    bench.hold_a_batch(2)
    bench.engine.exchange(NEW, new.transcriber)
    bench.release()
    assert bench.heard()[2:] == ("old", "old")
    # The thread that was freed hears this one, so it is done with the batch before.
    assert bench.hear(3)[2:] == ("new", "new")
    assert bench.old.closes == 0
    bench.release()
    assert bench.heard()[2:] == ("old", "old")
    assert bench.old.closed.wait(TIMEOUT_S)
    bench.end()
    assert (bench.old.closes, new.closes) == (1, 1)


def test_a_model_at_rest_is_closed_as_soon_as_it_is_exchanged() -> None:
    bench, new = Bench(), Model("new")
    bench.hear(1)
    bench.engine.exchange(NEW, new.transcriber)
    assert (bench.old.closes, new.closes) == (1, 0)
    assert (bench.engine.rung, bench.engine.transcriber.model) == (NEW, "new")
    bench.end()


def test_another_beam_of_the_same_model_closes_nothing() -> None:
    bench = Bench()
    bench.hear(1)
    bench.engine.exchange(QUICK, bench.engine.transcriber.with_beam(1))
    assert bench.hear(2) == (2, "Yes.", "old", "quick")
    assert bench.old.toy.beams == [5, 1]
    assert bench.old.closes == 0
    bench.end()
    assert bench.old.closes == 1


def test_a_model_that_works_with_one_beam_outlives_the_rung_with_its_other() -> None:
    bench, new = Bench(workers=2), Model("new")
    bench.hold_a_batch(1)
    bench.engine.exchange(QUICK, bench.engine.transcriber.with_beam(1))
    bench.engine.exchange(NEW, new.transcriber)
    assert bench.old.closes == 0
    bench.release()
    assert bench.heard() == (1, "Yes.", "old", "old")
    assert bench.old.closed.wait(TIMEOUT_S)
    bench.end()
    assert (bench.old.closes, new.closes) == (1, 1)


def test_a_reload_closes_nothing_and_the_exchange_after_it_closes_once() -> None:
    bench, new = Bench(), Model("new")
    bench.engine.reconfigure(ANYTHING)
    assert bench.hear(1)[2:] == ("old", "old")
    assert bench.old.closes == 0
    bench.engine.exchange(NEW, new.transcriber)
    bench.engine.reconfigure(ANYTHING)
    assert bench.hear(2)[2:] == ("new", "new")
    assert (bench.old.closes, new.closes) == (1, 0)
    bench.end()
    assert (bench.old.closes, new.closes) == (1, 1)


def test_a_reload_between_a_batch_and_the_exchange_does_not_close_its_model_too_early() -> None:
    bench, new = Bench(), Model("new")
    bench.hold_a_batch(1)
    bench.engine.reconfigure(ANYTHING)
    bench.engine.exchange(NEW, new.transcriber)
    assert bench.old.closes == 0
    bench.release()
    assert bench.heard() == (1, "Yes.", "old", "old")
    assert bench.old.closed.wait(TIMEOUT_S)
    bench.end()
    assert bench.old.closes == 1


def test_a_new_configuration_counts_from_the_next_batch_on() -> None:
    bench = Bench()
    assert bench.hear(1)[1] == "Yes."
    bench.engine.reconfigure(Config.model_validate({"gate": {"floor_dbfs": -20.0}}))
    bench.pool.submit(batch(2))
    number, verdict = bench.verdicts.get(timeout=TIMEOUT_S)
    assert isinstance(verdict, InferenceResult)
    assert (number, replace(verdict, levels=None)) == (2, InferenceResult(audio_s=0.5))
    bench.end()


def test_closing_ends_the_threads_and_frees_the_model() -> None:
    before = set(threading.enumerate())
    bench = Bench(workers=3)
    bench.hear(1)
    assert len(set(threading.enumerate()) - before) == 3
    assert bench.engine.close(TIMEOUT_S)
    assert set(threading.enumerate()) <= before
    assert bench.old.closes == 1


def test_a_thread_that_hangs_is_told_of_and_gets_no_model_any_more() -> None:
    bench = Bench()
    bench.hold_a_batch()
    assert not bench.engine.close(timeout_s=0.01)
    bench.release()
    _, verdict = bench.verdicts.get(timeout=TIMEOUT_S)
    assert isinstance(verdict, InferenceFailedError)
    assert "model old is closed" in str(verdict)


class Careful(Model):
    """A model that finds out whether it is closed while it works."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mistakes: list[str] = []

    def close(self) -> None:
        if self.closes:
            self.mistakes.append(f"{self.name} was closed twice")
        super().close()


def test_under_many_exchanges_each_model_is_closed_once_and_fails_no_batch() -> None:
    models = [Careful(f"model-{number}") for number in range(40)]
    bench = Bench(workers=4, model=models[0])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number, model in enumerate(models[1:]):
            for place in range(3):
                bench.pool.submit(batch(3 * number + place))
            bench.engine.reconfigure(ANYTHING)
            bench.engine.exchange(QUICK, bench.engine.transcriber.with_beam(1))
            bench.engine.exchange(NEW, model.transcriber)
        heard = {bench.heard()[0] for _ in range(3 * 39)}
        bench.end()
    finally:
        sys.setswitchinterval(interval)
    assert heard == set(range(3 * 39))
    assert [model.closes for model in models] == [1] * 40
    assert [mistake for model in models for mistake in model.mistakes] == []
