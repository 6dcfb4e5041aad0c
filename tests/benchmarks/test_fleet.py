"""The benchmark of the fleet: what counts as what, its figures and its page."""

from __future__ import annotations

import threading
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest

from benchmarks.fleet import __main__ as fleet
from benchmarks.fleet import crowd, deaths, paper, way, work
from benchmarks.fleet.figures import (
    added_ms,
    jain,
    linear,
    rate,
    share_after_s,
    shares_served,
    worst_room_s,
)
from benchmarks.fleet.house import BASE, Setup
from benchmarks.fleet.ledger import (
    Answer,
    Done,
    Ledger,
    Said,
    account,
    broken_promises,
    longest_s,
    lost,
    open_at,
)
from benchmarks.fleet.rooms import mean_s, speeches
from benchmarks.fleet.witness import deliveries
from stt_mqtt.types import Codec

COSTS = paper.Costs(0.010, 0.002, 0.001, 0.0005, 0.5, 8_000, 20_000, 45, 12, 5_000, 90)


def said(
    id: str, ended_at: float = 0.0, answered_at: float | None = 1.0, kind: str = "transcript"
) -> Said:
    """An utterance of the room before the colon."""
    one = Said(id, id.partition(":")[0], 2.0, ended_at)
    if answered_at is not None:
        one.answers.append(Answer(answered_at, kind, 0.5))
    return one


# The ledger -------------------------------------------------------------------------------------


def test_an_account_counts_what_was_lost_doubled_and_done_twice() -> None:
    twice = said("a:1")
    twice.answers.append(Answer(2.0, "transcript"))
    repeated = said("a:2")
    repeated.answers.append(Answer(2.0, "transcript", repeated=True))
    again = said("a:3")
    again.published += [0.0, 1.0]
    again.done += [Done(1.0, "pc"), Done(2.0, "pi")]
    failed, silent = said("b:1", kind="expired"), said("b:2", answered_at=None)
    counted = account([twice, repeated, again, failed, silent])
    assert counted == {
        "sent": 5,
        "heard": 3,
        "otherwise": {"expired": 1},
        "silent": 1,
        "doubled": 1,
        "done_twice": 1,
        "again": 1,
        "workers": {"pc": 1},
    }
    assert lost(counted) == 2
    assert broken_promises(counted) == ["1 without an outcome", "1 expired", "1 doubled"]
    assert broken_promises(account([repeated, again])) == []


def test_open_is_what_was_said_before_and_answered_after() -> None:
    before, during, later = said("a:1", 0, 1), said("a:2", 1, 4), said("a:3", 3, 5)
    never = said("a:4", 1, None)
    unfinished = Said("a:5", "a", 2.0)
    everything = [before, during, later, never, unfinished]
    assert open_at(everything, 2.0) == [during, never]
    assert longest_s([during], 2.0) == 2.0
    assert longest_s([during, never], 2.0) is None
    assert longest_s([], 2.0) is None


def test_the_ledger_finds_an_utterance_by_its_id_and_counts_strangers() -> None:
    ledger = Ledger()
    one = ledger.open("a", 2.0)
    another = ledger.open("a", 2.0)
    assert (one.id, another.id) == ("a:0", "a:1")
    ledger.ended("a:0", 3.0)
    ledger.published("a:0", 3.1)
    ledger.published("b:1", 3.1)
    ledger.done("b:1", Done(3.2, "pc"))
    ledger.done("a:0", Done(3.2, "pc"))
    assert ledger.answered("a:0", Answer(4.0, "transcript", 0.75))
    assert not ledger.answered("a:0", Answer(5.0, "transcript", repeated=True))
    assert not ledger.answered("b:1", Answer(5.0, "transcript"))
    assert (one.latency_s, one.wait_s, ledger.strangers) == (1.0, 0.25, 1)
    assert (one.published, one.done) == ([3.1], [Done(3.2, "pc")])
    assert ledger.since(1) == [another]


def test_the_ledger_waits_for_all_answers() -> None:
    ledger = Ledger()
    ledger.open("a", 2.0)
    assert not ledger.await_answers(0, 0.0)
    thread = threading.Thread(target=ledger.answered, args=("a:0", Answer(1.0, "no_speech")))
    thread.start()
    assert ledger.await_answers(0, 60.0)
    thread.join()


# The figures ------------------------------------------------------------------------------------


def test_a_rate_counts_transcripts_of_a_time() -> None:
    ones = [said("a:1", 0, 1), said("a:2", 0, 2), said("a:3", 0, 3), said("a:4", 0, 2.5, "expired")]
    assert rate([*ones, said("a:5", 0, None)], 1.0, 3.0) == 1.0


def test_linear_compares_most_workers_with_fewest() -> None:
    assert linear({1: 4.0, 2: 7.9, 4: 14.4}) == 0.9
    assert linear({1: 0.0, 4: 1.0}) is None


