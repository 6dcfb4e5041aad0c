from __future__ import annotations

import argparse
import io
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from paho.mqtt import publish
from rich.console import Console

from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.commands.demo import USUAL_PORT, add_arguments, make_broker
from stt_mqtt.commands.demo_report import invitation, summary, verdict
from stt_mqtt.config import BrokerMode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.demo.satellite import Exchange
from stt_mqtt.errors import EXIT_INTERNAL, BrokerError
from tools.brokers import eventually
from tools.words import words

E2E_TIMEOUT_S = 300

HURRIED = """
import sys
from stt_mqtt.app.application import Application
from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.commands import demo
from stt_mqtt.config import Config
from stt_mqtt.demo import satellite

satellite.CHUNK_S = satellite.PAUSE_S = satellite.STAGGER_S = 0.0
broker = demo.make_broker("127.0.0.1", None)
source = ConfigSource(None, broker.environ)
disabled = {room: {"enabled": False} for room in sys.argv[2:]}
config = Config.model_validate({**source.load().model_dump(), "devices": disabled})
sys.exit(demo.run_demo(broker, Application(source, config), sys.argv[1] == "stay"))
"""
"""The demo without its pauses, and with the rooms disabled that the arguments name."""


def answered(room: str, said: str, heard: str, latency_s: float = 0.5) -> Exchange:
    result = {"outcome": "transcript", "text": heard, "audio_s": 2.0, "latency_s": latency_s}
    return Exchange(room, said, result, latency_s + 0.01)


def plain(exchanges: list[Exchange]) -> str:
    output = io.StringIO()
    Console(file=output, width=132).print(summary(exchanges))
    return output.getvalue()


def test_the_demo_hears_every_command_right_and_ends_with_0() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "stt_mqtt", "demo"],
        capture_output=True,
        text=True,
        timeout=E2E_TIMEOUT_S,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    answers, table = process.stdout.split("\nroom  ", 1)
    for sample in SAMPLES:
        # How it is written is the model's business.
        text = f"(?i:{re.escape(sample.text[:-1])}.?)"
        answer = rf"^  {sample.room} +{text} +\d+\.\d\d s$"
        assert len(re.findall(answer, answers, re.MULTILINE)) == 1, process.stdout
        row = rf"^{sample.room} +{text} +{text}( +\d+\.\d\d){{3}}$"
        assert len(re.findall(row, table, re.MULTILINE)) == 1, process.stdout
    assert re.search(r"^median( +\d+\.\d\d){3}$", table, re.MULTILINE)
    assert "All 9 commands were transcribed, 9 of them to the word." in table
    assert "\x1b" not in process.stdout


def test_a_command_without_a_transcript_is_named_and_the_exit_code_is_not_0() -> None:
    process = subprocess.run(
        [sys.executable, "-c", HURRIED, "once", "kitchen"],
        capture_output=True,
        text=True,
        timeout=E2E_TIMEOUT_S,
        check=False,
    )
    assert process.returncode == EXIT_INTERNAL, process.stdout + process.stderr
    assert "3 of 9 commands got no transcript." in process.stdout
    for sample in SAMPLES:
        missing = f"{sample.room}: {sample.text} (disabled)" in process.stdout
        assert missing == (sample.room == "kitchen")


def test_with_stay_it_goes_on_until_ctrl_c_and_its_own_commands_can_be_copied(
    tmp_path: Path,
) -> None:
    log = tmp_path / "demo.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", HURRIED, "stay"], stdout=output, stderr=output
        ) as process,
    ):
        try:
            eventually(lambda: "stt-mqtt watch" in log.read_text(), E2E_TIMEOUT_S)
            (line,) = re.findall(r"^ +(mosquitto_pub .* -f .*)$", log.read_text(), re.MULTILINE)
            _publish(shlex.split(line))
            heard = words(f"phone: {SAMPLES[0].text}")
            eventually(lambda: is_in(heard, words(log.read_text())))
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()


