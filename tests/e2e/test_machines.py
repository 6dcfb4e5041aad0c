"""The installed program with its model, as Prometheus and a supervisor see it."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.stages import Stage
from tools.brokers import Broker, eventually, free_port
from tools.http import get
from tools.program import running


def scraped(port: int) -> list[Sample]:
    answer = get(port, "/metrics")
    assert answer.status == 200
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return [sample for family in families for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    (found,) = [
        sample.value
        for sample in samples
        if sample.name == f"stt_mqtt_{name}" and sample.labels == labels
    ]
    return found


def test_a_service_is_ready_and_its_figures_tell_what_it_did(
    tmp_path: Path, broker: Broker
) -> None:
    port = free_port()
    with running(tmp_path, broker, web={"port": port}) as (_, peer):
        assert get(port, "/healthz").status == 200
        ready = get(port, "/readyz")
        assert (ready.status, ready.text) == (200, "The service is ready.\n")
        assert value(scraped(port), "utterances_total", door="native", kind="transcript") == 0
        peer.publish("stt/a room/utterance", SAMPLES[0].read())
        peer.publish("stt/kitchen/utterance", SAMPLES[0].read())
        peer.publish("stt/kitchen/utterance", b"RIFF")
        assert [result["outcome"] for result in peer.json("stt/kitchen/result", count=2)] == [
            "transcript",
            "error",
        ]
        eventually(lambda: value(scraped(port), "stage_seconds_count", stage="publish") == 2)
        published = scraped(port)
        assert value(published, "utterances_total", door="native", kind="transcript") == 1
        assert value(published, "utterances_total", door="native", kind="error") == 1
        assert value(published, "dropped_total", reason="bad_name") == 1
        assert value(published, "rung_active", rung="default", model="tiny.en") == 1
        for stage in (Stage.DECODE, Stage.GATE, Stage.ENCODE, Stage.DECODE_TEXT, Stage.JUDGE):
            assert value(published, "stage_seconds_sum", stage=stage.value) > 0
        assert not any("kitchen" in label for s in published for label in s.labels.values())


def test_a_broker_that_is_away_makes_it_unready_but_is_no_reason_to_restart_it(
    tmp_path: Path, broker: Broker
) -> None:
    port = free_port()
    with running(tmp_path, broker, web={"port": port}):
        assert get(port, "/readyz").status == 200
        broker.stop()
        away = eventually(
            lambda: answer if (answer := get(port, "/readyz")).status == 503 else None
        )
        assert away is not None
        assert away.text.startswith(f"The broker at {broker.host}:{broker.port} is away")
        assert get(port, "/healthz").status == 200
        assert value(scraped(port), "broker_connected") == 0
        broker.start()
        eventually(lambda: get(port, "/readyz").status == 200)
        assert value(scraped(port), "broker_connections_total") >= 2
