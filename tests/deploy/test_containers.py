"""The image, the compose file and its broker."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stt_mqtt.config import Config, read_config
from stt_mqtt.engine.catalogue import CATALOGUE
from stt_mqtt.errors import ConfigError
from tests.deploy.files import (
    CLOSING_S,
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    ROOT,
    checked_by,
    parsed,
)
from tests.deploy.secured import FILES, Person, secured_broker
from tools.brokers import free_port, needs_mosquitto
from tools.lock import CONTAINER

SERVICES = ("mosquitto", "stt-mqtt")
YAMLLINT = (
    "{extends: default, rules: {document-start: disable, comments: disable, "
    "comments-indentation: disable, line-length: {max: 100}}}"
)


def compose(text: str = COMPOSE, **environ: str) -> dict[str, Any]:
    """The compose file with its variables filled in, each in the value that has it."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(child) for key, child in value.items()}
        if isinstance(value, list):
            return [filled(child) for child in value]
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: environ.get(m[1]) or m[2], value)
        return value

    loaded: dict[str, Any] = filled(yaml.safe_load(text))
    return loaded


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    lines = [line.partition(" ") for line in joined.splitlines() if line]
    return [(name, rest) for name, _, rest in lines]


def instruction(name: str) -> str:
    """The last instruction of that name, which is the one in force."""
    return [rest for found, rest in instructions() if found == name][-1]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(instruction("ENV")))


def configured(composed: dict[str, Any]) -> Config:
    """What the service in the container reads: the image's environment under compose's."""
    environ = image_environment() | composed["services"]["stt-mqtt"]["environment"]
    return read_config("", "compose", environ)


# Checkers ------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    checked = checked_by("hadolint", str(DEPLOY / "Dockerfile"))
    assert (checked.returncode, checked.stdout) == (0, "")


def test_yamllint_has_nothing_to_say() -> None:
    checked = checked_by("yamllint", "--strict", "-d", YAMLLINT, str(DEPLOY / "compose.yaml"))
    assert (checked.returncode, checked.stdout) == (0, "")


# The image -----------------------------------------------------------------------------------


def test_the_program_understands_what_the_image_starts() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["stt-mqtt"]
    options = parsed(" ".join(json.loads(instruction("CMD"))))
    assert options.run.__module__ == "stt_mqtt.commands.run"
    for command in re.findall(r"bin/stt-mqtt ([^\n\\&]+)", DOCKERFILE):
        assert parsed(command).name


def test_the_image_runs_as_a_user_without_rights() -> None:
    user, _, group = instruction("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user} " in DOCKERFILE
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]


def test_wyoming_listens_on_the_port_that_the_image_exposes_and_compose_publishes() -> None:
    (address,) = read_config("", "image", image_environment()).wyoming.addresses
    assert address.host == "0.0.0.0"
    assert str(address.port) == instruction("EXPOSE")
    (published,) = compose()["services"]["stt-mqtt"]["ports"]
    assert published.endswith(f":{address.port}")


def test_the_image_has_a_python_and_a_model_that_we_know() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (version,) = re.findall(r"^FROM python:([0-9.]+)-slim-\w+ AS base$", DOCKERFILE, re.MULTILINE)
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    assert version == CONTAINER.python
    assert set(CONTAINER.extras) <= set(project["optional-dependencies"])
    model = instruction("ARG").removeprefix("MODEL=")
    assert model in CATALOGUE
    assert model == Config().engine.model


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives each connection one answer; its port, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            thread.join(60)


def health_check(port: int) -> int:
    """Exit status of the image's own health check, asked of another port."""
    _, _, command = instruction("HEALTHCHECK").partition(" CMD ")
    python, *arguments = json.loads(command)
    assert python == "python"
    web_port = str(read_config("", "image", image_environment()).web.port)
    assert web_port in arguments[-1]
    arguments[-1] = arguments[-1].replace(web_port, str(port))
    finished = subprocess.run(
        [sys.executable, *arguments], capture_output=True, check=False, timeout=60
    )
    return finished.returncode


@pytest.mark.parametrize(
    ("answer", "is_well"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_health_check_asks_the_service_whether_it_is_alive(
    answer: bytes, is_well: bool
) -> None:
    with answering(answer) as (port, asked):
        assert (health_check(port) == 0) is is_well
    (request,) = asked
    assert request.startswith(b"GET /healthz HTTP/1.1\r\n")


def test_the_health_check_fails_where_nobody_listens() -> None:
    assert health_check(free_port()) != 0


# What goes into the build ---------------------------------------------------------------------


def is_ignored(path: str) -> bool:
    """Docker's rule: the last pattern decides that fits the path or a folder above it."""
    folders = ["/".join(path.split("/")[: depth + 1]) for depth in range(path.count("/") + 1)]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?")
        pattern = pattern.replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, folder) for folder in folders):
            ignored = not line.startswith("!")
    return ignored


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", ".venv/bin/python", ".venv-rhasspy/bin/python", "tests/conftest.py",
        "deploy/.env", "config/stt-mqtt.yaml", "docs/deploy.md", ".coverage", "build/lib/x.py",
        "stt_mqtt/__pycache__/cli.cpython-312.pyc", "stt_mqtt.egg-info/PKG-INFO", "password",
    ],
)  # fmt: skip
def test_what_the_wheel_does_not_need_stays_out_of_the_build(path: str) -> None:
    assert is_ignored(path)


