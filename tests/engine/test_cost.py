from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine import cost
from stt_mqtt.engine.cost import WORKING_MB, largest_batch, measure, memory_mb
from stt_mqtt.engine.ladder import RungCost
from stt_mqtt.engine.models import WEIGHTS, ResolvedModel
from stt_mqtt.engine.whisper import WhisperTranscriber
from tests.app.toys import Model

MODEL_MB = st.floats(WORKING_MB, 10_000)
FREE_MB = st.floats(0, 1e9) | st.just(inf)
WORKERS = st.integers(1, 64)
MOST = st.integers(1, 32)


def test_a_model_takes_its_weights_and_some_room_to_work(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(bytes(2_500_000))
    assert memory_mb(ResolvedModel("toy", tmp_path), "int8") == 1.5 * 2.5 + WORKING_MB
    assert memory_mb(ResolvedModel("toy", tmp_path), "float32") == 3 * 2.5 + WORKING_MB


@pytest.mark.parametrize(
    ("free_mb", "workers", "batch"),
    [
        (inf, 1, 8),
        (160.0, 1, 8),
        (159.0, 1, 7),
        (159.0, 2, 3),
        (40.0, 1, 2),
        (39.0, 2, 1),
        (0.0, 1, 1),
    ],
)
def test_batches_get_half_of_what_is_free_in_tenths_of_the_model(
    free_mb: float, workers: int, batch: int
) -> None:
    assert largest_batch(100.0, free_mb, workers, 8) == batch


@given(MODEL_MB, FREE_MB, WORKERS, MOST)
def test_a_batch_holds_at_least_one_and_at_most_what_is_configured(
    model_mb: float, free_mb: float, workers: int, most: int
) -> None:
    assert 1 <= largest_batch(model_mb, free_mb, workers, most) <= most


@given(MODEL_MB, FREE_MB, FREE_MB, WORKERS, MOST)
def test_less_memory_never_makes_batches_larger(
    model_mb: float, one_mb: float, other_mb: float, workers: int, most: int
) -> None:
    less, more = sorted([one_mb, other_mb])
    assert largest_batch(model_mb, less, workers, most) <= largest_batch(
        model_mb, more, workers, most
    )


@given(MODEL_MB, MODEL_MB, FREE_MB, WORKERS, MOST)
def test_a_larger_model_never_has_larger_batches(
    one_mb: float, other_mb: float, free_mb: float, workers: int, most: int
) -> None:
    small, large = sorted([one_mb, other_mb])
    assert largest_batch(large, free_mb, workers, most) <= largest_batch(
        small, free_mb, workers, most
    )


@dataclass
class Rehearsing:
    """A model whose rehearsals take the time of a fake clock, with some delay each."""

    fixed_s: float
    per_audio_s: float
    delays: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    now: float = 100.0
    rehearsed: list[float] = field(default_factory=list)

    def measured(self, monkeypatch: pytest.MonkeyPatch) -> RungCost:
        outer = self

        class Slow(WhisperTranscriber):
            def rehearse(self, speech_s: float) -> None:
                outer.rehearsed.append(speech_s)
                outer.now += outer.fixed_s + outer.per_audio_s * speech_s + next(outer.delays)

        monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: outer.now))
        return measure(Slow(Model("toy"), 5), 77.0)


def test_a_cost_is_the_line_through_a_short_and_a_long_rehearsal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Rehearsing(fixed_s=0.05, per_audio_s=0.01)
    found = model.measured(monkeypatch)
    assert found.utterance_s == pytest.approx(0.05)
    assert found.per_audio_s == pytest.approx(0.01)
    assert found.memory_mb == 77.0
    assert found.work_s(1, 8.0) == pytest.approx(0.13)
    assert set(model.rehearsed) == {1.0, 8.0}


def test_a_rehearsal_that_others_disturbed_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Rehearsing(0.05, 0.01, iter([3.0, 0.0, 1.0, 0.5, 9.0, 0.0])).measured(monkeypatch)
    assert found.utterance_s == pytest.approx(0.05)
    assert found.per_audio_s == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("fixed_s", "per_audio_s", "expected"),
    [
        # Long speech that was quicker, as on a busy machine: the short one is the price of all.
        (0.5, -0.05, (0.45, 0.0)),
        # A short one that was too quick for the line: nothing is fixed.
        (-0.07, 0.1, (0.0, 0.1)),
    ],
)
def test_a_cost_is_never_negative(
    fixed_s: float,
    per_audio_s: float,
    expected: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Rehearsing(fixed_s, per_audio_s).measured(monkeypatch)
    assert (found.utterance_s, found.per_audio_s) == pytest.approx(expected)
    assert min(found.utterance_s, found.per_audio_s) >= 0
