from __future__ import annotations

from pathlib import Path

import pytest

from stt_mqtt.engine import models
from stt_mqtt.engine.catalogue import CATALOGUE
from stt_mqtt.engine.models import (
    ModelSource,
    ResolvedModel,
    default_models_dir,
    locate,
    resolve,
    staging,
)
from stt_mqtt.errors import ModelError
from tests.engine.toys import HUB, PARTS, SIDE_FILES, SINGLE, SPLIT, WHOLE, install, write_folder

WEIGHTS = {"model.bin": b"weights"}
COMPLETE = {**WEIGHTS, **SIDE_FILES}


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(autouse=True)
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SINGLE)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STT_MQTT_MODELS": "/m", "XDG_CACHE_HOME": "/c"}, "/m"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/stt-mqtt/models"),
        ({"STT_MQTT_MODELS": "", "XDG_CACHE_HOME": ""}, "~/.cache/stt-mqtt/models"),
        ({}, "~/.cache/stt-mqtt/models"),
        ({"STT_MQTT_MODELS": "~/m"}, "~/m"),
    ],
)
def test_where_fetched_models_are_kept(environ: dict[str, str], folder: str) -> None:
    assert default_models_dir(environ) == Path(folder).expanduser()


def test_a_user_without_a_home_has_the_cache_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert default_models_dir({}) == Path("/var/cache/stt-mqtt/models")
    with pytest.raises(ModelError, match="'~nobody/model' cannot be looked for: Could not"):
        resolve("~nobody/model", tmp_path)


def test_a_path_is_a_folder_with_a_model(tmp_path: Path, models_dir: Path) -> None:
    folder = write_folder(tmp_path / "mine", COMPLETE)
    assert resolve(str(folder), models_dir) == ResolvedModel("mine", folder)


def test_a_folder_in_the_current_one_needs_no_separator(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "mine", COMPLETE)
    monkeypatch.chdir(tmp_path)
    assert resolve("mine", models_dir).folder.samefile(tmp_path / "mine")


def test_a_folder_without_a_model_does_not_hide_a_name(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)
    write_folder(models_dir / "toy", COMPLETE)
    assert resolve("toy", models_dir).folder == models_dir / "toy"


def test_weights_in_a_folder_of_ones_own_may_be_any(tmp_path: Path, models_dir: Path) -> None:
    folder = write_folder(tmp_path / "toy", COMPLETE | {"model.bin": b"trained at home"})
    assert resolve(str(folder), models_dir).folder == folder


def test_a_folder_that_does_not_exist_is_named(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="/no/such/folder does not exist"):
        resolve("/no/such/folder", models_dir)


