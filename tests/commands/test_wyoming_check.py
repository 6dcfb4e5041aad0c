"""`stt-mqtt wyoming-check` against our own door, and against servers that are none."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from wyoming.event import Event
from wyoming.info import Info

from stt_mqtt.commands import wyoming_check
from stt_mqtt.commands.wyoming_check import SAMPLE, RetryPolicy, check
from stt_mqtt.config import ListenAddress, Scheme
from stt_mqtt.doors.wyoming.messages import describe, encode
from stt_mqtt.errors import EXIT_TEMPORARY, InferenceFailedError, WyomingServerError
from tests.doors.wyoming.peers import LOOPBACK, Bench, TcpBench, drive, until
from tests.fakes import engine_facts, heard, nothing_heard
from tools.brokers import free_port

AT_ONCE = RetryPolicy(tries=2, timeout_s=5.0, pause_s=0.0)
HURRIED = RetryPolicy(tries=2, timeout_s=0.05, pause_s=0.0)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Checked:
    """A check of an address and what it printed."""

    def __init__(self) -> None:
        self._output = io.StringIO()
        self._console = Console(file=self._output, width=132, markup=False, highlight=False)

    @property
    def text(self) -> str:
        return self._output.getvalue()

    async def check(self, address: ListenAddress, policy: RetryPolicy = AT_ONCE) -> None:
        await check(address, self._console, policy)


def local(port: int) -> ListenAddress:
    return ListenAddress(Scheme.TCP, LOOPBACK, port)


def check_against(serve: Serve, policy: RetryPolicy = AT_ONCE) -> tuple[str, str]:
    """What a check of a scripted server prints, and the error that it ends with."""
    checked, port = Checked(), free_port()
    errors = []

    async def scenario() -> None:
        server = await asyncio.start_server(serve, LOOPBACK, port)
        async with server:
            try:
                await checked.check(local(port), policy)
            except WyomingServerError as error:
                errors.append(str(error))

    asyncio.run(scenario())
    return checked.text, errors[0] if errors else ""


def answering(*events: Event) -> Serve:
    """A server that sends these to everybody at once, takes what comes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(*events))
        writer.write_eof()
        await reader.read()
        writer.close()

    return serve


def info_event(**changes: Any) -> Event:
    """The info of our own door, changed."""
    facts = engine_facts()
    event = describe(facts.rung_status, facts.languages, "1").event()
    for program in event.data["asr"]:
        program.update(changes)
    return event


def test_our_own_door_passes_and_what_it_heard_is_printed() -> None:
    bench, checked = TcpBench(), Checked()

    async def scenario() -> None:
        checking = asyncio.create_task(checked.check(local(bench.port)))
        utterance = await bench.answer(heard(SAMPLE.text))
        await checking
        assert utterance.language == "en"
        assert utterance.audio.data[:1000] == SAMPLE.pcm()[:1000]

    drive(bench, scenario)
    assert re.search(r"^ stt-mqtt \S+ +tiny\.en +en +yes +\d+ ms *$", checked.text, re.MULTILINE)
    assert f"said    {SAMPLE.text}\nheard   {SAMPLE.text}\n" in checked.text
    assert re.search(r"^after   \d\.\d\d s from audio-stop$", checked.text, re.MULTILINE)
    assert (
        "events  transcript-start, transcript-chunk, transcript (up to the text)\n" in checked.text
    )


def test_a_unix_socket_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "stt.sock"
    bench, checked = Bench([f"unix://{path}"], None), Checked()

    async def scenario() -> None:
        address = ListenAddress(Scheme.UNIX, path=str(path))
        checking = asyncio.create_task(checked.check(address))
        await bench.answer(nothing_heard())
        await checking

    drive(bench, scenario)
    assert "heard   (nothing)" in checked.text


def test_an_error_of_the_server_is_told_with_its_code() -> None:
    bench, checked = TcpBench(), Checked()
    errors = []

    async def scenario() -> None:
        checking = asyncio.create_task(checked.check(local(bench.port)))
        await bench.answer(InferenceFailedError("the model raised"))
        await asyncio.wait({checking})
        errors.append(checking.exception())

    drive(bench, scenario)
    (error,) = errors
    assert isinstance(error, WyomingServerError)
    assert str(error).endswith("answers inference_failed: the model raised")
    assert error.exit_code == EXIT_TEMPORARY


