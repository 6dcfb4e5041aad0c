"""All doors of one running service at once, each spoken to by the software that people use."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import threading
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error

from stt_mqtt.audio.decode import decode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE, EncodedAudio
from tools.brokers import MOSQUITTO, Broker, EmbeddedProcess, Mosquitto, eventually, free_port
from tools.program import PATIENT, Peer, Service, await_online
from tools.words import words

RHASSPY = os.environ.get("STT_MQTT_RHASSPY_PYTHON")
"""Python of a virtual environment with rhasspy-hermes."""
SPEECH = os.environ.get("STT_MQTT_SPEECH")
CLIPS = 3
CLEAR = ("is_the_Garage_Door_open", "lock_the_Front_Door", "set_a_timer_for_5_minutes")
"""Recordings that are not decoded again. A doubtful one is, if nobody waits at that moment."""
CHUNK_BYTES = 2048
TIMEOUT_S = 60.0

needs_rhasspy = pytest.mark.skipif(
    RHASSPY is None,
    reason="needs STT_MQTT_RHASSPY_PYTHON, the Python of a place where rhasspy-hermes is installed",
)
needs_speech = pytest.mark.skipif(SPEECH is None, reason="needs STT_MQTT_SPEECH")


@dataclass(frozen=True, slots=True)
class RunningService:
    """A running service with all its doors."""

    broker: Broker
    peer: Peer
    service: Service
    port: int
    """Of Wyoming."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("running")
    broker = EmbeddedProcess(folder) if MOSQUITTO is None else Mosquitto(folder)
    broker.start()
    port = free_port()
    peer = Peer(
        broker,
        "stt/+/result",
        "stt/bridge/state",
        "stt/bridge/response/+",
        "hermes/asr/textCaptured",
        "hermes/error/asr",
        "homeassistant/#",
    )
    wyoming = {"listen": [f"tcp://127.0.0.1:{port}"]}
    service = Service(folder, broker, wyoming=wyoming, limits=PATIENT)
    try:
        await_online(service, peer)
        yield RunningService(broker, peer, service, port)
    finally:
        service.stop()
        peer.close()
        broker.stop()


def wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm)
    return buffer.getvalue()


def recordings() -> list[bytes]:
    """Some real commands as PCM: of people where there are any, else of the package."""
    if SPEECH is None:
        return [sample.pcm() for sample in SAMPLES[:CLIPS]]
    folder = Path(SPEECH)
    rows = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    found = []
    for path in (folder / row["path"] for row in rows if row["id"].endswith(CLEAR)):
        samples = decode(EncodedAudio(None, path.read_bytes()), 30.0).samples
        found.append((samples * 32767).astype("<i2").tobytes())
    return found


