"""What the benchmark of the savings makes of what it measured is right."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.household import Spoken
from benchmarks.savings import (
    BEFORE,
    GOALS,
    OURS,
    Sample,
    Text,
    came_of,
    judge_goals,
    naive_waits,
    segment_waits,
    segments,
    slope,
)

LAMP = Spoken("turn on the lamp", 1.0, 2.5)
TIMER = Spoken("set a timer", 8.0, 9.0)
SAID = (LAMP, TIMER)


def test_a_text_counts_from_the_first_buffer_that_holds_the_whole_utterance() -> None:
    told = [Text(4.0, 0, 2.0, "turn"), Text(7.0, 0, 3.0, "turn on the lamp"), Text(9.5, 0, 4.0, "")]
    assert naive_waits(SAID, told) == [4.5, None]


def test_an_utterance_in_two_segments_has_its_text_with_the_second() -> None:
    found = [
        Text(2.0, 0.8, 1.6, "turn on"),
        Text(3.5, 1.7, 2.7, "the lamp"),
        Text(10.0, 7.8, 9.2, "set a timer"),
    ]
    assert segment_waits(SAID, found) == [1.0, 1.0]
    assert segment_waits(SAID, found[:2]) == [1.0, None]


def test_a_segment_is_where_its_end_mark_puts_it() -> None:
    result = {"id": "a", "text": "turn on the lamp", "audio_s": 2.0, "latency_s": 0.2}
    result |= {"outcome": "transcript", "error": None}
    (found,) = segments([(103.3, result)], [(103.1, {"id": "a", "chunks": 3})], began_s=100.0)
    assert (found.start_s, found.end_s) == pytest.approx((0.7, 2.7))
    assert found.at_s == pytest.approx(3.3)
    assert found.touches(LAMP)
    assert not found.touches(TIMER)
    (without_mark,) = segments([(103.3, result)], [], began_s=100.0)
    assert without_mark.end_s == pytest.approx(2.7)


def test_what_did_not_come_counts_with_the_time_until_the_end() -> None:
    found = came_of([(SAID, [1.0, None], "turn on the lamp")], 14.0)
    assert (found["utterances"], found["within_the_run"]) == (2, 1)
    assert found["latency_s"] == {"p50": 5.0, "p95": 5.0, "max": 5.0}
    assert found["wer"] == pytest.approx(3 / 7)


def test_growth_is_the_slope_of_the_memory_per_minute() -> None:
    samples = [Sample(at_s, 0.0, 100 + at_s / 30, 1) for at_s in (0.0, 30.0, 90.0, 120.0)]
    assert slope(samples) == 2.0
    assert slope(samples[:2]) is None


def run_of(way: str, cpu: float, peak_mb: float, kb_per_s: float, wait_s: float) -> dict[str, Any]:
    return {
        "way": way,
        "rooms": 1,
        "utterances": 2,
        "within_the_run": 1 if way == BEFORE else 2,
        "cpu_s_per_s": cpu,
        "peak_mb": peak_mb,
        "kb_per_s": kb_per_s,
        "latency_s": {"p50": wait_s},
    }


def test_goals_are_judged_by_what_is_saved() -> None:
    runs = [run_of(BEFORE, 1.0, 1000.0, 40.0, 100.0), run_of(OURS, 0.005, 300.0, 20.0, 1.0)]
    cpu, memory, sent, latency = judge_goals(runs)
    assert (cpu["saved"], cpu["reached"]) == (0.995, "aim")
    assert (memory["saved"], memory["reached"]) == (0.7, "must")
    assert (sent["saved"], sent["reached"]) == (0.5, "no")
    assert (latency["reached"], latency["at_least"], cpu["at_least"]) == ("aim", True, False)
    assert len(GOALS) == 4
