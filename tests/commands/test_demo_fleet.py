from __future__ import annotations

import io

import pytest
from rich.console import Console

from stt_mqtt.cli import main
from stt_mqtt.commands.demo_fleet import fleet_verdict, workers_table
from stt_mqtt.demo.satellite import Exchange
from stt_mqtt.errors import EXIT_CONFIG

WORKERS = ("worker-1", "worker-2", "worker-3")
RESULT = {"outcome": "transcript", "text": "yes"}
GOOD = Exchange("room-1", "Yes.", RESULT, 0.5)


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
