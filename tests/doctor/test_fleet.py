from __future__ import annotations

import sys
from typing import Any

import pytest

from stt_mqtt.config import FleetConfig
from stt_mqtt.core.probe import Evidence
from stt_mqtt.doctor.broker import check_broker
from stt_mqtt.doctor.disk import check_disk
from stt_mqtt.doctor.extras import check_extras, needs_of
from stt_mqtt.doctor.fleet import MAX_NAMES, START_WORKER, check_fleet, judged
from stt_mqtt.doctor.machine import check_cpu, check_memory
from stt_mqtt.doctor.model import check_models, check_sample
from stt_mqtt.doctor.ports import check_ports
from stt_mqtt.doctor.report import Finding, Status, fail, ok, warn
from stt_mqtt.doctor.subject import RunningService
from stt_mqtt.errors import MissingExtraError
from stt_mqtt.fleet.probe import FleetSight, ServerSight
from stt_mqtt.nodes import FleetStatus
from tests.doctor.subjects import SOUND, statuses, subject_of
from tests.fleets import FLEET, WORKER, fleet_of, worker
from tools.brokers import free_port

WELL = ServerSight("cellar:4222")
AWAY = ServerSight("attic:4222", "attic:4222 cannot be reached: Connection refused")
REFUSING = ServerSight("attic:4222", "attic:4222 demands a login; set fleet.nkey_file", True)
STREAM = ok("fleet", "the stream of jobs of the fleet home is there")


def findings(
    sight: FleetSight, role: str = "gateway", status: FleetStatus | None = None
) -> list[Finding]:
    service = None
    if status is not None:
        service = RunningService(True, "default", lambda: Evidence(0.0), status)
    return list(judged(FleetConfig.model_validate({"role": role}), sight, service))


def of_workers(*workers: Any, role: str = "gateway") -> Finding:
    """What is said of the workers that were heard."""
    servers, stream, found = findings(FleetSight((WELL,), True, None, workers), role)
    assert (servers.status, stream) == (Status.OK, STREAM)
    return found


def test_without_a_fleet_there_is_nothing_to_check() -> None:
    (finding,) = check_fleet(subject_of())
    assert (finding.status, finding.name) == (Status.OK, "fleet")


def test_a_fleet_that_is_well() -> None:
    assert findings(FleetSight((WELL,), True, None, (WORKER, worker("attic")))) == [
        ok("fleet", "cellar:4222 answers"),
        STREAM,
        ok("fleet", "2 workers are there, with 8 threads: cellar, attic"),
    ]


def test_a_server_that_is_away_is_a_failure_unless_another_one_answers() -> None:
    what_to_do = "check fleet.servers, and that the NATS server runs"
    assert findings(FleetSight((AWAY,))) == [
        fail("fleet", AWAY.problem or "", what_to_do, temporary=True)
    ]
    answers, away, *_ = findings(FleetSight((WELL, AWAY, ServerSight("loft:4222")), made=True))
    assert answers == ok("fleet", "cellar:4222, loft:4222 answer")
    assert away == warn("fleet", AWAY.problem or "", what_to_do)


def test_a_refused_login_has_to_be_repaired() -> None:
    expected = fail("fleet", "attic:4222 demands a login", "set fleet.nkey_file")
    assert findings(FleetSight((REFUSING,))) == [expected]
    assert findings(FleetSight((WELL, REFUSING), made=True))[1] == expected


def test_servers_that_the_fleet_cannot_use_say_why() -> None:
    sight = FleetSight((WELL,), problem="JetStream on cellar:4222 refuses: no")
    assert findings(sight)[1:] == [
        fail("fleet", sight.problem or "", "see the log of the server", temporary=True)
    ]


@pytest.mark.parametrize(
    ("role", "status"), [("gateway", Status.OK), ("both", Status.OK), ("worker", Status.WARN)]
)
def test_a_worker_needs_a_gateway_that_makes_the_stream(role: str, status: Status) -> None:
    assert findings(FleetSight((WELL,)), role)[1].status is status


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("gateway", fail("fleet", "no worker of the fleet is there", START_WORKER, temporary=True)),
        (
            "both",
            warn(
                "fleet",
                "no worker of the fleet is there: this machine does all the work",
                START_WORKER,
            ),
        ),
        ("worker", ok("fleet", "no worker of the fleet is there yet; this process is to be one")),
    ],
)
def test_without_workers_each_role_is_told_what_that_means(role: str, expected: Finding) -> None:
    assert of_workers(role=role) == expected
    assert of_workers(worker("nas", leaving=True), role=role) == expected


