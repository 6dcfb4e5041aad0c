from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from stt_mqtt.engine.calibration import (
    OWN_FILE,
    UNCALIBRATED,
    Calibrated,
    Calibration,
    Shipped,
    Window,
    calibration_of,
    shipped,
)
from stt_mqtt.engine.catalogue import CATALOGUE
from stt_mqtt.engine.loaded import window_s
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.transcriber import MAX_SPEECH_S
from stt_mqtt.errors import ModelError
from tests.engine.toys import digest

WINDOW = Window(lead_s=0.3, pad_s=2.0, min_s=5.0, tail_states=100, tail_stride=2)
MINE = Calibration(WINDOW, replace(WINDOW, min_s=8.0), -0.7, 0.25)
TOY = Shipped("toy", len(b"weights"), digest(b"weights"), None, "nothing", MINE)


@pytest.fixture
def toys_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_mqtt.engine.calibration.shipped", lambda: (TOY,))


def model(folder: Path, weights: bytes = b"weights") -> ResolvedModel:
    (folder / "model.bin").write_bytes(weights)
    return ResolvedModel("mine", folder)


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_a_calibration_is_shipped_for_the_weights_that_the_catalogue_knows(name: str) -> None:
    (entry,) = (entry for entry in shipped() if entry.model == name)
    assert entry.weights_sha256 == CATALOGUE[name].sha256


@pytest.mark.parametrize("entry", shipped(), ids=lambda entry: entry.model)
def test_a_shipped_calibration_is_one_that_models_survive(entry: Shipped) -> None:
    for window in (entry.calibration.first, entry.calibration.second):
        # Under 2 s of window everything breaks.
        assert 2 <= window.min_s <= 30
        assert window.lead_s + MAX_SPEECH_S <= 30
        assert 0 <= window.tail_states <= 1500
    assert 0 < entry.calibration.clear_no_speech_prob < 1
    assert entry.measured


def test_the_second_look_is_wider_than_the_first() -> None:
    for calibration in (entry.calibration for entry in shipped()):
        assert window_s(calibration.second, 1.0) > window_s(calibration.first, 1.0)


@pytest.mark.usefixtures("toys_only")
def test_a_model_is_known_by_its_weights_and_not_by_its_name(tmp_path: Path) -> None:
    assert calibration_of(model(tmp_path)) == Calibrated(MINE, silence=None)


@pytest.mark.usefixtures("toys_only")
def test_other_weights_of_the_same_size_have_no_calibration(tmp_path: Path) -> None:
    assert calibration_of(model(tmp_path, b"WEIGHTS")) is None


def test_weights_of_another_size_have_no_calibration(tmp_path: Path) -> None:
    assert calibration_of(model(tmp_path)) is None


@pytest.mark.usefixtures("toys_only")
def test_a_calibration_beside_the_model_goes_before_the_shipped_one(tmp_path: Path) -> None:
    own = replace(MINE, clear_no_speech_prob=0.5)
    (tmp_path / OWN_FILE).write_text(json.dumps(asdict(own)))
    assert calibration_of(model(tmp_path)) == Calibrated(own, silence=None)


@pytest.mark.parametrize(("name", "width"), [("tiny.en", 384), ("base", 512)])
def test_what_the_encoder_makes_of_silence_comes_with_the_calibration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, width: int
) -> None:
    (entry,) = (entry for entry in shipped() if entry.model == name)
    mine = replace(TOY, silence=entry.silence)
    monkeypatch.setattr("stt_mqtt.engine.calibration.shipped", lambda: (mine,))
    calibrated = calibration_of(model(tmp_path))
    assert calibrated is not None
    assert calibrated.silence is not None
    assert calibrated.silence.shape == (1500, width)
    assert calibrated.silence.dtype == np.float32
    assert np.isfinite(calibrated.silence).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"first": {}}',
        json.dumps(asdict(replace(MINE, first=replace(WINDOW, tail_stride=0)))).encode(),
        json.dumps(asdict(replace(MINE, first=replace(WINDOW, tail_states=-1)))).encode(),
        json.dumps(asdict(replace(MINE, second=replace(WINDOW, lead_s=-0.1)))).encode(),
        json.dumps(asdict(replace(MINE, second=replace(WINDOW, pad_s=float("nan"))))).encode(),
        json.dumps(asdict(replace(MINE, second=replace(WINDOW, lead_s=2.1)))).encode(),
        json.dumps(asdict(replace(MINE, second=replace(WINDOW, min_s=1.9)))).encode(),
        json.dumps(asdict(replace(MINE, silence_level=float("nan")))).encode(),
        json.dumps(asdict(replace(MINE, silence_level=2.1))).encode(),
        json.dumps(asdict(replace(MINE, clear_no_speech_prob=1.5))).encode(),
    ],
)
def test_a_broken_one_beside_the_model_is_named_with_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / OWN_FILE).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        calibration_of(model(tmp_path))
    assert str(tmp_path / OWN_FILE) in str(caught.value)
    assert "delete it or run: stt-mqtt calibrate" in str(caught.value)


@pytest.mark.usefixtures("toys_only")
def test_a_calibration_that_does_not_mention_names_is_valid_and_takes_none(tmp_path: Path) -> None:
    fields = asdict(MINE)
    del fields["takes_names"]
    (tmp_path / OWN_FILE).write_text(json.dumps(fields))
    assert calibration_of(model(tmp_path)) == Calibrated(replace(MINE, takes_names=False))


def test_without_a_calibration_every_look_reads_the_full_window() -> None:
    for window in (UNCALIBRATED.first, UNCALIBRATED.second):
        assert {window_s(window, speech_s) for speech_s in (0.0, 1.0, MAX_SPEECH_S)} == {30}
        assert window.lead_s == 0.0
        assert window.tail_states == 0


def test_without_a_calibration_no_transcript_is_beyond_doubt() -> None:
    assert UNCALIBRATED.clear_no_speech_prob == 0.0
