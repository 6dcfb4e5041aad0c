"""One service to a base topic."""

from __future__ import annotations

import json

import pytest

from stt_mqtt.doors.native.instances import (
    OWN_WILL_S,
    PROBE_TIMEOUT_S,
    WARN_AFTER_S,
    Instance,
    InstanceCallbacks,
    InstanceMonitor,
    instance_in,
)
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Publication
from tests.fakes import FakeClock

ANSWER = b'{"status":"ok","data":{"instance":"other"},"transaction":"own"}'


class Bench:
    """The instance `own` on a broker that the test plays."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.found: list[object] = []
        self.clock = FakeClock()
        callbacks = InstanceCallbacks(
            self.found.append,
            lambda: self.found.append("online"),
            self._said_offline,
        )
        self.instances = InstanceMonitor(
            Instance("own"), Topics("stt"), self.published.append, self.clock, callbacks
        )

    def _said_offline(self) -> bool:
        self.found.append("everything")
        return True

    def probe(self) -> Bench:
        self.instances.on_connected()
        self.instances.probe()
        return self

    def waits(self, seconds: float, connected: bool = True) -> None:
        """Time goes on, up to a deadline."""
        self.clock.advance(seconds)
        self.instances.tick(connected)

    def probe_comes_back(self) -> bool:
        return self.instances.is_ignored("health_check", {"transaction": "own", "probe": "own"})

    def serves(self) -> Bench:
        self.probe().probe_comes_back()
        self.found.clear()
        return self


def test_a_probe_is_a_request_that_every_service_answers() -> None:
    bench = Bench().probe()
    (probe,) = bench.published
    assert (probe.topic, probe.retain) == ("stt/bridge/request/health_check", False)
    assert json.loads(probe.payload) == {"transaction": "own", "probe": "own"}


@pytest.mark.parametrize("state", [None, b"offline", b""])
def test_where_nobody_is_said_to_be_online_nobody_is_waited_for(state: bytes | None) -> None:
    bench = Bench().probe()
    if state is not None:
        bench.instances.state(state, retained=True)
    assert bench.probe_comes_back()
    assert bench.found == [None]


def test_who_is_said_to_be_online_gets_time_to_answer() -> None:
    bench = Bench().probe()
    bench.instances.state(b"online", retained=True)
    assert bench.probe_comes_back()
    assert bench.found == []
    bench.instances.response(ANSWER)
    assert bench.instances.deadline is None
    bench.waits(PROBE_TIMEOUT_S)
    assert bench.found == ["other"]


def test_who_does_not_answer_in_time_does_not_live() -> None:
    bench = Bench().probe()
    bench.instances.state(b"online", retained=True)
    bench.probe_comes_back()
    assert bench.instances.deadline == bench.clock.now() + PROBE_TIMEOUT_S
    bench.waits(PROBE_TIMEOUT_S - 0.1)
    assert bench.found == []
    bench.waits(0.1)
    assert bench.found == [None]
    bench.waits(PROBE_TIMEOUT_S)
    assert bench.found == [None]


def test_a_connection_that_is_lost_before_the_answer_could_come_says_nothing() -> None:
    bench = Bench().probe()
    bench.waits(PROBE_TIMEOUT_S, connected=False)
    assert (bench.found, bench.instances.deadline) == ([], None)
    bench.probe().probe_comes_back()
    assert bench.found == [None]


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"\xff", ANSWER.replace(b'"own"', b'"of somebody else"')]
)
def test_answers_to_others_say_nothing(answer: bytes) -> None:
    bench = Bench().probe()
    bench.instances.response(answer)
    assert bench.found == []


def test_an_answer_of_a_service_that_names_no_instance_counts() -> None:
    bench = Bench().probe()
    bench.instances.response(b'{"data":{},"transaction":"own"}')
    assert bench.found == ["unknown"]


def test_requests_of_others_are_not_answered_before_this_service_serves() -> None:
    bench = Bench().probe()
    assert bench.instances.is_ignored("devices", {})
    bench.probe_comes_back()
    assert not bench.instances.is_ignored("devices", {})
    assert not bench.instances.is_ignored("health_check", {"transaction": "theirs"})
    assert bench.probe_comes_back()


def test_what_it_says_itself_is_nothing_new() -> None:
    bench = Bench().serves()
    bench.instances.state(b"online", retained=False)
    bench.instances.info(b'{"instance":"own"}', retained=False)
    bench.instances.state(b"offline", retained=True)
    assert bench.found == []


def test_who_is_said_to_be_offline_while_it_serves_says_everything_again_and_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench().serves()
    bench.clock.advance(OWN_WILL_S + 1)
    for _ in range(3):
        bench.instances.state(b"offline", retained=False)
    assert bench.found == ["everything"] * 3
    assert caplog.messages == []
    bench.waits(WARN_AFTER_S)
    bench.instances.state(b"offline", retained=False)
    bench.waits(WARN_AFTER_S)
    (warning,) = caplog.messages
    assert warning.startswith("stt/bridge/state: it was said to be offline while it serves; two")


def test_its_own_last_will_is_answered_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench().serves()
    # The broker publishes the will of the connection before this one.
    bench.clock.advance(OWN_WILL_S)
    bench.instances.state(b"offline", retained=False)
    assert (bench.found, bench.instances.deadline) == (["everything"], None)
    # The broker ends, and says so before it closes the connection.
    bench.clock.advance(1)
    bench.instances.state(b"offline", retained=False)
    bench.waits(WARN_AFTER_S, connected=False)
    bench.instances.state(b"offline", retained=False)
    bench.instances.on_connected()
    bench.waits(WARN_AFTER_S)
    assert caplog.messages == []


def test_of_two_that_start_at_the_same_time_the_one_with_the_lesser_instance_goes_on() -> None:
    bench = Bench().probe()
    assert bench.instances.is_ignored("health_check", {"transaction": "z", "probe": "z"})
    assert bench.found == []
    answer = bench.published[-1]
    assert answer.topic == "stt/bridge/response/health_check"
    assert json.loads(answer.payload)["data"] == {"instance": "own"}
    assert json.loads(answer.payload)["transaction"] == "z"
    assert bench.instances.is_ignored("health_check", {"transaction": "a", "probe": "a"})
    assert bench.found == ["a"]


def test_another_service_that_appears_is_answered_with_online_alone_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench().serves()
    bench.instances.info(b'{"instance":"other"}', retained=False)
    bench.instances.info(b"{}", retained=False)
    bench.instances.response(ANSWER)
    assert bench.found == ["online"] * 3
    (warning,) = caplog.messages
    assert "another service, instance other, describes itself there" in warning


def test_its_own_goodbye_is_not_contradicted() -> None:
    bench = Bench().serves()
    bench.instances.stop()
    bench.instances.state(b"offline", retained=False)
    bench.instances.info(b'{"instance":"other"}', retained=False)
    assert bench.found == []


@pytest.mark.parametrize("fields", [None, [], {"instance": 5}])
def test_an_instance_that_is_not_named_is_unknown(fields: object) -> None:
    assert instance_in(fields) == "unknown"


def test_a_name_of_an_instance_is_bounded() -> None:
    assert len(instance_in({"instance": "x" * 1000})) == 64
