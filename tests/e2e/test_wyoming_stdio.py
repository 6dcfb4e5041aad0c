"""The installed program as somebody's child, spoken to in Wyoming over its pipes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import yaml
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, Eventable, read_event, write_event
from wyoming.info import Describe, Info

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tests.e2e.waits import Stopwatch
from tools.brokers import eventually, free_port
from tools.program import PROGRAM
from tools.words import words

CHUNK_BYTES = 2048
TIMEOUT_S = 60.0
INFO_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Child:
    """The running program, which is killed when it takes too long."""

    process: subprocess.Popen[bytes]
    stdin: BinaryIO
    stdout: BinaryIO
    log: Path

    def send(self, *events: Eventable) -> None:
        for event in events:
            write_event(event.event(), self.stdin)

    def receive(self, *kinds: str) -> list[Event]:
        """The next events, which have to be of these kinds."""
        events = [read_event(self.stdout) for _ in kinds]
        assert [event and event.type for event in events] == list(kinds)
        return [event for event in events if event is not None]


@contextmanager
def a_child(folder: Path) -> Iterator[Child]:
    """`stt-mqtt run` with Wyoming on its pipes and nobody where the broker should be."""
    config, log = folder / "stt-mqtt.yaml", folder / "program.log"
    nobody = {"host": "127.0.0.1", "port": free_port()}
    doors = {"wyoming": {"listen": ["stdio://"]}, "web": {"enabled": False}}
    config.write_text(yaml.safe_dump({"mqtt": nobody, **doors}))
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [PROGRAM, "run", "--config", config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        ) as process,
    ):
        pipes = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        guard = threading.Timer(TIMEOUT_S, process.kill)
        guard.start()
        try:
            yield Child(process, *pipes, log)
        finally:
            guard.cancel()
            process.kill()


def speak(child: Child, pcm: bytes) -> str:
    """The words for a command."""
    audio = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
    child.send(Transcribe(language="en"), AudioStart(**audio))
    for start in range(0, len(pcm), CHUNK_BYTES):
        child.send(AudioChunk(**audio, audio=pcm[start : start + CHUNK_BYTES]))
    child.send(AudioStop())
    streamed = ("transcript-start", "transcript-chunk", "transcript", "transcript-stop")
    return Transcript.from_event(child.receive(*streamed)[2]).text


def test_the_program_speaks_wyoming_over_its_pipes_without_any_broker(tmp_path: Path) -> None:
    with a_child(tmp_path) as child:
        child.send(Describe())
        eventually(lambda: "loading model" in child.log.read_text(), TIMEOUT_S)
        watch = Stopwatch(os.getpid(), child.process.pid)
        (event,) = child.receive("info")
        assert watch.seconds() < INFO_TIMEOUT_S
        assert "is ready" not in child.log.read_text()
        assert [asr.installed for asr in Info.from_event(event).asr] == [True]

        for sample in SAMPLES[:2]:
            assert words(speak(child, sample.pcm())) == words(sample.text)
        assert "trying again" in child.log.read_text()

        child.stdin.close()
        assert child.process.wait(TIMEOUT_S) == 0
        assert child.stdout.read() == b""
    assert "Traceback" not in child.log.read_text()


def test_who_says_all_and_closes_the_pipe_still_gets_the_words(tmp_path: Path) -> None:
    with a_child(tmp_path) as child:
        audio = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
        chunk = AudioChunk(**audio, audio=SAMPLES[0].pcm())
        child.send(Transcribe(language="en"), AudioStart(**audio), chunk, AudioStop())
        child.stdin.close()
        streamed = ("transcript-start", "transcript-chunk", "transcript", "transcript-stop")
        heard = Transcript.from_event(child.receive(*streamed)[2]).text
        assert words(heard) == words(SAMPLES[0].text)
        assert child.process.wait(TIMEOUT_S) == 0
