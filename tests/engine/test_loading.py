from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import Config
from stt_mqtt.engine import loading
from stt_mqtt.engine.ladder import RungCost
from stt_mqtt.engine.loading import (
    WORKING_MB,
    LoadedLadder,
    ModelLoader,
    check_memory,
    largest_batch,
    load_ladder,
    load_rung,
    measure,
    memory_mb,
    model_loader,
    parallelism_of,
    preferred_rung,
    supported_languages,
)
from stt_mqtt.engine.models import WEIGHTS, ResolvedModel
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import ModelError
from stt_mqtt.rungs import Rung
from tests.engine.fake_model import Model

ONE_THREAD = Parallelism(workers=1, threads=1)
BEST, QUICK, SMALL = (
    Rung("best", "large", 5, "int8"),
    Rung("quick", "large", 1, "int8"),
    Rung("small", "tiny", 5, "int8"),
)


@dataclass
class Disk:
    """Models to be loaded, and what became of them, in order."""

    memory_mb: dict[str, float] = field(default_factory=dict)
    languages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    free_mb: float = 1000.0
    done: list[str] = field(default_factory=list)
    present: list[Model] = field(default_factory=list)
    """Models that were loaded, also those that were closed."""

    @property
    def open(self) -> list[Model]:
        return [model for model in self.present if model.closes == 0]

    def resolve(self, name: str, models_dir: Path) -> ResolvedModel:
        if name in self.missing:
            raise ModelError(f"there is no {name}")
        return ResolvedModel(name, models_dir / name)

    def languages_in(self, folder: Path) -> frozenset[str]:
        return frozenset(self.languages[folder.name])

    def size(self, model: ResolvedModel, compute_type: str) -> float:
        return self.memory_mb.get(model.name, 100.0)

    def load_rung(self, rung: Rung, parallelism: Parallelism) -> WhisperTranscriber:
        assert self.open == [], "two models at a time"
        self.done.append(f"load {rung.model}")
        if rung.model in self.broken:
            raise ModelError(f"{rung.model} is damaged")
        self.present.append(Model(rung.model, *self.languages.get(rung.model, ("en",))))
        return WhisperTranscriber(self.present[-1], rung.beam_size)

    def measure(self, transcriber: WhisperTranscriber, memory_mb: float) -> RungCost:
        self.done.append(f"measure {transcriber.model} with beam {self.beam_of(transcriber)}")
        return RungCost(float(len(self.done)), 0.0, memory_mb)

    def beam_of(self, transcriber: WhisperTranscriber) -> int:
        """By what it asks of its network, which has to be open."""
        (model,) = (model for model in self.open if model is transcriber.loaded)
        transcriber.rehearse(0.1)
        return model.toy.beams[-1]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(loading, "resolve", made.resolve)
    monkeypatch.setattr(loading, "languages_in", made.languages_in)
    monkeypatch.setattr(loading, "memory_mb", made.size)
    monkeypatch.setattr(loading, "load_rung", made.load_rung)
    monkeypatch.setattr(loading, "measure", made.measure)
    monkeypatch.setattr(loading, "free_mb", lambda: made.free_mb)
    return made


def config_with(*rungs: Rung, rung: str = "auto") -> Config:
    listed = [
        {"name": rung.name, "model": rung.model, "beam_size": rung.beam_size} for rung in rungs
    ]
    ladder: dict[str, Any] = {"rungs": listed, "rung": rung}
    return Config.model_validate({"ladder": ladder})


def start_with(*rungs: Rung, rung: str = "auto") -> LoadedLadder:
    return load_ladder(config_with(*rungs, rung=rung))


def costs(start: LoadedLadder) -> dict[str, bool]:
    """Whether each rung has a cost, in order."""
    return {candidate.name: candidate.cost is not None for candidate in start.candidates}


