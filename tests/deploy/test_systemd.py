"""The systemd units."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath

import pytest

from stt_mqtt.app.sources import resolve_password
from stt_mqtt.config import Config, MqttConfig
from stt_mqtt.errors import EXIT_CONFIG, ConfigError
from tests.deploy.files import CLOSING_S, PAGE, ROOT, SATELLITE_UNIT, UNIT, checked_by, parsed

NAME = "stt-mqtt.service"
PROGRAM = "/opt/stt-mqtt/bin/stt-mqtt"
MOST_EXPOSED = 15
"""In tenths, of 100; systemd calls what is below 20 OK."""

SETTINGS = [line.partition("=") for line in UNIT.splitlines() if line[:1] not in {"", "#", "["}]


def settings(name: str) -> list[str]:
    return [value for key, _, value in SETTINGS if key == name]


def setting(name: str) -> str:
    (value,) = settings(name)
    return value


def seconds(name: str) -> float:
    return float(setting(name).removesuffix("s"))


def installed(folder: Path, unit: str) -> Path:
    """The unit with the program that is on this machine."""
    path = folder / NAME
    path.write_text(unit.replace(PROGRAM, str(Path(sys.executable).parent / "stt-mqtt")))
    return path


def complaints(unit: Path) -> list[str]:
    """What systemd has to say about this unit; others on the machine do not matter."""
    verified = checked_by("systemd-analyze", "verify", str(unit))
    return [line for line in verified.stderr.splitlines() if NAME in line]


@pytest.mark.parametrize("unit", [UNIT, SATELLITE_UNIT], ids=["service", "satellite"])
def test_systemd_knows_every_directive_and_its_value(tmp_path: Path, unit: str) -> None:
    assert complaints(installed(tmp_path, unit)) == []


@pytest.mark.parametrize(
    "line", ["ProtectEverything=yes", "WatchdogSec=soon", "Type=quick", "SetCredential=password:"]
)
def test_a_directive_that_systemd_does_not_take_would_be_noticed(tmp_path: Path, line: str) -> None:
    broken = UNIT.replace("[Service]\n", f"[Service]\n{line}\n")
    assert complaints(installed(tmp_path, broken))


@pytest.mark.parametrize(
    ("unit", "most"), [(UNIT, MOST_EXPOSED), (SATELLITE_UNIT, 30)], ids=["service", "satellite"]
)
def test_the_programs_are_hardly_exposed(tmp_path: Path, unit: str, most: int) -> None:
    security = ["security", "--offline=true", "--no-pager", f"--threshold={most}"]
    rated = checked_by("systemd-analyze", *security, str(installed(tmp_path, unit)))
    assert rated.returncode == 0, rated.stdout


def test_the_unit_of_the_satellite_is_as_its_page_says() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", SATELLITE_UNIT, re.MULTILINE)
    program, _, arguments = command.partition(" ")
    assert program == PROGRAM
    options = parsed(arguments)
    assert options.run.__module__ == "stt_mqtt.commands.satellite"
    page = (ROOT / "docs" / "satellites.md").read_text(encoding="utf-8")
    assert f" {options.config}\n" in page
    assert "deploy/stt-mqtt-satellite.service /etc/systemd/system/\n" in page


def test_the_program_understands_its_command_line() -> None:
    program, _, arguments = setting("ExecStart").partition(" ")
    assert program == PROGRAM
    options = parsed(arguments)
    assert options.run.__module__ == "stt_mqtt.commands.run"
    assert f" {options.config}\n" in PAGE


def test_it_is_not_started_again_when_a_person_has_to_do_something() -> None:
    assert setting("Restart") == "on-failure"
    assert setting("RestartPreventExitStatus") == str(EXIT_CONFIG)


def test_systemd_waits_until_the_service_has_ended_by_itself() -> None:
    assert seconds("TimeoutStopSec") >= Config().service.shutdown_grace_s + CLOSING_S


def test_models_are_where_the_page_puts_them_and_the_service_may_write() -> None:
    (environment,) = settings("Environment")
    models = environment.removeprefix("STT_MQTT_MODELS=").replace("%S", "/var/lib")
    assert f"STT_MQTT_MODELS={models} " in PAGE
    assert PurePosixPath("/var/lib", setting("StateDirectory")) in PurePosixPath(models).parents


def test_the_secrets_are_where_the_page_says() -> None:
    fleet = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    for loaded, key, page, command in zip(
        settings("LoadCredential"),
        ("password_file", "token_file", "nkey_file"),
        (PAGE, PAGE, fleet),
        ("sudoedit ", "sudoedit ", ".nk "),
        strict=True,
    ):
        credential, _, file = loaded.partition(":")
        assert f"{key}: /run/credentials/{NAME}/{credential}\n" in page
        assert f"{command}{file}\n" in page


def test_a_password_that_is_configured_but_not_there_is_missed_in_words(tmp_path: Path) -> None:
    contents = {line.partition(":")[2] for line in settings("SetCredential")}
    assert [line.partition(":")[0] for line in settings("SetCredential")] == [
        line.partition(":")[0] for line in settings("LoadCredential")
    ]
    (escaped,) = contents
    file = tmp_path / "password"
    file.write_text(escaped.encode().decode("unicode_escape"))
    with pytest.raises(ConfigError, match="first line is empty"):
        resolve_password(MqttConfig(password_file=str(file)))
