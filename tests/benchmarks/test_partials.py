"""The benchmark `partials` counts what was called stable and did not stay."""

from __future__ import annotations

import pytest

from benchmarks.partials import Run, figures, first, is_contradicted, lost, page, taken_back
from benchmarks.playing import Heard, Sent
from benchmarks.report import DASH
from tests.benchmarks.played import played, sent


def spoken(*revisions: tuple[str, int], text: str = "Dim the lamp.", at: float = 90.2) -> Sent:
    """An utterance with partial results, each a text and how many characters are stable."""
    one = sent(0.2, text)
    one.partials += [(at, {"text": words, "stable": stable}) for words, stable in revisions]
    return one


def heard(*utterances: Sent, cpu_s_per_s: float = 0.1) -> Heard:
    everything = [played("dim the lamp", one) for one in utterances]
    return Heard(everything, 1.0, cpu_s_per_s, {}, 0.0)


def test_a_text_that_only_grows_takes_nothing_back() -> None:
    assert taken_back(spoken(("Dim", 0), ("Dim the", 3), ("Dim the lamp", 7))) == 0


@pytest.mark.parametrize(("later", "characters"), [("Dip the", 5), ("Dim", 4), ("", 7)])
def test_each_stable_character_that_changes_or_goes_is_taken_back(
    later: str, characters: int
) -> None:
    assert taken_back(spoken(("Dim the lamp", 7), (later, 0))) == characters


def test_a_final_text_that_begins_otherwise_contradicts_the_stable_part_only() -> None:
    assert is_contradicted(spoken(("Dim a", 5)))
    assert not is_contradicted(spoken(("Dim a", 3)))


def test_the_first_partial_result_counts_from_the_first_sound_where_there_is_one() -> None:
    found = first([played("a", spoken(("A", 0), at=90.4)), played("b", spoken())])
    assert (found["recordings"], found["with_partials"]) == (2, 1)
    assert found["p50"] == pytest.approx(0.4)


def test_the_page_compares_with_and_without_and_has_a_dash_where_nothing_was_compared() -> None:
    with_partials = heard(spoken(("Dim the", 3), ("Dim the lamp", 7)), cpu_s_per_s=0.2)
    runs = [
        figures(Run("1 room", 1, heard(spoken()), with_partials, (0, 1))),
        figures(Run("all recordings", 4, None, with_partials, (None, 0))),
    ]
    data = {"seed": 14, "runs": runs}
    text = "\n".join(page(data))
    assert "| 1 room, commands | 1 | 1 | 0.20 | 0.20 |" in text
    assert "| 1 room | 1 | 2 | 7 | 0 | 0 | 0 / 1 |" in text
    assert "| 1 room | 0.100 / 0.200 | 2.00 | 0.000 / 0.000 | 0.000 / 0.000 |" in text
    assert f"| all recordings | {DASH} / 0.200 | {DASH} | {DASH} / 0.000 | {DASH} / 0.000 |" in text
    assert lost(data) == []


def test_stable_text_that_was_taken_back_is_a_loss() -> None:
    one = figures(Run("1 room", 1, None, heard(spoken(("Dim", 3), ("Dip", 3))), (None, 0)))
    assert lost({"runs": [one]}) == ["1 room: 1 characters"]
