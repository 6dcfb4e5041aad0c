"""Checks that the optional packages are installed which the configuration asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from stt_mqtt.config import BrokerMode, Config
from stt_mqtt.doctor.listeners import PAGES
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import Subject

NAME = "extras"


@dataclass(frozen=True, slots=True)
class Need:
    """What part of the program needs which modules, and what to set to do without that part.

    `vital`: the service does not start without the modules.
    """

    part: str
    extra: str
    modules: tuple[str, ...]
    instead: str = ""
    vital: bool = True


def check_extras(subject: Subject) -> list[Finding]:
    """One finding for each part that lacks a package, or one that nothing is missing."""
    needs = list(needs_of(subject.config))
    lacking = [finding for need in needs if (finding := _lack(need)) is not None]
    parts = ", ".join(dict.fromkeys(need.extra for need in needs))
    return lacking or [ok(NAME, f"installed: {parts}")]


def needs_of(config: Config) -> Iterator[Need]:
    """What this configuration needs beside the packages that are always there."""
    has_doors = config.has_doors
    if config.has_model:
        yield Need("transcription", "server", ("av", "ctranslate2"))
    else:
        yield Need("audio", "server", ("av",))
    # Also with wyoming.enabled: false, and for a worker of a fleet.
    yield Need("every service", "server", ("wyoming",))
    if has_doors and config.broker.mode is BrokerMode.EMBEDDED:
        yield Need("broker: embedded", "server", ("iotcore",), "broker: external")
    if config.phrases.has_book:
        yield Need("phrases", "phrases", ("hassil", "rapidfuzz"), "phrases: {}")
    if config.phrases.home_assistant is not None:
        yield Need(
            "phrases.home_assistant", "phrases", ("aiohttp",), "phrases.home_assistant: null"
        )
    if config.fleet is not None:
        yield Need("fleet", "fleet", ("nats", "nkeys"), "fleet: null")
    if has_doors and config.web.enabled:
        yield Need("web", "web", PAGES, "web.enabled: false", vital=False)
    if has_doors and config.wyoming.zeroconf and _is_announced(config):
        yield Need(
            "wyoming.zeroconf", "zeroconf", ("zeroconf",), "wyoming.zeroconf: false", vital=False
        )


def _is_announced(config: Config) -> bool:
    """Whether other machines can reach a Wyoming address."""
    if not config.wyoming.enabled:
        return False
    near = ("127.", "::1", "localhost")
    return any(at.host and not at.host.startswith(near) for at in config.wyoming.addresses)


def _lack(need: Need) -> Finding | None:
    missing = [module for module in need.modules if find_spec(module) is None]
    if not missing:
        return None
    install = f"pip install 'stt-mqtt[{need.extra}]'"
    return (fail if need.vital else warn)(
        NAME,
        f"not installed, but needed for {need.part}: {', '.join(missing)}",
        f"{install}, or set {need.instead}" if need.instead else install,
    )
