"""Checks the NATS servers of the fleet, what the fleet has there, and whether workers are there."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stt_mqtt.config import FleetConfig
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.subject import RunningService, Subject
from stt_mqtt.errors import MissingExtraError
from stt_mqtt.nodes import Role, WorkerStatus

if TYPE_CHECKING:
    from stt_mqtt.fleet.probe import FleetSight

NAME = "fleet"
START_WORKER = (
    "start one: `stt-mqtt run` with fleet.role worker, and the same fleet.name and fleet.servers"
)
MAX_NAMES = 10
"""Most workers that are named."""


def check_fleet(subject: Subject) -> list[Finding]:
    """All findings about the fleet. Raises `ConfigError` and `MissingExtraError`."""
    fleet = subject.config.fleet
    if fleet is None:
        return [ok(NAME, "there is no fleet: this process works alone (fleet)")]
    try:
        from stt_mqtt.fleet.probe import HEARTBEATS_S, look
    except ImportError as error:
        raise MissingExtraError(error.name, "fleet") from error
    # A running service knows its workers.
    listen_s = HEARTBEATS_S if subject.service is None else 0.0
    return list(judged(fleet, asyncio.run(look(fleet, _node_of(fleet), listen_s)), subject.service))


def judged(
    fleet: FleetConfig, sight: FleetSight, service: RunningService | None = None
) -> Iterator[Finding]:
    """The findings about what was seen."""
    yield from _servers(sight)
    if all(server.problem is not None for server in sight.servers):
        return
    if sight.problem is not None:
        yield fail(NAME, *_parted(sight.problem, "see the log of the server"), temporary=True)
        return
    if service is not None and service.fleet is not None and not service.fleet.connected:
        reason = service.fleet.failure or "not connected yet"
        detail, what_to_do = _parted(reason, "see the log of the service; it tries again by itself")
        yield fail(NAME, f"the service is not in the fleet: {detail}", what_to_do, temporary=True)
        return
    yield _stream(fleet, sight)
    known = sight.workers if service is None or service.fleet is None else service.fleet.workers
    yield _workers(fleet.role, known)


def _servers(sight: FleetSight) -> Iterator[Finding]:
    reached = [server.address for server in sight.servers if server.problem is None]
    if reached:
        verb = "answers" if len(reached) == 1 else "answer"
        yield ok(NAME, f"{', '.join(reached)} {verb}")
    for server in sight.servers:
        if server.problem is None:
            continue
        detail, what_to_do = _parted(
            server.problem, "check fleet.servers, and that the NATS server runs"
        )
        if reached and not server.refuses:
            yield warn(NAME, detail, what_to_do)
        else:
            yield fail(NAME, detail, what_to_do, temporary=not server.refuses)


def _stream(fleet: FleetConfig, sight: FleetSight) -> Finding:
    if sight.made:
        return ok(NAME, f"the stream of jobs of the fleet {fleet.name} is there")
    if fleet.role is Role.WORKER:
        return warn(
            NAME,
            f"no gateway of the fleet {fleet.name} has been on its servers yet",
            "start one, with the same fleet.name and fleet.servers",
        )
    return ok(NAME, f"the fleet {fleet.name} has no stream of jobs yet; the service makes it")


def _workers(role: Role, known: Sequence[WorkerStatus]) -> Finding:
    staying = [worker for worker in known if not worker.leaving]
    names = ", ".join(worker.worker for worker in staying[:MAX_NAMES])
    more = len(staying) - MAX_NAMES
    names += f" and {more} more" if more > 0 else ""
    threads = sum(worker.threads for worker in staying)
    if threads:
        verb = "worker is" if len(staying) == 1 else "workers are"
        return ok(NAME, f"{len(staying)} {verb} there, with {threads} threads: {names}")
    if staying:
        return warn(NAME, f"these workers still load their models: {names}", "wait for them")
    if role is Role.GATEWAY:
        return fail(NAME, "no worker of the fleet is there", START_WORKER, temporary=True)
    if role is Role.BOTH:
        detail = "no worker of the fleet is there: this machine does all the work"
        return warn(NAME, detail, START_WORKER)
    return ok(NAME, "no worker of the fleet is there yet; this process is to be one")


def _parted(sentence: str, otherwise: str) -> tuple[str, str]:
    """What is wrong, and what to do: what comes after a semicolon, or `otherwise`."""
    detail, _, what_to_do = sentence.partition("; ")
    return detail, what_to_do or otherwise


def _node_of(config: FleetConfig) -> str:
    """The name of this process in its fleet: configured, or made of the name of the host."""
    if config.node is not None:
        return config.node
    return re.sub("[^A-Za-z0-9_-]+", "-", socket.gethostname())[:32].strip("-") or "node"