async def home_assistant_hears(port: int, pcm: bytes) -> str:
    """What Home Assistant's pipeline gets over Wyoming, in the order in which it asks."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(language="en-US").event())
        await client.write_event(AudioStart(SAMPLE_RATE, 2, 1).event())
        for start in range(0, len(pcm), CHUNK_BYTES):
            chunk = AudioChunk(SAMPLE_RATE, 2, 1, pcm[start : start + CHUNK_BYTES])
            await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())
        while True:
            event = await asyncio.wait_for(client.read_event(), TIMEOUT_S)
            assert event is not None, "the connection was closed"
            assert not Error.is_type(event.type), event.data
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text


def rhasspy_hears(broker: Broker, sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the real Rhasspy library sees of these sessions, in order."""
    assert RHASSPY is not None
    program = Path(__file__).with_name("rhasspy_dialogue.py")
    done = subprocess.run(
        [RHASSPY, program, broker.host, str(broker.port)],
        input=json.dumps(sessions).encode(),
        capture_output=True,
        timeout=2 * TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def render(template: str, payload: bytes) -> Any:
    """A value template as Home Assistant renders it."""
    environment = jinja2.Environment(autoescape=False)
    environment.filters["to_json"] = json.dumps
    environment.filters["combine"] = lambda one, other: one | other
    value = payload.decode()
    return environment.from_string(template).render(value=value, value_json=json.loads(value))


@needs_rhasspy
@needs_speech
def test_the_same_words_come_out_of_every_door_at_once(
    running: RunningService, tmp_path: Path
) -> None:
    clips = recordings()
    assert len(clips) == CLIPS
    sessions = []
    for number, pcm in enumerate(clips):
        file = tmp_path / f"{number}.wav"
        file.write_bytes(wav(pcm))
        sessions.append(
            {
                "site": f"site{number}",
                "session": f"session-{number}",
                "wav": str(file),
                "stop_on_silence": False,
            }
        )
    hermes: list[dict[str, Any]] = []
    rhasspy = threading.Thread(
        target=lambda: hermes.extend(rhasspy_hears(running.broker, sessions))
    )
    rhasspy.start()
    for number, pcm in enumerate(clips):
        running.peer.publish(f"stt/room{number}/utterance", wav(pcm))

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(home_assistant_hears(running.port, pcm) for pcm in clips))

    wyoming = asyncio.run(all_at_once())
    rhasspy.join()

    texts = {
        message["session"]: message["text"]
        for message in hermes
        if message["type"] == "AsrTextCaptured"
    }
    for number in range(CLIPS):
        (result,) = running.peer.payloads(f"stt/room{number}/result")
        native = json.loads(result)["text"]
        assert native
        assert words(wyoming[number]) == words(native)
        assert words(texts[f"session-{number}"]) == words(native)
        (config,) = set(running.peer.payloads(f"homeassistant/device/stt_mqtt_room{number}/config"))
        events = [part for part in json.loads(config)["cmps"].values() if part.get("p") == "event"]
        event = json.loads(render(events[0]["val_tpl"], result))
        assert (event["event_type"], event["text"]) == ("transcript", native)


@needs_rhasspy
def test_rhasspy_gets_each_message_of_a_session_once_and_in_order(
    running: RunningService, tmp_path: Path
) -> None:
    sessions = []
    for number, stops in enumerate((True, False)):
        pcm = SAMPLES[number].pcm() + bytes(2 * SAMPLE_RATE * 2)
        file = tmp_path / f"{number}.wav"
        file.write_bytes(wav(pcm))
        sessions.append(
            {
                "site": f"den{number}",
                "session": f"den-{number}",
                "wav": str(file),
                "stop_on_silence": stops,
            }
        )
    seen = rhasspy_hears(running.broker, sessions)
    for number in range(2):
        mine = [message for message in seen if message["session"] == f"den-{number}"]
        assert [message["type"] for message in mine] == [
            "AsrRecordingFinished",
            "AsrTextCaptured",
            "AsrAudioCaptured",
        ]
        assert words(mine[1]["text"]) == words(SAMPLES[number].text)
        assert mine[1]["wakeword"] == "porcupine"
        assert 0 < mine[1]["likelihood"] <= 1
        assert mine[2]["bytes"] > 2 * SAMPLE_RATE


def test_home_assistant_is_told_again_when_it_starts_and_nothing_lies_under_its_devices(
    running: RunningService,
) -> None:
    topic = "homeassistant/device/stt_mqtt_bridge/config"
    before = len(running.peer.payloads(topic))
    running.peer.publish("homeassistant/status", "online")
    eventually(lambda: len(running.peer.payloads(topic)) > before)


def test_health_counts_by_door(running: RunningService) -> None:
    asyncio.run(home_assistant_hears(running.port, SAMPLES[0].pcm()))
    running.peer.publish("stt/bridge/request/health_check", b"{}")
    (answer, *_) = running.peer.json("stt/bridge/response/health_check")
    assert answer["data"]["doors"]["wyoming"]["transcript"] >= 1
