"""The output of `stt-mqtt demo`: answers, summary, and an invitation to try it."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import statistics
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files

from rich.table import Table
from rich.text import Text

from stt_mqtt.commands.overview import printable
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.demo.satellite import Exchange
from stt_mqtt.doors.embedded import connect_host


def invitation(listen: str, port: int) -> str:
    """Commands to copy for trying the service."""
    host = _reachable_host(listen)
    at = f"-h {host} -p {port}"
    recording = shlex.quote(str(files("stt_mqtt.demo").joinpath("samples", SAMPLES[0].file)))
    lines = [
        "",
        f"Your turn: the broker on {host}:{port} runs until Ctrl-C. Transcripts appear here.",
        "You can use any MQTT client. These come with Debian's mosquitto-clients and alsa-utils.",
        "",
        "Read every text:",
        f"  mosquitto_sub {at} -t 'stt/+/text' -v",
        "Send a recording (WAV, FLAC, Ogg/Opus, WebM/Opus or MP3):",
        f"  mosquitto_pub {at} -t stt/phone/utterance -f {recording}",
        "Speak for four seconds:",
        "  arecord -q -d 4 -f S16_LE -r 16000 -c 1 -t wav"
        f" | mosquitto_pub {at} -t stt/desk/utterance -s",
        "See all devices:",
        f"  stt-mqtt watch --host {host} --port {port}",
        "",
    ]
    if not ipaddress.ip_address(listen).is_loopback:
        lines.append(
            "Careful: everybody who can reach this address can send audio and read all words."
        )
    return "\n".join(lines)


def exchange_line(exchange: Exchange) -> Text:
    """One answer: room, text, seconds after the stop."""
    latency = "" if exchange.latency_s is None else f"{exchange.latency_s:.2f} s"
    style = "" if exchange.transcribed else "red"
    return Text.assemble(
        (f"  {exchange.room:<12} ", "bold"), (f"{_heard(exchange):<40} ", style), (latency, "dim")
    )


def summary(exchanges: Sequence[Exchange]) -> Table:
    """All commands in a table, with medians below."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_footer=True)
    seconds = [_numbers(exchange) for exchange in exchanges]
    audio, service, satellite = (_median(column) for column in zip(*seconds, strict=True))
    table.add_column("room", "median")
    table.add_column("said")
    table.add_column("heard")
    table.add_column("audio s", audio, justify="right")
    table.add_column("latency s", service, justify="right")
    table.add_column("at the room s", satellite, justify="right")
    for exchange, numbers in zip(exchanges, seconds, strict=True):
        texts = (exchange.room, exchange.said, _heard(exchange), *map(_shown, numbers))
        table.add_row(*map(Text, texts))
    return table


def verdict(exchanges: Sequence[Exchange]) -> str:
    """One sentence: whether every command got a transcript, and what failed."""
    missing = [exchange for exchange in exchanges if not exchange.transcribed]
    if not missing:
        exact = sum(_words(_heard(exchange)) == _words(exchange.said) for exchange in exchanges)
        return f"All {len(exchanges)} commands were transcribed, {exact} of them to the word."
    which = ", ".join(f"{item.room}: {item.said} {_heard(item)}" for item in missing)
    return f"{len(missing)} of {len(exchanges)} commands got no transcript. {which}"


def _heard(exchange: Exchange) -> str:
    """The text, or in parentheses why there is none."""
    result = exchange.result
    if result is None:
        return "(no answer)"
    if exchange.transcribed:
        return printable(str(result.get("text")))
    error = result.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return printable(f"({code or result.get('outcome')})")


def _numbers(exchange: Exchange) -> tuple[float | None, float | None, float | None]:
    """Seconds of audio, latency measured by the service, latency measured by the satellite."""
    result = exchange.result or {}
    audio_s, latency_s = result.get("audio_s"), result.get("latency_s")
    return (
        audio_s if isinstance(audio_s, float) else None,
        latency_s if isinstance(latency_s, float) else None,
        exchange.latency_s,
    )


def _median(column: Sequence[float | None]) -> str:
    known = [value for value in column if value is not None]
    return _shown(statistics.median(known) if known else None)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _reachable_host(listen: str) -> str:
    """The address for other machines. If `listen` is unspecified, that of the default route."""
    address = ipaddress.ip_address(listen)
    if not address.is_unspecified:
        return listen
    family, elsewhere = (
        (socket.AF_INET, "192.0.2.1") if address.version == 4 else (socket.AF_INET6, "2001:db8::1")
    )
    # Connecting a datagram socket sends nothing. It only selects the route.
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((elsewhere, 9))
        return str(probe.getsockname()[0])
    return connect_host(listen)