def test_jain_is_1_for_equal_shares_and_1_of_n_for_one_who_has_all() -> None:
    assert jain([2.0, 2.0, 2.0, 2.0]) == 1.0
    assert jain([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert jain([]) is None


def test_rooms_are_compared_by_what_was_served_and_how_long_they_waited() -> None:
    ones = [said("a:1", 0, 1), said("a:2", 0, None), said("b:1", 0, 0.7)]
    assert shares_served(ones) == {"a": 0.5, "b": 1.0}
    assert worst_room_s(ones) == 0.5


def test_a_worker_has_its_share_from_the_first_window_in_which_it_does_it() -> None:
    done = [Done(second / 4, "old") for second in range(40)]
    done += [Done(4.1, "new"), *(Done(6.1 + second / 4, "new") for second in range(16))]
    done.sort()
    assert share_after_s(done, "new", 4.0, 0.5, 2.0) == pytest.approx(2.1)
    assert share_after_s(done, "other", 4.0, 0.5, 2.0) is None
    assert share_after_s(done[:20], "new", 4.0, 0.5, 2.0) is None


def test_the_way_adds_what_remains_without_the_transcription() -> None:
    pairs = [(said("a:1", 0, 0.501), said("b:1", 0, 0.501 + add / 1e3)) for add in (2, 3, 9)]
    pairs.append((said("a:4", 0, None), said("b:4", 0, None)))
    assert added_ms(pairs) == {"p50": 3.0, "p95": 9.0}
    assert added_ms([]) == {"p50": None, "p95": None}


@pytest.mark.parametrize(
    ("data", "subject", "count"),
    [
        (b"+ACK", "$JS.ACK.STT_bench_JOBS.workers.2.17.18.1700000000000000000.3", 2),
        (b"", "$JS.ACK.STT_bench_JOBS.workers.1.17.18.1700000000000000000.3", 1),
        (b"+WPI", "$JS.ACK.STT_bench_JOBS.workers.2.17.18.1700000000000000000.3", 0),
        (b"+ACK", "$JS.ACK._.hash.STT_bench_JOBS.workers.3.17.18.1700000000000000000.3.tok", 3),
    ],
)
def test_an_acknowledgement_tells_how_often_the_job_was_delivered(
    data: bytes, subject: str, count: int
) -> None:
    assert deliveries(data, subject) == count


# What is said -----------------------------------------------------------------------------------


def test_live_speech_comes_in_packets_and_other_speech_at_once() -> None:
    live, at_once = speeches(Codec.OPUS, 0.06), speeches(Codec.FLAC)
    assert all(len(one.chunks) == 1 and one.chunks[0][0] == 0.0 for one in at_once)
    for one in live:
        times = [at for at, _ in one.chunks]
        assert times == sorted(times)
        assert one.seconds <= times[-1] < one.seconds + 0.12
    assert mean_s(live) == pytest.approx(mean_s(at_once))
    (pcm,) = {len(one.chunks) for one in speeches(Codec.PCM_S16LE)}
    assert pcm == 1


# 10,000 homes -----------------------------------------------------------------------------------


def test_gateways_are_limited_by_what_all_of_them_receive() -> None:
    assert paper.gateway_limit(COSTS, 1) == pytest.approx(70)
    assert paper.gateway_limit(COSTS, 10**9) == pytest.approx(350)
    assert paper.gateways_for(COSTS, 60) == 1
    two = paper.gateways_for(COSTS, 80)
    assert two == 2
    limit = paper.gateway_limit(COSTS, two)
    assert limit is not None
    assert limit > 80
    assert paper.gateways_for(COSTS, 360) is None


def test_the_first_limit_is_the_lowest_and_what_costs_nothing_has_none() -> None:
    found = paper.limits(COSTS)
    assert found[0][0] == "one gateway: its threads share a core"
    values = [at for _, at in found if at is not None]
    assert values == sorted(values)
    free = paper.limits(paper.Costs(0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0, 0))
    assert Counter(at is None for _, at in free) == {True: 7, False: 1}


# The page ---------------------------------------------------------------------------------------

COUNTED = {"sent": 9, "heard": 9, "otherwise": {}, "silent": 0, "doubled": 0, "done_twice": 1,
           "again": 0, "workers": {"pc": 9}}  # fmt: skip
SPREAD = {"p50": 0.1, "p95": 0.2, "max": 0.3}
DEATH = {
    "plan": {
        "load": {"rooms": 9, "per_s": 2.0, "seconds": 5.0, "workers": 2, "threads": 3,
                 "model": {"name": "tiny"}},
        "every_s": 2.0, "restart_s": 1.0,
    },
    "ack_wait_s": 3.0,
    "deaths": [{"who": "pc", "open": 3, "longest_s": 3.5}],
    "strangers": 0, "redelivered": 3, "longest_s": 3.5, "latency_s": SPREAD, "late_ms": 1.0,
    **COUNTED,
}  # fmt: skip
MEASURED = {"seconds": 60, "cores": {"gateways": 0.4, "workers": 0.3, "nats": 0.1, "broker": 0.1},
            "cpu_ms": {"gateways": 10.0, "workers": 5.0, "nats": 0.5, "broker": 1.0},
            "nats": {"in_msgs": 5, "out_msgs": 6, "in_bytes": 9000, "out_bytes": 11000},
            "rss_mb": {"gateways": 90.0, "workers": 60.0, "nats": 30.0, "broker": 9.0}}  # fmt: skip
EVEN = {"late_ms": 1.0, "wait_s": SPREAD, "worst_room_s": 0.2, "jain": 1.0, "measured": MEASURED}
LIVE = {**MEASURED, "idle_cores": MEASURED["cores"]}
BESIDE = {"sent": 9, "served": 1.0, "worst": 1.0, "jain": 1.0, "wait_s": SPREAD}


def data() -> dict[str, Any]:
    """What a run that kept all promises found."""
    latency = {"latency": SPREAD, "rest": SPREAD, "transcription_p50": 90.0}
    found: dict[tuple[Any, ...], dict[str, Any]] = {
        deaths.SCENARIOS: DEATH,
        work.SCENARIOS[:1]: {
            "plan": {"threads": 2, "model": {"name": "base"}},
            "rates": {"1": 4.0, "4": 15.2}, "ideal_of_one": 4.1, "linear": 0.95, **COUNTED,
        },
        work.SCENARIOS[1:]: {
            "joins": [{"start_s": 1.0, "share_s": 0.6}],
            "share_s": SPREAD, "start_s": SPREAD, **COUNTED,
        },
        way.SCENARIOS: {
            "plan": {"recordings": 9, "rounds": 40}, "model": "tiny.en",
            "added_ms": {"opus": {"p50": 2.0, "p95": 6.0}},
            "ways_ms": {"opus": {"own": latency, "fleet": latency}}, **COUNTED,
        },
        crowd.SCENARIOS: {
            "plan": {"rooms": 2000, "packet_s": 0.06, "live_per_s": 10.0,
                     "per_s": 50.0, "seconds": 60,
                     "workers": 20, "threads": 2, "model": {"name": "base"},
                     "greedy": 20, "greedy_per_s": 60.0},
            "cost_s": 0.5, "bytes": 8000, "chunks": 45, "bytes_per_room": 5000,
            "even": EVEN, "live": {"1": LIVE, "2": LIVE},
            "beside_greedy": {"quiet": BESIDE, "greedy": BESIDE}, **COUNTED,
        },
    }  # fmt: skip
    rows = {one.name: deepcopy(row) for ones, row in found.items() for one in ones}
    return {"quick": False, "nats_server": "v2.12", "rows": rows}


def test_the_page_has_all_scenarios_in_the_order_of_the_issue_and_the_homes() -> None:
    lines = fleet.page(data())
    table = [line for line in lines if line.startswith("| ") and line.endswith(" | yes |")]
    assert len(table) == len(fleet.SCENARIOS) == 8
    headings = [line for line in lines if line.startswith("## ")]
    names = [f"## {one.name}" for one in fleet.SCENARIOS]
    assert headings == [*names, "## 10,000 homes on paper"]
    assert fleet.lost(data()) == []


def test_the_page_of_some_scenarios_leaves_the_others_out() -> None:
    some = data()
    del some["rows"][crowd.SCENARIOS[0].name]
    assert "## 10,000 homes on paper" not in fleet.page(some)


def test_broken_promises_are_on_the_page_and_times_only_count_in_a_full_run() -> None:
    broken = data()
    for row in broken["rows"].values():
        row |= {"silent": 1, "heard": 8}
    assert len(fleet.lost(broken)) == len(fleet.SCENARIOS)
    assert "Broken promises:" in fleet.page(broken)
    slow = data()
    rows = slow["rows"]
    rows[deaths.SCENARIOS[0].name] = DEATH | {"longest_s": 4.1}
    rows[work.SCENARIOS[0].name]["linear"] = 0.5
    rows[work.SCENARIOS[1].name]["share_s"] = SPREAD | {"max": 6.0}
    rows[way.SCENARIOS[0].name]["added_ms"] = {"opus": {"p50": 6.0, "p95": 16.0}}
    late = EVEN | {"wait_s": SPREAD | {"p95": 0.3}}
    rows[crowd.SCENARIOS[0].name]["even"] = late
    rows[crowd.SCENARIOS[0].name]["beside_greedy"]["quiet"] = BESIDE | {"worst": 0.5}
    assert len(fleet.lost(slow)) == 7
    assert fleet.lost(slow | {"quick": True}) == []


def test_scenarios_share_a_house_only_in_a_quick_run() -> None:
    apart = fleet.houses(fleet.SCENARIOS, together=False)
    assert [one for _, (one,) in apart] == list(fleet.SCENARIOS)
    assert [setup for setup, _ in apart].count(Setup()) == 6
    quick = [one for one in fleet.SCENARIOS if one.quick]
    ((setup, ones),) = fleet.houses(quick, together=True)
    assert setup == Setup()
    assert ones[0] in way.SCENARIOS
    assert sorted(one.name for one in ones) == sorted(one.name for one in quick)
    assert len(fleet.houses(fleet.SCENARIOS, together=True)) == 3


def test_the_simulated_model_takes_as_long_as_the_real_one() -> None:
    assert BASE.seconds(2.0) == pytest.approx(0.246 + 2 * 0.097)
