"""Real recordings through the installed program, a real broker and the real model."""

from __future__ import annotations

import io
import json
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import MOSQUITTO, EmbeddedProcess, Mosquitto, eventually, needs_mosquitto
from tools.program import Peer, running
from tools.words import words

SAMPLE = SAMPLES[0]
PCM = SAMPLE.pcm()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One service for all tests of this module; each test uses a device of its own."""
    folder = tmp_path_factory.mktemp("service")
    broker = EmbeddedProcess(folder) if MOSQUITTO is None else Mosquitto(folder)
    broker.start()
    try:
        # No pause between two chunks of a test is as long, however busy the machine.
        with running(folder, broker, device_defaults={"gap_timeout_ms": 3000}) as (_, peer):
            yield peer
    finally:
        broker.stop()


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


def result_of(peer: Peer, room: str) -> dict[str, Any]:
    (result,) = peer.json(f"stt/{room}/result")
    return result


def encoded(container: str, codec: str, rate: int = 48_000) -> bytes:
    """The sample in a container, made with PyAV as an encoder independent of our decoders."""
    buffer = io.BytesIO()
    samples = np.frombuffer(PCM, "<i2").reshape(1, -1)
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16", "mono")
        frame.rate = 16_000
        resampler = av.AudioResampler(stream.format, stream.layout, rate)
        fifo = av.AudioFifo()
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            fifo.write(resampled)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size)) is not None or (part := fifo.read()) is not None:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def test_chunks_between_start_and_stop_are_transcribed(peer: Peer, room: str) -> None:
    peer.publish(f"stt/{room}/audio/start", json.dumps({"id": "one"}))
    for offset in range(0, len(PCM), 1024):
        peer.publish(f"stt/{room}/audio", PCM[offset : offset + 1024])
    peer.publish(f"stt/{room}/audio/stop")
    result = result_of(peer, room)
    assert (result["id"], result["outcome"], result["end"]) == ("one", "transcript", "stop")
    assert words(result["text"]) == words(SAMPLE.text)
    assert result["audio_s"] == pytest.approx(len(PCM) / 32_000, abs=0.001)
    assert peer.payloads(f"stt/{room}/text") == [result["text"].encode()]
    eventually(lambda: b"idle" in peer.payloads(f"stt/{room}/state"))
    assert peer.payloads(f"stt/{room}/state") == [b"listening", b"transcribing", b"idle"]


def test_bare_chunks_are_transcribed_after_the_gap(peer: Peer, room: str) -> None:
    for offset in range(0, len(PCM), 4096):
        peer.publish(f"stt/{room}/audio", PCM[offset : offset + 4096])
    result = result_of(peer, room)
    assert (words(result["text"]), result["end"]) == (words(SAMPLE.text), "gap")


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 16_000),
        ("wav", "pcm_f32le", 44_100),
        ("flac", "flac", 48_000),
        ("ogg", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("mp3", "libmp3lame", 44_100),
    ],
)
def test_a_whole_utterance_is_known_by_its_container(
    peer: Peer, room: str, container: str, codec: str, rate: int
) -> None:
    peer.publish(f"stt/{room}/utterance", encoded(container, codec, rate))
    result = result_of(peer, room)
    assert (words(result["text"]), result["end"]) == (words(SAMPLE.text), "single")


@pytest.mark.parametrize("container", ["webm", "ogg", "flac"])
def test_a_container_may_come_in_chunks(peer: Peer, room: str, container: str) -> None:
    data = encoded(container, "flac" if container == "flac" else "libopus")
    peer.publish(f"stt/{room}/audio/start", json.dumps({"codec": container}))
    for offset in range(0, len(data), 3000):
        peer.publish(f"stt/{room}/audio", data[offset : offset + 3000])
    peer.publish(f"stt/{room}/audio/stop", json.dumps({"chunks": -(-len(data) // 3000)}))
    assert words(result_of(peer, room)["text"]) == words(SAMPLE.text)


def test_numbered_chunks_may_come_out_of_order_and_twice(peer: Peer, room: str) -> None:
    parts = [PCM[offset : offset + 2048] for offset in range(0, len(PCM), 2048)]
    order = list(range(len(parts)))
    order[3:9] = reversed(order[3:9])
    peer.publish(f"stt/{room}/audio/start", json.dumps({"framing": "seq32"}))
    for number in [0, *order]:
        peer.publish(f"stt/{room}/audio", struct.pack("<I", number) + parts[number])
    peer.publish(f"stt/{room}/audio/stop", json.dumps({"chunks": len(parts)}))
    result = result_of(peer, room)
    assert (words(result["text"]), result["lost_chunks"]) == (words(SAMPLE.text), 0)


def test_silence_is_no_speech_and_costs_no_inference(peer: Peer, room: str) -> None:
    peer.publish(f"stt/{room}/utterance", bytes(64_000))
    result = result_of(peer, room)
    assert (result["outcome"], result["text"], result["infer_s"]) == ("no_speech", "", None)
    assert peer.payloads(f"stt/{room}/text") == []


def test_an_abort_is_answered_without_a_transcript(peer: Peer, room: str) -> None:
    peer.publish(f"stt/{room}/audio", PCM)
    peer.publish(f"stt/{room}/audio/abort")
    result = result_of(peer, room)
    assert (result["outcome"], result["end"]) == ("aborted", None)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "corrupt_audio"),
        (b"OggS" + bytes(100), "corrupt_audio"),
        (b"fLaC" + b"\xff" * 200, "corrupt_audio"),
        (b"\x1a\x45\xdf\xa3" + b"\x01" * 50, "corrupt_audio"),
        (bytes(1000), "too_short"),
        (b"", "too_short"),
    ],
)
def test_bytes_that_are_no_audio_get_a_clear_error(
    peer: Peer, room: str, payload: bytes, code: str
) -> None:
    peer.publish(f"stt/{room}/utterance", payload)
    error = result_of(peer, room)["error"]
    assert error["code"] == code
    assert error["detail"]


@needs_mosquitto
def test_a_reply_is_sent_where_an_mqtt_5_request_asks_for_it(peer: Peer, room: str) -> None:
    peer.publish(
        f"stt/{room}/utterance",
        PCM,
        ResponseTopic=f"stt/{room}/reply/7",
        CorrelationData=b"seven",
        ContentType="pcm_s16le;rate=16000;channels=1",
    )
    (reply,) = peer.json(f"stt/{room}/reply/7")
    assert reply == result_of(peer, room)
    message = next(m for m in peer.messages if m.topic == f"stt/{room}/reply/7")
    assert message.properties is not None
    assert getattr(message.properties, "CorrelationData", None) == b"seven"


def test_a_muted_device_answers_disabled_until_it_is_enabled(peer: Peer, room: str) -> None:
    peer.publish(f"stt/{room}/set", json.dumps({"enabled": False}))
    peer.publish(f"stt/{room}/utterance", PCM)
    assert result_of(peer, room)["error"]["code"] == "disabled"
    peer.publish(f"stt/{room}/set", json.dumps({"enabled": None}))
    peer.publish(f"stt/{room}/utterance", PCM)
    assert words(peer.json(f"stt/{room}/result", count=2)[1]["text"]) == words(SAMPLE.text)
    settings = peer.json(f"stt/{room}/settings", count=2)
    assert [change["enabled"] for change in settings] == [False, True]


def test_requests_to_the_bridge_are_answered(peer: Peer) -> None:
    peer.publish("stt/bridge/request/health_check", json.dumps({"transaction": 9}))
    (response,) = peer.json("stt/bridge/response/health_check")
    assert (response["status"], response["transaction"]) == ("ok", 9)
    assert response["data"]["rss_mb"] > 50


def test_hostile_messages_harm_nobody_else(peer: Peer, room: str) -> None:
    for topic, payload in [
        ("stt/bad/audio/start", b"\xff\xfe"),
        ("stt/bad/audio/start", b'{"rate": 1e400}'),
        ("stt/bad/audio/start", b"[" * 10_000),
        ("stt/bad/audio/stop", b'{"chunks": "many"}'),
        ("stt/bad/set", b'{"enabled": "perhaps"}'),
        ("stt/bad/availability", b"\x00" * 1000),
        ("stt/bad/audio/unheard/of", b"x"),
        ("stt/b d/audio", b"x"),
        ("stt/bad/utterance", bytes(range(256)) * 400),
        ("stt/bridge/request/dance", b"{}"),
        ("stt/bridge/audio", b"x" * 100),
    ]:
        peer.publish(topic, payload)
    peer.publish(f"stt/{room}/utterance", PCM)
    assert words(result_of(peer, room)["text"]) == words(SAMPLE.text)
    codes = [
        result["error"]["code"]
        for result in peer.json("stt/bad/result", count=6)
        if result["error"]
    ]
    assert codes.count("bad_payload") == 6


def test_every_sample_command_is_understood(peer: Peer) -> None:
    for sample in SAMPLES:
        room = sample.file.removesuffix(".flac")
        peer.publish(f"stt/{room}/utterance", sample.read())
        assert words(result_of(peer, room)["text"]) == words(sample.text)


def test_the_log_of_the_service_holds_no_words(
    peer: Peer, room: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    peer.publish(f"stt/{room}/utterance", PCM)
    result_of(peer, room)
    logs: list[Path] = list(tmp_path_factory.getbasetemp().glob("service*/service.log"))
    # The service writes its log in a thread of its own.
    eventually(lambda: any(room in log.read_text() for log in logs))
    for log in logs:
        assert " ".join(words(SAMPLE.text)) not in " ".join(words(log.read_text()))
