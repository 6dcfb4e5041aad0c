"""Browsers for tests: one that speaks as a room, and many that mean harm.

`python -m tools.browsers --port 10380 --count 200` attacks until its input ends. Then it prints how
often each kind of attack was made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import aiohttp

from stt_mqtt.doors.web.socket_messages import PROTOCOL
from stt_mqtt.types import SAMPLE_RATE
from tools.clients import ANSWER_TIMEOUT_S, CHUNK_S, REAL_TIME_CHUNK_S, Answer

HOST = "127.0.0.1"
TEXT, BINARY, PING = 0x1, 0x2, 0x9
LOITER_S = 5.0
"""How long an attacker that waits does so before it begins anew."""


class BrowserClient:
    """A page that speaks as a room over its WebSocket."""

    def __init__(
        self,
        port: int,
        room: str,
        headers: Mapping[str, str] | None = None,
        real_time: bool = False,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._real_time = real_time
        self._spoken = 0
        self._room = room
        self._loop.run_until_complete(self._connect(port, headers or {}))

    def hear(self, pcm: bytes) -> Answer:
        """Speak one utterance."""
        return self._loop.run_until_complete(self._hear(pcm))

    def close(self) -> None:
        """Close the page. May be called twice."""
        if self._loop.is_closed():
            return
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _connect(self, port: int, headers: Mapping[str, str]) -> None:
        self._session = aiohttp.ClientSession(headers=headers)
        url = f"http://{HOST}:{port}/ws?room={self._room}"
        self._socket = await self._session.ws_connect(url, protocols=(PROTOCOL,))

    async def _close(self) -> None:
        await self._socket.close()
        await self._session.close()

    async def _hear(self, pcm: bytes) -> Answer:
        self._spoken += 1
        id = f"{self._room}-{self._spoken}"
        await self._socket.send_json({"type": "start", "id": id, "language": "en"})
        step_s = REAL_TIME_CHUNK_S if self._real_time else CHUNK_S
        size = 2 * int(step_s * SAMPLE_RATE)
        chunks = [pcm[at : at + size] for at in range(0, len(pcm), size)]
        due = time.perf_counter()
        for chunk in chunks:
            if self._real_time:
                due += step_s
                await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            await self._socket.send_bytes(chunk)
        await self._socket.send_json({"type": "stop", "id": id, "chunks": len(chunks)})
        ended = time.perf_counter()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                told: dict[str, Any] = await self._socket.receive_json()
                if told["type"] == "result" and told["id"] == id:
                    break
        latency_s = time.perf_counter() - ended
        error = told["error"] and told["error"]["code"]
        return Answer(told["text"], latency_s, error, told)


Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Attack: TypeAlias = Callable[[Connection, str, random.Random], Awaitable[None]]


async def garbage(connection: Connection, room: str, chance: random.Random) -> None:
    """Random bytes instead of frames."""
    await _shake_hands(connection, room)
    await _send(connection, chance.randbytes(chance.randrange(1, 5000)))
    await _read_to_end(connection)


async def nonsense(connection: Connection, room: str, chance: random.Random) -> None:
    """Frames of legal form whose contents are none."""
    await _shake_hands(connection, room)
    contents = [b"{", b"[]", b'{"type":"sing"}', b"\xff", b'{"type":' * 2000, b'{"type":"set"}']
    for _ in range(5):
        await _send(connection, _frame(TEXT, chance.choice(contents)))
    await _read_to_end(connection)


async def giant_frames(connection: Connection, room: str, chance: random.Random) -> None:
    """A frame that claims to be huge, and as much of it as is taken."""
    await _shake_hands(connection, room)
    size = chance.choice([2**62, 2**31, 300_000])
    await _send(connection, struct.pack("!BBQ4s", 0x80 | BINARY, 0xFF, size, bytes(4)))
    for _ in range(100):
        await _send(connection, bytes(65536))


async def never_reads(connection: Connection, room: str, _chance: random.Random) -> None:
    """Asks for answers without end, and reads none."""
    await _shake_hands(connection, room)
    connection[0]._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(2000):
        await _send(connection, _frame(TEXT, b'{"type":"ping"}') + _frame(PING, bytes(100)))


async def half_open(connection: Connection, room: str, _chance: random.Random) -> None:
    """A handshake that is never finished."""
    await _send(connection, _handshake(room)[:-2])
    await _read_to_end(connection)


async def silent(connection: Connection, _room: str, _chance: random.Random) -> None:
    """Nothing at all."""
    await _read_to_end(connection)


async def slowloris(connection: Connection, room: str, _chance: random.Random) -> None:
    """A byte of the handshake now and then."""
    for byte in _handshake(room):
        await _send(connection, bytes([byte]))
        await asyncio.sleep(0.2)


async def flood(connection: Connection, room: str, chance: random.Random) -> None:
    """Utterances of noise, far faster than anybody speaks."""
    await _shake_hands(connection, room)
    noise = chance.randbytes(32_000)
    utterance = _frame(TEXT, b'{"type":"start"}') + 20 * _frame(BINARY, noise)
    for _ in range(50):
        await _send(connection, utterance)


async def small_frames(connection: Connection, room: str, _chance: random.Random) -> None:
    """Frames of a byte, many at once."""
    await _shake_hands(connection, room)
    for _ in range(200):
        await _send(connection, 500 * _frame(BINARY, b"x"))


ATTACKS: tuple[Attack, ...] = (
    garbage,
    nonsense,
    giant_frames,
    never_reads,
    half_open,
    silent,
    slowloris,
    flood,
    small_frames,
)


async def attack(port: int, number: int, made: Counter[str]) -> None:
    """One attacker: makes one attack after the other, each over a connection of its own."""
    chance = random.Random(number)
    turn = number
    while True:
        kind = ATTACKS[turn % len(ATTACKS)]
        turn += 1
        writer = None
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            connection = await asyncio.open_connection(HOST, port)
            writer = connection[1]
            made[kind.__name__] += 1
            async with asyncio.timeout(LOITER_S):
                await kind(connection, f"hostile-{number}", chance)
        if writer is not None:
            writer.transport.abort()
        await asyncio.sleep(0.01)


@contextmanager
def hostile_browsers(port: int, count: int) -> Iterator[Callable[[], Counter[str]]]:
    """So many attackers in a process of their own. The function ends them and returns how often
    each kind of attack was made.
    """
    arguments = ["--port", str(port), "--count", str(count)]
    command = [sys.executable, "-m", "tools.browsers", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def report() -> Counter[str]:
            output, _ = process.communicate(timeout=ANSWER_TIMEOUT_S)
            return Counter(json.loads(output))

        try:
            yield report
        finally:
            process.kill()


async def _run(port: int, count: int) -> Counter[str]:
    made: Counter[str] = Counter()
    attackers = [asyncio.create_task(attack(port, number, made)) for number in range(count)]
    reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin, _end, reading)
    await reading
    for attacker in attackers:
        attacker.cancel()
    await asyncio.wait(attackers)
    return made


def _end(reading: asyncio.Future[None]) -> None:
    if not (os.read(sys.stdin.fileno(), 100) or reading.done()):
        reading.set_result(None)


def _handshake(room: str) -> bytes:
    lines = (
        f"GET /ws?room={room} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {PROTOCOL}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _shake_hands(connection: Connection, room: str) -> None:
    await _send(connection, _handshake(room))
    await connection[0].readuntil(b"\r\n\r\n")


def _frame(kind: int, payload: bytes) -> bytes:
    """A frame with the mask 0."""
    if len(payload) < 126:
        return struct.pack("!BB4s", 0x80 | kind, 0x80 | len(payload), bytes(4)) + payload
    return struct.pack("!BBQ4s", 0x80 | kind, 0xFF, len(payload), bytes(4)) + payload


async def _send(connection: Connection, data: bytes) -> None:
    connection[1].write(data)
    await connection[1].drain()


async def _read_to_end(connection: Connection) -> None:
    while await connection[0].read(65536):
        pass


def main() -> None:
    """Attack until the input ends, then print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_run(options.port, options.count))))


if __name__ == "__main__":
    main()
