"""A speech server as it is often written first, and its microphones; `savings` measures it.

One second of audio comes in each message, silence too, in base64. Every message gets a thread,
every chunk an FFmpeg process, and the whole of what a room has ever said is transcribed again each
time. `python -m benchmarks.naive PORT MODEL_FOLDER` is the server.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import paho.mqtt.client as paho
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion

from stt_mqtt.types import SAMPLE_RATE

FORMAT = ("-ar", str(SAMPLE_RATE), "-ac", "1")
FFMPEG = ("ffmpeg", "-loglevel", "error", "-f", "s16le", *FORMAT, "-i", "pipe:0", "-f", "f32le",
          *FORMAT, "pipe:1")  # fmt: skip


@dataclass
class Room:
    """What a room has said so far."""

    audio: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    chunks: int = 0
    received: int = 0
    turn: threading.Condition = field(default_factory=threading.Condition)


class Server:
    """All of it."""

    def __init__(self, port: int, model: str) -> None:
        from faster_whisper import WhisperModel

        self.model = WhisperModel(model)
        self.lock = threading.Lock()
        self.rooms: dict[str, Room] = defaultdict(Room)
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("naive/+/audio")
        self.client.on_subscribe = lambda *_: print("listening", flush=True)
        self.client.on_message = self.on_message
        self.client.connect("127.0.0.1", port, keepalive=3600)

    def on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        name = message.topic.split("/")[1]
        room = self.rooms[name]
        threading.Thread(
            target=self.handle, args=(name, room, room.received, bytes(message.payload))
        ).start()
        room.received += 1

    def handle(self, name: str, room: Room, number: int, payload: bytes) -> None:
        """Convert, append, transcribe, publish."""
        pcm = base64.b64decode(json.loads(payload)["audio"])
        done = subprocess.run(FFMPEG, input=pcm, capture_output=True, check=True)
        with room.turn:
            # The threads finish in any order; words are only right in one.
            room.turn.wait_for(lambda: room.chunks == number)
            room.audio = np.concatenate([room.audio, np.frombuffer(done.stdout, np.float32)])
            audio = room.audio
            room.chunks += 1
            room.turn.notify_all()
        with self.lock:
            segments, _ = self.model.transcribe(audio)
            text = "".join(segment.text for segment in segments).strip()
        told = {"text": text, "chunks": number + 1}
        self.client.publish(f"naive/{name}/text", json.dumps(told))


def send(port: int, room: str, seconds: Iterable[bytes]) -> None:
    """Be the microphone of a room: send each second of its audio (16-bit mono) when it comes."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for pcm in seconds:
        chunk = base64.b64encode(pcm).decode()
        client.publish(f"naive/{room}/audio", json.dumps({"audio": chunk}))
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    Server(int(sys.argv[1]), sys.argv[2]).client.loop_forever()
