"""How the engine's figures are held against its goals."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.engine_goals import GOALS, Goal, figures, judge, judged, limit_text, ratio_text

GOAL = {goal.key: goal for goal in GOALS}


@pytest.mark.parametrize(
    ("key", "usual", "ours", "met"),
    [
        ("cpu_s", 0.60, 0.06, "aim"),
        ("cpu_s", 0.60, 0.09, "must"),
        ("cpu_s", 0.60, 0.11, "no"),
        ("rate", 4.0, 40.0, "aim"),
        ("rate", 4.0, 24.0, "must"),
        ("rate", 4.0, 23.0, "no"),
        ("wer", 0.20, 0.18, "aim"),
        ("wer", 0.20, 0.20, "must"),
        ("wer", 0.20, 0.201, "no"),
        ("noise", 0.33, 0.01, "aim"),
        ("noise", None, 0.04, "must"),
        ("peak_mb", 365.0, 301.0, "no"),
    ],
)
def test_a_figure_meets_the_aim_the_must_or_neither(
    key: str, usual: float | None, ours: float, met: str
) -> None:
    assert judged(GOAL[key], usual, ours)["met"] == met


@pytest.mark.parametrize(
    ("key", "usual", "ours"), [("cpu_s", None, 0.1), ("rate", 4.0, None), ("noise", 0.3, None)]
)
def test_what_was_not_measured_meets_nothing(
    key: str, usual: float | None, ours: float | None
) -> None:
    assert judged(GOAL[key], usual, ours)["met"] == "not measured"


def test_no_wrong_word_on_either_side_is_a_tie() -> None:
    assert judged(GOAL["wer"], 0.0, 0.0)["met"] == "must"


def corpora(**rows: tuple[int, float]) -> dict[str, Any]:
    return {name: {"clips": clips, "wer": wer} for name, (clips, wer) in rows.items()}


def test_only_large_corpora_that_are_clearly_worse_are_counted() -> None:
    data = {
        "ours": "new",
        "usual": "old",
        "one_room": {
            "new": {"corpora": corpora(a=(30, 0.121), b=(29, 0.9), c=(40, 0.119), d=(99, 0.1))},
            "old": {"corpora": corpora(a=(30, 0.100), b=(29, 0.1), c=(40, 0.100), d=(99, 0.9))},
        },
        "noise": {},
        "rooms": {},
    }
    by_figure = dict(zip(GOAL, judge(data), strict=True))
    assert by_figure["worse_corpora"]["ours"] == 1
    assert by_figure["worse_corpora"]["met"] == "no"


def test_a_program_that_took_no_part_has_no_figures() -> None:
    data: dict[str, Any] = {"one_room": {}, "noise": {}, "rooms": {}}
    assert set(figures(data, "absent").values()) == {None}


def test_ratios_read_as_people_say_them() -> None:
    assert [ratio_text(value) for value in (1 / 7, 0.9, 6.25, None)] == [
        "1/7",
        "0.9 x",
        "6.25 x",
        "",
    ]


@pytest.mark.parametrize(
    ("goal", "text"),
    [(GOAL["cpu_s"], "1/6"), (GOAL["rate"], "6 x"), (GOAL["peak_mb"], "≤ 300 MB")],
)
def test_a_limit_says_what_it_asks_for(goal: Goal, text: str) -> None:
    assert limit_text(goal, goal.must) == text
