"""The example of the wake word page does what the page says, with the real detector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stt_mqtt.audio.decode import decode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE, EncodedAudio
from tools.brokers import Broker, eventually, free_port
from tools.program import Peer

pytest.importorskip("pyopen_wakeword", reason="needs pyopen-wakeword (pip install '.[dev]')")

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "wake" / "wake.py"
TOPIC = "stt/kitchen/satellite/set"
SILENCE = bytes(2 * SAMPLE_RATE)


def wake_word() -> bytes:
    clip = Path(__file__).with_name("hey_jarvis.flac").read_bytes()
    samples = decode(EncodedAudio(None, clip), 10.0).samples
    return np.rint(samples * 32767).astype("<i2").tobytes()


class Wake:
    """The example as a process."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "wake.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--device", "kitchen", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )

    def hear(self, *sounds: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(sounds))
        self.process.stdin.flush()

    def end(self) -> tuple[int, bytes]:
        """End of the audio; the exit status and what came out of standard output."""
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@contextmanager
def running(folder: Path, port: int, word: str = "hey_jarvis") -> Iterator[Wake]:
    wake = Wake(folder, "--host", "127.0.0.1", "--port", str(port), "--word", word)
    try:
        yield wake
    finally:
        wake.process.kill()
        wake.process.communicate(timeout=60)


def test_a_wake_word_wakes_the_satellite_once_and_other_speech_does_not(
    tmp_path: Path, broker: Broker
) -> None:
    peer = Peer(broker, TOPIC)
    try:
        with running(tmp_path, broker.port) as wake:
            eventually(lambda: "broker: Success" in wake.log.read_text())
            wake.hear(SILENCE, SAMPLES[0].pcm(), SILENCE, SAMPLES[3].pcm(), SILENCE)
            wake.hear(wake_word(), SILENCE)
            eventually(lambda: peer.payloads(TOPIC))
            assert wake.end() == (0, b"")
            assert wake.log.read_text().count("hey_jarvis: ") == 1
        assert [json.loads(payload) for payload in peer.payloads(TOPIC)] == [{"listen": True}]
    finally:
        peer.close()


def test_another_wake_word_does_not_wake_it(tmp_path: Path) -> None:
    with running(tmp_path, free_port(), "alexa") as wake:
        wake.hear(SILENCE, wake_word(), SILENCE)
        assert wake.end() == (0, b"")
        assert "alexa: " not in wake.log.read_text()


def test_a_broker_that_is_away_does_not_end_it_and_gets_no_old_wake_ups(
    tmp_path: Path, broker: Broker
) -> None:
    broker.stop()
    with running(tmp_path, broker.port) as wake:
        wake.hear(SILENCE, wake_word(), SILENCE)
        eventually(lambda: "hey_jarvis: " in wake.log.read_text())
        broker.start()
        peer = Peer(broker, TOPIC)
        try:
            eventually(lambda: "broker: Success" in wake.log.read_text())
            assert wake.end() == (0, b"")
            assert peer.payloads(TOPIC) == []
        finally:
            peer.close()


def test_it_logs_in_with_the_name_and_password_of_the_environment(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "MQTT_USERNAME", "kitchen")
    monkeypatch.setitem(os.environ, "MQTT_PASSWORD", "secret")
    with running(tmp_path, broker.port) as wake:
        eventually(lambda: "broker: Success" in wake.log.read_text())
        assert wake.end() == (0, b"")
