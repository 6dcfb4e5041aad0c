"""What the parts of the doors benchmark share: a service with open doors, and who speaks to it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bench, doors_attacks, wyoming
from benchmarks.doors_attacks_hermes import wav
from benchmarks.doors_target import START_TOPIC, STOP_TOPIC, session_name
from benchmarks.ingest import Generator
from benchmarks.programs import Answer, Hear, a_satellite
from benchmarks.speech import Clip
from tools.brokers import Broker, free_port
from tools.program import Peer

TEXT_CAPTURED = "hermes/asr/textCaptured"
ANSWER_TIMEOUT_S = 30.0
MAX_WRONG = 20
"""Wrong answers that are remembered one by one."""
SAMPLE_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class Rig:
    """The service on cores of its own, the broker beside it, and a peer that hears them.

    `log`: the file with what the service says.
    """

    broker: Broker
    broker_process: psutil.Process
    service: psutil.Process
    wyoming_port: int
    peer: Peer
    log: Path
    other_cores: set[int] | None


@contextmanager
def a_rig() -> Iterator[Rig]:
    """All doors open; the service on two cores, the broker and everybody else on the others."""
    two, others = bench.two_cores()
    port = free_port()
    filters = ("stt/bridge/state", "stt/bridge/response/health_check", TEXT_CAPTURED)
    listen = {"listen": [f"tcp://127.0.0.1:{port}"]}
    with (
        tempfile.TemporaryDirectory() as name,
        bench.a_broker(Path(name), others) as running,
        bench.a_peer(running.broker, *filters) as peer,
        bench.a_service(Path(name), running.broker, peer, two, wyoming=listen) as service,
    ):
        log = Path(name) / "service.log"
        yield Rig(running.broker, running.process, service, port, peer, log, others)


@contextmanager
def a_child(module: str, words: Sequence[object], cores: set[int] | None) -> Iterator[Generator]:
    """A module as a process of its own that waits for a nod."""
    with bench.pinned(cores):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            child = Generator(process)
            child.line()
            yield child
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Assault:
    """Which attacks of `doors_attacks` go on at once, for how long; `run` names their sessions."""

    run: str
    attacks: tuple[str, ...]
    seconds: float


@contextmanager
def an_attacker(
    assault: Assault, broker: Broker, wyoming_port: int, cores: set[int] | None = None
) -> Iterator[Generator]:
    """The attackers, ready to begin; a nod starts them, another lets what they hold go."""
    words = ["--host", broker.host, "--port", broker.port, "--wyoming", wyoming_port]
    words += ["--seconds", assault.seconds, "--run", assault.run, *assault.attacks]
    with a_child(doors_attacks.__name__, words, cores) as child:
        yield child


class HermesRoom:
    """A Rhasspy satellite with a dialogue manager: one session for each command."""

    def __init__(self, broker: Broker, site: str) -> None:
        self._site = site
        self._peer = Peer(broker, TEXT_CAPTURED)
        self._spoken = 0

    def close(self) -> None:
        """Leave the broker."""
        self._peer.close()

    def hear(self, clip: Clip) -> Answer:
        """Speak `clip`, wait for the text. Raises `TimeoutError` if there is none."""
        self._spoken += 1
        session = f"{self._site}-{self._spoken}"
        who = {"siteId": self._site, "sessionId": session}
        seen = len(self._peer.messages)
        start = json.dumps({**who, "stopOnSilence": False})
        self._peer.publish(START_TOPIC, start)
        self._peer.publish(f"hermes/audioServer/{self._site}/audioFrame", wav(clip.pcm))
        ended = time.monotonic()
        self._peer.publish(STOP_TOPIC, json.dumps(who))
        while time.monotonic() < ended + ANSWER_TIMEOUT_S:
            for message in self._peer.messages[seen:]:
                seen += 1
                if session.encode() in message.payload:
                    text = json.loads(message.payload)["text"]
                    return Answer(text, message.timestamp - ended)
            time.sleep(0.002)
        raise TimeoutError(f"{self._site} got no text for {clip.id}")


@contextmanager
def normal_clients(broker: Broker, wyoming_port: int) -> Iterator[dict[str, Hear]]:
    """One client at each door that takes speech."""
    room = HermesRoom(broker, "den")
    try:
        with a_satellite(broker, "kitchen") as satellite:
            yield {
                "native": satellite.hear,
                "hermes": room.hear,
                "wyoming": lambda clip: Answer(*wyoming.speak(wyoming_port, clip)),
            }
    finally:
        room.close()


@dataclass(slots=True)
class Heard:
    """What came back to the clients of one door."""

    asked: int = 0
    right: int = 0
    """Answers with the very words."""
    latency_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note_wrong(self, what: str) -> None:
        """Remember an answer that is not right."""
        if len(self.wrong) < MAX_WRONG:
            self.wrong.append(what)


@contextmanager
def speaking(clients: Mapping[str, Hear], clips: Sequence[Clip]) -> Iterator[dict[str, Heard]]:
    """All clients speak, one clip after the other, until the end of the block."""
    heard = {name: Heard() for name in clients}
    over = threading.Event()

    def speak(name: str, hear: Hear) -> None:
        while not over.is_set():
            for clip in clips:
                ask(hear, clip, heard[name])
                if over.is_set():
                    return

    threads = [threading.Thread(target=speak, args=client) for client in clients.items()]
    for thread in threads:
        thread.start()
    try:
        yield heard
    finally:
        over.set()
        for thread in threads:
            thread.join()


def ask(hear: Hear, clip: Clip, heard: Heard) -> None:
    """Speak one clip and note what came back."""
    heard.asked += 1
    try:
        answer = hear(clip)
    except OSError as error:
        heard.note_wrong(f"{clip.id}: {type(error).__name__}")
        return
    heard.latency_s.append(round(answer.latency_s, 4))
    if bench.words(answer.text) == bench.words(clip.text) and answer.error is None:
        heard.right += 1
    else:
        heard.note_wrong(f"{clip.id}: {answer.error or answer.text}")


@contextmanager
def peak_rss(process: psutil.Process) -> Iterator[Callable[[], int]]:
    """Inside, the most memory in bytes that was resident since the beginning of the block."""
    highest = [process.memory_info().rss]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_INTERVAL_S):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: highest[0]
    finally:
        over.set()
        thread.join()


def unanswered(peer: Peer, run: str, report: Mapping[str, Any], timeout_s: float) -> dict[str, int]:
    """Of the sessions that attackers opened: how many got no text in time, how many several."""
    wanted = {
        session_name(run, name, number)
        for name, did in report.items()
        for number in range(did["sessions"])
    }
    deadline = time.monotonic() + timeout_s
    while True:
        texts = Counter(
            json.loads(payload)["sessionId"] for payload in peer.payloads(TEXT_CAPTURED)
        )
        missing = sum(texts[session] == 0 for session in wanted)
        if not missing or time.monotonic() > deadline:
            several = sum(texts[session] > 1 for session in wanted)
            return {"sessions": len(wanted), "missing": missing, "several": several}
        time.sleep(0.2)
