"""`stt-mqtt wyoming-check HOST:PORT`: checks that a Wyoming server works with Home Assistant."""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from stt_mqtt.commands.screen import open_console
from stt_mqtt.commands.wyoming_client import WyomingProgram, ask, transcribe
from stt_mqtt.config import ListenAddress, Scheme, WyomingConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.errors import WyomingServerError
from stt_mqtt.types import normalise_language

SAMPLE = SAMPLES[0]
LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How to retry the request for `info`. The defaults are those of Home Assistant."""

    tries: int = 4
    timeout_s: float = 1.0
    pause_s: float = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "address",
        type=_address,
        metavar="HOST:PORT",
        help="address of the server, such as 192.168.1.5:10300; also tcp://… and unix:///…",
    )


def run(options: argparse.Namespace) -> int:
    """Exit 0 if the server answers as it should. Raises `WyomingServerError` (75)."""
    asyncio.run(check(options.address, open_console(), RetryPolicy()))
    return 0


async def check(address: ListenAddress, console: Console, policy: RetryPolicy) -> None:
    """Ask the server, have it transcribe a sample, and print both. Raises `WyomingServerError`."""
    programs, seconds = await _ask(address, console, policy)
    if not programs:
        raise WyomingServerError(
            "this server has no speech-to-text program that is installed; "
            "it may be a server for voices or wake words: check the port"
        )
    console.print(_table(programs, seconds))
    language = _language_tag(programs[0])
    if language is None:
        console.print(f"\nThe server offers no language {LANGUAGE!r}, so no recording was sent.")
        return
    transcript = await transcribe(address, SAMPLE.pcm(), language)
    console.print(f"\nsaid    {SAMPLE.text}")
    console.print(f"heard   {transcript.text or '(nothing)'}", soft_wrap=True)
    console.print(f"after   {transcript.seconds:.2f} s from audio-stop")
    console.print(f"events  {', '.join(transcript.events)} (up to the text)", soft_wrap=True)


async def _ask(
    address: ListenAddress, console: Console, policy: RetryPolicy
) -> tuple[tuple[WyomingProgram, ...], float]:
    """The programs of the server, and the seconds until its answer."""
    for tries_left in reversed(range(policy.tries)):
        started_at = time.monotonic()
        try:
            return await ask(address, policy.timeout_s), time.monotonic() - started_at
        except WyomingServerError as error:
            if not tries_left:
                raise
            console.print(f"{error}\nAsking again in {policy.pause_s:g} s …", soft_wrap=True)
            await asyncio.sleep(policy.pause_s)
    raise AssertionError("the last try returns or raises")


def _table(programs: tuple[WyomingProgram, ...], seconds: float) -> Table:
    table = Table("program", "model", "languages", "streams text", "info after", box=None)
    table.columns[2].overflow = "fold"
    for program in programs:
        for model in program.models:
            table.add_row(
                f"{program.name} {program.version or ''}".rstrip(),
                model.name,
                ", ".join(model.languages),
                "yes" if program.streams_text else "no",
                f"{seconds * 1000:.0f} ms",
            )
    return table


def _language_tag(program: WyomingProgram) -> str | None:
    """The program's own tag of the sample's language; None if it does not offer it."""
    offered = (tag for model in program.models for tag in model.languages)
    return next((tag for tag in offered if normalise_language(tag) == LANGUAGE), None)


def _address(text: str) -> ListenAddress:
    uri = text if "://" in text else f"tcp://{text}"
    try:
        address = WyomingConfig(listen=(uri,)).addresses[0]
    except ValidationError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HOST:PORT, as in 192.168.1.5:10300"
        ) from None
    if address.scheme is Scheme.STDIO:
        raise argparse.ArgumentTypeError("a running server cannot be reached over stdio")
    return address
