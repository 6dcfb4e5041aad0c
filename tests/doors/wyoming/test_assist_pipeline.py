"""The client that does what Home Assistant does, at the door and at other servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from wyoming.asr import Transcript
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import EndReason
from tests.audio.synth import tone
from tests.doors.wyoming.peers import LOOPBACK, PATIENCE_S, TcpBench, drive
from tests.fakes import FakeClock, nothing_heard
from tools.assist_pipeline import (
    CHUNK_BYTES,
    CHUNK_S,
    CURRENT,
    NO_TEXT,
    OLDER,
    STREAM_FAILED,
    AssistPipeline,
    EndOfCommand,
    PipelineResult,
    PipelineVersion,
    microphone,
)
from tools.brokers import free_port

BOTH = pytest.mark.parametrize("version", [CURRENT, OLDER], ids=["current", "older"])
QUIET = bytes(CHUNK_BYTES)


def spoken(seconds: float) -> bytes:
    return (tone(440, seconds) * 8000).astype("<i2").tobytes()


def loud(chunk: bytes) -> float:
    """The probability of speech in a world where all that is not silent is speech."""
    return float(any(chunk))


class Minutes:
    """A clock that runs as fast as somebody sleeps."""

    def __init__(self) -> None:
        self.clock = FakeClock()

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)


async def speak(
    port: int, version: PipelineVersion, pcm: bytes, load: bool = True
) -> PipelineResult:
    minutes = Minutes()
    pipeline = AssistPipeline(LOOPBACK, port, loud, version, minutes.clock.now)
    if load:
        await pipeline.load()
    audio = microphone(pcm, QUIET, minutes.clock.now, minutes.sleep)
    return await asyncio.wait_for(pipeline.run(audio), PATIENCE_S)


class Server:
    """A server with a voice detector says `told` after so many chunks, and reads on or hangs up."""

    def __init__(self, *told: Event, after_chunks: int, hangs_up: bool = False) -> None:
        self.seen: list[str] = []
        self._told = told
        self._after_chunks = after_chunks
        self._hangs_up = hangs_up

    def meets(self, version: PipelineVersion, pcm: bytes) -> PipelineResult:
        """How a pipeline ends that speaks `pcm` to this server."""
        results: list[PipelineResult] = []

        async def scenario() -> None:
            port = free_port()
            async with await asyncio.start_server(self._serve, LOOPBACK, port):
                results.append(await speak(port, version, pcm))

        asyncio.run(scenario())
        (result,) = results
        return result

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (event := await async_read_event(reader)) is not None:
            self.seen.append(event.type)
            if event.type == "describe":
                await async_write_event(self._info().event(), writer)
            if event.type == "audio-chunk" and self.seen.count("audio-chunk") == self._after_chunks:
                for told in self._told:
                    await async_write_event(told, writer)
                if self._hangs_up:
                    return

    def _info(self) -> Info:
        by = Attribution("", "")
        model = AsrModel("m", by, True, None, None, ["en"])
        program = AsrProgram("s", by, True, None, None, [model])
        program.requires_external_vad = False
        return Info(asr=[program])


def met(
    bench: TcpBench,
    version: PipelineVersion,
    pcm: bytes,
    answer: Callable[[], Awaitable[object]],
) -> PipelineResult:
    """How a pipeline ends that speaks `pcm` to the door."""
    results: list[PipelineResult] = []

    async def scenario() -> None:
        speaking = asyncio.create_task(speak(bench.port, version, pcm))
        await answer()
        results.append(await speaking)

    drive(bench, scenario)
    (result,) = results
    return result


@BOTH
def test_a_command_at_the_door_ends_by_the_silence_after_it_and_gets_its_words(
    version: PipelineVersion,
) -> None:
    bench = TcpBench()
    result = met(bench, version, spoken(1.2), bench.answer)
    assert (result.text, result.error) == ("Turn on the light.", None)
    assert result.stopped
    assert not result.timed_out
    assert result.uploaded_s == pytest.approx(1.2 + EndOfCommand.SILENCE_S, abs=2 * CHUNK_S)
    (outcome,) = bench.door.outcomes
    assert outcome.end is EndReason.STOP


@BOTH
def test_a_short_word_at_the_door_lasts_until_the_limit(version: PipelineVersion) -> None:
    bench = TcpBench()
    result = met(bench, version, spoken(0.25), bench.answer)
    assert result.timed_out
    assert result.text == "Turn on the light."
    assert result.uploaded_s == pytest.approx(EndOfCommand.TIMEOUT_S, abs=2 * CHUNK_S)


@BOTH
def test_nothing_heard_is_an_error_of_the_pipeline(version: PipelineVersion) -> None:
    bench = TcpBench()
    result = met(bench, version, spoken(1.2), lambda: bench.answer(nothing_heard()))
    assert (result.text, result.error) == (None, NO_TEXT)


def failing(version: PipelineVersion) -> PipelineResult:
    """How a pipeline ends whose utterance the door cannot transcribe."""
    bench = TcpBench()
    failure = InferenceFailedError("it broke")
    return met(bench, version, spoken(1.2), lambda: bench.answer(failure))


def test_only_the_current_version_reads_the_error_of_the_door() -> None:
    current, older = failing(CURRENT), failing(OLDER)
    assert current.error == older.error == STREAM_FAILED
    assert current.detail is not None
    assert "it broke" in current.detail
    assert older.detail == "the connection is lost"


def test_the_current_version_takes_a_transcript_before_it_has_sent_audio_stop() -> None:
    server = Server(Transcript("Yes.").event(), after_chunks=50)
    result = server.meets(CURRENT, spoken(0.3))
    assert (result.text, result.stopped) == ("Yes.", False)
    assert "audio-stop" not in server.seen
    assert result.uploaded_s >= 50 * CHUNK_S


def test_an_older_version_writes_until_its_own_end_before_it_reads() -> None:
    server = Server(Transcript("Yes.").event(), after_chunks=20)
    result = server.meets(OLDER, spoken(1.2))
    assert (result.text, result.stopped) == ("Yes.", True)
    assert server.seen[-1] == "audio-stop"
    assert result.uploaded_s == pytest.approx(1.2 + EndOfCommand.SILENCE_S, abs=2 * CHUNK_S)


def test_a_server_that_hangs_up_on_an_older_version_while_it_writes_fails_it() -> None:
    server = Server(Transcript("Yes.").event(), after_chunks=5, hangs_up=True)
    result = server.meets(OLDER, spoken(5.0))
    assert (result.text, result.error) == (None, STREAM_FAILED)


def test_without_a_voice_detector_of_its_own_the_pipeline_has_no_limit() -> None:
    server = Server(Transcript("At last.").event(), after_chunks=2000)
    result = server.meets(CURRENT, spoken(0.2))
    assert (result.text, result.stopped, result.timed_out) == ("At last.", False, False)
    assert result.uploaded_s >= 20.0


def test_an_error_ends_the_current_version_at_once() -> None:
    server = Server(Error("too busy", "overloaded").event(), after_chunks=10)
    result = server.meets(CURRENT, spoken(1.2))
    assert (result.error, result.detail, result.stopped) == (STREAM_FAILED, "too busy", False)


def test_without_a_server_the_pipeline_fails() -> None:
    result = asyncio.run(speak(free_port(), CURRENT, spoken(1.0), load=False))
    assert (result.text, result.error) == (None, STREAM_FAILED)


def over_after_s(*sounds: tuple[float, float]) -> float:
    """When a command is over, of stretches of seconds and a probability."""
    end, chunks = EndOfCommand(), 0
    for seconds, probability in sounds:
        for _ in range(round(seconds / CHUNK_S)):
            chunks += 1
            if end.add(probability):
                return chunks * CHUNK_S
    raise AssertionError("it is not over")


@pytest.mark.parametrize(
    ("sounds", "over_s"),
    [
        (((2.0, 0.9), (5.0, 0.0)), 2.7),
        (((0.3, 0.9), (5.0, 0.0)), 1.0),
        (((0.29, 0.9), (20.0, 0.0)), 15.0),
        (((1.0, 0.9), (0.4, 0.0), (0.9, 0.9), (5.0, 0.0)), 2.6),
        (((1.0, 0.9), (0.4, 0.0), (1.0, 0.9), (5.0, 0.0)), 3.1),
        (((0.5, -1.0), (1.0, 0.9), (5.0, 0.0)), 2.2),
    ],
)
def test_the_end_of_a_command_is_that_of_home_assistant(
    sounds: Sequence[tuple[float, float]], over_s: float
) -> None:
    assert over_after_s(*sounds) == pytest.approx(over_s, abs=0.011)


def test_a_microphone_keeps_the_time_of_its_caller_and_never_ends() -> None:
    minutes, times = Minutes(), list[float]()

    async def listen() -> None:
        audio = microphone(spoken(0.5), QUIET, minutes.clock.now, minutes.sleep)
        async for chunk in audio:
            assert len(chunk) == CHUNK_BYTES
            times.append(minutes.clock.now())
            assert any(chunk) is (len(times) <= 50)
            if len(times) == 100:
                break
        await audio.aclose()

    asyncio.run(listen())
    assert [b - a for a, b in pairwise(times)] == pytest.approx([CHUNK_S] * 99)
