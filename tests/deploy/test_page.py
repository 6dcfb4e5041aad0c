"""docs/deploy.md tells people what works."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from stt_mqtt.config import NamesFromHomeAssistantConfig, read_config
from tests.deploy.files import COMPOSE, PAGE, ROOT, parsed
from tests.deploy.secured import owner
from tools.brokers import needs_mosquitto

SHELL = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [
    match[1]
    for line in SHELL.splitlines()
    if (match := re.search(r"(?:bin/stt-mqtt|exec stt-mqtt stt-mqtt|run .*stt-mqtt) (\S.*)$", line))
]


def block(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, mark
    return found.group(1)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_understands_every_command(command: str) -> None:
    assert parsed(command).run


def test_the_commands_are_the_ones_that_one_would_look_for() -> None:
    assert {command.split()[0] for command in COMMANDS} == {
        "doctor",
        "watch",
        "models",
        "wyoming-check",
    }


def commands(mark: str) -> list[str]:
    """The commands of a block, continued lines joined."""
    return block(mark).replace("\\\n", "").splitlines()


def test_it_takes_six_commands_with_systemd_and_four_with_compose() -> None:
    assert len(commands("command: systemd")) == 6
    assert len(commands("command: compose")) == 4


@dataclass(frozen=True)
class Shell:
    """Runs commands of the page in a folder that stands for the whole file system."""

    folder: Path

    def run(self, command: str) -> str:
        """What the command prints. `sudo` is of no need, and nothing is installed or started."""
        named = "/mosquitto/config/add-user.sh kitchen", "/mosquitto/config/add-user.sh stt"
        for script in named:
            there = f"deploy/mosquitto/{script.removeprefix('/mosquitto/config/')}"
            command = command.replace(
                script, f"{there} {self.folder}/etc/stt-mqtt/broker/passwords"
            )
        command = re.sub(r"docker compose .*? mosquitto sh ", "sh ", command)
        command = re.sub(r"(?<![\w.])/etc/", f"{self.folder}/etc/", command)
        command = re.sub(r"\bsudo |-o 10300 ", "", command)
        command = command.replace("stt-mqtt mosquitto ", f"stt-mqtt {owner()} ")
        command = command.replace("broker 1883 ", f"broker {owner()} ")
        script = f"set -eu -o pipefail; export PATH=$PATH:/usr/sbin; {command}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@needs_mosquitto
@pytest.mark.parametrize("way", ["mosquitto", "compose"])
def test_the_commands_for_the_broker_make_one_with_users(tmp_path: Path, way: str) -> None:
    shell = Shell(tmp_path)
    (tmp_path / "etc" / "mosquitto" / "conf.d").mkdir(parents=True)
    users = {"mosquitto": "users", "compose": "compose users"}[way]
    lines = [*commands(f"command: {way}"), *commands(f"command: {users}")]
    done = [
        shell.run(line)
        for line in lines
        if not re.search(r" (apt|systemctl|up|exec|kill) ", f" {line}")
    ]
    made = tmp_path / {"mosquitto": "etc/mosquitto/stt-mqtt", "compose": "etc/stt-mqtt/broker"}[way]
    assert {file.name for file in made.iterdir()} == {
        *("acl", "broker.key", "broker.pem", "ca.key", "ca.pem", "passwords"),
    }
    secret = {file.name for file in made.iterdir() if file.stat().st_mode & 0o077 == 0}
    assert secret == {"acl", "broker.key", "ca.key", "passwords"}
    assert re.findall(r"^([^:]+):\$7\$", (made / "passwords").read_text(), re.MULTILINE) == [
        "kitchen",
        "stt",
    ]
    password = (tmp_path / "etc" / "stt-mqtt" / "password").read_text().strip()
    assert len(password) == len(done[-1].strip()) == 32
    if way == "mosquitto":
        conf = (tmp_path / "etc" / "mosquitto" / "conf.d" / "stt-mqtt.conf").read_text()
        assert "\nlistener 1883 127.0.0.1\n" in conf
        assert set(re.findall(r" (/[\w/.-]+)$", conf, re.MULTILINE)) == {
            f"{made}/{name}" for name in ("acl", "broker.key", "broker.pem", "passwords")
        }


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"(?<![\w/.])((?:config|deploy)/[\w./-]+\.\w+)", SHELL)
    assert len(named) >= 6
    for file in named:
        assert (ROOT / file).is_file(), file


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert targets
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


def test_the_configuration_is_valid() -> None:
    satellite = read_config(block("file: satellite.yaml"), "deploy.md", {}).mqtt
    assert (satellite.effective_port, satellite.username) == (8883, "kitchen")
    assert read_config(block("file: stt-mqtt.yaml"), "deploy.md", {}).mqtt.username == "stt"
    phrases = read_config(block("file: names.yaml"), "deploy.md", {}).phrases
    assert phrases.home_assistant == NamesFromHomeAssistantConfig(
        token_file="/run/credentials/stt-mqtt.service/home-assistant-token"
    )


def test_passwords_are_put_where_compose_looks_for_them_as_the_user_of_the_image() -> None:
    (owner,) = re.findall(r"install -D -m 600 -o (\d+) /dev/stdin (\S+)", SHELL)
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {owner[0]}:" in dockerfile
    assert f"file: {owner[1]}\n" in COMPOSE
