"""What is in the images is locked, listed, and fits what the project asks for."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.files import DOCKERFILE, ROOT
from tests.locks import locked, version_of
from tools.lock import ADDON, CONTAINER, LICENCES, SBOM, Lock, licences

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("lock", [CONTAINER, ADDON], ids=["container", "add-on"])
def test_a_lock_has_all_that_is_asked_for_in_a_version_that_fits(lock: Lock) -> None:
    found = locked(lock.file)
    extras = PROJECT["optional-dependencies"]
    for line in (
        *PROJECT["dependencies"],
        *(one for extra in lock.extras for one in extras[extra]),
    ):
        wanted = Requirement(line)
        assert version_of(found[canonicalize_name(wanted.name)]) in wanted.specifier, line


def test_a_lock_names_no_index() -> None:
    for lock in (CONTAINER, ADDON):
        assert "://" not in lock.file.read_text(encoding="utf-8")


def test_the_image_installs_what_is_locked_for_its_python_and_nothing_else() -> None:
    assert f"FROM python:{CONTAINER.python}-" in DOCKERFILE
    assert (
        "--no-deps --require-hashes --only-binary=:all: -r deploy/requirements.lock" in DOCKERFILE
    )
    assert "pip check" in DOCKERFILE


def parts() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SBOM.read_text(encoding="utf-8"))
    return found


def test_the_list_of_parts_is_the_lock() -> None:
    listed = {canonicalize_name(part["name"]): part["version"] for part in parts()["components"]}
    assert listed == {name: version_of(one) for name, one in locked(CONTAINER.file).items()}


def test_the_page_of_licences_is_made_from_the_list_of_parts() -> None:
    assert LICENCES.read_text(encoding="utf-8") == licences(parts())
