"""Rooms in which a satellite hears recordings in real time, and what it sends of them."""

from __future__ import annotations

import json
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.harness import Running, Usage, a_service, say
from benchmarks.pauses import Planted, background
from benchmarks.sounds import Sound, at_level, faded, from_pcm, level_dbfs, pcm, pink
from benchmarks.speech import Clip
from stt_mqtt.audio.decode import decode
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio
from tools.brokers import eventually
from tools.clients import riff
from tools.program import PROGRAM

SEED = 14
ROOM_DBFS = -60.0
"""Level of the noise of a room, which its satellite knows. No recording has a louder background."""
LEAD_S = 1.0
"""Of the background of a recording before it. The first one has more: the satellite adapts."""
FIRST_LEAD_S = 3.0
SETTLE_S = 1.2
"""After the last word: longer than the satellite waits in a pause."""
TIMEOUT_S = 30.0
TOPICS = ("availability", "result", "partial", "audio/start", "audio", "audio/stop")
FILTERS = tuple(f"stt/+/{topic}" for topic in TOPICS)
CODEC = Codec.OPUS


@dataclass(frozen=True, slots=True)
class Scene:
    """A recording as it is played.

    `first_word_s`, `last_word_s`: when its first sound begins and its last sound ends. `seed`: of
    the choice of its pause.
    """

    clip: Clip
    kind: str
    sound: Sound
    first_word_s: float
    last_word_s: float
    pause: Planted | None
    seed: int = SEED


@dataclass(slots=True)
class Sent:
    """One utterance of a satellite. Times are those of `time.monotonic`, at the broker's client."""

    id: str
    started_at: float
    chunks: list[bytes] = field(default_factory=list)
    stopped_at: float | None = None
    answered_at: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    partials: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """When each partial result arrived, and its fields."""

    @property
    def ended_at(self) -> float:
        """When the service knew that it was over."""
        return self.answered_at - float(self.result["latency_s"])

    @property
    def is_ended_by_service(self) -> bool:
        """Whether the service took the turn for complete."""
        return bool(self.result["end"] == "endpoint")

    def write(self, file: Path) -> None:
        """Write the part that the service transcribed, as WAV with the very samples it decodes."""
        data = b"".join(chunk[4:] for chunk in self.chunks)
        samples = decode(EncodedAudio(AudioFormat(CODEC), data), 60.0).samples
        if self.is_ended_by_service:
            # What came later was dropped.
            samples = samples[: round(self.result["audio_s"] * SAMPLE_RATE)]
        data = samples.astype("<f4").tobytes()
        layout = struct.pack("<IHHIIHH", 16, 3, 1, SAMPLE_RATE, 4 * SAMPLE_RATE, 4, 32)
        file.write_bytes(riff(b"fmt " + layout, b"data", len(data)) + data)


@dataclass(frozen=True, slots=True)
class Played:
    """A scene that was played, and its utterances, which all have their result."""

    scene: Scene
    first_word_at: float
    last_word_at: float
    sent: Sequence[Sent]

    @property
    def cuts(self) -> list[Sent]:
        """Utterances that ended before the last word."""
        return [one for one in self.sent if one.ended_at < self.last_word_at]

    @property
    def text_after_s(self) -> float | None:
        """From the last word to its text; None if a pause has cut it off or nothing was sent."""
        return None if self.cuts or not self.sent else self.sent[-1].answered_at - self.last_word_at


@dataclass(frozen=True, slots=True)
class Heard:
    """All that was played to a service, and what it took."""

    played: Sequence[Played]
    seconds: float
    cpu_s_per_s: float
    """Of the service."""
    speculation: dict[str, Any]
    """As in its health."""
    late_s: float
    """How late a frame was at most."""


def play(scenes: Sequence[Scene], rooms: int, **service: Any) -> Heard:
    """Play scenes in some rooms at once. `service`: the sections of the configuration."""
    with a_service(*FILTERS, **service) as running:
        say(f"{rooms} rooms play {len(scenes)} recordings")
        broker = Broker(running)
        everybody = [Room(f"room-{number}", running, broker) for number in range(rooms)]
        usage = Usage({"service": running.process})
        shares = [scenes[number::rooms] for number in range(rooms)]
        with ThreadPoolExecutor(rooms) as pool:
            played = [one for some in pool.map(Room.play, everybody, shares) for one in some]
        return Heard(
            played,
            time.monotonic() - usage.started,
            usage.read()["service"],
            running.health()["speculation"],
            max(room.late_s for room in everybody),
        )


