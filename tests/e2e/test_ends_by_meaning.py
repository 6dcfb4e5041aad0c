"""The running program ends an utterance when it has heard a whole phrase."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.demo.samples import SAMPLES
from tests.core.speech import BYTES_PER_S, CHUNK_S, chunks_of, quiet, spoken
from tools.brokers import Broker, eventually
from tools.program import Peer, running

SET = "stt/kitchen/satellite/set"
LAMP = next(number for number, sample in enumerate(SAMPLES) if "lamp" in sample.text)
PHRASE = "turn off the living room lamp"
LONGER = f"{PHRASE} and the heating"


def book_of(tmp_path: Path, *sentences: str) -> dict[str, Any]:
    book = tmp_path / "home.yaml"
    listed = ", ".join(f'"{sentence}"' for sentence in sentences)
    book.write_text(f"language: en\nintents:\n  Off: {{data: [{{sentences: [{listed}]}}]}}\n")
    return {"paths": [str(book)]}


def say(peer: Peer, pcm: bytes) -> None:
    """Publish audio in real time, as a satellite does."""
    began_at = time.monotonic()
    for number, chunk in enumerate(chunks_of(pcm), start=1):
        time.sleep(max(began_at + number * CHUNK_S - time.monotonic(), 0.0))
        peer.publish("stt/kitchen/audio", chunk)


@pytest.mark.parametrize("silence_s", [0.12, 2.0], ids=["held back", "sent"])
def test_a_whole_phrase_needs_no_stop(tmp_path: Path, broker: Broker, silence_s: float) -> None:
    satellite = Peer(broker, SET)
    with running(tmp_path, broker, phrases=book_of(tmp_path, PHRASE)) as (_, peer):
        peer.publish("stt/kitchen/audio/start", json.dumps({"id": "a"}))
        words = quiet(0.3) + spoken(LAMP)
        say(peer, words + quiet(silence_s))
        (result,) = peer.json("stt/kitchen/result", 1)
        assert (result["id"], result["end"]) == ("a", "endpoint")
        assert result["phrase"]["id"] == "Off"
        assert satellite.json(SET) == [{"ended": "a"}]
        assert result["audio_s"] <= len(words) / BYTES_PER_S + silence_s
    satellite.close()


def test_a_phrase_with_which_a_longer_one_begins_waits_for_the_stop(
    tmp_path: Path, broker: Broker
) -> None:
    satellite = Peer(broker, SET)
    with running(tmp_path, broker, phrases=book_of(tmp_path, PHRASE, LONGER)) as (_, peer):
        peer.publish("stt/kitchen/audio/start", json.dumps({"id": "a"}))
        say(peer, quiet(0.3) + spoken(LAMP) + quiet(1.5))
        peer.publish("stt/kitchen/audio/stop")
        (result,) = peer.json("stt/kitchen/result", 1)
        assert (result["end"], result["phrase"]["id"]) == ("stop", "Off")
        eventually(lambda: peer.payloads("stt/kitchen/state")[-1] == b"idle")
        assert satellite.payloads(SET) == []
    satellite.close()