@pytest.mark.parametrize("missing", ["model.bin", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, models_dir: Path, missing: str) -> None:
    files = {name: data for name, data in COMPLETE.items() if name != missing}
    folder = write_folder(tmp_path / "mine", files)
    with pytest.raises(ModelError, match=f"lacks {missing}; "):
        resolve(str(folder), models_dir)


def test_a_missing_vocabulary_is_named(tmp_path: Path, models_dir: Path) -> None:
    files = {name: data for name, data in COMPLETE.items() if name != "vocabulary.txt"}
    with pytest.raises(ModelError, match=r"lacks vocabulary\.json"):
        resolve(str(write_folder(tmp_path / "mine", files)), models_dir)


def test_a_fetched_model_comes_before_the_installed_package(models_dir: Path, site: Path) -> None:
    install(WHOLE, site)
    fetched = write_folder(models_dir / "toy", COMPLETE)
    assert resolve("toy", models_dir) == ResolvedModel("toy", fetched)


def test_a_fetched_model_need_not_be_known(models_dir: Path) -> None:
    fetched = write_folder(models_dir / "homemade", COMPLETE)
    assert resolve("homemade", models_dir) == ResolvedModel("homemade", fetched)


def test_an_installed_package_is_found_without_importing_it(models_dir: Path, site: Path) -> None:
    data = install(WHOLE, site)
    assert locate("toy", models_dir) == models.Location(ModelSource.PACKAGE, (data,))
    assert resolve("toy", models_dir) == ResolvedModel("toy", data)
    assert not models_dir.exists()


def test_damaged_weights_are_refused_with_the_command_that_repairs_them(
    models_dir: Path, site: Path
) -> None:
    data = install(WHOLE, site)
    (data / "model.bin").write_bytes(b"weightz")
    with pytest.raises(ModelError, match=r"damaged.*get it with: stt-mqtt models fetch toy$"):
        resolve("toy", models_dir)


def test_a_known_model_that_is_nowhere_is_refused_with_the_command_that_gets_it(
    models_dir: Path,
) -> None:
    with pytest.raises(ModelError, match=r"stt-mqtt models fetch toy$"):
        resolve("toy", models_dir)


def test_an_unknown_name_is_refused_with_a_guess(models_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"no model called 'tinny\.en' \(did you mean tiny\.en\?"):
        resolve("tinny.en", models_dir)


@pytest.mark.parametrize("name", ["", ".", "..", "qqqq", "\0", "x" * 5000])
def test_a_hopeless_name_is_refused(models_dir: Path, name: str) -> None:
    models_dir.mkdir()
    with pytest.raises(ModelError):
        resolve(name, models_dir)


def test_a_model_in_parts_is_joined_once(
    models_dir: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SPLIT)
    for package in SPLIT.packages:
        install(package, site)
    joined = resolve("toy", models_dir)
    assert joined == ResolvedModel("toy", models_dir / "toy")
    assert (joined.folder / "model.bin").read_bytes() == b"".join(PARTS)
    assert {file.name for file in joined.folder.iterdir()} == set(COMPLETE)
    assert list(models_dir.iterdir()) == [joined.folder]
    assert locate("toy", models_dir) == models.Location(ModelSource.FETCHED, (joined.folder,))
    assert resolve("toy", models_dir) == joined


def test_one_part_alone_is_no_model(
    models_dir: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SPLIT)
    install(SPLIT.packages[0], site)
    with pytest.raises(ModelError, match="not on this machine"):
        resolve("toy", models_dir)


def test_a_damaged_part_leaves_nothing_behind(
    models_dir: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", SPLIT)
    for package in SPLIT.packages:
        data = install(package, site)
    (data / "model.bin.part2").write_bytes(b"second hal")
    with pytest.raises(ModelError, match=r"part2 is damaged.*stt-mqtt models fetch toy$"):
        resolve("toy", models_dir)
    assert list(models_dir.iterdir()) == []


def test_a_model_in_the_hub_cache_is_found_without_the_network(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "toy", HUB)
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    repository = cache / "models--someone--toy"
    snapshot = write_folder(repository / "snapshots" / "abc", COMPLETE)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    location = locate("toy", models_dir)
    assert location == models.Location(ModelSource.CACHE, (snapshot,))
    assert resolve("toy", models_dir) == ResolvedModel("toy", snapshot)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="STT_MQTT_MODELS"), staging("toy", tmp_path / "file"):
        raise AssertionError


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ModelError("no")])
def test_an_interrupted_installation_leaves_the_old_one(
    models_dir: Path, interruption: BaseException
) -> None:
    write_folder(models_dir / "toy", {"old": b""})

    def install_half() -> None:
        with staging("toy", models_dir) as staged:
            (staged / "new").write_bytes(b"")
            raise interruption

    with pytest.raises(type(interruption)):
        install_half()
    assert [file.name for file in models_dir.rglob("*")] == ["toy", "old"]


def test_an_installation_replaces_the_old_one_whole(models_dir: Path) -> None:
    write_folder(models_dir / "toy", {"old": b""})
    with staging("toy", models_dir) as staged:
        (staged / "new").write_bytes(b"")
    assert [file.name for file in models_dir.rglob("*")] == ["toy", "new"]


@pytest.mark.parametrize("name", sorted({"tiny.en", "base"}))
def test_the_weights_of_packaged_models_are_pinned(name: str) -> None:
    known = CATALOGUE[name]
    digests = [known.sha256, *(package.sha256 for package in known.packages)]
    assert all(digest is not None and len(digest) == 64 for digest in digests)
    assert all(package.version for package in known.packages)
