"""What is examined: a configuration on a machine, and perhaps the service that runs there."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.config import Config
from stt_mqtt.doctor.synchronised import is_synchronised
from stt_mqtt.nodes import FleetStatus

if TYPE_CHECKING:
    from stt_mqtt.core.probe import Evidence


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks read of the machine. `root`: the folder with `proc` and `sys`."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    epoch: Callable[[], float] = time.time
    """Seconds of the Unix epoch."""
    is_synchronised: Callable[[], bool | None] = is_synchronised
    """Whether a time server sets the clock; None: the system does not say."""
    address_space_mb: Callable[[], float] = lambda: resource.getrlimit(resource.RLIMIT_AS)[0] / 1e6
    """Limit of the address space (`ulimit -v`), in MB; negative: there is none."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """The service that examines itself. The checks run in another thread than its event loop.

    `connected`: whether it is connected to the broker. `rung`: the name of the rung in use.
    `probe`: has a recording transcribed by the model in use; it blocks. `fleet`: as the service
    sees it; None: there is none.
    """

    connected: bool
    rung: str
    probe: Callable[[], Evidence]
    fleet: FleetStatus | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks get. `service` None: the checks run in a program of their own."""

    source: ConfigLoader
    config: Config
    machine: Machine = Machine()
    service: RunningService | None = None
