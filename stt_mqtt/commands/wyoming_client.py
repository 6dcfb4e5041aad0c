"""A Wyoming client that behaves like Home Assistant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import AsrProgram, Describe, Info

from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.core.background import hang_up
from stt_mqtt.doors.wyoming.reader import Bounds, EventReader, PayloadBudget
from stt_mqtt.errors import UtteranceError, WyomingServerError
from stt_mqtt.types import SAMPLE_RATE

CHUNK_BYTES = 2048
"""Bytes per chunk: 64 ms, about as the satellites of Home Assistant send."""
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 1.0
_BOUNDS = replace(Bounds(), data_bytes=4 * 1024 * 1024, event_s=ANSWER_TIMEOUT_S)
"""The `info` of a server with many voices is long."""
_MONO = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}


@dataclass(frozen=True, slots=True)
class WyomingModel:
    """A model that a server offers. `languages`: tags such as `en` or `en-US`."""

    name: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WyomingProgram:
    """A speech-to-text program that a server offers."""

    name: str
    version: str | None
    models: tuple[WyomingModel, ...]
    streams_text: bool


@dataclass(frozen=True, slots=True)
class WyomingTranscript:
    """The text of a server, its events up to that, and the seconds it took from audio-stop."""

    text: str
    seconds: float
    events: tuple[str, ...]


async def ask(address: ListenAddress, timeout_s: float) -> tuple[WyomingProgram, ...]:
    """The speech-to-text programs that a server has installed. Raises `WyomingServerError`."""
    async with _connect(address) as connection, _answer_within(timeout_s, "info"):
        await connection.send(Describe())
        event = await connection.read_until("info")
    try:
        return tuple(_program(asr) for asr in Info.from_event(event).asr if asr.installed)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError):
        raise WyomingServerError(
            f"the info of {address.uri} is not as Wyoming has it; update that server"
        ) from None


async def transcribe(address: ListenAddress, pcm: bytes, language: str | None) -> WyomingTranscript:
    """Have 16 kHz mono 16-bit PCM transcribed. Raises `WyomingServerError`."""
    now = asyncio.get_running_loop().time
    async with _connect(address) as connection, _answer_within(ANSWER_TIMEOUT_S, "transcript"):
        await connection.send(Transcribe(language=language))
        await connection.send(AudioStart(**_MONO))
        for begin in range(0, len(pcm), CHUNK_BYTES):
            await connection.send(AudioChunk(**_MONO, audio=pcm[begin : begin + CHUNK_BYTES]))
        await connection.send(AudioStop())
        stopped_at = now()
        event = await connection.read_until("transcript")
        seconds = now() - stopped_at
    text = Transcript.from_event(event).text if "text" in event.data else ""
    return WyomingTranscript(str(text), seconds, tuple(connection.seen))


def _program(asr: AsrProgram) -> WyomingProgram:
    models = tuple(
        WyomingModel(str(model.name), tuple(map(str, model.languages)))
        for model in asr.models
        if model.installed
    )
    version = None if asr.version is None else str(asr.version)
    return WyomingProgram(str(asr.name), version, models, bool(asr.supports_transcript_streaming))


class _Connection:
    """A connection to a server. `seen`: types of the events that it sent."""

    def __init__(
        self, address: ListenAddress, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.seen: list[str] = []
        self._where = address.uri
        self._writer = writer
        budget = PayloadBudget(_BOUNDS.large_payloads_bytes)
        self._events = EventReader(reader, _BOUNDS, budget, lambda: None)

    async def send(self, event: Eventable) -> None:
        try:
            await async_write_event(event.event(), self._writer)
        except OSError:
            # The server may have sent an error before it closed. This always raises.
            await self.read_until("error")

    async def read_until(self, wanted: str) -> Event:
        while True:
            try:
                event = await self._events.next()
            except UtteranceError as error:
                raise WyomingServerError(
                    f"{self._where} does not speak Wyoming ({error}); check the port"
                ) from error
            if event is None:
                raise WyomingServerError(
                    f"{self._where} hung up without an answer; check that Wyoming is spoken on "
                    "this port, and the log of that server"
                )
            self.seen.append(event.type)
            if Error.is_type(event.type):
                code, text = event.data.get("code") or "error", event.data.get("text")
                raise WyomingServerError(f"{self._where} answers {code}: {text}")
            if event.type == wanted:
                return event


@asynccontextmanager
async def _connect(address: ListenAddress) -> AsyncIterator[_Connection]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if address.scheme is Scheme.UNIX:
                reader, writer = await asyncio.open_unix_connection(address.path)
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise WyomingServerError(
            f"{address.uri} cannot be reached ({error or 'no answer'}); check that the server "
            "runs, listens on this address (wyoming.listen) and is not behind a firewall"
        ) from error
    try:
        yield _Connection(address, reader, writer)
    finally:
        writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await writer.wait_closed()
        except OSError:
            # If the server reads nothing, a normal close would wait for it.
            hang_up(writer.transport)


@asynccontextmanager
async def _answer_within(seconds: float, wanted: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise WyomingServerError(
            f"no {wanted} within {seconds:g} s; the server is too busy or does not speak Wyoming"
        ) from None
