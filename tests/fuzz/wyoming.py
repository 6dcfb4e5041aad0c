"""Wyoming: events of a client over TCP, in pieces of random size, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from stt_mqtt.config import Config
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.wyoming.door import DOOR, WyomingDoor
from stt_mqtt.doors.wyoming.reader import Bounds, EventReader, PayloadBudget
from stt_mqtt.doors.wyoming.writer import Peer
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Verdict
from tests.core.speech import WORDS
from tests.fakes import FakePool, engine_facts, heard
from tests.fuzz.choices import Choices
from tests.fuzz.hostile_json import Fields, chosen
from tests.fuzz.house import CONFIG, CountingOutlet, unanswered
from tests.fuzz.services import VERDICTS, random_seeds
from tests.fuzz.target import Target
from tests.virtual_time import run_in_virtual_time

BOUNDS = replace(Bounds(), header_bytes=4096, data_bytes=2048, payload_bytes=32_768)
AUDIO: Fields = {
    "rate": (16_000, 8_000, 22_050, 96_000),
    "width": (2, 2, 2, 1, 3, 4),
    "channels": (1, 1, 2),
}
TRANSCRIBE: Fields = {"language": ("en", "en-US", "de"), "transcript_names": (["Anna"],)}
KINDS = (
    *("audio-chunk",) * 6, *("audio-start",) * 2, *("audio-stop",) * 3, "transcribe", "describe",
    "ping", "transcript", "x",
)  # fmt: skip
PIECES = (1, 7, 100, 1000, 1 << 20)
PAUSES_S = (0.05, 1.0, 5.0, 11.0, 70.0)
MOST_EVENTS = 40
_CONFIGS = [
    Config.model_validate({**CONFIG, "wyoming": {"endpointing": who}})
    for who in ("client", "server")
]
_SPEECH = (WORDS[12_800:19_200], WORDS[19_200:25_600], bytes(3200), bytes(12_800), b"", b"\1")


class LoopClock:
    """The clock of the event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def epoch(self) -> float:
        return 1_795_000_000.0 + self.now()


class FakeTransport:
    """Takes what is written. Nobody reads it if `is_deaf`."""

    def __init__(self, is_deaf: bool, gone: Callable[[], None]) -> None:
        self.written = bytearray()
        self._is_deaf = is_deaf
        self._gone = gone
        self._closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        """The sending direction is closed."""

    async def drain(self) -> None:
        """There is room."""

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self.written) if self._is_deaf else 0

    def get_extra_info(self, _name: str) -> None:
        return None

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._gone()

    @property
    def transport(self) -> FakeTransport:
        return self


def _event(choices: Choices, audio: bytes) -> bytes:
    """An event, mostly a good one. `audio`: the format of the client."""
    kind = choices.pick(KINDS)
    fields = audio if kind in {"audio-start", "audio-chunk"} else b"{}"
    if kind == "transcribe" or choices.rarely():
        fields = chosen(choices, {**TRANSCRIBE, **AUDIO})
    header: dict[str, Any] = {"type": kind}
    payload = choices.pick((*_SPEECH, choices.take(100))) if kind == "audio-chunk" else b""
    match choices.number(49):
        case 0:
            return choices.take(200)
        case 1:
            header["data"] = choices.pick((None, [], {}, "x", {"rate": "x"}))
            fields = b""
        case 2:
            header["type"] = choices.pick((kind, None, 7, "x" * 5000))
            header["payload_length"] = choices.pick((-1, 1.5, 10**12, "7", None, True))
            header["data_length"] = choices.pick((0, 70_000, -5, len(fields)))
        case _:
            header |= {"data_length": len(fields), "payload_length": len(payload)}
    return json.dumps(header).encode() + b"\n" + fields + payload


class Client:
    """A connection, and what it says."""

    def __init__(self, door: WyomingDoor, choices: Choices) -> None:
        is_deaf = choices.rarely()
        self.audio = json.dumps({name: choices.pick(values) for name, values in AUDIO.items()})
        self.reader = asyncio.StreamReader(limit=1 << 20)
        self.transport = FakeTransport(is_deaf, self.end)
        peer = Peer(
            "kitchen",
            self.reader,
            cast(asyncio.StreamWriter, self.transport),
            self.transport.close,
        )
        self.task = asyncio.create_task(door.admit(peer).run())

    async def say(self, data: bytes, size: int) -> None:
        """Send bytes in pieces."""
        for at in range(0, len(data), max(size, len(data) // 20)):
            if self.reader.at_eof() or self.transport.is_closing():
                return
            self.reader.feed_data(data[at : at + max(size, len(data) // 20)])
            await asyncio.sleep(0)

    def end(self) -> None:
        """The sending direction closes."""
        self.reader.feed_eof()


async def _conversations(choices: Choices) -> None:
    opened: list[str] = []

    def new_id() -> str:
        opened.append(f"given-{len(opened)}")
        return opened[-1]

    pool = FakePool()
    service = SpeechService(choices.pick(_CONFIGS), engine_facts(), LoopClock(), new_id)
    service.attach_pool(pool, Capacity(workers=1, max_batch=2))
    door = WyomingDoor(service, lambda: None, lambda: None, BOUNDS)
    outlet = CountingOutlet(door)
    service.attach(DOOR, outlet)
    clients = [Client(door, choices) for _ in range(1 + choices.number(2))]

    def answer(verdict: Verdict) -> None:
        if pool.submitted:
            pool.answer(service, verdict)

    for _ in range(MOST_EVENTS):
        if not choices:
            break
        client = choices.pick(clients)
        if client.task.done():
            clients.append(client := Client(door, choices))
        await client.say(_event(choices, client.audio.encode()), choices.pick(PIECES))
        if choices.number(3) == 0:
            answer(choices.pick(VERDICTS))
        await asyncio.sleep(choices.pick(PAUSES_S) if choices.rarely() else 0)
        service.tick()
    for client in clients:
        client.end()
    while not all(client.task.done() for client in clients):
        answer(heard())
        await asyncio.sleep(1.0)
        service.tick()
    for client in clients:
        client.task.result()
    while pool.submitted:
        answer(heard())
    unanswered({id: outlet.outcomes[id] for id in opened})
    assert service.budget.used_bytes == 0


def _wyoming(data: bytes) -> None:
    run_in_virtual_time(_conversations(Choices(data)))


async def _read(choices: Choices) -> None:
    """Only the reader of events."""
    stream = asyncio.StreamReader()
    size = choices.pick(PIECES)
    data = choices.rest()
    for at in range(0, len(data), max(size, len(data) // 50)):
        stream.feed_data(data[at : at + max(size, len(data) // 50)])
    stream.feed_eof()
    reader = EventReader(stream, BOUNDS, PayloadBudget(100_000), lambda: None)
    with suppress(UtteranceError):
        while (event := await reader.next()) is not None:
            assert len(event.payload or b"") <= BOUNDS.payload_bytes


def _reader(data: bytes) -> None:
    run_in_virtual_time(_read(Choices(data)))


def _bytes() -> list[bytes]:
    return random_seeds(500)


EVENTS = [
    b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n\0',
    b'{"type": "audio-chunk", "data_length": 15, "payload_length": 4}\n{"rate": 16000}\0\0\0\0\1',
    b'{"type": "describe"}\n{"type": "ping", "data": {"text": "x"}}\n\2',
]

TARGETS = (
    Target("wyoming-reader", _reader, 5_000, seeds=lambda: list(EVENTS), max_bytes=400),
    Target("service-wyoming", _wyoming, 4_000, seeds=_bytes, max_bytes=500),
)
