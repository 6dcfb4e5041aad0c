"""The add-on as the Supervisor and its pages show it is complete and agrees with itself."""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stt_mqtt
from stt_mqtt.app.addon import AddonSource
from stt_mqtt.config import Config
from stt_mqtt.doors.web.machines import routes
from tests.addon.manifest import (
    ADDON,
    DEFAULTS,
    DEVICE_SCHEMA,
    MANIFEST,
    ROOT,
    ROOTFS,
    SCHEMA,
    SERVICES,
    element,
)
from tests.locks import locked

LANGUAGES = ("en", "de")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON_OF_THE_IMAGE = {"python_version": "3.13", "python_full_version": "3.13.5"}

ELEMENT = re.compile(r"(bool|port|password|int\(\d+,\d+\)|match\(\^.+\$\)|list\([^()]+\))\??")


def text_of(name: str) -> str:
    return (ADDON / name).read_text(encoding="utf-8")


def test_every_version_is_the_same() -> None:
    newest = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    built = re.search(r"^ARG BUILD_VERSION=(\S+)$", text_of("Dockerfile"), re.MULTILINE)
    assert newest is not None
    assert built is not None
    versions = {PYPROJECT["version"], MANIFEST["version"], newest[1], built[1]}
    assert versions == {stt_mqtt.__version__}


def test_the_supervisor_finds_exactly_one_add_on() -> None:
    found = [
        path.relative_to(ROOT)
        for path in ROOT.rglob("config.*")
        if path.suffix in {".yaml", ".yml", ".json"}
        and not any(
            part.startswith(".") or part == "rootfs" for part in path.relative_to(ROOT).parts
        )
    ]
    assert found == [Path("addon/stt_mqtt/config.yaml")]


def test_the_repository_has_a_name() -> None:
    repository = yaml.safe_load((ROOT / "repository.yaml").read_text(encoding="utf-8"))
    assert set(repository) <= {"name", "url", "maintainer"}
    assert repository["name"]


def test_nothing_retired_is_used() -> None:
    assert not list(ADDON.glob("build.*"))
    assert MANIFEST["arch"] == ["amd64", "aarch64"]
    assert f'io.hass.arch="{"|".join(sorted(MANIFEST["arch"]))}"' in text_of("Dockerfile")


@pytest.mark.parametrize("option", SCHEMA)
def test_the_type_of_every_option_is_one_that_the_supervisor_knows(option: str) -> None:
    kind = SCHEMA[option]
    (kind,) = kind if isinstance(kind, list) else [kind]
    for one in kind.values() if isinstance(kind, dict) else [kind]:
        assert ELEMENT.fullmatch(one)


def test_texts_are_bounded_in_a_way_that_every_supervisor_can_check() -> None:
    """Before 2026-07 it compared a text itself with the bounds of `str(…)`: none passed."""
    kinds = [*map(element, SCHEMA), *DEVICE_SCHEMA.values()]
    assert not [kind for kind in kinds if kind.startswith(("str(", "password("))]


def test_a_list_of_devices_has_a_default_because_the_supervisor_requires_it() -> None:
    assert DEFAULTS["devices"] == []
    assert not DEVICE_SCHEMA["name"].endswith("?")
    assert all(kind.endswith("?") for key, kind in DEVICE_SCHEMA.items() if key != "name")


def test_the_pages_are_where_the_supervisor_looks_for_them(tmp_path: Path) -> None:
    web = loaded(tmp_path).web
    assert web.enabled
    assert web.ingress
    assert web.host == "0.0.0.0"
    assert MANIFEST["ingress"] is True
    assert MANIFEST["ingress_port"] == web.port
    assert web.token_file is None
    assert web.cert_file is None
    # Nobody but the Supervisor reaches the port, and the page is at its root.
    assert f"{web.port}/tcp" not in MANIFEST["ports"]
    assert "ingress_entry" not in MANIFEST
    assert MANIFEST["panel_icon"].startswith("mdi:")
    assert MANIFEST["panel_title"]


def test_docker_asks_the_service_itself_and_the_supervisor_asks_nothing_beside_it(
    tmp_path: Path,
) -> None:
    """The Supervisor would restart the add-on at the second failure of its `watchdog` ever."""
    assert "watchdog" not in MANIFEST
    (check,) = re.findall(r'^ +CMD \["(.*)"\]$', text_of("Dockerfile"), re.MULTILINE)
    script = (ROOTFS / "usr" / "local" / "bin" / check).read_text(encoding="utf-8")
    assert f"{{1:-{loaded(tmp_path).web.port}}}" in script
    assert "GET /healthz " in script
    assert "/healthz" in {route.path for route in routes(None)}  # type: ignore[arg-type]


def test_wyoming_is_always_there_because_it_is_announced() -> None:
    assert MANIFEST["ports"] == {"10300/tcp": None}
    assert not any("wyoming" in option for option in SCHEMA)


