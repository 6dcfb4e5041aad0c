"""Configurations, machines and brokers for the checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stt_mqtt.config import Config
from stt_mqtt.doctor.report import Finding, Status
from stt_mqtt.doctor.subject import Machine, RunningService, Subject
from tools.brokers import Broker, FakeServer

NOVEMBER_2026 = 1_795_000_000.0
SOUND = Machine(epoch=lambda: NOVEMBER_2026, is_synchronised=lambda: True)


@dataclass(frozen=True)
class Given:
    """A source that always has the same configuration."""

    config: Config

    def load(self) -> Config:
        return self.config


def subject_of(
    machine: Machine = SOUND, service: RunningService | None = None, /, **config: object
) -> Subject:
    """What the checks get of a configuration, as its YAML file would have it."""
    checked = Config.model_validate(config)
    return Subject(Given(checked), checked, machine, service)


def at(broker: Broker | FakeServer, **mqtt: object) -> dict[str, object]:
    """The section `mqtt` for a broker."""
    return {"host": broker.host, "port": broker.port, **mqtt}


def machine_with(root: Path, /, **files: str) -> Machine:
    """A machine whose kernel says this; `proc_meminfo` is `proc/meminfo`."""
    for name, text in files.items():
        path = root / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return replace(SOUND, root=root)


def statuses(findings: Iterable[Finding], name: str) -> set[Status]:
    """The results of the checks with this name."""
    return {finding.status for finding in findings if finding.name == name}


def only(findings: Iterable[Finding], name: str) -> Finding:
    """The one finding with this name."""
    (finding,) = (finding for finding in findings if finding.name == name)
    return finding
