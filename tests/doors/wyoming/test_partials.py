"""Partial results at the Wyoming door: the client gets the stable text in chunks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event

from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import Verdict
from tests.core.speech import WORDS
from tests.doors.wyoming.peers import TcpBench, until
from tests.doors.wyoming.test_server_endpointing import begin, send, talk, until_pong
from tests.fakes import heard

PARTIALS: dict[str, Any] = {"device_defaults": {"partials": True}}
HEARD = "Turn on the kitchen"
"""What drafts find: "Turn on" is stable after two of them."""

Scenario = Callable[[AsyncTcpClient], Awaitable[None]]


async def speak(bench: TcpBench, client: AsyncTcpClient, *drafts: str) -> list[Event]:
    """Begin an utterance in which each draft finds so much; return what the client is sent."""
    await begin(client)
    for text in drafts:
        await send(client, WORDS)
        await until(lambda: bool(bench.pool.submitted))
        assert bench.pool.utterances[0].end is None
        bench.pool.answer(bench.service, heard(text))
    return await until_pong(client)


async def finish(bench: TcpBench, client: AsyncTcpClient, verdict: Verdict) -> list[Event]:
    """End the utterance; return what the client is sent then."""
    await client.write_event(AudioStop().event())
    bench.glimpsed = heard("")
    await bench.answer(verdict)
    if isinstance(verdict, InferenceFailedError):
        event = await client.read_event()
        assert event is not None
        return [event]
    return await until_pong(client)


def told(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.data.get("text")) for event in events]


def test_stable_text_is_sent_while_somebody_speaks_and_the_rest_at_the_end() -> None:
    bench = TcpBench(**PARTIALS)

    async def scenario(client: AsyncTcpClient) -> None:
        before = await speak(bench, client, HEARD, HEARD, HEARD + " lights now please")
        assert told(before) == [
            ("transcript-start", None),
            ("transcript-chunk", "Turn on"),
            ("transcript-chunk", " the kitchen"),
        ]
        assert before[0].data == {"language": "en"}
        after = await finish(bench, client, heard("Turn on the kitchen lights."))
        assert told(after) == [
            ("transcript-chunk", " lights."),
            ("transcript", "Turn on the kitchen lights."),
            ("transcript-stop", None),
        ]

    talk(bench, scenario)


@pytest.mark.parametrize("final", ["Turn off the light.", ""])
def test_a_final_text_that_contradicts_the_chunks_is_in_the_transcript(final: str) -> None:
    bench = TcpBench(**PARTIALS)

    async def scenario(client: AsyncTcpClient) -> None:
        before = await speak(bench, client, HEARD, HEARD)
        assert told(before)[1:] == [("transcript-chunk", "Turn on")]
        after = await finish(bench, client, heard(final))
        assert told(after) == [("transcript", final), ("transcript-stop", None)]

    talk(bench, scenario)


def test_without_stable_text_the_whole_text_is_one_chunk_at_the_end() -> None:
    bench = TcpBench(**PARTIALS)

    async def scenario(client: AsyncTcpClient) -> None:
        assert await speak(bench, client, HEARD) == []
        after = await finish(bench, client, heard("Turn on the light."))
        assert [event.type for event in after] == [
            "transcript-start", "transcript-chunk", "transcript", "transcript-stop",
        ]  # fmt: skip
        assert after[1].data["text"] == after[2].data["text"] == "Turn on the light."

    talk(bench, scenario)


def test_an_error_after_chunks_ends_the_connection() -> None:
    bench = TcpBench(**PARTIALS)

    async def scenario(client: AsyncTcpClient) -> None:
        await speak(bench, client, HEARD, HEARD)
        (error,) = await finish(bench, client, InferenceFailedError("it broke"))
        assert error.type == "error"
        assert await client.read_event() is None

    talk(bench, scenario)


def test_the_chunks_of_an_utterance_come_after_the_answer_to_the_one_before() -> None:
    bench = TcpBench(**PARTIALS)

    async def scenario(client: AsyncTcpClient) -> None:
        before = await speak(bench, client, HEARD, HEARD)
        assert told(before)[1:] == [("transcript-chunk", "Turn on")]
        await client.write_event(AudioStop().event())
        await begin(client)
        await send(client, WORDS)
        assert await until_pong(client) == []
        bench.glimpsed = heard(HEARD)
        await bench.answer(heard(HEARD))
        first = await until_pong(client)
        assert told(first) == [
            ("transcript-chunk", " the kitchen"),
            ("transcript", HEARD),
            ("transcript-stop", None),
        ]

    talk(bench, scenario)


def test_without_partials_nothing_is_sent_before_the_end() -> None:
    bench = TcpBench()

    async def scenario(client: AsyncTcpClient) -> None:
        await begin(client)
        await send(client, WORDS)
        assert await until_pong(client) == []
        assert bench.pool.submitted == []
        after = await finish(bench, client, heard("Turn on the light."))
        transcripts = [Transcript.from_event(e) for e in after if Transcript.is_type(e.type)]
        assert [one.text for one in transcripts] == ["Turn on the light."]

    talk(bench, scenario)
