"""A speech server as it is often written first: right in every line, and slow as a whole.

One second of audio comes in each message, silence too. Every message gets a thread, every chunk an
FFmpeg process, and the whole of what a room has ever said is transcribed again each time. With
`--cures` it does better at one thing or another; see `steps`.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import queue
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import webrtcvad
from faster_whisper import WhisperModel, decode_audio
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion
from tokenizers import Tokenizer

from benchmarks.savings.steps import Cures, cures_of

Audio = NDArray[np.float32]

RATE = 16_000
RAW = ["-f", "s16le", "-ar", str(RATE), "-ac", "1"]
FLOATS = ["-f", "f32le", "-ar", str(RATE), "-ac", "1"]
WORKERS = 4
QUEUED = 8
CAP_S = 30
BEHIND = 2
VAD_FRAME = RATE * 30 // 1000
VOICED_FRAMES = 3


@dataclass
class Room:
    """What a room has said so far. `part`: how many buffers were finished before this one."""

    audio: Audio = field(default_factory=lambda: np.zeros(0, np.float32))
    chunks: int = 0
    part: int = 0
    received: int = 0
    turn: threading.Condition = field(default_factory=threading.Condition)
    vad: webrtcvad.Vad = field(default_factory=lambda: webrtcvad.Vad(3))


@dataclass(frozen=True)
class Chunk:
    """A message. `number` counts those of its room."""

    room: str
    number: int
    payload: bytes
    is_last: bool


class Server:
    """All of it."""

    def __init__(self, port: int, base: Path, tiny: Path, cures: Cures) -> None:
        self.cures = cures
        self.models = [(tiny, WhisperModel(str(tiny), compute_type="int8"))]
        if not cures.tiny_model:
            best = (base, WhisperModel(str(base)))
            self.models = [best, *self.models] if cures.ladder else [best]
        self.lock = threading.Lock()
        self.waiting = 0
        self.rooms: dict[str, Room] = defaultdict(Room)
        self.queue: queue.Queue[Chunk] = queue.Queue(QUEUED)
        if cures.pool:
            for _ in range(WORKERS):
                threading.Thread(target=self.work, daemon=True).start()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(
            [("naive/+/audio", 0), ("naive/+/last", 0)]
        )
        self.client.on_subscribe = lambda *_: print("listening", flush=True)
        self.client.on_message = self.on_message
        # A full queue makes the broker wait, and then its answers to pings wait in line as well.
        self.client.connect("127.0.0.1", port, keepalive=3600)

    def on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        _, room, kind = message.topic.split("/")
        chunk = Chunk(room, self.rooms[room].received, bytes(message.payload), kind == "last")
        self.rooms[room].received += 1
        if self.cures.pool:
            self.queue.put(chunk)
        else:
            threading.Thread(target=self.handle, args=(chunk,)).start()

    def work(self) -> None:
        while True:
            self.handle(self.queue.get())

    def handle(self, chunk: Chunk) -> None:
        """Convert, append, transcribe, publish. A dot says that it is done."""
        samples = self.decode(chunk.payload)
        room = self.rooms[chunk.room]
        with room.turn:
            # The threads finish in any order; words are only right in one.
            room.turn.wait_for(lambda: room.chunks == chunk.number)
            audio, part = self.append(room, samples, chunk.is_last), room.part
            room.chunks += 1
            room.turn.notify_all()
            if audio is not None and (self.cures.edge_vad or self.is_full(audio)):
                room.audio, room.part = np.zeros(0, np.float32), part + 1
        if audio is not None:
            self.waiting += 1
            text = self.transcribe(room, audio, chunk.number + 1, part)
            self.waiting -= 1
            if text is not None:
                told = {"text": text, "chunks": chunk.number + 1, "part": part}
                self.client.publish(f"naive/{chunk.room}/text", json.dumps(told))
        print(".", end="", flush=True)

    def append(self, room: Room, samples: Audio, is_last: bool) -> Audio | None:
        """The buffer as it is now, if it is to be transcribed."""
        if self.cures.silence_skipping and not self.cures.edge_vad and is_silent(room.vad, samples):
            return None
        room.audio = np.concatenate([room.audio, samples])
        if self.cures.edge_vad and not is_last and not self.is_full(room.audio):
            return None
        return room.audio

    def is_full(self, audio: Audio) -> bool:
        return self.cures.caps and len(audio) >= CAP_S * RATE

    def transcribe(self, room: Room, audio: Audio, chunks: int, part: int) -> str | None:
        with self.lock:
            if self.cures.batching and room.part == part and room.chunks > chunks:
                return None  # There is a newer state of this buffer, and it waits as well.
            is_behind = self.cures.ladder and self.waiting > BEHIND
            folder, model = self.models[-1 if is_behind else 0]
            if not self.cures.cached_pipeline:
                model.hf_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
                model.feature_extractor = FeatureExtractor(**model.feat_kwargs)
            segments, _ = model.transcribe(audio)
            return "".join(segment.text for segment in segments).strip()

    def decode(self, payload: bytes) -> Audio:
        """The samples of a chunk."""
        is_opus = self.cures.compression
        data = payload if is_opus else base64.b64decode(json.loads(payload)["audio"])
        if not self.cures.no_subprocess:
            source = [] if is_opus else RAW
            command = ["ffmpeg", "-loglevel", "error", *source, "-i", "pipe:0", *FLOATS, "pipe:1"]
            done = subprocess.run(command, input=data, capture_output=True, check=True)
            return np.frombuffer(done.stdout, np.float32)
        if is_opus:
            decoded: Audio = decode_audio(io.BytesIO(data))
            return decoded
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def is_silent(vad: webrtcvad.Vad, samples: Audio) -> bool:
    pcm = (samples * 32767).astype("<i2")
    frames = (pcm[at : at + VAD_FRAME] for at in range(0, len(pcm) - VAD_FRAME + 1, VAD_FRAME))
    return sum(bool(vad.is_speech(frame.tobytes(), RATE)) for frame in frames) < VOICED_FRAMES


def main() -> None:
    # After numpy, whose threads it would limit.
    from stt_mqtt.engine.models import default_models_dir, resolve

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True, help="of the broker, on this machine")
    options.add_argument("--base", default="base", help="name or folder (default: %(default)s)")
    options.add_argument("--tiny", default="tiny.en", help="name or folder (default: %(default)s)")
    options.add_argument("--cures", default="", help="names of `Cures`, separated by commas")
    chosen = options.parse_args()
    cures = cures_of(filter(None, chosen.cures.split(",")))
    if not cures.no_subprocess and shutil.which("ffmpeg") is None:
        sys.exit("FFmpeg is not installed, which the naive server needs (apt install ffmpeg)")
    base, tiny = (resolve(name, default_models_dir()).folder for name in (chosen.base, chosen.tiny))
    Server(chosen.port, base, tiny, cures).client.loop_forever()


if __name__ == "__main__":
    main()