def test_everything_that_the_wheel_needs_goes_into_the_build_and_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = {part for name, rest in instructions() if name == "COPY" for part in rest.split()[:-1]}
    needed = {"pyproject.toml", project["project"]["readme"]}
    needed |= {"deploy/requirements.lock", "deploy/sbom.cdx.json"}
    for pattern in project["project"]["license-files"]:
        needed |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    data = project["tool"]["setuptools"]["package-data"]["stt_mqtt"]
    for pattern in ("**/*.py", *data):
        found = [path for path in (ROOT / "stt_mqtt").glob(pattern) if path.is_file()]
        assert found, pattern
        needed |= {str(path.relative_to(ROOT)) for path in found}
    for path in sorted(needed):
        assert not is_ignored(path), path
        assert path in copied or path.startswith("stt_mqtt/"), path
    assert ("COPY", "stt_mqtt stt_mqtt") in instructions()


# Compose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_nothing_but_its_work_and_everything_has_a_bound(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert all("size=" in mount for mount in service["tmpfs"])
    assert service["logging"] == {"driver": "local"}
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_this_machine_only(name: str) -> None:
    for port in compose()["services"][name]["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_the_service_waits_for_a_broker_that_is_well_and_finds_it() -> None:
    composed = compose()
    services = composed["services"]
    (broker,) = services["stt-mqtt"]["depends_on"]
    assert services["stt-mqtt"]["depends_on"][broker] == {"condition": "service_healthy"}
    assert services[broker]["healthcheck"]["test"][0] == "CMD"
    assert configured(composed).mqtt.host == broker


def test_every_variable_of_the_containers_is_a_key_of_the_configuration() -> None:
    config = configured(compose())
    assert config.wyoming.zeroconf is False
    assert config.engine.model == Config().engine.model
    misspelt = COMPOSE.replace("STT_MQTT__MQTT__HOST", "STT_MQTT__MQTT__HOTS")
    with pytest.raises(ConfigError, match="HOTS"):
        configured(compose(misspelt))


def test_a_model_is_built_in_and_chosen_with_one_variable() -> None:
    assert compose()["services"]["stt-mqtt"]["build"]["args"] == {"MODEL": "tiny.en"}
    composed = compose(MODEL="base")
    assert composed["services"]["stt-mqtt"]["build"]["args"] == {"MODEL": "base"}
    assert configured(composed).engine.model == "base"


def test_the_container_is_built_and_started_from_files_that_are_there() -> None:
    service = compose()["services"]["stt-mqtt"]
    context = (DEPLOY / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    mounts = [mount.split(":") for mount in service["volumes"]]
    config = parsed(" ".join(service["command"])).config
    (source,) = [mount[0] for mount in mounts if mount[1] == str(config.parent)]
    assert (DEPLOY / source / config.name).is_file()
    kept = {mount[1] for mount in mounts}
    assert {image_environment()[name] for name in ("STT_MQTT_MODELS", "STT_MQTT_STATE")} <= kept


def test_docker_waits_until_the_service_has_ended_by_itself() -> None:
    grace = compose()["services"]["stt-mqtt"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= Config().service.shutdown_grace_s + CLOSING_S


def test_the_service_has_a_login_whose_password_is_a_file() -> None:
    composed = compose()
    mqtt = configured(composed).mqtt
    (secret,) = composed["services"]["stt-mqtt"]["secrets"]
    assert mqtt.username == "stt"
    assert mqtt.password_file == f"/run/secrets/{secret}"
    assert composed["secrets"][secret] == {"file": "/etc/stt-mqtt/password"}


# The broker -----------------------------------------------------------------------------------


@needs_mosquitto
def test_the_broker_keeps_what_is_retained(tmp_path: Path) -> None:
    with secured_broker(tmp_path, ["kitchen"]) as broker, closing(Person(broker, "kitchen")) as one:
        assert one.publish({"stt/kitchen/availability": b"online"}, retain=True)
    assert (tmp_path / "data" / "mosquitto.db").is_file()


def test_the_broker_finds_its_files_where_they_are_mounted() -> None:
    """Everything outside of the mounted folders is read only."""
    mounts = {mount.split(":")[1]: mount for mount in compose()["services"]["mosquitto"]["volumes"]}
    assert mounts["/mosquitto/config"] == "./mosquitto:/mosquitto/config:ro"
    configuration = [
        (FILES / name).read_text(encoding="utf-8")
        for name in ("mosquitto.conf", "conf.d/stt-mqtt.conf")
    ]
    named = re.findall(r" (/\S+)", re.sub("#.*", "", "\n".join(configuration)))
    assert len(named) == 6
    for path in named:
        assert any(path.startswith(f"{mount}/") for mount in mounts), path
    listeners = re.findall(r"^listener (\d+)$", configuration[1], re.MULTILINE)
    (published,) = compose()["services"]["mosquitto"]["ports"]
    assert listeners == [published.rpartition(":")[2], "1883"]


def test_shellcheck_has_nothing_to_say_about_the_scripts() -> None:
    checked = checked_by("shellcheck", *map(str, sorted(FILES.glob("*.sh"))))
    assert (checked.returncode, checked.stdout) == (0, "")
