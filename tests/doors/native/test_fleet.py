"""What the topics of the service tell of its fleet, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from stt_mqtt.doors.native.fleet import MIN_INTERVAL_S
from stt_mqtt.nodes import FleetStatus
from tests.doors.native.peers import Wire
from tests.fleets import FLEET, WORKER, fleet_of, worker


class Gateway(Wire):
    """A service in a fleet, with its topics."""

    def __init__(self, role: str = "gateway") -> None:
        super().__init__(fleet={"role": role})
        self.fleet = FLEET
        self.bridge.publish_info()

    @property
    def infos(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.on("stt/bridge/info")]

    def becomes(self, fleet: FleetStatus) -> None:
        """The fleet changes, and the application says so."""
        self.fleet = fleet
        self.bridge.fleet.changed()

    def waits(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.bridge.fleet.tick()


def test_info_tells_of_the_fleet_only_if_there_is_one() -> None:
    wire = Wire()
    wire.bridge.announce()
    assert "fleet" not in json.loads(wire.on("stt/bridge/info")[0])
    assert "fleet" not in json.loads(wire.on("stt/bridge/health")[0])
    wire.bridge.fleet.changed()
    assert wire.bridge.fleet.deadline is None
    assert len(wire.on("stt/bridge/info")) == 1


def test_info_has_what_changes_seldom_and_health_the_figures() -> None:
    gateway = Gateway()
    assert gateway.infos[0]["fleet"] == {
        "name": "home",
        "role": "gateway",
        "node": "hall",
        "connected": True,
        "gateways": ["hall"],
        "workers": [{"name": "cellar", "threads": 4, "model": "small.en", "rung": "default"}],
    }
    gateway.bridge.publish_health()
    assert json.loads(gateway.on("stt/bridge/health")[0])["fleet"] == {
        "connected": True,
        "slots": 8,
        "in_flight": 1,
        "late": 0,
        "again": 0,
        "workers": {
            "cellar": {
                "threads": 4,
                "busy": 1,
                "cost": 0.125,
                "done": 812,
                "failed": 0,
                "leaving": False,
            }
        },
    }


def test_a_gateway_names_the_models_of_its_workers_and_no_rungs() -> None:
    gateway = Gateway()
    assert (gateway.infos[0]["models"], gateway.infos[0]["rungs"]) == (["small.en"], [])
    gateway.becomes(fleet_of())
    assert gateway.infos[-1]["models"] == []


def test_a_service_with_threads_of_its_own_names_its_own_models() -> None:
    info = Gateway("both").infos[0]
    assert info["models"] == ["tiny.en"]
    assert info["rungs"][0]["name"] == "default"
    assert info["fleet"]["role"] == "both"


def test_a_worker_that_comes_is_told_at_once() -> None:
    gateway = Gateway()
    gateway.becomes(fleet_of(WORKER, worker("attic")))
    assert [one["name"] for one in gateway.infos[-1]["fleet"]["workers"]] == ["cellar", "attic"]
    gateway.becomes(fleet_of(WORKER, worker("attic")))
    gateway.waits(MIN_INTERVAL_S)
    assert len(gateway.infos) == 2
    assert gateway.bridge.fleet.deadline is None


def test_figures_that_change_with_each_job_are_no_reason_for_a_new_info() -> None:
    gateway = Gateway()
    gateway.becomes(fleet_of(replace(WORKER, busy=3, done=813, cost=0.2), in_flight=3, late=1))
    assert len(gateway.infos) == 1


def test_changes_are_told_at_most_once_a_second_and_the_last_one_always() -> None:
    gateway = Gateway()
    for number in range(10):
        gateway.becomes(fleet_of(worker(f"worker-{number}")))
        gateway.waits(0.05)
    assert len(gateway.infos) == 2
    assert gateway.bridge.fleet.deadline is not None
    gateway.waits(MIN_INTERVAL_S)
    assert len(gateway.infos) == 3
    assert gateway.infos[-1]["fleet"]["workers"][0]["name"] == "worker-9"
    assert gateway.bridge.fleet.deadline is None


def test_a_worker_that_comes_back_within_the_second_is_no_news() -> None:
    gateway = Gateway()
    gateway.becomes(fleet_of())
    gateway.becomes(FLEET)
    gateway.becomes(fleet_of())
    gateway.waits(MIN_INTERVAL_S)
    assert len(gateway.infos) == 2


def test_an_info_for_another_reason_tells_of_the_change_too() -> None:
    gateway = Gateway()
    gateway.becomes(fleet_of())
    gateway.becomes(FLEET)
    gateway.bridge.publish_info()
    assert gateway.bridge.fleet.deadline is None
    gateway.waits(MIN_INTERVAL_S)
    assert len(gateway.infos) == 3
