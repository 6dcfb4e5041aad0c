"""The container's scripts, run by bash against a Supervisor over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from stt_mqtt.app.addon import AddonSource
from stt_mqtt.app.sources import resolve_password
from tests.addon.manifest import DEFAULTS, ROOTFS
from tests.addon.supervisor import TOKEN, Supervisor, serving
from tools.brokers import eventually, free_port

missing = [tool for tool in ("bash", "curl", "jq") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")

BASHIO = Path(__file__).with_name("bashio.sh")
HOSTNAME = "a0b1c2d3-stt-mqtt"
INFO = b'{"type": "info", "version": "1.10.0", "data_length": 2}\n{}'

SERVICE = """#!{python}
import json, os, sys
from pathlib import Path

told = Path({told!r})
calls = json.loads(told.read_text()) if told.exists() else []
calls.append({{"arguments": sys.argv[1:], "environ": dict(os.environ)}})
told.write_text(json.dumps(calls))
sys.exit(int(os.environ.get("FETCHING_ENDS_WITH", "0")) if sys.argv[1] == "models" else 0)
"""
"""What stands in for stt-mqtt: it writes down how it was called."""

RECORDER = """#!/usr/bin/env bash
echo "${{0##*/}} $*" >> {told}
"""


@dataclass(frozen=True)
class Call:
    """One call of stt-mqtt."""

    arguments: list[str]
    environ: dict[str, str]

    @property
    def mqtt(self) -> dict[str, str]:
        """What it was told of the broker, by the end of the variable's name."""
        prefix = "STT_MQTT__MQTT__"
        return {
            name.removeprefix(prefix): value
            for name, value in self.environ.items()
            if name.startswith(prefix)
        }


