"""The Wyoming door on loopback, spoken to by the library's own client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping

from stt_mqtt.audio.decode import decode
from stt_mqtt.config import Config
from stt_mqtt.doors.wyoming.reader import TURN_BYTES, TURN_CHUNKS, Bounds, Turn
from stt_mqtt.errors import InferenceFailedError, TooShortError
from stt_mqtt.rungs import Rung, RungStatus
from stt_mqtt.types import AudioFormat, DeviceKey, EndReason, OutcomeKind
from tests.audio.synth import is_tone, tone
from tests.doors.wyoming.peers import (
    CHUNK,
    MONO,
    PATIENCE_S,
    Bench,
    TcpBench,
    drive,
    hang_up,
    info_like_home_assistant,
    read_all,
    say,
    transcript_like_home_assistant,
    until,
)
from tests.fakes import heard, nothing_heard

STREAM = ["transcript-start", "transcript-chunk", "transcript", "transcript-stop"]
NOTHING = ["transcript-start", "transcript", "transcript-stop"]


async def events(client: Any, number: int) -> list[Event]:
    """The next events."""
    return [await client.read_event() for _ in range(number)]


def failing(bench: TcpBench, language: str | None = "en", chunks: int = 3) -> tuple[str, str]:
    """Code and text of the `error` that an utterance gets, behind which the server hangs up."""
    told: list[Event] = []

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client, language, chunks)
            told.extend(await read_all(client))

    drive(bench, scenario)
    (event,) = told
    assert event.type == "error"
    return event.data["code"], event.data["text"]


def test_an_utterance_as_home_assistant_says_it_gets_its_words() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            utterance = await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."
        assert utterance.end is EndReason.STOP
        assert utterance.audio.data
        assert utterance.seconds == pytest.approx(0.3)
        assert utterance.key.door == "wyoming"
        assert utterance.key.name == "127.0.0.1"
        await until(lambda: bench.door.connections == 0)
        assert len(bench.service.registry) == 0

    drive(bench, scenario)
    assert [outcome.kind for outcome in bench.door.outcomes] == [OutcomeKind.TRANSCRIPT]
    assert bench.rearmed >= 6


def test_the_streaming_events_come_in_their_order_with_the_whole_text_in_one_chunk() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await bench.answer()
            told = await events(client, 4)
        assert [event.type for event in told] == STREAM
        assert [event.data for event in told] == [
            {"language": "en"},
            {"text": "Turn on the light."},
            {"text": "Turn on the light.", "language": "en"},
            {},
        ]

    drive(bench, scenario)


@pytest.mark.parametrize("verdict", [nothing_heard(), TooShortError("50 ms")])
def test_nothing_heard_is_an_empty_transcript_and_keeps_the_connection(verdict: Any) -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await bench.answer(verdict)
            told = await events(client, 3)
            assert [event.type for event in told] == NOTHING
            assert told[1].data == {"text": ""}
            await say(client)
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


def test_a_stop_with_nothing_open_hears_nothing() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStop().event())
            told = await events(client, 3)
            assert [event.type for event in told] == NOTHING

    drive(bench, scenario)
    assert not bench.door.outcomes


def test_a_second_stop_while_the_answer_is_pending_does_not_answer_for_it() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await client.write_event(AudioStop().event())
            await client.write_event(Ping("still there").event())
            event = await client.read_event()
            assert event is not None
            assert event.type == "pong"
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


def test_several_utterances_on_one_connection_are_answered_in_their_order() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            for _ in range(3):
                await say(client)
            for number in range(3):
                await bench.answer(heard(f"Number {number}."))
            for number in range(3):
                assert await transcript_like_home_assistant(client) == f"Number {number}."
                assert (await events(client, 1))[0].type == "transcript-stop"

    drive(bench, scenario)


def test_describe_is_answered_before_the_model_is_loaded() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        found = await info_like_home_assistant(bench.port)
        assert found is not None
        info, number = found
        assert number == 1
        assert [program.name for program in info.asr] == ["stt-mqtt"]
        assert [model.languages for model in info.asr[0].models] == [["en"]]
        assert info.satellite is None

    drive(bench, scenario, loaded=False)


def test_an_utterance_that_came_while_the_model_was_loading_is_transcribed_afterwards() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await until(lambda: bench.service.scheduler.queue.jobs)
            bench.load()
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario, loaded=False)


def test_describe_is_answered_at_once_while_the_queue_is_full() -> None:
    bench = TcpBench(limits={"max_queued": 4})

    async def scenario() -> None:
        clients = [bench.client() for _ in range(5)]
        for client in clients:
            await client.connect()
            await say(client)
        await until(lambda: bench.service.scheduler.queue.jobs == 4)
        found = await info_like_home_assistant(bench.port)
        assert found is not None
        assert found[1] == 1
        for client in clients:
            await client.disconnect()

    drive(bench, scenario)


def test_describe_tells_of_the_ladder_as_it_stands() -> None:
    bench = TcpBench()

    async def models() -> list[str]:
        async with bench.client() as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None
            return [model.name for model in Info.from_event(event).asr[0].models]

    async def scenario() -> None:
        assert await models() == ["tiny.en"]
        rungs = (Rung("best", "base", 5, "int8"), Rung("fast", "tiny.en", 1, "int8"))
        bench.service.rung_status = RungStatus(rungs, "auto", "best", "it is quiet")
        assert await models() == ["base", "tiny.en"]

    drive(bench, scenario)


def test_a_full_queue_answers_overloaded_and_hangs_up_at_once() -> None:
    bench = TcpBench(limits={"max_queued": 1})

    async def scenario() -> None:
        first, second, third = (bench.client() for _ in range(3))
        for client in (first, second):
            await client.connect()
            await say(client)
        await until(lambda: bench.service.scheduler.queue.jobs == 1)
        async with third:
            await say(third)
            (event,) = await read_all(third)
            assert event.type == "error"
            assert event.data["code"] == "overloaded"
        for client in (first, second):
            await client.disconnect()

    drive(bench, scenario)


def test_an_error_of_the_model_reaches_the_client_with_its_code_and_sentence() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await bench.answer(InferenceFailedError("the model raised: out of breath"))
            (event,) = await read_all(client)
            assert event.data == {
                "text": "the model raised: out of breath",
                "code": "inference_failed",
            }

    drive(bench, scenario)


@pytest.mark.parametrize("tag", ["en", "en-US", "EN_gb", None, ""])
def test_language_tags_are_normalised(tag: str | None) -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client, tag)
            utterance = await bench.answer()
            assert utterance.language == (tag or None)
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


def test_a_language_that_is_not_spoken_is_an_error() -> None:
    code, text = failing(TcpBench(), "de-DE")
    assert code == "unsupported_language"
    assert "'de-DE'" in text


@pytest.mark.parametrize("tag", ["not a tag", "\ud800", 7, ["en"]])
def test_a_language_that_is_no_tag_is_an_error(tag: Any) -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            header = b'{"type": "transcribe", "data": {"language": %s}}\n'
            assert client._writer is not None
            client._writer.write(header % json.dumps(tag).encode())
            (event,) = await read_all(client)
            assert event.data["code"] == "bad_payload"

    drive(bench, scenario)


def test_a_language_is_for_the_utterance_that_follows_only() -> None:
    bench = TcpBench(device_defaults={"language": "en"})

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client, "en-AU")
            await bench.answer()
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(AudioStop().event())
            assert (await bench.answer()).language == "en"

    drive(bench, scenario)


def test_names_and_terms_become_hotwords_beside_those_that_are_configured() -> None:
    bench = TcpBench(device_defaults={"hotwords": ["Siobhan"]})

    async def scenario() -> None:
        async with bench.client() as client:
            request = Transcribe(transcript_names=["Lamp"], transcript_terms=["dim", "Lamp"])
            await client.write_event(request.event())
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(AudioStop().event())
            assert (await bench.answer()).hotwords == ("Siobhan", "Lamp", "dim")

    drive(bench, scenario)


def test_a_chunk_without_a_start_opens_in_its_own_format() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            chunk = AudioChunk(rate=8000, width=2, channels=2, audio=CHUNK)
            await client.write_event(chunk.event())
            await client.write_event(AudioStop().event())
            utterance = await bench.answer()
            assert utterance.audio.format is not None
            assert utterance.audio.format.rate == 8000
            assert utterance.seconds == pytest.approx(0.1)
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


@pytest.mark.parametrize(
    ("format", "code"),
    [
        ({**MONO, "width": 8}, "unsupported_format"),
        ({**MONO, "rate": 384_000}, "unsupported_format"),
        ({**MONO, "channels": 6}, "unsupported_format"),
        ({**MONO, "channels": 0}, "unsupported_format"),
        ({**MONO, "rate": "fast"}, "bad_payload"),
        ({**MONO, "width": "\ud800"}, "unsupported_format"),
    ],
)
@pytest.mark.parametrize("kind", ["audio-start", "audio-chunk"])
def test_a_format_that_is_not_decoded_is_an_error(
    kind: str, format: dict[str, Any], code: str
) -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            assert client._writer is not None
            header = json.dumps({"type": kind, "data": format})
            client._writer.write(header.encode() + b"\n")
            (event,) = await read_all(client)
            assert (event.type, event.data["code"]) == ("error", code)

    drive(bench, scenario)
    assert [outcome.kind for outcome in bench.door.outcomes] == [OutcomeKind.ERROR]


@pytest.mark.parametrize(
    ("width", "rate", "channels"),
    [
        (4, 16_000, 1),
        (4, 48_000, 2),
        (2, 96_000, 1),
        (2, 192_000, 2),
        (3, 44_100, 1),
        (1, 8_000, 1),
    ],
)
def test_formats_that_the_reference_server_converts_are_converted_as_there(
    width: int, rate: int, channels: int
) -> None:
    """The control is the converter that the reference server uses."""
    sound = tone(rate=rate).astype(np.float64) * (2 ** (8 * width - 1) - 1)
    words = np.repeat(sound.astype("<i4"), channels)
    data = words.view("u1").reshape(-1, 4)[:, :width].tobytes()
    if width == 1:
        data = (words + 128).astype("u1").tobytes()
    size = 1_024 * width * channels
    chunks = [
        AudioChunk(rate=rate, width=width, channels=channels, audio=data[at : at + size])
        for at in range(0, len(data), size)
    ]
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            for chunk in chunks:
                await client.write_event(chunk.event())
            await client.write_event(AudioStop().event())
            utterance = await bench.answer()
            assert utterance.audio.format == AudioFormat()
            heard_here = decode(utterance.audio, 30.0).samples
            assert len(heard_here) == 16_000
            assert is_tone(heard_here)
            # For mono only: of two channels it takes the sum, which clips.
            if channels == 1:
                converter = AudioChunkConverter(rate=16_000, width=2, channels=1)
                there = b"".join(converter.convert(chunk).audio for chunk in chunks)
                assert is_tone((np.frombuffer(there, "<i2") / 32_768).astype(np.float32))
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


def test_converted_audio_keeps_the_cap_of_an_utterance() -> None:
    bench = TcpBench(limits={"max_utterance_s": 1})

    async def scenario() -> None:
        async with bench.client() as client:
            chunk = AudioChunk(rate=96_000, width=4, channels=1, audio=bytes(4 * 96_000))
            for _ in range(3):
                await client.write_event(chunk.event())
            utterance = await bench.answer()
            assert (utterance.end, utterance.truncated) == (EndReason.CAP, True)
            assert len(utterance.audio.data) == 32_000
            await client.write_event(AudioStop().event())
            assert await transcript_like_home_assistant(client) == "Turn on the light."

    drive(bench, scenario)


def test_a_format_that_changes_within_an_utterance_is_an_error() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            chunk = AudioChunk(rate=22050, width=2, channels=1, audio=CHUNK)
            await client.write_event(chunk.event())
            (event,) = await read_all(client)
            assert event.data["code"] == "unsupported_format"
            assert "from 16000 Hz" in event.data["text"]

    drive(bench, scenario)


def test_settings_are_chosen_by_the_address() -> None:
    bench = TcpBench(devices={"127.0.0.1": {"enabled": False}})
    code, _ = failing(bench)
    assert code == "disabled"


def test_a_device_that_is_disabled_while_it_speaks_is_told_so() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await until(lambda: bench.service.budget.used_bytes)
            bench.service.reconfigure(
                Config.model_validate({"device_defaults": {"enabled": False}})
            )
            (event,) = await read_all(client)
            assert event.data["code"] == "disabled"

    drive(bench, scenario)


def test_hanging_up_takes_back_what_is_open() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await until(lambda: bench.service.budget.used_bytes)
        await until(lambda: bench.door.connections == 0)
        assert bench.service.budget.used_bytes == 0
        assert len(bench.service.registry) == 0
        assert not bench.pool.submitted

    drive(bench, scenario)
    # The connection is gone by then, so nobody is told; the service has counted it.
    assert bench.service.metrics.outcomes == {"aborted": 1}


def test_clients_that_speak_at_the_same_time_get_their_own_words() -> None:
    bench = TcpBench()
    rooms = range(8)

    async def scenario() -> None:
        clients = [bench.client() for _ in rooms]
        for client in clients:
            await client.connect()
            await client.write_event(AudioStart(**MONO).event())
        for _ in range(5):
            for room, client in enumerate(clients):
                audio = bytes([room, 0]) * 1600
                await client.write_event(AudioChunk(**MONO, audio=audio).event())
        for client in clients:
            await client.write_event(AudioStop().event())
        said = {}
        for _ in rooms:
            utterance = await bench.utterance()
            (value,) = set(utterance.audio.data[::2])
            said[value] = utterance.key
            await bench.answer(heard(f"Room {value}."))
        assert len(set(said.values())) == len(rooms)
        for room, client in enumerate(clients):
            assert await transcript_like_home_assistant(client) == f"Room {room}."
            await client.disconnect()

    drive(bench, scenario)


def test_an_utterance_that_reaches_its_cap_is_answered_and_what_follows_opens_none() -> None:
    bench = TcpBench(limits={"max_utterance_s": 1})

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client, chunks=20)
            utterance = await bench.answer()
            assert utterance.end is EndReason.CAP
            assert utterance.seconds == pytest.approx(1.0)
            assert [event.type for event in await events(client, 4)] == STREAM
            # Its stop was answered with these words; the next utterance has its own.
            await say(client)
            await bench.answer(heard("Another one."))
            assert [event.type for event in await events(client, 4)] == STREAM

    drive(bench, scenario)
    assert [outcome.kind for outcome in bench.door.outcomes] == [OutcomeKind.TRANSCRIPT] * 2


def test_a_pause_ends_the_utterance_and_what_follows_until_the_stop_is_dropped() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await until(lambda: bench.service.budget.used_bytes)
            bench.clock.advance(5.1)
            bench.service.tick()
            assert (await bench.answer()).end is EndReason.GAP
            assert [event.type for event in await events(client, 4)] == STREAM
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(AudioStop().event())
            await client.write_event(Ping().event())
            assert (await events(client, 1))[0].type == "pong"

    drive(bench, scenario)
    assert len(bench.door.outcomes) == 1


def test_a_pipeline_that_the_machine_slept_through_is_told_so_and_freed() -> None:
    bench = TcpBench()
    told: list[Event] = []

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await until(lambda: bench.service.budget.used_bytes)
            bench.clock.advance(3600)
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(AudioStop().event())
            told.extend(await read_all(client))

    drive(bench, scenario)
    assert [(event.type, event.data["code"]) for event in told] == [("error", "expired")]
    assert bench.pool.submitted == []


def test_a_start_that_follows_a_start_begins_anew() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await say(client, chunks=1)
            assert (await bench.answer()).seconds == pytest.approx(0.1)
            assert [event.type for event in await events(client, 4)] == STREAM

    drive(bench, scenario)
    kinds = [outcome.kind for outcome in bench.door.outcomes]
    assert kinds == [OutcomeKind.ABORTED, OutcomeKind.TRANSCRIPT]


def test_unknown_events_are_ignored_and_the_connection_is_kept() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(Event("select-program", {"name": "other"}))
            await client.write_event(Event("run-pipeline", {"x": [1]}, b"payload"))
            await client.write_event(Ping("Grüße").event())
            event = await client.read_event()
            assert event is not None
            assert (event.type, event.data) == ("pong", {"text": "Grüße"})
            assert client._writer is not None
            client._writer.write(b'{"type": "ping", "data": {"text": "\\ud800"}}\n')
            event = await client.read_event()
            assert event is not None
            assert event.data == {"text": "?"}

    drive(bench, scenario)


def test_no_place_for_another_device_is_an_error() -> None:
    bench = TcpBench(limits={"max_devices": 1})

    async def scenario() -> None:
        other = DeviceKey("wyoming", "10.0.0.9", "other")
        bench.service.chunk(other, CHUNK, None, AudioFormat())
        async with bench.client() as client:
            await say(client)
            (event,) = await read_all(client)
            assert event.data["code"] == "too_many_devices"

    drive(bench, scenario)


def test_what_is_said_while_the_service_stops_is_answered_before_the_door_closes() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        speaking, late = bench.client(), bench.client()
        await speaking.connect()
        await late.connect()
        await speaking.write_event(AudioStart(**MONO).event())
        await speaking.write_event(AudioChunk(**MONO, audio=CHUNK).event())
        await until(lambda: bench.service.budget.used_bytes)
        bench.service.shut_down()
        await say(late)
        (event,) = await read_all(late)
        assert event.data["code"] == "shutting_down"
        await bench.answer()
        closing = asyncio.create_task(bench.door.close())
        # Home Assistant would act on the words that were said before the service stopped.
        (event,) = await read_all(speaking)
        assert event.data["code"] == "shutting_down"
        for client in (speaking, late):
            await client.disconnect()
        await closing
        with pytest.raises(OSError, match="Connect call failed"):
            await bench.dial()

    drive(bench, scenario)


def test_a_closing_door_does_not_wait_for_ever_for_a_client_that_stays() -> None:
    bench = TcpBench(replace(Bounds(), linger_s=30, close_s=0.05))

    async def scenario() -> None:
        _, writer = await bench.dial()
        await until(lambda: bench.door.connections)
        await bench.door.close()
        assert bench.door.connections == 0
        await hang_up(writer)

    drive(bench, scenario)


def test_a_newcomer_at_a_closing_door_is_told_so() -> None:
    bench = TcpBench(replace(Bounds(), linger_s=30, close_s=PATIENCE_S))

    async def scenario() -> None:
        _, staying = await bench.dial()
        await until(lambda: bench.door.connections)
        closing = asyncio.create_task(bench.door.close())
        async with bench.client() as client:
            (event,) = await read_all(client)
            assert event.data["code"] == "shutting_down"
        await hang_up(staying)
        await closing

    drive(bench, scenario)


def test_a_door_may_be_closed_twice_and_without_having_been_opened() -> None:
    async def scenario() -> None:
        bench = Bench(["tcp://127.0.0.1:1"], None)
        await bench.door.close()
        await bench.door.close()

    asyncio.run(scenario())


def test_a_turn_is_many_small_chunks_or_few_large_ones_or_any_other_event() -> None:
    def chunk(size: int) -> Event:
        return AudioChunk(**MONO, audio=bytes(size)).event()

    turn = Turn()
    small = [turn.ends_with(chunk(2)) for _ in range(2 * TURN_CHUNKS)]
    assert [number for number, ends in enumerate(small, 1) if ends] == [
        TURN_CHUNKS,
        2 * TURN_CHUNKS,
    ]
    large = [turn.ends_with(chunk(TURN_BYTES // 2)) for _ in range(4)]
    assert large == [False, True, False, True]
    assert turn.ends_with(AudioStop().event())
