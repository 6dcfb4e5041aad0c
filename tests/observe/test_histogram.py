from __future__ import annotations

from math import inf

from stt_mqtt.observe.histogram import Histogram


def test_a_value_counts_in_its_range_and_all_above() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(0.1, 2), (1.0, 3), (inf, 4)]
    assert histogram.count == 4
    assert histogram.sum == 7.65


def test_an_empty_one_has_all_its_ranges() -> None:
    assert list(Histogram((1,)).cumulative()) == [(1, 0), (inf, 0)]
