"""`wyoming.endpointing: server`: the service ends the utterances of its clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.ping import Ping

from stt_mqtt.doors.wyoming.door import NO_SPEECH_S, PAUSE_S
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import Completion, EndReason
from tests.core.speech import BYTES_PER_S, WORDS, chunks_of, found, quiet
from tests.doors.wyoming.peers import (
    MONO,
    TcpBench,
    drive,
    info_like_home_assistant,
    read_all,
    transcript_like_home_assistant,
    until,
)
from tests.doors.wyoming.test_assist_pipeline import BOTH, met
from tests.fakes import nothing_heard
from tools.assist_pipeline import CURRENT, NO_TEXT, OLDER, STREAM_FAILED, PipelineVersion

WORDS_S = len(WORDS) / BYTES_PER_S


def server(endpointing: str = "server", **config: Any) -> TcpBench:
    wyoming = {"endpointing": endpointing}
    return TcpBench(wyoming=wyoming, **config)


async def begin(client: AsyncTcpClient) -> None:
    await client.write_event(AudioStart(**MONO).event())


async def send(client: AsyncTcpClient, pcm: bytes) -> None:
    for chunk in chunks_of(pcm):
        await client.write_event(AudioChunk(**MONO, audio=chunk).event())


async def until_pong(client: AsyncTcpClient) -> list[Event]:
    """What the server still sends before it answers a ping."""
    await client.write_event(Ping().event())
    events: list[Event] = []
    while (event := await client.read_event()) is not None and event.type != "pong":
        events.append(event)
    assert event is not None
    return events


def talk(bench: TcpBench, scenario: Callable[[AsyncTcpClient], Awaitable[None]]) -> None:
    """Run a scenario with a connected client."""

    async def connected() -> None:
        async with bench.client() as client:
            await scenario(client)

    drive(bench, connected)


@pytest.mark.parametrize(("endpointing", "required"), [("client", True), ("server", False)])
def test_the_info_tells_whether_the_client_must_notice_the_end(
    endpointing: str, required: bool
) -> None:
    bench = server(endpointing)

    async def scenario() -> None:
        found = await info_like_home_assistant(bench.port)
        assert found is not None
        (program,) = found[0].asr
        assert program.requires_external_vad is required

    drive(bench, scenario)


@BOTH
def test_a_pipeline_of_home_assistant_gets_its_words(version: PipelineVersion) -> None:
    bench = server()
    result = met(bench, version, WORDS, bench.answer)
    assert (result.text, result.error, result.timed_out) == ("Turn on the light.", None, False)
    # Only the older one writes on until its own end.
    assert result.stopped is (version is OLDER)
    assert result.uploaded_s >= WORDS_S + 0.6
    (outcome,) = bench.door.outcomes
    assert outcome.end is EndReason.ENDPOINT or version is OLDER


def test_a_pipeline_in_which_nobody_speaks_ends() -> None:
    bench = server()
    result = met(bench, CURRENT, quiet(1.0), lambda: bench.answer(nothing_heard()))
    assert (result.text, result.error, result.stopped) == (None, NO_TEXT, False)
    assert result.uploaded_s >= NO_SPEECH_S - 0.1


def test_a_pipeline_whose_words_cannot_be_transcribed_is_told_why() -> None:
    bench = server()
    result = met(bench, CURRENT, WORDS, lambda: bench.answer(InferenceFailedError("it broke")))
    assert (result.error, result.stopped) == (STREAM_FAILED, False)
    assert result.detail is not None
    assert "it broke" in result.detail


def test_an_error_ends_the_connection() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(1.0))
        await bench.answer(InferenceFailedError("it broke"))
        (event,) = await read_all(client)
        assert (event.type, event.data["code"]) == ("error", "inference_failed")

    talk(bench, scenario)


def test_the_words_leave_before_audio_stop_and_nothing_follows_it() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(PAUSE_S + 0.2))
        await bench.answer()
        assert await transcript_like_home_assistant(client) == "Turn on the light."
        await send(client, WORDS + quiet(1.0))
        await client.write_event(AudioStop().event())
        assert [event.type for event in await until_pong(client)] == ["transcript-stop"]
        assert not bench.pool.submitted

    talk(bench, scenario)
    assert len(bench.door.outcomes) == 1


def test_who_reads_only_after_audio_stop_finds_one_transcript() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(PAUSE_S + 0.2))
        await bench.answer()
        await send(client, quiet(1.0))
        await client.write_event(AudioStop().event())
        events = await until_pong(client)
        assert [event.type for event in events].count("transcript") == 1

    talk(bench, scenario)


def test_a_client_that_stops_before_the_pause_is_answered_as_ever() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        for _ in range(2):
            await begin(client)
            await send(client, WORDS)
            await client.write_event(AudioStop().event())
            assert (await bench.answer()).end is EndReason.STOP
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    talk(bench, scenario)


def test_a_connection_is_of_use_again_after_the_service_ended_its_utterance() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        for with_stop in (True, False, True):
            await begin(client)
            await send(client, WORDS + quiet(PAUSE_S + 0.2))
            assert (await bench.answer()).end is EndReason.ENDPOINT
            assert await transcript_like_home_assistant(client) == "Turn on the light."
            if with_stop:
                await client.write_event(AudioStop().event())

    talk(bench, scenario)
    assert len(bench.door.outcomes) == 3


def test_a_complete_phrase_ends_before_the_pause_does() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(0.36))
        await until(lambda: bench.pool.submitted)
        bench.pool.answer(bench.service, found(Completion.COMPLETE))
        utterance = await bench.answer()
        assert utterance.end is EndReason.ENDPOINT
        assert utterance.seconds < WORDS_S + 0.4
        assert await transcript_like_home_assistant(client) == "Turn on the light."

    talk(bench, scenario)


@pytest.mark.parametrize(
    ("endpointing", "ends"), [("silence", True), ("phrases", False), ("eager", False)]
)
def test_the_beginning_of_a_phrase_waits_for_its_end_unless_the_device_wants_silence(
    endpointing: str, ends: bool
) -> None:
    bench = server(device_defaults={"endpointing": endpointing})

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(0.36))
        await until(lambda: bench.pool.submitted)
        bench.pool.answer(bench.service, found(Completion.OPEN))
        await send(client, quiet(PAUSE_S))
        await until_pong(client)
        assert bool(bench.pool.submitted) is ends
        await send(client, quiet(0.9))
        assert (await bench.answer()).end is EndReason.ENDPOINT

    talk(bench, scenario)


def test_nobody_who_speaks_gets_an_empty_text_after_8_s_of_audio() -> None:
    bench = server()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, quiet(NO_SPEECH_S - 0.12))
        await until_pong(client)
        assert not bench.pool.submitted
        await send(client, quiet(0.15))
        await bench.answer(nothing_heard())
        assert await transcript_like_home_assistant(client) == ""

    talk(bench, scenario)


def test_by_default_the_client_ends_its_utterances() -> None:
    bench = server("client")

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS + quiet(0.36))
        await until(lambda: bench.pool.submitted)
        bench.pool.answer(bench.service, found(Completion.COMPLETE))
        await send(client, quiet(9.0))
        await until_pong(client)
        assert not bench.pool.submitted
        await client.write_event(AudioStop().event())
        assert (await bench.answer()).end is EndReason.STOP
        assert Transcript.is_type((await until_text(client)).type)

    talk(bench, scenario)


async def until_text(client: AsyncTcpClient) -> Event:
    while (event := await client.read_event()) is not None:
        if Transcript.is_type(event.type):
            return event
    raise AssertionError("no transcript")
