"""Who of the workers lives, as their heartbeats tell."""

from __future__ import annotations

from dataclasses import replace

from stt_mqtt.fleet.roster import GONE_AFTER_S, MAX_WORKERS, Roster
from tests.fleet.fake_servers import worker


def test_a_worker_lives_for_three_seconds_after_each_heartbeat() -> None:
    roster = Roster()
    assert roster.deadline is None
    roster.heard(worker("pc"), 10.0)
    roster.heard(worker("pc"), 11.0)
    assert roster.deadline == 11.0 + GONE_AFTER_S
    assert roster.expire(11.0 + GONE_AFTER_S - 0.01) == []
    assert roster.expire(11.0 + GONE_AFTER_S) == ["pc"]
    assert roster.workers == ()


def test_who_leaves_is_gone_at_once() -> None:
    roster = Roster()
    roster.heard(worker("pc"), 0.0)
    assert roster.heard(worker("pc", leaving=True), 0.1)
    assert roster.workers == ()
    assert not roster.heard(worker("pc", leaving=True), 0.2)
    assert roster.workers == ()


def test_a_fleet_serves_until_three_seconds_after_a_worker_with_threads_was_heard() -> None:
    roster = Roster()
    roster.heard(worker("loading", threads=0), 0.0)
    roster.heard(worker("stranger", leaving=True), 0.0)
    assert not roster.serves
    roster.heard(worker("pc"), 1.0)
    # A worker that starts again does not have what it had.
    for name in ("loading", "pc"):
        roster.heard(worker(name, threads=0), 2.0)
    assert roster.deadline == 1.0 + GONE_AFTER_S
    roster.expire(1.0 + GONE_AFTER_S - 0.01)
    assert roster.serves
    roster.expire(1.0 + GONE_AFTER_S)
    assert not roster.serves
    assert roster.deadline == 2.0 + GONE_AFTER_S


def test_a_worker_that_leaves_serves_for_three_seconds_after_its_goodbye() -> None:
    roster = Roster()
    roster.heard(worker("pc"), 0.0)
    for at in (0.9, 1.9):
        roster.heard(worker("pc", leaving=True), at)
    assert roster.deadline == 0.9 + GONE_AFTER_S
    assert roster.serves
    roster.expire(0.9 + GONE_AFTER_S)
    assert not roster.serves
    assert roster.deadline is None


def test_workers_are_in_the_order_of_their_names() -> None:
    roster = Roster()
    for name in ("pi", "mac", "pc"):
        roster.heard(worker(name), 0.0)
    assert [one.worker for one in roster.workers] == ["mac", "pc", "pi"]


def test_only_what_lasts_is_news() -> None:
    roster, first = Roster(), worker("pc", threads=2)
    assert roster.heard(first, 0.0)
    assert not roster.heard(replace(first, busy=2, cost=0.3, done=7, failed=1), 1.0)
    assert roster.workers[0].done == 7
    assert roster.heard(replace(first, threads=1), 2.0)
    assert roster.heard(replace(first, threads=1, model="small"), 3.0)


def test_what_the_fleet_can_do_is_the_sum_of_its_workers() -> None:
    roster = Roster()
    assert (roster.slots, roster.slowest_cost) == (0, 0.0)
    pc = worker("pc", threads=4, max_batch=2, cost=0.1)
    pi = worker("pi", threads=1, cost=0.9)
    for one in (pc, pi, worker("loading", threads=0, cost=0.0)):
        roster.heard(one, 0.0)
    assert roster.slots == 9
    assert roster.slowest_cost == 0.9


def test_no_more_workers_are_remembered_than_there_can_be() -> None:
    roster = Roster()
    for number in range(MAX_WORKERS):
        assert roster.heard(worker(f"{number}"), 0.0)
    assert not roster.heard(worker("one-more"), 0.0)
    assert len(roster.workers) == MAX_WORKERS
    assert roster.heard(worker("7", threads=5), 1.0)
