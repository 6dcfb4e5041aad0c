"""`stt-mqtt doctor` as an installed program, on a good machine and on broken ones."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from stt_mqtt import __version__
from stt_mqtt.doctor.checks import CHECKS
from tests.doctor.test_broker import ALL_RIGHTS, LOGIN, USERS
from tools.brokers import Broker, Mosquitto, MosquittoOptions, free_port, needs_mosquitto
from tools.program import PROGRAM

MakeMosquitto = Callable[[MosquittoOptions], Mosquitto]
QUIET = {"wyoming": {"enabled": False}, "web": {"enabled": False}}
NO_CLOCK = {"clock"}
"""Whether a time server sets the clock of a test machine is not ours to say."""


SPARE_KB = 110_000
"""Less than any model needs, and enough for everything else."""


def address_space_kb() -> int:
    """What the program takes of it before it loads a model."""
    code = (
        "import stt_mqtt.commands.doctor, stt_mqtt.engine.loading\n"
        "print(open('/proc/self/status').read())"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    (line,) = (line for line in said.splitlines() if line.startswith("VmSize:"))
    return int(line.split()[1])


@dataclass(frozen=True)
class Told:
    """What the program printed, and its exit status."""

    status: int
    out: str

    @property
    def checks(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.out)["checks"]
        return found

    def names(self, status: str) -> set[str]:
        """The checks with this result."""
        return {check["name"] for check in self.checks if check["status"] == status} - NO_CLOCK

    def of(self, name: str, status: str = "fail") -> dict[str, str]:
        """The first check with this name and result."""
        return next(
            check for check in self.checks if check["name"] == name and check["status"] == status
        )


class Doctor:
    """Runs the program on a configuration file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "stt-mqtt.yaml"
        self.environ = {**os.environ, "STT_MQTT_MODELS": str(folder / "models")}
        self.start: tuple[str, ...] = ()
        """Words before the program."""

    def json(self, /, **config: Any) -> Told:
        """Run it with `--json`."""
        self.file.write_text(yaml.safe_dump(QUIET | config))
        return self.run("--json")

    def run(self, *options: str) -> Told:
        arguments = [*self.start, str(PROGRAM), "doctor", "--config", str(self.file), *options]
        done = subprocess.run(
            arguments,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not done.stderr, done.stderr
        return Told(done.returncode, done.stdout)


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def at(broker: Broker, **mqtt: Any) -> Mapping[str, Any]:
    return {"mqtt": {"host": broker.host, "port": broker.port, **mqtt}}


def test_on_a_good_machine_every_check_is_well(doctor: Doctor, broker: Broker) -> None:
    told = doctor.json(**at(broker), web={"port": free_port()}, phrases={"builtin": True})
    assert told.status == 0, told.out
    assert not told.names("fail")
    report = json.loads(told.out)
    assert report["version"] == __version__
    assert report["date"].endswith("Z")
    assert {check.name for check in CHECKS} <= {check["name"] for check in report["checks"]}
    assert all(set(c) == {"name", "status", "detail", "what_to_do"} for c in report["checks"])
    assert "What is the weather tomorrow?" in told.of("sample", "ok")["detail"]


def test_in_a_terminal_each_check_has_one_line(doctor: Doctor, broker: Broker) -> None:
    doctor.file.write_text(yaml.safe_dump({**QUIET, **at(broker)}))
    told = doctor.run()
    assert told.status == 0
    *lines, summary = told.out.splitlines()
    assert all(line.startswith(("ok ", "warning ")) for line in lines)
    assert len(lines) >= len(CHECKS)
    assert summary.endswith("0 failures")


@needs_mosquitto
def test_a_wrong_password(doctor: Doctor, mosquitto: MakeMosquitto) -> None:
    broker = mosquitto(MosquittoOptions(users=USERS))
    told = doctor.json(**at(broker, username="stt", password="canary-password"))
    assert (told.status, told.names("fail")) == (78, {"broker"})
    assert "mqtt.password" in told.of("broker")["what_to_do"]
    assert "canary" not in told.out


def test_a_broker_that_is_down(doctor: Doctor) -> None:
    told = doctor.json(mqtt={"host": "127.0.0.1", "port": free_port()})
    assert (told.status, told.names("fail")) == (75, {"broker"})


@needs_mosquitto
def test_rights_that_do_not_let_the_service_publish(
    doctor: Doctor, mosquitto: MakeMosquitto
) -> None:
    acl = ALL_RIGHTS.replace("readwrite stt", "read stt")
    broker = mosquitto(MosquittoOptions(users=USERS, acl=acl))
    told = doctor.json(**at(broker, **LOGIN))
    assert (told.status, told.names("fail")) == (78, {"rights"})
    assert "right to write it" in told.of("rights")["what_to_do"]


def test_weights_that_were_cut_short(doctor: Doctor, broker: Broker, tmp_path: Path) -> None:
    model = tmp_path / "models" / "tiny.en"
    model.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (model / name).write_bytes(b"{}")
    told = doctor.json(**at(broker))
    assert (told.status, told.names("fail")) == (78, {"model", "sample"})
    assert "is damaged" in told.of("model")["detail"]
    assert "stt-mqtt models fetch tiny.en" in told.of("model")["what_to_do"]


def test_a_model_folder_that_is_missing(doctor: Doctor, broker: Broker) -> None:
    told = doctor.json(**at(broker), engine={"model": "/nowhere/model"})
    assert (told.status, told.names("fail")) == (78, {"model", "sample"})
    assert "/nowhere/model does not exist" in told.of("model")["detail"]


def test_a_port_that_another_program_has(doctor: Doctor, broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = doctor.json(**at(broker), web={"port": port})
    assert (told.status, told.names("fail")) == (78, {"ports"})
    assert f"127.0.0.1:{port} is taken by another program" in told.of("ports")["detail"]


def test_a_cache_that_cannot_be_written(doctor: Doctor, broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    doctor.environ["STT_MQTT_MODELS"] = str(tmp_path / "file" / "models")
    told = doctor.json(**at(broker), engine={"model": "small"})
    assert (told.status, told.names("fail")) == (78, {"disk", "model", "sample"})
    assert "STT_MQTT_MODELS" in told.of("disk")["what_to_do"]


def test_a_configuration_with_mistakes(doctor: Doctor) -> None:
    doctor.file.write_text("mqtt:\n  hots: a\nengine: {beam_size: 99}\n")
    told = doctor.run("--json")
    assert (told.status, told.names("fail")) == (78, {"configuration"})
    details = [check["detail"] for check in told.checks if check["status"] == "fail"]
    assert details == [
        f"{doctor.file}:2:3: mqtt.hots: unknown key 'hots', did you mean 'host'?",
        f"{doctor.file}:3:21: engine.beam_size: 99 is too large, at most 10",
    ]
    assert {"clock", "cpu"} <= {check["name"] for check in told.checks}


def test_too_little_memory(doctor: Doctor, broker: Broker) -> None:
    # Otherwise each thread reserves much of it.
    doctor.environ["MALLOC_ARENA_MAX"] = "1"
    limit_kb = address_space_kb() + SPARE_KB
    doctor.start = ("/bin/sh", "-c", f'ulimit -v {limit_kb} && exec "$@"', "sh")
    told = doctor.json(**at(broker))
    assert told.status == 75, told.out
    assert told.names("fail") == {"memory", "sample"}
    assert "raise the memory limit" in told.of("memory")["what_to_do"]


def test_phrase_files_with_a_mistake(doctor: Doctor, broker: Broker, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("language: en\nintents: {A: {data: [{sentences: ['turn [on']}]}}\n")
    told = doctor.json(**at(broker), phrases={"paths": [str(book)]})
    assert (told.status, told.names("fail")) == (78, {"phrases"})
    assert str(book) in told.of("phrases")["detail"]


@needs_mosquitto
def test_no_report_has_a_secret(doctor: Doctor, mosquitto: MakeMosquitto, tmp_path: Path) -> None:
    broker = mosquitto(MosquittoOptions(users=USERS))
    for name in ("password", "token", "web"):
        (tmp_path / name).write_text(f"canary-{name}-of-many-letters\n")
    doctor.environ["STT_MQTT__PHRASES__HOME_ASSISTANT__TOKEN"] = "canary-environment"
    secret = {
        **QUIET,
        **at(broker, username="canary-user", password_file=str(tmp_path / "password")),
        "phrases": {"builtin": True, "home_assistant": {"url": "http://127.0.0.1:1"}},
        "web": {"port": free_port(), "token_file": str(tmp_path / "web")},
    }
    doctor.file.write_text(yaml.safe_dump(secret))
    for options in ((), ("--json",)):
        told = doctor.run(*options)
        assert told.status == 78
        assert "canary" not in told.out
    # A mistake beside each secret is told without it.
    secret["mqtt"] = {"host": "mqtt://canary-user:canary-login@broker.lan", "pasword": "canary-1"}
    secret["web"] = {"token": "canary-2"}
    doctor.file.write_text(yaml.safe_dump(secret))
    told = doctor.run("--json")
    assert told.names("fail") == {"configuration"}
    assert "canary" not in told.out
