from __future__ import annotations

import pytest

from stt_mqtt.observe.history import (
    BUCKET_S,
    BUCKETS,
    LATENCIES,
    Bucket,
    History,
    Latency,
    column,
)
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind

NOW = 100_000.0
KITCHEN = DeviceKey("native", "kitchen")


def outcome(kind: OutcomeKind, latency_s: float | None = 0.1) -> Outcome:
    return Outcome(KITCHEN, "a", 0.0, kind, latency_s=latency_s)


def test_outcomes_are_counted_in_the_minute_in_which_they_come() -> None:
    history = History()
    for kind in OutcomeKind:
        history.outcome(outcome(kind), NOW)
    history.outcome(outcome(OutcomeKind.TRANSCRIPT), NOW + BUCKET_S)
    before, last = history.minutes(NOW + BUCKET_S)[-2:]
    assert (before.transcripts, before.silent, before.errors) == (1, 2, 1)
    assert (last.transcripts, last.silent, last.errors) == (1, 0, 0)


def test_an_error_and_an_abort_say_nothing_about_the_latency() -> None:
    history = History()
    for kind, latency_s in (
        (OutcomeKind.TRANSCRIPT, 0.3),
        (OutcomeKind.NO_SPEECH, 0.1),
        (OutcomeKind.ABORTED, 9.0),
        (OutcomeKind.ERROR, 0.0),
        (OutcomeKind.TRANSCRIPT, None),
    ):
        history.outcome(outcome(kind, latency_s), NOW)
    assert list(history.minutes(NOW)[-1].latencies_s) == [0.3, 0.1]


def test_the_hour_has_a_bucket_for_each_minute_also_for_those_without_events() -> None:
    history = History()
    history.outcome(outcome(OutcomeKind.TRANSCRIPT), NOW)
    minutes = history.minutes(NOW + 10 * BUCKET_S)
    assert len(minutes) == BUCKETS
    assert [bucket.transcripts for bucket in minutes[-12:]] == [0, 1, *[0] * 10]


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    history = History()
    for minute in range(3 * BUCKETS):
        history.outcome(outcome(OutcomeKind.TRANSCRIPT), NOW + minute * BUCKET_S)
    late = NOW + 3 * BUCKETS * BUCKET_S
    assert sum(bucket.transcripts for bucket in history.minutes(late)) == BUCKETS - 1
    assert sum(bucket.transcripts for bucket in history.minutes(late + 3600)) == 0


def test_a_minute_keeps_a_bounded_number_of_latencies_the_newest() -> None:
    history = History()
    for number in range(LATENCIES + 5):
        history.outcome(outcome(OutcomeKind.TRANSCRIPT, float(number)), NOW)
    latencies = history.minutes(NOW)[-1].latencies_s
    assert (len(latencies), latencies[0], latencies[-1]) == (LATENCIES, 5.0, LATENCIES + 4.0)


def test_the_load_of_a_minute_is_the_mean_and_its_queue_the_largest() -> None:
    history = History()
    history.sample(None, 0, "accurate", NOW)
    assert history.minutes(NOW)[-1].cpu is None
    history.sample(0.5, 3, "accurate", NOW)
    history.sample(1.5, 1, "quick", NOW)
    bucket = history.minutes(NOW)[-1]
    assert (bucket.cpu, bucket.most_jobs, bucket.rung) == (1.0, 3, "quick")


def test_a_clock_that_goes_back_changes_the_newest_minute() -> None:
    history = History()
    history.outcome(outcome(OutcomeKind.TRANSCRIPT), NOW)
    history.outcome(outcome(OutcomeKind.TRANSCRIPT), NOW - 600)
    assert history.minutes(NOW)[-1].transcripts == 2


@pytest.mark.parametrize(
    ("latencies_s", "p50_s", "p95_s"),
    [([0.2], 0.2, 0.2), ([0.3, 0.1], 0.1, 0.3), ([n / 100 for n in range(1, 101)], 0.5, 0.95)],
)
def test_quantiles_are_latencies_that_occurred(
    latencies_s: list[float], p50_s: float, p95_s: float
) -> None:
    assert Latency.of(latencies_s) == Latency(p50_s, p95_s)


def test_no_latencies_have_no_quantiles() -> None:
    assert Latency.of([]) is None


def test_a_column_has_one_rounded_value_for_each_minute() -> None:
    buckets = [Bucket(1, cpu_s=2.0, cpu_samples=3), Bucket(2)]
    assert column(buckets, lambda bucket: bucket.cpu) == [0.6667, None]
