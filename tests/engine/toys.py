"""Small models that never run, in every form that a model comes in."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from stt_mqtt.engine.catalogue import KnownModel, Package

SIDE_FILES = {"tokenizer.json": b"{}", "config.json": b"{}", "vocabulary.txt": b"word\n"}
PARTS = (b"first half ", b"second half")
REPOSITORY = "someone/toy"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def part(number: int) -> Package:
    return Package(
        distribution=f"toy-model-{number}",
        version="1.2.3",
        module=f"toy_model_{number}",
        subfolder="data",
        weights=f"model.bin.part{number}",
        sha256=digest(PARTS[number - 1]),
    )


WHOLE = Package("toy-model", "1.2.3", "toy_model", "data", "model.bin", digest(b"weights"))

SINGLE = KnownModel("toy", 1, REPOSITORY, (WHOLE,), WHOLE.sha256)
SPLIT = KnownModel("toy", 1, REPOSITORY, (part(1), part(2)), digest(b"".join(PARTS)))
HUB = KnownModel("toy", 1, REPOSITORY)


def content(package: Package) -> dict[str, bytes]:
    """Files of the package's data folder; the side files come with the last part."""
    if package.weights == "model.bin.part1":
        return {package.weights: PARTS[0]}
    weights = PARTS[1] if package.weights == "model.bin.part2" else b"weights"
    return {package.weights: weights, **SIDE_FILES}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def write_wheel(package: Package, folder: Path) -> None:
    """Put the package's wheel into `folder`, as pip would."""
    with zipfile.ZipFile(folder / f"{package.module}-1.2.3-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{package.module}/__init__.py", "")
        for name, data in content(package).items():
            wheel.writestr(f"{package.module}/{package.subfolder}/{name}", data)


def install(package: Package, site: Path) -> Path:
    """Put the package into the folder `site` of importable things; importing it fails."""
    data = write_folder(site / package.module / package.subfolder, content(package))
    (site / package.module / "__init__.py").write_text("raise RuntimeError('imported')")
    return data
