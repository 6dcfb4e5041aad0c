"""What is in the images is locked, listed, and fits what the project asks for."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.files import DOCKERFILE, ROOT
from tests.locks import locked, version_of
from tools.audit import asked, judged
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


@pytest.mark.parametrize("extra", ["web", "dev"])
def test_the_pages_need_an_aiohttp_that_bounds_pipelined_requests(extra: str) -> None:
    """3.13.5 kept all of them in memory while one was answered, such as the stream of events."""
    wanted = [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    (aiohttp,) = (one for one in wanted if one.name == "aiohttp")
    assert "3.13.5" not in aiohttp.specifier


def test_a_lock_names_no_index() -> None:
    for lock in (CONTAINER, ADDON):
        assert "://" not in lock.file.read_text(encoding="utf-8")


def test_the_image_installs_what_is_locked_and_nothing_else() -> None:
    how = "--no-deps --require-hashes --only-binary=:all:"
    assert f"{how} -r deploy/requirements.lock" in DOCKERFILE
    assert "pip check" in DOCKERFILE


def parts() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SBOM.read_text(encoding="utf-8"))
    return found


def test_the_list_of_parts_is_the_lock() -> None:
    listed = {canonicalize_name(part["name"]): part["version"] for part in parts()["components"]}
    assert listed == {name: version_of(one) for name, one in locked(CONTAINER.file).items()}


def test_the_page_of_licences_is_made_from_the_list_of_parts() -> None:
    assert LICENCES.read_text(encoding="utf-8") == licences(parts())


def test_an_audit_fails_for_what_can_be_mended_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def found(*fixed_in: str) -> list[dict[str, Any]]:
        advisory = {"id": "CVE-1", "fix_versions": [*fixed_in]}
        unknown = {"name": "own", "skip_reason": "Dependency not found"}
        return [{"name": "a", "version": "1.0", "vulns": [advisory]}, unknown]

    assert judged("lock", found("1.1")) == 1
    assert judged("lock", found()) == 0
    assert judged("lock", [{"name": "a", "version": "1.0", "vulns": []}]) == 0
    assert judged("lock", None) == 0
    assert capsys.readouterr().out.splitlines() == [
        "audit of lock: 1 of 2 packages are known to the database",
        "a 1.0: CVE-1, mended in 1.1",
        "audit of lock: 1 of 2 packages are known to the database",
        "a 1.0: CVE-1, not mended yet",
        "audit of lock: 1 of 1 packages are known to the database",
        "audit of lock: SKIPPED, no advisory database can be reached",
    ]


def test_an_audit_without_an_answer_reached_no_database(tmp_path: Path) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'cannot connect' >&2; exit 1\n")
    program.chmod(0o755)
    assert asked(str(program), CONTAINER.file) is None
    answer = '{"dependencies": [{"name": "a", "skip_reason": "Dependency not found"}]}'
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    assert asked(str(program), CONTAINER.file) is None
    program.write_text("#!/bin/sh\necho 'the lock cannot be read' >&2; exit 1\n")
    with pytest.raises(SystemExit, match="the lock cannot be read"):
        asked(str(program), CONTAINER.file)