@dataclass
class Container:
    """The add-on's files in a folder, where the folders of the real container are below it."""

    root: Path
    supervisor: Supervisor
    wyoming_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    output: str = ""
    """What the last script wrote."""

    def __post_init__(self) -> None:
        shutil.copytree(ROOTFS, self.root / "rootfs")
        for script in (self.root / "rootfs").rglob("*"):
            if script.is_file() and script.read_bytes().startswith(b"#!"):
                self._move_in(script)
        for folder in ("bin", "command", "data", "run/s6/basedir/bin"):
            (self.root / folder).mkdir(parents=True)
        self.exit_code_file.parent.mkdir()
        self.exit_code_file.write_text("0\n")
        service = SERVICE.format(python=sys.executable, told=str(self.root / "calls.json"))
        self._program("bin/stt-mqtt", service)
        recorder = RECORDER.format(told=self.root / "s6.log")
        self._program("command/s6-svc", recorder)
        self._program("run/s6/basedir/bin/halt", recorder)

    @property
    def exit_code_file(self) -> Path:
        """Where s6 finds the exit code of the container."""
        return self.root / "run" / "s6-linux-init-container-results" / "exitcode"

    @property
    def s6(self) -> list[str]:
        """What s6 was told."""
        log = self.root / "s6.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def calls(self) -> list[Call]:
        """How stt-mqtt was called."""
        told = self.root / "calls.json"
        return [Call(**call) for call in json.loads(told.read_text())] if told.exists() else []

    def change(self, script: str, old: str, new: str) -> None:
        """Replace a text of a script, which must be there."""
        path = next((self.root / "rootfs").rglob(script))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def start(self, script: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a script as s6 would."""
        return self._popen([str(BASHIO), str(next(self.root.rglob(script))), *arguments], environ)

    def run(self, script: str, *arguments: str, **environ: str) -> int:
        """Run a script as s6 would; return its exit code."""
        return self._end(self.start(script, *arguments, **environ))

    def succeeds(self, name: str) -> bool:
        """Whether a script without bashio ends well."""
        script = self.root / "rootfs" / "usr" / "local" / "bin" / name
        return self._end(self._popen([str(script)], {})) == 0

    def _popen(self, command: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        path = f"{self.root}/bin:{self.root}/rootfs/usr/local/bin:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", *command],
            env={
                "PATH": path,
                "HOSTNAME": HOSTNAME,
                "SUPERVISOR_API": self.supervisor.url,
                "SUPERVISOR_TOKEN": TOKEN,
                "HASSIO_TOKEN": TOKEN,
                **environ,
            },
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _end(self, process: subprocess.Popen[str]) -> int:
        with process:
            try:
                self.output, _ = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode

    def _move_in(self, script: Path) -> None:
        text = script.read_text()
        text = re.sub(r"(?<![\w}/])/(data|run|command|usr/share)/", rf"{self.root}/\1/", text)
        text = text.replace("{1:-10300}", f"{{1:-{self.wyoming_port}}}")
        script.write_text(text.replace("{1:-10380}", f"{{1:-{self.web_port}}}"))

    def _program(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)
        (self.root / name).chmod(0o755)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with serving(Supervisor()) as supervisor:
        supervisor.options = dict(DEFAULTS)
        yield Container(tmp_path, supervisor)


# The service -----------------------------------------------------------------------------------


BROKER: dict[str, object] = {
    "addon": "core_mosquitto",
    "host": "core-mosquitto",
    "port": 1883,
    "username": "addons",
    "password": "a b\"c'd$e\\f",
    "ssl": False,
    "protocol": "3.1.1",
}


def test_the_service_is_started_with_the_options_and_the_broker_of_the_supervisor(
    container: Container,
) -> None:
    container.supervisor.broker = BROKER
    assert container.run("stt-mqtt/run") == 0
    fetch, run = container.calls
    assert fetch.arguments == ["models", "fetch", "tiny.en"]
    assert run.arguments == ["run", "--addon-options", f"{container.root}/data/options.json"]
    assert run.mqtt == {
        "HOST": "core-mosquitto",
        "PORT": "1883",
        "USERNAME": "addons",
        "PASSWORD": "a b\"c'd$e\\f",
    }


def test_what_the_script_hands_over_is_what_the_service_reads(container: Container) -> None:
    container.supervisor.broker = BROKER
    container.run("stt-mqtt/run")
    options = container.root / "data" / "options.json"
    options.write_text(json.dumps(DEFAULTS), encoding="utf-8")
    mqtt = AddonSource(options, container.calls[-1].environ).load().mqtt
    assert (mqtt.host, mqtt.port, mqtt.username) == ("core-mosquitto", 1883, "addons")
    assert resolve_password(mqtt) == BROKER["password"]


def test_a_broker_without_a_login_leaves_no_null_behind(container: Container) -> None:
    container.supervisor.broker = {"host": "core-mosquitto", "port": 1883, "username": ""}
    assert container.run("stt-mqtt/run") == 0
    assert container.calls[-1].mqtt == {"HOST": "core-mosquitto", "PORT": "1883"}
    assert "null" not in container.calls[-1].environ.values()


def test_a_broker_with_tls_is_spoken_to_with_tls(container: Container) -> None:
    container.supervisor.broker = {**BROKER, "ssl": True}
    assert container.run("stt-mqtt/run") == 0
    certificates = container.calls[-1].mqtt["TLS__CA_FILE"]
    assert certificates == "/etc/ssl/certs/ca-certificates.crt"


def test_without_any_broker_the_log_says_what_to_do_and_the_service_starts(
    container: Container,
) -> None:
    assert container.run("stt-mqtt/run") == 0
    assert "Install the Mosquitto broker, or name yours in mqtt_host" in container.output
    assert container.calls[-1].arguments[0] == "run"
    assert container.calls[-1].mqtt == {}


def test_with_a_broker_of_ones_own_nothing_is_missing(container: Container) -> None:
    container.supervisor.options["mqtt_host"] = "nas.lan"
    assert container.run("stt-mqtt/run") == 0
    assert "WARNING" not in container.output
    assert container.calls[-1].mqtt == {}


def test_without_the_phrase_book_the_service_is_not_given_the_key_to_the_supervisor(
    container: Container,
) -> None:
    container.supervisor.broker = BROKER
    container.supervisor.options["phrases"] = False
    container.run("stt-mqtt/run")
    for call in container.calls:
        assert TOKEN not in call.environ.values()
        assert not any(name.startswith("STT_MQTT__PHRASES") for name in call.environ)


def test_with_the_phrase_book_the_service_reads_names_from_home_assistant(
    container: Container,
) -> None:
    assert container.run("stt-mqtt/run") == 0
    fetch, run = container.calls
    assert TOKEN not in fetch.environ.values()
    assert [name for name, value in run.environ.items() if value == TOKEN] == [
        "STT_MQTT__PHRASES__HOME_ASSISTANT__TOKEN"
    ]
    options = container.root / "data" / "options.json"
    options.write_text(json.dumps(DEFAULTS), encoding="utf-8")
    source = AddonSource(options, run.environ).load().phrases.home_assistant
    assert source is not None
    assert source.token is not None
    assert source.token.get_secret_value() == TOKEN
    assert source.websocket_url == "http://supervisor/core/api/websocket"
    assert TOKEN not in container.output


def test_a_model_that_cannot_be_fetched_ends_the_start_with_its_exit_code(
    container: Container,
) -> None:
    container.supervisor.options["model"] = "base"
    assert container.run("stt-mqtt/run", FETCHING_ENDS_WITH="75") == 75
    assert [call.arguments for call in container.calls] == [["models", "fetch", "base"]]


def test_a_model_of_the_image_is_there_without_fetching(container: Container) -> None:
    built_in = container.root / "usr" / "share" / "stt-mqtt" / "models" / "base"
    built_in.mkdir(parents=True)
    container.supervisor.options["model"] = "base"
    link = container.root / "data" / "models" / "base"
    for _ in range(2):
        assert container.run("stt-mqtt/run") == 0
        assert link.readlink() == built_in
    built_in.rmdir()
    assert container.run("stt-mqtt/run") == 0
    assert not link.is_symlink()


def test_a_fetched_model_goes_before_the_one_of_the_image(container: Container) -> None:
    (container.root / "usr" / "share" / "stt-mqtt" / "models" / "base").mkdir(parents=True)
    fetched = container.root / "data" / "models" / "base"
    fetched.mkdir(parents=True)
    container.supervisor.options["model"] = "base"
    assert container.run("stt-mqtt/run") == 0
    assert fetched.is_dir()
    assert not fetched.is_symlink()


# Its end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "signal", "passed_on"),
    [("75", "0", 75), ("78", "0", 78), ("1", "0", 1), ("256", "9", 137), ("256", "11", 139)],
)
def test_a_failure_becomes_that_of_the_container_which_stops(
    container: Container, code: str, signal: str, passed_on: int
) -> None:
    assert container.run("stt-mqtt/finish", code, signal) == 125
    assert container.exit_code_file.read_text() == f"{passed_on}\n"
    assert container.s6 == ["halt "]
    assert "ERROR" in container.output


@pytest.mark.parametrize(("code", "signal"), [("0", "0"), ("256", "15")])
def test_an_end_that_was_asked_for_is_no_failure(
    container: Container, code: str, signal: str
) -> None:
    assert container.run("stt-mqtt/finish", code, signal) == 0
    assert container.exit_code_file.read_text() == "0\n"
    assert container.s6 == []


def test_the_first_failure_is_the_one_that_is_told(container: Container) -> None:
    container.exit_code_file.write_text("3\n")
    assert container.run("stt-mqtt/finish", "78", "0") == 125
    assert container.exit_code_file.read_text() == "3\n"
    assert container.s6 == ["halt "]


# Discovery -------------------------------------------------------------------------------------


@contextmanager
def listening(port: int, answer: bytes) -> Iterator[list[bytes]]:
    """A Wyoming port that gives everyone this answer; yields what it was asked."""
    asked: list[bytes] = []

    def answer_all(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(60)
                    asked.append(connection.recv(4096))
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", port)) as server:
        thread = Thread(target=answer_all, args=(server,))
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_home_assistant_is_told_where_wyoming_is(container: Container) -> None:
    with listening(container.wyoming_port, INFO) as asked:
        assert container.run("discovery/run") == 0
    assert asked == [b'{"type": "describe"}\n']
    assert container.supervisor.discovered == [
        {"service": "wyoming", "config": {"uri": f"tcp://{HOSTNAME}:10300"}}
    ]
    assert container.s6 == ["s6-svc -O ."]


def test_home_assistant_is_told_only_when_the_service_answers(container: Container) -> None:
    first_look = container.root / "first-look"
    container.change("discovery/run", "sleep 1", f"echo >{first_look}; sleep 0.01")
    process = container.start("discovery/run")
    with process:
        eventually(first_look.exists)
        assert container.supervisor.discovered == []
        with listening(container.wyoming_port, INFO):
            assert process.wait(60) == 0
    assert len(container.supervisor.discovered) == 1


def test_waiting_for_the_service_has_an_end(container: Container) -> None:
    container.change("discovery/run", "sleep 1", "sleep 0.01")
    container.change("discovery/run", "wait_s=3600", "wait_s=2")
    assert container.run("discovery/run") == 1
    assert "did not answer within 2 s" in container.output
    assert container.supervisor.discovered == []


def test_a_supervisor_that_does_not_take_the_message_is_reported(container: Container) -> None:
    container.supervisor.takes_discovery = False
    with listening(container.wyoming_port, INFO):
        assert container.run("discovery/run") == 1
    assert "could not be told" in container.output


def test_wyoming_answers_with_info_and_nothing_else(container: Container) -> None:
    assert not container.succeeds("wyoming-answers")
    with listening(container.wyoming_port, b"HTTP/1.1 400 Bad Request\r\n"):
        assert not container.succeeds("wyoming-answers")
    with listening(container.wyoming_port, INFO):
        assert container.succeeds("wyoming-answers")


def test_nobody_waits_for_wyoming_for_ever(container: Container) -> None:
    container.change("wyoming-answers", "read -r -t 5", "read -r -t 0.2")
    with socket.create_server(("127.0.0.1", container.wyoming_port)):
        assert not container.succeeds("wyoming-answers")


ALIVE = b"HTTP/1.0 200 OK\r\nContent-Length: 22\r\n\r\nThe service is alive.\n"
HANGING = b"HTTP/1.0 503 Service Unavailable\r\n\r\n1 of 2 inference threads hang.\n"


def test_the_health_check_asks_the_service_and_repeats_its_sentence(container: Container) -> None:
    assert not container.succeeds("service-is-alive")
    with listening(container.web_port, HANGING):
        assert not container.succeeds("service-is-alive")
    assert container.output == "1 of 2 inference threads hang.\n"
    with listening(container.web_port, ALIVE):
        assert container.succeeds("service-is-alive")
    assert container.output == "The service is alive.\n"
    with listening(container.web_port, b""):
        assert not container.succeeds("service-is-alive")


def test_the_health_check_does_not_wait_for_ever(container: Container) -> None:
    container.change("service-is-alive", "timeout 5", "timeout 0.2")
    with socket.create_server(("127.0.0.1", container.web_port)):
        assert not container.succeeds("service-is-alive")