def is_in(part: list[str], whole: list[str]) -> bool:
    return f" {' '.join(part)} " in f" {' '.join(whole)} "


def _publish(command: list[str]) -> None:
    """Do what the command for mosquitto_pub says, also where it is not installed."""
    name, *arguments = command
    assert name == "mosquitto_pub"
    parser = argparse.ArgumentParser(add_help=False)
    for option in ("-h", "-p", "-t", "-f"):
        parser.add_argument(option, required=True, dest=option[1:])
    options = parser.parse_args(arguments)
    payload = Path(options.f).read_bytes()
    publish.single(options.t, payload, qos=1, hostname=options.h, port=int(options.p))


@pytest.mark.parametrize("after", ["Broker on", "kitchen "])
def test_ctrl_c_ends_it_cleanly_at_any_time(after: str, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "stt_mqtt", "demo"], stdout=output, stderr=output
        ) as process,
    ):
        try:
            eventually(lambda: after in log.read_text() or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert "Stopping." in log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_wanted_port_is_taken_if_it_is_free_and_another_one_if_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        taken.listen()
        broker = make_broker("127.0.0.1", port)
        assert broker.port not in (port, 0)
    assert make_broker("127.0.0.1", broker.port).port == broker.port


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BrokerError, match="on 192"):
        make_broker("192.0.2.1", None)


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "0.0.0.0:1883"])
def test_what_is_no_address_is_refused_at_once(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--listen", address])
    assert "is not an IP address" in capsys.readouterr().err


def test_the_environment_does_not_change_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_MQTT__MQTT__USERNAME", "somebody")
    config = ConfigSource(None, make_broker("127.0.0.1", None).environ).load()
    assert config.mqtt.username is None
    assert config.broker.mode is BrokerMode.EMBEDDED


def test_the_invitation_is_for_those_who_can_accept_it() -> None:
    alone, everybody = invitation("127.0.0.1", 1234), invitation("0.0.0.0", USUAL_PORT)
    assert "-h 127.0.0.1 -p 1234 " in alone
    assert "Careful" not in alone
    assert "Careful: everybody" in everybody
    assert "-h 0.0.0.0" not in everybody


def test_the_table_has_medians_and_a_dash_for_what_is_not_known() -> None:
    exchanges = [
        answered("a", "One.", "one", 0.1),
        answered("a", "Two.", "two", 0.2),
        answered("a", "Three.", "[bold]three[/]", 0.9),
        Exchange("b", "Four.", None, None),
    ]
    *_, missing, median = plain(exchanges).splitlines()
    assert missing.split() == ["b", "Four.", "(no", "answer)", "-", "-", "-"]
    assert median.split() == ["median", "2.00", "0.20", "0.21"]
    assert "[bold]three[/]" in plain(exchanges)


def test_a_table_without_any_answer_has_no_medians() -> None:
    *_, median = plain([Exchange("b", "Four.", None, None)]).splitlines()
    assert median.split() == ["median", "-", "-", "-"]


def test_the_verdict_counts_the_words_that_are_right_whatever_their_case() -> None:
    exchanges = [answered("a", "Turn it on.", "turn it ON"), answered("a", "Off.", "Of.")]
    assert verdict(exchanges) == "All 2 commands were transcribed, 1 of them to the word."


def test_the_verdict_names_what_is_missing_and_why() -> None:
    error = {"outcome": "error", "error": {"code": "overloaded", "detail": "full"}}
    exchanges = [
        answered("a", "One.", "One."),
        Exchange("a", "Two.", error, 0.1),
        Exchange("b", "Three.", {"outcome": "no_speech", "error": None}, 0.1),
        Exchange("b", "Four.", None, None),
    ]
    assert verdict(exchanges) == (
        "3 of 4 commands got no transcript. "
        "a: Two. (overloaded), b: Three. (no_speech), b: Four. (no answer)"
    )
