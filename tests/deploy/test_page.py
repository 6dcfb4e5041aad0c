"""docs/deploy.md tells people what works."""

from __future__ import annotations

import re

import pytest

from stt_mqtt.config import NamesFromHomeAssistantConfig, read_config
from tests.deploy.files import COMPOSE, PAGE, ROOT, parsed

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


def test_it_takes_six_commands_with_systemd_and_two_with_compose() -> None:
    assert len(block("command: systemd").splitlines()) == 6
    assert len(block("command: compose").splitlines()) == 2


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"(?<![\w/.])((?:config|deploy)/[\w.-]+\.\w+)", SHELL)
    assert len(named) >= 4
    for file in named:
        assert (ROOT / file).is_file(), file


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert targets
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


def test_the_configuration_is_valid() -> None:
    assert read_config(block("file: stt-mqtt.yaml"), "deploy.md", {}).mqtt.username == "stt"
    phrases = read_config(block("file: names.yaml"), "deploy.md", {}).phrases
    assert phrases.home_assistant == NamesFromHomeAssistantConfig(
        token_file="/run/credentials/stt-mqtt.service/home-assistant-token"
    )


def test_passwords_are_put_where_compose_looks_for_them_as_the_user_of_the_image() -> None:
    (owner,) = re.findall(r"install -D -m 600 -o (\d+) /dev/null (\S+)", SHELL)
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {owner[0]}:" in dockerfile
    assert f"file: {owner[1]}\n" in COMPOSE
