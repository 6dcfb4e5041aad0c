from __future__ import annotations

import pytest

from stt_mqtt.errors import DisabledError, ExpiredError
from stt_mqtt.observe.history import (
    BUCKET_S,
    BUCKETS,
    LATENCY_STEP,
    MOST_LATENCY_S,
    Bucket,
    History,
    Latencies,
    column,
)
from stt_mqtt.types import DeviceKey, EndReason, Outcome, OutcomeKind

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
    found = (before.transcripts, before.silent, before.aborted, before.errors)
    assert found == (1, 1, 1, 1)
    assert before.utterances == 4
    assert (last.utterances, last.transcripts, last.silent, last.errors) == (1, 1, 0, 0)


def test_a_refused_start_is_an_error_and_no_utterance() -> None:
    history = History()
    history.outcome(
        Outcome(KITCHEN, "a", 0.0, OutcomeKind.ERROR, error=DisabledError("disabled")), NOW
    )
    minute = history.minutes(NOW)[-1]
    assert (minute.utterances, minute.errors) == (0, 1)


def test_an_utterance_that_fails_is_an_utterance_and_an_error() -> None:
    history = History()
    failed = Outcome(
        KITCHEN, "a", 0.0, OutcomeKind.ERROR, end=EndReason.STOP, error=ExpiredError("too old")
    )
    history.outcome(failed, NOW)
    minute = history.minutes(NOW)[-1]
    assert (minute.utterances, minute.errors) == (1, 1)


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
    latencies = history.minutes(NOW)[-1].latencies
    assert latencies.quantile(0.5) == pytest.approx(0.1)
    assert latencies.quantile(1.0) == pytest.approx(0.3)


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


def test_a_busy_minute_counts_by_its_answers() -> None:
    history = History()
    for minute in range(49):
        for _ in range(64):
            history.outcome(outcome(OutcomeKind.TRANSCRIPT, 0.1), NOW + minute * BUCKET_S)
    busy = NOW + 49 * BUCKET_S
    for _ in range(2000):
        history.outcome(outcome(OutcomeKind.TRANSCRIPT, 5.0), busy)
    hour = Latencies.of(minute.latencies for minute in history.minutes(busy))
    assert hour.quantile(0.5) == pytest.approx(0.1)
    assert hour.quantile(0.95) == pytest.approx(5.0)


def test_the_beginning_of_a_busy_minute_counts_like_its_end() -> None:
    history = History()
    for latency_s in (5.0, 0.1):
        for _ in range(1000):
            history.outcome(outcome(OutcomeKind.TRANSCRIPT, latency_s), NOW)
    assert history.minutes(NOW)[-1].latencies.quantile(0.95) == pytest.approx(5.0)


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
    [
        ([0.2], 0.2, 0.2),
        ([0.3, 0.1], 0.1, 0.3),
        ([n / 100 for n in range(1, 101)], 0.5, 0.95),
        ([0.0, 0.0, 2 * MOST_LATENCY_S], 0.0, 2 * MOST_LATENCY_S),
    ],
)
def test_a_quantile_is_as_exact_as_its_range_is_narrow(
    latencies_s: list[float], p50_s: float, p95_s: float
) -> None:
    latencies = Latencies()
    for latency_s in latencies_s:
        latencies.note(latency_s)
    assert latencies.quantile(0.5) == pytest.approx(p50_s, rel=LATENCY_STEP - 1)
    assert latencies.quantile(0.95) == pytest.approx(p95_s, rel=LATENCY_STEP - 1)


def test_no_latencies_have_no_quantiles() -> None:
    assert Latencies().quantile(0.5) is None


def test_any_number_of_latencies_takes_little_memory() -> None:
    latencies = Latencies()
    for number in range(50_000):
        latencies.note(number * number / 1e5)
    assert len(vars(latencies)["_ranges"]) <= 310


def test_a_column_has_one_rounded_value_for_each_minute() -> None:
    buckets = [Bucket(1, cpu_s=2.0, cpu_samples=3), Bucket(2)]
    assert column(buckets, lambda bucket: bucket.cpu) == [0.6667, None]
