"""A command is run for each transcript, and nothing that is spoken becomes a command."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.errors import ConfigError
from stt_mqtt.satellite import on_text
from stt_mqtt.satellite.on_text import MAX_TEXT, MAX_WAITING, TextCommand, TextCommandRunner, clean
from tests.thorough import examples
from tools.brokers import eventually

NEVER_TOO_OLD = float("inf")

RECORDER = """
import json, os, sys
fields = {
    "arguments": sys.argv[2:],
    "variable": os.environ["STT_MQTT_TEXT"],
    "settings": [name for name in os.environ if name.upper().startswith("STT_MQTT__")],
    "stdin": sys.stdin.read(),
    "session": os.getsid(0) == os.getpid(),
}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(fields) + "\\n")
"""

ATTACKS = [
    "; rm -rf ~",
    "$(touch pwned)",
    "`touch pwned`",
    "a && b || c | d > e < f",
    "one\ntwo\tthree",
    'it\'s "quoted" and \\ escaped',
    "{text} {text}",
    "$STT_MQTT_TEXT ${PATH} %s",
    "*",
    "größer → 日本語 🙂",
    " leading and trailing ",
]


class Recorder:
    """A program that writes down what it was given."""

    def __init__(self, folder: Path) -> None:
        self._script = folder / "recorder.py"
        self._script.write_text(RECORDER)
        self._file = folder / "recorded"

    def template(self, *arguments: str) -> str:
        """The command, with more arguments, quoted as people quote them."""
        return shlex.join([sys.executable, str(self._script), str(self._file), *arguments])

    @property
    def calls(self) -> list[dict[str, object]]:
        text = self._file.read_text() if self._file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


@contextmanager
def running(template: str) -> Iterator[TextCommandRunner]:
    runner = TextCommandRunner(TextCommand(template))
    try:
        yield runner
    finally:
        runner.close(60.0)


def python(folder: Path, code: str) -> str:
    """A command that runs some Python."""
    script = folder / "program.py"
    script.write_text(code)
    return shlex.join([sys.executable, str(script), str(folder)])


@pytest.mark.parametrize("text", ATTACKS)
def test_whatever_is_spoken_is_one_argument(
    recorder: Recorder, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with running(recorder.template("{text}", "--message={text}!")) as runner:
        runner.push(text, NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["arguments"] == [text, f"--message={text}!"]
    assert call["variable"] == text
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"recorded"}


@pytest.mark.parametrize("text", ["-rf", "--help", "-", "@/etc/passwd", "+x"])
def test_words_are_never_an_option_or_the_name_of_a_file(recorder: Recorder, text: str) -> None:
    with running(recorder.template("{text}", "-d{text}")) as runner:
        runner.push(text, NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["arguments"] == [f" {text}", f"-d {text}"]
    assert call["variable"] == text


def test_without_a_placeholder_the_words_are_in_the_environment(recorder: Recorder) -> None:
    with running(recorder.template()) as runner:
        runner.push("Turn on the light.", NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["arguments"] == []
    assert call["variable"] == "Turn on the light."


def test_a_command_hears_nothing_of_ours(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STT_MQTT__MQTT__PASSWORD", "secret")
    monkeypatch.setenv("stt_mqtt__mqtt__username", "somebody")
    with running(recorder.template()) as runner:
        runner.push("Hello.", NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["settings"] == []
    assert call["stdin"] == ""
    assert call["session"] is True


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\0b", "ab"),
        ("\x1b[2Jcleared\x07\x7f\x9b", "[2Jcleared"),
        ("a\r\nb", "a\nb"),
        ("a\ud800b", "a?b"),
        ("x" * 100_000, "x" * MAX_TEXT),
    ],
    ids=["null", "escape", "carriage return", "surrogate", "100 KB"],
)
def test_what_no_argument_can_hold_is_taken_out(
    recorder: Recorder, text: str, cleaned: str
) -> None:
    with running(recorder.template("{text}")) as runner:
        runner.push(text, NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["arguments"] == [cleaned]
    assert call["variable"] == cleaned


@settings(max_examples=examples(20), deadline=None)
@given(text=st.text(st.characters(exclude_categories=())))
def test_every_text_arrives_as_it_was_cleaned(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    recorder = Recorder(tmp_path_factory.mktemp("any"))
    with running(recorder.template("<{text}>")) as runner:
        runner.push(text, NEVER_TOO_OLD)
    (call,) = recorder.calls
    assert call["variable"] == clean(text)
    assert call["arguments"] in ([f"<{clean(text)}>"], [f"< {clean(text)}>"])


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ('notify-send "{text}', "No closing quotation"),
        ("notify-send {text} \\", "No escaped character"),
        ("", "the command is empty"),
        ("  ", "the command is empty"),
        ("'' {text}", "the command is empty"),
        ("{text}", "cannot be the program"),
        ("./{text}.sh", "cannot be the program"),
        ("no-such-program-at-all {text}", "there is no program no-such-program-at-all"),
        ("sh -c 'echo {text}'", '"$STT_MQTT_TEXT"'),
        ("/bin/bash -ec 'say {text}; true'", '"$STT_MQTT_TEXT"'),
        ("env A=1 dash -c 'echo \"{text}\"'", '"$STT_MQTT_TEXT"'),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_at_the_start(template: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        TextCommand(template)
    assert str(error.value).startswith("satellite.on_text: ")
    assert problem in str(error.value)


def test_a_refusal_does_not_repeat_the_arguments() -> None:
    with pytest.raises(ConfigError) as error:
        TextCommand("no-such-program-at-all --token=secret {text}")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    ['printf %s "$STT_MQTT_TEXT" > "$0"', 'printf %s "$1" > "$0"'],
    ids=["variable", "argument"],
)
def test_a_script_of_a_shell_may_use_the_words_as_data(tmp_path: Path, arguments: str) -> None:
    heard = tmp_path / "heard"
    with running(f"{shlex.join(['sh', '-c', arguments, str(heard)])} {{text}}") as runner:
        runner.push("$(touch pwned); `touch pwned`", NEVER_TOO_OLD)
    assert heard.read_text() == "$(touch pwned); `touch pwned`"


def test_a_program_is_found_where_it_was_when_the_satellite_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "here.sh"
    program.write_text(f'#!/bin/sh\necho done > "{tmp_path}/heard"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    command = TextCommand("./here.sh {text}")
    monkeypatch.chdir("/")
    runner = TextCommandRunner(command)
    runner.push("Hello.", NEVER_TOO_OLD)
    runner.close(60.0)
    assert (tmp_path / "heard").exists()


def test_texts_are_run_one_after_the_other_in_order(recorder: Recorder) -> None:
    with running(recorder.template("{text}")) as runner:
        for number in range(5):
            runner.push(str(number), NEVER_TOO_OLD)
    assert [call["arguments"] for call in recorder.calls] == [[str(n)] for n in range(5)]


def test_of_too_many_texts_the_oldest_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = python(
        tmp_path,
        "import os, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with (folder / 'heard').open('a') as file:\n"
        "    file.write(os.environ['STT_MQTT_TEXT'] + '\\n')\n"
        "while not (folder / 'go').exists():\n"
        "    time.sleep(0.01)\n",
    )
    heard = tmp_path / "heard"
    with running(template) as runner:
        runner.push("first", NEVER_TOO_OLD)
        eventually(heard.exists)
        for number in range(MAX_WAITING + 2):
            runner.push(str(number), NEVER_TOO_OLD)
        (tmp_path / "go").touch()
    kept = [str(number) for number in range(2, MAX_WAITING + 2)]
    assert heard.read_text().split() == ["first", *kept]
    dropped = [record for record in caplog.records if "oldest text is dropped" in record.message]
    assert len(dropped) == 2
    assert all(record.levelno == logging.WARNING for record in dropped)


def test_a_text_whose_time_has_passed_is_not_run(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with running(recorder.template("{text}")) as runner:
        runner.push("too old", time.monotonic() - 1)
        runner.push("in time", time.monotonic() + 60)
    assert [call["arguments"] for call in recorder.calls] == [["in time"]]
    assert "had to wait too long" in caplog.text


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_text, "COMMAND_TIMEOUT_S", 0.5)
    pids = tmp_path / "pids"
    script = f'sleep 60 & echo $$ $! > "{pids}.new"; mv "{pids}.new" "{pids}"; wait'
    with running(shlex.join(["sh", "-c", script])) as runner:
        runner.push("Hello.", NEVER_TOO_OLD)
        eventually(lambda: "was killed" in caplog.text)
    numbers = [int(number) for number in pids.read_text().split()]
    assert len(numbers) == 2
    eventually(lambda: not any(is_running(number) for number in numbers))


def test_closing_ends_what_runs_and_drops_what_waits(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    runner = TextCommandRunner(TextCommand("sleep 60"))
    runner.push("Hello.", NEVER_TOO_OLD)
    runner.push("And?", NEVER_TOO_OLD)
    started = time.monotonic()
    runner.close(0.3)
    assert time.monotonic() - started < 50
    assert "sleep did not end and was killed" in caplog.text
    assert "had to wait too long" in caplog.text
    runner.push("Nobody runs this.", NEVER_TOO_OLD)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
def test_a_failure_is_a_warning_with_the_program_and_without_the_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str, said: str
) -> None:
    caplog.set_level(logging.INFO)
    with running(f"{python(tmp_path, code)} {{text}}") as runner:
        runner.push("private words", NEVER_TOO_OLD)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == f"{Path(sys.executable).name} {said}"
    assert "private words" not in caplog.text


def test_a_program_that_is_gone_is_a_warning_and_the_next_text_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/heard"\n')
    program.chmod(0o755)
    runner = TextCommandRunner(TextCommand(f"{shlex.quote(str(program))} {{text}}"))
    program.rename(tmp_path / "away")
    runner.push("first", NEVER_TOO_OLD)
    eventually(lambda: "program cannot be run: No such file or directory" in caplog.text)
    (tmp_path / "away").rename(program)
    runner.push("second", NEVER_TOO_OLD)
    runner.close(60.0)
    assert (tmp_path / "heard").read_text() == "second\n"


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_nothing_of_a_command_that_ended_is_left(recorder: Recorder) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with running(recorder.template()) as runner:
        runner.push("Hello.", NEVER_TOO_OLD)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_waited_while_the_machine_slept_is_too_old(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep_s = [100.0]
    monkeypatch.setattr(on_text, "asleep_s", lambda: asleep_s[0])
    began, gate = tmp_path / "began", tmp_path / "gate"
    waits = (
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').close()\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    )
    with running(shlex.join([sys.executable, "-c", waits, str(began), str(gate)])) as runner:
        runner.push("keeps it busy", time.monotonic() + 60)
        eventually(began.exists)
        runner._command = TextCommand(recorder.template("{text}"))
        runner.push("before", time.monotonic() + 60)
        asleep_s[0] += 3600
        runner.push("after", time.monotonic() + 60)
        gate.touch()
        eventually(lambda: recorder.calls)
    assert [call["arguments"] for call in recorder.calls] == [["after"]]