def test_each_rung_is_measured_the_worst_first_and_the_best_is_kept(disk: Disk) -> None:
    start = start_with(BEST, QUICK, SMALL)
    assert disk.done == [
        "load tiny",
        "measure tiny with beam 5",
        "load large",
        "measure large with beam 1",
        "measure large with beam 5",
    ]
    assert start.index == 0
    assert [candidate.rung for candidate in start.candidates] == [BEST, QUICK, SMALL]
    assert costs(start) == {"best": True, "quick": True, "small": True}
    assert [model.name for model in disk.open] == ["large"]
    assert disk.beam_of(start.transcriber) == 5


def test_the_model_of_one_rung_at_a_time_is_in_memory_and_closed_once(disk: Disk) -> None:
    start_with(BEST, SMALL, Rung("last", "least", 5, "int8"))
    assert [(model.name, model.closes) for model in disk.present] == [
        ("least", 1),
        ("tiny", 1),
        ("large", 0),
    ]


def test_each_cost_belongs_to_its_rung(disk: Disk) -> None:
    disk.memory_mb = {"large": 300.0, "tiny": 50.0}
    start = start_with(BEST, SMALL)
    assert [candidate.cost for candidate in start.candidates] == [
        RungCost(4.0, 0.0, 300.0),
        RungCost(2.0, 0.0, 50.0),
    ]


@pytest.mark.parametrize(("name", "index", "beam"), [("small", 2, 5), ("quick", 1, 1)])
def test_the_rung_that_is_asked_for_is_measured_last_and_kept(
    disk: Disk, name: str, index: int, beam: int
) -> None:
    start = start_with(BEST, QUICK, SMALL, rung=name)
    model = [BEST, QUICK, SMALL][index].model
    assert disk.done[-1] == f"measure {model} with beam {beam}"
    assert start.index == index
    assert costs(start) == {"best": True, "quick": True, "small": True}
    assert [model.name for model in disk.open] == [model]
    assert disk.beam_of(start.transcriber) == beam


