"""Families of metrics in the form of the Prometheus client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf
from typing import TypeAlias, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from stt_mqtt.observe.histogram import Histogram

PREFIX = "stt_mqtt"
"""Begins the name of each metric."""

T = TypeVar("T")
Labelled: TypeAlias = Iterable[tuple[Sequence[str], T]]
"""The values of the labels, each with what they stand for."""


def counter(name: str, text: str, value: float) -> Metric:
    """A counter without labels."""
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value)


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value)


def counters(name: str, text: str, labels: Sequence[str], values: Labelled[float]) -> Metric:
    """A counter with labels."""
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def gauges(name: str, text: str, labels: Sequence[str], values: Labelled[float]) -> Metric:
    """A gauge with labels."""
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def histograms(name: str, text: str, labels: Sequence[str], values: Labelled[Histogram]) -> Metric:
    """A histogram with labels."""
    family = HistogramMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for label, histogram in values:
        buckets = [
            ("+Inf" if isinf(bound) else str(float(bound)), count)
            for bound, count in histogram.cumulative()
        ]
        family.add_metric(label, buckets, histogram.sum)
    return family
