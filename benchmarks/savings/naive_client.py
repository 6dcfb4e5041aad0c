"""The microphones of the naive server: every second of every room, in real time.

`python -m benchmarks.savings.naive_client PORT ROOM=FILE.wav …`
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import paho.mqtt.client as paho
import webrtcvad
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.savings.steps import Cures
from benchmarks.speech import read_pcm
from stt_mqtt.types import SAMPLE_RATE

Samples = NDArray[np.int16]

CHUNK_S = 1
OPUS_BIT_RATE = 24_000
FRAME = SAMPLE_RATE * 30 // 1000
VAD_MODE = 3
BEGIN_FRAMES = 3
PRE_ROLL_FRAMES = 10
HANGOVER_FRAMES = 20
WARM_UP_FRAMES = 30
MOST_FRAMES = 1000
"""What webrtcvad takes for an utterance ends after 30 s."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be published. `at_s`: when it can be, which is when its sound has ended."""

    at_s: float
    room: str
    payload: bytes
    is_last: bool

    @property
    def topic(self) -> str:
        """Where to."""
        return f"naive/{self.room}/{'last' if self.is_last else 'audio'}"


def messages(rooms: Mapping[str, Samples], cures: Cures) -> list[Message]:
    """Everything that the rooms send, in the order of time."""
    found = [message for name, samples in rooms.items() for message in _of(name, samples, cures)]
    return sorted(found, key=lambda message: message.at_s)


def connect(port: int) -> paho.Client:
    """A client at the broker of this machine."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def _of(room: str, samples: Samples, cures: Cures) -> Iterator[Message]:
    pieces = _utterances(samples) if cures.edge_vad else [(0, len(samples))]
    for start, end in pieces:
        for at in range(start, end, CHUNK_S * SAMPLE_RATE):
            stop = min(at + CHUNK_S * SAMPLE_RATE, end)
            is_last = cures.edge_vad and stop == end
            chunk = samples[at:stop]
            payload = opus(chunk) if cures.compression else _json(chunk)
            yield Message(stop / SAMPLE_RATE, room, payload, is_last)


def _json(chunk: Samples) -> bytes:
    return json.dumps({"audio": base64.b64encode(chunk.astype("<i2").tobytes()).decode()}).encode()


def opus(chunk: Samples) -> bytes:
    """A whole Ogg file."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = OPUS_BIT_RATE
        frame = av.AudioFrame.from_ndarray(chunk.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def _utterances(samples: Samples) -> Iterator[tuple[int, int]]:
    """Where webrtcvad hears somebody, with some sound before and the pause that ended it."""
    begun: int | None = None
    heard = pause = free = 0
    for number, is_voice in enumerate(_voices(samples)):
        heard, pause = (heard + 1, 0) if is_voice else (0, pause + 1)
        if begun is None and heard == BEGIN_FRAMES:
            begun = max(number + 1 - BEGIN_FRAMES - PRE_ROLL_FRAMES, free)
        elif begun is not None and (pause == HANGOVER_FRAMES or number + 1 - begun == MOST_FRAMES):
            yield begun * FRAME, (number + 1) * FRAME
            begun, heard, free = None, 0, number + 1
    if begun is not None:
        yield begun * FRAME, len(samples)


def _voices(samples: Samples) -> list[bool]:
    vad = webrtcvad.Vad(VAD_MODE)
    pcm = samples.astype("<i2").tobytes()
    frames = [pcm[at : at + 2 * FRAME] for at in range(0, len(pcm) - 2 * FRAME + 1, 2 * FRAME)]
    # It takes the first sound it ever hears for a voice.
    for frame in frames[:WARM_UP_FRAMES]:
        vad.is_speech(frame, SAMPLE_RATE)
    return [bool(vad.is_speech(frame, SAMPLE_RATE)) for frame in frames]


def _publish_in_real_time(client: paho.Client, all_messages: Iterable[Message]) -> None:
    began = time.monotonic()
    for message in all_messages:
        time.sleep(max(began + message.at_s - time.monotonic(), 0.0))
        client.publish(message.topic, message.payload)


def main(arguments: Sequence[str]) -> None:
    """Say everything, then end."""
    port, *named = arguments
    files = dict(argument.split("=", 1) for argument in named)
    rooms = {
        name: np.frombuffer(read_pcm(Path(file)), "<i2").astype(np.int16)
        for name, file in files.items()
    }
    client = connect(int(port))
    _publish_in_real_time(client, messages(rooms, Cures()))
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main(sys.argv[1:])
