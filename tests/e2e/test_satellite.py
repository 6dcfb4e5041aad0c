"""The satellite as a program, with the real service and the real broker."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_mqtt.demo.samples import SAMPLES
from tests.e2e.test_ends_by_meaning import PHRASE, SET, book_of
from tools.brokers import Mosquitto, eventually, needs_mosquitto, never
from tools.program import Peer, running
from tools.satellite import SatelliteProcess, scene
from tools.words import words

pytestmark = needs_mosquitto
AWAY_S = 18.0
"""So that the first command of that time is older than `max_queue_age_s` when it is sent."""
LAMP, MUSIC = 3, 5
"""Samples. Between their words there are 1.25 s of silence."""
PATIENT_HANGOVER_MS = "1000"
"""Shorter than that silence, and long enough for a busy machine to hear what was said before it."""
BOTH_S = 4.0
"""From the first word of the one to the last word of the other, and a little less."""
LEAST_EXACT = 7
"""Of nine: the synthetic voices lose a word now and then when the silence around them changes."""


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def test_every_command_of_a_recording_is_heard_once_and_the_satellite_ends(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with running(tmp_path, mosquitto) as (_, peer):
        satellite = SatelliteProcess(
            tmp_path, mosquitto, "kitchen", "--file", str(scene(tmp_path)), "--fast"
        )
        lines = satellite.end()
        assert satellite.process.returncode == 0, satellite.log
        assert len(lines) == len(SAMPLES)
        pairs = zip(lines, SAMPLES, strict=True)
        exact = sum(words(line) == words(sample.text) for line, sample in pairs)
        assert exact >= LEAST_EXACT, lines
        results = peer.json("stt/kitchen/result", len(SAMPLES))
        assert [result["end"] for result in results] == ["stop"] * len(SAMPLES)
        assert not any(result["lost_chunks"] or result["truncated"] for result in results)


def test_the_service_ends_an_utterance_and_the_satellite_stops_sending_it(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with running(tmp_path, mosquitto, phrases=book_of(tmp_path, PHRASE)) as (_, peer):
        told = Peer(mosquitto, SET, "stt/kitchen/audio/stop")
        recording = scene(tmp_path, [SAMPLES[LAMP]])
        satellite = SatelliteProcess(tmp_path, mosquitto, "kitchen", "--file", str(recording))
        lines = satellite.end()
        (result,) = peer.json("stt/kitchen/result", 1)
        told.close()
    assert satellite.process.returncode == 0, satellite.log
    assert (lines, result["end"]) == ([result["text"]], "endpoint")
    assert told.json(SET) == [{"ended": result["id"]}]
    assert told.payloads("stt/kitchen/audio/stop") == []


def test_the_satellite_waits_longer_after_the_beginning_of_a_phrase(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    book = book_of(tmp_path, f"{PHRASE} and play some music")
    with running(tmp_path, mosquitto, phrases=book) as (service, peer):
        told = Peer(mosquitto, SET)
        recording = scene(tmp_path, [SAMPLES[LAMP], SAMPLES[MUSIC]], pause_s=0.0)
        satellite = SatelliteProcess(
            tmp_path,
            mosquitto,
            *("kitchen", "--file", str(recording)),
            SATELLITE__VAD__HANGOVER_MS=PATIENT_HANGOVER_MS,
        )
        lines = satellite.end()
        results = peer.json("stt/kitchen/result", 1)
        told.close()
    assert told.json(SET)[0] == {"open": results[0]["id"]}
    assert len(lines) == len(results) == 1, service.log
    assert results[0]["audio_s"] >= BOTH_S
    assert results[0]["lost_chunks"] == 0


def test_opus_with_qos_0_from_standard_input_gets_its_words_to_a_command(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    spoken = tmp_path / "spoken.txt"
    write = f"open({str(spoken)!r}, 'a').write(__import__('sys').argv[1] + '\\n')"
    command = f'{sys.executable} -c "{write}" {{text}}'
    sample = SAMPLES[1]
    with running(tmp_path, mosquitto):
        satellite = SatelliteProcess(
            tmp_path, mosquitto, "pi", "--stdin", "--on-text", command, SATELLITE__QOS="0"
        )
        assert satellite.process.stdin is not None
        satellite.process.stdin.write(scene(tmp_path, [sample]).read_bytes())
        lines = satellite.end()
    assert satellite.process.returncode == 0, satellite.log
    assert [words(line) for line in lines] == [words(sample.text)]
    assert spoken.read_text() == f"{lines[0]}\n"


def test_who_is_muted_over_mqtt_sends_nothing_and_says_so(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    peer = Peer(mosquitto, "stt/+/satellite/state", "stt/+/availability", "stt/+/audio/#")
    try:
        peer.publish("stt/kitchen/satellite/set", '{"muted": true}', retain=True)
        satellite = SatelliteProcess(
            tmp_path, mosquitto, "kitchen", "--file", str(scene(tmp_path, SAMPLES[:1])), "--fast"
        )
        assert satellite.end() == []
        eventually(lambda: peer.payloads("stt/kitchen/availability")[-1:] == [b"offline"])
        states = [json.loads(payload) for payload in peer.payloads("stt/kitchen/satellite/state")]
        assert states[-1]["muted"] is True
        assert not peer.payloads("stt/kitchen/audio/start")
    finally:
        peer.close()


def test_what_is_said_while_the_broker_is_away_is_transcribed_when_it_is_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    samples = SAMPLES[:4]
    with running(tmp_path, mosquitto, limits={}) as (service, peer):
        satellite = SatelliteProcess(
            tmp_path, mosquitto, "kitchen", "--file", str(scene(tmp_path, samples))
        )
        peer.json("stt/kitchen/result", 1)
        mosquitto.stop()
        # It goes on listening in real time, so two or three commands are said meanwhile.
        never(lambda: satellite.process.poll() is not None, within_s=AWAY_S)
        mosquitto.start()
        lines = satellite.end(120)
    assert satellite.process.returncode == 0, satellite.log
    assert len(lines) == len(samples), service.log
    assert words(lines[0]) == words(samples[0].text)


def test_what_a_service_that_was_killed_had_not_answered_is_transcribed_by_the_next_one(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    samples = SAMPLES[:3]
    (tmp_path / "next").mkdir()
    peer = Peer(mosquitto, "stt/kitchen/state")
    try:
        with running(tmp_path, mosquitto) as (first, _):
            satellite = SatelliteProcess(
                tmp_path, mosquitto, "kitchen", "--file", str(scene(tmp_path, samples))
            )
            # The first is answered, and the second one is being said.
            eventually(lambda: peer.payloads("stt/kitchen/state").count(b"listening") >= 2)
            first.process.kill()
            first.process.wait()
            with running(tmp_path / "next", mosquitto) as (second, _):
                lines = satellite.end(120)
    finally:
        peer.close()
    assert satellite.process.returncode == 0, satellite.log
    assert len(lines) == len(samples), second.log
    assert "no result" not in satellite.log


def test_what_was_answered_is_not_sent_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    samples = SAMPLES[:2]
    with running(tmp_path, mosquitto) as (_, peer):
        satellite = SatelliteProcess(
            tmp_path, mosquitto, "kitchen", "--file", str(scene(tmp_path, samples))
        )
        lines = satellite.end()
        results = peer.json("stt/kitchen/result", len(samples))
        never(lambda: len(peer.payloads("stt/kitchen/result")) > len(samples), within_s=1.0)
    assert len(lines) == len(samples)
    assert not any(result["repeated"] or result["incomplete"] for result in results)