def test_a_rung_whose_model_is_not_there_is_skipped_with_its_reason(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.missing = {"tiny"}
    start = start_with(BEST, SMALL)
    assert (start.index, costs(start)) == (0, {"best": True, "small": False})
    assert start.candidates[1].reason == "there is no tiny"
    assert "rung small cannot be used: there is no tiny" in caplog.text


def test_the_best_rung_that_can_be_loaded_is_kept_where_the_best_cannot(disk: Disk) -> None:
    disk.broken = {"large"}
    start = start_with(BEST, QUICK, SMALL)
    assert start.index == 2
    assert start.candidates[0].reason == "large is damaged"
    assert [model.name for model in disk.open] == ["tiny"]
    assert disk.beam_of(start.transcriber) == 5


def test_a_rung_that_memory_cannot_hold_is_skipped_before_it_is_loaded(disk: Disk) -> None:
    disk.memory_mb = {"large": 1001.0}
    start = start_with(BEST, SMALL)
    assert start.index == 1
    assert start.candidates[0].reason == "model large needs about 1001 MB and 1000 MB are free"
    assert "load large" not in disk.done


def test_without_any_rung_that_can_be_used_each_reason_is_told(disk: Disk) -> None:
    disk.missing, disk.broken = {"tiny"}, {"large"}
    with pytest.raises(ModelError) as failed:
        start_with(BEST, SMALL)
    assert str(failed.value) == (
        "no rung of the ladder can be used: best: large is damaged; small: there is no tiny"
    )


def test_a_rung_that_is_asked_for_is_not_replaced_by_another(disk: Disk) -> None:
    disk.broken, disk.missing = {"large"}, {"least"}
    with pytest.raises(ModelError) as failed:
        start_with(BEST, SMALL, Rung("last", "least", 5, "int8"), rung="best")
    assert str(failed.value) == "ladder.rung cannot be used: best: large is damaged"


def test_the_languages_are_those_that_every_usable_rung_speaks(disk: Disk) -> None:
    disk.languages = {"large": ("en", "de", "cy"), "tiny": ("de", "en"), "least": ("fr",)}
    disk.missing = {"least"}
    config = config_with(BEST, SMALL, Rung("last", "least", 5, "int8"))
    assert supported_languages(config) == {"en", "de"}
    assert disk.done == []


def test_without_any_model_no_language_is_spoken(disk: Disk) -> None:
    disk.missing = {"large"}
    assert supported_languages(config_with(BEST)) == frozenset()


def test_a_single_rung_is_loaded_and_not_measured(disk: Disk) -> None:
    start = load_ladder(Config())
    assert disk.done == ["load tiny.en"]
    assert (start.index, costs(start)) == (0, {"default": False})


def test_a_single_rung_that_cannot_be_loaded_is_an_error(disk: Disk) -> None:
    disk.broken = {"tiny.en"}
    with pytest.raises(ModelError, match=r"tiny\.en is damaged"):
        load_ladder(Config())


@pytest.mark.parametrize(("each", "warned"), [(1, False), (64, True)])
def test_more_threads_than_cores_are_warned_of(
    disk: Disk, caplog: pytest.LogCaptureFixture, each: int, warned: bool
) -> None:
    engine = {"workers": each, "threads": each}
    load_ladder(Config.model_validate({"engine": engine}))
    assert ("more than the cores" in caplog.text) is warned


def test_a_model_is_loaded_beside_the_one_in_use_only_where_memory_is_enough(disk: Disk) -> None:
    loader = ModelLoader(ONE_THREAD, max_batch=8)
    disk.free_mb = 100.0
    assert loader.load_beside(SMALL).model == "tiny"
    disk.free_mb = 99.0
    with pytest.raises(ModelError, match="model tiny needs about 100 MB and 99 MB are free"):
        loader.load_beside(SMALL)
    assert disk.done == ["load tiny"]


def test_memory_for_what_is_not_there_is_an_error_that_says_so(disk: Disk) -> None:
    disk.missing = {"tiny"}
    with pytest.raises(ModelError, match="there is no tiny"):
        check_memory(SMALL)


def test_the_largest_batch_is_that_of_the_model_and_the_memory_now(disk: Disk) -> None:
    loader = ModelLoader(ONE_THREAD, max_batch=8)
    assert loader.largest_batch(SMALL) == 8
    disk.free_mb = 60.0
    assert loader.largest_batch(SMALL) == 3
    disk.memory_mb = {"large": 200.0}
    assert loader.largest_batch(BEST) == 1


def test_models_come_under_the_configured_threads_and_batches() -> None:
    config = Config.model_validate({"engine": {"workers": 3, "threads": 2, "max_batch": 5}})
    assert model_loader(config) == ModelLoader(parallelism_of(config), 5)
    assert parallelism_of(config) == Parallelism(workers=3, threads=2)


@pytest.mark.parametrize(("wanted", "name"), [("auto", "a"), ("a", "a"), ("b", "b")])
def test_work_that_nobody_waits_behind_gets_the_rung_that_is_asked_for_or_the_best(
    wanted: str, name: str
) -> None:
    rungs = [{"name": "a", "model": "m"}, {"name": "b", "model": "n"}]
    config = Config.model_validate({"ladder": {"rungs": rungs, "rung": wanted}})
    assert preferred_rung(config).name == name
    assert preferred_rung(Config()).name == "default"


def test_a_model_that_nobody_calibrated_is_loaded_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[ResolvedModel, Rung, Parallelism]] = []

    def load(model: ResolvedModel, rung: Rung, parallelism: Parallelism) -> WhisperTranscriber:
        asked.append((model, rung, parallelism))
        return Model("tiny").transcriber

    monkeypatch.setattr(loading, "resolve", ResolvedModel)
    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loading, "default_models_dir", lambda: Path("models"))
    assert load_rung(SMALL, ONE_THREAD).model == "tiny"
    assert asked == [(ResolvedModel("tiny", Path("models")), SMALL, ONE_THREAD)]
    assert "stt-mqtt calibrate" in caplog.text


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

        monkeypatch.setattr(loading, "time", SimpleNamespace(perf_counter=lambda: outer.now))
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