def test_workers_that_load_their_models_are_awaited() -> None:
    loading = worker("attic", threads=0)
    assert of_workers(loading).status is Status.WARN
    assert of_workers(loading, WORKER).detail.startswith("2 workers are there, with 4 threads")


def test_a_large_fleet_is_told_in_one_line() -> None:
    many = [worker(f"w{number:02}") for number in range(MAX_NAMES + 3)]
    detail = of_workers(*many).detail
    assert detail.endswith("w08, w09 and 3 more")
    assert of_workers(WORKER).detail == "1 worker is there, with 4 threads: cellar"


def test_a_running_service_knows_its_workers() -> None:
    sight = FleetSight((WELL,), made=True)
    assert findings(sight, status=FLEET)[2].status is Status.OK
    assert findings(sight, status=fleet_of())[2].status is Status.FAIL


@pytest.mark.parametrize(
    ("failure", "detail", "what_to_do"),
    [
        (None, "not connected yet", "see the log of the service; it tries again by itself"),
        ("the key is refused; ask", "the key is refused", "ask"),
    ],
)
def test_a_service_that_is_not_in_its_fleet_says_why(
    failure: str | None, detail: str, what_to_do: str
) -> None:
    status = fleet_of(WORKER, connected=False, failure=failure)
    expected = f"the service is not in the fleet: {detail}"
    assert findings(FleetSight((WELL,), made=True), status=status)[1:] == [
        fail("fleet", expected, what_to_do, temporary=True)
    ]


def test_the_check_looks_at_the_configured_servers() -> None:
    for node in ("hall", None):
        server = f"nats://127.0.0.1:{free_port()}"
        (finding,) = check_fleet(subject_of(fleet={"servers": [server], "node": node}))
        assert finding.status is Status.FAIL
        assert "cannot be reached" in finding.detail


def test_without_its_library_a_fleet_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stt_mqtt.fleet.probe", None)
    subject = subject_of(fleet={})
    with pytest.raises(MissingExtraError, match="fleet"):
        check_fleet(subject)


# What the other checks do not look for ---------------------------------------------------------


def test_a_gateway_needs_no_model() -> None:
    subject = subject_of(fleet={"role": "gateway"}, engine={"model": "/none", "workers": 64})
    for check in (check_models, check_sample, check_memory, check_cpu, check_disk):
        assert {finding.status for finding in check(subject)} == {Status.OK}, check
    modules = {module for need in needs_of(subject.config) for module in need.modules}
    assert {"av", "nats", "wyoming"} <= modules
    assert "ctranslate2" not in modules


def test_the_languages_are_those_of_the_gateway_and_not_of_its_workers() -> None:
    """As at the start: a gateway ends with status 78, and a worker starts."""
    spoken = {"device_defaults": {"language": "xx"}}
    (_, refused) = check_models(subject_of(SOUND, None, fleet={"role": "gateway"}, **spoken))
    assert (refused.name, refused.status) == ("languages", Status.FAIL)
    (model,) = check_models(subject_of(SOUND, None, fleet={"role": "worker"}, **spoken))
    assert (model.name, model.status) == ("model", Status.OK)


def test_a_worker_needs_no_broker_and_no_ports() -> None:
    worker_of_fleet = subject_of(
        fleet={"role": "worker"}, mqtt={"host": "none.invalid"}, broker={"mode": "embedded"}
    )
    assert statuses(check_broker(worker_of_fleet), "broker") == {Status.OK}
    assert [one.detail for one in check_ports(worker_of_fleet)] == [
        "the service listens on no port"
    ]
    needs = [need.part for need in needs_of(worker_of_fleet.config)]
    assert needs == ["transcription", "every service", "fleet"]
    assert check_extras(worker_of_fleet)[0].status is Status.OK
