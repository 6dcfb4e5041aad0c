"""The running program publishes the text so far while somebody speaks."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from stt_mqtt.demo.samples import SAMPLES
from tests.core.speech import chunks_of, quiet, spoken
from tools.brokers import Broker, eventually
from tools.program import Peer, running

PARTIAL = "stt/kitchen/partial"
PATIENT = {"kitchen": {"partials": True, "idle_timeout_ms": 60_000, "endpointing": "silence"}}


def await_more_than(revisions: int, reader: Peer) -> None:
    """Let the speaker pause for as long as the machine needs."""
    eventually(lambda: len(reader.payloads(PARTIAL)) > revisions)


def test_a_device_with_partials_gets_revisions_before_its_result(
    tmp_path: Path, broker: Broker
) -> None:
    reader = Peer(broker, PARTIAL)
    with running(tmp_path, broker, devices=PATIENT) as (_, peer):
        peer.publish("stt/kitchen/audio/start", json.dumps({"id": "a"}))
        chunks = chunks_of(quiet(0.3) + spoken(1) + quiet(0.3))
        middle = len(chunks) * 2 // 3
        for part in (chunks[:middle], chunks[middle:]):
            before = len(reader.payloads(PARTIAL))
            for chunk in part:
                peer.publish("stt/kitchen/audio", chunk)
            await_more_than(before, reader)
        peer.publish("stt/kitchen/audio/stop", json.dumps({"id": "a"}))
        (result,) = peer.json("stt/kitchen/result", 1)
        assert result["text"].lower().rstrip(".") == SAMPLES[1].text.lower().rstrip(".")
        partials = reader.json(PARTIAL)
        assert [one["id"] for one in partials] == ["a"] * len(partials)
        assert [one["revision"] for one in partials] == list(range(1, len(partials) + 1))
        for one, after in pairwise(partials):
            assert after["text"].startswith(one["text"][: one["stable"]])
            assert after["stable"] >= one["stable"]
    reader.close()