def test_an_error_at_the_start_is_told_although_the_audio_was_still_on_its_way() -> None:
    bench, checked = TcpBench(devices={LOOPBACK: {"enabled": False}}), Checked()

    async def scenario() -> None:
        with pytest.raises(WyomingServerError, match="answers disabled"):
            await checked.check(local(bench.port))
        await until(lambda: bench.door.connections == 0)

    drive(bench, scenario)


def test_who_cannot_be_reached_is_asked_again_as_often_as_home_assistant_asks() -> None:
    checked, port = Checked(), free_port()
    with pytest.raises(WyomingServerError, match="cannot be reached"):
        asyncio.run(checked.check(local(port), RetryPolicy(pause_s=0.0)))
    assert checked.text.count("cannot be reached") == checked.text.count("Asking again") == 3
    assert "wyoming.listen" in checked.text


def test_a_name_that_nobody_knows_cannot_be_reached() -> None:
    with pytest.raises(WyomingServerError, match=r"tcp://a\.\.b:1 cannot be reached"):
        asyncio.run(Checked().check(ListenAddress(Scheme.TCP, "a..b", 1)))


def test_who_is_late_once_passes_at_the_second_try() -> None:
    refused: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not refused:
            refused.append(True)
            writer.close()
            return
        events = [info_event(), Event("transcript", {"text": "Hello."})]
        await answering(*events)(reader, writer)

    text, error = check_against(serve)
    assert error == ""
    assert "hung up without an answer" in text
    assert "heard   Hello." in text


def test_who_never_answers_is_too_busy_or_no_wyoming() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    _, error = check_against(serve, HURRIED)
    assert error.startswith("no info within 0.05 s")


def test_who_speaks_something_else_does_not_speak_wyoming() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    _, error = check_against(serve)
    assert "does not speak Wyoming" in error


@pytest.mark.parametrize(
    "data", [{"asr": [7]}, {"asr": 7}, {"asr": [{"name": "x"}]}, {"satellite": 7}]
)
def test_an_info_that_is_none_is_told(data: dict[str, Any]) -> None:
    _, error = check_against(answering(Event("info", data)))
    assert "is not as Wyoming has it" in error


@pytest.mark.parametrize("event", [Info().event(), info_event(installed=False)])
def test_a_server_without_speech_to_text_is_told(event: Event) -> None:
    _, error = check_against(answering(event))
    assert "no speech-to-text program" in error


def test_a_server_for_other_languages_is_not_spoken_to() -> None:
    models = info_event().data["asr"][0]["models"]
    models[0]["languages"] = ["de", "end"]
    text, error = check_against(answering(info_event(models=models)))
    assert error == ""
    assert "offers no language 'en'" in text


def test_a_long_info_of_another_server_is_read() -> None:
    (model,) = info_event().data["asr"][0]["models"]
    event = info_event(models=[{**model, "description": "x" * 1000}] * 200)
    assert len(json.dumps(event.data)) > 200_000
    text, error = check_against(answering(event, Event("transcript", {})))
    assert error == ""
    assert text.count("tiny.en") == 200
    assert "heard   (nothing)" in text


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    wyoming_check.add_arguments(parser)
    return wyoming_check.run(parser.parse_args(words))


@pytest.mark.parametrize("prefix", ["", "tcp://"])
def test_the_command_asks_the_address_that_it_is_given(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wyoming_check, "RetryPolicy", lambda: AT_ONCE)
    port = free_port()
    with pytest.raises(WyomingServerError, match=f"tcp://{LOOPBACK}:{port} cannot be reached"):
        command(f"{prefix}{LOOPBACK}:{port}")


def test_the_command_ends_with_0_if_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def succeed(address: ListenAddress, *_: object) -> None:
        asked.append(address)

    monkeypatch.setattr(wyoming_check, "check", succeed)
    assert command("unix:///run/stt.sock") == 0
    assert asked == [ListenAddress(Scheme.UNIX, path="/run/stt.sock")]


@pytest.mark.parametrize("text", ["localhost", "host:port", "http://x:1", "stdio://", "x:0"])
def test_an_address_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command(text)
    assert "HOST:PORT" in capsys.readouterr().err
