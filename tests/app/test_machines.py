"""What programs are told: figures, whether the service is alive, and whether it is ready."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from stt_mqtt.app.machines import MAX_LAG_S, Connections, Machines
from stt_mqtt.app.sample import read_sample
from stt_mqtt.app.web import DOORS
from stt_mqtt.errors import UtteranceError
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.loop_lag import INTERVAL_S, LoopLag
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.observe.prometheus import Exporter
from stt_mqtt.stages import Stage
from stt_mqtt.types import DeviceKey, OutcomeKind, UtteranceStart
from tests.core.test_glimpses import BEDROOM, KITCHEN, Bench
from tests.fakes import heard, nothing_heard
from tests.fleets import FLEET, WORKER, fleet_of, worker
from tests.virtual_time import run_in_virtual_time

WELL = Connections(
    broker="localhost:1883",
    thread_is_alive=True,
    thread_hangs=False,
    is_connected=True,
    is_online=True,
    is_stopping=False,
    accepted=1,
    outbox=(2, 600),
    inbox=(3, 900),
    lost={"inbox_full": 4, "undecodable_topic": 0, "packet_too_large": 0, "publications_lost": 0},
    wyoming=5,
    browsers=6,
)
ERRORS = [kind("it failed") for kind in UtteranceError.__subclasses__()]


class Asked(Bench):
    """A service, and what it tells programs."""

    def __init__(self, workers: int = 2, **config: Any) -> None:
        super().__init__(workers, **config)
        self.connections = WELL
        self.lag = LoopLag()
        self.service.probe.recording = read_sample()
        for door in DOORS:
            self.service.attach(door, self.outlet)
        self.fleet: FleetStatus | None = None
        self.machines = Machines(
            self.service, self.clock, self.lag, lambda: self.connections, lambda: self.fleet
        )
        self.exporter = Exporter(self.service.metrics, DOORS, self.machines.readings)

    def say_once(self, key: DeviceKey = KITCHEN) -> None:
        self.submit_single(key)

    @property
    def samples(self) -> list[Sample]:
        families = text_string_to_metric_families(self.exporter.text().decode())
        return [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        (found,) = [
            sample.value
            for sample in self.samples
            if sample.name == f"stt_mqtt_{name}" and sample.labels == labels
        ]
        return found

    @property
    def series(self) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in self.samples}

    def readiness(self) -> str | None:
        """What it tells if the threads answer all that they are asked."""

        async def scenario() -> str | None:
            asking = asyncio.ensure_future(self.machines.readiness())
            await asyncio.sleep(0)
            while self.pool.submitted:
                self.answer()
            return await asking

        return run_in_virtual_time(scenario())


# Figures ---------------------------------------------------------------------------------------


def test_utterances_are_counted_by_door_and_outcome() -> None:
    asked = Asked()
    asked.say_once()
    asked.answer(heard())
    asked.say_once(BEDROOM)
    asked.answer(nothing_heard())
    asked.service.answer_error(DeviceKey("wyoming", "a", "1"), UtteranceStart(), ERRORS[0])
    assert asked.value("utterances_total", door="native", kind="transcript") == 1
    assert asked.value("utterances_total", door="native", kind="no_speech") == 1
    assert asked.value("utterances_total", door="wyoming", kind="error") == 1
    assert asked.value("errors_total", code=ERRORS[0].code) == 1
    assert asked.value("latency_seconds_count", door="native") == 2
    assert asked.value("latency_seconds_count", door="wyoming") == 0
    assert asked.value("audio_seconds_total") == 2.0


@pytest.mark.parametrize("stage", [Stage.DECODE, Stage.GATE, Stage.ENCODE, Stage.DECODE_TEXT])
def test_the_times_of_the_stages_come_from_the_inference(stage: Stage) -> None:
    asked = Asked()
    asked.say_once()
    asked.answer(replace(heard(), stages={stage: 0.25}))
    assert asked.value("stage_seconds_sum", stage=stage.value) == pytest.approx(0.25)
    assert asked.value("stage_seconds_bucket", stage=stage.value, le="0.2") == 0
    assert asked.value("stage_seconds_bucket", stage=stage.value, le="0.3") == 1
    assert asked.value("stage_seconds_bucket", stage=stage.value, le="+Inf") == 1
    assert asked.value("stage_seconds_count", stage="retry") == 0


def test_the_wait_is_the_time_in_the_queue() -> None:
    asked = Asked(workers=1)
    asked.say_once()
    asked.say_once(BEDROOM)
    asked.clock.advance(2.0)
    asked.answer()
    asked.answer()
    assert asked.value("stage_seconds_count", stage="wait") == 2
    assert asked.value("stage_seconds_sum", stage="wait") == pytest.approx(2.0)
    assert asked.value("batch_utterances_count") == 2


def test_the_start_of_the_process_follows_a_clock_that_is_set_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boot = "prometheus_client.process_collector.ProcessCollector._boot_time"
    monkeypatch.setattr(boot, lambda _: 100.0)
    asked = Asked()
    before = asked.value("process_start_time_seconds")
    monkeypatch.setattr(boot, lambda _: 1_800_000_000.0)
    assert asked.value("process_start_time_seconds") == before + 1_799_999_900.0


def test_queue_buffers_and_devices_are_what_they_are_now() -> None:
    asked = Asked(workers=1)
    asked.say_once()
    asked.say_once(BEDROOM)
    asked.clock.advance(1.5)
    assert asked.value("queue_utterances") == 1
    assert asked.value("queue_audio_seconds") == pytest.approx(1.2, abs=0.01)
    assert asked.value("queue_oldest_seconds") == 1.5
    assert asked.value("audio_buffer_bytes") == asked.used_bytes > 0
    assert asked.value("audio_buffer_limit_bytes") == 64 * 1024 * 1024
    assert asked.value("devices", state="transcribing") == 2
    assert asked.value("devices", state="idle") == 0


def test_speculation_is_told_in_counters_that_only_rise() -> None:
    asked = Asked()
    metrics = asked.service.metrics
    result = replace(heard(), work_s=0.5, stages={Stage.ENCODE: 0.1})
    metrics.count_glimpse(result)
    metrics.count_glimpse(None)
    metrics.count_draft(0.25)
    before = {sample.name: sample.value for sample in asked.samples if not sample.labels}
    metrics.count_inference(replace(heard(), work_s=0.0, remembered_s=0.5))
    after = {sample.name: sample.value for sample in asked.samples if not sample.labels}
    assert before["stt_mqtt_glimpses_total"] == 2
    assert before["stt_mqtt_glimpse_work_seconds_total"] == 0.5
    assert before["stt_mqtt_draft_work_seconds_total"] == 0.25
    assert after["stt_mqtt_remembered_total"] == 1
    assert after["stt_mqtt_remembered_work_seconds_total"] == 0.5
    assert asked.value("stage_seconds_count", stage="encode") == 1
    counters = [name for name in before if name.endswith("_total")]
    assert all(after[name] >= before[name] for name in counters)
    assert metrics.wasted_s == 0


def test_the_transport_is_told_with_what_it_lost() -> None:
    asked = Asked()
    asked.service.metrics.drop(DropReason.BAD_TOPIC)
    assert asked.value("dropped_total", reason="bad_topic") == 1
    assert asked.value("dropped_total", reason="inbox_full") == 4
    assert asked.value("broker_connected") == 1
    assert asked.value("broker_connections_total") == 1
    assert asked.value("outbox_bytes") == 600
    assert asked.value("inbox_messages") == 3
    assert asked.value("wyoming_connections") == 5
    assert asked.value("browsers") == 6


def test_the_rung_in_use_is_marked() -> None:
    asked = Asked()
    (rung,) = asked.service.rung_status.rungs
    assert asked.value("rung_active", rung=rung.name, model=rung.model) == 1
    asked.service.rung_status = replace(asked.service.rung_status, active="another")
    assert asked.value("rung_active", rung=rung.name, model=rung.model) == 0


def test_the_names_of_devices_and_what_they_say_make_no_new_series() -> None:
    asked = Asked(workers=1)
    before = asked.series
    names = ["kitchen", 'a"b', "a\nb", "ü" * 64, "", *(f"room-{number}" for number in range(200))]
    for name in names:
        for door in DOORS:
            key = DeviceKey(door, name, part=name)
            asked.service.start(key, UtteranceStart(id=name, language=name or None))
            asked.service.chunk(key, bytes(3200), None, None)
            asked.service.stop(key, None, None)
    while asked.pool.submitted:
        asked.answer(replace(heard(f'"{names[1]}"'), model="other", rung="other"))
    for error in ERRORS:
        asked.service.answer_error(KITCHEN, UtteranceStart(), error)
    for reason in DropReason:
        asked.service.metrics.drop(reason)
    assert sum(asked.service.metrics.outcomes.values()) > 600
    assert asked.series == before
    assert len(before) < 500


def test_every_outcome_and_every_door_is_there_from_the_start() -> None:
    asked = Asked(workers=0)
    for door in DOORS:
        for kind in OutcomeKind:
            assert asked.value("utterances_total", door=door, kind=kind.value) == 0


def test_the_lag_of_the_event_loop_is_measured_every_second() -> None:
    lag = LoopLag()

    async def scenario() -> None:
        measuring = asyncio.create_task(lag.measure())
        await asyncio.sleep(10 * INTERVAL_S + 0.5)
        measuring.cancel()

    run_in_virtual_time(scenario())
    assert lag.histogram.count == 10
    assert lag.last_s == pytest.approx(0.0, abs=1e-6)


FLEET_METRICS = {
    "fleet_connected": 1,
    "fleet_leads": 1,
    "fleet_gateways": 1,
    "fleet_workers": 2,
    "fleet_threads": 6,
    "fleet_busy_threads": 2,
    "fleet_slots": 12,
    "fleet_in_flight": 1,
    "fleet_late_total": 3,
    "fleet_again_total": 4,
}


def test_a_fleet_adds_its_own_series_and_no_label_has_the_name_of_a_worker() -> None:
    asked = Asked()
    alone = asked.series
    asked.fleet = fleet_of(WORKER, worker("attic", threads=2), late=3, again=4)
    assert {name: asked.value(name) for name in FLEET_METRICS} == FLEET_METRICS
    assert asked.series - alone == {(f"stt_mqtt_{name}", ()) for name in FLEET_METRICS}
    asked.fleet = fleet_of(*(worker(f"worker-{number}") for number in range(200)))
    assert len(asked.series) == len(alone) + len(FLEET_METRICS)
    assert asked.value("fleet_workers") == 200


# Alive -----------------------------------------------------------------------------------------


def test_a_service_is_alive_while_it_loads_its_model_and_its_broker_is_away() -> None:
    asked = Asked(workers=0)
    asked.connections = replace(WELL, is_connected=False, is_online=False)
    assert asked.machines.health() is None


def test_a_service_that_has_more_to_do_than_it_can_is_alive() -> None:
    asked = Asked(workers=1)
    for number in range(50):
        asked.say_once(DeviceKey("native", f"room-{number}"))
    assert asked.machines.health() is None


def test_an_event_loop_that_is_late_is_not_alive_until_it_keeps_up() -> None:
    asked = Asked()
    asked.lag.last_s = MAX_LAG_S + 2
    assert asked.machines.health() == "The event loop is 7 s late."
    asked.lag.last_s = 0.01
    assert asked.machines.health() is None


def test_a_thread_that_hangs_is_told_until_it_answers() -> None:
    asked = Asked(limits={"inference_timeout_s": 60.0})
    asked.say_once()
    asked.pass_time(59.0)
    assert asked.machines.health() is None
    asked.pass_time(2.0)
    assert asked.machines.health() == "1 of 2 inference threads hang."
    assert asked.value("hanging_threads") == 1
    asked.answer()
    assert asked.machines.health() is None


def test_without_the_thread_that_connects_nothing_comes_back_by_itself() -> None:
    asked = Asked()
    asked.connections = replace(WELL, thread_is_alive=False)
    assert asked.machines.health() == "The thread of the connection to the broker has ended."


def test_a_network_thread_that_hangs_is_told() -> None:
    asked = Asked()
    asked.connections = replace(WELL, thread_hangs=True)
    assert asked.machines.health() == "The thread of the connection to the broker hangs."


def test_a_gateway_is_alive_without_workers_and_servers() -> None:
    asked = Asked(workers=0, fleet={"role": "gateway"})
    for fleet in (fleet_of(), fleet_of(connected=False)):
        asked.fleet = fleet
        assert asked.machines.health() is None


def test_a_job_that_takes_long_at_a_worker_is_no_reason_to_restart_the_gateway() -> None:
    asked = Asked(fleet={"role": "gateway"}, limits={"inference_timeout_s": 60.0})
    asked.fleet = FLEET
    asked.say_once()
    asked.pass_time(61.0)
    assert not asked.service.scheduler.healthy
    assert asked.machines.health() is None


# Ready -----------------------------------------------------------------------------------------


def test_a_service_is_ready_when_its_model_has_heard_a_sample() -> None:
    assert Asked().readiness() is None


@pytest.mark.parametrize(
    ("connections", "sentence"),
    [
        (
            replace(WELL, is_connected=False),
            "The broker at localhost:1883 is away: satellites are not heard.",
        ),
        (
            replace(WELL, is_online=False),
            "The service has not yet announced itself on the broker.",
        ),
        (replace(WELL, is_stopping=True), "The service is stopping."),
    ],
    ids=["away", "not online", "stopping"],
)
def test_it_is_not_ready_while_satellites_cannot_reach_it(
    connections: Connections, sentence: str
) -> None:
    asked = Asked()
    asked.connections = connections
    assert asked.readiness() == sentence
    assert asked.service.scheduler.batches.count == 0


def test_it_is_not_ready_while_the_model_loads() -> None:
    asked = Asked(workers=0)
    asked.connections = replace(WELL, is_connected=False)
    assert asked.readiness() == "The model is still being loaded."


def test_it_is_not_ready_if_the_model_hears_nothing_in_the_sample() -> None:
    asked = Asked()

    async def scenario() -> str | None:
        asking = asyncio.ensure_future(asked.machines.readiness())
        await asyncio.sleep(0)
        asked.answer(nothing_heard())
        return await asking

    assert run_in_virtual_time(scenario()) == "The model heard no words in the sample."


def test_a_gateway_is_ready_when_a_worker_takes_jobs_and_asks_no_model() -> None:
    asked = Asked(workers=0, fleet={"role": "gateway"})
    asked.fleet = FLEET
    assert asked.readiness() is None


def test_a_gateway_without_workers_is_not_ready() -> None:
    asked = Asked(workers=0, fleet={"role": "gateway"})
    assert asked.readiness() == "The service has not yet joined its fleet."
    asked.fleet = fleet_of()
    assert asked.readiness() == "No worker of the fleet is there."
    asked.connections = replace(WELL, is_connected=False)
    sentence = "The broker at localhost:1883 is away: satellites are not heard."
    assert asked.readiness() == sentence


def test_with_threads_of_its_own_a_service_is_ready_without_workers() -> None:
    for threads, sentence in ((2, None), (0, "The model is still being loaded.")):
        asked = Asked(threads, fleet={"role": "both"})
        asked.fleet = fleet_of(connected=False)
        assert asked.readiness() == sentence
