"""What a command prints arrives, or one sentence says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from stt_mqtt.cli import main
from stt_mqtt.commands.output import Output, checked_output, complain
from stt_mqtt.errors import EXIT_CONFIG, EXIT_TEMPORARY, OutputError
from tools.program import PROGRAM

FULL = Path("/dev/full")
SAMPLE = Path(__file__).parents[2] / "stt_mqtt" / "demo" / "samples" / "kitchen-1.flac"
SENTENCE = "stt-mqtt: the output cannot be written: No space left on device\n"


def run_into(
    output: Path, *words: str, errors: Path | None = None, **environ: str
) -> tuple[int, str]:
    """Exit status and standard error of the program whose output goes to a file."""
    with output.open("wb") as out, (errors or Path(os.devnull)).open("wb") as err:
        done = subprocess.run(
            [PROGRAM, *words],
            stdout=out,
            stderr=subprocess.PIPE if errors is None else err,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "", **environ},
            timeout=120,
            check=False,
        )
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize(
    "words",
    [
        ("schema",),
        ("check-config",),
        ("models",),
        ("models", "--json"),
        ("transcribe", str(SAMPLE)),
        ("transcribe", "--json", str(SAMPLE)),
        ("run", "--help"),
        ("--version",),
    ],
    ids=" ".join,
)
def test_a_full_disk_is_one_sentence_and_a_reason_to_try_later(words: tuple[str, ...]) -> None:
    assert run_into(FULL, *words) == (EXIT_TEMPORARY, SENTENCE)


@pytest.mark.parametrize("words", [("schema",), ("check-config",), ("--help",)], ids=" ".join)
def test_it_is_the_same_where_nothing_is_buffered(words: tuple[str, ...]) -> None:
    assert run_into(FULL, *words, PYTHONUNBUFFERED="1") == (EXIT_TEMPORARY, SENTENCE)


def test_what_went_wrong_before_keeps_its_exit_status(tmp_path: Path) -> None:
    code, said = run_into(FULL, "check-config", "--config", str(tmp_path / "missing.yaml"))
    assert code == EXIT_CONFIG
    assert "cannot be read" in said


def test_the_exit_status_is_there_where_not_even_the_sentence_can_be_written() -> None:
    assert run_into(FULL, "schema", errors=FULL)[0] == EXIT_TEMPORARY


@pytest.mark.parametrize("words", [("schema",), ("models",)], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_failure(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [PROGRAM, *words], stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert run_into(file, "schema", PYTHONIOENCODING="ascii") == (0, "")
    assert b"\\u2026" in file.read_bytes()


def test_standard_output_is_afterwards_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    assert main(["check-config"]) == 0
    assert sys.stdout is before
    assert capsys.readouterr().out == "defaults: ok\n"


def test_a_program_without_standard_output_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["check-config"]) == 0
    assert sys.stdout is None


class Broken(StringIO):
    """Refuses whatever is written to it."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _text: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error


def test_only_a_reader_that_left_is_not_an_output_error() -> None:
    full, left = OSError(5, "Input/output error"), BrokenPipeError()
    for act in (Output.flush, lambda output: output.write("a")):
        with pytest.raises(OutputError, match="cannot be written: Input/output error"):
            act(Output(Broken(full)))
        with pytest.raises(BrokenPipeError):
            act(Output(Broken(left)))


def test_the_rest_of_a_file_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", StringIO())
    with checked_output():
        assert not sys.stdout.isatty()
        print("a", end="", flush=True)
    assert isinstance(sys.stdout, StringIO)
    assert sys.stdout.getvalue() == "a"


def test_a_complaint_that_nobody_can_read_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "stderr", broken)
    complain("a sentence")
    assert broken.getvalue() == ""
