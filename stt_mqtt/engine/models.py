"""Finds the files of a model on this machine and checks them. Does not use the network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from stt_mqtt.engine.catalogue import CATALOGUE, KnownModel, Package
from stt_mqtt.errors import ModelError

WEIGHTS = "model.bin"
REQUIRED_FILES = (WEIGHTS, "tokenizer.json", "config.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
MODEL_FILES = (*REQUIRED_FILES, *VOCABULARIES, "preprocessor_config.json")
COPY_BYTES = 1 << 20
CACHE_WITHOUT_HOME = Path("/var/cache")
"""In place of the cache of a user without a home, such as a number that a container runs as."""
REMEMBERED_DIGESTS = 32


class ModelSource(StrEnum):
    """Where a model was found."""

    FOLDER = "folder"
    FETCHED = "fetched"
    PACKAGE = "package"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model with all its files on this machine."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Location:
    """Where the files of a model are. Packages may ship it in parts, in several folders."""

    source: ModelSource
    folders: tuple[Path, ...]


def default_models_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of downloaded models: `$STT_MQTT_MODELS`, or `stt-mqtt/models` in the user cache."""
    try:
        if chosen := environ.get("STT_MQTT_MODELS"):
            return Path(chosen).expanduser()
        cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        cache = CACHE_WITHOUT_HOME
    return cache / "stt-mqtt" / "models"


def resolve(name: str, models_dir: Path) -> ResolvedModel:
    """Find the model with this name or in this folder, and check that it is complete.

    A model in several packages is joined in `models_dir` the first time.
    Raises ModelError.
    """
    try:
        location = locate(name, models_dir)
    # RuntimeError: the home of a path with ~ is not known.
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"model {name[:64]!r} cannot be looked for: {error.args[-1]}") from error
    if location is None:
        raise ModelError(
            f"model {name} is not on this machine; {repair_hint(name)}"
            if name in CATALOGUE
            else unknown_model(name)
        )
    known = None if location.source is ModelSource.FOLDER else CATALOGUE.get(name)
    if known is not None and len(location.folders) > 1:
        with staging(name, models_dir) as staged:
            assemble(known, location.folders, staged)
        return ResolvedModel(name, models_dir / name)
    (folder,) = location.folders
    model = ResolvedModel(folder.resolve().name if known is None else name, folder)
    check_files(model)
    if known is not None and known.sha256 is not None and location.source is not ModelSource.CACHE:
        check_digest(folder / WEIGHTS, known.sha256, repair_hint(name))
    return model


def locate(name: str, models_dir: Path) -> Location | None:
    """Where the model is, unchecked; None if it is not on this machine."""
    if _is_path(name) or Path(name, WEIGHTS).is_file():
        return Location(ModelSource.FOLDER, (Path(name).expanduser(),))
    if (models_dir / name).is_dir():
        return Location(ModelSource.FETCHED, (models_dir / name,))
    known = CATALOGUE.get(name)
    if known is None:
        return None
    packaged = [folder for package in known.packages if (folder := _package_folder(package))]
    if packaged and len(packaged) == len(known.packages):
        return Location(ModelSource.PACKAGE, tuple(packaged))
    cached = _hub_cache(known.repository)
    return Location(ModelSource.CACHE, (cached,)) if cached is not None else None


def assemble(model: KnownModel, folders: Sequence[Path], target: Path) -> None:
    """Build a model in `target` from the folders of its packages.

    Joins weights in parts and checks all digests. Raises ModelError.
    """
    hint = repair_hint(model.name)
    with (target / WEIGHTS).open("wb") as joined:
        for package, folder in zip(model.packages, folders, strict=True):
            check_digest(folder / package.weights, package.sha256, hint)
            with (folder / package.weights).open("rb") as part:
                shutil.copyfileobj(part, joined, COPY_BYTES)
            for name in MODEL_FILES:
                if name != WEIGHTS and (folder / name).is_file():
                    shutil.copyfile(folder / name, target / name)
    check_files(ResolvedModel(model.name, target))
    if model.sha256 is not None:
        check_digest(target / WEIGHTS, model.sha256, hint)


@contextmanager
def staging(name: str, models_dir: Path) -> Iterator[Path]:
    """A temporary folder to build a model in. It replaces the model if the block succeeds.

    Raises ModelError if `models_dir` is not writable.
    """
    staged: Path | None = None
    final = models_dir / name
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=models_dir))
        fresh = staged / "new"
        fresh.mkdir()
        yield fresh
        if final.exists():
            final.rename(staged / "old")
        fresh.rename(final)
    except OSError as error:
        raise ModelError(
            f"model {name} cannot be put into {models_dir} ({error}); make room or make it "
            "writable, or name another folder in STT_MQTT_MODELS"
        ) from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)


def check_files(model: ResolvedModel) -> None:
    """Raise ModelError if a file of the model is missing."""
    if not model.folder.is_dir():
        raise ModelError(f"the model folder {model.folder} does not exist")
    missing = [name for name in REQUIRED_FILES if not (model.folder / name).is_file()]
    if not any((model.folder / name).is_file() for name in VOCABULARIES):
        missing.append(VOCABULARIES[0])
    if missing:
        raise ModelError(
            f"model {model.name} in {model.folder} lacks {', '.join(missing)}; "
            + repair_hint(model.name)
        )


def check_digest(file: Path, sha256: str, hint: str) -> None:
    """Raise ModelError, ending with `hint`, if `file` does not have that SHA-256."""
    try:
        found = digest_of(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error}); {hint}") from error
    if found != sha256:
        raise ModelError(
            f"{file} is damaged (its SHA-256 is {found[:12]}…, not {sha256[:12]}…); {hint}"
        )


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, cached until the file changes. Raises OSError."""
    status = file.stat()
    return _digest(file, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=REMEMBERED_DIGESTS)
def _digest(file: Path, *_state: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def repair_hint(name: str) -> str:
    """The sentence that says what to do about a missing or damaged model."""
    if name in CATALOGUE:
        return f"get it with: stt-mqtt models fetch {name}"
    return "a folder with a Whisper model in CTranslate2 form is needed"


def unknown_model(name: str) -> str:
    """The sentence for a name that is not in the catalogue."""
    similar = get_close_matches(name, CATALOGUE, n=1)
    guess = f" (did you mean {similar[0]}?)" if similar else ""
    return f"there is no model called {name!r}{guess}; see: stt-mqtt models"


def _is_path(name: str) -> bool:
    return os.sep in name or name in {os.curdir, os.pardir} or name.startswith("~")


def _package_folder(package: Package) -> Path | None:
    spec = importlib.util.find_spec(package.module)
    for root in (spec and spec.submodule_search_locations) or ():
        folder = Path(root, package.subfolder)
        if folder.is_dir():
            return folder
    return None


def _hub_cache(repository: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    weights = try_to_load_from_cache(repository, WEIGHTS)
    return Path(weights).parent if isinstance(weights, str) else None
