"""The native door of a gateway that shares the devices with others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.core.outcomes import log_outcome
from stt_mqtt.doors.native.direct import MODEL, SATELLITE
from stt_mqtt.doors.native.instances import Instance, InstanceCallbacks, InstanceMonitor
from stt_mqtt.doors.native.messages import result_fields
from stt_mqtt.doors.native.overheard import MAX_RESULT_BYTES, outcome_in
from stt_mqtt.doors.native.sharing import MAX_ELSEWHERE
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import OverloadedError, ShuttingDownError
from stt_mqtt.hints import Hint
from stt_mqtt.mqtt.json import encode
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.types import DeviceKey, EndReason, Outcome, OutcomeKind, Phrase, Transcript
from tests.doors.native.peers import Wire
from tests.doors.shares import Share
from tests.fakes import FakeClock
from tests.thorough import examples

CHUNK = bytes(3200)


def start(id: str = "u") -> bytes:
    return json.dumps({"id": id}).encode()


class Gateway(Wire):
    """The gateway `a`, which owns `kitchen` and not `bath`."""

    def __init__(self, *more: str, **config: Any) -> None:
        self.share = Share({"kitchen", *more})
        super().__init__(self.share, **config)

    def gets(self, *names: str) -> None:
        """The share changes, without a loss."""
        self.share.names = set(names)
        self.door.ownership_changed(lost=False)

    def speaks(self, device: str, id: str = "u", chunks: int = 3) -> None:
        self.send(f"stt/{device}/audio/start", start(id))
        for _ in range(chunks):
            self.send(f"stt/{device}/audio", CHUNK)
        self.send(f"stt/{device}/audio/stop", start(id))

    def waits(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.tick()


def test_a_service_alone_subscribes_to_nothing_of_the_fleet() -> None:
    fleet = {"stt/bridge/fleet", "stt/+/result"}
    assert not fleet & set(Wire().door.subscriptions.filters)
    assert fleet <= set(Gateway().door.subscriptions.filters)


def test_what_gateways_say_goes_to_the_one_who_decides() -> None:
    gateway = Gateway()
    gateway.send("stt/bridge/fleet", b"ring", retain=True)
    gateway.door.on_connected()
    gateway.door.on_disconnected()
    assert gateway.share.told == ["ring", "connected", "disconnected"]


@pytest.mark.parametrize("device", ["kitchen", "bath"])
def test_only_the_owner_opens_and_answers(device: str) -> None:
    gateway = Gateway()
    gateway.speaks(device)
    gateway.send(f"stt/{device}/utterance", CHUNK)
    gateway.waits(1.0)
    gateway.send(f"stt/{device}/audio", CHUNK)
    gateway.waits(1.0)
    gateway.send(f"stt/{device}/audio/start", b"nonsense")
    while gateway.pool.submitted:
        gateway.answer()
    assert len(gateway.results(device)) == (4 if device == "kitchen" else 0)
    is_told = bool(gateway.on(f"stt/{device}/state") or gateway.on(f"stt/{device}/settings"))
    assert is_told == (device == "kitchen")


def test_settings_of_devices_of_others_are_applied_and_not_published() -> None:
    gateway = Gateway()
    for device in ("kitchen", "bath"):
        gateway.send(f"stt/{device}/set", b'{"language":"en"}')
        gateway.send(f"stt/{device}/set", b"nonsense")
        found = gateway.service.registry.find(DeviceKey("native", device))
        assert found is not None
        assert found.settings.language == "en"
    assert gateway.on("stt/kitchen/settings")
    assert len(gateway.results("kitchen")) == 1
    assert not [item.topic for item in gateway.published if "bath" in item.topic]


def test_who_takes_over_from_a_dead_gateway_publishes_what_it_knows() -> None:
    gateway = Gateway()
    gateway.send("stt/bath/availability", b"online")
    assert not gateway.published
    gateway.share.names.add("bath")
    gateway.door.ownership_changed(lost=True)
    assert gateway.on("stt/bath/state") == [b"idle"]
    assert len(gateway.on("stt/bath/settings")) == 1


def test_who_takes_over_from_a_live_gateway_says_no_state() -> None:
    gateway = Gateway()
    gateway.send("stt/bath/availability", b"online")
    gateway.gets("bath")
    assert not gateway.published


def test_what_is_open_ends_at_the_gateway_that_opened_it() -> None:
    gateway = Gateway()
    gateway.send("stt/kitchen/audio/start", start())
    gateway.gets("bath")
    for _ in range(3):
        gateway.send("stt/kitchen/audio", CHUNK)
    gateway.send("stt/kitchen/audio/stop", start())
    gateway.answer()
    (result,) = gateway.results()
    assert (result["end"], result["outcome"], result["audio_s"]) == ("stop", "transcript", 1.0)
    assert gateway.on("stt/kitchen/state") == [b"listening", b"transcribing", b"idle"]


def test_a_start_at_the_new_owner_ends_it_there_and_the_new_owner_tells_the_state() -> None:
    gateway = Gateway()
    gateway.send("stt/kitchen/audio/start", start("old"))
    gateway.send("stt/kitchen/audio", CHUNK)
    gateway.gets("bath")
    gateway.send("stt/kitchen/audio/start", start("new"))
    gateway.send("stt/kitchen/audio", CHUNK)
    gateway.answer()
    (result,) = gateway.results()
    assert (result["id"], result["end"], result["incomplete"]) == ("old", "restart", True)
    assert gateway.on("stt/kitchen/state") == [b"listening"]


def test_an_utterance_that_is_sent_again_to_the_new_owner_is_left_to_it() -> None:
    gateway = Gateway()
    gateway.speaks("kitchen")
    gateway.gets("bath")
    gateway.send("stt/kitchen/audio/start", start())
    gateway.answer()
    assert not gateway.results()
    assert gateway.service.metrics.dropped["elsewhere"] == 1
    # It may come back with the device.
    gateway.gets("kitchen")
    gateway.speaks("kitchen")
    assert [result["repeated"] for result in gateway.results()] == [True]


def test_an_utterance_that_came_back_before_its_answer_is_answered_here() -> None:
    gateway = Gateway()
    gateway.send("stt/kitchen/audio/start", start())
    gateway.gets("bath")
    gateway.send("stt/kitchen/audio/start", start())
    gateway.gets("kitchen")
    gateway.send("stt/kitchen/audio/start", start())
    gateway.send("stt/kitchen/audio", CHUNK)
    gateway.send("stt/kitchen/audio/stop", start())
    while gateway.pool.submitted:
        gateway.answer()
    assert [result["incomplete"] for result in gateway.results()] == [False]


def test_the_new_owner_opens_nothing_from_audio_until_it_pauses() -> None:
    gateway = Gateway()
    for _ in range(3):
        gateway.send("stt/bath/audio", CHUNK)
        gateway.waits(0.5)
    gateway.gets("bath")
    gateway.send("stt/bath/audio", CHUNK)
    gateway.waits(0.5)
    assert not gateway.on("stt/bath/state")
    gateway.waits(0.5)
    gateway.send("stt/bath/audio", CHUNK)
    assert gateway.on("stt/bath/state") == [b"listening"]


@pytest.mark.parametrize("verb", ["stop", "abort"])
def test_after_a_stop_it_need_not_wait_for_a_pause(verb: str) -> None:
    gateway = Gateway()
    gateway.send("stt/bath/audio/start", start())
    gateway.send("stt/bath/audio", CHUNK)
    gateway.gets("bath")
    gateway.waits(2.0)
    gateway.send("stt/bath/audio", CHUNK)
    assert not gateway.on("stt/bath/state")
    gateway.send(f"stt/bath/audio/{verb}", start())
    gateway.waits(0.4)
    gateway.send("stt/bath/audio", CHUNK)
    assert gateway.on("stt/bath/state") == [b"listening"]


@pytest.mark.parametrize("verb", ["audio", "audio/start"])
def test_devices_of_others_have_no_more_places_than_own_ones(verb: str) -> None:
    gateway = Gateway("hall", limits={"max_devices": 1})
    gateway.send("stt/hall/audio/start", start())
    gateway.send(f"stt/bath/{verb}", b"{}")
    assert gateway.service.metrics.dropped["too_many_devices"] == 1
    assert not gateway.results("bath")


def test_an_answer_of_another_gateway_is_repeated_by_the_new_owner() -> None:
    gateway = Gateway()
    other = Wire()
    other.send("stt/bath/audio/start", start())
    other.send("stt/bath/audio", CHUNK)
    other.send("stt/bath/audio/stop", start())
    other.answer()
    (answer,) = other.on("stt/bath/result")
    # It is of a device that this gateway has not heard of.
    gateway.send("stt/bath/result", answer)
    gateway.send("stt/bath/audio/start", start())
    gateway.send("stt/bath/result", answer)
    gateway.gets("bath")
    gateway.speaks("bath")
    assert gateway.results("bath") == [{**json.loads(answer), "repeated": True}]
    assert not gateway.on("stt/bath/text")
    assert not gateway.pool.submitted


def test_what_is_remembered_of_others_is_bounded() -> None:
    gateway = Gateway()
    gateway.speaks("kitchen", "mine")
    gateway.gets("bath")
    for number in range(MAX_ELSEWHERE + 1):
        gateway.send("stt/kitchen/audio/start", start(f"theirs-{number}"))
    assert len(gateway.door._sharing._elsewhere) == MAX_ELSEWHERE


# Results of other gateways ------------------------------------------------------------------

phrases = st.none() | st.builds(
    Phrase,
    st.text(max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from([0.0, -1.5]),
    st.none() | st.sampled_from([0.5]),
)
transcripts = st.none() | st.builds(
    Transcript,
    st.text(max_size=9),
    st.sampled_from(["en", "de"]),
    st.sampled_from([0.0, 0.8712]),
    st.sampled_from([0.0, 0.01]),
    heard=st.none() | st.just("what was heard"),
    phrase=phrases,
)
outcomes = st.builds(
    Outcome,
    st.just(DeviceKey("native", "bath")),
    st.sampled_from(["a", "b"]),
    st.sampled_from([1_795_000_000.125]),
    st.sampled_from(OutcomeKind),
    transcript=transcripts,
    audio_s=st.sampled_from([0.0, 2.12]),
    end=st.none() | st.sampled_from(["stop", "gap", "cap", "single", "endpoint"]).map(EndReason),
    model=st.none() | st.just("tiny.en"),
    wait_s=st.none() | st.just(0.004),
    error=st.none() | st.just(OverloadedError("full")),
    age_s=st.sampled_from([0.0, 3.0]),
    hint=st.none() | st.sampled_from(Hint),
    lost_chunks=st.integers(0, 3),
)


@given(outcomes)
@settings(max_examples=examples(60), deadline=None)
def test_a_result_is_read_as_it_was_published(outcome: Outcome) -> None:
    published = encode(result_fields(outcome))
    found = outcome_in(outcome.key, published)
    assert found is not None
    assert encode(result_fields(found)) == published
    log_outcome(found)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"id":"a"}',
        b" " * (MAX_RESULT_BYTES + 1),
    ],
)
def test_what_is_no_result_is_ignored(payload: bytes) -> None:
    assert outcome_in(DeviceKey("native", "bath"), payload) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"repeated": True},
        {"end": EndReason.SHUTDOWN},
        {"end": EndReason.RESTART},
        {"error": ShuttingDownError("the service stops")},
    ],
)
def test_what_is_sent_again_counts_as_not_answered(changed: dict[str, Any]) -> None:
    outcome = Outcome(DeviceKey("native", "bath"), "a", 1.0, OutcomeKind.ERROR)
    payload = encode(result_fields(replace(outcome, **changed)))
    assert outcome_in(outcome.key, payload) is None


def test_an_error_of_a_newer_version_is_a_failed_inference() -> None:
    outcome = Outcome(
        DeviceKey("native", "bath"), "a", 1.0, OutcomeKind.ERROR, error=OverloadedError("full")
    )
    payload = encode(result_fields(outcome)).replace(b"overloaded", b"unheard_of")
    found = outcome_in(outcome.key, payload)
    assert found is not None
    assert found.error is not None
    assert (found.error.code, found.error.detail) == ("inference_failed", "full")


# Browsers ------------------------------------------------------------------------------------


class Page:
    """A browser that hears nothing."""

    def tell(self, kind: str, fields: object) -> None: ...

    def replaced(self) -> None: ...


def browser_of(gateway: str) -> bytes:
    return json.dumps({"model": MODEL, "gateway": gateway}).encode()


def test_a_browser_belongs_to_the_gateway_that_it_is_connected_to() -> None:
    gateway = Gateway()
    gateway.door.direct.connect("bath", Page())
    (satellite,) = gateway.on("stt/bath/satellite/state")
    assert json.loads(satellite) == {**SATELLITE, "gateway": "a"}
    gateway.speaks("bath")
    gateway.answer()
    assert len(gateway.results("bath")) == 1


def test_a_browser_of_another_gateway_is_left_to_it_until_that_is_gone() -> None:
    gateway = Gateway("bridge")
    gateway.share.live.add("b")
    gateway.send("stt/kitchen/satellite/state", browser_of("b"), retain=True)
    gateway.send("stt/kitchen/availability", b"online", retain=True)
    gateway.speaks("kitchen")
    assert not gateway.pool.submitted
    assert not gateway.on("stt/kitchen/availability")
    gateway.share.live.remove("b")
    gateway.gets("kitchen", "bridge")
    assert gateway.on("stt/kitchen/availability") == [b"offline"]


@pytest.mark.parametrize(("of", "says"), [("a", True), ("b", False)])
def test_who_does_not_lead_says_only_of_its_own_browsers_that_they_are_gone(
    of: str, says: bool
) -> None:
    gateway = Gateway()
    gateway.send("stt/bath/satellite/state", browser_of(of), retain=True)
    gateway.send("stt/bath/availability", b"online", retain=True)
    assert bool(gateway.on("stt/bath/availability")) == says


# The service ---------------------------------------------------------------------------------


def test_only_the_leader_speaks_for_the_service() -> None:
    gateway = Gateway()
    for gateway.share.names in (set(), {"bridge"}):
        gateway.bridge.announce()
        gateway.bridge.publish_info()
        gateway.bridge.publish_health()
        gateway.send("stt/bridge/request/health_check", b"{}")
        gateway.send("stt/bridge/request/nonsense", b"{}")
        topics = [item.topic for item in gateway.published]
        assert bool(topics) == bool(gateway.share.names)


def test_all_carry_out_a_request_and_the_leader_answers() -> None:
    gateway = Gateway()
    gateway.send("stt/bridge/request/reload", b"{}")
    gateway.send("stt/bridge/request/rung", b'{"rung":"default"}')
    gateway.send("stt/bridge/request/rung", b'{"rung":"unknown"}')
    assert gateway.reloads == 1
    assert gateway.service.rung_status.mode == "default"
    assert not gateway.published


def test_the_owner_of_a_device_says_whether_it_may_be_forgotten() -> None:
    gateway = Gateway()
    for device in ("kitchen", "bath"):
        gateway.send(f"stt/{device}/availability", b"online")
        gateway.send(f"stt/{device}/availability", b"offline")
        request = json.dumps({"device": device, "transaction": device}).encode()
        gateway.send("stt/bridge/request/forget", request)
    assert [json.loads(item)["transaction"] for item in answers(gateway)] == ["kitchen"]
    assert len(gateway.service.registry) == 0
    assert gateway.on("stt/kitchen/settings")[-1] == b""
    assert not gateway.on("stt/bath/settings")


def answers(gateway: Gateway) -> list[bytes]:
    return gateway.on("stt/bridge/response/forget")


@pytest.mark.parametrize("request_", [b"{}", b'{"device":"a b"}'])
def test_a_request_to_forget_nobody_is_answered_by_the_leader(request_: bytes) -> None:
    gateway = Gateway()
    gateway.send("stt/bridge/request/forget", request_)
    assert not answers(gateway)
    gateway.share.names.add("bridge")
    gateway.send("stt/bridge/request/forget", request_)
    assert len(answers(gateway)) == 1


@pytest.mark.parametrize("alone", [False, True])
def test_the_service_is_offline_only_when_the_last_gateway_ends(alone: bool) -> None:
    gateway = Gateway()
    gateway.share.is_alone = alone
    gateway.bridge.say_offline()
    assert gateway.on("stt/bridge/state") == ([b"offline"] if alone else [])
    assert gateway.share.told == ["goodbye"]


def test_when_somebody_says_offline_the_gateways_find_out_first_who_lives() -> None:
    gateway = Gateway("bridge")
    gateway.bridge.instances.on_connected()
    gateway.bridge.output(message(b"offline"), "state")
    assert gateway.share.told == ["offline?"]
    assert not gateway.published


def message(payload: bytes) -> Inbound:
    return Inbound("stt/bridge/state", payload)


# One service ---------------------------------------------------------------------------------


class Monitor:
    """Detects other services for the gateway `a` of a fleet."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.found: list[str | None] = []
        callbacks = InstanceCallbacks(self.found.append, lambda: None, lambda: False)
        self.instances = InstanceMonitor(
            Instance("fleet", Share()), Topics("stt"), self.published.append, FakeClock(), callbacks
        )
        self.instances.probe()

    @property
    def probe(self) -> dict[str, Any]:
        fields = json.loads(self.published[0].payload)
        assert isinstance(fields, dict)
        return fields

    def answered(self, instance: str) -> None:
        answer = {"data": {"instance": instance}, "transaction": self.probe["transaction"]}
        self.instances.response(json.dumps(answer).encode())


def test_a_gateway_of_the_same_fleet_is_no_other_service() -> None:
    one, other = Monitor(), Monitor()
    assert one.probe["probe"] == other.probe["probe"] == "fleet"
    assert one.probe["transaction"] != other.probe["transaction"]
    one.instances.state(b"online", retained=True)
    assert one.instances.is_ignored("health_check", other.probe)
    assert one.found == []
    one.answered("fleet")
    assert one.found == [None]
    one.answered("fleet")
    one.instances.info(b'{"instance":"fleet"}', retained=False)
    assert not one.instances.is_ignored("health_check", other.probe)


def test_a_service_without_the_fleet_is_refused_as_ever() -> None:
    monitor = Monitor()
    monitor.instances.state(b"online", retained=True)
    monitor.answered("stranger")
    assert monitor.found == ["stranger"]


def test_the_will_of_another_gateway_is_nothing_strange(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor()
    monitor.answered("fleet")
    for _ in range(3):
        monitor.instances.state(b"offline", retained=False)
    assert monitor.instances.deadline is None
    assert not caplog.messages