class Broker:
    """What all satellites sent and what came back, as a client of the broker sees it."""

    def __init__(self, running: Running) -> None:
        self._messages = running.peer.messages
        self._read = 0
        self._lock = threading.Lock()
        self._sent: dict[str, list[Sent]] = {}
        self._online: set[str] = set()

    def is_online(self, room: str) -> bool:
        """Whether the satellite of a room is connected."""
        self.of_room(room, 0.0)
        return room in self._online

    def of_room(self, room: str, since: float) -> list[Sent]:
        """The utterances of a room that began after `since`."""
        with self._lock:
            while self._read < len(self._messages):
                self._take(self._messages[self._read])
                self._read += 1
            return [one for one in self._sent.get(room, []) if one.started_at >= since]

    def _take(self, message: Any) -> None:
        _, room, name = message.topic.split("/", 2)
        sent = self._sent.setdefault(room, [])
        if name == "availability":
            self._online.add(room)
        elif name == "audio":
            sent[-1].chunks.append(bytes(message.payload))
        elif name in TOPICS:
            fields = json.loads(message.payload)
            if name == "audio/start":
                sent.append(Sent(fields["id"], message.timestamp))
                return
            for one in sent:
                if one.id != fields["id"]:
                    continue
                if name == "audio/stop":
                    one.stopped_at = message.timestamp
                elif name == "partial":
                    one.partials.append((message.timestamp, fields))
                else:
                    one.answered_at, one.result = message.timestamp, fields


class Room:
    """`stt-mqtt satellite` with a microphone that plays scenes in real time."""

    def __init__(self, name: str, running: Running, broker: Broker) -> None:
        self._name = name
        self._broker = broker
        self._rng = np.random.default_rng(SEED)
        self._noise = at_level(pink(self._rng, 10.0), ROOM_DBFS)
        self._written = 0
        self.late_s = 0.0
        """How late a frame was at most."""
        config, log = (running.folder / f"{name}.{kind}" for kind in ("yaml", "log"))
        mqtt = {"host": running.broker.host, "port": running.broker.port}
        satellite = {"device": name, "codec": CODEC.value}
        config.write_text(yaml.safe_dump({"mqtt": mqtt, "satellite": satellite}))
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [str(PROGRAM), "satellite", "--stdin", "--config", str(config)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
            )
        self._began_at = 0.0

    def play(self, scenes: Iterable[Scene]) -> list[Played]:
        """Play one scene after the other, as soon as the satellite is connected."""
        try:
            eventually(lambda: self._broker.is_online(self._name), TIMEOUT_S)
            self._began_at = time.monotonic()
            return [self._play(scene, number == 0) for number, scene in enumerate(scenes)]
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(TIMEOUT_S)

    def _play(self, scene: Scene, first: bool) -> Played:
        around = background(from_pcm(scene.clip.pcm), FIRST_LEAD_S, self._rng)
        gain = np.float32(min(10 ** ((ROOM_DBFS - level_dbfs(around)) / 20), 1.0))
        around = gain * around
        lead = faded(around)[: round((FIRST_LEAD_S if first else LEAD_S) * SAMPLE_RATE)]
        heard = np.concatenate([lead, gain * scene.sound, around])
        since = self._now
        began_at = self._now + len(lead) / SAMPLE_RATE
        first_word_at, last_word_at = began_at + scene.first_word_s, began_at + scene.last_word_s
        while self._now < last_word_at + TIMEOUT_S:
            frame = heard[: FRAME_BYTES // 2]
            heard = heard[len(frame) :]
            heard = heard if len(heard) >= FRAME_BYTES // 2 else np.concatenate([heard, around])
            self._write(frame)
            if self._now < last_word_at + SETTLE_S:
                continue
            sent = self._broker.of_room(self._name, since)
            if all(one.result for one in sent):
                return Played(scene, first_word_at, last_word_at, sent)
        raise TimeoutError(f"no result for {scene.clip.id}")

    @property
    def _now(self) -> float:
        """When the microphone has heard what is written so far."""
        return self._began_at + self._written * FRAME_S

    def _write(self, frame: Sound) -> None:
        at = self._written * len(frame) % (len(self._noise) - len(frame))
        self._written += 1
        wait_s = self._now - time.monotonic()
        self.late_s = max(self.late_s, -wait_s)
        time.sleep(max(wait_s, 0.0))
        assert self._process.stdin is not None
        self._process.stdin.write(pcm(frame + self._noise[at : at + len(frame)]))
        self._process.stdin.flush()