def loaded(folder: Path) -> Config:
    """The configuration of the add-on as it is installed."""
    (folder / "options.json").write_text(json.dumps(DEFAULTS))
    return AddonSource(folder / "options.json", {}).load()


def test_the_service_is_given_its_time_to_stop() -> None:
    grace_s = Config().service.shutdown_grace_s
    before_kill_s = int((SERVICES / "stt-mqtt" / "timeout-kill").read_text()) / 1000
    assert grace_s < before_kill_s < MANIFEST["timeout"]


# The pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_option_and_port_is_translated(language: str) -> None:
    texts: dict[str, Any] = yaml.safe_load(text_of(f"translations/{language}.yaml"))
    assert set(texts) == {"configuration", "network"}
    assert list(texts["configuration"]) == list(SCHEMA)
    fields = texts["configuration"]["devices"].pop("fields")
    assert list(fields) == list(DEVICE_SCHEMA)
    for option, text in [*texts["configuration"].items(), *fields.items()]:
        assert set(text) == {"name", "description"}, option
        assert all(text.values()), option
    assert list(texts["network"]) == list(MANIFEST["ports"])


def test_the_languages_are_all_there_are() -> None:
    assert {path.stem for path in (ADDON / "translations").iterdir()} == set(LANGUAGES)


def test_every_option_has_its_heading_in_the_order_of_the_form() -> None:
    page = text_of("DOCS.md")
    assert re.findall(r"^### Option: `(\w+)`\n\n[A-Z]", page, re.MULTILINE) == list(SCHEMA)


def test_every_model_is_on_the_page() -> None:
    kinds = SCHEMA["model"]
    assert isinstance(kinds, str)
    page = text_of("DOCS.md")
    assert all(f"`{model}`" in page for model in kinds[len("list(") : -1].split("|"))


@pytest.mark.parametrize(("name", "size"), [("icon.png", (128, 128)), ("logo.png", (250, 100))])
def test_the_pictures_have_the_sizes_that_are_shown(name: str, size: tuple[int, int]) -> None:
    head = (ADDON / name).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == size


def test_the_apparmor_profile_is_the_one_of_the_add_on() -> None:
    profile = text_of("apparmor.txt")
    assert re.findall(r"^profile (\S+)", profile, re.MULTILINE) == [MANIFEST["slug"]]
    assert profile.count("{\n") == len(re.findall(r"^ *}$", profile, re.MULTILINE))


# The image -------------------------------------------------------------------------------------


def pinned() -> dict[str, Requirement]:
    return locked(ADDON / "requirements.txt")


def wanted_lines() -> list[str]:
    """What the service, the phrase book and the pages need directly."""
    extras = PYPROJECT["optional-dependencies"]
    return [
        *PYPROJECT["dependencies"],
        *extras["server"],
        *extras["phrases"],
        *extras["web"],
    ]


def needed() -> set[str]:
    """The name of everything that the service needs, directly or not."""
    direct = wanted_lines()
    names: set[str] = set()
    waiting = [Requirement(line) for line in direct]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in names:
            names.add(name)
            waiting.extend(wanted_by(name, requirement.extras or {""}))
    return names


def wanted_by(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    for line in distribution(name).requires or ():
        wanted = Requirement(line)
        for extra in extras:
            surroundings = {**PYTHON_OF_THE_IMAGE, "extra": extra}
            if wanted.marker is None or wanted.marker.evaluate(surroundings):
                yield wanted
                break


def test_the_image_pins_all_that_the_service_needs() -> None:
    assert needed() <= set(pinned())


def test_the_model_that_is_built_in_is_the_one_that_is_chosen_first() -> None:
    assert f"\nARG MODEL={DEFAULTS['model']}\n" in text_of("Dockerfile")


# The services of the container -----------------------------------------------------------------


def services() -> list[Path]:
    return sorted(folder for folder in SERVICES.iterdir() if folder.name != "user")


def test_every_service_is_started() -> None:
    assert sorted(entry.name for entry in (SERVICES / "user" / "contents.d").iterdir()) == [
        service.name for service in services()
    ]


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_a_service_is_what_s6_expects(service: Path) -> None:
    assert (service / "type").read_text() == "longrun\n"
    for script in (service / "run", service / "finish"):
        if script.exists():
            assert script.stat().st_mode & 0o111 == 0o111
            assert script.read_text().startswith("#!/command/with-contenv bashio\n")
    assert (service / "run").exists()
    known = {"base", *(other.name for other in services())}
    assert {entry.name for entry in (service / "dependencies.d").iterdir()} <= known


def test_home_assistant_is_told_only_after_the_service_was_started() -> None:
    assert (SERVICES / "discovery" / "dependencies.d" / "stt-mqtt").exists()
